"""What a training loop of the user's own is given: its trial, and the data set as that trial has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from sweeper.records import Value
from sweeper.training.custom_loss import seed_generators


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """The images of one split: ``images`` as bytes, ``labels`` from 0; both on the device of the trial."""

    images: UInt8[Tensor, "image 3 height width"]
    labels: Int[Tensor, " image"]
    mean: Float[Tensor, "3 1 1"]
    std: Float[Tensor, "3 1 1"]

    def __len__(self) -> int:
        return len(self.labels)

    def normalised(self, chosen: Tensor | slice = slice(None)) -> Float[Tensor, "image 3 height width"]:
        """The chosen images, or all, as floats with mean 0 and standard deviation 1 in each channel of the training split."""
        return (self.images[chosen].float() / 255 - self.mean) / self.std

    def batches(self, size: int, *, shuffle: bool = False) -> Iterator[tuple[Float[Tensor, "batch 3 height width"], Int[Tensor, " batch"]]]:
        """All images, normalised, and their labels, ``size`` at a time; ``shuffle`` draws their order from torch's own generator."""
        order = (torch.randperm(len(self)) if shuffle else torch.arange(len(self))).to(self.labels.device)
        for chosen in torch.split(order, size):
            yield self.normalised(chosen), self.labels[chosen]


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """The data set of a sweep as one trial has it. ``validation`` is the test split where ``dataset.validation`` is ``test``.

    ``mean`` and ``std``: of each channel, of pixels from 0 to 1.
    """

    train: Images
    validation: Images
    test: Images
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What a training loop of the user's own is given.

    ``parameters``: everything under ``parameters`` in the space file, drawn or constant. ``epochs``: how many to train in all. ``folder``:
    an empty folder on the local disk, which is gone when the trial ends. ``state``: what the loop yielded last as its state, on the CPU,
    and ``epoch``: the epochs behind it; ``None`` and 0 for a trial that begins.
    """

    parameters: Mapping[str, Value]
    seed: int
    device: torch.device
    data: Data
    epochs: int
    folder: Path
    state: Any = None
    epoch: int = 0

    def remaining(self) -> Iterator[int]:
        """The epochs that are left, counted from 1: those behind :attr:`state` are not among them.

        At the beginning of each, and behind the last, the generators of torch, NumPy and Python are seeded from the trial's seed and the
        epoch: a trial that goes on from a state draws what it would have drawn.
        """
        for epoch in range(self.epoch + 1, self.epochs + 1):
            self.seed_epoch(epoch)
            yield epoch
        self.seed_epoch(self.epochs + 1)

    def seed_epoch(self, epoch: int) -> None:
        """Seed the generators of torch, NumPy and Python for an epoch; :meth:`remaining` does."""
        seed_generators(f"{self.seed}/{epoch}", self.device)
