"""What the driver costs per trial, at the start of a long sweep and at its end: real studies, rows, journal and Ray, no training.

    python -m benchmarks.driver                        10,000 trials of 3 reports on every core: some 6 minutes on 2 cores
    python -m benchmarks.driver --trials 1000          a shorter look
    python -m benchmarks.driver --pruner median        with a pruner that compares all trials
    python -m benchmarks.driver --pack 128             can one driver feed a large pack? 3,072 trials of 20 reports, two minutes

A trial is reports of a stub that answers at once, so all of its time is overhead. Sampler TPE, no pruner; one trial per pack, three
reports each. With ``--pack`` one pack at a time, refilled as on a GPU, and trials of 20 reports; the progress panel counts along.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import resource
import secrets
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import sweeper.cluster.session  # noqa: F401  (sets what Ray reads when it is imported)

import ray  # isort: skip

from benchmarks.scaling import Stub, StubTrainable
from sweeper.cluster.capacity import Capacity
from sweeper.driver.coordinator import Coordinator
from sweeper.driver.events import EpochTrained, Event, TrialEnded, observed_by
from sweeper.driver.recorder import Recorder
from sweeper.space import parse_space
from sweeper.store import SweepFolder
from sweeper.store.provenance import available_cores, processor
from sweeper.studies.studies import Studies
from sweeper.tune.pack_size import PackSize
from sweeper.tune.run import PackPlan, run_packs
from sweeper.view.counts import Counts

SPACE = """
name: driver
dataset: {{name: synthetic, validation: 100, train_images: 1000, test_images: 100}}
training: {{epochs: {epochs}}}
parameters:
  loss: {{choices: [l1, cross_entropy, focal]}}
  gamma: {{low: 0.0, high: 5.0, when: {{loss: focal}}}}
  learning_rate: {{low: 1e-4, high: 1.0, log: true}}
compare: {{arms: loss, searches: 1, trials_per_arm: {trials_per_arm}, seeds: 0}}
search: {{sampler: {sampler}, pruner: {pruner}}}
"""
N_ARMS = 3
STEP = 250
"""Trials between two lines of progress."""


class Clock:
    """Notes when each trial ended, and the processor seconds and the memory of this process at that moment."""

    def __init__(self) -> None:
        self.ends = [self._now()]
        self.epochs = 0
        self.first_epoch = self.last_epoch = self.ends[0]

    def _now(self) -> tuple[float, float, int]:
        return time.perf_counter(), time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def __call__(self, event: Event) -> None:
        if isinstance(event, EpochTrained):
            self.last_epoch = self._now()
            self.first_epoch = self.last_epoch if self.epochs == 0 else self.first_epoch
            self.epochs += 1
        if not isinstance(event, TrialEnded):
            return
        self.ends.append(self._now())
        if len(self.ends) % STEP == 1:
            wall, cpu = ((self.ends[-1][i] - self.ends[-1 - STEP][i]) / STEP * 1e3 for i in (0, 1))
            n_trials, seconds, memory = len(self.ends) - 1, self.ends[-1][0] - self.ends[0][0], self.ends[-1][2] / 2**20
            print(
                f"{n_trials:6} trials in {seconds:4.0f} s; the last {STEP}: {wall:.1f} ms a trial, {cpu:.1f} ms of it the driver's "
                f"processor; peak memory {memory:.0f} MiB",
                flush=True,
            )


def measure(trials: int, epochs: int, pack: int, sampler: str, pruner: str = "none") -> Clock:
    """The ends of ``trials`` trials in packs of ``pack``, one pack per core that Ray has side by side."""
    text = SPACE.format(epochs=epochs, trials_per_arm=math.ceil(trials / N_ARMS), sampler=sampler, pruner=pruner)
    with tempfile.TemporaryDirectory(prefix="sweeper-driver-") as scratch:
        space = parse_space(text, "driver.yaml")
        folder = SweepFolder(f"{scratch}/sweep")
        folder.create()
        recorder = Recorder(folder, space.parameter_types(), space.search.metric)
        studies = Studies(space, folder.journal)
        clock = Clock()
        observe = observed_by(clock, Counts(folder.id, space, studies.planned))
        coordinator = Coordinator(space, studies, recorder, folder, observe, refill=pack > 1)
        busy = Path(scratch) / "busy"
        busy.mkdir()
        plan = PackPlan(PackSize(pack), Capacity(1, 0))
        run_packs(coordinator, Stub(0.0, str(busy), 1), None, plan, f"{scratch}/tune", StubTrainable)
        recorder.flush()
        return clock


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=None, help="10,000; 3,072 with --pack")
    parser.add_argument("--epochs", type=int, default=None, help="3; 20 with --pack")
    parser.add_argument("--pack", type=int, default=1, help="trials per pack; more than one: one pack at a time")
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--pruner", default="none")
    options = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))
    trials, epochs = options.trials or (10_000 if options.pack == 1 else 3072), options.epochs or (3 if options.pack == 1 else 20)
    cores = available_cores()
    ray.init(
        address="local", num_cpus=cores if options.pack == 1 else 1, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    load_before = os.getloadavg()[0]
    try:
        clock = measure(trials, epochs, options.pack, options.sampler, options.pruner)
        ends, closing = clock.ends, time.perf_counter() - clock.ends[-1][0]
    finally:
        ray.shutdown()
    n_trials = len(ends) - 1
    part = max(1, n_trials // 10)
    skipped = min(50, part)  # the first trials wait for processes to start
    parts = {"first": (skipped, skipped + part), "last": (n_trials - part, n_trials)}
    each = {name: [(ends[b][i] - ends[a][i]) / (b - a) * 1e3 for i in (0, 1)] for name, (a, b) in parts.items()}
    versions = ", ".join(f"{name} {version(name)}" for name in ("ray", "optuna"))
    print(
        f"\n{n_trials} trials of {epochs} reports and no training, packs of {options.pack}, sampler {options.sampler}, "
        f"pruner {options.pruner}; "
        f"{cores} cores of {processor()}; "
        f"Python {platform.python_version()}, {versions}; n = 1 run; load {load_before:.1f} before, {os.getloadavg()[0]:.1f} after\n"
    )
    print(f"| trials | ms per trial | ms of the driver's processor per trial |\n|---|---:|---:|\n"
          f"| {part} after the first {skipped} | {each['first'][0]:.1f} | {each['first'][1]:.1f} |\n"
          f"| last {part} | {each['last'][0]:.1f} | {each['last'][1]:.1f} |\n"
          f"| ratio | {each['last'][0] / each['first'][0]:.2f} | {each['last'][1] / each['first'][1]:.2f} |\n")  # fmt: skip
    wall, cpu = (clock.last_epoch[i] - clock.first_epoch[i] for i in (0, 1))
    print(
        f"{clock.epochs} member-epochs: {wall / clock.epochs * 1e3:.2f} ms each ({clock.epochs / wall:,.0f} a second), "
        f"{cpu / clock.epochs * 1e3:.2f} ms of it the driver's processor"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(
        f"From the first trial to the last: {ends[-1][0] - ends[1][0]:.0f} s; then {closing:.1f} s until the rows are stored. "
        f"Peak memory of the driver: {peak:.0f} MiB, {ends[1][2] / 2**20:.0f} MiB at the first trial"
    )


if __name__ == "__main__":
    main()
