"""A data set kept on the device as bytes, and the batches made from it there."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
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
class Chosen:
    """Images of several streams, and how each is cut, on the device; no ``offsets`` and ``flips`` where they are taken as they are."""

    index: Int[Tensor, "stream image"]
    offsets: Int[Tensor, "stream image 2"] | None
    flips: Bool[Tensor, "stream image"] | None

    def batches(self, size: int) -> list[Chosen]:
        """Parts of ``size`` images of each stream, in order; the last one is what is left over."""
        parts = (slice(start, start + size) for start in range(0, self.index.shape[1], size))
        return [self._each(operator.itemgetter((slice(None), part))) for part in parts]

    def clone(self) -> Chosen:
        """The same in memory of its own."""
        return self._each(torch.clone)

    def copy_(self, other: Chosen) -> None:
        """Take over another choice of as many images."""
        for mine, theirs in ((self.index, other.index), (self.offsets, other.offsets), (self.flips, other.flips)):
            if mine is not None and theirs is not None:
                mine.copy_(theirs)

    def _each(self, function: Callable[[Tensor], Tensor]) -> Chosen:
        """What the function makes of each tensor."""
        return Chosen(function(self.index), *(each if each is None else function(each) for each in (self.offsets, self.flips)))


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

    def draw(self, streams: Sequence[tuple[int, int]]) -> Chosen:
        """What an epoch of each stream (seed, epoch) trains on, side by side."""
        draws = [self._ahead[stream].result() if stream in self._ahead else self._draw(*stream) for stream in streams]
        index = torch.stack([self._split(seed)[0][drawn.order] for (seed, _), drawn in zip(streams, draws, strict=True)])
        if not self._settings.augments:
            return Chosen(index, None, None)
        return Chosen(index, torch.stack([drawn.offsets for drawn in draws]), torch.stack([drawn.flips for drawn in draws]))

    def training_batch(self, chosen: Chosen) -> Batch:
        """The chosen images, cut, and their labels."""
        images = self._backend.cut(self._images["train"], chosen.index, chosen.offsets, chosen.flips)
        return Batch(images, self._labels["train"][chosen.index])

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

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of the images."""
        _, height, width, _ = self._images["train"].shape
        return height, width

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
