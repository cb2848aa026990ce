"""What a reader must know before trusting a sweep's figures: one sentence each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from sweeper.catalogue import LOSSES, TRAINING_PARAMETERS
from sweeper.metrics import TEMPERATURE_RANGE
from sweeper.records import Phase
from sweeper.report import numbers
from sweeper.report.comparison import is_at_chance
from sweeper.report.measure import Measure
from sweeper.report.reading import StoredSweep
from sweeper.report.summary import ArmSummary, Comparison
from sweeper.space import Arm, Constant, FloatRange, IntRange, Space
from sweeper.text import plural, shown
from sweeper.trial_counts import BestTrial

AT_BOUND = 0.05
"""A best value this close to an end of its range, as a share of the range on its own scale, is said to lie at the bound."""


def cautions(sweep: StoredSweep, arms: Sequence[ArmSummary], comparison: Comparison | None, measure: Measure) -> tuple[str, ...]:
    """All warnings about one sweep, the gravest first."""
    return (
        *sweep.problems,
        *_data(sweep.space),
        *_gradients(sweep.space),
        *_seeds(arms, comparison),
        *_budgets(arms),
        *_bad_ends(sweep, arms),
        *_temperatures(sweep, arms),
        *_other_configuration(sweep, arms, measure),
        *_bounds(sweep.space, arms),
        *_measure(sweep.space, comparison, measure),
    )


def guessing(
    sweep: StoredSweep, arms: Sequence[ArmSummary], comparison: Comparison | None, measure: Measure, n_classes: int | None
) -> Iterator[str]:
    """By other measures than accuracy: arms whose figures are those of a network that guesses. Said before all else."""
    if measure.stem == "accuracy":
        return
    confirmed = {arm.arm: arm for arm in comparison.arms} if comparison else {}
    for arm in arms:
        if arm.arm in confirmed:
            accuracy = confirmed[arm.arm].measures["test_accuracy"].mean if confirmed[arm.arm].at_chance else None
        else:
            rows = sweep.rows(Phase.SEARCH, arm.arm)
            found = rows.loc[rows["trial"] == (arm.best.trial if arm.best else None), "last_val_accuracy"].astype(float)
            accuracy = float(found.iloc[0]) if len(found) and is_at_chance(float(found.iloc[0]), n_classes) else None
        if accuracy is not None:
            yield (
                f"{arm.arm} classifies no better than guessing (accuracy {numbers.percent(accuracy)} % of {n_classes} classes): "
                f"its {measure.label} says nothing for it"
            )


def _data(space: Space | None) -> Iterator[str]:
    if space is None:
        return
    if space.dataset.validation == "test":
        yield "every epoch was measured on the test split: what was chosen was chosen on it, so the figures are too good"
    if space.dataset.name == "synthetic":
        yield "the data set is synthetic: what the losses do on generated images says little about real ones"


def _gradients(space: Space | None) -> Iterator[str]:
    """The mean over batch x classes divides some gradients by the number of classes: at one learning rate that decides who wins."""
    if space is None or space.training.reduction != "elements":
        return
    definitions = [definition for arm in space.arms for definition in space.definitions(arm)]
    losses = {str(each.parameter.value) for each in definitions if each.name == "loss" and isinstance(each.parameter, Constant)}
    is_tuned = any(definition.name == "learning_rate" and definition.is_free for definition in definitions)
    if not is_tuned and len({loss in LOSSES and LOSSES[loss].elementwise for loss in losses}) > 1:
        yield (
            "reduction elements divides the gradient of elementwise losses by the number of classes and that of the others not, "
            "at one learning rate for all: the losses are not compared on equal terms"
        )


def _seeds(arms: Sequence[ArmSummary], comparison: Comparison | None) -> Iterator[str]:
    if comparison is None or len(arms) < 2:
        return
    n_seeds = min(arm.difference.n if arm.difference else len(arm.seeds) for arm in comparison.arms)
    if comparison.comparable and n_seeds < comparison.needed_seeds:
        yield (f"{plural(n_seeds, 'paired seed')} cannot reach p = 0.05: at least {comparison.needed_seeds} are needed (compare.seeds)")
    counts = {len(arm.seeds) for arm in comparison.arms}
    if len(counts) > 1:
        each = ", ".join(f"{arm.arm} {len(arm.seeds)}" for arm in comparison.arms)
        yield f"the arms have different numbers of measured seeds ({each}); differences are over the seeds that both arms have"


def _budgets(arms: Sequence[ArmSummary]) -> Iterator[str]:
    if len({arm.search.planned for arm in arms}) > 1:
        each = ", ".join(f"{arm.arm} {numbers.count(arm.search.planned)}" for arm in arms)
        yield f"the arms have unequal budgets of search trials ({each}): more trials alone give a better best"
        return
    is_finished = all(arm.search.ends.finished >= (arm.search.planned or 0) for arm in arms)
    if is_finished and len({arm.search.ends.finished for arm in arms}) > 1:
        each = ", ".join(f"{arm.arm} {arm.search.ends.finished:,}" for arm in arms)
        yield f"the arms had unequal numbers of search trials ({each}): more trials alone give a better best"


def _bad_ends(sweep: StoredSweep, arms: Sequence[ArmSummary]) -> Iterator[str]:
    for arm in arms:
        for phase, ends in ((Phase.SEARCH, arm.search.ends), (Phase.CONFIRM, arm.confirm.ends)):
            if ends.failed:
                rows = sweep.rows(phase, arm.arm)
                errors = rows.loc[rows["state"] == "failed", "error"].dropna()
                reason = f": {shown(str(errors.mode().iloc[0]))}" if len(errors) else ""
                yield f"{arm.arm}: {plural(ends.failed, f'{phase} trial')} failed{reason}"
            if ends.diverged and phase is Phase.CONFIRM:
                yield f"{arm.arm}: {plural(ends.diverged, 'confirm trial')} diverged; its means leave them out and are too good"
            elif ends.diverged:
                yield f"{arm.arm}: {plural(ends.diverged, 'search trial')} diverged (a loss was no longer finite)"


def _temperatures(sweep: StoredSweep, arms: Sequence[ArmSummary]) -> Iterator[str]:
    for arm in arms:
        rows = sweep.rows(Phase.CONFIRM, arm.arm)
        found = rows.loc[rows["state"] == "complete", "temperature"].astype(float)
        n_bound = int(found.isin(TEMPERATURE_RANGE).sum())
        if n_bound:
            low, high = TEMPERATURE_RANGE
            yield (
                f"{arm.arm}: the temperature of {plural(n_bound, 'seed')} of {len(found)} lies at a bound of its fit ({low:g} or "
                f"{high:g}), so that no mean T is given"
            )


def _other_configuration(sweep: StoredSweep, arms: Sequence[ArmSummary], measure: Measure) -> Iterator[str]:
    if sweep.space is None or sweep.space.search.metric != measure.val_column:
        return
    for arm in arms:
        rows = sweep.rows(Phase.CONFIRM, arm.arm)
        if arm.best is not None and len(rows) and any(sweep.parameters_of(row) != arm.best.parameters for row in rows.to_dict("records")):
            yield f"{arm.arm}: confirm trained another configuration than the best of its search, {arm.best.trial}"


def _bounds(space: Space | None, arms: Sequence[ArmSummary]) -> Iterator[str]:
    if space is None:
        return
    best = {arm.arm: arm.best for arm in arms if arm.best is not None}
    for arm in space.arms:
        if arm.name in best:
            yield from _bounds_of(space, arm, best[arm.name])


def _bounds_of(space: Space, arm: Arm, best: BestTrial) -> Iterator[str]:
    for definition in space.definitions(arm):
        parameter, value = definition.parameter, best.parameters.get(definition.name)
        if not isinstance(parameter, FloatRange | IntRange) or isinstance(value, bool | str) or value is None:
            continue
        scale = math.log if parameter.log else float
        low, high = scale(parameter.low), scale(parameter.high)
        position = (scale(value) - low) / (high - low)
        for is_at, side, bound in ((position <= AT_BOUND, "low", parameter.low), (position >= 1 - AT_BOUND, "high", parameter.high)):
            if is_at:
                advice = f"{side} is as far as it can go" if _is_last(best, definition.name, bound, side) else f"widen {side} to be sure"
                yield f"{arm.name}: the best {definition.name}, {value:.4g}, lies at the {side} bound {bound:g} of its range; {advice}"


def _is_last(best: BestTrial, name: str, bound: float, side: str) -> bool:
    """Whether no value beyond the bound is allowed."""
    loss = LOSSES.get(str(best.parameters.get("loss")))
    entry = TRAINING_PARAMETERS.get(name) or (loss.parameters.get(name) if loss else None)
    return entry is not None and (bound <= entry.low if side == "low" else bound >= entry.high)


def _measure(space: Space | None, comparison: Comparison | None, measure: Measure) -> Iterator[str]:
    if space is not None and comparison is not None and space.search.metric != measure.val_column:
        yield f"the configurations compared were chosen by {space.search.metric}, not by {measure.val_column}"
    if measure.stem == "loss":
        yield f"{measure.val_column} is each trial's own loss: its values cannot be compared between losses"
