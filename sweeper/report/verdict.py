"""The verdict: one sentence that says what a sweep found, and no more than its data support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.metrics import best_of
from sweeper.report import numbers
from sweeper.report.comparison import can_be_compared
from sweeper.report.measure import Measure
from sweeper.report.summary import ArmSummary, ComparedArm, Comparison, Verdict
from sweeper.significance import SIGNIFICANCE
from sweeper.space import Space
from sweeper.text import plural


def decide(arms: Sequence[ArmSummary], comparison: Comparison | None, measure: Measure, space: Space | None) -> Verdict:
    """The verdict. A winner is called only if the whole confirm phase is done and the best arm beats every other at 0.05, in its favour.

    No winner is called where an arm has no confirmed seed, nor one of which a confirm trial diverged: its mean leaves out the seeds on
    which it does not train. By other measures than accuracy an arm at chance neither wins nor has to be beaten.
    """
    comparable = comparison.comparable if comparison else can_be_compared(measure, space)
    if not comparable and len(arms) > 1:
        return Verdict(
            "not_comparable",
            f"No verdict: {measure.label} is each arm's own, and its values cannot be compared between losses; --metric accuracy compares.",
        )
    done, planned = sum(arm.confirm.ends.finished for arm in arms), sum(arm.confirm.planned or 0 for arm in arms)
    if comparison is None:
        return _without_confirm(arms, measure, done, planned)
    best = comparison.arms[0]
    lead = f"{best.arm} has {_mean(best, measure)} test {measure.label} over {plural(len(best.seeds), 'seed')}"
    if any(arm.confirm.ends.finished < (arm.confirm.planned or 0) for arm in arms):
        return Verdict("unfinished", f"No verdict yet: {done:,} of {planned:,} confirm trials are finished; so far {lead}.", best.arm)
    if len(arms) == 1:
        return Verdict("single_arm", f"One arm, nothing to compare: {lead}.", best.arm)
    confirmed = {arm.arm for arm in comparison.arms}
    silent = tuple(arm.arm for arm in arms if arm.arm not in confirmed)
    guessing = () if measure.stem == "accuracy" else tuple(arm.arm for arm in comparison.arms if arm.at_chance)
    rivals = [arm for arm in comparison.arms[1:] if arm.arm not in guessing]
    unbeaten = [arm for arm in rivals if not _is_beaten(arm, measure)]
    apart = [arm for arm in unbeaten if not arm.clearly_behind] or unbeaten
    n_diverged = next(arm.confirm.ends.diverged for arm in arms if arm.arm == best.arm)
    words = _Words.of(space)
    kind, end = "no_clear_winner", "."
    if apart:
        behind = [arm.arm for arm in rivals if arm.clearly_behind and arm not in apart]
        sentence = _no_clear_winner(best, apart, behind, comparison.needed_seeds, measure, words)
    elif not rivals:
        sentence = f"No clear winner: {lead}"
    elif n_diverged:
        sentence = f"No clear winner: {lead} and is ahead where it trains, but diverged on {plural(n_diverged, 'seed')}"
    elif silent:
        sentence = f"No clear winner: the {_beats(best, rivals, measure, words)}"
    else:
        kind, sentence, end = "winner", f"The {_beats(best, rivals, measure, words)}", f".{words.reservation}"
    if silent:
        sentence += f"; no seed of {numbers.listed(silent)} was confirmed"
    if guessing:
        sentence += f"; left out, since it classifies no better than guessing: {numbers.listed(guessing)}"
    return Verdict(kind, sentence + end, best.arm, (*(arm.arm for arm in apart), *silent))


@dataclass(frozen=True, slots=True)
class _Words:
    """What the arms' configurations are called: those that a search found may be others after another search."""

    verb: str
    reservation: str

    @classmethod
    def of(cls, space: Space | None) -> _Words:
        """Space by space: where no arm has anything to tune, the claim is about the configurations as they stand."""
        if space is not None and not any(definition.is_free for arm in space.arms for definition in space.definitions(arm)):
            return cls("of", "")
        unit = "loss" if space is not None and space.compare.arms == "loss" else "arm"
        return cls("found for", f" One search per {unit}: another search may reverse this.")


def _is_beaten(arm: ComparedArm, measure: Measure) -> bool:
    return (
        arm.difference is not None
        and arm.p_value is not None
        and arm.p_value <= SIGNIFICANCE
        and measure.rank(arm.difference.mean) < 0  # the test is two-sided: the difference must favour the best
    )


def _beats(best: ComparedArm, rivals: Sequence[ComparedArm], measure: Measure, words: _Words) -> str:
    second, *others = sorted(rivals, key=lambda arm: abs(arm.difference.mean) if arm.difference else 0.0)
    told = f"configuration {words.verb} {best.arm} beats the one {words.verb} {second.arm} by {_gap(second, measure)}"
    if len(others) == 1:
        told += f", and the one {words.verb} {others[0].arm} by {_gap(others[0], measure)}"
    elif others:
        worst = max(arm.p_value or 0.0 for arm in others)
        told += f", and those {words.verb} the {len(others)} other arms by more (p {_relation(worst)}{'' if worst < 0.001 else ' at most'})"
    return told


def _no_clear_winner(
    best: ComparedArm, rivals: Sequence[ComparedArm], behind: Sequence[str], needed_seeds: int, measure: Measure, words: _Words
) -> str:
    names = [best.arm, *(arm.arm for arm in rivals)]
    n_seeds = min(arm.difference.n if arm.difference else 0 for arm in rivals)
    figures = ", ".join(f"{arm.arm} {_mean(arm, measure)}" for arm in (best, *rivals))
    p_values = [arm.p_value for arm in rivals if arm.p_value is not None]
    if n_seeds < needed_seeds:
        why = f"{plural(n_seeds, 'paired seed')}; {needed_seeds} are needed to tell arms apart"
    else:
        why = f"p = {numbers.p_value(min(p_values))}{' at least' if len(p_values) > 1 else ''}, {plural(n_seeds, 'paired seed')}"
    tail = f"; {numbers.listed(list(behind))} {'is' if len(behind) == 1 else 'are'} clearly behind" if behind else ""
    return f"No clear winner between the configurations {words.verb} {numbers.listed(names)}: test {measure.label} {figures} ({why}){tail}"


def _without_confirm(arms: Sequence[ArmSummary], measure: Measure, done: int, planned: int) -> Verdict:
    measured = {arm.arm: arm.best.value for arm in arms if arm.best is not None}
    searched, search_planned = sum(arm.search.ends.finished for arm in arms), sum(arm.search.planned or 0 for arm in arms)
    is_searched = all(arm.search.ends.finished >= (arm.search.planned or 0) for arm in arms)
    best = best_of(measure.val_column, measured, measured.get)
    if best is None:
        state = (
            f"{searched:,} of {search_planned:,} search trials are finished, and none is complete"
            if search_planned
            else "no trial is complete"
        )
        return Verdict("nothing", f"Nothing to say yet: {state}." if not is_searched else f"Nothing to say: {state}.")
    shown = numbers.with_unit(numbers.figure(measured[best], measure), measure)
    lead = f"{best} has the best validation {measure.label}, {shown}"
    if not is_searched:
        return Verdict("unfinished", f"No verdict yet: {searched:,} of {search_planned:,} search trials are finished; so far {lead}.", best)
    if done < planned:
        return Verdict("unfinished", f"No verdict yet: {done:,} of {planned:,} confirm trials are finished; in the search {lead}.", best)
    if done:
        return Verdict("unconfirmed", f"Nothing is confirmed: no confirm trial is complete; in the search {lead}, with one seed.", best)
    return Verdict("unconfirmed", f"Nothing is confirmed: {lead}, in one trial with one seed. That is no basis for a claim.", best)


def _mean(arm: ComparedArm, measure: Measure) -> str:
    found = arm.measures[measure.test_column]
    text = numbers.with_unit(numbers.figure(found.mean, measure), measure)
    return text if found.low is None else f"{text} [{numbers.figure(found.low, measure)}, {numbers.figure(found.high, measure)}]"


def _gap(arm: ComparedArm, measure: Measure) -> str:
    """``1.83 points [1.20, 2.41] (p = 0.008, 8 paired seeds)``: by how much the best is better."""
    found = arm.difference
    if found is None:
        return numbers.MISSING
    sign = -1.0 if found.mean < 0 else 1.0
    ends = [] if found.low is None or found.high is None else sorted((sign * found.low, sign * found.high))
    centre, *bounds = [numbers.difference(end, measure).removeprefix("+") for end in (abs(found.mean), *ends)]
    interval = f" [{', '.join(bounds)}]" if bounds else ""
    p_value = "" if arm.p_value is None else f"p {_relation(arm.p_value)}, "
    return f"{centre}{' points' if measure.is_fraction else ''}{interval} ({p_value}{plural(found.n, 'paired seed')})"


def _relation(p_value: float) -> str:
    shown = numbers.p_value(p_value)
    return f"< {shown[1:]}" if shown.startswith("<") else f"= {shown}"
