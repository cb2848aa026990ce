"""How many trials train together as one pack: the given number, or what ``--pack auto`` finds by short timings."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
import torch

from sweeper.data import Dataset
from sweeper.records import TrainingSettings, TrialConfig
from sweeper.space import Space
from sweeper.studies.studies import example_members
from sweeper.training.engine import Pack

TIMED_IMAGES = 1024
"""Training images of an epoch that is timed."""

TIMED_EPOCHS = 4
"""Epochs that each pack is timed for, of which the fastest counts: one takes 15 ms, which other work on the machine disturbs."""

LARGEST = 4096

LEAST_GAIN = 0.03
"""Share of the time per trial that a pack twice as large must save to be chosen: more than what two timings of one pack differ by."""

SHARE_OF_SWEEP = 0.02
"""Share of a sweep's time that choosing may cost."""

UNTIMED_ON_CPU = 4
"""Members of a pack on a CPU where the sweep is too short to time it. There members go through the kernels one after the other, as they
would alone, and share what is left, above all the cutting of images: a pack does no work that its members alone would not do. Four fill
a block (:class:`sweeper.training.cpu.lanes.Lanes`). On other devices, whose memory and speed are unknown, such a sweep trains without
packs."""

SHARE_OF_MEMORY = 0.5

PACKS_TO_COME = 4
"""Packs that each device is to train with what is left: large packs at the end leave devices idle, and at the start they leave the
samplers and pruners nothing to learn from."""


@dataclass(frozen=True, slots=True)
class PackSize:
    """``most``: members of a full pack. ``even``: packs shrink towards the end of the sweep, so that all devices end together."""

    most: int
    even: bool = False

    def of_next(self, n_waiting: int, n_packs: int) -> int:
        """Members of the next pack while ``n_waiting`` trials wait and ``n_packs`` packs train side by side; at least one."""
        if not self.even:
            return self.most
        return max(1, min(self.most, math.ceil(n_waiting / (PACKS_TO_COME * max(1, n_packs)))))


def choose_pack_size(space: Space, n_trials: int, n_packs: int, time_size: Callable[[Sequence[TrialConfig], int], int]) -> PackSize:
    """As many members as the space asks for; for ``auto`` as many as are fastest.

    ``time_size`` finds them, given trials as they may come and how many of ``n_trials`` each of ``n_packs`` devices will train.
    """
    if space.resources.pack != "auto":
        return PackSize(space.resources.pack)
    return PackSize(time_size(example_members(space, len(space.arms)), math.ceil(n_trials / max(1, n_packs))), even=True)


def fastest_size(seconds: Callable[[int], float], *, most: int, enough: Callable[[int], bool], untimed: int = 1) -> int:
    """The pack size, a power of two up to ``most``, beyond which doubling it saves less than :data:`LEAST_GAIN`.

    ``seconds(size)`` is the time per trial, infinite where memory does not suffice; a size and its double are timed anew, one after the
    other, so that a machine that changes its pace misleads less. ``enough(size)``: whether timing that size would cost too much; then
    the pack has at least ``untimed`` members, or ``most``.
    """
    size = 1
    while 2 * size <= most:
        if enough(2 * size):
            return max(size, min(untimed, most))
        before, after = seconds(size), seconds(2 * size)
        if not after < (1 - LEAST_GAIN) * before:
            break
        size *= 2
    return size


def timed_size(
    dataset: Dataset,
    settings: TrainingSettings,
    device: str,
    threads: int,
    members: Sequence[TrialConfig],
    n_trials_each: int,
    share_of_images: float = 1.0,
) -> int:
    """The fastest pack size on this machine's device, found by training pieces of an epoch.

    ``members``: trials as they may come; more are made from them. ``n_trials_each``: trials that each device will train, from which follow
    the largest pack and how long choosing may take. ``share_of_images``: how much of the sweep's images ``dataset`` holds.
    """
    piece = piece_of(dataset, settings, TIMED_IMAGES)
    share = piece.share * share_of_images
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    started = time.perf_counter()
    measured: dict[int, float] = {}
    try:
        pack = _PackOf(piece.dataset, piece.settings, members, device)
        pack.epoch_seconds(1)  # compiles, or loads what was compiled before
        whole_sweep = pack.epoch_seconds(1) / share * settings.epochs * n_trials_each

        def enough(size: int) -> bool:
            to_come = 1.5 * (1 + TIMED_EPOCHS) * (measured.get(size // 2, whole_sweep / settings.epochs / n_trials_each * share) * size)
            return time.perf_counter() - started + to_come > SHARE_OF_SWEEP * whole_sweep or not pack.fits(size)

        def seconds(size: int) -> float:
            measured[size] = pack.epoch_seconds(size) / size
            return measured[size]

        most = min(LARGEST, math.ceil(n_trials_each / PACKS_TO_COME))
        return fastest_size(seconds, most=most, enough=enough, untimed=UNTIMED_ON_CPU if device == "cpu" else 1)
    finally:
        torch.set_num_threads(threads_before)


def timed_size_on_a_node(cpus: float, gpus: float, *arguments: Any) -> int:
    """:func:`timed_size` where a pack would be put: on the first node with room for one."""
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(timed_size)
    return int(ray.get(remote.remote(*arguments)))


class _PackOf:
    """Packs of any size on one device."""

    def __init__(self, dataset: Dataset, settings: TrainingSettings, members: Sequence[TrialConfig], device: str) -> None:
        self._dataset, self._settings, self._members, self._device = dataset, settings, members, device
        self._bytes_each = 0.0

    def epoch_seconds(self, size: int) -> float:
        """Wall seconds of an epoch of a pack, after one that warms up; infinite where the device has not the memory."""
        configs = [replace(self._members[index % len(self._members)], number=index) for index in range(size)]
        on_gpu = self._device == "cuda"
        try:
            if on_gpu:
                torch.cuda.reset_peak_memory_stats()
            pack = Pack(self._dataset, self._settings, configs, self._device)
            pack.train_epoch()
            seconds = math.inf
            for _ in range(TIMED_EPOCHS):
                started = time.perf_counter()
                pack.train_epoch()
                seconds = min(seconds, time.perf_counter() - started)
            if on_gpu:
                self._bytes_each = torch.cuda.max_memory_allocated() / size
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            return math.inf
        return seconds

    def fits(self, size: int) -> bool:
        """Whether a pack of this size leaves half of the device's free memory free, as far as smaller ones tell."""
        if self._device != "cuda":
            return True
        free, _ = torch.cuda.mem_get_info()
        return self._bytes_each * size < SHARE_OF_MEMORY * free


@dataclass(frozen=True, slots=True)
class Piece:
    """Images to time an epoch with, settings for them, and the share of a whole data set that they are."""

    dataset: Dataset
    settings: TrainingSettings
    share: float


def piece_of(dataset: Dataset, settings: TrainingSettings, most_images: int) -> Piece:
    """The first images of a data set, at most ``most_images`` of them for training; test and validation images in proportion.

    Their labels are 0 and 1 in turn: no time depends on them, and of many classes too few images would be left to hold some out.
    """
    share = min(1.0, most_images / len(dataset.train_labels))
    n_train, n_test = (max(1, math.ceil(len(labels) * share)) for labels in (dataset.train_labels, dataset.test_labels))
    piece = replace(
        dataset,
        train_images=dataset.train_images[:n_train],
        train_labels=np.arange(n_train) % min(2, len(dataset.classes)),
        test_images=dataset.test_images[:n_test],
        test_labels=np.arange(n_test) % min(2, len(dataset.classes)),
    )
    return Piece(piece, settings_for_share(settings, share), share)


def settings_for_share(settings: TrainingSettings, share: float) -> TrainingSettings:
    """Settings that hold out as large a share of a piece for validation as of the whole data set."""
    if settings.validation is None:
        return settings
    return replace(settings, validation=max(1, math.floor(settings.validation * share)))
