"""Seconds of one training epoch: the notebook's loop against the engine, alone and packed.

    python -m benchmarks.epoch                     # CIFAR-10 in ../shared/data/cifar10 where present, else synthetic images; one core
    python -m benchmarks.epoch --cores 2 --repeats 5

The notebook's loop: torchvision transforms on PIL images (crop, flip, to tensor, normalise), a DataLoader without and with two workers,
nn.Module, cross-entropy, SGD. Both train 45,000 images in batches of 128 and evaluate 5,000. Runs are interleaved: every repeat does each
row once, on the same cores. Packed rows are seconds per trial-epoch: those of the pack divided by its members. About four minutes on
one core of a 2023 server.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torchvision.transforms as T
from PIL import Image
from torch import nn

from sweeper.data import Dataset, load_dataset, split
from sweeper.records import Phase, TrainingSettings, TrialConfig
from sweeper.training.engine import Pack

DEFAULT_DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "cifar10"
BATCH_SIZE = 128
SETTINGS = {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.0, "step_size": 5, "step_gamma": 0.5, "batch_size": BATCH_SIZE}
LOSSES = ({"loss": "l1"}, {"loss": "cross_entropy"}, {"loss": "focal", "gamma": 0.5}, {"loss": "focal", "gamma": 2.0})


class PilImages(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Images as ``torchvision.datasets.CIFAR10`` gives them: a PIL image made of an array, and transformed, at every access."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: T.Compose) -> None:
        self._images, self._labels, self._transform = images, labels, transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(Image.fromarray(self._images[index])), int(self._labels[index])


class NotebookNet(nn.Module):
    """The notebook's ConvNet."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(288, 32), nn.ReLU(), nn.Linear(32, 10),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Raw logits."""
        return self.layers(x)


def notebook_epoch(
    dataset: Dataset, n_validation: int, n_workers: int, learning_rate: float = 0.01, device: str = "cpu"
) -> Callable[[], float]:
    """A function that runs one epoch of the notebook's loop, evaluation included, and returns the validation accuracy."""
    kept, held_out = split(dataset.train_labels, n_validation, seed=1)
    normalise = [T.ToTensor(), T.Normalize(dataset.mean, dataset.std)]
    augmented = T.Compose([T.RandomCrop(32, padding=4), T.RandomHorizontalFlip(), *normalise])
    train = PilImages(dataset.train_images[kept], dataset.train_labels[kept], augmented)
    val = PilImages(dataset.train_images[held_out], dataset.train_labels[held_out], T.Compose(normalise))
    loaders = [
        torch.utils.data.DataLoader(part, batch_size=BATCH_SIZE, shuffle=is_train, num_workers=n_workers)
        for part, is_train in ((train, True), (val, False))
    ]
    torch.manual_seed(1)
    net, criterion = NotebookNet().to(device), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=learning_rate, momentum=0.9)

    def epoch() -> float:
        net.train()
        train_loss, n_right = 0.0, 0
        for batch in loaders[0]:
            images, labels = (part.to(device) for part in batch)
            optimizer.zero_grad()
            outputs = net(images)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            train_loss += loss.item()
            n_right += (outputs.argmax(1) == labels).sum().item()
        net.eval()
        n_right = 0
        with torch.no_grad():
            for batch in loaders[1]:
                images, labels = (part.to(device) for part in batch)
                outputs = net(images)
                train_loss += criterion(outputs, labels).item()
                n_right += (outputs.argmax(1) == labels).sum().item()
        return n_right / len(val)

    return epoch


def engine_epoch(dataset: Dataset, n_validation: int, n_members: int) -> Callable[[], object]:
    """A function that runs one epoch of a pack; its members share a seed and take the notebook's losses in turn."""
    settings = TrainingSettings("convnet", 30, "batch", augment=True, validation=n_validation, evaluate_on="validation")
    losses = [LOSSES[i % len(LOSSES)] if n_members > 1 else {"loss": "cross_entropy"} for i in range(n_members)]
    members = [TrialConfig("benchmark", Phase.SEARCH, i, 1, SETTINGS | loss) for i, loss in enumerate(losses)]
    pack = Pack(dataset, settings, members)
    return pack.train_epoch


def cpu_model() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def processor_seconds() -> float:
    """Processor time of this process and of the workers it has seen end; on a busy machine the fairer clock."""
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=DEFAULT_DATA, help="train.parquet and test.parquet with img.bytes and label")
    parser.add_argument("--cores", type=int, default=1, help="cores that every row may use (default 1)")
    parser.add_argument("--repeats", type=int, default=3, help="timed epochs of each row (default 3)")
    parser.add_argument("--images", type=int, default=50_000, help="images of the training files, a tenth of them held out (default 50000)")
    options = parser.parse_args()

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    torch.set_num_threads(options.cores)
    if (options.data_dir / "train.parquet").exists():
        dataset = load_dataset("parquet", str(options.data_dir))
    else:
        dataset = load_dataset("synthetic", train_images=options.images)
    n_images = min(options.images, len(dataset.train_labels))
    dataset = replace(dataset, train_images=dataset.train_images[:n_images], train_labels=dataset.train_labels[:n_images])
    n_validation = n_images // 10
    rows = {
        "notebook, DataLoader 0 workers": (1, notebook_epoch(dataset, n_validation, 0)),
        "notebook, DataLoader 2 workers": (1, notebook_epoch(dataset, n_validation, 2)),
        "engine, K = 1": (1, engine_epoch(dataset, n_validation, 1)),
        "engine, K = 8": (8, engine_epoch(dataset, n_validation, 8)),
        "engine, K = 32": (32, engine_epoch(dataset, n_validation, 32)),
    }
    wall: dict[str, list[float]] = {name: [] for name in rows}
    processor: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(options.repeats):
        for name, (n_trials, epoch) in rows.items():
            started, spent = time.perf_counter(), processor_seconds()
            epoch()
            wall[name].append((time.perf_counter() - started) / n_trials)
            processor[name].append((processor_seconds() - spent) / n_trials)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "numba"))
    print(
        f"One epoch of {dataset.name}: {n_images - n_validation} images trained, {n_validation} evaluated; "
        f"{options.cores} core(s) of {cpu_model()}; Python {platform.python_version()}, {versions}; "
        f"medians of {options.repeats} interleaved epochs (range); load of the machine {os.getloadavg()[0]:.1f}\n"
    )
    print("| loop | s per trial-epoch | times faster | processor s per trial-epoch | times less |\n|---|---:|---:|---:|---:|")
    base_wall, base_processor = (statistics.median(figures["notebook, DataLoader 0 workers"]) for figures in (wall, processor))
    for name in rows:
        cells = []
        for times, base in ((wall[name], base_wall), (processor[name], base_processor)):
            cells.append(f"{statistics.median(times):.2f} ({min(times):.2f} – {max(times):.2f}) | {base / statistics.median(times):.1f}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
