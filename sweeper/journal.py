"""Optuna's journal file with one writer, which writes a decision as a whole: one append and one flush to the disk for all its records.

Optuna's own backend takes a lock and calls fsync for every record, eleven times for one trial of this project, and a crash between two
records leaves half a decision. The driver is the only writer (``SweepFolder`` holds a lock on the whole sweep), so records can wait in
memory until :meth:`SingleWriterJournal.commit`. Readers (optuna-dashboard, ``sweep status``) use Optuna's own backend on the same file.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState

from sweeper.append_log import AppendLog
from sweeper.errors import StoreError


class SingleWriterJournal(BaseJournalBackend):
    """A journal that this process alone appends to, for one ``JournalStorage``.

    Raises:
        StoreError: if the file cannot be read or written, or holds a line that is no record.
    """

    def __init__(self, path: Path) -> None:
        self._log = AppendLog(path, "the journal of the studies")
        self._replayed = False
        self._uncommitted: list[bytes] = []
        self._unread: deque[dict[str, Any]] = deque()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # noqa: ARG002
        """Records that the storage has not seen: at first those of the file, then those that it appended itself."""
        if not self._replayed:
            self._replayed = True
            for number, line in enumerate(self._log.lines(), start=1):
                yield self._record(number, line)
        while self._unread:
            yield self._unread.popleft()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Take records in; they reach the file with the next :meth:`commit`."""
        self._uncommitted += [json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs]
        self._unread.extend(json.loads(line) for line in self._uncommitted[len(self._uncommitted) - len(logs) :])

    def commit(self) -> None:
        """Write what was appended; visible to readers, safe from a crash and from a power cut when it returns."""
        lines, self._uncommitted = b"".join(self._uncommitted), []
        self._log.append(lines)
        self._log.commit()

    def close(self) -> None:
        """Close the file without what was not committed."""
        self._log.close()

    def _record(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            record = json.loads(line)
            if isinstance(record["op_code"], int) and isinstance(record["worker_id"], str):
                return dict(record)
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        raise StoreError(f"{self._log.path}: line {number} is no record of Optuna's journal: the file is damaged; restore it from a copy")


class DriverStorage(JournalStorage):
    """Optuna's storage on a journal, for a process that asks for a new trial again and again.

    Each ask looks for a trial that waits, in Optuna among all trials of the study. Here a trial that has begun is looked at once.
    """

    def __init__(self, journal: SingleWriterJournal) -> None:
        super().__init__(journal)
        self._begun: dict[int, int] = {}

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        if states == (TrialState.WAITING,) and not self._any_waits(study_id):
            return []
        return super().get_all_trials(study_id, deepcopy, states)

    def _any_waits(self, study_id: int) -> bool:
        """Whether a trial waits; counts those before the first one that does, which have begun and never wait again."""
        number = self._begun.get(study_id, 0)
        while True:
            try:
                trial = self.get_trial(self.get_trial_id_from_study_id_trial_number(study_id, number))
            except KeyError:
                waits = False
                break
            if trial.state is TrialState.WAITING:
                waits = True
                break
            number += 1
        self._begun[study_id] = number
        return waits
