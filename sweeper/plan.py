"""What a sweep would do, and about how long it would take on this machine, measured on a short piece of it. Creates nothing."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest

import numpy as np
import torch

from sweeper.cluster.autoscaler import packs_on
from sweeper.data import Dataset
from sweeper.data.dataset import make_dataset
from sweeper.preflight import load_data
from sweeper.space import Space
from sweeper.store.provenance import available_cores, processor
from sweeper.studies.expected_epochs import expected_epochs
from sweeper.studies.studies import example_members
from sweeper.text import plural
from sweeper.training.build_model import describe_models, most_weights
from sweeper.tune.pack_size import PackSize, choose_pack_size, piece_of, size_on_gpu
from sweeper.tune.probe import probe
from sweeper.view.text import aligned
from sweeper.view.wording import duration

TIMED_IMAGES = 4096
"""Training images of the epoch that is timed; the time grows with the images in proportion."""

STARTS = 2.8
"""What a sweep takes to start and to end, in times that one of its processes takes to be ready to train, which is measured: the driver's
imports, Ray's own processes, the workers' imports beside each other, Ray's end and the report. From runs on two cores."""

STEP_SECONDS = 0.05
"""What the driver takes for the epoch of a pack: rows and decisions reach the disk."""

MOST_PACKS_SIMULATED = 20_000

CIFAR10_IMAGES = 50_000, 10_000


@dataclass(frozen=True, slots=True)
class ArmPlan:
    """One arm's budget, of all its ``searches``: ``search_epochs`` if nothing is pruned."""

    arm: str
    searches: int
    search_trials: int
    search_epochs: int
    confirm_trials: int
    confirm_epochs: int


@dataclass(frozen=True, slots=True)
class Plan:
    """``packs`` train side by side, ``pack`` trials each, or at most, if that is chosen for ``pack: auto``.

    ``epoch_seconds``: of one pack of that many trials beside the others, timed here. ``kept``: the share of the search's epochs that the
    pruner is expected to leave; ``seconds``: of the sweep if it does, ``seconds_unpruned``: if nothing is pruned; ``start_seconds`` of both
    go before the first epoch and after the last.
    """

    name: str
    arms: tuple[ArmPlan, ...]
    device: str
    packs: int
    pack: int
    pack_is_chosen: bool
    epoch_seconds: float
    kept: float
    start_seconds: float
    seconds: float
    seconds_unpruned: float

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
    epochs, searches = space.training.epochs, space.compare.searches
    n_confirms = searches * space.compare.seeds
    arms = tuple(
        ArmPlan(arm.name, searches, n := searches * space.planned_trials(arm), n * epochs, n_confirms, n_confirms * epochs)
        for arm in space.arms
    )
    began = time.monotonic()
    on_gpu = torch.cuda.is_available() and space.resources.gpus_per_trial not in (0, 0.0)
    device = "cuda" if on_gpu else "cpu"
    packs = _packs(space, on_gpu)
    n_trials = sum(arm.search_trials for arm in arms)
    dataset, settings = _images(space, notice), space.training_settings()
    notice("timing an epoch")
    beside = min(packs, math.ceil(packs / max(1, torch.cuda.device_count()))) if on_gpu else packs
    n_weights = most_weights(describe_models(space.architectures, dataset))
    size = choose_pack_size(space, n_trials, packs, device, partial(size_on_gpu, 1 / beside, dataset, settings), n_weights)
    piece = piece_of(dataset, settings, TIMED_IMAGES)
    load_seconds = time.monotonic() - began
    sizes = sorted({1, size.most})
    memberships = [example_members(space, each) for each in sizes]
    timed = probe(piece.dataset, piece.settings, memberships, device, space.resources.threads, beside)
    start_seconds = load_seconds + STARTS * timed.start
    lengths = expected_epochs(space, packs * size.most)
    work = _Work(arms, packs, size, [each / piece.share for each in timed.epochs], timed.test / piece.share, refill=on_gpu)
    return Plan(
        space.name,
        arms,
        torch.cuda.get_device_name() if on_gpu else f"{available_cores()} cores of {processor()}",
        packs,
        size.most,
        size.even,
        timed.epochs[-1] / piece.share,
        sum(lengths) / len(lengths) / epochs,
        start_seconds,
        start_seconds + work.seconds(lengths, epochs),
        start_seconds + work.seconds((epochs,), epochs),
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be trained, and how long its parts take: ``epoch_seconds`` of the smallest and of the largest pack, ``test_seconds`` of a
    trial that runs to its end. ``refill``: as the coordinator's.
    """

    arms: Sequence[ArmPlan]
    packs: int
    size: PackSize
    epoch_seconds: Sequence[float]
    test_seconds: float
    refill: bool

    def seconds(self, lengths: Sequence[int], epochs: int) -> float:
        """Time from the first epoch to the last, if the trials of each search take ``lengths`` epochs, repeated as often as needed.

        Packs are given out as in a sweep: the searches of all arms in turn, the confirm trials of a search when it has ended, and the
        largest packs first.
        """
        n_confirms = sum(arm.confirm_trials for arm in self.arms)
        n_trials = sum(arm.search_trials for arm in self.arms) + n_confirms
        rounds = max(arm.searches for arm in self.arms)
        searches = {
            (arm.arm, search): [lengths[index % len(lengths)] for index in range(arm.search_trials // arm.searches)]
            for search in range(rounds)
            for arm in self.arms
        }
        n_epochs = sum(map(sum, searches.values())) + epochs * n_confirms
        if self.refill or n_trials > MOST_PACKS_SIMULATED:
            side_by_side = min(self.packs * self.size.most, max(1, n_trials))
            each = self._epoch(min(self.size.most, math.ceil(n_trials / self.packs)))
            n_tests = n_confirms + sum(length == epochs for trials in searches.values() for length in trials)
            return n_epochs * each / side_by_side + n_tests * self.test_seconds / self.packs
        waiting = [(name, length) for row in zip_longest(*searches.values()) for name, length in zip(searches, row, strict=True) if length]
        searching = {name: len(trials) for name, trials in searches.items()}
        confirms = {arm.arm: arm.confirm_trials // arm.searches for arm in self.arms}
        free_at = [0.0] * self.packs
        running: list[tuple[float, list[tuple[str, int]], float, list[int]]] = []
        while waiting or running:
            now = min(free_at)
            if not waiting or (running and running[0][0] <= now):
                ended, names, *_ = heapq.heappop(running)
                free_at = [max(moment, ended) if not waiting else moment for moment in free_at]
                for name in names:
                    searching[name] -= 1
                    if not searching[name]:
                        waiting += [(name, 0)] * confirms[name[0]]
                continue
            near_the_end = len(waiting) < self.size.most * self.packs
            in_training = sum(self._left(lengths, now - began, epochs) for *_, began, lengths in running) if near_the_end else 0
            n_members = self.size.of_next(len(waiting) + in_training, self.packs)
            members, waiting = waiting[:n_members], waiting[n_members:]
            trained = [length or epochs for _, length in members]
            taken = self._pack(trained) + self.test_seconds * trained.count(epochs)
            free_at[free_at.index(now)] = now + taken
            heapq.heappush(running, (now + taken, [name for name, length in members if length], now, trained))
        return max(free_at)

    def _pack(self, lengths: Sequence[int]) -> float:
        """Seconds of a pack whose members leave it one after the other."""
        steps = [sum(length > epoch for length in lengths) for epoch in range(max(lengths))]
        return sum(map(self._epoch, steps))

    def _left(self, lengths: Sequence[int], seconds: float, epochs: int) -> float:
        """Trials that a pack has left after so many seconds: of each that is still in it the part of all epochs that it has not trained."""
        for epoch in range(max(lengths)):
            seconds -= self._epoch(sum(length > epoch for length in lengths))
            if seconds < 0:
                return sum(1 - epoch / epochs for length in lengths if length > epoch)
        return 0.0

    def _epoch(self, n_members: int) -> float:
        """Seconds of an epoch of a pack, between those of the sizes that were timed."""
        slope = (self.epoch_seconds[-1] - self.epoch_seconds[0]) / max(1, self.size.most - 1)
        return STEP_SECONDS + self.epoch_seconds[0] + slope * (n_members - 1)


def _packs(space: Space, on_gpu: bool) -> int:
    """Packs that this machine has room for, at least one."""
    wanted = space.resources.gpus_per_trial
    gpus = (1.0 if wanted == "auto" else wanted) if on_gpu else 0.0
    here = {"CPU": available_cores(), "GPU": torch.cuda.device_count()}
    return max(1, packs_on(here, space.resources.cpus_per_trial, gpus))


def _images(space: Space, notice: Callable[[str], None]) -> Dataset:
    """The space's images, or noise in the place of images that are not here yet."""
    options = space.dataset
    if options.name not in ("cifar10", "synthetic"):
        return load_data(space, notice)
    n_train, n_test = CIFAR10_IMAGES if options.name == "cifar10" else (options.train_images or 1, options.test_images or 1)
    generator = np.random.default_rng(0)
    train, test = (
        (generator.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), np.arange(n, dtype=np.int64) % 10) for n in (n_train, n_test)
    )
    return make_dataset("noise", train, test, tuple(map(str, range(10))), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def plan_text(plan: Plan) -> str:
    """A plan for a person."""
    rows = [["arm", "search trials", "epochs at most", "confirm trials", "epochs"]]
    rows += [
        [
            arm.arm,
            _of_searches(arm.searches, arm.search_trials),
            str(arm.search_epochs),
            _of_searches(arm.searches, arm.confirm_trials),
            str(arm.confirm_epochs),
        ]
        for arm in plan.arms
    ]
    chosen = f"at most {plan.pack} (pack: auto)" if plan.pack_is_chosen else plan.pack
    side = f"{plural(plan.packs, 'pack')} of {chosen} side by side"
    lines = [
        f"{plan.name}: {plural(plan.trials, 'trial')}, at most {plural(plan.epochs, 'epoch')}; nothing was created",
        "",
        aligned(rows, right={1, 2, 3, 4}),
        "",
        f"on {plan.device}: {side}, {plan.epoch_seconds:.2f} s an epoch of one pack",
        f"about {duration(plan.seconds)} on this machine alone, {duration(plan.start_seconds)} of it to start and to end",
        *([f"assumed: the pruner leaves {100 * plan.kept:.0f} % of the search's epochs, as for simulated trials"] if plan.kept < 1 else []),
        f"at most about {duration(plan.seconds_unpruned)} if nothing is pruned",
    ]
    return "\n".join(lines)


def _of_searches(searches: int, trials: int) -> str:
    """``5 x 16``, or ``16`` of a single search."""
    return f"{searches} x {trials // searches}" if searches > 1 else str(trials)
