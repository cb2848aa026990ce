"""The confirm phase: the arms side by side on the same fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from sweeper.records import Phase, TrialState
from sweeper.space.wording import printable

from . import statistics
from .measure import TEST_MEASURES, Measure
from .reading import StoredSweep
from .summary import ComparedArm, Comparison, Estimate, Power

MEASURES = (*TEST_MEASURES, "temperature")
STATED_DIFFERENCES = (0.005, 0.01, 0.02)
"""True differences in accuracy whose chance of being found a report states."""

METHOD = (
    "Mean over seeds, [95 % bootstrap interval, percentile method, widened for few seeds]; the rest is paired by seed with the best arm. "
    "P: share of seeds on which the best is better, ties half. p: two-sided permutation test by sign flips, Holm-corrected over all pairs "
    "of arms. d_z: mean of the differences divided by their standard deviation."
)


def compare_arms(sweep: StoredSweep, measure: Measure, per_class: Mapping[str, Mapping[str, float]]) -> Comparison | None:
    """The comparison by the test column of ``measure``; ``None`` while no confirm trial has a figure there."""
    rows = {arm: _measured(sweep.rows(Phase.CONFIRM, arm), measure) for arm in sweep.arms}
    values = {arm: _by_seed(frame, measure.test_column) for arm, frame in rows.items() if len(frame)}
    if not values:
        return None
    arms = sorted(values, key=lambda arm: measure.rank(float(np.mean(list(values[arm].values())))), reverse=True)
    p_values = statistics.compare_pairs([values[arm] for arm in arms])
    best = arms[0]
    spread = statistics.paired_differences(values[best], values[arms[1]]) if len(arms) > 1 else np.empty(0)
    sd = float(np.std(spread, ddof=1)) if len(spread) > 1 else None
    return Comparison(
        measure=measure.test_column,
        arms=tuple(
            _compare(arm, position, rows[arm], values, best, measure, p_values, per_class.get(arm, {})) for position, arm in enumerate(arms)
        ),
        needed_seeds=statistics.needed_seeds(len(sweep.arms)),
        sd_of_differences=sd,
        power=tuple(Power(each, statistics.power(each, sd, len(spread), len(arms))) for each in STATED_DIFFERENCES)
        if sd is not None and measure.stem == "accuracy"
        else (),
        method=METHOD,
    )


def _compare(
    arm: str,
    position: int,
    rows: pd.DataFrame,
    values: Mapping[str, Mapping[int, float]],
    best: str,
    measure: Measure,
    p_values: Mapping[tuple[int, int], tuple[float, float]],
    per_class: Mapping[str, float],
) -> ComparedArm:
    differences = statistics.paired_differences(values[arm], values[best])
    is_set_against_best = arm != best and len(differences) > 0
    p_value, p_holm = p_values[0, position] if is_set_against_best else (None, None)
    return ComparedArm(
        arm=arm,
        seeds=tuple(sorted(values[arm])),
        measures=_estimates(rows),
        per_class=per_class,
        difference=statistics.estimate(differences) if is_set_against_best else None,
        p_best_wins=statistics.probability_of_winning(-differences if measure.maximize else differences) if is_set_against_best else None,
        p_value=p_value,
        p_holm=p_holm,
        effect_size=statistics.cohens_d_z(differences) if is_set_against_best else None,
    )


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
        if len(values) and np.isfinite(values).all():
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
