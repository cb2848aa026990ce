"""What a reader must know before trusting a sweep's figures: one sentence each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

from sweeper.catalogue import LOSSES, TRAINING_PARAMETERS
from sweeper.metrics import TEMPERATURE_RANGE
from sweeper.records import Phase
from sweeper.report import numbers
from sweeper.report.comparison import COLLAPSE, can_reach, is_at_chance
from sweeper.report.measure import Measure
from sweeper.report.reading import StoredSweep
from sweeper.report.summary import ArmSummary, Comparison
from sweeper.space import Arm, Constant, FloatRange, IntRange, Space, contained
from sweeper.text import plural, shown
from sweeper.trial_counts import BestTrial

FEW_COMPLETE = 5
"""A search with fewer complete trials has little to pick from."""
UNEQUAL_EPOCHS = 1.1
"""Searches of one arm may spend this many times the epochs of another before that is told."""
AT_BOUND = 0.05
"""A best value this close to an end of its range, as a share of the range on its own scale, is said to lie at the bound."""


def cautions(sweep: StoredSweep, arms: Sequence[ArmSummary], comparison: Comparison | None, measure: Measure) -> tuple[str, ...]:
    """All warnings about one sweep, the gravest first."""
    return (
        *sweep.problems,
        *_data(sweep.space),
        *_gradients(sweep.space),
        *_units(arms, comparison),
        *_budgets(arms),
        *_bad_ends(sweep, arms),
        *_collapsed(comparison),
        *_temperatures(sweep, arms),
        *_other_configuration(sweep, arms, measure),
        *_few_complete(sweep.space, arms),
        *_late_picks(sweep.space, arms),
        *_unlike_spaces(sweep.space),
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
            found = rows.loc[rows["trial"] == (arm.best.trial if arm.best else None), sweep.judged("val_accuracy")].astype(float)
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


def _units(arms: Sequence[ArmSummary], comparison: Comparison | None) -> Iterator[str]:
    """Too few searches or seeds, and not the same of each arm."""
    if comparison is None or len(arms) < 2:
        return
    compared = [arm for arm in arms if arm.arm in {each.arm for each in comparison.arms}]
    is_search, key = comparison.unit == "search", f"compare.{'searches' if comparison.unit == 'search' else 'seeds'}"
    counts = {arm.arm: sum(bool(each.seeds) for each in arm.searches) if is_search else len(arm.searches[0].seeds) for arm in compared}
    contrasts = [arm.contrast for arm in comparison.arms if arm.contrast is not None]
    few = [each for each in contrasts if not can_reach(each)]
    if few:
        ns = [n for each in few for n in (each.n_best, each.n_rival)]
        units = f"{numbers.counted(ns, 'search', 'searches')} of each arm" if is_search else plural(min(ns), "paired seed")
        yield f"{units} cannot reach p = 0.05: at least {comparison.needed} are needed ({key})"
    if len(set(counts.values())) > 1:
        units, over = ("searches", "all of them") if is_search else ("seeds", "the seeds that both arms have")
        yield f"the arms have different numbers of measured {units} ({_each(counts)}); differences are over {over}"
    if is_search:
        planned = {seed for arm in compared for each in arm.searches for seed in each.seeds}
        for arm in comparison.arms:
            if len(arm.common_seeds) < len(planned) and arm.contrast is not None:
                shared = f"{len(arm.common_seeds)} of {plural(len(planned), 'seed')}"
                yield f"{arm.arm} is compared with {comparison.arms[0].arm} on {shared}: those that all searches of both arms have"


def _each(figures: Mapping[str, object]) -> str:
    """``focal 92, l1 131``."""
    return ", ".join(f"{arm} {figure:,}" if isinstance(figure, int) else f"{arm} {figure}" for arm, figure in figures.items())


def _budgets(arms: Sequence[ArmSummary]) -> Iterator[str]:
    if len({arm.search.planned for arm in arms}) > 1:
        each = ", ".join(f"{arm.arm} {numbers.count(arm.search.planned)}" for arm in arms)
        yield f"the arms have unequal budgets of search trials ({each}): more trials alone give a better best"
        return
    if not all(map(_is_finished, arms)):
        return
    finished, epochs = {arm.arm: arm.search.ends.finished for arm in arms}, {arm.arm: arm.search.epochs for arm in arms}
    if len(set(finished.values())) > 1:
        yield f"the arms had unequal numbers of search trials ({_each(finished)}): more trials alone give a better best"
    elif max(epochs.values()) > UNEQUAL_EPOCHS * min(epochs.values()):
        yield f"the searches of the arms spent unequal numbers of epochs ({_each(epochs)}): pruning spared some more than others"


def _is_finished(arm: ArmSummary) -> bool:
    return arm.search.planned is not None and arm.search.ends.finished >= arm.search.planned


def _in_searches(counts: Mapping[str, int], arms: Sequence[ArmSummary]) -> str:
    """``in 3 of 5 searches of focal``; without a number where each arm has one search: ``in the search of focal and l1``."""
    totals = {arm.arm: len(arm.searches) for arm in arms}
    if max(totals.values()) == 1:
        return f"in the search of {numbers.listed(list(counts))}"
    return "in " + numbers.listed([f"{count} of {totals[arm]} searches of {arm}" for arm, count in counts.items()])


def _tuned(space: Space | None, arms: Sequence[ArmSummary]) -> list[ArmSummary]:
    """The arms that have something to search, and have searched it."""
    if space is None:
        return []
    return [
        arm
        for arm in arms
        if arm.arm in space.definitions_by_arm and any(each.is_free for each in space.definitions_by_arm[arm.arm]) and _is_finished(arm)
    ]


def _few_complete(space: Space | None, arms: Sequence[ArmSummary]) -> Iterator[str]:
    tuned = _tuned(space, arms)
    counts = {arm.arm: sum(each.search.ends.complete < FEW_COMPLETE for each in arm.searches) for arm in tuned}
    counts = {arm: count for arm, count in counts.items() if count}
    if counts:
        yield f"{_in_searches(counts, tuned)} fewer than {FEW_COMPLETE} trials were complete: a pick out of so few is little tuned"


def _late_picks(space: Space | None, arms: Sequence[ArmSummary]) -> Iterator[str]:
    """Arms whose picks were found late more often than by chance, which is in one search of four."""
    tuned = _tuned(space, arms)
    counts = {
        arm.arm: sum(
            each.pick is not None and each.search.ends.finished >= 4 and each.pick.number >= 0.75 * each.search.ends.finished
            for each in arm.searches
        )
        for arm in tuned
    }
    counts = {arm.arm: counts[arm.arm] for arm in tuned if counts[arm.arm] > len(arm.searches) / 4}
    if counts:
        yield f"{_in_searches(counts, tuned)} the best trial was among the last quarter: more trials may find better"


def _unlike_spaces(space: Space | None) -> Iterator[str]:
    """Arms that have more to tune than others, and arms that can be another."""
    if space is None or len(space.arms) < 2 or not space.is_tuned:
        return
    free = {arm.name: sum(each.is_free for each in space.definitions(arm)) for arm in space.arms}
    if len(set(free.values())) > 1:
        yield f"the arms have unequal numbers of free parameters ({_each(free)}): as many trials search more of them less thoroughly"
    still = [arm for arm, number in free.items() if number == 0]
    if still and space.compare.searches > 1:
        yield f"{numbers.listed(still)}: nothing is tuned, so that all searches are one and the same and vary less than those of other arms"
    for arm, other in permutations(space.arms, 2):
        if (where := contained(space, arm, other)) is not None and contained(space, other, arm) is None:
            yield f"the space of {arm.name} contains that of {other.name}{where}: its best cannot be worse, only harder to find"


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


def _collapsed(comparison: Comparison | None) -> Iterator[str]:
    for arm in comparison.arms if comparison else ():
        if arm.collapsed:
            yield (
                f"{arm.arm}: {arm.collapsed} of {plural(arm.confirmed, 'confirm trial')} collapsed (accuracy at chance, or more than "
                f"{100 * COLLAPSE:g} points below the arm's median)"
            )


def _temperatures(sweep: StoredSweep, arms: Sequence[ArmSummary]) -> Iterator[str]:
    for arm in arms:
        rows = sweep.rows(Phase.CONFIRM, arm.arm)
        found = rows.loc[rows["state"] == "complete", "temperature"].astype(float)
        n_bound = int(found.isin(TEMPERATURE_RANGE).sum())
        if n_bound:
            low, high = TEMPERATURE_RANGE
            yield (
                f"{arm.arm}: the temperature of {plural(n_bound, 'confirm trial')} of {len(found)} lies at a bound of its fit ({low:g} or "
                f"{high:g}), so that no mean T is given"
            )


def _other_configuration(sweep: StoredSweep, arms: Sequence[ArmSummary], measure: Measure) -> Iterator[str]:
    if sweep.space is None or sweep.space.search.metric != measure.val_column:
        return
    for arm in arms:
        for search in arm.searches:
            rows, pick = sweep.rows(Phase.CONFIRM, arm.arm, search.number), search.pick
            if pick is not None and len(rows) and any(sweep.parameters_of(row) != pick.parameters for row in rows.to_dict("records")):
                yield f"{arm.arm}: confirm trained another configuration than the best of its search, {pick.trial}"


def _bounds(space: Space | None, arms: Sequence[ArmSummary]) -> Iterator[str]:
    picks = {arm.arm: [search.pick for search in arm.searches if search.pick is not None] for arm in arms}
    for arm in space.arms if space is not None else ():
        for definition in space.definitions(arm) if space is not None else ():
            if isinstance(definition.parameter, FloatRange | IntRange):
                yield from _bounds_of(arm, definition.name, definition.parameter, picks.get(arm.name, []))


def _bounds_of(arm: Arm, name: str, parameter: FloatRange | IntRange, picks: Sequence[BestTrial]) -> Iterator[str]:
    scale = math.log if parameter.log else float
    low, high = scale(parameter.low), scale(parameter.high)
    found = [(pick, pick.parameters.get(name)) for pick in picks]
    places = [(pick, value, (scale(value) - low) / (high - low)) for pick, value in found if isinstance(value, int | float)]
    for side, bound in (("low", parameter.low), ("high", parameter.high)):
        there = [(pick, value) for pick, value, place in places if (place <= AT_BOUND if side == "low" else place >= 1 - AT_BOUND)]
        if there:
            pick, value = there[0]
            advice = f"{side} is as far as it can go" if _is_last(pick, name, bound, side) else f"widen {side} to be sure"
            where = f"lies at the {side} bound {bound:g} of its range"
            if len(picks) == 1:
                yield f"{arm.name}: the best {name}, {value:.4g}, {where}; {advice}"
            else:
                yield f"{arm.name}: the best {name} {where} in {len(there)} of {len(picks)} searches; {advice}"


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
