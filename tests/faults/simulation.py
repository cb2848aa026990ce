"""A sweep without Ray and without training: real studies, recorder and files around curves from a formula; dies wherever it is told to."""

import contextlib
import math
import os
import shutil

import numpy as np

from sweeper.driver.coordinator import Coordinator
from sweeper.driver.events import SweepStarted, ignore
from sweeper.driver.messages import Failure, PackReport
from sweeper.records import EpochMetrics, Phase, TestMetrics
from sweeper.space import dump_space
from sweeper.store import Folder, PackCheckpoint, SweepFolder
from sweeper.store import folder as folder_module
from sweeper.store.append_log import AppendLog
from sweeper.sweep import _close, _open


class Crash(BaseException):
    """The process dies here."""


class Disk:
    """Counts everything that reaches the disk, and dies before, in the middle of, or after the effect of a given number."""

    def __init__(self, monkeypatch):
        self._monkeypatch = monkeypatch
        self.n_effects = 0
        self.die_at = None
        self.die_how = "before"
        append, write, delete = AppendLog.append, folder_module._write_atomically, Folder.delete

        def appended(log, lines):
            half = len(lines) // 2
            self._effect(lambda: append(log, lines), lambda: append(log, lines[:half]) if half else None)

        def written(path, content):
            aside = path.with_name(f".{path.name}.1.00000000.tmp")
            self._effect(lambda: write(path, content), lambda: aside.write_bytes(content[: len(content) // 2]))

        def deleted(folder, name):
            self._effect(lambda: delete(folder, name), lambda: None)

        monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # of power cuts nothing is seen here
        monkeypatch.setattr(AppendLog, "append", appended)
        monkeypatch.setattr(folder_module, "_write_atomically", written)
        monkeypatch.setattr(Folder, "delete", deleted)

    def _effect(self, whole, half):
        self.n_effects += 1
        if self.n_effects != self.die_at:
            whole()
            return
        {"before": lambda: None, "torn": half, "after": whole}[self.die_how]()
        raise Crash


def curve(config, epoch):
    """Metrics that depend on configuration, seed and epoch alone."""
    rate = float(config.parameters["learning_rate"])
    words = [config.seed, config.number, epoch, int(config.phase is Phase.CONFIRM), len(str(config.parameters["loss"]))]
    noise = np.random.default_rng(words).random(4)
    accuracy = float(1 - abs(math.log10(rate) + 1) / 4 - 0.5 / epoch + 0.1 * noise[0])
    loss = math.nan if rate > 0.9 and epoch == 2 else float(noise[1])
    return EpochMetrics(epoch, loss, float(noise[2]), float(noise[3]), accuracy, 1.0, 0.5, 0.1, rate, 0.25, *[0.5] * 4)


TEST = TestMetrics(0.1, 0.5, 1.0, 0.5, 0.1)


class Worker:
    """What a Trainable does, with :func:`curve` for training and a checkpoint of every epoch; it writes before it trains on."""

    def __init__(self, folder, members, n_epochs, fails, *, pack_id="pack", train=curve, full=None, test=TEST):
        self.folder, self.n_epochs, self.train, self.fails, self.full, self.test = folder, n_epochs, train, fails, full, test
        self.histories, self.configs, self.unreported, self.pack_id = {}, {}, set(), pack_id
        self.has_learnt, self.in_file = False, set()
        checkpoints = folder.checkpoints.read(members)
        for config in members:
            checkpoint = checkpoints.get(config.trial_id)
            self.configs[config.trial_id] = config
            self.histories[config.trial_id] = list(checkpoint.history) if checkpoint else []
            if checkpoint:
                self.unreported.add(config.trial_id)

    def write(self):
        learnt = {name: tuple(history) for name, history in self.histories.items() if history}
        weights = np.zeros((len(learnt), 2), np.float32)
        configs = [self.configs[name] for name in learnt]
        checkpoint = PackCheckpoint({"weights": {"w": (2,)}}, {"weights": weights}, configs, list(learnt.values()))
        self.folder.checkpoints.write_pack(self.pack_id, checkpoint)
        self.in_file = set(learnt)

    def keep(self, failed):
        configs = [self.configs[name] for name in failed if name in self.in_file]
        for checkpoint in self.folder.checkpoints.read(configs).values():
            self.folder.checkpoints.write(checkpoint)

    def step(self):
        finished = [name for name, history in self.histories.items() if len(history) >= self.n_epochs]
        epochs, failures = {}, {}
        if self.has_learnt and not finished and any(self.histories.values()):
            self.write()
        for name, history in self.histories.items():
            if not finished:
                metrics = self.train(self.configs[name], len(history) + 1)
                if self.full is not None and len(self.histories) > self.full:
                    failures[name] = Failure("OutOfMemoryError: CUDA out of memory", "Traceback ...", out_of_memory=True)
                elif self.fails(self.configs[name], metrics.epoch):
                    failures[name] = Failure("ValueError: as told", "Traceback ...")
                else:
                    history.append(metrics)
                    self.has_learnt = True
                    epochs[name] = history[-1:]
            if name in self.unreported:  # also of one that fails, as a Trainable does
                epochs[name] = list(history)
        self.unreported.clear()
        self.keep(failures)
        tests = {name: self.test for name, history in self.histories.items() if len(history) >= self.n_epochs}
        return PackReport.from_json(PackReport("cpu", epochs, tests, failures).to_json())

    @property
    def next_epochs(self):
        """The members that would train now, each with the number of its next epoch."""
        if any(len(history) >= self.n_epochs for history in self.histories.values()):
            return []
        return [(self.configs[name], len(history) + 1) for name, history in self.histories.items()]

    def drop(self, names):
        for name in names:
            self.histories.pop(name, None)

    def add(self, members):
        for config in members:
            self.configs[config.trial_id], self.histories[config.trial_id] = config, []


def new_sweep(path, space):
    folder = SweepFolder(str(path))
    folder.create()
    folder.write_provenance({"started_at": "2026-01-01T00:00:00+00:00"})
    folder.write_space(dump_space(space))
    return folder


def never(config, epoch):
    return False


def run_sweep(
    folder,
    space,
    *,
    n_packs=1,
    size=1,
    train=curve,
    fails=never,
    dies=never,
    full=None,
    full_kills=False,
    refill=False,
    until=None,
    retry_failed=False,
    test=TEST,
    observer=ignore,
):
    """Run or resume a sweep to its end, until the disk kills it, or until ``until(studies)``; returns how many trials failed.

    ``fails``: members whose own loss raises; ``dies``: members that take the process of their pack with them. ``full``: most members that
    the device has memory for; ``full_kills``: whether the node then kills the process.
    """
    with contextlib.ExitStack() as stack:
        recorder, studies = _open(space, folder)
        stack.callback(recorder.close)
        stack.callback(studies.close)
        if retry_failed:
            studies.retry_failed()
        coordinator = Coordinator(space, studies, recorder, folder, observer, refill=refill)
        observer(SweepStarted(folder, space, n_packs, studies.planned))
        workers, n_started = {}, 0
        while not coordinator.finished:
            while coordinator.n_packs < n_packs:
                members = coordinator.start_pack(f"pack-{n_started}", size)
                if not members:
                    break
                pack_id, options = f"pack-{n_started}", {"train": train, "full": full, "test": test}
                workers[pack_id] = Worker(folder, members, space.training.epochs, fails, pack_id=pack_id, **options)
                n_started += 1
            for pack_id, worker in list(workers.items()):
                if until is not None and until(studies):
                    return None
                if any(dies(config, epoch) for config, epoch in worker.next_epochs):
                    coordinator.lost(pack_id, Failure("the worker process died", "Traceback ..."))
                    del workers[pack_id]
                    continue
                if full_kills and len(worker.histories) > full:
                    coordinator.lost(pack_id, Failure("the node ran out of memory", "Traceback ...", out_of_memory=True))
                    del workers[pack_id]
                    continue
                decision = coordinator.report(pack_id, worker.step())
                worker.drop(decision.remove)
                worker.add(decision.add)
                if decision.empty:
                    coordinator.closed(pack_id)
                    del workers[pack_id]
        _close(folder, recorder)
        return studies.n_failed


def run_with_copies(path, space, every=1, **options):
    """Folders to resume: copies of a new sweep at ``path`` as a kill before every ``every``-th step would leave it, and the whole one."""
    copies, n_steps = [], 0

    def copy(studies):
        nonlocal n_steps
        if n_steps % every == 0:
            copies.append(shutil.copytree(path, path.with_name(f"{path.name}-{n_steps}")))
        n_steps += 1
        return False

    run_sweep(new_sweep(path, space), space, until=copy, **options)
    return [*copies, path]
