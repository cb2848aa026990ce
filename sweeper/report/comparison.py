"""The confirm phase: the arms side by side on the same fresh seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from sweeper.metrics import metric_of
from sweeper.report import numbers, statistics
from sweeper.report.measure import Measure
from sweeper.report.summary import ArmSummary, ClassAccuracy, ComparedArm, Comparison, Contrast, Estimate, SearchSummary
from sweeper.significance import NEEDED_SEARCHES, NEEDED_SEEDS, SIGNIFICANCE
from sweeper.space import Space
from sweeper.text import printable

if TYPE_CHECKING:
    from jaxtyping import Float64

    from sweeper.report.statistics import Configurations, Units

Unit: TypeAlias = Literal["search", "seed"]

STATED_DIFFERENCES = (0.005, 0.01, 0.02)
"""True differences in accuracy whose chance of being found a report states."""

COLLAPSE = 0.1
"""A confirm trial whose accuracy is so far below the median of its arm has collapsed."""
AT_CHANCE = 0.02
"""An accuracy is that of guessing up to this share of the way from 1 / classes to 1."""


@dataclass(frozen=True, slots=True)
class OfLogits:
    """What the stored logits of confirm trials say, by arm: :attr:`ComparedArm.per_class` and :attr:`ComparedArm.image_error`."""

    per_class: Mapping[str, Mapping[str, ClassAccuracy]]
    image_errors: Mapping[str, float]
    n_classes: int | None


def compare_arms(arms: Sequence[ArmSummary], measure: Measure, space: Space | None, logits: OfLogits) -> Comparison | None:
    """The comparison by the test column of ``measure``; ``None`` while no confirm trial has a figure there."""
    confirmed = {arm.arm: [search for search in arm.searches if search.seeds] for arm in arms}
    confirmed = {arm: searches for arm, searches in confirmed.items() if searches}
    if not confirmed:
        return None
    unit = unit_of(max(len(arm.searches) for arm in arms))
    comparable = can_be_compared(measure, space)
    margin = space.compare.margin / 100 if space is not None and measure.stem == "accuracy" else None
    at_chance = {arm for arm, searches in confirmed.items() if is_at_chance(_mean_accuracy(searches), logits.n_classes)}
    order = _ranked(confirmed, measure, at_chance) if comparable else list(confirmed)
    compared = []
    for arm in order:
        common, contrast = _common_seeds(confirmed[order[0]], confirmed[arm]), None
        if comparable and arm != order[0] and common:
            best, rival = (_figures(confirmed[each], measure.test_column, common, unit) for each in (order[0], arm))
            configurations = [_configurations(confirmed[each], measure.test_column, common, unit) for each in (order[0], arm)]
            bounds = {"least": measure.metric.least, "most": measure.metric.most}
            contrast = statistics.contrast(
                unit, best, rival, maximize=measure.maximize, margin=margin, n_arms=len(order), configurations=configurations, **bounds
            )
        compared.append(
            ComparedArm(
                arm=arm,
                measures=_estimates(confirmed[arm], unit),
                per_class=logits.per_class.get(arm, {}),
                image_error=logits.image_errors.get(arm),
                at_chance=arm in at_chance,
                confirmed=sum(len(search.seeds) for search in confirmed[arm]),
                collapsed=_n_collapsed(confirmed[arm], logits.n_classes),
                common_seeds=common,
                contrast=contrast,
            )
        )
    contrasts = [arm.contrast for arm in compared if arm.contrast is not None]
    stated = STATED_DIFFERENCES if contrasts and measure.stem == "accuracy" else ()
    return Comparison(
        measure=measure.test_column,
        comparable=comparable,
        unit=unit,
        needed=NEEDED_SEARCHES if unit == "search" else NEEDED_SEEDS,
        margin=margin,
        arms=tuple(compared),
        power=tuple(power for each in stated if (power := statistics.chance_to_find(contrasts[0], each)) is not None),
        method=_method(unit, contrasts, margin),
    )


def can_be_compared(measure: Measure, space: Space | None) -> bool:
    """Whether values of the measure mean the same for every arm; those of its own loss do not where nothing is known of the space."""
    return space.is_comparable(measure.val_column) if space is not None else measure.stem != "loss"


def is_at_chance(accuracy: float, n_classes: int | None) -> bool:
    """Whether an accuracy is that of guessing; not, where the number of classes is not known. Classes are taken to be equally frequent."""
    return n_classes is not None and n_classes > 1 and (accuracy - 1 / n_classes) / (1 - 1 / n_classes) < AT_CHANCE


def _n_collapsed(searches: Iterable[SearchSummary], n_classes: int | None) -> int:
    accuracies = np.array([value for search in searches for value in search.values["test_accuracy"] if value is not None])
    median = float(np.median(accuracies)) if len(accuracies) else 0.0
    if is_at_chance(median, n_classes):
        return 0
    return sum(value < median - COLLAPSE or is_at_chance(value, n_classes) for value in accuracies.tolist())


def can_reach(contrast: Contrast) -> bool:
    """Whether permutations of so many units can have a p of 0.05: that of the two that are farthest out, of one where numbers differ."""
    n_extreme = 2 if contrast.n_best == contrast.n_rival else 1
    return n_extreme / statistics.n_permutations(contrast.unit, contrast.n_best, contrast.n_rival) <= SIGNIFICANCE


def _mean_accuracy(searches: Iterable[SearchSummary]) -> float:
    known = [search.means["test_accuracy"] for search in searches if "test_accuracy" in search.means]
    return float(np.mean(known)) if known else float("nan")


def _ranked(confirmed: Mapping[str, Sequence[SearchSummary]], measure: Measure, at_chance: set[str]) -> list[str]:
    """From best to worst; an arm whose searches have no seed in common can be compared with none, and comes last."""
    samples = {}
    for arm, searches in confirmed.items():
        common = _common_seeds(searches)
        figures = np.mean([_figures([search], measure.test_column, common, "seed") for search in searches], axis=0)
        samples[arm] = {seed: measure.rank(float(figure)) for seed, figure in zip(common, figures, strict=True)}
    order = statistics.ranked({arm: sample for arm, sample in samples.items() if sample})
    order += [arm for arm in samples if arm not in order]
    return order if measure.stem == "accuracy" else sorted(order, key=lambda arm: arm in at_chance)


def _common_seeds(*arms: Sequence[SearchSummary]) -> tuple[int, ...]:
    """The seeds that every search of all these arms has."""
    return tuple(sorted(set.intersection(*(set(search.seeds) for searches in arms for search in searches))))


def _figures(searches: Sequence[SearchSummary], column: str, seeds: Sequence[int], unit: Unit) -> Units:
    """The figure of each search, its mean over ``seeds``, or of each of the seeds of the only search."""
    table = _by_seed(searches, column, seeds)
    return np.asarray(table.mean(axis=1) if unit == "search" else table[0])


def _configurations(searches: Sequence[SearchSummary], column: str, seeds: Sequence[int], unit: Unit) -> Configurations | None:
    """A number for what each search found, the same where both the configuration and its figures on ``seeds`` are.

    Equal figures alone can be chance. Equal configurations that a GPU did not train to the same bits are runs of their own.
    """
    if unit == "seed":
        return None
    parameters = [search.pick.parameters if search.pick is not None else search.number for search in searches]
    found = list(zip(parameters, _by_seed(searches, column, seeds).tolist(), strict=True))
    return np.array([found.index(each) for each in found])


def _by_seed(searches: Sequence[SearchSummary], column: str, seeds: Sequence[int]) -> Float64[np.ndarray, "search seed"]:
    figures = [dict(zip(search.seeds, search.values[column], strict=True)) for search in searches]
    return np.array([[found[seed] for seed in seeds] for found in figures], dtype=np.float64)


def _estimates(searches: Sequence[SearchSummary], unit: Unit) -> dict[str, Estimate]:
    estimates, common = {}, _common_seeds(searches)
    for name in searches[0].values:
        if all(name in search.means for search in searches):
            bounds = (metric_of(name).least, metric_of(name).most) if name != "temperature" else ()
            figures = [search.means[name] for search in searches] if unit == "search" else searches[0].values[name]
            configurations = _configurations(searches, name, common, unit)
            estimates[name] = statistics.estimate(np.array(figures, dtype=np.float64), *bounds, configurations=configurations)
    return estimates


def _method(unit: Unit, contrasts: Sequence[Contrast], margin: float | None) -> str:
    """How every figure of the comparison is computed, for one who wants to compute it again."""
    if unit == "search":
        level = "Mean over searches, of each its mean over its seeds [95 % t interval: new searches on the same seeds and test images]"
    else:
        level = "Mean over seeds [95 % t interval: new seeds, same test images]"
    if not contrasts:
        return f"{level}."
    if unit == "search":
        pairing, interval = "over the seeds that all searches of both arms have", "Welch's t"
        share, test = "of all pairs of one search of each arm the share", "two-sided permutation of the search labels"
    else:
        pairing, interval = "paired by seed", "t"
        share, test = "share of seeds", "two-sided permutation by sign flips"
    equal = f"; else equal: the 90 % interval lies within ± {100 * margin:g} points" if margin is not None else ""
    tried = numbers.listed([_permutations(*each) for each in dict.fromkeys((unit, one.n_best, one.n_rival) for one in contrasts)], "or")
    return (
        f"{level}. To best: {pairing} [95 % {interval} interval]. P: {share} in which the best is better, ties half. p: {test}, {tried}. "
        f"Worse: p <= {SIGNIFICANCE:g} and the interval excludes 0{equal}."
    )


def _permutations(unit: Unit, n_best: int, n_rival: int) -> str:
    possible = statistics.n_permutations(unit, n_best, n_rival)
    if possible <= statistics.N_RESAMPLES:
        return f"all {possible:,}"
    return f"{statistics.N_RESAMPLES:,} of {possible:,} drawn by numpy's default_rng({statistics.SEED})"


def unit_of(n_searches: int) -> Unit:
    """What is counted where each arm is searched so many times."""
    return "search" if n_searches > 1 else "seed"


def logit_columns(predictions: pd.DataFrame) -> list[str]:
    """The columns of logits in the order of the classes."""
    names = [name for name in predictions.columns if name.startswith("logit_")]
    return sorted(names, key=lambda name: int(name.removeprefix("logit_")))


def of_logits(predictions: pd.DataFrame, classes: Sequence[str], unit: Unit) -> OfLogits:
    """Accuracy per class and the error by images of each arm, from the logits of its networks on the test split.

    ``classes`` names them where it fits the logits; else they are numbered.
    """
    names = logit_columns(predictions)
    n_classes = len(classes) or len(names) or None
    test = predictions[predictions["split"] == "test"]
    if test.empty or not names:
        return OfLogits({}, {}, n_classes)
    labels = [printable(str(name)) for name in classes] if len(classes) == len(names) else [str(index) for index in range(len(names))]
    logits = test[names].to_numpy(dtype=np.float32)
    hits = (logits.argmax(axis=1) == test["label"].to_numpy()) & np.isfinite(logits).all(axis=1)
    found = pd.DataFrame({**{name: test[name] for name in ("arm", "label", "image", unit)}, "hit": hits.astype(np.float64)})
    by_unit = found.groupby(["arm", "label", "image", unit], observed=True)["hit"].mean().unstack()
    per_class: dict[str, dict[str, ClassAccuracy]] = {}
    key: Any
    for key, rows in by_unit.groupby(level=["arm", "label"], observed=True):
        arm, label = key
        if 0 <= label < len(labels):
            shares = rows.dropna(axis="columns", how="all").dropna().to_numpy().T
            accuracy = ClassAccuracy(shares.shape[1], float(shares.mean()), *statistics.share_interval(shares))
            per_class.setdefault(printable(str(arm)), {})[labels[label]] = accuracy
    by_image = found.groupby(["arm", "image"], observed=True)["hit"].mean().groupby(level="arm")
    errors = {printable(str(arm)): error for arm, error in by_image.sem().items() if np.isfinite(error)}
    return OfLogits(per_class, errors, n_classes)
