"""How many trials train together as one pack: the given number, or for ``pack: auto`` what suits the device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import ray

from sweeper.data import Dataset
from sweeper.records import TrainingSettings, TrialConfig
from sweeper.space import Space
from sweeper.studies.studies import example_members

if TYPE_CHECKING:
    from sweeper.training.packs import Packs

ON_CPU = 8
"""Members of a pack on a CPU, without any timing: there they go through the kernels one after the other, as they would alone, and share
what is left, above all the cutting of images where two or more have a search in common. One core took 0.70 s for a trial-epoch of CIFAR-10
with K = 1, 0.56 s with 8 members on one stream of batches and no less with 16 or 32 (``docs/performance.md``)."""

ON_CPU_BYTES = 2**26
"""What the weights of the members of a pack on a CPU may take: its checkpoint, written every five seconds, is two or three times as large,
and large networks have little to share that would make them slower alone."""

WAVES = 4
"""Times that a search which learns is asked, at least: it takes at most a quarter of its trials at once, so that the sampler and the pruner
have seen some before they decide about the others."""

ASKS_AT_ONCE = ("random", "grid", "qmc")
"""Samplers that learn nothing."""

TIMED_IMAGES = 4096
"""Training images of an epoch that is timed on a GPU: 32 steps of 128, a tenth of CIFAR-10."""

TIMED_EPOCHS = 3
"""Epochs that a pack is timed for, of which the fastest counts; one before them warms up."""

LEAST_GAIN = 0.03
"""Share of the time per trial-epoch that a pack twice as large must save to be chosen: more than what two timings of one pack differ by."""

SHARE_OF_SWEEP = 0.02
"""Share of a sweep's time that timing packs may cost, once the device has started; :data:`LEAST_SECONDS` where that is more."""

LEAST_SECONDS = 1.0
"""A short sweep may lose more by packs that are too small than its share pays to find out."""

SHARE_FREE = 0.2
"""Share of a device's memory that the largest pack leaves free, for what the allocator cannot use between its blocks."""

LARGEST_MEASURED = 16
"""Members of the larger pack whose memory is measured, in an epoch of all images as in the sweep, or a quarter of the most that are of use
where that is less: 24 trial-epochs in all."""


@dataclass(frozen=True, slots=True)
class PackSize:
    """``most``: members of a full pack. ``even``: packs shrink towards the end of the sweep, so that all devices end together."""

    most: int
    even: bool = False

    def of_next(self, n_left: float, n_packs: int) -> int:
        """Members of the next of ``n_packs`` packs side by side: its share of the ``n_left`` trials, at least one.

        Trials that other packs train now count in ``n_left`` with the part of them that is still to be trained.
        """
        if not self.even:
            return self.most
        return max(1, min(self.most, math.ceil(round(n_left / max(1, n_packs), 6))))


def choose_pack_size(
    space: Space,
    n_trials: int,
    n_packs: int,
    device: str,
    size_on_gpu: Callable[[Sequence[TrialConfig], int, int], int],
    n_weights: int = 0,
) -> PackSize:
    """As many members as the space asks for; for ``auto`` as many as suit the device, ``cpu`` or ``cuda``.

    ``n_weights``: of the largest model. ``size_on_gpu`` finds them on a GPU, given trials as they may come, how many of ``n_trials`` each
    of ``n_packs`` devices will train, and the largest size that is of use.
    """
    if space.resources.pack != "auto":
        return PackSize(space.resources.pack)
    if space.training.loop is not None:  # whose trials share nothing
        return PackSize(1)
    n_packs = max(1, n_packs)
    most = largest_useful(space, n_trials, n_packs)
    if device == "cpu":
        return PackSize(max(1, min(ON_CPU, most, ON_CPU_BYTES // max(1, 4 * n_weights))), even=True)
    return PackSize(size_on_gpu(example_members(space, len(space.arms)), math.ceil(n_trials / n_packs), most), even=True)


def largest_useful(space: Space, n_trials: int, n_packs: int) -> int:
    """Members of a pack when each of ``n_packs`` devices has as many; if a sampler or pruner learns, each search is asked in waves.

    A search of fewer trials than :data:`WAVES` has one in training at a time; one of 32 has eight, fewer than the trials that TPE draws at
    random before it learns.
    """
    at_once = n_trials
    if space.search.sampler.name not in ASKS_AT_ONCE or space.search.pruner.name != "none":
        at_once = min(n_trials, sum(space.compare.searches * math.ceil(space.planned_trials(arm) / WAVES) for arm in space.arms))
    return max(1, math.ceil(at_once / n_packs))


def fitting_size(memory: Callable[[int], float], usable_bytes: float, most: int) -> int:
    """The most members, up to ``most``, whose pack leaves :data:`SHARE_FREE` of a device's ``usable_bytes`` free, at least one.

    ``memory(size)``: bytes at the peak of an epoch of a pack, evaluation included, infinite where there are not enough. Each member adds as
    many: two sizes tell how many, and what a pack takes beside its members.
    """
    if most == 1:
        return 1
    larger = min(LARGEST_MEASURED, max(2, most // 4))
    smaller = larger // 2
    if math.isinf(bytes_smaller := memory(smaller)):
        return 1
    if math.isinf(bytes_larger := memory(larger)):
        return smaller
    each = max(1.0, (bytes_larger - bytes_smaller) / (larger - smaller))
    beside = bytes_smaller - smaller * each
    return max(1, min(most, math.floor(((1 - SHARE_FREE) * usable_bytes - beside) / each)))


def gaining_size(seconds: Callable[[int], float], trial_epochs: float, most: int) -> int:
    """The pack size up to ``most`` beyond which doubling it saves less than :data:`LEAST_GAIN` of the time per trial-epoch.

    ``seconds(size)``: of an epoch of a pack, infinite where it fails; ``trial_epochs``: how many of these the device has to train. Each is
    run :data:`TIMED_EPOCHS` times and once to warm up; when the next pack might cost more than is left for timing, there is none.
    """
    if most == 1:
        return 1
    runs = 1 + TIMED_EPOCHS
    size, taken = 1, seconds(1)
    spent = runs * taken
    while size < most:
        double = min(2 * size, most)
        if spent + runs * taken * double / size > max(LEAST_SECONDS, SHARE_OF_SWEEP * trial_epochs * taken / size):
            break
        before, taken = taken, seconds(double)
        spent += runs * taken
        if not taken / double < (1 - LEAST_GAIN) * before / size:
            break
        size = double
    return size


def size_on_gpu(
    share_of_device: float,
    dataset: Dataset,
    settings: TrainingSettings,
    members: Sequence[TrialConfig],
    n_trials_each: int,
    most: int,
) -> int:
    """The pack size for this machine's GPU: as many members as fit into ``share_of_device`` of its memory and still gain.

    ``members``: trials as they may come; more are made from them. ``n_trials_each``: trials that the device will train. An error of the
    device, memory that does not suffice above all, is no error here: the size before is taken, and what fails with that too fails in the
    sweep, which tells it.
    """
    import torch

    from sweeper.training.packs import Packs

    try:
        free, total = torch.cuda.mem_get_info()
    except (RuntimeError, AssertionError):  # CUDA cannot be used, or PyTorch is built without it: the worker says why
        return 1
    piece = piece_of(dataset, settings, TIMED_IMAGES)

    def pack(dataset: Dataset, settings: TrainingSettings, size: int) -> Packs:
        # as after refills, each member has a stream of batches of its own; a seed costs a split of the images, so that there are few
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        seeds = [1 + index % LARGEST_MEASURED for index in range(size)]
        configs = [replace(members[index % len(members)], number=index, seed=seed) for index, seed in enumerate(seeds)]
        return Packs(dataset, settings, configs, "cuda")

    def memory(size: int) -> float:
        pack(dataset, settings, size).train_epoch()
        return torch.cuda.max_memory_allocated()

    def seconds(size: int) -> float:
        return fastest_epoch(pack(piece.dataset, piece.settings, size))

    most = fitting_size(partial(_or_infinite, memory), min(free, share_of_device * total), most)
    return gaining_size(partial(_or_infinite, seconds), n_trials_each * settings.epochs / piece.share, most)


def fastest_epoch(pack: Packs) -> float:
    """Wall seconds of the fastest of :data:`TIMED_EPOCHS` epochs of a pack, after one that warms up."""
    pack.train_epoch()
    taken = []
    for _ in range(TIMED_EPOCHS):
        started = time.perf_counter()
        pack.train_epoch()
        taken.append(time.perf_counter() - started)
    return min(taken)


def _or_infinite(measure: Callable[[int], float], size: int) -> float:
    """What is measured of a pack, or infinity where the device fails: PyTorch has no narrower class for all that CUDA may say."""
    try:
        return measure(size)
    except RuntimeError:
        return math.inf


def size_on_a_node(
    cpus: float, gpus: float, dataset: Dataset, settings: TrainingSettings
) -> Callable[[Sequence[TrialConfig], int, int], int]:
    """:func:`size_on_gpu` for these images where a pack would be put: on the first node with room for one."""
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(size_on_gpu)
    return lambda *of_trials: int(ray.get(remote.remote(min(1.0, gpus), dataset, settings, *of_trials)))


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
    if settings.validation is not None:
        settings = replace(settings, validation=max(1, math.floor(settings.validation * share)))
    return Piece(piece, settings, share)
