"""Is it worth choosing among the finalists of a search on fresh validation seeds, at equal cost?

    python -m benchmarks.finalists                      the simulation
    python -m benchmarks.finalists --searches 100       a quick look

*Finalists*: the k best complete trials of a search are trained again on m validation seeds that the search has not used, and the best by
the mean of its 1 + m validation accuracies is the pick, instead of the best by one lucky value. The same epochs could instead pay for
more trials in each search, for more searches, or for more confirm seeds.

**The model.** Optuna's TPE and successive halving, as a sweep uses them, search a surface: the points that a configuration's true
accuracy lies below the best possible one grow with the distance of log10(learning rate) from its best value, to a power, with the two
parameters of the schedule, and for ``focal`` by a slope with gamma; at most 45 (it learns nothing). The widths are those of the search
trials of a sweep of ``search_spaces/focal.yaml`` with 16 trials of 15 epochs (``tests/earlier_sweeps/finished.zip``). A validation
accuracy is the true one plus noise of the training (0.45 points, own to configuration and seed, seen by validation and test alike) and of
the 5,000 validation images (0.40); what all trials of a seed share cancels. A test accuracy has the training's noise and 0.20 of the
images. This is what that sweep's confirm phase shows (differences of two arms at a seed / sqrt(2): 0.66 validation, 0.49 test). After
epochs 2 and 6 of 15 a curve knows its end to within 2 and 1.5 points. Power and scale are set so that the sd of the pick, each measured
on 8 seeds, comes near what repeated searches of that sweep's space gave: 0.19 points for cross-entropy (5 searches) and 0.54 for focal
(4). Epochs a search and complete trials are not fitted: the sweep had 87 and 92 epochs, 3 and 4 complete trials of 16.

**Prediction, written before designs were compared.**

1. A search leaves three or four complete trials of 16; finalists (k = 3, m = 2) change the pick in fewer than two searches in five.
2. Three finalists on two seeds cost about as much as a search. They lower the sd of the pick by less than a fifth, and improve its
   true accuracy by 0.05 to 0.2 points; twice as many trials improve it by more where the sd of the pick is 0.54.
3. At equal cost the verdict finds a lead of 0.5 or 1.0 less often with finalists than with more searches, for every k and m. More confirm
   seeds come second, more trials third.
4. Finalists are worth it, if at all, in their cheapest form: only where the second is within a point, on one seed.

The results are in ``docs/fairness.md``, section "Finalists".
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from dataclasses import dataclass
from importlib import metadata

import numpy as np
import optuna
from jaxtyping import Bool, Float

from benchmarks.simulated_sweeps import contrasts

EPOCHS = 15
RUNGS = {2: 2.0, 6: 1.5}
"""Epochs after which successive halving (reduction factor 3) decides, and how far a curve is then from its end, in points (sd)."""
TRAINING, VALIDATION_IMAGES, TEST_IMAGES = 0.45, 0.40, 0.20
"""Standard deviations of one measured accuracy, in points, without what all trials of a seed share."""
VALIDATION = float(np.hypot(TRAINING, VALIDATION_IMAGES))
TEST = float(np.hypot(TRAINING, TEST_IMAGES))
N_LONGEST = 32
"""Trials of the longest search: shorter ones are its beginning, for what a sampler and a pruner do depends on earlier trials alone."""


@dataclass(frozen=True)
class World:
    """A surface over the space of an arm."""

    name: str
    scale: float
    power: float
    gamma_slope: float = 0.0
    """Points a unit of gamma, from 0 to 5; 0 for an arm without it."""

    def gap(self, log_rate: float, step_size: int, step_gamma: float, gamma: float) -> float:
        """Points below the best possible accuracy."""
        rate = (log_rate + 1.45) / (0.33 if log_rate < -1.45 else 0.17)
        schedule = ((step_size - 5) / 10, (step_gamma - 0.4) / 0.35)
        return min(self.scale * sum(abs(x) ** self.power for x in (rate, *schedule)) + self.gamma_slope * gamma, 45.0)


WORLDS = (
    World("flat top, as cross_entropy", 0.05, 4),
    World("round top, as focal", 0.1, 3, 0.3),
    World("steeper than either", 0.4, 2, 0.4),
)


SAMPLERS = {"tpe": "TPE and successive halving", "random": "random search, nothing pruned"}


@dataclass(frozen=True)
class Bank:
    """Many searches of one world."""

    gap: Float[np.ndarray, "search trial"]
    value: Float[np.ndarray, "search trial"]
    """Validation accuracy relative to the best possible one; -inf where the trial was pruned."""
    epochs: Float[np.ndarray, "search trial"]


def one_search(rng: np.random.Generator, world: World, n_trials: int, sampler: str = "tpe") -> list[tuple[float, float, int]]:
    """Gap, validation accuracy (-inf where pruned) and epochs of each trial; with the sampler ``random`` nothing is pruned."""
    seed = int(rng.integers(2**31))
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True) if sampler == "tpe" else optuna.samplers.RandomSampler(seed),
        pruner=optuna.pruners.SuccessiveHalvingPruner(2, 3) if sampler == "tpe" else optuna.pruners.NopPruner(),
    )
    found = []
    for _ in range(n_trials):
        trial = study.ask()
        gap = world.gap(
            np.log10(trial.suggest_float("learning_rate", 1e-4, 1.0, log=True)),
            trial.suggest_int("step_size", 2, 15),
            trial.suggest_float("step_gamma", 0.1, 0.9),
            trial.suggest_float("gamma", 0.0, 5.0) if world.gamma_slope else 0.0,
        )
        value, epochs = float(rng.normal(-gap, VALIDATION)), EPOCHS
        for rung, error in RUNGS.items():
            trial.report(float(rng.normal(-gap, error)), rung)
            if trial.should_prune():
                value, epochs = -np.inf, rung
                break
        study.tell(trial, *((None, optuna.trial.TrialState.PRUNED) if epochs < EPOCHS else (value,)))
        found.append((gap, value, epochs))
    return found


def build(world: World, n_searches: int, n_trials: int, sampler: str = "tpe") -> Bank:
    """Search so often."""
    rng = np.random.default_rng(1)
    return Bank(*np.moveaxis(np.array([one_search(rng, world, n_trials, sampler) for _ in range(n_searches)]), -1, 0))


@dataclass(frozen=True)
class Design:
    """What one arm spends: searches of so many trials, k finalists on m validation seeds, the picks on test seeds."""

    searches: int
    seeds: int
    trials: int = 16
    finalists: int = 1
    validation_seeds: int = 0
    window: float = np.inf
    """Only complete trials within so many points of the best are finalists."""

    def __str__(self) -> str:
        """Its settings, in short."""
        text = f"R={self.searches} S={self.seeds} n={self.trials}"
        if self.validation_seeds:
            text += f" k={self.finalists} m={self.validation_seeds}" + (f" within {self.window:g}" if np.isfinite(self.window) else "")
        return text


@dataclass(frozen=True)
class Picks:
    """One pick a search."""

    gap: Float[np.ndarray, " search"]
    epochs: Float[np.ndarray, " search"]
    """Of the search and its finalists, without the confirm seeds."""
    changed: Bool[np.ndarray, " search"]
    """Whether it is another than the best by its one value."""


def picks(rng: np.random.Generator, bank: Bank, design: Design) -> Picks:
    """The pick of each search of the bank; a lone finalist is not trained again."""
    gaps, values = bank.gap[:, : design.trials], bank.value[:, : design.trials]
    k, m = design.finalists, design.validation_seeds
    order = np.argsort(-values, axis=1)[:, :k]
    gaps, values = np.take_along_axis(gaps, order, axis=1), np.take_along_axis(values, order, axis=1)
    is_finalist = np.isfinite(values) & (values >= values[:, [0]] - design.window)
    is_finalist &= is_finalist.sum(axis=1, keepdims=True) > 1
    means = np.where(is_finalist, (values + rng.normal(-m * gaps, np.sqrt(m) * VALIDATION)) / (1 + m), -np.inf)
    chosen = means.argmax(axis=1)
    epochs = bank.epochs[:, : design.trials].sum(axis=1) + m * EPOCHS * is_finalist.sum(axis=1)
    return Picks(np.take_along_axis(gaps, chosen[:, None], axis=1)[:, 0], epochs, chosen > 0)


def measured_sd(gap: Float[np.ndarray, " search"], n_seeds: int = 8) -> float:
    """The sd of the pick in points as it is seen when each pick is measured on so many seeds."""
    return float(np.hypot(gap.std(), TEST / np.sqrt(n_seeds)))


def power(rng: np.random.Generator, gap: Float[np.ndarray, " search"], design: Design, lead: float, n_replicates: int) -> float:
    """Share of sweeps in which an arm with this lead, in points, is found better than another like it."""
    arms = rng.choice(-gap, (2, n_replicates, design.searches)) + rng.normal(
        0, TEST / np.sqrt(design.seeds), (2, n_replicates, design.searches)
    )
    return float(contrasts("search", arms[0] + lead, arms[1]).better.mean())


DESIGNS = (
    *(Design(5, seeds) for seeds in (2, 1, 4)),
    *(Design(5, 2, trials) for trials in (12, 24, 32)),
    *(Design(5, 2, 16, k, m) for k, m in ((2, 1), (2, 2), (3, 1), (3, 2), (4, 2), (5, 3))),
    *(Design(5, 2, 16, k, m, 1.0) for k, m in ((2, 1), (3, 2))),
)
BUDGETS = (5, 6, 8)
"""Epochs an arm, counted in searches of 16 trials with two confirm seeds."""


def compare(world: World, sampler: str, n_searches: int, n_replicates: int) -> None:
    """Print what each design gives in this world."""
    started = time.perf_counter()
    bank = build(world, n_searches, N_LONGEST, sampler)
    short = bank.value[:, :16]
    ranked = -np.sort(-short, axis=1)
    behind = ranked[:, 0] - ranked[:, 1]
    plain = picks(np.random.default_rng(0), bank, Design(5, 2))
    unit = plain.epochs.mean() + 2 * EPOCHS
    print(
        f"\n{world.name}, {SAMPLERS[sampler]}: {n_searches:,} searches ({time.perf_counter() - started:.0f} s); of 16 trials "
        f"{plain.epochs.mean():.0f} epochs, {np.isfinite(short).sum(axis=1).mean():.1f} complete; second best within 1 point in "
        f"{100 * (behind < 1).mean():.0f} %, median {np.median(behind):.2f}; sd of the pick on 8 seeds {measured_sd(plain.gap):.2f}"
    )
    heads = " | ".join(f"{budget * unit:5.0f} epochs:  +0.5 +1.0 %" for budget in BUDGETS)
    print(f"{'a search':<28}{'epochs':>6}{'changed %':>10}{'gap':>6}{'sd':>6} | {heads}")
    for design in DESIGNS:
        rng = np.random.default_rng(2)
        repeats = [picks(rng, bank, design) for _ in range(4)]
        gap = np.concatenate([one.gap for one in repeats])
        cost = repeats[0].epochs.mean() + EPOCHS * design.seeds
        cells = []
        for budget in BUDGETS:
            n = round(budget * unit / cost)
            rates = [100 * power(rng, gap, Design(n, design.seeds), lead, n_replicates) if n >= 4 else 0.0 for lead in (0.5, 1.0)]
            cells.append(f"R={n} ({n * cost:5.0f})  {rates[0]:4.0f} {rates[1]:4.0f}  ")
        changed = 100 * repeats[0].changed.mean()
        print(f"{str(design)[4:]:<28}{cost:>6.0f}{changed:>10.0f}{gap.mean():>6.2f}{gap.std():>6.2f} | {' | '.join(cells)}", flush=True)


def begin(description: str | None, searches: int, replicates: int, seeds: str) -> argparse.Namespace:
    """The options of a simulation of searches, with these defaults; says which versions run, and keeps Optuna quiet."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=searches, help=f"of each kind, from which sweeps are drawn (default {searches})")
    parser.add_argument("--replicates", type=int, default=replicates, help=f"sweeps a rate (default {replicates})")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", "optuna"))
    print(f"python {platform.python_version()}, {versions}; seeds {seeds}")
    return options


def main() -> None:
    """Simulate every world."""
    options = begin(__doc__, searches=250, replicates=500, seeds="1 and 2")
    for world, sampler in (*((world, "tpe") for world in WORLDS), (WORLDS[1], "random")):
        compare(world, sampler, options.searches, options.replicates)


if __name__ == "__main__":
    main()
