"""``sweeper.run`` and ``sweeper.open``: a sweep from Python, as small as the command line."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

import optuna
import pandas as pd
from torch import nn

from sweeper.catalogue import SHORTHANDS
from sweeper.cluster.session import is_connected
from sweeper.driver.events import Observer
from sweeper.errors import SweeperError
from sweeper.export import load as load_model
from sweeper.preflight import kept_weights, preflight
from sweeper.process.interruption import Interrupted
from sweeper.process.state import preserve_process_state
from sweeper.records import Phase, TrialState, study_name
from sweeper.report import report
from sweeper.report.exports import comparison_frame
from sweeper.report.html import as_snippet
from sweeper.report.summarize import read_and_summarize
from sweeper.report.summary import Summary, Verdict
from sweeper.reproduce import Reproduction, reproduce_trial
from sweeper.space import Space, check_warnings, dump_space, load_space, parse_space, parse_stored_space
from sweeper.space.from_python import parse_mapping, python_override
from sweeper.store import SweepFolder
from sweeper.studies.journal_reader import open_study
from sweeper.sweep import resume_sweep, start_sweep
from sweeper.text import nearest, shown
from sweeper.tune.loggers import Loggers
from sweeper.view.find import find_sweep
from sweeper.view.status import Status, sweep_status
from sweeper.view.trial import TrialView, view_trial
from sweeper.view.watch import watching


class ArgumentError(SweeperError):
    """A keyword that :func:`run` does not know."""


class Sweep:
    """A sweep on disk, running or ended; what it returns is read from the files each time."""

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder

    def __repr__(self) -> str:
        return f"sweeper.open({str(self._folder)!r})"

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self._folder.id

    @property
    def path(self) -> str:
        """Its folder, or its URI on object storage."""
        return str(self._folder)

    @property
    def space(self) -> Space:
        """What was run, with every default written out."""
        return parse_stored_space(self._folder.read_space(), f"{self._folder}/sweep.yaml")

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Commit, versions, hardware, data and command line."""
        return self._folder.read_provenance()

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial that has ended; its columns are :data:`sweeper.records.TRIAL_COLUMNS` and ``param_<name>``."""
        return self._folder.read_trials().frame

    @property
    def epochs(self) -> pd.DataFrame:
        """One row per trial and epoch: :data:`sweeper.records.EPOCH_COLUMNS`."""
        return self._folder.read_epochs().frame

    @property
    def n_failed(self) -> int:
        """Trials that failed for good."""
        return int((self.trials["state"] == TrialState.FAILED).sum())

    def predictions(self, arm: str | None = None) -> pd.DataFrame:
        """Logits per image of the confirm phase, of one arm or of all: :data:`sweeper.records.PREDICTION_COLUMNS` and ``logit_<class>``."""
        return self._folder.read_predictions(arm).frame

    def status(self) -> Status:
        """How far it is, whoever runs it."""
        return sweep_status(self._folder)

    def report(self, format: str = "table", *, by: str = "arm", metric: str | None = None) -> str:  # noqa: A002
        """The comparison, as ``sweep report`` prints it."""
        return report(self.path, format=format, by=by, metric=metric)

    @property
    def verdict(self) -> Verdict:
        """What the report says was found: ``str`` of it is the sentence; with its ``kind``, the ``best`` arm and its ``rivals``."""
        return self._summary().verdict

    @property
    def comparison(self) -> pd.DataFrame:
        """The report's table of the arms, from best to worst, unrounded: :func:`sweeper.report.exports.comparison_frame`."""
        return comparison_frame(self._summary())

    def _repr_html_(self) -> str | None:
        """The verdict and the comparison, for notebooks; ``None``, and they show the name alone, where the files cannot be read."""
        try:
            return as_snippet(self._summary())
        except SweeperError:
            return None

    def _summary(self) -> Summary:
        ((_, summary),) = read_and_summarize(self.path, "arm", None, None)
        return summary

    def trial(self, trial: str) -> TrialView:
        """Everything about one trial.

        Raises:
            LookError: if there is none of this name.
        """
        return view_trial(self._folder, trial)

    def model(self, arm: str | None = None, *, trial: str | None = None, custom_code: bool | None = None) -> nn.Module:
        """The network that ``sweep export`` writes, in evaluation mode: of the confirm trial that is best on validation, or of ``trial``.

        It takes normalised images; see :func:`sweeper.export.load`.

        Raises:
            SweeperError: if its weights were not kept (``training.keep: weights``), or there is no such arm or trial.
        """
        return load_model(self._folder, arm, trial, custom_code=custom_code)

    def reproduce(self, trial: str, *, custom_code: bool | None = None, keep_weights: bool = False) -> Reproduction:
        """Train one trial again and compare the curves; see :func:`sweeper.reproduce.reproduce_trial`."""
        with preserve_process_state():
            return reproduce_trial(self._folder, trial, custom_code=custom_code, keep_weights=keep_weights)

    def study(self, arm: str, phase: str = "search", search: int = 1) -> optuna.Study:
        """The Optuna study of one search of an arm, or of the confirm phase of its best, read-only.

        Raises:
            StoreError: if there is none, or not on this machine.
        """
        return open_study(self._folder.journal, study_name(arm, search, Phase(phase)))


def run(
    space: str | PathLike[str] | Mapping[str, Any] | Space,
    *,
    results: str = "results",
    address: str | None = None,
    settings: Mapping[str, Any] | None = None,
    log_to: Sequence[str] = (),
    progress: bool = True,
    **overrides: Any,
) -> Sweep:
    """Tune every arm of a space, prune and confirm; returns the sweep when it has ended.

    Args:
        space: A space file, its content as a mapping, or a space. In a mapping a loss or model of your own may be the class itself.
        results: Folder or URI below which the sweep's folder is made.
        address: A running Ray cluster to join; default: the Ray that this process is connected to, else one of its own on this machine.
        settings: Any fields of the space, as ``{"training.momentum": 0.8}``.
        log_to: ``tensorboard``, ``mlflow``, ``wandb``.
        progress: Whether to say on stderr how far it is.
        **overrides: Fields that are often changed: ``searches``, ``trials_per_arm``, ``epochs``, ``seeds``, ``dataset``,
            ``data_dir``, ``pack``, ``backend``, ``cpus_per_trial``, ``gpus_per_trial``, ``seed``, ``name``.

    Raises:
        SweeperError: whatever keeps it from running; the message says what to do.
        KeyboardInterrupt: everything is saved; :func:`resume` goes on.
    """
    for key in overrides:
        if key not in SHORTHANDS:
            raise ArgumentError(f"run() has no keyword {shown(key)}; {nearest(key, SHORTHANDS)} (any other field: settings={{...}})")
    changes = [python_override(SHORTHANDS[key], value) for key, value in overrides.items()]
    changes += [python_override(key, value) for key, value in (settings or {}).items()]
    if isinstance(space, Space):
        checked = parse_space(dump_space(space), "space", changes)
    elif isinstance(space, Mapping):
        checked = parse_mapping(space, changes)
    else:
        checked = load_space(str(space), changes)
    if progress:
        for warning in check_warnings(checked):
            _say(f"warning: {warning}")
    preflight(checked, results=results, address=address or ("auto" if is_connected() else None), log_to=log_to)
    if progress and (kept := kept_weights(checked)):
        _say(kept)
    command = ["python", *(sys.argv if sys.argv[0] else ["-c"])]
    with _observed(progress) as watcher:
        result = start_sweep(
            checked,
            results=results,
            address=address,
            command=command,
            observers=[watcher, Loggers(log_to, _say, quiet=not progress)],
            space_file=None if isinstance(space, Space | Mapping) else str(space),
        )
    return Sweep(result.folder)


def resume(
    sweep: str | PathLike[str] | None = None,
    *,
    results: str = "results",
    address: str | None = None,
    progress: bool = True,
    custom_code: bool | None = None,
) -> Sweep:
    """Continue an interrupted sweep, named as for :func:`open`; returns it when it has ended.

    ``custom_code``: whether its own losses and model may be imported; by default if it was begun here, see
    :func:`sweeper.store.trust.space_to_run`.

    Raises:
        SweeperError, KeyboardInterrupt: as :func:`run`.
    """
    folder = open(sweep, results=results)._folder
    with _observed(progress) as watcher:
        result = resume_sweep(folder, address=address, observers=[watcher], custom_code=custom_code)
    return Sweep(result.folder)


def open(sweep: str | PathLike[str] | None = None, *, results: str = "results") -> Sweep:  # noqa: A001
    """The sweep in a folder, the one below ``results`` whose id is ``sweep`` or begins with it, or without a name the newest there.

    Raises:
        SweeperError: if there is none, with the nearest one.
    """
    return Sweep(find_sweep(None if sweep is None else str(sweep), results))


@contextlib.contextmanager
def _observed(progress: bool) -> Iterator[Observer]:
    """An observer for a block that leaves this process as it was, and from which an interruption comes as ``KeyboardInterrupt``."""
    try:
        with preserve_process_state(), watching(quiet=not progress) as watcher:
            yield watcher
    except Interrupted:
        raise KeyboardInterrupt from None


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
