"""What the searches had found after fewer trials, and from which number of trials on an arm is ahead.

**Curves.** After n trials a search would have picked its best complete trial of the first n by validation, and the test split says what
that pick is worth: one curve per search, which may fall, since nothing is chosen by it. Dodge 2019 (1909.03004) and Lourie 2023
(2311.09480) draw such curves from one list of trials, as if these were independent draws; those of TPE and of a pruner are not. Here
whole searches were repeated, so that curves are compared as the searches are, with no assumption about what happens within one.

**From which number on.** The verdict comes first, then the same test of searches at the last number of trials, at the last but one, and
so on, down to the first that does not show the arm ahead of every rival. In an order that is fixed beforehand each test at 5 % keeps the
chance of any false claim at 5 % (Maurer 1995; Westfall and Krishen 2001). Below that number nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sweeper.metrics import best_of
from sweeper.records import Phase, TrialState
from sweeper.report.comparison import can_be_compared
from sweeper.report.measure import Measure, find_measure
from sweeper.report.reading import StoredSweep
from sweeper.report.search import final_values
from sweeper.report.statistics import contrast_of_searches
from sweeper.report.summary import ArmSummary, Budget, BudgetAt, BudgetCurve, Comparison, Verdict
from sweeper.text import plural

if TYPE_CHECKING:  # it imports unittest and asyncio, a twentieth of a report's time
    from jaxtyping import Float64

    Curves = Float64[np.ndarray, "search trial"]


def budget_of(
    sweep: StoredSweep, arms: Sequence[ArmSummary], comparison: Comparison | None, measure: Measure, verdict: Verdict
) -> Budget | None:
    """The curves by the test column of ``measure``, and what they show.

    ``None`` without a figure: in sweeps of earlier versions, which read the test split of confirm trials alone. None is taken, either,
    where the search itself was told the test split, where values of the measure mean something else in every arm, and of single trials.
    """
    on_test = sweep.space is not None and sweep.space.training_settings().evaluate_on == "test"
    if on_test or not can_be_compared(measure, sweep.space):
        return None
    curves = [curve_of(sweep, arm, search, measure) for arm in sweep.arms for search in sweep.searches]
    if not any(value is not None for curve in curves for value in curve.values):
        return None
    n_trials = max(len(curve.values) for curve in curves)
    if n_trials < 2:
        return None
    figures = {arm: _figures([curve for curve in curves if curve.arm == arm], n_trials) for arm in sweep.arms}
    is_done = all(arm.search.ends.finished >= (arm.search.planned or 0) for arm in arms)
    left_out = {arm.arm for arm in comparison.arms if arm.at_chance} if comparison and measure.stem != "accuracy" else set()
    compared = {arm: found for arm, found in figures.items() if arm not in left_out}
    claims = is_done and len(compared) > 1 and len(sweep.searches) > 1 and verdict.kind in ("better", "equal", "undecided", "unconfirmed")
    ahead, first = leader(compared, measure, verdict) if claims else (None, None)
    return Budget(
        measure=measure.test_column,
        n_trials=n_trials,
        curves=tuple(curves),
        at=tuple(
            BudgetAt(n, _epochs_at(curves, n), {arm: median_and_range(found[:, n - 1]) for arm, found in figures.items()})
            for n in range(1, n_trials + 1)
        ),
        ahead=ahead,
        ahead_from=first,
        sentence=_sentence(ahead, first, n_trials, verdict) if claims else None,
    )


def curve_of(sweep: StoredSweep, arm: str, search: int, measure: Measure) -> BudgetCurve:
    """One search, trial by trial in the order of their numbers; failed trials are not counted, since they are repeated or forgotten."""
    rows = sweep.rows(Phase.SEARCH, arm, search)
    spent = rows["epochs"].fillna(0).cumsum()
    chosen_by = find_measure(sweep.space.search.metric) if sweep.space else measure
    values, tests = final_values(sweep, rows, chosen_by), rows[measure.test_column].astype(float)
    picks: list[tuple[str, float, float] | None] = []
    epochs: list[int] = []
    pick: tuple[str, float, float] | None = None
    for state, total, *candidate in zip(rows["state"], spent, rows["trial"], values, tests, strict=True):
        if state == str(TrialState.FAILED):
            continue
        name, value, test = str(candidate[0]), float(candidate[1]), float(candidate[2])
        pick = best_of(chosen_by.val_column, [*([pick] if pick else []), (name, value, test)], lambda each: each[1])
        picks.append(pick)
        epochs.append(int(total))
    return BudgetCurve(
        arm=arm,
        search=search,
        picks=tuple(each[0] if each else None for each in picks),
        values=tuple(each[2] if each and np.isfinite(each[2]) else None for each in picks),
        epochs=tuple(epochs),
    )


def leader(figures: Mapping[str, Curves], measure: Measure, verdict: Verdict) -> tuple[str | None, int | None]:
    """The arm that is ahead, and from which number of trials on; both ``None`` where the verdict or the last number shows none.

    Without a confirm phase it is the arm with the best mean at the last number.
    """
    if verdict.kind not in ("better", "unconfirmed"):
        return None, None
    last = {arm: float(found[:, -1].mean()) for arm, found in figures.items()}
    best = verdict.best if verdict.kind == "better" else best_of(measure.test_column, last, last.get)
    if best is None or best not in figures:
        return None, None
    n_trials = figures[best].shape[1]
    first = None
    is_better = False
    for n in range(n_trials, 0, -1):
        at = {arm: found[:, n - 1] for arm, found in figures.items()}
        if n == n_trials or any(not np.array_equal(found, figures[arm][:, n], equal_nan=True) for arm, found in at.items()):
            is_better = _is_ahead(best, at, measure)
        if not is_better:
            break
        first = n
    return (best, first) if first is not None else (None, None)


def _is_ahead(best: str, figures: Mapping[str, Float64[np.ndarray, " search"]], measure: Measure) -> bool:
    """Whether the verdict's test shows the best ahead of every other arm; not where a search has no figure yet."""
    if not all(np.isfinite(found).all() for found in figures.values()):
        return False
    least, most = measure.metric.least, measure.metric.most
    compare = partial(contrast_of_searches, maximize=measure.maximize, margin=None, least=least, most=most, n_arms=len(figures))
    return all(compare(figures[best], found).outcome == "better" for arm, found in figures.items() if arm != best)


def _figures(curves: Sequence[BudgetCurve], n_trials: int) -> Curves:
    """The curves of one arm, NaN where a search has no figure; a search that has fewer trials keeps its last pick."""
    table = np.full((len(curves), n_trials), np.nan)
    for row, curve in zip(table, curves, strict=True):
        found = np.array([np.nan if value is None else value for value in curve.values])
        if len(found):
            row[: len(found)], row[len(found) :] = found, found[-1]
    return table


def median_and_range(figures: Float64[np.ndarray, " search"]) -> tuple[float, float, float] | None:
    """The median over searches, the lowest and the highest; ``None`` where a search has no figure."""
    if not len(figures) or not np.isfinite(figures).all():
        return None
    return float(np.median(figures)), float(figures.min()), float(figures.max())


def _epochs_at(curves: Sequence[BudgetCurve], n: int) -> float | None:
    """Mean over all searches of the epochs that the first ``n`` trials took."""
    spent = [curve.epochs[min(n, len(curve.epochs)) - 1] for curve in curves if curve.epochs]
    return float(np.mean(spent)) if spent else None


def _sentence(ahead: str | None, first: int | None, n_trials: int, verdict: Verdict) -> str:
    if ahead is not None and first == 1:
        return f"{ahead} is ahead at every number of trials."
    if ahead is not None and first is not None:
        return f"{ahead} is ahead from {plural(first, 'trial')} on; undecided below."
    if verdict.kind in ("better", "equal"):
        return f"With fewer than {plural(n_trials, 'trial')}: undecided."
    return "Undecided at every number of trials."
