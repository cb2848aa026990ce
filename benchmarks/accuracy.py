"""Test accuracy of the engine against an independent plain-PyTorch loop: the notebook's cross-entropy run, one seed after the other.

    python -m benchmarks.accuracy                       8 seeds of both sides: half an hour on one core
    python -m benchmarks.accuracy --seeds 64            more seeds; those that the file holds are not trained again
    python -m benchmarks.accuracy --seeds 0             only the table of what the file holds
    python -m benchmarks.accuracy --learning-rate 0.02  another than the notebook's 0.1, with which seeds differ by three points

ours     the engine as ``sweep run search_spaces/notebook.yaml`` uses it, settings read from that file
plain    nn.Module, F.cross_entropy, torch.optim.SGD and StepLR, with the settings written out here

Both train all 50,000 images for 30 epochs and measure the test split after the last. A seed fixes the initial weights, the same on both
sides (torch's own initialisation), and on each side its own order of images, crops and flips: pairs share a start and nothing else. Instead
of using torchvision in a DataLoader, which would take six hours, the plain loop draws the same crops (four black pixels around) and
flips from torch's generator and cuts them out of one tensor of bytes; its arithmetic is the notebook's.

Every run is appended to a file of JSON lines when it ends: stop at any time, and start again to go on. The table gives the difference with
its 95 % interval and the two one-sided tests (TOST; Schuirmann 1987, 10.1007/BF01068419) against ±0.5 points, paired by seed and unpaired.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from benchmarks.epoch import DEFAULT_DATA, NotebookNet
from sweeper.data import Dataset, load_dataset
from sweeper.records import Phase, TrainingSettings, TrialConfig
from sweeper.space import load_space
from sweeper.store.provenance import processor
from sweeper.studies.studies import example_members
from sweeper.training.engine import Pack

NOTEBOOK = Path(__file__).resolve().parents[1] / "search_spaces" / "notebook.yaml"
RESULTS = Path(__file__).resolve().parent / "results" / "accuracy-cpu.jsonl"
SIDES = ("ours", "plain")
EPOCHS = 30
MARGIN = 0.5
"""Points of accuracy within which two means count as equal."""


def notebook_trials(seeds: Iterable[int], learning_rate: float) -> tuple[TrainingSettings, list[TrialConfig]]:
    """The notebook's cross-entropy trial with other seeds, and how it is trained: every epoch is measured on the test split."""
    space = load_space(NOTEBOOK)
    (trial,) = (member for member in example_members(space, len(space.arms)) if member.arm == "cross_entropy")
    parameters = {**trial.parameters, "learning_rate": learning_rate}
    return space.training_settings(), [TrialConfig(trial.arm, Phase.SEARCH, seed, seed, parameters) for seed in seeds]


def ours(dataset: Dataset, seed: int, learning_rate: float) -> float:
    """Test accuracy of that trial after the last epoch."""
    settings, trials = notebook_trials([seed], learning_rate)
    pack = Pack(dataset, settings, trials)
    for _ in range(settings.epochs):
        (metrics,) = pack.train_epoch().values()
    return metrics.val_accuracy  # ``validation: test`` in that file


def plain(dataset: Dataset, seed: int, learning_rate: float) -> float:
    """The same from a loop of its own."""
    torch.manual_seed(seed)
    net = NotebookNet()
    torch.manual_seed(10**6 + seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=learning_rate, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.5)
    images, labels = torch.tensor(dataset.train_images), torch.tensor(dataset.train_labels)
    framed = F.pad(images.permute(0, 3, 1, 2), (4, 4, 4, 4)).flatten(2)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(labels)).split(128):
            optimizer.zero_grad()
            F.cross_entropy(net(normalised(augmented(framed, chosen))), labels[chosen]).backward()
            optimizer.step()
        scheduler.step()
    n_right = 0
    with torch.no_grad():
        test_images, test_labels = torch.tensor(dataset.test_images).permute(0, 3, 1, 2), torch.tensor(dataset.test_labels)
        for part, truth in zip(test_images.split(1000), test_labels.split(1000), strict=True):
            n_right += int((net(normalised(part)).argmax(1) == truth).sum())
    return n_right / len(dataset.test_labels)


def augmented(framed: Tensor, chosen: Tensor) -> Tensor:
    """A 32 × 32 piece at random of each chosen image, mirrored with probability one half; frames are 40 × 40 pixels in a row."""
    n, across = len(chosen), torch.arange(32)
    rows = torch.randint(0, 9, (n, 1)) + across
    columns = torch.randint(0, 9, (n, 1)) + across
    columns = torch.where(torch.rand(n, 1) < 0.5, columns.flip(1), columns)
    pixels = (40 * rows[:, :, None] + columns[:, None, :]).reshape(n, 1, 1024)
    return framed[chosen].gather(2, pixels.expand(n, 3, 1024)).reshape(n, 3, 32, 32)


def normalised(images: Tensor) -> Tensor:
    """Bytes as the network takes them."""
    mean, std = (torch.tensor(figures)[:, None, None] for figures in ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)))
    return (images / 255 - mean) / std


def read(path: Path) -> list[dict[str, Any]]:
    """The runs that the file holds."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write(path: Path, runs: list[dict[str, Any]]) -> None:
    """Replace the file by one that holds these runs, in one step."""
    aside = path.with_suffix(".tmp")
    aside.write_text("".join(json.dumps(run) + "\n" for run in runs))
    aside.replace(path)


def table(runs: list[dict[str, Any]], sides: tuple[str, str] = SIDES) -> str:
    """Two sides and their difference, in points of test accuracy, over the seeds that both have trained."""
    by_side = {side: {run["seed"]: 100 * run["accuracy"] for run in runs if run["side"] == side} for side in sides}
    seeds = sorted(by_side[sides[0]].keys() & by_side[sides[1]].keys())
    if len(seeds) < 2:
        return f"{len(runs)} runs, {len(seeds)} seeds with both sides: two are needed for a table"
    first, second = (np.array([by_side[side][seed] for seed in seeds]) for side in sides)
    lines = ["| side | n | mean test accuracy, % | sd |", "|---|---:|---:|---:|"]
    lines += [f"| {side} | {len(seeds)} | {x.mean():.2f} | {x.std(ddof=1):.2f} |" for side, x in zip(sides, (first, second), strict=True)]
    lines += ["", f"| {sides[0]} − {sides[1]}, points | difference | 95 % interval | TOST p, ±{MARGIN} |", "|---|---:|---:|---:|"]
    lines += [
        difference("paired by seed (same initial weights)", *paired(first - second)),
        difference("unpaired (Welch)", *unpaired(first, second)),
    ]
    return "\n".join(lines)


def paired(differences: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean, its standard error and degrees of freedom."""
    return differences.mean(), differences.std(ddof=1) / math.sqrt(len(differences)), len(differences) - 1


def unpaired(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Difference of the means, its standard error and Welch's degrees of freedom."""
    variances = [x.var(ddof=1) / len(x) for x in (first, second)]
    freedom = sum(variances) ** 2 / sum(v**2 / (len(x) - 1) for v, x in zip(variances, (first, second), strict=True))
    return first.mean() - second.mean(), math.sqrt(sum(variances)), freedom


def difference(name: str, mean: float, error: float, freedom: float) -> str:
    """A row: the difference, its interval, and the larger p of the two one-sided tests."""
    half = stats.t.ppf(0.975, freedom) * error
    with np.errstate(divide="ignore"):  # no spread at all is no error: then the difference is what it is
        p = max(stats.t.sf((mean + MARGIN) / error, freedom), stats.t.cdf((mean - MARGIN) / error, freedom))
    return f"| {name} | {mean:+.2f} | [{mean - half:+.2f}, {mean + half:+.2f}] | {p:.2g} |"


def main() -> None:
    """Train what the file lacks, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=DEFAULT_DATA, help="train.parquet and test.parquet with img.bytes and label")
    parser.add_argument("--seeds", type=int, default=8, help="seeds 1 to N on both sides (default 8)")
    parser.add_argument("--file", type=Path, default=RESULTS, help=f"JSON lines, one a run (default results/{RESULTS.name})")
    parser.add_argument("--learning-rate", type=float, default=0.1, help="of the first epochs (default 0.1, the notebook's)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rate = options.learning_rate
    runs = read(options.file)
    done = {(run["side"], run["seed"]) for run in runs if run["learning_rate"] == rate}
    if missing := [(side, seed) for seed in range(1, options.seeds + 1) for side in SIDES if (side, seed) not in done]:
        dataset = load_dataset("parquet", str(options.data_dir))
        for side, seed in missing:
            started = time.process_time()
            accuracy = {"ours": ours, "plain": plain}[side](dataset, seed, rate)
            seconds = round(time.process_time() - started, 1)
            runs.append({"side": side, "seed": seed, "learning_rate": rate, "accuracy": accuracy, "processor_seconds": seconds})
            write(options.file, runs)
            print(f"{side} seed {seed}: {accuracy:.4f} in {seconds} processor seconds", flush=True)
    print(
        f"CIFAR-10, {EPOCHS} epochs, cross-entropy, learning rate {rate:g}; one core of {processor()}; "
        f"Python {platform.python_version()}, torch {version('torch')}\n"
    )
    print(table([run for run in runs if run["learning_rate"] == rate]))


if __name__ == "__main__":
    main()
