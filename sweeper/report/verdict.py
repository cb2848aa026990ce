"""One sentence that says what a sweep found, and no more than its data carry."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.space.wording import plural

from . import numbers
from .measure import Measure
from .statistics import SIGNIFICANCE
from .summary import ArmSummary, ComparedArm, Comparison, Estimate, Verdict


def decide(arms: Sequence[ArmSummary], comparison: Comparison | None, measure: Measure) -> Verdict:
    """The verdict. A winner is called only if the whole confirm phase is done and the best arm beats every other at Holm's 0.05.

    An arm of which a confirm trial diverged is never called the winner: its mean leaves out the seeds on which it does not train.
    """
    done, planned = sum(arm.confirm.ends.finished for arm in arms), sum(arm.confirm.planned or 0 for arm in arms)
    if comparison is None:
        return _without_confirm(arms, measure, done, planned)
    best, *others = comparison.arms
    lead = f"{best.arm} has {_mean(best, measure)} test {measure.label} over {plural(len(best.seeds), 'seed')}"
    if any(arm.confirm.ends.finished < (arm.confirm.planned or 0) for arm in arms):
        return Verdict("unfinished", f"No verdict yet: {done:,} of {planned:,} confirm trials are finished; so far {lead}.", best.arm)
    if len(arms) == 1:
        return Verdict("single_arm", f"One arm, nothing to compare: {lead}.", best.arm)
    compared = {arm.arm for arm in comparison.arms}
    silent = tuple(arm.arm for arm in arms if arm.arm not in compared)
    if not others:
        return Verdict(
            "no_clear_winner", f"No clear winner: {lead}, and no seed of {numbers.listed(silent)} was confirmed.", best.arm, silent
        )
    rivals = tuple(arm for arm in others if arm.p_holm is None or arm.p_holm > SIGNIFICANCE)
    n_diverged = next(arm.confirm.ends.diverged for arm in arms if arm.arm == best.arm)
    if rivals:
        sentence = _no_clear_winner(best, others, rivals, comparison.needed_seeds, measure)
    elif n_diverged:
        sentence = f"No clear winner: {lead} and is ahead where it trains, but diverged on {plural(n_diverged, 'seed')}"
    else:
        sentence = _winner(best, others, measure)
    if silent:
        sentence += f"; nothing was confirmed of {numbers.listed(silent)}"
    is_clear = not rivals and not n_diverged
    return Verdict("winner" if is_clear else "no_clear_winner", f"{sentence}.", best.arm, tuple(arm.arm for arm in rivals))


def _winner(best: ComparedArm, others: Sequence[ComparedArm], measure: Measure) -> str:
    second = others[0]
    n_seeds = min(arm.difference.n for arm in others if arm.difference)
    worst_p = numbers.p_value(max(arm.p_holm for arm in others if arm.p_holm is not None))
    gap = f", {_gap(second.difference, measure)} {second.arm}" if second.difference else ""
    whom = "" if len(others) == 1 else " against each arm" if worst_p.startswith("<") else " at most"
    p_value = f"p {worst_p.replace('<', '< ')}" if worst_p.startswith("<") else f"p = {worst_p}"
    return f"{best.arm} is best: {_mean(best, measure)} test {measure.label}{gap} ({p_value}{whom}, {plural(n_seeds, 'paired seed')})"


def _no_clear_winner(
    best: ComparedArm, others: Sequence[ComparedArm], rivals: Sequence[ComparedArm], needed_seeds: int, measure: Measure
) -> str:
    names = [best.arm, *(arm.arm for arm in rivals)]
    beaten = [arm.arm for arm in others if arm.arm not in names]
    n_seeds = min(arm.difference.n if arm.difference else 0 for arm in rivals)
    figures = ", ".join(f"{arm.arm} {_mean(arm, measure)}" for arm in (best, *rivals))
    p_values = [arm.p_holm for arm in rivals if arm.p_holm is not None]
    if n_seeds < needed_seeds:
        why = f"{plural(n_seeds, 'paired seed')}; {needed_seeds} are needed to tell arms apart"
    else:
        why = f"p = {numbers.p_value(min(p_values))}{' at least' if len(p_values) > 1 else ''}, {plural(n_seeds, 'paired seed')}"
    tail = f"; {best.arm} is better than {numbers.listed(beaten)}" if beaten else ""
    return f"No clear winner between {numbers.listed(names)}: test {measure.label} {figures} ({why}){tail}"


def _without_confirm(arms: Sequence[ArmSummary], measure: Measure, done: int, planned: int) -> Verdict:
    measured = [(arm.arm, arm.best.value) for arm in arms if arm.best is not None]
    searched, search_planned = sum(arm.search.ends.finished for arm in arms), sum(arm.search.planned or 0 for arm in arms)
    is_searched = all(arm.search.ends.finished >= (arm.search.planned or 0) for arm in arms)
    if not measured:
        state = (
            f"{searched:,} of {search_planned:,} search trials are finished, and none is complete"
            if search_planned
            else "no trial is complete"
        )
        return Verdict("nothing", f"Nothing to say yet: {state}." if not is_searched else f"Nothing to say: {state}.")
    best, value = max(measured, key=lambda entry: measure.rank(entry[1]))
    shown = numbers.with_unit(numbers.figure(value, measure), measure)
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


def _gap(found: Estimate, measure: Measure) -> str:
    """``1.83 points [1.20, 2.41] above``; ``found`` is the other arm minus the best."""
    sign = -1.0 if found.mean < 0 else 1.0
    ends = [found.mean] if found.low is None or found.high is None else [found.mean, *sorted((sign * found.low, sign * found.high))]
    shown = [numbers.difference(end if index else abs(end), measure) for index, end in enumerate(ends)]
    centre, *bounds = [text.removeprefix("+") for text in shown]
    interval = f" [{', '.join(bounds)}]" if bounds else ""
    return f"{centre}{' points' if measure.is_fraction else ''}{interval} {'above' if found.mean < 0 else 'below'}"
