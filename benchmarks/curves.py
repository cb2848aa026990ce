"""Bands of tuning curves, and from which number of trials on an arm leads: what holds with few searches, by simulation.

    python -m benchmarks.curves                      see docs/fairness.md for its figures
    python -m benchmarks.curves --replicates 50      a quick look

A *tuning curve* of a search gives for n = 1..N trials the test accuracy of the pick among its first n trials. An arm has R of them.

**Bands** of the mean curve over searches, meant to hold for all n at once in 95 %, mean +- c * sd / sqrt(R), by their c: ``t`` each n for
itself; ``Bonferroni`` over the n at which a curve changes; ``sup-t``, the quantile of the largest of correlated t values with R - 1
degrees of freedom (Montiel Olea & Plagborg-Moller 2019), by the sample's correlation; ``Scheffe`` as if R - 1 dimensions varied.
``range`` is from the lowest curve to the highest, for the median curve.

**A lead from n on**: the verdict's test of searches at n = N, then at N - 1, down to the first that is not significant. Each is at 5 %,
and so is the chance of any false one, since an error needs the first true null hypothesis in that fixed order to be rejected (Maurer 1995).

The searches are those of ``benchmarks/finalists.py``: TPE with successive halving, and random search without a pruner. Each pick's test
accuracy is a mean over two confirm seeds. Where the library ``opda`` (Lourie 2023, 2311.09480) is installed, its bands are computed for
random search.

**Prediction, written before the first run.** Between n = 1 and 4 no band holds with 5 searches: figures there are of networks that learned
or did not, far from normal. From n = 4 or 8 on Bonferroni holds in 95 % or more and is a fifth to a third wider than sup-t; sup-t by the
sample's correlation holds in 90 to 94 % with R = 5 and less with 3, for five curves have a correlation matrix of rank four, which makes
the curve look simpler than it is. Scheffe is wider than Bonferroni for R = 8. The range of 5 curves holds the median at each n in 94 %, and
everywhere in fewer than 80 %. The sequence of tests claims a lead where there is none in at most 5 %, and finds one from about N / 2 on
where the lead is large.

**Found** (200 searches, 200 sweeps a rate, +-7; python 3.11, numpy 2.4.6, scipy 1.17.1, optuna 5.0.0; flat top, R = 5, N = 16, bands from
n = 1 / 4 / 8 on; TPE with halving, then random search). Bonferroni holds in 50 / 60 / 84 and 48 / 50 / 78 %, sup-t in 42 / 52 / 77 and 42
/ 42 / 69 %, t in 28 / 41 / 72 and 34 / 32 / 62 %, Scheffe in 50 / 64 / 90 and 46 / 51 / 86 %: none of them, with R = 8 no more, because
of searches that have found nothing yet, which few curves show and on which the mean depends. The prediction that Bonferroni holds from n
= 4 or 8 on is refuted. The range of the searches holds the median curve in 64 / 71 / 82 and 61 / 76 / 78 %, with R = 8 in 92 / 94 / 96
and 88 / 91 / 95 %. A lead where there is none is claimed in 1.5 to 6 % (expected at most 5, +-3); one of 1 point is found in 86 % with R
= 5, from n = 10 on, one of 2 points in 98 to 100 %, from n = 7 on. From 80 trials of random search, ``opda`` 0.8.0 (``ld_equal_tailed``)
holds the median best validation accuracy in 98 %, the test accuracy of the pick, which is another quantity, in 77 %, without an upper end
from n = 9 on.
"""

from __future__ import annotations

import time
from importlib import metadata

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from benchmarks.finalists import SAMPLERS, TEST, WORLDS, Bank, begin, build
from benchmarks.simulated_sweeps import contrasts

N_SEEDS = 2
"""Confirm seeds of each pick."""
N_DRAWS = 4_000
FROM = (1, 4, 8)


def picks(bank: Bank) -> Int[np.ndarray, "search trial"]:
    """For each search and n the trial that is the pick among the first n."""
    n_searches, n_trials = bank.value.shape
    best = np.zeros((n_searches, n_trials), dtype=int)
    for n in range(1, n_trials):
        before = best[:, n - 1]
        best[:, n] = np.where(bank.value[:, n] > bank.value[np.arange(n_searches), before], n, before)
    return best


def sample(rng: np.random.Generator, bank: Bank, shape: tuple[int, ...]) -> Float[np.ndarray, "*shape trial"]:
    """Measured curves of searches drawn from the bank, in points relative to the best possible accuracy."""
    chosen = rng.integers(len(bank.gap), size=shape)
    noise = rng.normal(0, TEST / np.sqrt(N_SEEDS), (*shape, bank.gap.shape[1]))
    return np.take_along_axis(noise - bank.gap[chosen], picks(bank)[chosen], axis=-1)


def sup_t(curves: Float[np.ndarray, "search trial"], rng: np.random.Generator) -> float:
    """The 95 % quantile of the largest absolute t of values that are correlated as these curves are."""
    n_searches = len(curves)
    deviations = curves - curves.mean(axis=0)
    spread = deviations.std(axis=0, ddof=1)
    unit = deviations[:, spread > 0] / spread[spread > 0] / np.sqrt(n_searches - 1)
    normal = rng.normal(size=(N_DRAWS, n_searches)) @ np.unique(unit.round(9), axis=1)
    scale = np.sqrt(rng.chisquare(n_searches - 1, N_DRAWS) / (n_searches - 1))
    return float(np.quantile(np.abs(normal).max(axis=1) / scale, 0.95))


def factors(curves: Float[np.ndarray, "search trial"], rng: np.random.Generator) -> dict[str, float]:
    """The factor c of each kind of band."""
    freedom = len(curves) - 1
    n_changes = 1 + int((np.diff(curves, axis=1) != 0).any(axis=0).sum())
    return {
        "t": float(stats.t.ppf(0.975, freedom)),
        "Bonferroni": float(stats.t.ppf(1 - 0.025 / n_changes, freedom)),
        "sup-t": sup_t(curves, rng),
        "Scheffe": float(np.sqrt(freedom * stats.f.ppf(0.95, freedom, freedom))),
    }


def bands(bank: Bank, n_replicates: int) -> None:
    """Print how often each band holds, and how wide it is after the last trial."""
    index = np.arange(len(bank.gap))[:, None]
    true_curves = -bank.gap[index, picks(bank)]
    for n_trials in (16, 32):
        mean, median = true_curves[:, :n_trials].mean(axis=0), np.median(true_curves[:, :n_trials], axis=0)
        for n_searches in (3, 5, 8):
            rng = np.random.default_rng(3)
            cells: dict[str, list[str]] = {}
            for first in FROM:
                held: dict[str, list[bool]] = {}
                half: dict[str, list[float]] = {}
                for curves in sample(rng, bank, (n_replicates, n_searches))[..., first - 1 : n_trials]:
                    centre, error = curves.mean(axis=0), curves.std(axis=0, ddof=1) / np.sqrt(n_searches)
                    away = np.abs(centre - mean[first - 1 :])
                    for kind, factor in factors(curves, rng).items():
                        held.setdefault(kind, []).append(bool((away <= factor * error).all()))
                        half.setdefault(kind, []).append(factor * error[-1])
                    low, high = curves.min(axis=0), curves.max(axis=0)
                    target = median[first - 1 :]
                    held.setdefault("range", []).append(bool(((low <= target) & (target <= high)).all()))
                    half.setdefault("range", []).append((high[-1] - low[-1]) / 2)
                for kind, events in held.items():
                    cells.setdefault(kind, []).append(f"{100 * np.mean(events):.0f}% ±{np.median(half[kind]):.2f}")
            print(f"N={n_trials} R={n_searches}  " + "  ".join(f"{kind}: {', '.join(texts)}" for kind, texts in cells.items()), flush=True)


def leads(curves: Float[np.ndarray, "arm replicate search trial"]) -> Bool[np.ndarray, "replicate trial"]:
    """Whether the first arm is said to lead at each n: significant there and at every larger one."""
    better = np.stack([contrasts("search", curves[0, ..., n], curves[1, ..., n]).better for n in range(curves.shape[-1])], axis=1)
    return np.logical_and.accumulate(better[:, ::-1], axis=1)[:, ::-1]


def sequences(bank: Bank, n_replicates: int) -> None:
    """Print how often a lead is claimed where there is none, and from which n on one is found."""
    rng = np.random.default_rng(4)
    n_trials = 16
    for n_searches in (4, 5, 8):
        curves = sample(rng, bank, (2, n_replicates, n_searches))[..., :n_trials]
        either = leads(curves).any(axis=1) | leads(curves[::-1]).any(axis=1)
        late = curves.copy()
        late[0, ..., 8:] += 3.0
        crossing = leads(late)[:, :8].any(axis=1)
        each = np.stack([contrasts("search", late[0, ..., n], late[1, ..., n]).better for n in range(8)], axis=1).any(axis=1)
        found = []
        for lead in (1.0, 2.0, 4.0):
            ahead = leads(np.stack([curves[0] + lead, curves[1]]))
            is_found = ahead[:, -1]
            since = np.median(n_trials + 1 - ahead[is_found].sum(axis=1)) if is_found.any() else np.nan
            found.append(f"+{lead:g}: {100 * is_found.mean():.0f} %, from n = {since:.0f}")
        print(
            f"R={n_searches}  no lead at any n: {100 * either.mean():.1f} % claim one; none before n = 9, 3 points from there on: "
            f"{100 * crossing.mean():.1f} % (each n for itself: {100 * each.mean():.1f} %); found {'; '.join(found)}",
            flush=True,
        )


def opda_bands(bank: Bank, method: str, n_replicates: int) -> None:
    """Print how often the bands of ``opda`` hold, if it is installed, and how wide they are, from the trials of 5 searches of 16."""
    try:
        from opda.nonparametric import EmpiricalDistribution
    except ImportError:
        print("opda is not installed")
        return
    ns = np.arange(1, 17)
    everything = bank.value.ravel()
    of_value = np.quantile(everything, 0.5 ** (1 / ns))
    of_pick = np.median(-bank.gap[np.arange(len(bank.gap))[:, None], picks(bank)][:, :16], axis=0)
    rng = np.random.default_rng(5)
    held, held_pick, ends = [], [], []
    for _ in range(n_replicates):
        low, _, high = EmpiricalDistribution.confidence_bands(rng.choice(everything, 80, replace=False), 0.95, method=method, n_jobs=1)
        lower, upper = high.quantile_tuning_curve(ns), low.quantile_tuning_curve(ns)
        held.append(bool(((lower <= of_value) & (of_value <= upper)).all()))
        held_pick.append(bool(((lower <= of_pick) & (of_pick <= upper)).all()))
        ends.append((lower[-1], upper[-1], int((~np.isfinite(upper)).argmax()) + 1 if np.isinf(upper).any() else 17))
    low_end, high_end, no_end = np.median(ends, axis=0)
    print(
        f"opda {metadata.version('opda')}, {method}, 80 trials: holds the median best validation accuracy in {100 * np.mean(held):.0f} %, "
        f"the median test accuracy of the pick in {100 * np.mean(held_pick):.0f} %; at n = 16 [{low_end:.2f}, {high_end:.2f}], "
        f"without upper end from n = {no_end:.0f}"
    )


def main() -> None:
    """Simulate bands and sequences."""
    options = begin(__doc__, searches=200, replicates=200, seeds="1, 3, 4, 5")
    print(f"Share of sweeps in which a band holds from n = {', '.join(map(str, FROM))} on, and its half-width at n = N in points (median)")
    for world in WORLDS[:2]:
        for sampler in SAMPLERS:
            started = time.perf_counter()
            bank = build(world, options.searches, 32, sampler)
            print(f"\n{world.name}, {SAMPLERS[sampler]}: {options.searches} searches ({time.perf_counter() - started:.0f} s)")
            bands(bank, options.replicates)
            sequences(bank, options.replicates)
            if sampler == "random":
                for method in ("ks", "ld_equal_tailed"):
                    opda_bands(bank, method, options.replicates)


if __name__ == "__main__":
    main()
