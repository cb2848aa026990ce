"""How sure a comparison is: intervals, paired tests, power. Every figure is deterministic.

**Interval** of a mean: percentile bootstrap over seeds at 95 %, widened for small n (:func:`interval_level`). With 8 seeds
and normal noise a plain percentile or BCa interval holds the true mean 87 % of the time, this one 94 %.

**Test** of a paired difference: exact permutation by sign flips, statistic the mean difference, two-sided (Fisher 1935; Pitman 1937). Under
no difference two arms are exchangeable within a seed, so the test holds its level for any noise, whatever the ties and outliers.
Wilcoxon's signed-rank test does too and finds fewer true differences; the paired t test finds a few more in normal noise and far fewer
when a seed collapses. ``benchmarks/verdict.py`` measures all of this.

Both are written out in numpy, and give what ``scipy.stats.bootstrap`` and ``scipy.stats.permutation_test`` give: importing ``scipy.stats``
would take a quarter of the time of a whole report.

**Correction**: Holm 1979 over all pairs of arms, not only those with the best: which arm is best is read from the same data, and this
holds for any choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from .summary import Estimate

if TYPE_CHECKING:  # it imports unittest and asyncio, a twentieth of a report's time
    from jaxtyping import Float64

    Seeds = Float64[np.ndarray, " seed"]

SIGNIFICANCE = 0.05
N_RESAMPLES = 9_999
SEED = 0
N_QUANTILES = 2_000
"""Of the bootstrap, and of the permutation test where 2^n sign flips are more: up to 13 seeds all of them are tried."""


def interval_level(n: int) -> float:
    """The level at which a percentile bootstrap interval of a mean of ``n`` is as wide as a 95 % t interval for normal data.

    1 - 2 Phi(-t sqrt(n / (n - 1))) with t the 97.5 % point of Student's t for n - 1 degrees of freedom
    (the expanded percentile interval of Hesterberg 2014, 1411.5279): 0.988 for 8 seeds.
    """
    widened = math.sqrt(n / (n - 1)) * special.stdtrit(n - 1, 1 - SIGNIFICANCE / 2)
    return float(1 - 2 * special.ndtr(-widened))


def estimate(values: Seeds) -> Estimate:
    """Mean over seeds with its standard deviation and interval; values must be finite, at least one."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Estimate(n, mean, None, None, None)
    sd = float(np.std(values, ddof=1))
    if np.ptp(values) == 0:
        return Estimate(n, mean, 0.0, mean, mean)
    tail = (1 - interval_level(n)) / 2
    means = values[np.random.default_rng(SEED).integers(0, n, (N_RESAMPLES, n))].mean(axis=1)
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(n, mean, sd, float(low), float(high))


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
    if len(differences) < 2 or np.ptp(differences) == 0:
        return None
    return float(np.mean(differences) / np.std(differences, ddof=1))


def needed_seeds(n_arms: int) -> int:
    """The fewest seeds with which the smallest possible p, 2 / 2^n times the number of pairs, reaches 0.05: 6 for two arms, 7 for three."""
    n_pairs = max(n_arms * (n_arms - 1) // 2, 1)
    return next(n for n in range(1, 1_000) if n_pairs * 2 <= SIGNIFICANCE * 2**n)


def power(difference: float, sd: float, n_seeds: int, n_arms: int) -> float:
    """The chance, about, that the pair test finds a true mean ``difference`` at the level of Holm's first step.

    For normal noise, by the t test at the highest level that the permutation test can attain: the noncentral t distribution as a mean of
    normal tails over the sample's standard deviation (``scipy.stats.nct`` gives NaN far out). Zero where the seeds are too few.
    """
    n_pairs = max(n_arms * (n_arms - 1) // 2, 1)
    steps = math.floor(SIGNIFICANCE / n_pairs * 2 ** min(n_seeds, 50) / 2)
    level = steps * 2 / 2 ** min(n_seeds, 50)
    if level == 0 or n_seeds < 2:
        return 0.0
    if sd == 0:
        return 1.0 if difference else 0.0
    critical = special.stdtrit(n_seeds - 1, 1 - level / 2)
    shift = abs(difference) / sd * math.sqrt(n_seeds)
    spreads = np.sqrt(special.chdtri(n_seeds - 1, (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES) / (n_seeds - 1))
    return float(np.mean(special.ndtr(shift - critical * spreads)))
