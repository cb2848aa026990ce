"""Reads the studies in a journal without a lock and without writing: another process may be appending to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.errors import StoreError
from sweeper.records import TrialState, Value
from sweeper.text import nearest, shown


class ReadOnlyJournal(JournalFileBackend):
    """A journal that is only read: one process owns its writing."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:  # noqa: ARG002
        """Refuse.

        Raises:
            StoreError: always.
        """
        raise StoreError("the studies of a sweep are read-only here: the sweep alone writes them")


def read_only_storage(path: Path) -> JournalStorage:
    """Optuna's storage on a journal that is there.

    Raises:
        StoreError: if it cannot be read, or is no journal.
    """
    try:
        return JournalStorage(ReadOnlyJournal(str(path)))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, IndexError, AssertionError, optuna.exceptions.OptunaError) as error:
        raise StoreError(f"{path}: not a journal that Optuna can read: {type(error).__name__}: {error}") from error


def open_study(path: Path, name: str) -> optuna.Study:
    """A study of a journal, to be read: ``trials_dataframe()``, plots, importances; whatever would change it raises.

    Raises:
        StoreError: if the journal cannot be read, or has no such study.
    """
    storage = read_only_storage(path)
    names = optuna.get_all_study_names(storage)
    if name not in names:
        raise StoreError(f"{path}: no study {shown(name)}; {nearest(name, names) if names else 'it holds none yet'}")
    return optuna.load_study(study_name=name, storage=storage)


@dataclass(frozen=True, slots=True)
class JournalTrial:
    """A trial as its study has it. ``state`` is ``None`` while it waits or runs; ``running`` tells which.

    ``parameters``: those that were drawn; ``epochs``: how many were reported; ``started`` and ``ended`` in local time.
    """

    number: int
    state: TrialState | None
    running: bool
    value: float | None
    epochs: int
    parameters: Mapping[str, Value]
    error: str | None
    started: datetime | None
    ended: datetime | None


def read_journal(path: Path) -> dict[str, tuple[JournalTrial, ...]]:
    """The trials of every study by its name (see :func:`sweeper.records.study_name`); none where there is no journal yet.

    Raises:
        StoreError: if the file cannot be read, or is no journal.
    """
    if not path.exists():  # Optuna would create it
        return {}
    storage = read_only_storage(path)
    studies = [optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)]
    return {study.study_name: tuple(map(_journal_trial, study.get_trials(deepcopy=False))) for study in studies}


def _journal_trial(trial: FrozenTrial) -> JournalTrial:
    state = {
        OptunaState.COMPLETE: TrialState.COMPLETE,
        OptunaState.PRUNED: TrialState.DIVERGED if "diverged" in trial.user_attrs else TrialState.PRUNED,
        OptunaState.FAIL: TrialState.FAILED,
    }.get(trial.state)
    return JournalTrial(
        number=trial.number,
        state=state,
        running=trial.state is OptunaState.RUNNING,
        value=trial.value if trial.state is OptunaState.COMPLETE else None,
        epochs=len(trial.intermediate_values),
        parameters=dict(trial.params),
        error=trial.user_attrs.get("error"),
        started=trial.datetime_start,
        ended=trial.datetime_complete,
    )
