"""How often the verdict is wrong, how often it finds what is there, and how often its intervals hold: all by simulation.

    python benchmarks/verdict.py                     about 3 minutes on one core
    python benchmarks/verdict.py --replicates 2000   a quick look

One replicate is one confirm phase: k arms on n paired seeds, each accuracy the sum of an effect of its seed, which all arms share, of
noise of its own, and of its arm's true lead. A winner is false if the arm called best is not truly ahead of all others. The tests are
done for all replicates at once here; the first fifty are also given to sweeper's own functions, and must agree.
"""

from __future__ import annotations

import argparse
import itertools
import platform
from collections.abc import Callable
from importlib import metadata

import numpy as np
from scipy import stats

from sweeper.report import statistics

N_SEEDS = 8
NOISES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails (t, 2.5 df)": lambda rng, shape: rng.standard_t(2.5, size=shape),
    "skewed (lognormal, to the left)": lambda rng, shape: -(rng.lognormal(size=shape) - np.exp(0.5)) / 2.16,
    "a seed in ten collapses": lambda rng, shape: np.where(rng.random(shape) < 0.1, -20.0, rng.normal(size=shape)),
    "rounded to 0.5 sd (ties)": lambda rng, shape: np.round(2 * rng.normal(size=shape)) / 2,
}
SIGNS = np.array(list(itertools.product([1.0, -1.0], repeat=N_SEEDS)))


def sign_flip(differences: np.ndarray) -> np.ndarray:
    """Exact two-sided p by sign flips of each row of differences."""
    observed = np.abs(differences.sum(axis=-1, keepdims=True))
    return (np.abs(differences @ SIGNS.T) >= observed * (1 - 1e-12) - 1e-15).mean(axis=-1)


def wilcoxon(differences: np.ndarray) -> np.ndarray:
    """Exact two-sided p of the signed-rank test of each row, zeros ranked as in Pratt 1959."""
    ranks = stats.rankdata(np.abs(differences), axis=-1) * np.sign(differences)
    return sign_flip(ranks)


def paired_t(differences: np.ndarray) -> np.ndarray:
    """Two-sided p of the paired t test of each row."""
    spread = differences.std(axis=-1, ddof=1)
    statistic = np.divide(differences.mean(axis=-1), spread / np.sqrt(N_SEEDS), out=np.zeros(len(differences)), where=spread > 0)
    return 2 * stats.t.sf(np.abs(statistic), N_SEEDS - 1)


TESTS = {"sign flips (ours)": sign_flip, "Wilcoxon": wilcoxon, "paired t": paired_t}


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p, row by row."""
    n_tests = p_values.shape[1]
    order = np.argsort(p_values, axis=1)
    stepped = np.take_along_axis(p_values, order, axis=1) * np.arange(n_tests, 0, -1)
    adjusted = np.empty_like(p_values)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(stepped, axis=1), 1), axis=1)
    return adjusted


def call_winners(accuracies: np.ndarray, test: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """For each replicate (replicate, seed, arm) the best arm, and whether it is called the winner."""
    n_arms = accuracies.shape[2]
    pairs = list(itertools.combinations(range(n_arms), 2))
    adjusted = holm(np.stack([test(accuracies[:, :, one] - accuracies[:, :, other]) for one, other in pairs], axis=1))
    best = accuracies.mean(axis=1).argmax(axis=1)
    is_winner = np.ones(len(accuracies), dtype=bool)
    for index, pair in enumerate(pairs):
        is_winner &= ~np.isin(best, pair) | (adjusted[:, index] <= statistics.SIGNIFICANCE)
    return best, is_winner


def draw(rng: np.random.Generator, noise: str, n_replicates: int, n_arms: int) -> np.ndarray:
    """Accuracies in units of the noise's scale, no arm ahead."""
    own = NOISES[noise](rng, (n_replicates, N_SEEDS, n_arms))
    return own + rng.normal(size=(n_replicates, N_SEEDS, 1))


def check_against_sweeper(accuracies: np.ndarray) -> None:
    """Stop if the fast tests here and sweeper's own disagree."""
    n_arms = accuracies.shape[2]
    pairs = list(itertools.combinations(range(n_arms), 2))
    ours = np.stack([sign_flip(accuracies[:, :, one] - accuracies[:, :, other]) for one, other in pairs], axis=1)
    adjusted = holm(ours)
    for index, replicate in enumerate(accuracies):
        found = statistics.compare_pairs([dict(enumerate(replicate[:, arm].tolist())) for arm in range(n_arms)])
        expected = np.stack([ours[index], adjusted[index]], axis=1)
        # for a mean near zero rounding decides which flips are as large: p is near 1 either way
        np.testing.assert_allclose(np.minimum([found[pair] for pair in pairs], 0.9), np.minimum(expected, 0.9), atol=1e-9)


def rate(events: np.ndarray) -> str:
    """``4.52 % [4.2, 4.8]``: share of true events with its exact 95 % interval."""
    interval = stats.binomtest(int(events.sum()), len(events)).proportion_ci()
    return f"{100 * events.mean():5.2f} % [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


def false_winners(rng: np.random.Generator, n_replicates: int) -> None:
    """Print the rate of winners called where no arm is ahead."""
    print(f"\nWinners called where no arm is ahead ({n_replicates:,} replicates, {N_SEEDS} seeds; must stay <= 5 %)")
    print(f"{'noise':<33}{'arms':>4}  " + "  ".join(f"{name:<24}" for name in TESTS))
    for noise, n_arms in itertools.product(NOISES, (2, 3, 5)):
        accuracies = draw(rng, noise, n_replicates, n_arms)
        check_against_sweeper(accuracies[:50])
        print(f"{noise:<33}{n_arms:>4}  " + "  ".join(f"{rate(call_winners(accuracies, test)[1]):<24}" for test in TESTS.values()))
    print(
        f"With 5 arms {N_SEEDS} seeds cannot reach 0.05 with the exact tests: sweeper says so, and asks for {statistics.needed_seeds(5)}."
    )


def two_ahead(rng: np.random.Generator, n_replicates: int) -> None:
    """Print the rate of winners called where two equal arms are far ahead of the others: the hardest case."""
    print("\nWinners called where two equal arms are 10 sd ahead of a third")
    for noise in NOISES:
        accuracies = draw(rng, noise, n_replicates, 3)
        accuracies[:, :, 2] -= 10
        print(f"{noise:<37}  " + "  ".join(f"{rate(call_winners(accuracies, test)[1]):<24}" for test in TESTS.values()))


def power(rng: np.random.Generator, n_replicates: int) -> None:
    """Print how often the arm that is truly ahead is called the winner, beside what a report states for one pair."""
    print("\nThe true winner called, by its lead in points; the differences of two arms vary by sd points over seeds")
    print(f"{'noise':<33}{'arms':>4}{'sd':>6}{'lead':>6}  " + "  ".join(f"{name:<24}" for name in TESTS) + "  stated for one pair")
    for noise, n_arms, sd, lead in itertools.product(["normal", "a seed in ten collapses"], (2, 3), (0.5, 1.0), (0.5, 1.0, 2.0)):
        accuracies = draw(rng, noise, n_replicates, n_arms) * sd / np.sqrt(2)
        accuracies[:, :, 0] += lead
        cells = []
        for test in TESTS.values():
            best, is_winner = call_winners(accuracies, test)
            cells.append(f"{rate(is_winner & (best == 0)):<24}")
        stated = f"{100 * statistics.power(lead, sd, N_SEEDS, n_arms):.1f} %" if noise == "normal" else ""
        print(f"{noise:<33}{n_arms:>4}{sd:>6}{lead:>6}  " + "  ".join(cells) + f"  {stated}")


def coverage(rng: np.random.Generator, n_replicates: int) -> None:
    """Print how often intervals hold the true mean: ours, plain percentile and plain BCa at 95 %."""
    print(f"\nTrue mean within the 95 % interval ({n_replicates:,} replicates)")
    for n_seeds, noise in itertools.product((5, 8, 16), list(NOISES)[:3]):
        held: dict[str, list[bool]] = {"ours": [], "percentile": [], "BCa": []}
        for values in NOISES[noise](rng, (n_replicates, n_seeds)):
            found = statistics.estimate(values)
            assert found.low is not None
            assert found.high is not None
            held["ours"].append(found.low <= 0 <= found.high)
            for method in ("percentile", "BCa"):
                plain = stats.bootstrap((values,), np.mean, method=method, n_resamples=999, rng=0).confidence_interval
                held[method].append(bool(plain.low <= 0 <= plain.high))
        print(f"{n_seeds:>3} seeds  {noise:<33}" + "  ".join(f"{name}: {rate(np.array(events))}" for name, events in held.items()))


def main() -> None:
    """Run all simulations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=20_000)
    replicates = parser.parse_args().replicates
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy"))
    print(f"python {platform.python_version()}, {versions}; seed 1")
    rng = np.random.default_rng(1)
    false_winners(rng, replicates)
    two_ahead(rng, replicates)
    power(rng, max(replicates // 4, 100))
    coverage(rng, max(replicates // 20, 100))


if __name__ == "__main__":
    main()
