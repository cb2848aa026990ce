"""Optuna's journal file with one writer, which writes each decision with one append and one flush for all its records.

Optuna's own backend takes a lock and calls fsync for every record, eleven times for one trial of this project, and a crash between two
records leaves half a decision. The driver is the only writer (``SweepFolder`` holds a lock on the whole sweep), so records can wait in
memory until :meth:`SingleWriterJournal.commit`. Readers (optuna-dashboard, ``sweep status``) use Optuna's own backend on the same file.

A crash in the middle of an append can leave only some of its records. The first record of an append says how many belong together (under a
key that Optuna does not read), and the next process truncates an incomplete append: otherwise it could find that a trial has reported an
epoch without what the pruner recorded for it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from sweeper.errors import StoreError
from sweeper.store.append_log import AppendLog
from sweeper.studies.optuna_internals import is_journal_record

RECORDS = "records"
"""Key of the first record of an append: how many there are. Journals of earlier versions have none; each record is an append there."""


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
            yield from self._whole_appends()
        while self._unread:
            yield self._unread.popleft()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Take records in; they reach the file with the next :meth:`commit`."""
        self._uncommitted += map(_line, logs)
        self._unread.extend(json.loads(line) for line in self._uncommitted[len(self._uncommitted) - len(logs) :])

    def commit(self) -> None:
        """Write what was appended; visible to readers, safe from a crash and from a power cut when it returns."""
        lines, self._uncommitted = self._uncommitted, []
        if len(lines) > 1:
            lines[0] = _line({**json.loads(lines[0]), RECORDS: len(lines)})
        self._log.append(b"".join(lines))
        self._log.commit()

    def close(self) -> None:
        """Close the file without what was not committed."""
        self._log.close()

    def _whole_appends(self) -> Iterator[dict[str, Any]]:
        """The records of the file; an append that a crash tore is cut off."""
        append: list[dict[str, Any]] = []
        n_left = n_bytes = n_bytes_whole = 0
        for number, line in enumerate(self._log.lines(), start=1):
            record = self._record(number, line)
            if n_left and RECORDS in record:
                raise self._damaged(number)
            n_left = n_left or record.pop(RECORDS, 1)
            append.append(record)
            n_left -= 1
            n_bytes += len(line) + 1
            if not n_left:
                yield from append
                append, n_bytes_whole = [], n_bytes
        if append:
            self._log.keep(n_bytes_whole)

    def _record(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            record = json.loads(line)
            of_optuna = is_journal_record(record)
            n_records = record.get(RECORDS, 1)
            if of_optuna and isinstance(n_records, int) and n_records > 0:
                return dict(record)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass
        raise self._damaged(number)

    def _damaged(self, number: int) -> StoreError:
        return StoreError(f"{self._log.path}: line {number} is no record of Optuna's journal: the file is damaged; restore it from a copy")


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
