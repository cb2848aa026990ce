"""How often the verdict is wrong, how often it finds what is there, and how often its intervals hold: all by simulation.

    python -m benchmarks.verdict                     a minute and a half on one core
    python -m benchmarks.verdict --replicates 2000   a quick look

``benchmarks/simulated_sweeps.py`` says what a simulated sweep is, and compares its decisions for the first fifty sweeps of each line with
sweeper's own. A winner is false if the arm called best is not truly ahead of all others; points are percentage points of accuracy.
"""

from __future__ import annotations

import argparse
import itertools
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata

import numpy as np
from scipy import stats

from benchmarks.simulated_sweeps import (
    MARGIN,
    RULES,
    SHAPES,
    SHARED_SD,
    Arm,
    Events,
    Figures,
    Unit,
    Verdicts,
    configurations,
    contrasts,
    decide,
    draw,
    in_units,
)
from sweeper.report import statistics

PLAIN, SKEWED = Arm(), Arm(pick_sd=0.5, picks="skewed (lognormal, to the left)")
FAR = Arm(-5.0)

ALIKE: dict[str, Sequence[Arm]] = {
    **{f"two arms, picks vary by {sd}": [Arm(pick_sd=sd)] * 2 for sd in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)},
    **{f"{n} arms": [PLAIN] * n for n in (3, 4, 5)},
    **{f"{n} arms, skewed picks (sd 0.5)": [SKEWED] * n for n in (2, 3, 5)},
    "two arms far ahead of a third": [PLAIN, PLAIN, FAR],
    "two arms far ahead of a third, skewed picks": [SKEWED, SKEWED, replace(SKEWED, mean=-5.0)],
    "two arms far ahead of three others": [PLAIN, PLAIN, FAR, FAR, FAR],
    "two arms, heavy-tailed picks": [Arm(picks="heavy tails (t, 2.5 df)")] * 2,
}
"""Arms of which none is truly ahead and those in front are exchangeable: a winner must be called in at most 5 %."""

UNLIKE: dict[str, Sequence[Arm]] = {
    "everything varies 1 : 3": [Arm(pick_sd=0.15, run_sd=0.25), Arm(pick_sd=0.45, run_sd=0.75)],
    "the same, 3 arms": [Arm(pick_sd=0.15, run_sd=0.25), *[Arm(pick_sd=0.45, run_sd=0.75)] * 2],
    "one arm does not vary at all": [Arm(pick_sd=0.0, run_sd=0.0), PLAIN],
    "one arm has nothing to tune": [Arm(n_configurations=1), PLAIN],
    "neither has anything to tune": [Arm(n_configurations=1)] * 2,
    **{f"searches pick from the same {n} configurations": [Arm(n_configurations=n)] * 2 for n in (2, 3, 5, 10)},
}
"""Equal means of arms that vary differently, or whose searches train the same networks again: a permutation alone calls too many."""

BEYOND: dict[str, Sequence[Arm]] = {
    "skewed picks that vary 1 : 3": [SKEWED, replace(SKEWED, pick_sd=1.5)],
    "skewed picks of one arm, the other does not vary": [Arm(pick_sd=0.0, run_sd=0.0), SKEWED],
    **{
        f"a seed moves each arm by itself by {sd}": [Arm(seed_sd=sd, run_sd=float(np.sqrt(0.49**2 - sd**2)))] * 2 for sd in (0.1, 0.2, 0.35)
    },
}
"""Equal means, and what no test over searches on these seeds can see."""


def rate(events: Events) -> str:
    """``4.52 % [4.23, 4.81]``: share of true events with its exact 95 % interval."""
    interval = stats.binomtest(int(events.sum()), len(events)).proportion_ci()
    return f"{100 * events.mean():5.2f} % [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


def line(label: str, rates: Mapping[str, Events]) -> None:
    """Print one line of a table."""
    print(f"  {label:<76}" + "  ".join(f"{name}: {rate(events):<22}" for name, events in rates.items()))


def verdicts(rng: np.random.Generator, arms: Sequence[Arm], n: int, n_searches: int = 5, n_seeds: int = 2) -> Verdicts:
    """The verdicts of ``n`` simulated sweeps."""
    return decide(*in_units(draw(rng, arms, n, n_searches, n_seeds)))


def pooled(runs: Figures) -> Verdicts:
    """The verdicts were every run of every search counted as a seed of its own, which is wrong: seeds of one search share its pick."""
    return decide("seed", runs.reshape(*runs.shape[:2], -1))


def winners(found: Verdicts) -> dict[str, Events]:
    """Whether a winner is called, by each rule."""
    return {rule: found.winner(rule) for rule in RULES}


def false_winners(rng: np.random.Generator, n: int) -> None:
    """Print the rates of winners called where no arm is ahead."""
    for title, cases in (
        ("must stay <= 5 %", ALIKE),
        ("arms that vary differently; must stay <= 5 %", UNLIKE),
        ("beyond the procedure", BEYOND),
    ):
        print(f"\nWinners called where no arm is ahead, 5 searches on 2 seeds ({title}; {n:,} sweeps)")
        for label, arms in cases.items():
            line(label, winners(verdicts(rng, arms, n)))
    print("\nThe same for other numbers of searches and seeds, two arms")
    for n_searches, n_seeds, sd in itertools.product((4, 5, 6, 7), (1, 2, 4), (0.3, 0.5)):
        line(
            f"{n_searches} searches, {n_seeds} seeds, picks vary by {sd}",
            winners(verdicts(rng, [Arm(pick_sd=sd)] * 2, n, n_searches, n_seeds)),
        )
    print("\nOne search in twenty of one arm picks what loses 20 points, and means are equal: no test sees what did not happen")
    runs = draw(rng, [PLAIN, PLAIN], n, 5, 2)
    lost = rng.random((n, 5, 1)) < 0.05
    runs[:, 0] += np.where(lost, -19.0, 1.0)
    found, is_seen = decide(*in_units(runs)), lost.any(axis=(1, 2))
    line("in all sweeps", winners(found))
    line("in sweeps that saw it", {rule: events[is_seen] for rule, events in winners(found).items()})


def one_search(rng: np.random.Generator, n: int) -> None:
    """Print what the seeds of one search, or all seeds of several pooled, say of arms that are alike."""
    print("\nTwo arms that are alike: what one search each and a test over its seeds call a winner (the reason for searches)")
    for n_seeds, sd in itertools.product((8, 12), (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)):
        line(f"1 search, {n_seeds} seeds, picks vary by {sd}", winners(verdicts(rng, [Arm(pick_sd=sd)] * 2, n, 1, n_seeds)))
    for n_searches, n_seeds, sd in itertools.product((2, 5), (2, 4), (0.3, 0.5)):
        if n_searches * n_seeds in (8, 10):
            runs = draw(rng, [Arm(pick_sd=sd)] * 2, n, n_searches, n_seeds)
            line(f"{n_searches} searches x {n_seeds} seeds pooled, picks vary by {sd}", winners(pooled(runs)))


def power(rng: np.random.Generator, n: int) -> None:
    """Print how often the arm that is truly ahead is called the winner, beside what a report states for one pair."""
    print(f"\nThe true winner called, by its lead in points ({n:,} sweeps); 'stated' is what a report says of two arms")
    plans = [(5, 2), (4, 2), (4, 4), (6, 1), (7, 2)]
    for (n_searches, n_seeds), n_arms, sd, lead in itertools.product(plans, (2, 3, 5), (0.3, 0.5), (0.5, 1.0, 2.0)):
        if n_arms > 2 and (n_searches, n_seeds) != (5, 2):
            continue
        rest = [Arm(pick_sd=sd)] * (n_arms - 1)
        found = verdicts(rng, [Arm(lead, pick_sd=sd), *rest], n, n_searches, n_seeds)
        is_right = found.order[:, 0] == 0
        spread = float(np.hypot(sd, 0.49 / np.sqrt(n_seeds)))
        stated = f" (stated {100 * statistics.power_of_searches(lead, spread, n_searches, n_searches):.0f} %)" if n_arms == 2 else ""
        label = f"{n_searches} searches, {n_seeds} seeds, {n_arms} arms, picks vary by {sd}, lead {lead}{stated}"
        line(label, {rule: events & is_right for rule, events in winners(found).items()})


STEADY = Arm(pick_sd=0.1, run_sd=0.1)
APART: dict[str, Sequence[Arm]] = {
    "picks do not vary": [Arm(MARGIN, pick_sd=0.0), Arm(pick_sd=0.0)],
    "picks vary by 0.1, runs by 0.1": [replace(STEADY, mean=MARGIN), STEADY],
    "picks vary by 0.3": [Arm(MARGIN), PLAIN],
    "everything varies 1 : 3": [Arm(MARGIN, pick_sd=0.05, run_sd=0.1), Arm(pick_sd=0.15, run_sd=0.3)],
    "skewed picks, runs vary by 0.1": [Arm(mean, pick_sd=0.2, run_sd=0.1, picks=SKEWED.picks) for mean in (MARGIN, 0.0)],
    "three arms, the best alone ahead": [replace(STEADY, mean=mean) for mean in (MARGIN, 0.0, 0.0)],
    "three arms, two ahead": [replace(STEADY, mean=mean) for mean in (MARGIN, MARGIN, 0.0)],
    "five arms, the best alone ahead": [replace(STEADY, mean=mean) for mean in (MARGIN, 0.0, 0.0, 0.0, 0.0)],
}
"""Arms that differ by the margin: they must be called equal in at most 5 %. Small noise, for with much of it nothing is called equal."""


def equality(rng: np.random.Generator, n: int) -> None:
    """Print how often arms are called equal that differ by the margin, and that do not."""
    print(f"\nArms called equal that differ by the margin of {MARGIN} points (must stay <= 5 %)")
    for label, arms in APART.items():
        means, plans = [arm.mean for arm in arms], ((2, 2), (3, 2), (5, 2), (7, 2))
        line(label, {f"{r} searches": verdicts(rng, arms, n, r, s).wrongly_equal(means) for r, s in plans})
    as_they_are = [Arm(MARGIN, pick_sd=0.0), Arm(pick_sd=0.0)]
    line(
        "one search", {f"{n_seeds} seeds": verdicts(rng, as_they_are, n, 1, n_seeds).wrongly_equal([MARGIN, 0.0]) for n_seeds in (2, 5, 8)}
    )
    print("\nArms called equal that differ by less, two arms: the power of that answer")
    for (n_searches, n_seeds), sd, lead in itertools.product([(5, 2), (7, 2), (8, 4), (1, 8), (1, 12)], (0.0, 0.1, 0.3), (0.0, 0.25)):
        if n_searches > 1 or sd == 0:
            found = verdicts(rng, [Arm(lead, pick_sd=sd), Arm(pick_sd=sd)], n, n_searches, n_seeds).equal()
            line(f"{n_searches} searches, {n_seeds} seeds, picks vary by {sd}, true difference {lead}", {"equal": found})


def behind(rng: np.random.Generator, n: int) -> None:
    """Print how often an arm is said to be behind where no arm is ahead."""
    print("\nSome arm said to be behind where no arm is ahead (must stay <= 5 %)")
    for label, arm in (("normal", PLAIN), ("skewed picks", SKEWED)):
        for n_arms, n_searches in itertools.product((2, 3, 5), (2, 3, 4, 5)):
            line(f"{label}, {n_arms} arms, {n_searches} searches", {"behind": verdicts(rng, [arm] * n_arms, n, n_searches).behind()})
    for shape, n_arms, n_seeds in itertools.product(list(SHAPES)[:3], (2, 3, 5), (2, 3, 5, 8)):
        arms = [Arm(pick_sd=0.0, runs=shape)] * n_arms
        line(f"{shape}, {n_arms} arms, one search, {n_seeds} seeds", {"behind": verdicts(rng, arms, n, 1, n_seeds).behind()})


def seeds(rng: np.random.Generator, n: int) -> None:
    """Print the rates for one search each, or arms with nothing to tune: 8 paired seeds, of configurations as they are."""
    print("\nConfigurations as they are, 8 paired seeds: winners called where none is ahead (must stay <= 5 %)")
    for shape, n_arms in itertools.product(SHAPES, (2, 3, 5)):
        line(f"{shape}, {n_arms} arms", winners(verdicts(rng, [Arm(pick_sd=0.0, runs=shape)] * n_arms, n, 1, 8)))
    for shape in SHAPES:
        near = Arm(pick_sd=0.0, runs=shape)
        line(f"{shape}, two arms far ahead of a third", winners(verdicts(rng, [near, near, replace(near, mean=-50.0)], n, 1, 8)))
    runs = draw(rng, [Arm(pick_sd=0.0)] * 2, n, 1, 8)
    runs[:, 0] += np.where(rng.random((n, 1, 8)) < 0.05, -19.0, 1.0)
    line("equal means, one of which loses 20 points on one seed in twenty", winners(decide(*in_units(runs))))
    line("the worse arm wins, the better one lost its highest seed", {"ours": worse_arm_wins(rng, max(n // 20, 100))})
    print("\nConfigurations as they are, 8 paired seeds: the true winner called")
    for shape, n_arms, lead in itertools.product(["normal", "one in ten collapses"], (2, 3, 5), (0.5, 1.0, 2.0)):
        rest = [Arm(pick_sd=0.0, runs=shape)] * (n_arms - 1)
        found = verdicts(rng, [replace(rest[0], mean=lead), *rest], n, 1, 8)
        label = f"{shape}, {n_arms} arms, lead {lead}"
        label += f" (stated {100 * statistics.power(lead, 0.49 * 2**0.5, 8):.0f} %)" if (shape, n_arms) == ("normal", 2) else ""
        line(label, {rule: events & (found.order[:, 0] == 0) for rule, events in winners(found).items()})


def worse_arm_wins(rng: np.random.Generator, n: int) -> Events:
    """Whether sweeper's own functions call the worse of two arms, by 2 points, the winner after the better one lost its highest seed."""
    events = []
    for _ in range(n):
        worse, better = (rng.normal(0, 5, (8, 1)) + rng.normal(size=(8, 2)) + [0.0, 2.0]).T
        samples = {"worse": dict(enumerate(worse)), "better": dict(enumerate(better))}
        del samples["better"][int(better.argmax())]
        first, second = statistics.ranked(samples)
        figures = [np.array([samples[arm][seed] for seed in sorted(samples["better"])]) for arm in (first, second)]
        found = statistics.contrast_of_seeds(*figures, maximize=True, margin=None, least=-np.inf, most=np.inf, n_arms=2)
        events.append(first == "worse" and found.outcome == "better")
    return np.array(events)


def coverage(rng: np.random.Generator, n: int) -> None:
    """Print how often the intervals that a report prints hold what they are intervals of."""
    few = max(n // 10, 100)
    print(f"\n95 % intervals that hold the truth: of one arm's mean, by sweeper's own function ({few:,} sweeps)")
    for shape, n_units in itertools.product(list(SHAPES)[:3], range(2, 9)):
        figures = SHAPES[shape](rng, (few, n_units))
        line(f"{n_units} seeds or searches, {shape}", {"t": holds(figures), "percentile bootstrap": bootstrap_holds(rng, figures)})
    print("\nof one arm's mean over searches, picks vary by 0.3: on these very seeds, and on any")
    for n_searches, n_seeds in ((2, 2), (4, 2), (5, 2), (7, 2), (5, 4)):
        figures = {sd: draw(rng, [PLAIN], few, n_searches, n_seeds, sd)[:, 0].mean(axis=2) for sd in (0.0, SHARED_SD)}
        line(f"{n_searches} searches, {n_seeds} seeds", {"these seeds": holds(figures[0.0]), "any seeds": holds(figures[SHARED_SD])})
    print(f"\nof the difference between two arms, 95 % and 90 %, and of its spread ({n:,} and {few:,} sweeps)")
    for label, arms in {"alike": [PLAIN, PLAIN], "skewed picks": [SKEWED, SKEWED], **UNLIKE}.items():
        for n_searches in (2, 3, 4, 5, 7) if len(arms) == 2 else ():
            line(f"{n_searches} searches, {label}", difference_holds(*in_units(draw(rng, arms[:2], n, n_searches, 2)), arms, few))
    for shape, n_seeds in itertools.product(list(SHAPES)[:3], (2, 3, 5, 8)):
        arms = [Arm(pick_sd=0.0, runs=shape)] * 2
        line(f"{n_seeds} seeds, {shape}", difference_holds(*in_units(draw(rng, arms, n, 1, n_seeds)), arms, few))
    print("\nof the difference between the best of several arms that are alike and each of the others, 5 searches on 2 seeds")
    for n_arms in (2, 3, 5):
        found = verdicts(rng, [PLAIN] * n_arms, n).rivals
        line(f"{n_arms} arms", {f"rank {rank}": each.holds_zero for rank, each in enumerate(found, start=2)})


def holds(figures: Figures) -> Events:
    """Whether the interval of a mean over (sweep, unit) holds 0."""
    found = [statistics.estimate(values) for values in figures]
    return np.array([each.low is not None and each.high is not None and each.low <= 0 <= each.high for each in found])


def bootstrap_holds(rng: np.random.Generator, figures: Figures) -> Events:
    """The same of a percentile bootstrap."""
    n_units = figures.shape[1]
    means = [values[rng.integers(0, n_units, (999, n_units))].mean(axis=1) for values in figures]
    low, high = np.quantile(np.array(means), [0.025, 0.975], axis=1)
    return (low <= 0) & (high >= 0)


def difference_holds(unit: Unit, figures: Figures, arms: Sequence[Arm], few: int) -> dict[str, Events]:
    """Whether the intervals of the difference of two arms hold 0, and that of its spread the true one of normal noise."""
    found = contrasts(unit, figures[:, 0], figures[:, 1])
    result = {"95 %": found.holds_zero, "90 %": ~((found.equal_low > 0) | (found.equal_high < 0))}
    if all(arm.picks == arm.runs == "normal" and arm.run_sd and not arm.n_configurations for arm in arms):
        variances = [arm.pick_sd**2 + arm.run_sd**2 / 2 if unit == "search" else arm.run_sd**2 for arm in arms[:2]]
        truth = float(np.sqrt(np.mean(variances) if unit == "search" else np.sum(variances)))
        limits = {"maximize": True, "margin": None, "least": -np.inf, "most": np.inf, "n_arms": 2}
        each = [statistics.contrast(unit, *pair, **limits, configurations=configurations(unit, pair)) for pair in figures[:few]]
        result["spread"] = np.array([(one.sd_low or 0.0) <= truth <= (one.sd_high or np.inf) for one in each])
    return result


def main() -> None:
    """Run all simulations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=20_000)
    replicates = parser.parse_args().replicates
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy"))
    print(f"python {platform.python_version()}, {versions}; seed 1")
    for simulation in (one_search, false_winners, power, equality, behind, seeds, coverage):
        simulation(np.random.default_rng(1), replicates)


if __name__ == "__main__":
    main()
