"""How long a pack's process takes to start and to train, measured by starting such processes side by side, as a sweep would."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sweeper.data import Dataset
from sweeper.errors import TrainingError
from sweeper.records import TrainingSettings, TrialConfig

LEAST_SECONDS = 1.5
"""How long each process trains to be timed: other work on the machine comes and goes."""


MOST_EPOCHS = 1_000
"""Epochs that a trial is told it has, of which few are trained: schedules may be laid out for all."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Seconds until a process can train, of an epoch of ``dataset`` for each pack size, and of the test figures of one trial."""

    start: float
    epochs: Sequence[float]
    test: float


def probe(
    dataset: Dataset, settings: TrainingSettings, packs: Sequence[Sequence[TrialConfig]], device: str, threads: int, n_processes: int
) -> Probe:
    """Means over ``n_processes`` processes that run side by side and train a pack of each of these memberships.

    Raises:
        TrainingError: one of them died.
    """
    arguments = pickle.dumps((dataset, settings, packs, device, threads))
    started = time.time()
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(n_processes):
            processes.append(_start())
        for process in processes:
            if process.stdin is not None:
                process.stdin.write(arguments)
                process.stdin.close()
        answers = [_answer(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    mean = [sum(column) / n_processes for column in zip(*answers, strict=True)]
    return Probe(start=mean[0] - started, test=mean[1], epochs=mean[2:])


def _start() -> subprocess.Popen[bytes]:
    """A process in a session of its own: Ctrl-C is ours to answer.

    If an interruption comes before the caller has its handle, the process ends by itself: its input is closed.
    """
    command = [sys.executable, "-m", "sweeper.tune.probe"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def _answer(process: subprocess.Popen[bytes]) -> list[float]:
    output = process.stdout.read().decode() if process.stdout else ""
    if process.wait():
        said = process.stderr.read().decode(errors="replace").strip().splitlines() if process.stderr else []
        raise TrainingError(f"an epoch cannot be timed: its process ended with {process.returncode}: {said[-1] if said else 'no message'}")
    return list(json.loads(output.splitlines()[-1]))


def _time(dataset: Dataset, settings: TrainingSettings, packs: Sequence[Sequence[TrialConfig]], device: str, threads: int) -> list[float]:
    """When this process was ready, seconds of the test figures, and of an epoch of each pack."""
    import torch

    from sweeper.training.loop import make_pack
    from sweeper.tune.trainable import test_figures

    ready = time.time()
    torch.set_num_threads(threads)
    pack: Any = None
    seconds = []
    for members in packs:
        pack = make_pack(dataset, replace(settings, epochs=MOST_EPOCHS), list(members), device)
        _train(pack)
        n_epochs, began = 0, time.perf_counter()
        while n_epochs < 2 or (time.perf_counter() - began < LEAST_SECONDS and n_epochs < MOST_EPOCHS - 2):
            _train(pack)
            n_epochs += 1
        seconds.append((time.perf_counter() - began) / n_epochs)
    trial = packs[-1][0]
    if settings.loop is not None:  # which returns its test figures after its last epoch alone
        pack = make_pack(dataset, replace(settings, epochs=1), [trial], device)
        began = time.perf_counter()
        _train(pack)
        return [ready, max(0.0, time.perf_counter() - began - seconds[0]), *seconds]
    began = time.perf_counter()
    test_figures(pack, trial.trial_id, with_validation=bool(settings.validation))
    return [ready, time.perf_counter() - began, *seconds]


def _train(pack: Any) -> None:
    """Train an epoch; what is the user's own may fail in it."""
    for result in pack.train_epoch().values():
        if not hasattr(result, "epoch"):
            raise TrainingError(result.error)


if __name__ == "__main__":
    sys.stdout.write(f"\n{json.dumps(_time(*pickle.load(sys.stdin.buffer)))}\n")  # noqa: S301  what our own parent has written
