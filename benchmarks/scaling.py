"""Measures how well the driver keeps many devices busy: a real sweep on simulated GPUs, whose epochs are a sleep.

    python benchmarks/scaling.py                                  64 GPUs, 2,000 trials, one-second epochs: about 5 minutes on 2 cores
    python benchmarks/scaling.py --gpus 16 --trials 300           a shorter look

Everything but the training is what `sweep run` runs: studies, pruning, journal, rows, Ray Tune, one actor process per GPU. Each process is
a real one (some 130 MB), so the machine is busier than the head of a cluster with as many GPUs, which runs the driver alone.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import sweeper.cluster.session  # noqa: F401  (sets what Ray reads when it is imported)

import ray  # isort: skip
from ray import tune  # isort: skip

from sweeper.cluster.capacity import Capacity
from sweeper.driver.events import Event, TrialJoined
from sweeper.driver.messages import REPORT_KEY, PackReport, members_from_json
from sweeper.records import EpochMetrics

SPACE = """
name: scaling
dataset: {{name: synthetic, validation: 100, train_images: 1000, test_images: 100}}
training: {{epochs: {epochs}}}
parameters:
  loss: {{choices: [l1, cross_entropy, mae, mse]}}
  learning_rate: {{low: 1e-4, high: 1.0, log: true}}
  momentum: {{low: 0.5, high: 0.99}}
compare: {{arms: loss, searches: 1, trials_per_arm: {trials_per_arm}, seeds: 0}}
search:
  sampler: {{name: {sampler}}}
  pruner: {{name: successive_halving, min_resource: 3, reduction_factor: 3}}
resources: {{gpus_per_trial: 1, cpus_per_trial: 1}}
"""
N_ARMS = 4


@dataclass(frozen=True)
class Stub:
    """What a simulated device needs to know: the length of an epoch, where to write when it was busy, and how many devices there are."""

    epoch_seconds: float
    log: str
    devices: int


class StubTrainable(tune.Trainable):
    """Speaks the messages of sweeper's own Trainable; an epoch is a sleep, and notes when it began and ended. Imports no torch."""

    def setup(self, config: dict[str, Any], context: Stub, dataset: None) -> None:  # noqa: ARG002
        self._stub = context
        self._log = (Path(context.log) / f"{os.getpid()}.csv").open("a", buffering=1)
        self._all_up = False
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._members = {member.trial_id: member for member in members_from_json(new_config["members"])}
        self._epoch = 0
        return True

    def change_members(self, remove: list[str], add: str) -> None:
        for trial_id in remove:
            self._members.pop(trial_id, None)
        self._members |= {member.trial_id: member for member in members_from_json(add)}

    def step(self) -> dict[str, Any]:
        while not self._all_up:  # on the cores of one machine the processes start one by one, on a cluster each starts on its own
            self._all_up = len(list(Path(self._stub.log).iterdir())) >= self._stub.devices
            time.sleep(0 if self._all_up else 1)
        began = time.time()
        time.sleep(self._stub.epoch_seconds)
        self._epoch += 1
        self._log.write(f"{began},{time.time()}\n")
        report = PackReport(device="simulated", epochs={trial_id: [self._metrics(trial_id)] for trial_id in self._members})
        return {REPORT_KEY: report.to_json()}

    def save_checkpoint(self, checkpoint_dir: str) -> None: ...

    def load_checkpoint(self, checkpoint: Any) -> None: ...

    def cleanup(self) -> None:
        self._log.close()

    def _metrics(self, trial_id: str) -> EpochMetrics:
        """A curve that a pruner can work on: higher the nearer the learning rate is to 0.1."""
        distance = abs(1 + math.log10(self._members[trial_id].parameters["learning_rate"]))
        accuracy = max(0.0, 0.9 - 0.2 * distance) * (1 - 0.5**self._epoch)
        return EpochMetrics(self._epoch, 1 - accuracy, accuracy, 1 - accuracy, accuracy, 1.0, 0.5, 0.1, 0.1, self._stub.epoch_seconds)


def measure(*, gpus: int, trials: int, epochs: int, epoch_seconds: float, sampler: str, capacity: Capacity | None = None) -> dict[str, Any]:
    """Idle share, event rate and costs of one simulated sweep; ``capacity``: by default, one GPU for each pack in the session as it is."""
    from sweeper.driver.coordinator import Coordinator
    from sweeper.driver.recorder import Recorder
    from sweeper.records import TrialState
    from sweeper.space import parse_space
    from sweeper.store import SweepFolder
    from sweeper.studies.studies import Studies
    from sweeper.tune.pack_size import PackSize
    from sweeper.tune.run import PackPlan, run_packs

    text = SPACE.format(epochs=epochs, trials_per_arm=trials // N_ARMS, sampler=sampler)
    with tempfile.TemporaryDirectory(prefix="sweeper-scaling-") as scratch:
        busy = Path(scratch) / "busy"
        busy.mkdir()
        space = parse_space(text, "scaling.yaml")
        folder = SweepFolder(f"{scratch}/sweep")
        folder.create()
        recorder = Recorder(folder, space.parameter_types(), space.search.metric)
        studies = Studies(space, folder.journal)
        observer = Counts(trials)
        coordinator = Coordinator(space, studies, recorder, folder, observer)
        plan = PackPlan(PackSize(1), capacity or Capacity(1, 1, tell=print))
        load = Load()
        with load:
            run_packs(coordinator, Stub(epoch_seconds, str(busy), gpus), None, plan, f"{scratch}/tune", StubTrainable)
        recorder.flush()
        states = folder.read_trials().frame["state"]
        processes = len(list(busy.iterdir()))
        spans = [tuple(map(float, line.split(","))) for log in busy.iterdir() for line in log.read_text().splitlines()]
    figures = idle(spans, gpus, observer.all_handed_out)
    return {
        "gpus": gpus,
        "trials": len(states),
        "pruned": int((states == TrialState.PRUNED).sum()),
        "epochs": len(spans),
        "processes": processes,
        **figures,
        "driver_cpu_seconds": load.driver_cpu,
        "driver_cpu_per_event_ms": 1e3 * load.driver_cpu / len(spans),
        "load_average": load.averages,
    }


def idle(spans: list[tuple[float, ...]], gpus: int, all_handed_out: float) -> dict[str, float]:
    """Share of device time without an epoch, from the moment all devices have begun until the last trial is handed out, and in all."""
    first, last = min(began for began, _ in spans), max(ended for _, ended in spans)
    running, begun = 0, last
    for moment, change in sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans]):
        running += change
        if running >= gpus:
            begun = moment
            break
    begun, all_handed_out = min(begun, all_handed_out), min(all_handed_out, last)
    steady = sum(max(0.0, min(ended, all_handed_out) - max(began, begun)) for began, ended in spans)
    events = sum(begun <= ended <= all_handed_out for _, ended in spans)
    seconds = all_handed_out - begun
    return {
        "seconds": last - first,
        "ramp_up_seconds": begun - first,
        "steady_seconds": seconds,
        "steady_idle_share": 1 - steady / (gpus * seconds) if seconds > 0 else float("nan"),
        "steady_events_per_second": events / seconds if seconds > 0 else float("nan"),
        "idle_share_with_ramp_up_and_tail": 1 - sum(ended - began for began, ended in spans) / (gpus * (last - first)),
    }


class Counts:
    """Watches a sweep for the moment at which its last trial is given to a device."""

    def __init__(self, trials: int) -> None:
        self._left = trials
        self.all_handed_out = float("inf")

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrialJoined):
            self._left -= 1
            if self._left == 0:
                self.all_handed_out = time.time()


class Load:
    """The machine's load average every ten seconds, and the driver's own CPU seconds, over a block."""

    def __enter__(self) -> Self:
        self.averages: list[float] = []
        self._done = threading.Event()
        self._began = time.process_time()
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.driver_cpu = time.process_time() - self._began
        self._done.set()

    def _watch(self) -> None:
        while not self._done.wait(10):
            self.averages.append(round(os.getloadavg()[0], 1))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--epoch-seconds", type=float, default=1.0)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--output", default=None, help="also write the figures there, as JSON")
    arguments = parser.parse_args()
    options = {key: value for key, value in vars(arguments).items() if key != "output"}
    os.environ.setdefault("RAY_AUTH_TOKEN", os.urandom(16).hex())
    # no idle processes beside those of the devices; and as these share the driver's cores here, they get as much of them as it does
    os.environ |= {"RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0", "RAY_worker_niceness": "0"}
    ray.init(
        address="local",
        num_cpus=arguments.gpus,
        num_gpus=arguments.gpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    try:
        figures = {
            "options": options,
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "ray": ray.__version__,
            **measure(**options),
        }
    finally:
        ray.shutdown()
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.output:
        Path(arguments.output).write_text(text + "\n")


if __name__ == "__main__":
    main()
