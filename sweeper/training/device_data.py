"""A data set kept on the device as bytes, and the batches made from it there."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from sweeper.data import Dataset, split
from sweeper.errors import TrainingError
from sweeper.records import TrainingSettings
from sweeper.training.augment import Draws, draw_epoch
from sweeper.training.backend import Backend
from sweeper.training.evaluate import EVALUATION_BYTES

Split: TypeAlias = Literal["validation", "test"]

CPU_EVALUATION_BATCH, EVALUATION_BATCH = 128, 1024
"""Images a stream sends through the network at once, at most, when nothing is learnt: what the cache, or another device, likes."""

BYTES_A_PIXEL = 9
"""What cutting holds for each channel of a pixel: its byte, and its value before and after it is normalised."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images as the backend cut them, good until the next batch is, and their labels; row s belongs to stream s."""

    images: Tensor
    labels: Int[Tensor, "stream batch"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """The draws of an epoch for several streams, on the device; no ``offsets`` and ``flips`` where images are taken as they are."""

    index: Int[Tensor, "stream image"]
    offsets: Int[Tensor, "stream image 2"] | None
    flips: Bool[Tensor, "stream image"] | None


class DeviceData:
    """Images and labels on the device, moved once, and the validation split of each seed."""

    def __init__(self, dataset: Dataset, settings: TrainingSettings, backend: Backend, device: torch.device) -> None:
        self._settings = settings
        self._backend = backend
        self.device = device
        self._images = {"train": _on(device, dataset.train_images), "test": _on(device, dataset.test_images)}
        self._labels = {"train": _on(device, dataset.train_labels), "test": _on(device, dataset.test_labels)}
        self._train_labels = dataset.train_labels
        self._splits: dict[int, tuple[Tensor, Tensor]] = {}
        self._drawer = ThreadPoolExecutor(1, thread_name_prefix="sweeper-draws")
        self._ahead: dict[tuple[int, int], Future[Draws]] = {}

    def draw(self, streams: Sequence[tuple[int, int]]) -> Epoch:
        """The draws of each stream (seed, epoch), side by side."""
        draws = [self._ahead[stream].result() if stream in self._ahead else self._draw(*stream) for stream in streams]
        index = torch.stack([self._split(seed)[0][drawn.order] for (seed, _), drawn in zip(streams, draws, strict=True)])
        if not self._settings.augment:
            return Epoch(index, None, None)
        return Epoch(index, torch.stack([drawn.offsets for drawn in draws]), torch.stack([drawn.flips for drawn in draws]))

    def training_batches(self, streams: Sequence[tuple[int, int]], batch_size: int) -> Iterator[Batch]:
        """The batches of an epoch for each stream (seed, epoch), side by side; the last one is what is left over."""
        epoch = self.draw(streams)
        index, labels = epoch.index, self._labels["train"][epoch.index]
        for start in range(0, index.shape[1], batch_size):
            part = slice(start, start + batch_size)
            chosen = index[:, part]
            choices = (None if drawn is None else drawn[:, part] for drawn in (epoch.offsets, epoch.flips))
            yield Batch(self._backend.cut(self._images["train"], chosen, *choices), labels[:, part])

    def draw_ahead(self, streams: Iterable[tuple[int, int]]) -> None:
        """Begin to make the draws of these epochs, beside what the caller does; others that were made ahead are forgotten."""
        self._ahead = {stream: self._ahead.get(stream) or self._drawer.submit(self._draw, *stream) for stream in streams}

    def _draw(self, seed: int, epoch: int) -> Draws:
        """The draws of an epoch, on the device."""
        drawn = draw_epoch(seed, epoch, len(self._split(seed)[0]))
        return Draws(*(each.to(self.device) for each in (drawn.order, drawn.offsets, drawn.flips)))

    def evaluation_batches(self, seeds: Sequence[int], split: Split, activation_bytes: int) -> Iterator[Batch]:
        """A split in file order, one stream per seed, in batches that the device has room for.

        ``activation_bytes``: what one image of each stream holds in the largest block that they go through.
        """
        index = torch.stack([self.index(seed, split) for seed in seeds])
        source = "train" if split == "validation" else "test"
        an_image = len(seeds) * BYTES_A_PIXEL * self._images[source][0].numel() + activation_bytes
        step = CPU_EVALUATION_BATCH if self.device.type == "cpu" else max(1, min(EVALUATION_BATCH, EVALUATION_BYTES // an_image))
        for start in range(0, index.shape[1], step):
            chosen = index[:, start : start + step]
            yield Batch(self._backend.cut(self._images[source], chosen, None, None), self._labels[source][chosen])

    def images(self, source: str) -> UInt8[Tensor, "image height width channel"]:
        """All images of ``train`` or ``test``."""
        return self._images[source]

    def source_labels(self, source: str) -> Int[Tensor, " image"]:
        """All labels of ``train`` or ``test``."""
        return self._labels[source]

    def labels(self, seeds: Sequence[int], split: Split) -> Int[Tensor, "stream image"]:
        """Labels of a split in file order, one row per seed."""
        source = "train" if split == "validation" else "test"
        return torch.stack([self._labels[source][self.index(seed, split)] for seed in seeds])

    def index(self, seed: int, split: Split) -> Int[Tensor, " image"]:
        """Positions of a split's images in the file order of its source: the training files for validation.

        Raises :class:`TrainingError` for the validation split of a sweep that holds none out.
        """
        if split == "test":
            return torch.arange(len(self._labels["test"]), device=self.device)
        if self._settings.validation is None:
            raise TrainingError("this sweep holds no validation images out of its training split (dataset.validation is not set)")
        return self._split(seed)[1]

    def _split(self, seed: int) -> tuple[Tensor, Tensor]:
        """Positions of the training and validation images of a seed."""
        if seed not in self._splits:
            if self._settings.validation is None:
                parts = np.arange(len(self._train_labels)), np.arange(0)
            else:
                parts = split(self._train_labels, self._settings.validation, seed)
            self._splits[seed] = (_on(self.device, parts[0]), _on(self.device, parts[1]))
        return self._splits[seed]


def _on(device: torch.device, array: npt.NDArray[np.generic]) -> Tensor:
    """The array as a tensor on the device; on the CPU without a copy, be it read-only (Ray's object store) or not."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)
