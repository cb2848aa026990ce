"""The uncertainty of a comparison: intervals, permutation tests, power. Every figure is deterministic.

**Unit**: a search, whose figure is the mean over its seeds, or with one search per arm a seed, paired. Seeds of one search share its pick:
counted as units of their own they call winners between equal arms.

**Interval**: Student's t of a mean, Welch's of a difference between searches, cut at the least and the largest value that is possible. They
hold the mean of normal noise at any n, where a percentile bootstrap does in 50 / 76 / 80 / 84 % of cases with 2 / 3 / 4 / 5 figures.

**Test**: exact permutation of the labels of searches, or of the signs of paired differences, statistic the difference of the means,
two-sided (Fisher 1935; Pitman 1937). It asks whether two arms are exchangeable, whatever the shape of their noise. Arms with equal means of
which one varies less, or alone collapses now and then, are not; the 95 % interval must exclude zero as well before an arm is better.

**Equal**: two one-sided t tests against the margin (Schuirmann 1987), which is that the 90 % interval lies within it.

**No correction** for "the best beats each of its rivals": it must win every one of these tests, in its own favour (an intersection-union
test, Berger 1982). To say of single arms that they are behind, without a winner, p is corrected over all pairs (Bonferroni), since the best
is read from the same data. ``benchmarks/verdict.py`` measures all of this.

All is written out in numpy, and gives what ``scipy.stats`` gives: importing that would take a quarter of the time of a whole report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache, partial
from itertools import chain, combinations, count
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from sweeper.report.summary import Contrast, Estimate, Power
from sweeper.significance import SIGNIFICANCE

if TYPE_CHECKING:  # it imports unittest and asyncio, a twentieth of a report's time
    from jaxtyping import Float64, Int64

    Seeds = Float64[np.ndarray, " seed"]
    Units = Float64[np.ndarray, " search"] | Float64[np.ndarray, " seed"]
    Configurations = Int64[np.ndarray, " search"]
    Shares = Float64[np.ndarray, "unit image"]

N_RESAMPLES = 20_000
"""All permutations are tried where there are no more: up to 14 seeds, and up to 8 searches against 8. Else as many are drawn, the one that
was observed among them, by numpy's ``default_rng(0)``.
"""
SEED = 0
N_QUANTILES = 2_000
ROUNDING = 1e-9
"""Differences that vary by less, in units of the figures, are alike: 0.58 - 0.57 and 0.28 - 0.27 are not equal in floating point."""


def estimate(values: Units, least: float = -math.inf, most: float = math.inf, *, configurations: Configurations | None = None) -> Estimate:
    """Mean with its standard deviation and interval; values must be finite, at least one, and from ``least`` to ``most``.

    The interval is cut there: a true mean lies within, so that it is held as often as before. That of a mean over searches is for other
    searches *on the same seeds*, since these are common to all searches; there is none where all found the same configuration.
    ``configurations``: a number for what each search found, equal where that is the same; ``None``: all differ.
    """
    n, mean = len(values), float(np.mean(values))
    variance, part, freedom = _spread(values, configurations)
    if freedom == 0:
        return Estimate(n, mean, None, None, None)
    return Estimate(n, mean, math.sqrt(variance), *_interval(mean, math.sqrt(variance * part), freedom, SIGNIFICANCE, least, most))


def share_interval(shares: Shares) -> tuple[float, float]:
    """The 95 % interval of a mean share for other units and other images: rows are units, columns images, entries from 0 to 1.

    Units and images are crossed: the squared standard errors of the mean over either are added, with Satterthwaite's degrees of freedom
    (what neither explains is in both, which is on the safe side); one unit tells of other images alone. The interval is Wilson's (1927)
    of as many independent images as have this standard error (Korn & Graubard 1998), with Student's quantile: within 0 and 1, and not
    empty where all networks are right on all of few images.
    """
    n_images, mean = shares.shape[1], float(shares.mean())
    errors = [(float(np.var(means, ddof=1)) / len(means), len(means) - 1) for axis in (1, 0) if len(means := shares.mean(axis=axis)) > 1]
    total = sum(error for error, _ in errors)
    freedom = total**2 / sum(error**2 / freedom for error, freedom in errors) if total else max(n_images - 1, 1)
    n = mean * (1 - mean) / total if total else n_images
    t = float(special.stdtrit(freedom, 1 - SIGNIFICANCE / 2))
    centre, half = mean + t**2 / (2 * n), t * math.sqrt(mean * (1 - mean) / n + t**2 / (4 * n**2))
    return max(0.0, (centre - half) / (1 + t**2 / n)), min(1.0, (centre + half) / (1 + t**2 / n))


def _interval(mean: float, error: float, freedom: float, outside: float, least: float, most: float) -> tuple[float, float]:
    """Student's t interval of a mean of standard error ``error``, which misses the true one in ``outside`` of cases, cut at what can be."""
    half = float(special.stdtrit(freedom, 1 - outside / 2)) * error
    return max(least, mean - half), min(most, mean + half)


def varies(values: Units) -> bool:
    """Whether there are two values that differ by more than rounding."""
    return len(values) > 1 and float(np.ptp(values)) > ROUNDING * max(1.0, float(np.abs(values).max()))


def _variance(values: Units) -> float:
    return float(np.var(values, ddof=1)) if varies(values) else 0.0


def ranked(samples: Mapping[str, Mapping[int, float]]) -> list[str]:
    """The arms from best to worst: by how many others each is ahead of on the seeds that both have, then by their means.

    ``samples``: for each arm a value by seed, larger is better. Where all have the same seeds this is the order of the means.
    """

    def mean(arm: str) -> float:
        return float(np.mean(list(samples[arm].values())))

    def lead(arm: str, other: str) -> float:
        differences = paired_differences(samples[arm], samples[other])
        return float(np.mean(differences)) if len(differences) else mean(arm) - mean(other)

    wins = {arm: sum(lead(arm, other) > 0 for other in samples if other != arm) for arm in samples}
    return sorted(samples, key=lambda arm: (wins[arm], mean(arm)), reverse=True)


def sign_flip_p(differences: Seeds) -> float:
    """Two-sided p of the exact paired permutation test that the mean difference is zero; 1 for fewer than two seeds."""
    if len(differences) < 2 or not np.any(differences):
        return 1.0
    n = len(differences)
    if 2**n <= N_RESAMPLES:
        flips = np.arange(2**n)[:, None] >> np.arange(n) & 1
    else:
        flips = np.random.default_rng(SEED).integers(0, 2, (N_RESAMPLES, n))
        flips[0] = 0  # what was observed is one of the possible outcomes
    return _share_as_large((1 - 2 * flips) @ differences, differences)


def label_permutation_p(best: Units, rival: Units) -> float:
    """Two-sided p of the exact permutation test that two arms' searches are exchangeable; 1 where they do not vary.

    The statistic is the difference of the means: the same for every choice of ``len(best)`` of all searches as a sum over those chosen,
    once the mean of all is taken off.
    """
    figures = np.concatenate([best, rival])
    if not varies(figures):
        return 1.0
    centred = figures - figures.mean()
    return _share_as_large(centred[_choices(len(figures), len(best))].sum(axis=1), figures)


@cache
def _choices(n: int, n_chosen: int) -> Int64[np.ndarray, "choice {n_chosen}"]:
    """The ways to choose so many of ``n``, the first of them first: all, or as many as are tried, at random."""
    if math.comb(n, n_chosen) <= N_RESAMPLES:
        return np.fromiter(chain.from_iterable(combinations(range(n), n_chosen)), np.int64).reshape(-1, n_chosen)
    choices = np.random.default_rng(SEED).permuted(np.tile(np.arange(n), (N_RESAMPLES, 1)), axis=1)[:, :n_chosen]
    choices[0] = np.arange(n_chosen)
    return choices


def n_permutations(unit: Literal["search", "seed"], n_best: int, n_rival: int) -> int:
    """How many permutations there are: of the labels of searches, or of the signs of paired differences."""
    return math.comb(n_best + n_rival, n_best) if unit == "search" else 2**n_best


def _share_as_large(sums: Float64[np.ndarray, " permutation"], figures: Units) -> float:
    """The share of permutations whose sum is as large as that of the first, which is the observed one, but for rounding of ``figures``."""
    return float(np.mean(np.abs(sums) >= abs(float(sums[0])) - 1e-12 * float(np.abs(figures).sum())))


def contrast(
    unit: Literal["search", "seed"],
    best: Units,
    rival: Units,
    *,
    maximize: bool,
    margin: float | None,
    least: float,
    most: float,
    n_arms: int,
    configurations: Sequence[Configurations | None] = (None, None),
) -> Contrast:
    """The best arm against one rival: a figure of each search, or of each seed in the same order, at least one of each arm.

    ``margin``: by how much arms may differ that count as equal, ``None`` to call none equal; ``least`` to ``most``: what a figure can be;
    ``n_arms``: how many are compared; ``configurations``: of the best and of the rival, as in :func:`estimate`.

    Paired differences without any spread have an interval of no width. Such arms are called equal only from :data:`NEEDED_ALIKE` seeds on,
    and better only where the permutations say so. Searches of two arms that each found the same configuration every time say nothing of
    other seeds: that is undecided.
    """
    n_best, n_rival = len(best), len(rival)
    n = min(n_best, n_rival)
    if unit == "search":
        gaps, mean, share = np.subtract.outer(rival, best).ravel(), float(np.mean(rival) - np.mean(best)), 1 / n_best + 1 / n_rival
        spread = _welch(*map(_spread, (best, rival), configurations)) if n > 1 else None
    else:
        gaps, share = rival - best, 1 / n
        mean = float(np.mean(gaps))
        spread = (math.sqrt(_variance(gaps)) / math.sqrt(n), n - 1) if n > 1 else None
    advantages = -gaps if maximize else gaps
    p_best_wins = probability_of_winning(advantages)
    if spread is None:
        none = Estimate(n, mean, None, None, None)
        return Contrast(unit, n_best, n_rival, none, None, None, None, None, None, None, None, p_best_wins, "undecided", behind=False)
    error, freedom = spread
    p_value = label_permutation_p(best, rival) if unit == "search" else sign_flip_p(gaps)
    sd = error / math.sqrt(share)
    sd_low, sd_high = sd_interval(sd, freedom) if sd else (None, None)
    low, high = _interval(mean, error, freedom, SIGNIFICANCE, least - most, most - least)
    equal_low, equal_high = _interval(mean, error, freedom, 2 * SIGNIFICANCE, least - most, most - least)
    favours = (mean < 0) == maximize and mean != 0
    is_equal = margin is not None and -margin <= equal_low and equal_high <= margin and (error > 0 or n >= NEEDED_ALIKE)
    is_better = favours and p_value <= SIGNIFICANCE and not low <= 0 <= high
    n_pairs = n_arms * (n_arms - 1) // 2
    t_p = 2 * float(special.stdtr(freedom, -abs(mean) / error)) if error else 0.0
    few_but_apart = error > 0 and float(advantages.min()) > 0
    return Contrast(
        unit=unit,
        n_best=n_best,
        n_rival=n_rival,
        difference=Estimate(n, mean, sd, low, high),
        sd_low=sd_low,
        sd_high=sd_high,
        equal_low=equal_low,
        equal_high=equal_high,
        freedom=freedom,
        n_permutations=min(n_permutations(unit, n_best, n_rival), N_RESAMPLES),
        p_value=p_value,
        p_best_wins=p_best_wins,
        outcome="better" if is_better else "equal" if is_equal else "undecided",
        behind=favours and n_pairs * t_p <= SIGNIFICANCE and (few_but_apart or n_pairs * p_value <= SIGNIFICANCE),
    )


contrast_of_searches = partial(contrast, "search")
contrast_of_seeds = partial(contrast, "seed")


def _spread(figures: Units, configurations: Configurations | None) -> tuple[float, float, int]:
    """The variance of one figure, the part of it that their mean has (1 / n if all count by themselves), and degrees of freedom.

    Searches that found the same configuration trained the same networks on the same seeds. They are one figure, of more weight.
    """
    if configurations is None:
        return _variance(figures), 1 / len(figures), len(figures) - 1
    _, group, counts = np.unique(configurations, return_inverse=True, return_counts=True)
    values, weights = np.bincount(group, figures) / counts, counts / len(figures)
    part = float(weights @ weights)
    variance = float(weights @ (values - weights @ values) ** 2) / (1 - part) if varies(values) else 0.0
    return variance, part, len(values) - 1


def _welch(best: tuple[float, float, int], rival: tuple[float, float, int]) -> tuple[float, float] | None:
    """Standard error of the difference of two means, and its degrees of freedom (Welch 1947), from the :func:`_spread` of both.

    What an arm whose searches all found the same configuration would vary is not known: it is one figure that varies as the other arm's.
    ``None`` where that holds for both.
    """
    known = [(variance * part, freedom) for variance, part, freedom in (best, rival) if freedom]
    if not known:
        return None
    if len(known) == 1:
        return math.sqrt(max(best[0], rival[0]) * (best[1] + rival[1])), known[0][1]
    total = sum(variance for variance, _ in known)
    freedom = total**2 / sum(variance**2 / freedom for variance, freedom in known) if total else sum(freedom for _, freedom in known)
    return math.sqrt(total), freedom


def paired_differences(first: Mapping[int, float], second: Mapping[int, float]) -> Seeds:
    """``first`` - ``second`` on the seeds that both have, in the order of the seeds."""
    return np.array([first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())], dtype=np.float64)


def probability_of_winning(advantages: Seeds) -> float:
    """Share of seeds on which the advantage is positive, ties counted half: P(A > B) of Bouthillier 2021 (2103.03098)."""
    return float(np.mean((advantages > 0) + 0.5 * (advantages == 0)))


NEEDED_ALIKE = next(n for n in count(2) if 1 / 2**n <= SIGNIFICANCE)
"""The fewest seeds that show arms equal whose difference does not vary at all: were the true one at the margin, five would lie within it in
one of 2^5 cases."""


def sd_interval(sd: float, freedom: float) -> tuple[float, float]:
    """The 95 % interval of a standard deviation that was found to be ``sd`` with so many degrees of freedom, for normal noise."""
    quantiles = special.chdtri(freedom, np.array([SIGNIFICANCE / 2, 1 - SIGNIFICANCE / 2]))
    low, high = sd * np.sqrt(freedom / quantiles)
    return float(low), float(high)


def chance_to_find(contrast: Contrast, difference: float) -> Power | None:
    """The chance, about, that the test finds a true mean ``difference`` with as many units; ``None`` where no spread is known."""
    if contrast.difference.sd is None or contrast.sd_low is None or contrast.sd_high is None:
        return None

    def chance(sd: float) -> float:
        if contrast.unit == "search":
            return power_of_searches(difference, sd, contrast.n_best, contrast.n_rival)
        return power(difference, sd, contrast.n_best)

    return Power(difference, chance(contrast.difference.sd), chance(contrast.sd_high), chance(contrast.sd_low))


def power(difference: float, sd: float, n_seeds: int) -> float:
    """The chance, about, that sign flips find a true mean ``difference``, were ``sd`` the true spread of paired differences.

    For normal noise, by the t test at the highest level that the permutation test can attain. Zero where the seeds are too few.
    """
    return _power(difference, sd * math.sqrt(1 / n_seeds), n_seeds - 1, _attainable(2**n_seeds, 2))


def power_of_searches(difference: float, sd: float, n_best: int, n_rival: int) -> float:
    """The same over searches, were ``sd`` the true spread of the figure of one search, in either arm."""
    level = _attainable(math.comb(n_best + n_rival, n_best), 2 if n_best == n_rival else 1)
    return _power(difference, sd * math.sqrt(1 / n_best + 1 / n_rival), n_best + n_rival - 2, level)


def _attainable(n_permutations: int, n_alike: int) -> float:
    """The highest level up to 0.05 of an exact test, where ``n_alike`` of all permutations have the same statistic."""
    return math.floor(SIGNIFICANCE * n_permutations / n_alike) * n_alike / n_permutations


def _power(difference: float, error: float, freedom: int, level: float) -> float:
    """The chance that a two-sided t test finds the difference in its true direction.

    The noncentral t distribution as a mean of normal tails over the sample's standard deviation: ``scipy.stats.nct`` gives NaN far out.
    """
    if level == 0 or freedom < 1:
        return 0.0
    if error == 0:
        return 1.0 if difference else 0.0
    critical = special.stdtrit(freedom, 1 - level / 2)
    spreads = np.sqrt(special.chdtri(freedom, (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES) / freedom)
    return float(np.mean(special.ndtr(abs(difference) / error - critical * spreads)))
