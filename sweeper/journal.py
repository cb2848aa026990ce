"""Optuna's journal file with one writer: no lock per record, one flush to the disk per decision, and a torn last line mended.

Optuna's own backend takes a lock and calls fsync for every record, eleven times for one trial of this project. The driver is the only
writer (``SweepFolder`` holds a lock on the whole sweep), so records need only the order in which they are written; a crash of the process
loses nothing that was written, and :meth:`SingleWriterJournal.commit` makes it safe against a power cut too. Readers (optuna-dashboard,
``sweep status``) use Optuna's own backend on the same file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from sweeper.errors import StoreError


class SingleWriterJournal(JournalFileBackend):
    """A journal that this process alone appends to.

    Raises:
        StoreError: if the file cannot be read or written, with the system's reason.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            mend_torn_line(path)
            super().__init__(str(path))
            self._file = path.open("ab")
        except OSError as error:
            raise StoreError(f"{path}: cannot open the journal of the studies: {error.strerror}") from error
        self._dirty = False

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append records, one line each; visible to readers and safe from a crash of this process when it returns."""
        try:
            self._file.write(b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs))
            self._file.flush()
        except OSError as error:
            raise StoreError(f"{self._path}: cannot write the journal of the studies: {error.strerror}") from error
        self._dirty = True

    def commit(self) -> None:
        """Flush what was appended to the disk, safe from a power cut when it returns."""
        if self._dirty:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                raise StoreError(f"{self._path}: cannot write the journal of the studies: {error.strerror}") from error
            self._dirty = False


def mend_torn_line(path: Path) -> int:
    """Bytes cut off the end of a file of lines whose last line was torn by a crash; 0 where it is whole or absent."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)
            os.fsync(file.fileno())
        return size - end
