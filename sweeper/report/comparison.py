"""The confirm phase: the arms side by side on the same fresh seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sweeper.metrics import TEMPERATURE_RANGE, metric_of
from sweeper.records import Phase, TrialState
from sweeper.report import statistics
from sweeper.report.measure import TEST_MEASURES, Measure
from sweeper.report.reading import StoredSweep
from sweeper.report.summary import ComparedArm, Comparison, Estimate, Power
from sweeper.significance import NEEDED_SEEDS
from sweeper.space import Space
from sweeper.text import printable

if TYPE_CHECKING:
    from sweeper.report.statistics import Seeds

MEASURES = (*TEST_MEASURES, "temperature")
STATED_DIFFERENCES = (0.005, 0.01, 0.02)
"""True differences in accuracy whose chance of being found a report states."""

AT_CHANCE = 0.02
"""An accuracy is that of guessing up to this share of the way from 1 / classes to 1."""

LEVELS = "Mean over seeds, [95 % t interval: new seeds, the same test images]"
METHOD = (
    f"{LEVELS}; the rest is paired by seed with the best arm. P: share of seeds on which the best is better, ties half. p: two-sided "
    "permutation test by sign flips against the best. d_z: mean of the differences divided by their standard deviation."
)


def compare_arms(
    sweep: StoredSweep, measure: Measure, per_class: Mapping[str, Mapping[str, float]], n_classes: int | None
) -> Comparison | None:
    """The comparison by the test column of ``measure``; ``None`` while no confirm trial has a figure there."""
    rows = {arm: _measured(sweep.rows(Phase.CONFIRM, arm), measure) for arm in sweep.arms}
    rows = {arm: frame for arm, frame in rows.items() if len(frame)}
    if not rows:
        return None
    values = {arm: _by_seed(frame, measure.test_column) for arm, frame in rows.items()}
    at_chance = {arm for arm, frame in rows.items() if is_at_chance(float(frame["test_accuracy"].mean()), n_classes)}
    comparable = can_be_compared(measure, sweep.space)
    order = list(values)
    if comparable:
        order = statistics.ranked({arm: {seed: measure.rank(each) for seed, each in found.items()} for arm, found in values.items()})
        if measure.stem != "accuracy":
            order.sort(key=lambda arm: arm in at_chance)
    best, p_values = order[0], statistics.compare_pairs([values[arm] for arm in order])
    compared = []
    for position, arm in enumerate(order):
        differences = statistics.paired_differences(values[arm], values[best])
        entry = _alone(arm, rows[arm], values[arm], per_class.get(arm, {}), at_chance=arm in at_chance)
        if comparable and arm != best and len(differences) > 0:
            entry = _against_best(entry, differences, measure, p_values[0, position], len(order))
        compared.append(entry)
    spread = statistics.paired_differences(values[best], values[order[1]]) if comparable and len(order) > 1 else np.empty(0)
    sd = float(np.std(spread, ddof=1)) if statistics.varies(spread) else None
    return Comparison(
        measure=measure.test_column,
        comparable=comparable,
        arms=tuple(compared),
        needed_seeds=NEEDED_SEEDS,
        paired_seeds=len(spread),
        sd_of_differences=sd,
        power=tuple(_power(each, sd, len(spread)) for each in STATED_DIFFERENCES) if sd is not None and measure.stem == "accuracy" else (),
        method=METHOD if comparable else f"{LEVELS}.",
    )


def can_be_compared(measure: Measure, space: Space | None) -> bool:
    """Whether values of the measure mean the same for every arm; those of its own loss do not where nothing is known of the space."""
    return space.is_comparable(measure.val_column) if space is not None else measure.stem != "loss"


def is_at_chance(accuracy: float, n_classes: int | None) -> bool:
    """Whether an accuracy is that of guessing; not, where the number of classes is not known. Classes are taken to be equally frequent."""
    return n_classes is not None and n_classes > 1 and (accuracy - 1 / n_classes) / (1 - 1 / n_classes) < AT_CHANCE


def _alone(
    arm: str,
    rows: pd.DataFrame,
    seeds: Iterable[int],
    per_class: Mapping[str, float],
    *,
    at_chance: bool,
) -> ComparedArm:
    return ComparedArm(
        arm=arm,
        seeds=tuple(sorted(seeds)),
        measures=_estimates(rows),
        per_class=per_class,
        difference=None,
        p_best_wins=None,
        p_value=None,
        p_holm=None,
        effect_size=None,
        at_chance=at_chance,
        clearly_behind=False,
    )


def _against_best(arm: ComparedArm, differences: Seeds, measure: Measure, p: tuple[float, float], n_arms: int) -> ComparedArm:
    """``differences``: of the arm less the best, by seed."""
    advantages = -differences if measure.maximize else differences
    least, most = measure.metric.least, measure.metric.most
    return replace(
        arm,
        difference=statistics.estimate(differences, least - most, most - least),
        p_best_wins=statistics.probability_of_winning(advantages),
        p_value=p[0],
        p_holm=p[1],
        effect_size=statistics.cohens_d_z(differences),
        clearly_behind=statistics.is_clearly_behind(advantages, p[1], n_arms),
    )


def _power(difference: float, sd: float, n_seeds: int) -> Power:
    low, high = statistics.sd_interval(sd, n_seeds - 1)
    return Power(difference, *(statistics.power(difference, spread, n_seeds) for spread in (sd, high, low)))


def _measured(rows: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """Complete trials with a finite figure, one per seed: the last where a seed was confirmed twice."""
    complete = rows[rows["state"] == str(TrialState.COMPLETE)]
    finite = complete[np.isfinite(complete[measure.test_column].astype(float)) & complete["seed"].notna()]
    return finite.drop_duplicates("seed", keep="last")


def _by_seed(rows: pd.DataFrame, column: str) -> dict[int, float]:
    return {int(seed): float(value) for seed, value in zip(rows["seed"], rows[column], strict=True)}


def _estimates(rows: pd.DataFrame) -> dict[str, Estimate]:
    found = {}
    for name in MEASURES:
        values = rows.sort_values("seed")[name].to_numpy(dtype=np.float64)
        if not len(values) or not np.isfinite(values).all():
            continue
        if name != "temperature":
            found[name] = statistics.estimate(values, metric_of(name).least, metric_of(name).most)
        elif not np.isin(values, TEMPERATURE_RANGE).any():
            found[name] = statistics.estimate(values)
    return found


def accuracy_per_class(predictions: pd.DataFrame, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Recall of each class on the test split by arm: the mean over that arm's trials, from stored logits.

    ``classes`` names them where it fits the logits; else they are numbered.
    """
    names = [name for name in predictions.columns if name.startswith("logit_")]
    names.sort(key=lambda name: int(name.removeprefix("logit_")))
    test = predictions[predictions["split"] == "test"]
    if test.empty or not names:
        return {}
    labels = [printable(str(name)) for name in classes] if len(classes) == len(names) else [str(index) for index in range(len(names))]
    logits = test[names].to_numpy(dtype=np.float32)
    hits = (logits.argmax(axis=1) == test["label"].to_numpy()) & np.isfinite(logits).all(axis=1)
    recalls = pd.DataFrame({"arm": test["arm"], "trial": test["trial"], "label": test["label"], "hit": hits})
    by_trial = recalls.groupby(["arm", "trial", "label"], observed=True)["hit"].mean()
    by_arm = by_trial.groupby(level=["arm", "label"]).mean()
    found: dict[str, dict[str, float]] = {}
    for arm, label, recall in by_arm.reset_index().itertuples(index=False):
        if 0 <= label < len(labels):
            found.setdefault(printable(str(arm)), {})[labels[label]] = float(recall)
    return found
