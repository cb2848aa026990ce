"""The verdict: one sentence that says what a sweep found, and no more than its data support."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sweeper.metrics import best_of
from sweeper.report import numbers
from sweeper.report.comparison import can_be_compared, can_reach
from sweeper.report.measure import Measure
from sweeper.report.summary import ArmSummary, ComparedArm, Comparison, Contrast, Verdict
from sweeper.space import MANY_SEARCHES, Space
from sweeper.text import plural


def decide(arms: Sequence[ArmSummary], comparison: Comparison | None, measure: Measure, space: Space | None) -> Verdict:
    """The verdict: ``better`` if the best arm is better than every rival, ``equal`` if it is equal to those that it is not better than.

    Neither is said before every planned confirm trial has ended, while a rival has no figure that the best can be compared with, nor of an
    arm that has no figure on some seed or in some search: its mean leaves out where it does not train. By other measures than accuracy
    an arm at chance neither wins nor has to be beaten.
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
    best = comparison.arms[0].arm
    lead = _lead(comparison, measure)
    if any(arm.confirm.ends.finished < (arm.confirm.planned or 0) for arm in arms):
        return Verdict("unfinished", f"No verdict yet: {done:,} of {planned:,} confirm trials are finished; so far {lead}.", best)
    if len(arms) == 1:
        return Verdict("single_arm", f"One arm, nothing to compare: {lead}.", best)
    guessing = [arm.arm for arm in comparison.arms if arm.at_chance] if measure.stem != "accuracy" else []
    contrasts = {arm.arm: arm.contrast for arm in comparison.arms if arm.contrast is not None and arm.arm not in guessing}
    nearest = sorted(contrasts, key=lambda arm: abs(contrasts[arm].difference.mean))
    better, equal, undecided = ([arm for arm in nearest if contrasts[arm].outcome == kind] for kind in ("better", "equal", "undecided"))
    apart = [arm for arm in undecided if not contrasts[arm].behind] or undecided
    behind = [arm for arm in nearest if arm in better or (arm in undecided and arm not in apart)]
    unknown = [arm.arm for arm in arms if arm.arm not in (best, *contrasts, *guessing)]
    doubts = [*_without_figures(arms, comparison, unknown), *_incomplete(arms, [best, *equal], space)]
    words = _Words.of(arms, comparison, measure, space)
    notes = []
    if apart:
        kind, told = "undecided", words.undecided(best, {arm: contrasts[arm] for arm in apart}, comparison.needed)
        notes = [f"{words.to_be(equal)} equal to it within {words.points}"] if equal else []
    elif doubts or not contrasts:
        kind, told = "undecided", f"Undecided: {words.leads(best, contrasts, nearest) if contrasts else lead}"
        behind = []
    elif equal:
        kind, told = "equal", words.equal(best, {arm: contrasts[arm] for arm in equal})
    else:
        kind, told, behind = "better", words.better(best, contrasts, nearest), []
    notes += [f"{words.to_be(behind)} behind"] if behind else []
    notes += doubts
    notes += [f"left out, since it classifies no better than guessing: {numbers.listed(guessing)}"] if guessing else []
    rivals = () if kind == "better" else (*apart, *unknown) if apart else (*equal, *unknown)
    return Verdict(kind, "; ".join([told, *notes]) + f".{words.reservation}", best, rivals)


def _without_figures(arms: Sequence[ArmSummary], comparison: Comparison, unknown: Sequence[str]) -> Iterator[str]:
    """Why some arms could not be compared with the best."""
    confirmed = {arm.arm for arm in comparison.arms}
    if silent := [arm for arm in unknown if arm not in confirmed]:
        yield f"no seed of {numbers.listed(silent)} was confirmed"
    for arm in unknown:
        if arm in confirmed:
            yield f"{comparison.arms[0].arm} and {arm} have no seed in common" + (
                " in all of their searches" if len(arms[0].searches) > 1 else ""
            )


def _incomplete(arms: Sequence[ArmSummary], wanted: Sequence[str], space: Space | None) -> Iterator[str]:
    """Which of the ``wanted`` arms have less than all figures."""
    most = max(len(search.seeds) for arm in arms for search in arm.searches)
    n_seeds = space.compare.seeds if space is not None else most
    for arm in arms:
        if arm.arm in wanted:
            without = sum(search.pick is None and not search.seeds for search in arm.searches)
            lost = sum(max(n_seeds - len(search.seeds), 0) for search in arm.searches if search.pick is not None or search.seeds)
            if without:
                yield f"{without} of {len(arm.searches)} searches of {arm.arm} found no configuration to confirm"
            if lost:
                total = n_seeds * (len(arm.searches) - without)
                yield f"{lost} of {plural(total, 'confirm trial')} of {arm.arm} diverged or failed"


@dataclass(frozen=True, slots=True)
class _Words:
    """How the claims are worded. ``one``, ``other`` and ``several`` stand before the names of arms, ``over`` after them."""

    measure: Measure
    margin: float | None
    one: str
    other: str
    several: str
    over: str
    reservation: str

    @classmethod
    def of(cls, arms: Sequence[ArmSummary], comparison: Comparison, measure: Measure, space: Space | None) -> _Words:
        """Of arms that were searched several times, else of the configurations that one search found, or that were never searched."""
        if comparison.unit == "search":
            compared = [arm for arm in arms if arm.arm in {each.arm for each in comparison.arms}]
            trials = [search.search.planned for arm in compared for search in arm.searches if search.search.planned]
            each = f" of {numbers.counted(trials, 'trial', 'trials')} each" if trials else ""
            n_searches = numbers.counted([sum(bool(search.seeds) for search in arm.searches) for arm in compared], "search", "searches")
            return cls(measure, comparison.margin, "", "", "", f" over {n_searches}{each}", "")
        if space is not None and not space.is_tuned:
            return cls(measure, comparison.margin, "the configuration of ", "the one of ", "the configurations of ", "", "")
        loss, losses = ("loss", "losses") if space is not None and space.compare.arms == "loss" else ("arm", "arms")
        reservation = (
            f" One search per {loss}: another search may reverse this; `compare.searches: {MANY_SEARCHES}` asks about the {losses}."
        )
        return cls(
            measure,
            comparison.margin,
            "the configuration found for ",
            "the one found for ",
            "the configurations found for ",
            "",
            reservation,
        )

    @property
    def points(self) -> str:
        """The margin, of accuracy."""
        return f"{100 * (self.margin or 0.0):g} points"

    def better(self, best: str, contrasts: Mapping[str, Contrast], nearest: Sequence[str]) -> str:
        """The best is better than all ``nearest``."""
        if self.one:
            return f"{_capitalized(self.one)}{best} beats {self._all_by(contrasts, nearest, self.other)}"
        second, *others = nearest
        side = "above" if self.measure.maximize else "below"
        metric = "" if self.measure.stem == "accuracy" else f" by {self.measure.label}"
        told = f"{best} is best{metric}{self.over}: {self.gap(contrasts[second])} {side} {second} {self._test(contrasts[second])}"
        if len(others) == 1:
            told += f", and {self.gap(contrasts[others[0]])} {side} {others[0]} {self._test(contrasts[others[0]])}"
        elif others:
            told += f", and {side} the {len(others)} other arms by more ({_p_at_most(contrasts, others)})"
        return told + self._within(contrasts, nearest)

    def leads(self, best: str, contrasts: Mapping[str, Contrast], nearest: Sequence[str]) -> str:
        """The best is ahead of all ``nearest``, which is not enough."""
        return f"{self.one}{best} leads {self._all_by(contrasts, nearest, self.other)}{self.over}"

    def _all_by(self, contrasts: Mapping[str, Contrast], nearest: Sequence[str], before: str) -> str:
        second, *others = nearest
        told = f"{before}{second} by {self.gap(contrasts[second])} {self._test(contrasts[second])}"
        if len(others) == 1:
            told += f", and {before}{others[0]} by {self.gap(contrasts[others[0]])} {self._test(contrasts[others[0]])}"
        elif others:
            those = before.replace("the one ", "those ")
            told += f", and {those}the {len(others)} other arms by more ({_p_at_most(contrasts, others)})"
        return told + self._within(contrasts, nearest)

    def _within(self, contrasts: Mapping[str, Contrast], nearest: Sequence[str]) -> str:
        """Says so where a lead is surely smaller than the margin."""
        inside = [arm for arm in nearest if _lies_within(contrasts[arm], self.margin)]
        if not inside:
            return ""
        which = "this lead" if len(nearest) == 1 else f"the lead over {numbers.listed(inside)}"
        return f"; {which} lies within the margin of {self.points}"

    def equal(self, best: str, contrasts: Mapping[str, Contrast]) -> str:
        """The best is equal to each of these."""
        gaps = [self._oriented(one.difference.mean, one.equal_low, one.equal_high) for one in contrasts.values()]
        differences, intervals = (numbers.listed([str(gap[part]) for gap in gaps]) for part in (0, 1))
        if len(contrasts) == 1:
            who = f"{_capitalized(self.several)}{best} and {next(iter(contrasts))} are equal"
        else:
            who = f"{_capitalized(self.several)}{numbers.listed(list(contrasts))} are each equal to {self.other}{best}"
        s, seeds = "s" if len(contrasts) > 1 else "", "" if self.over else f" ({self._units(contrasts)})"
        return f"{who} within {self.points}{self.over}: difference{s} {differences} points, 90 % interval{s} {intervals}{seeds}"

    def undecided(self, best: str, contrasts: Mapping[str, Contrast], needed: int) -> str:
        """The best cannot be told apart from these."""
        gaps = ", and ".join(f"{arm} by {self.gap(one)} {self._test(one)}" for arm, one in contrasts.items())
        few = [one for one in contrasts.values() if not can_reach(one)]
        why = ""
        if few and self.over:
            counts = [n for one in few for n in (one.n_best, one.n_rival)]
            why = f"; {numbers.counted(counts, 'search', 'searches')} of each arm cannot show more: {needed} are needed"
        elif few:
            why = f"; {plural(min(one.n_best for one in few), 'paired seed')} cannot show more: {needed} are needed"
        return f"Undecided between {self.several}{numbers.listed([best, *contrasts])}{self.over}: {best} leads {gaps}{why}"

    def to_be(self, arms: Sequence[str]) -> str:
        """``focal is`` or ``focal and mae are``."""
        return f"{numbers.listed(list(arms))} {'is' if len(arms) == 1 else 'are'}"

    def gap(self, contrast: Contrast) -> str:
        """``1.83 points [1.20, 2.41]``: by how much the best is better."""
        found = contrast.difference
        centre, interval = self._oriented(found.mean, found.low, found.high)
        return f"{centre}{' points' if self.measure.is_fraction else ''}{f' {interval}' if interval else ''}"

    def _oriented(self, mean: float, low: float | None, high: float | None) -> tuple[str, str]:
        """A difference and its interval, positive where the best is better."""
        sign = -1.0 if self.measure.maximize else 1.0
        bounds = [] if low is None or high is None else sorted((sign * low, sign * high))
        centre, *ends = [numbers.difference(value, self.measure).removeprefix("+") for value in (sign * mean, *bounds)]
        return centre, f"[{', '.join(ends)}]" if ends else ""

    def _test(self, contrast: Contrast) -> str:
        """``(p = 0.008, searches permuted)``."""
        p_value = [] if contrast.p_value is None else [f"p {_relation(contrast.p_value)}"]
        if contrast.unit == "seed":
            return f"({', '.join([*p_value, plural(contrast.n_best, 'paired seed')])})"
        if not p_value:
            return "(one search of each arm)" if contrast.difference.n == 1 else "(all searches of an arm found the same)"
        return f"({p_value[0]}, searches permuted)"

    def _units(self, contrasts: Mapping[str, Contrast]) -> str:
        return numbers.counted([one.n_best for one in contrasts.values()], "paired seed", "paired seeds")


def _lies_within(contrast: Contrast, margin: float | None) -> bool:
    low, high = contrast.equal_low, contrast.equal_high
    return margin is not None and low is not None and high is not None and -margin <= low and high <= margin


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _p_at_most(contrasts: Mapping[str, Contrast], arms: Sequence[str]) -> str:
    worst = max(contrasts[arm].p_value or 0.0 for arm in arms)
    return f"p {_relation(worst)}{'' if worst < 0.001 else ' at most'}"


def _without_confirm(arms: Sequence[ArmSummary], measure: Measure, done: int, planned: int) -> Verdict:
    measured = {arm.arm: arm.best.value for arm in arms if arm.best is not None}
    searched, search_planned = sum(arm.search.ends.finished for arm in arms), sum(arm.search.planned or 0 for arm in arms)
    is_searched = all(arm.search.ends.finished >= (arm.search.planned or 0) for arm in arms)
    best = best_of(measure.val_column, measured, measured.get)
    if best is None and measured:
        needs = f"; it takes {measure.metric.least_classes} classes or more" if measure.metric.least_classes > 1 else ""
        return Verdict("nothing", f"Nothing to say: no trial of this sweep has a {measure.label}{needs}.")
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
        is_complete = any(arm.confirm.ends.complete for arm in arms)  # of a training loop that does not return the metric
        lacking = f"no confirm trial has a {measure.test_column}" if is_complete else "no confirm trial is complete"
        return Verdict("unconfirmed", f"Nothing is confirmed: {lacking}; in the search {lead}, with one seed.", best)
    return Verdict("unconfirmed", f"Nothing is confirmed: {lead}, in one trial with one seed. That is no basis for a claim.", best)


def _lead(comparison: Comparison, measure: Measure) -> str:
    best = comparison.arms[0]
    n = best.measures[measure.test_column].n
    units = numbers.counted([n], "search", "searches") if comparison.unit == "search" else plural(n, "seed")
    return f"{best.arm} has {_mean(best, measure)} test {measure.label} over {units}"


def _mean(arm: ComparedArm, measure: Measure) -> str:
    found = arm.measures[measure.test_column]
    text = numbers.with_unit(numbers.figure(found.mean, measure), measure)
    return text if found.low is None else f"{text} [{numbers.figure(found.low, measure)}, {numbers.figure(found.high, measure)}]"


def _relation(p_value: float) -> str:
    shown = numbers.p_value(p_value)
    return f"< {shown[1:]}" if shown.startswith("<") else f"= {shown}"
