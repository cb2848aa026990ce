"""How often the verdict is wrong, how often it finds what is there, and how often its intervals hold: all by simulation.

    python benchmarks/verdict.py                     about 2 minutes on one core
    python benchmarks/verdict.py --replicates 2000   a quick look

One replicate is one confirm phase: k arms on n paired seeds, each accuracy the sum of an effect of its seed, which all arms share, of
noise of its own, and of its arm's true lead. A winner is false if the arm called best is not truly ahead of all others. The tests are
done for all replicates at once here; the first fifty are also given to sweeper's own functions, and must agree. What varies between two
searches of one arm is not simulated: the verdict speaks of the configurations that one search found.
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
RULES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], bool]] = {
    **{name: (test, False) for name, test in TESTS.items()},
    "sign flips, Holm": (sign_flip, True),
}
"""A test against each rival, and whether it is corrected over all pairs."""


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p, row by row."""
    n_tests = p_values.shape[1]
    order = np.argsort(p_values, axis=1)
    stepped = np.take_along_axis(p_values, order, axis=1) * np.arange(n_tests, 0, -1)
    adjusted = np.empty_like(p_values)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(stepped, axis=1), 1), axis=1)
    return adjusted


def call_winners(accuracies: np.ndarray, rule: tuple[Callable[[np.ndarray], np.ndarray], bool]) -> tuple[np.ndarray, np.ndarray]:
    """For each replicate (replicate, seed, arm) the best arm, and whether it is called the winner."""
    test, is_corrected = rule
    pairs = list(itertools.combinations(range(accuracies.shape[2]), 2))
    p_values = np.stack([test(accuracies[:, :, one] - accuracies[:, :, other]) for one, other in pairs], axis=1)
    p_values = holm(p_values) if is_corrected else p_values
    best = accuracies.mean(axis=1).argmax(axis=1)
    is_winner = np.ones(len(accuracies), dtype=bool)
    for index, pair in enumerate(pairs):
        is_winner &= ~np.isin(best, pair) | (p_values[:, index] <= statistics.SIGNIFICANCE)
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
    print(f"{'noise':<33}{'arms':>4}  " + "  ".join(f"{name:<24}" for name in RULES))
    for noise, n_arms in itertools.product(NOISES, (2, 3, 5)):
        accuracies = draw(rng, noise, n_replicates, n_arms)
        check_against_sweeper(accuracies[:50])
        print(f"{noise:<33}{n_arms:>4}  " + "  ".join(f"{rate(call_winners(accuracies, rule)[1]):<24}" for rule in RULES.values()))


def two_ahead(rng: np.random.Generator, n_replicates: int) -> None:
    """Print the rate of winners called where two equal arms are far ahead of the others: the hardest case."""
    print("\nWinners called where two equal arms are 10 sd ahead of a third")
    for noise in NOISES:
        accuracies = draw(rng, noise, n_replicates, 3)
        accuracies[:, :, 2] -= 10
        print(f"{noise:<37}  " + "  ".join(f"{rate(call_winners(accuracies, rule)[1]):<24}" for rule in RULES.values()))


def unlike(rng: np.random.Generator, n_replicates: int) -> None:
    """Print the rate of winners called between arms with one mean that are not alike: the test is not made for them."""
    accuracies = draw(rng, "normal", n_replicates, 2)
    accuracies[:, :, 0] += np.where(rng.random((n_replicates, N_SEEDS)) < 0.05, -19.0, 1.0)
    print("\nWinners called between two arms of one mean, one of which loses 20 sd on one seed in twenty: not what the test asks")
    print("  ".join(f"{name}: {rate(call_winners(accuracies, rule)[1])}" for name, rule in RULES.items()))


def one_seed_less(rng: np.random.Generator, n_replicates: int) -> None:
    """Print how often the worse of two arms is called the winner where the better one has lost its highest seed, or any."""
    print("\nThe worse arm called the winner where one seed of the better one (by 2 sd) diverged; seeds differ by 5 sd")
    for which in ("the highest", "any"):
        n_before, n_now = 0, 0
        for _ in range(n_replicates):
            seeds = rng.normal(0, 5, (N_SEEDS, 1))
            worse, better = (seeds + rng.normal(size=(N_SEEDS, 2)) + [0.0, 2.0]).T
            lost = int(better.argmax()) if which == "the highest" else int(rng.integers(N_SEEDS))
            samples = {"worse": dict(enumerate(worse)), "better": {seed: value for seed, value in enumerate(better) if seed != lost}}
            p_value = statistics.sign_flip_p(statistics.paired_differences(samples["worse"], samples["better"]))
            n_before += worse.mean() > np.mean(list(samples["better"].values())) and p_value <= statistics.SIGNIFICANCE
            first, second = statistics.ranked(samples)
            lead = statistics.paired_differences(samples[first], samples[second]).mean()
            n_now += first == "worse" and lead > 0 and p_value <= statistics.SIGNIFICANCE
        events = [np.arange(n_replicates) < count for count in (n_before, n_now)]
        print(f"{which:<12} ranked by each arm's own seeds, sign ignored: {rate(events[0])}  on common seeds (ours): {rate(events[1])}")


def clearly_behind(rng: np.random.Generator, n_replicates: int) -> None:
    """Print how often an arm is said to be clearly behind where no arm is ahead, by sweeper's own functions."""
    print(f"\nSome arm said to be clearly behind where no arm is ahead ({n_replicates:,} replicates; must stay <= 5 %)")
    for noise, n_arms, n_seeds in itertools.product(list(NOISES)[:3], (3, 5), (2, 3, 5, 8)):
        own = NOISES[noise](rng, (n_replicates, n_seeds, n_arms)) + rng.normal(size=(n_replicates, n_seeds, 1))
        events = []
        for replicate in own:
            order = np.argsort(-replicate.mean(axis=0))
            found = statistics.compare_pairs([dict(enumerate(replicate[:, arm])) for arm in order])
            leads = [replicate[:, order[0]] - replicate[:, arm] for arm in order]
            events.append(any(statistics.is_clearly_behind(leads[arm], found[0, arm][1], n_arms) for arm in range(1, n_arms)))
        print(f"{noise:<33}{n_arms:>4} arms {n_seeds:>2} seeds  {rate(np.array(events))}")


def power(rng: np.random.Generator, n_replicates: int) -> None:
    """Print how often the arm that is truly ahead is called the winner, beside what a report states for one pair."""
    print("\nThe true winner called, by its lead in points; the differences of two arms vary by sd points over seeds")
    print(f"{'noise':<33}{'arms':>4}{'sd':>6}{'lead':>6}  " + "  ".join(f"{name:<24}" for name in RULES) + "  stated for one pair")
    for noise, n_arms, sd, lead in itertools.product(["normal", "a seed in ten collapses"], (2, 3, 5), (0.5, 1.0), (0.5, 1.0, 2.0)):
        accuracies = draw(rng, noise, n_replicates, n_arms) * sd / np.sqrt(2)
        accuracies[:, :, 0] += lead
        cells = []
        for rule in RULES.values():
            best, is_winner = call_winners(accuracies, rule)
            cells.append(f"{rate(is_winner & (best == 0)):<24}")
        stated = f"{100 * statistics.power(lead, sd, N_SEEDS):.1f} %" if noise == "normal" else ""
        print(f"{noise:<33}{n_arms:>4}{sd:>6}{lead:>6}  " + "  ".join(cells) + f"  {stated}")


def coverage(rng: np.random.Generator, n_replicates: int) -> None:
    """Print how often 95 % intervals hold the true mean: ours, and a plain percentile bootstrap."""
    print(f"\nTrue mean within the 95 % interval ({n_replicates:,} replicates)")
    for noise, n_seeds in itertools.product(list(NOISES)[:3], range(2, 9)):
        held: dict[str, list[bool]] = {"ours (t)": [], "percentile": []}
        for values in NOISES[noise](rng, (n_replicates, n_seeds)):
            found = statistics.estimate(values)
            assert found.low is not None
            assert found.high is not None
            held["ours (t)"].append(found.low <= 0 <= found.high)
            low, high = np.quantile(values[rng.integers(0, n_seeds, (999, n_seeds))].mean(axis=1), [0.025, 0.975])
            held["percentile"].append(bool(low <= 0 <= high))
        print(f"{noise:<33}{n_seeds:>3} seeds  " + "  ".join(f"{name}: {rate(np.array(events))}" for name, events in held.items()))


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
    unlike(rng, replicates)
    one_seed_less(rng, max(replicates // 4, 100))
    clearly_behind(rng, max(replicates // 10, 100))
    power(rng, max(replicates // 4, 100))
    coverage(rng, max(replicates // 10, 100))


if __name__ == "__main__":
    main()
