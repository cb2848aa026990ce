"""The uncertainty of a comparison: intervals, paired tests, power. Every figure is deterministic.

**Interval** of a mean: Student's t over seeds at 95 %, cut at the least and the largest value that is possible. It holds the mean of
normal noise at any number of seeds, where a percentile bootstrap does in 50 / 76 / 88 / 92 % of cases with 2 / 3 / 4 / 5 of them; strongly
skewed noise is the weak side of both.

**Test** of a paired difference: exact permutation by sign flips, statistic the mean difference, two-sided (Fisher 1935; Pitman 1937). It
asks whether two arms are alike within a seed, so that either could have had either figure: then differences are symmetric about zero, and
the test holds its level whatever their spread, ties and outliers. Two arms with equal means of which one alone collapses now and then are
not alike, and are told apart. Wilcoxon's signed-rank test needs the same symmetry and finds fewer true differences; the paired t test
finds a few more in normal noise and far fewer when a seed collapses. ``benchmarks/verdict.py`` measures all of this.

**No correction** for "the best beats each of its rivals": it must win every one of these tests, in its own favour, and of two equal arms
far ahead of the rest one is called the winner in 5 % of cases at most (an intersection-union test, Berger 1982). To say of single arms
that they are behind, without a winner, p is corrected over all pairs of arms (Holm 1979), since the best is read from the same data.

All is written out in numpy, and gives what ``scipy.stats`` gives: importing that would take a quarter of the time of a whole report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from sweeper.report.summary import Estimate

if TYPE_CHECKING:  # it imports unittest and asyncio, a twentieth of a report's time
    from jaxtyping import Float64

    Seeds = Float64[np.ndarray, " seed"]

SIGNIFICANCE = 0.05
N_RESAMPLES = 9_999
"""Sign flips that are drawn where there are more of them: up to 13 seeds all are tried."""
SEED = 0
N_QUANTILES = 2_000
ROUNDING = 1e-9
"""Differences that vary by less, in units of the figures, are alike: 0.58 - 0.57 and 0.28 - 0.27 are not equal in floating point."""


def estimate(values: Seeds, least: float = -math.inf, most: float = math.inf) -> Estimate:
    """Mean over seeds with its standard deviation and interval; values must be finite, at least one, and from ``least`` to ``most``.

    The interval is cut there: a true mean lies within, so that it is held as often as before.
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Estimate(n, mean, None, None, None)
    if not varies(values):
        return Estimate(n, mean, 0.0, mean, mean)
    sd = float(np.std(values, ddof=1))
    half = float(special.stdtrit(n - 1, 1 - SIGNIFICANCE / 2)) * sd / math.sqrt(n)
    return Estimate(n, mean, sd, max(least, mean - half), min(most, mean + half))


def varies(values: Seeds) -> bool:
    """Whether there are two values that differ by more than rounding."""
    return len(values) > 1 and float(np.ptp(values)) > ROUNDING * max(1.0, float(np.abs(values).max()))


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


def paired_t_p(differences: Seeds) -> float:
    """Two-sided p of the paired t test; 1 where the differences do not vary, for then nothing is known of their spread."""
    if not varies(differences):
        return 1.0
    n = len(differences)
    return float(2 * special.stdtr(n - 1, -abs(float(np.mean(differences))) / float(np.std(differences, ddof=1)) * math.sqrt(n)))


def is_clearly_behind(advantages: Seeds, p_holm: float, n_arms: int) -> bool:
    """Whether an arm, of several looked at, is behind the best. ``advantages``: of the best over it, by seed; ``p_holm``: of all pairs.

    Few seeds cannot show it by sign flips; where the best is ahead on every one, a t test over all pairs at once (Bonferroni) may.
    """
    if len(advantages) < 2 or float(np.mean(advantages)) <= 0:
        return False
    n_pairs = max(n_arms * (n_arms - 1) // 2, 1)
    return p_holm <= SIGNIFICANCE or (float(advantages.min()) > 0 and n_pairs * paired_t_p(advantages) <= SIGNIFICANCE)


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
    sums = np.abs((1 - 2 * flips) @ differences)
    rounding = 1e-12 * float(np.abs(differences).sum())
    return float(np.mean(sums >= abs(float(differences.sum())) - rounding))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given (Holm 1979)."""
    n_tests = len(p_values)
    order = np.argsort(p_values, kind="stable")
    stepped = np.asarray(p_values, dtype=np.float64)[order] * np.arange(n_tests, 0, -1)
    adjusted = np.empty(n_tests)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return [float(p) for p in adjusted]


def compare_pairs(samples: Sequence[Mapping[int, float]]) -> dict[tuple[int, int], tuple[float, float]]:
    """The p and Holm p of every pair of arms (by position), over the seeds that both have. ``samples``: value by seed, one per arm."""
    pairs = list(combinations(range(len(samples)), 2))
    raw = [sign_flip_p(paired_differences(samples[first], samples[second])) for first, second in pairs]
    return dict(zip(pairs, zip(raw, holm(raw), strict=True), strict=True))


def paired_differences(first: Mapping[int, float], second: Mapping[int, float]) -> Seeds:
    """``first`` - ``second`` on the seeds that both have, in the order of the seeds."""
    return np.array([first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())], dtype=np.float64)


def probability_of_winning(advantages: Seeds) -> float:
    """Share of seeds on which the advantage is positive, ties counted half: P(A > B) of Bouthillier 2021 (2103.03098)."""
    return float(np.mean((advantages > 0) + 0.5 * (advantages == 0)))


def cohens_d_z(differences: Seeds) -> float | None:
    """Mean difference in units of the standard deviation of the differences; ``None`` where those do not vary."""
    if not varies(differences):
        return None
    return float(np.mean(differences) / np.std(differences, ddof=1))


NEEDED_SEEDS = 6
"""The fewest seeds with which the smallest possible p, 2 / 2^n, is below 0.05."""


def sd_interval(sd: float, n_seeds: int) -> tuple[float, float]:
    """The 95 % interval of a standard deviation that was found to be ``sd`` over ``n_seeds``, at least two, for normal noise."""
    quantiles = special.chdtri(n_seeds - 1, np.array([SIGNIFICANCE / 2, 1 - SIGNIFICANCE / 2]))
    low, high = sd * np.sqrt((n_seeds - 1) / quantiles)
    return float(low), float(high)


def power(difference: float, sd: float, n_seeds: int) -> float:
    """The chance, about, that the test finds a true mean ``difference`` between two arms, were ``sd`` the true spread of their differences.

    For normal noise, by the t test at the highest level that the permutation test can attain: the noncentral t distribution as a mean of
    normal tails over the sample's standard deviation (``scipy.stats.nct`` gives NaN far out). Zero where the seeds are too few.
    """
    steps = math.floor(SIGNIFICANCE * 2 ** min(n_seeds, 50) / 2)
    level = steps * 2 / 2 ** min(n_seeds, 50)
    if level == 0 or n_seeds < 2:
        return 0.0
    if sd == 0:
        return 1.0 if difference else 0.0
    critical = special.stdtrit(n_seeds - 1, 1 - level / 2)
    shift = abs(difference) / sd * math.sqrt(n_seeds)
    spreads = np.sqrt(special.chdtri(n_seeds - 1, (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES) / (n_seeds - 1))
    return float(np.mean(special.ndtr(shift - critical * spreads)))
