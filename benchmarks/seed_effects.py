"""What a confirm seed does to one arm alone: the picks of a finished sweep's searches, each trained on many seeds.

    python -m benchmarks.seed_effects results/SWEEP              16 seeds: 40 minutes of two cores for 10 picks and 30 epochs
    python -m benchmarks.seed_effects results/SWEEP --seeds 0    only the table of what the file holds

All searches are confirmed on the same seeds. What a seed does to all arms cancels in their difference. What it does to all searches of one
arm, and not to the other arm, stays there, and no spread over searches shows it: the verdict assumes that there is next to none. Two arms'
picks are trained here on every seed. The accuracy of a run is taken as the sum of its pick's, an effect of the seed on all, one of the seed
on its arm alone, and the rest; variances are those of a balanced analysis of variance, the interval of the arm's own by inversion of its F.

The same runs tell what a single search of each arm would have said: each pick of one arm against each of the other, on 8 paired seeds.

**Prediction, written before the first run.** The seed's effect on one arm alone is not told apart from none (F test, p > 0.05), and is
found to be at most 0.15 points. The effect on all arms is 0.3 to 0.8 points, the rest 0.4 to 0.6. Of the 25 pairs of
searches at least one calls either loss the winner.

Every seed is appended to a file of JSON lines when it ends: stop at any time, and start again to go on.
"""

from __future__ import annotations

import argparse
import itertools
import math
import platform
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from benchmarks.accuracy import read, write
from benchmarks.epoch import DEFAULT_DATA
from benchmarks.simulated_sweeps import Arm, Figures, decide, draw, in_units
from sweeper.data import Dataset, load_dataset
from sweeper.report.statistics import contrast_of_seeds
from sweeper.report.summarize import summarize
from sweeper.space import load_space
from sweeper.store import SweepFolder
from sweeper.store.provenance import processor
from sweeper.training.engine import Pack
from sweeper.view.trial import view_trial

RESULTS = Path(__file__).resolve().parent / "results" / "seed_effects-cpu.jsonl"
FIRST_SEED = 1_000_001
"""Far from the seeds of the sweep, which are hashes."""


@cache
def images(folder: str) -> Dataset:
    """The data set, read once in each process."""
    torch.set_num_threads(1)
    return load_dataset("parquet", folder)


def train(sweep: str, data_dir: str, trials: Sequence[str], seed: int) -> dict[str, Any]:
    """The test accuracy in % of each of these trials' configurations after all epochs on one seed, in one pack."""
    settings = load_space(Path(sweep, "sweep.yaml")).training_settings()
    configs = [replace(view_trial(SweepFolder(sweep), trial).config, seed=seed) for trial in trials]
    pack = Pack(images(data_dir), settings, configs)
    for _ in range(settings.epochs):
        pack.train_epoch()
    tested = [pack.predict(trial, "test") for trial in trials]
    return {"seed": seed, "accuracy": [100 * float((one.logits.argmax(1) == one.labels).mean()) for one in tested]}


@dataclass(frozen=True)
class Effects:
    """Standard deviations in points of a figure's parts, and p of the F test that a seed does nothing to one arm alone.

    ``own_high``: the upper end of the 95 % interval of ``own``, whose lower end is 0 unless p is below 0.025.
    """

    picks: float
    shared: float
    own: float
    own_high: float
    rest: float
    p_value: float


def effects(figures: Figures) -> Effects:
    """The analysis of variance of accuracies (arm, pick, seed), arms fixed."""
    n_arms, n_picks, n_seeds = figures.shape
    of_seed, of_arm = figures.mean(axis=(0, 1)), figures.mean(axis=(1, 2))
    of_pick, of_both = figures.mean(axis=2), figures.mean(axis=1)
    rest = figures - of_pick[:, :, None] - of_both[:, None, :] + of_arm[:, None, None]
    freedom = n_arms * (n_picks - 1) * (n_seeds - 1)
    error = float((rest**2).sum()) / freedom
    own_freedom = (n_arms - 1) * (n_seeds - 1)
    interaction = of_both - of_arm[:, None] - of_seed + figures.mean()
    own = n_picks * float((interaction**2).sum()) / own_freedom
    shared = n_arms * n_picks * float(np.var(of_seed, ddof=1))

    def sd(larger: float, smaller: float, n: float) -> float:
        return math.sqrt(max(larger - smaller, 0.0) / n)

    return Effects(
        picks=sd(float(np.var(of_pick, axis=1, ddof=1).mean()), error / n_seeds, 1),
        shared=sd(shared, own, n_arms * n_picks),
        own=sd(own, error, n_picks),
        own_high=sd(own / float(stats.f.ppf(0.025, own_freedom, freedom)), error, n_picks),
        rest=math.sqrt(error),
        p_value=float(stats.f.sf(own / error, own_freedom, freedom)),
    )


def table(arms: Sequence[str], runs: Sequence[dict[str, Any]]) -> str:
    """The means of both arms, the parts of a figure's variance, and what they do to verdicts between equal arms."""
    figures = np.array([run["accuracy"] for run in sorted(runs, key=lambda run: run["seed"])]).T.reshape(2, -1, len(runs))
    found = effects(figures)
    lines = ["| arm | mean of each pick, % |", "|---|---|"]
    lines += [f"| {arm} | {' / '.join(f'{each:.2f}' for each in picks.mean(axis=1))} |" for arm, picks in zip(arms, figures, strict=True)]
    lines += ["", f"| varies, {figures.shape[1]} picks of each arm on {len(runs)} seeds | sd, points |", "|---|---|"]
    lines += [f"| {name} | {sd:.2f} |" for name, sd in (("picks", found.picks), ("seed, all arms", found.shared), ("rest", found.rest))]
    lines += [f"| seed, one arm alone | {found.own:.2f}, at most {found.own_high:.2f} (95 % interval); p of none {found.p_value:.2f} |", ""]
    for n_seeds in (2, 8):
        rates = [false_winners(found, own, figures.shape[1], n_seeds) for own in (0.0, found.own, found.own_high)]
        shown = " / ".join(f"{100 * rate:.1f}" for rate in rates)
        lines.append(f"Winners between equal arms, {n_seeds} confirm seeds, with none / this / at most this of one arm alone: {shown} %")
    said = Counter(one_search(best, rival) for best, rival in itertools.product(figures[0, :, :8], figures[1, :, :8]))
    lines.append(
        f"\nOne search each, {min(len(runs), 8)} paired seeds, {sum(said.values())} pairs of searches: "
        f"{arms[0]} better in {said[1]}, {arms[1]} in {said[-1]}, neither in {said[0]}"
    )
    return "\n".join(lines)


def one_search(first: Figures, second: Figures) -> int:
    """1 where sweeper calls the first of two configurations better, -1 where the second, on these paired seeds; else 0."""
    sign = 1 if first.mean() >= second.mean() else -1
    best, rival = (first, second)[::sign]
    found = contrast_of_seeds(best, rival, maximize=True, margin=None, least=0, most=100, n_arms=2)
    return sign if found.outcome == "better" else 0


def false_winners(found: Effects, own: float, n_searches: int, n_seeds: int) -> float:
    """The share of 20,000 simulated sweeps of two equal arms with a winner."""
    arm = Arm(pick_sd=found.picks, run_sd=found.rest, seed_sd=own)
    runs = draw(np.random.default_rng(1), [arm, arm], 20_000, n_searches, n_seeds, found.shared)
    return float(decide(*in_units(runs)).winner().mean())


def main() -> None:
    """Train on the seeds that the file lacks, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--arms", nargs=2, default=["cross_entropy", "focal"])
    parser.add_argument("--data-dir", type=Path, default=DEFAULT_DATA, help="train.parquet and test.parquet with img.bytes and label")
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--file", type=Path, default=RESULTS, help=f"JSON lines, one a seed (default results/{RESULTS.name})")
    options = parser.parse_args()
    (report,) = summarize(str(options.sweep)).sweeps
    found = {arm.arm: [search.pick.trial for search in arm.searches if search.pick] for arm in report.arms}
    trials = [trial for arm in options.arms for trial in found[arm]]
    runs = read(options.file)
    missing = sorted({FIRST_SEED + number for number in range(options.seeds)} - {run["seed"] for run in runs})
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        one = partial(train, str(options.sweep), str(options.data_dir), trials)
        for done in as_completed([pool.submit(one, seed) for seed in missing]):
            runs.append(done.result())
            write(options.file, runs)
            print(f"seed {runs[-1]['seed']}: {np.round(runs[-1]['accuracy'], 2).tolist()}", flush=True)
    print(
        f"CIFAR-10, {report.epochs_per_trial} epochs, picks of {options.sweep.name}; {processor()}; Python {platform.python_version()}, "
        f"torch {version('torch')}\n"
    )
    print(table(options.arms, runs))


if __name__ == "__main__":
    main()
