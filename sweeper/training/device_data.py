"""A data set kept on the device as bytes, and the batches made from it there."""

from __future__ import annotations

import copy
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from sweeper.data import Dataset, split
from sweeper.errors import TrainingError
from sweeper.records import TrainingSettings
from sweeper.training.augment import Draws, cut_bytes, draw_epoch, edited
from sweeper.training.backend import Backend
from sweeper.training.evaluate import EVALUATION_BYTES

Split: TypeAlias = Literal["validation", "test"]

Stream: TypeAlias = tuple[int, int, str]
"""Seed, epoch and policy of augmentation, which fix what an epoch trains on, and in which order."""

CPU_EVALUATION_BATCH, EVALUATION_BATCH = 128, 1024
"""Images a stream sends through the network at once, at most, when nothing is learnt: what the cache, or another device, likes."""

EDITED_BYTES = 2**24
"""Bytes of images that a policy changes in one go: 5,461 of 32 x 32 pixels, 111 of 224 x 224. On one core ``randaugment`` takes 68 µs for
an image of CIFAR-10 in goes of 128, 30 µs in goes of 1,024, and hardly less in larger ones."""

BYTES_A_PIXEL = 9
"""What cutting holds for each channel of a pixel: its byte, and its value before and after it is normalised."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images as the backend cut them, good until the next batch is, and their labels; row s belongs to stream s."""

    images: Tensor
    labels: Int[Tensor, "stream batch"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Images of several streams, and how each is cut, on the device; no ``offsets`` and ``flips`` where they are taken as they are.

    ``edits``: by row, the policy of streams whose bytes are to be changed, and its draws. ``edited``: the bytes of all streams, cut and
    changed, once :meth:`DeviceData.parts` has made them.
    """

    index: Int[Tensor, "stream image"]
    offsets: Int[Tensor, "stream image 2"] | None
    flips: Bool[Tensor, "stream image"] | None
    edits: Mapping[int, tuple[str, npt.NDArray[np.int64]]] = field(default_factory=dict)
    edited: UInt8[Tensor, "stream image height width channel"] | None = None

    def batches(self, size: int) -> list[Chosen]:
        """Parts of ``size`` images of each stream, in order; the last one is what is left over."""
        return [self._part(slice(start, start + size)) for start in range(0, self.index.shape[1], size)]

    def clone(self) -> Chosen:
        """The same in memory of its own."""
        return self._each(torch.clone)

    def copy_(self, other: Chosen) -> None:
        """Take over another choice of as many images."""
        for name in ("index", "offsets", "flips", "edited"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is not None and theirs is not None:
                mine.copy_(theirs)

    def _part(self, images: slice) -> Chosen:
        """These images of each stream."""
        part = self._each(operator.itemgetter((slice(None), images)))
        return replace(part, edits={row: (policy, draws[images]) for row, (policy, draws) in self.edits.items()})

    def _each(self, function: Callable[[Tensor], Tensor]) -> Chosen:
        """What the function makes of each tensor."""
        offsets, flips, edited = (each if each is None else function(each) for each in (self.offsets, self.flips, self.edited))
        return Chosen(function(self.index), offsets, flips, self.edits, edited)


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
        self._fill = torch.tensor(dataset.mean, device=device).mul(255).round().to(torch.uint8)
        self._ahead: dict[Stream, Future[Draws]] = {}

    def cut_by(self, backend: Backend) -> DeviceData:
        """The same images, in the same memory, cut by another backend."""
        other = copy.copy(self)
        other._backend = backend
        return other

    def draw(self, streams: Sequence[Stream]) -> Chosen:
        """What an epoch of each stream trains on, side by side."""
        draws = [self._ahead[stream].result() if stream in self._ahead else self._draw(*stream) for stream in streams]
        index = torch.stack([self._split(seed)[0][drawn.order] for (seed, *_), drawn in zip(streams, draws, strict=True)])
        policies = [policy for *_, policy in streams]
        if set(policies) == {"none"}:
            return Chosen(index, None, None)
        edits = {
            row: (policy, drawn.edits) for row, (policy, drawn) in enumerate(zip(policies, draws, strict=True)) if drawn.edits is not None
        }
        return Chosen(index, torch.stack([drawn.offsets for drawn in draws]), torch.stack([drawn.flips for drawn in draws]), edits)

    def parts(self, epoch: Chosen, batch_size: int) -> Iterator[Chosen]:
        """An epoch in parts of whole batches, in order: all of it, or, where bytes are to be changed, what is changed in one go."""
        if not epoch.edits:
            yield epoch
            return
        a_batch = len(epoch.index) * batch_size * self._images["train"][0].numel()
        yield from map(self._edited, epoch.batches(max(1, EDITED_BYTES // a_batch) * batch_size))

    def training_batch(self, chosen: Chosen) -> Batch:
        """The chosen images, cut, and their labels."""
        labels = self._labels["train"][chosen.index]
        if chosen.edited is None:
            return Batch(self._backend.cut(self._images["train"], chosen.index, chosen.offsets, chosen.flips), labels)
        index = torch.arange(chosen.index.numel(), device=self.device).view_as(chosen.index)
        return Batch(self._backend.cut(chosen.edited.flatten(0, 1), index, None, None), labels)

    def draw_ahead(self, streams: Iterable[Stream]) -> None:
        """Begin to make the draws of these epochs, beside what the caller does; others that were made ahead are forgotten."""
        self._ahead = {stream: self._ahead.get(stream) or self._drawer.submit(self._draw, *stream) for stream in streams}

    def _draw(self, seed: int, epoch: int, policy: str) -> Draws:
        """The draws of an epoch, on the device."""
        drawn = draw_epoch(seed, epoch, len(self._split(seed)[0]), policy, self.image_shape)
        order, offsets, flips = (each.to(self.device) for each in (drawn.order, drawn.offsets, drawn.flips))
        return Draws(order, offsets, flips, drawn.edits)

    def _edited(self, chosen: Chosen) -> Chosen:
        """The same images, with their bytes cut and changed."""
        cut = cut_bytes(self._images["train"], chosen.index, chosen.offsets, chosen.flips)
        for row, (policy, draws) in chosen.edits.items():
            cut[row] = edited(policy, cut[row], draws, self._fill)
        return Chosen(chosen.index, None, None, edited=cut)

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

    def n_training_images(self, seed: int) -> int:
        """Images that a member with this seed trains on."""
        return len(self._split(seed)[0])

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
