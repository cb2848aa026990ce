"""TensorBoard, MLflow and W&B through Ray's own logger callbacks, one run per trial.

A pack is one trial to Ray and several to us, so the callbacks are not given to Tune: each member is shown to them as a trial of its own,
from the events of the sweep. They run in a thread, since a tracking server may be slow and the driver must not wait for it.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sweeper.driver.events import EpochTrained, Event, SweepEnded, SweepStarted, TrialEnded
from sweeper.errors import SweeperError
from sweeper.records import EpochMetrics, TrialConfig, TrialOutcome, TrialState, as_stored
from sweeper.space import Space
from sweeper.store import SweepFolder, file_name
from sweeper.text import first_line, nearest, shown

LOGGERS: Mapping[str, str] = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""What ``--log-to`` takes, and the package that it needs."""

LAST_SECONDS = 300.0
"""How long the end of a sweep waits for what is still to be logged."""


class LoggerError(SweeperError):
    """A logger that is unknown, not installed, or cannot be used with these results."""


class MemberTrial:
    """What Ray's logger callbacks ask of a Tune trial, for one member of a pack."""

    def __init__(self, folder: SweepFolder, logger: str, config: TrialConfig) -> None:
        self.trial_id = file_name(f"{folder.id}-{config.trial_id}")
        told = {"arm": config.arm, "search": config.search, "phase": str(config.phase), "seed": config.seed}
        self.config = {**told, **config.parameters}
        self.evaluated_params = self.config
        self.experiment_dir_name = folder.id
        self.local_path = str((folder.local_folder / logger / file_name(config.trial_id)).absolute())
        self._name = config.trial_id

    def __str__(self) -> str:
        return self._name

    def init_local_path(self) -> None:
        """Make the folder that a callback writes to."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)


class _Logger:
    """One of Ray's callbacks, the members that it knows, and whether it still works."""

    def __init__(self, name: str, callback: Any, folder: SweepFolder) -> None:
        self.name = name
        self._callback = callback
        self._folder = folder
        self._trials: dict[str, MemberTrial] = {}
        self._logged: dict[str, int] = {}
        callback.setup()

    def __call__(self, event: Event) -> None:
        match event:
            case EpochTrained(config, metrics):
                self._epoch(config, metrics)
            case TrialEnded(outcome):
                self._outcome(outcome)
            case SweepEnded():
                self._callback.on_experiment_end(trials=[])

    def _epoch(self, config: TrialConfig, metrics: EpochMetrics) -> None:
        if metrics.epoch <= self._logged.get(config.trial_id, 0):  # a trial that is trained again repeats its epochs
            return
        self._logged[config.trial_id] = metrics.epoch
        figures = {name: value for name, value in as_stored(metrics.figures).items() if value is not None}
        del figures["epoch"]
        self._callback.log_trial_result(metrics.epoch, self._trial(config), {"training_iteration": metrics.epoch, **figures})

    def _outcome(self, outcome: TrialOutcome) -> None:
        trial, last = self._trial(outcome.config), max(1, len(outcome.epochs))
        if outcome.test is not None:
            figures = {name: value for name, value in as_stored(outcome.test.figures).items() if value is not None}
            self._callback.log_trial_result(last, trial, {"training_iteration": last, **figures})
        self._callback.log_trial_end(trial, failed=outcome.state is TrialState.FAILED)
        del self._trials[outcome.config.trial_id]

    def _trial(self, config: TrialConfig) -> MemberTrial:
        if config.trial_id not in self._trials:
            trial = self._trials[config.trial_id] = MemberTrial(self._folder, self.name, config)
            if self.name == "wandb":  # its processes start there
                trial.init_local_path()
            self._callback.log_trial_start(trial)
        return self._trials[config.trial_id]


class Loggers:
    """An observer that hands events to Ray's logger callbacks; one that fails is given up, and ``say`` is told why.

    ``quiet``: do not say at the start where each writes.

    Raises:
        LoggerError: for an unknown name, or a package that is not installed.
    """

    def __init__(self, names: Sequence[str], say: Callable[[str], None], *, quiet: bool = False) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._say = say
        self._quiet = quiet
        check_loggers(self._names)
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Queue the event for the thread that logs; at the end of the sweep, wait until everything is logged."""
        if isinstance(event, SweepStarted):
            self._start(event.folder, event.space)
        if self._thread is None:
            return
        self._events.put(event)
        if isinstance(event, SweepEnded):
            self._thread.join(LAST_SECONDS)
            if self._thread.is_alive():
                self._say(f"logging to {', '.join(self._names)} is not finished after {LAST_SECONDS:.0f} s, and is given up")

    def _start(self, folder: SweepFolder, space: Space) -> None:
        """Say where the loggers write, and open them in a thread of their own; none without names."""
        for name in () if self._quiet else self._names:
            self._say(f"logging to {name}: {destination(name, folder, space)}")
        if self._names:
            self._thread = threading.Thread(target=self._work, args=(folder, space), name="sweeper-loggers", daemon=True)
            self._thread.start()

    def _work(self, folder: SweepFolder, space: Space) -> None:
        loggers: list[_Logger] = []

        def open_logger(name: str) -> None:
            loggers.append(_Logger(name, _callback(name, folder, space), folder))

        for name in self._names:
            self._try(name, open_logger, name)
        event: Event | None = None
        while not isinstance(event, SweepEnded):
            event = self._events.get()
            loggers = [logger for logger in loggers if self._try(logger.name, logger, event)]

    def _try(self, name: str, what: Callable[..., None], *arguments: Any) -> bool:
        try:
            what(*arguments)
        except Exception as error:  # foreign code, and a sweep must not end for a log
            first = next(iter(str(error).strip().splitlines()), "")
            self._say(f"logging to {name} has stopped: {type(error).__name__}: {first}; the sweep goes on")
            return False
        return True


def check_loggers(names: Sequence[str], results: str = "") -> None:
    """Whether each logger is known, installed and logged in, and can log a sweep below ``results``.

    Raises:
        LoggerError: for the first that is not.
    """
    if names and "://" in results.removeprefix("file://"):
        raise LoggerError(f"--log-to {names[0]}: results on object storage cannot be logged; give a local --results")
    for name in names:
        if name not in LOGGERS:
            raise LoggerError(f"--log-to: unknown logger {shown(name)}; {nearest(name, LOGGERS)}")
        if find_spec(LOGGERS[name]) is None:
            raise LoggerError(f"--log-to {name}: the package {LOGGERS[name]} is not installed: pip install {LOGGERS[name]}")
        if name == "wandb" and not _logged_in_to_wandb():
            raise LoggerError("--log-to wandb: not logged in: run `wandb login`, or set WANDB_API_KEY, or set WANDB_MODE=offline")


def _logged_in_to_wandb() -> bool:
    """Whether Ray's callback will find a key, or need none."""
    if os.environ.get("WANDB_MODE") in {"offline", "disabled"} or {"WANDB_API_KEY", "WANDB_SETUP_API_KEY_HOOK"} & os.environ.keys():
        return True
    try:
        wandb: Any = import_module("wandb")
        wandb.ensure_configured()
        return bool(wandb.api.api_key)
    except Exception as error:  # foreign code, which may lack what it needs
        raise LoggerError(f"--log-to wandb: the package wandb cannot be used: {first_line(error)}") from error


def destination(name: str, folder: SweepFolder, space: Space) -> str:
    """Where a logger writes, in words: a folder, a server, a project."""
    if name == "tensorboard":
        return str(folder.local_folder / name)
    if name == "mlflow":
        return f"experiment {space.name} at {re.sub('//[^/@]*@', '//', _mlflow_uri(folder))}"  # without a password
    runs = f"project {_wandb_project(space)}, group {folder.id}"
    mode = os.environ.get("WANDB_MODE", "online")
    if mode != "online":
        return f"{runs}, {mode}" + (f", in {folder.local_folder / name} until `wandb sync`" if mode == "offline" else "")
    place = [os.environ.get("WANDB_BASE_URL", "https://wandb.ai").rstrip("/"), os.environ.get("WANDB_ENTITY"), _wandb_project(space)]
    return f"{runs}, at {'/'.join(filter(None, place if place[1] else place[:1]))}"


def _mlflow_uri(folder: SweepFolder) -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.local_folder.absolute().parent / 'mlflow.db'}"


def _wandb_project(space: Space) -> str:
    return os.environ.get("WANDB_PROJECT") or space.name


def _callback(name: str, folder: SweepFolder, space: Space) -> Any:
    """Ray's callback, set up for one sweep."""
    if not folder.folder.local:
        raise LoggerError("results on object storage cannot be logged; give a local --results")
    if name == "tensorboard":
        from ray.tune.logger import TBXLoggerCallback

        return TBXLoggerCallback()
    if name == "mlflow":
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        return MLflowLoggerCallback(tracking_uri=_mlflow_uri(folder), experiment_name=space.name, tags={"sweep": folder.id})
    from ray.air.integrations.wandb import WandbLoggerCallback

    return WandbLoggerCallback(project=_wandb_project(space), group=folder.id)
