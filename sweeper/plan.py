"""What a sweep would do, and about how long it would take on this machine, from training a short piece of it. Creates nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from sweeper.look.text import aligned
from sweeper.progress.wording import duration
from sweeper.provenance import available_cores, processor
from sweeper.records import TrainingSettings
from sweeper.space import Space
from sweeper.study import example_members
from sweeper.training.data import Dataset
from sweeper.training.data.dataset import make_dataset
from sweeper.training.engine import Pack
from sweeper.tune.pack_size import timed_size
from sweeper.tune.preflight import load_data

TIMED_IMAGES = 4096
"""Training images of the epoch that is timed; the time grows with the images in proportion."""

START_SECONDS = 10.0
"""What Ray and the workers' imports take, about, on two cores."""

CIFAR10_IMAGES = 50_000, 10_000


@dataclass(frozen=True, slots=True)
class ArmPlan:
    """One arm's budget: ``search_epochs`` if nothing is pruned."""

    arm: str
    search_trials: int
    search_epochs: int
    confirm_trials: int
    confirm_epochs: int


@dataclass(frozen=True, slots=True)
class Plan:
    """``packs`` train side by side, ``pack`` trials each, or at most, if ``pack_is_chosen`` here by timing for ``pack: auto``.

    ``epoch_seconds``: of one pack of that many trials, timed here; ``seconds``: of the sweep, if nothing is pruned.
    """

    name: str
    arms: tuple[ArmPlan, ...]
    device: str
    packs: int
    pack: int
    pack_is_chosen: bool
    epoch_seconds: float
    seconds: float

    @property
    def trials(self) -> int:
        return sum(arm.search_trials + arm.confirm_trials for arm in self.arms)

    @property
    def epochs(self) -> int:
        return sum(arm.search_epochs + arm.confirm_epochs for arm in self.arms)


def make_plan(space: Space, notice: Callable[[str], None] = lambda _: None) -> Plan:
    """What a space would run on this machine alone.

    The images of a data set that is downloaded or generated are replaced by noise of the same size, which takes as long to train.

    Raises:
        DataError: if the space's images are to be read from a folder, and cannot be.
    """
    epochs = space.training.epochs
    arms = tuple(
        ArmPlan(arm.name, n_trials := space.planned_trials(arm), n_trials * epochs, space.compare.seeds, space.compare.seeds * epochs)
        for arm in space.arms
    )
    on_gpu = torch.cuda.is_available() and space.resources.gpus_per_trial not in (0, 0.0)
    device = "cuda" if on_gpu else "cpu"
    packs = _packs(space, on_gpu)
    n_trials = sum(arm.search_trials for arm in arms)
    piece = _piece(space, notice)
    notice("timing an epoch")
    size = space.resources.pack
    if size == "auto":
        members = example_members(space, len(space.arms))
        size = timed_size(piece.dataset, piece.settings, members, device, _threads(space), math.ceil(n_trials / packs), piece.share)
    epoch_seconds = _time_an_epoch(space, piece, size, device)
    n_epochs = sum(arm.search_epochs + arm.confirm_epochs for arm in arms)
    n_trials += sum(arm.confirm_trials for arm in arms)
    side_by_side = min(packs * size, max(1, n_trials))
    return Plan(
        space.name,
        arms,
        torch.cuda.get_device_name() if on_gpu else f"{available_cores()} cores of {processor()}",
        packs,
        size,
        space.resources.pack == "auto",
        epoch_seconds,
        START_SECONDS + n_epochs * epoch_seconds / side_by_side,
    )


def _packs(space: Space, on_gpu: bool) -> int:
    wanted = space.resources.gpus_per_trial
    limits = [available_cores() / space.resources.cpus_per_trial]
    if on_gpu:
        limits.append(torch.cuda.device_count() / (1.0 if wanted == "auto" else float(wanted)))
    return max(1, math.floor(min(limits)))


def _threads(space: Space) -> int:
    """Threads that a pack on the CPU computes with."""
    return max(1, math.floor(space.resources.cpus_per_trial))


@dataclass(frozen=True, slots=True)
class _Piece:
    """The first images of a data set, or noise in their place, the settings for them, and the share that they are of the whole."""

    dataset: Dataset
    settings: TrainingSettings
    share: float


def _piece(space: Space, notice: Callable[[str], None]) -> _Piece:
    """At most :data:`TIMED_IMAGES` training images, the other splits in proportion."""
    options = space.dataset
    if options.name in ("cifar10", "synthetic"):
        n_train, n_test = CIFAR10_IMAGES if options.name == "cifar10" else (options.train_images or 1, options.test_images or 1)
        whole = None
    else:
        whole = load_data(space, notice)
        n_train, n_test = len(whole.train_labels), len(whole.test_labels)
    share = min(1.0, TIMED_IMAGES / n_train)
    counts = [max(1, math.ceil(n * share)) for n in (n_train, n_test)]
    generator = np.random.default_rng(0)
    if whole is None:
        images = [generator.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8) for n in counts]
        labels = [np.arange(n, dtype=np.int64) % 10 for n in counts]
        classes: tuple[str, ...] = tuple(map(str, range(10)))
    else:
        chosen = [generator.permutation(n)[:count] for n, count in zip((n_train, n_test), counts, strict=True)]
        images = [whole.train_images[chosen[0]], whole.test_images[chosen[1]]]
        labels = [whole.train_labels[chosen[0]], whole.test_labels[chosen[1]]]
        classes = whole.classes
    grey = (0.5, 0.5, 0.5)
    dataset = make_dataset("piece", (images[0], labels[0]), (images[1], labels[1]), classes, grey, (0.25, 0.25, 0.25))
    settings = space.training_settings()
    if settings.validation is not None:
        settings = replace(settings, validation=max(1, math.floor(settings.validation * share)))
    return _Piece(dataset, settings, share)


def _time_an_epoch(space: Space, piece: _Piece, size: int, device: str) -> float:
    """Seconds that a pack takes for an epoch of the whole data set: the faster of two, after one that only warms up."""
    if device == "cpu":
        torch.set_num_threads(_threads(space))
    pack = Pack(piece.dataset, piece.settings, example_members(space, size), device)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        pack.train_epoch()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:]) / piece.share


def plan_text(plan: Plan) -> str:
    """A plan for a person."""
    rows = [["arm", "search trials", "epochs at most", "confirm trials", "epochs"]]
    rows += [
        [arm.arm, str(arm.search_trials), str(arm.search_epochs), str(arm.confirm_trials), str(arm.confirm_epochs)] for arm in plan.arms
    ]
    chosen = f"at most {plan.pack} (pack: auto, found by timing)" if plan.pack_is_chosen else plan.pack
    side = f"{plan.packs} pack{'' if plan.packs == 1 else 's'} of {chosen} side by side"
    lines = [
        f"{plan.name}: {plan.trials} trials, at most {plan.epochs} epochs; nothing was created",
        "",
        aligned(rows, right={1, 2, 3, 4}),
        "",
        f"on {plan.device}: {side}, {plan.epoch_seconds:.2f} s an epoch of one pack",
        f"at most about {duration(plan.seconds)} on this machine alone; pruning shortens it",
    ]
    return "\n".join(lines)
