"""Simulated sweeps of arms whose truth is known, and sweeper's decisions for all of them at once, written a second time.

A run's accuracy, in points, is the sum of its arm's true mean, of what its search picked, of what its seed does to all arms, of what the
seed does to its arm alone, and of noise of its own. The figure of a search is its mean over seeds.

**The sizes.** In a sweep of ``search_spaces/focal.yaml`` with one search of each loss (``tests/earlier_sweeps/finished.zip``) the
accuracies of cross-entropy and focal loss have a correlation of 0.72 over seeds, and their differences a standard deviation of 0.69
points: 0.68 that both have in common, and 0.49 of each one's own. When that search was repeated, what it picked varied by 0.19 points
(cross-entropy, 5 searches) and 0.54 (focal loss, 4): 0.3 where nothing else is said.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from sweeper.report import statistics

Figures = npt.NDArray[np.float64]
Events = npt.NDArray[np.bool_]
Unit = Literal["search", "seed"]

SHARED_SD = 0.68
MARGIN = 0.5
SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Figures]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails (t, 2.5 df)": lambda rng, shape: rng.standard_t(2.5, size=shape),
    "skewed (lognormal, to the left)": lambda rng, shape: -(rng.lognormal(size=shape) - math.exp(0.5)) / 2.16,
    "one in ten collapses": lambda rng, shape: np.where(rng.random(shape) < 0.1, -20.0, rng.normal(size=shape)) + 2.0,
    "rounded to 0.5 sd (ties)": lambda rng, shape: np.round(2 * rng.normal(size=shape)) / 2,
}
"""Noise with mean 0, about 1 wide."""


@dataclass(frozen=True)
class Arm:
    """The truth about an arm, in points: its mean over searches and seeds, and what varies about it."""

    mean: float = 0.0
    pick_sd: float = 0.3
    run_sd: float = 0.49
    seed_sd: float = 0.0
    """What a seed does to all runs of this arm, and of no other."""
    picks: str = "normal"
    runs: str = "normal"
    n_configurations: int | None = None
    """How many there are to pick from; a search that picks one again trains the same networks again. ``None``: never the same."""


def draw(rng: np.random.Generator, arms: Sequence[Arm], n: int, n_searches: int, n_seeds: int, shared_sd: float = SHARED_SD) -> Figures:
    """Accuracies of ``n`` sweeps: (sweep, arm, search, seed), all arms and searches on the same seeds."""
    return np.stack([_runs(rng, arm, n, n_searches, n_seeds) for arm in arms], axis=1) + rng.normal(0, shared_sd, (n, 1, 1, n_seeds))


def _runs(rng: np.random.Generator, arm: Arm, n: int, n_searches: int, n_seeds: int) -> Figures:
    n_different = arm.n_configurations or n_searches
    picks = arm.pick_sd * SHAPES[arm.picks](rng, (n, n_different, 1))
    if arm.n_configurations:
        picks -= picks.mean(axis=1, keepdims=True)
    own = arm.seed_sd * rng.normal(size=(n, 1, n_seeds)) + arm.run_sd * SHAPES[arm.runs](rng, (n, n_different, n_seeds))
    runs = arm.mean + picks + own
    if arm.n_configurations:
        runs = np.take_along_axis(runs, rng.integers(0, n_different, (n, n_searches, 1)), axis=1)
    return runs


def in_units(runs: Figures) -> tuple[Unit, Figures]:
    """What the verdict goes by, (sweep, arm, unit): the means of searches, or with one search each the seeds."""
    return ("search", runs.mean(axis=3)) if runs.shape[2] > 1 else ("seed", runs[:, :, 0])


@dataclass(frozen=True)
class Contrasts:
    """:class:`sweeper.report.summary.Contrast` of the same two places in each of many sweeps."""

    advantage: Figures
    low: Figures
    high: Figures
    equal_low: Figures
    equal_high: Figures
    p_value: Figures
    t_p: Figures
    is_ahead_everywhere: Events

    @property
    def better(self) -> Events:
        """Our rule: both tests, in favour of the best."""
        return (self.advantage > 0) & (self.p_value <= 0.05) & (self.t_p <= 0.05)

    @property
    def holds_zero(self) -> Events:
        """Whether the 95 % interval does not exclude 0; where there is none it excludes nothing."""
        return ~((self.low > 0) | (self.high < 0))

    @property
    def equal(self) -> Events:
        return ~self.better & (self.equal_low >= -MARGIN) & (self.equal_high <= MARGIN)

    def behind(self, n_arms: int) -> Events:
        n_pairs = n_arms * (n_arms - 1) // 2
        by_permutation = self.is_ahead_everywhere | (n_pairs * self.p_value <= 0.05)
        return (self.advantage > 0) & (n_pairs * self.t_p <= 0.05) & by_permutation


RULES: dict[str, Callable[[Contrasts], Events]] = {
    "permutation alone": lambda found: (found.advantage > 0) & (found.p_value <= 0.05),
    "t test alone": lambda found: (found.advantage > 0) & (found.t_p <= 0.05),
    "both (ours)": lambda found: found.better,
}


@cache
def signs(unit: Unit, n: int) -> Figures:
    """Every way to flip ``n`` signs, or to give the labels of ``n`` searches to ``2 n``: (way, figure), the observed one first.

    Each stands for its mirror image too, which has the same absolute sum.
    """
    if unit == "seed":
        return np.array(list(itertools.product([1.0, -1.0], repeat=n)))[: 2 ** (n - 1)]
    chosen = np.array([(0, *others) for others in itertools.combinations(range(1, 2 * n), n - 1)])
    labels = np.full((len(chosen), 2 * n), -1.0)
    np.put_along_axis(labels, chosen, 1.0, axis=1)
    return labels


def permutation_p(unit: Unit, best: Figures, rival: Figures) -> Figures:
    """Exact two-sided p, sweep by sweep."""
    ways = signs(unit, best.shape[1])
    figures = best - rival if unit == "seed" else np.concatenate([best, rival], axis=1)
    figures = figures if unit == "seed" else figures - figures.mean(axis=1, keepdims=True)
    n_at_once = max(4_000_000 // len(ways), 1)
    found = []
    for part in np.split(figures, range(n_at_once, len(figures), n_at_once)):
        sums = np.abs(part @ ways.T)
        found.append((sums >= sums[:, :1] - 1e-9).mean(axis=1))
    return np.concatenate(found)


def _spread(figures: Figures) -> tuple[Figures, Figures, Figures]:
    """Of each row the variance of a figure, the variance of its mean, and degrees of freedom; equal figures are one and the same run."""
    n_alike = (figures[:, :, None] == figures[:, None, :]).sum(axis=2)
    part = n_alike.sum(axis=1) / figures.shape[1] ** 2
    variance = np.divide(figures.var(axis=1), 1 - part, out=np.zeros(len(figures)), where=part < 1)
    return variance, variance * part, np.round((1 / n_alike).sum(axis=1) - 1)


def _welch(first: Figures, second: Figures) -> tuple[Figures, Figures]:
    """Standard errors of the difference of means, and degrees of freedom; of an arm that does not vary as one figure of the other's."""
    (variance_1, of_mean_1, freedom_1), (variance_2, of_mean_2, freedom_2) = _spread(first), _spread(second)
    of_mean_1, of_mean_2 = np.where(freedom_1 == 0, variance_2, of_mean_1), np.where(freedom_2 == 0, variance_1, of_mean_2)
    total = of_mean_1 + of_mean_2
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = total**2 / (of_mean_1**2 / freedom_1 + of_mean_2**2 / freedom_2)
    return np.sqrt(total), np.where((freedom_1 == 0) | (freedom_2 == 0), freedom_1 + freedom_2, freedom)


def contrasts(unit: Unit, best: Figures, rival: Figures) -> Contrasts:
    """The best arm against a rival in many sweeps: each (sweep, unit). Where neither varies, all intervals are nan."""
    n, difference = best.shape[1], rival.mean(axis=1) - best.mean(axis=1)
    if unit == "seed":
        error, freedom = (rival - best).std(axis=1, ddof=1) / np.sqrt(n), np.full(len(best), n - 1.0)
    else:
        error, freedom = _welch(best, rival)
    with np.errstate(divide="ignore", invalid="ignore"):
        half, equal_half = (stats.t.ppf(1 - outside / 2, freedom) * error for outside in (0.05, 0.10))
        t_p = 2 * stats.t.sf(np.abs(difference) / error, freedom)
    return Contrasts(
        advantage=-difference,
        low=difference - half,
        high=difference + half,
        equal_low=difference - equal_half,
        equal_high=difference + equal_half,
        p_value=permutation_p(unit, best, rival),
        t_p=t_p,
        is_ahead_everywhere=(best > rival).all(axis=1) if unit == "seed" else best.min(axis=1) > rival.max(axis=1),
    )


@dataclass(frozen=True)
class Verdicts:
    """Of many sweeps: which arm is best, and its contrast with the second, the third ..."""

    order: npt.NDArray[np.intp]
    rivals: tuple[Contrasts, ...]

    def winner(self, rule: str = "both (ours)") -> Events:
        """Whether the best arm is called better than every other."""
        return np.all([RULES[rule](rival) for rival in self.rivals], axis=0)

    def equal(self) -> Events:
        """Whether the best arm is called equal to those that it does not beat, of which there is one."""
        return ~self.winner() & np.all([rival.better | rival.equal for rival in self.rivals], axis=0)

    def wrongly_equal(self, means: Sequence[float]) -> Events:
        """Whether :meth:`equal` names an arm whose true mean differs from that of the best by the margin or more."""
        gaps = np.abs(np.array(means)[self.order[:, 1:]] - np.array(means)[self.order[:, :1]]).T
        named = [rival.equal & (gap >= MARGIN) for rival, gap in zip(self.rivals, gaps, strict=True)]
        return self.equal() & np.any(named, axis=0)

    def behind(self) -> Events:
        """Whether some arm is said to be behind."""
        return np.any([rival.behind(len(self.rivals) + 1) for rival in self.rivals], axis=0)


def decide(unit: Unit, figures: Figures) -> Verdicts:
    """The decisions for ``figures`` (sweep, arm, unit); those of the first fifty sweeps must be sweeper's own."""
    order = np.argsort(-figures.mean(axis=2), axis=1, kind="stable")
    ranked = np.take_along_axis(figures, order[:, :, None], axis=1)
    verdicts = Verdicts(order, tuple(contrasts(unit, ranked[:, 0], ranked[:, place]) for place in range(1, figures.shape[1])))
    for place, rival in enumerate(verdicts.rivals, start=1):
        _check_against_sweeper(unit, ranked[:50, 0], ranked[:50, place], rival, figures.shape[1])
    return verdicts


def configurations(unit: Unit, arms: Sequence[Figures]) -> Any:
    """What sweeper is told of what the searches of two arms found: equal figures are one and the same run."""
    return tuple(np.unique(figures, return_inverse=True)[1] if unit == "search" else None for figures in arms)


def _check_against_sweeper(unit: Unit, best: Figures, rival: Figures, ours: Contrasts, n_arms: int) -> None:
    """Raise AssertionError where the decisions here and sweeper's own disagree."""
    limits = {"maximize": True, "margin": MARGIN, "least": -math.inf, "most": math.inf, "n_arms": n_arms}
    pairs = list(zip(best, rival, strict=True))
    theirs = [statistics.contrast(unit, *pair, **limits, configurations=configurations(unit, pair)) for pair in pairs]
    n, columns = len(theirs), (ours.low, ours.high, ours.equal_low, ours.equal_high, ours.p_value)
    expected = [(each.difference.low, each.difference.high, each.equal_low, each.equal_high, each.p_value) for each in theirs]
    known = np.isfinite(ours.low[:n])  # else sweeper has no interval either, nor a p
    found = np.where(known[:, None], np.stack([column[:n] for column in columns], axis=1), np.nan)
    np.testing.assert_allclose(found, np.array(expected, dtype=np.float64), atol=1e-9)
    outcomes = np.where(ours.better[:n], "better", np.where(ours.equal[:n], "equal", "undecided"))
    assert [each.outcome for each in theirs] == outcomes.tolist()
    assert [each.behind for each in theirs] == ours.behind(n_arms)[:n].tolist()
