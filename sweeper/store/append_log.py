"""A file of lines with one writer: what was appended is kept, and a line that a crash left incomplete is removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sweeper.errors import StoreError

_BLOCK_BYTES = 65536


class AppendLog:
    """Lines on a local disk. ``what`` names the file in messages: "the row log".

    Raises:
        StoreError: if the file cannot be read or written, with its name and the system's reason.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self._what = what
        try:
            mend_torn_line(path)
            new = not path.exists()
            self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self.size = os.fstat(self._descriptor).st_size
            if new:
                flush_folder(path.parent)
        except OSError as error:
            raise StoreError(f"{path}: cannot open {what}: {error.strerror}") from error

    def lines(self) -> Iterator[bytes]:
        """The lines that were in the file when this was called, without their ends."""
        try:
            with self.path.open("rb") as file:
                for line in file:
                    yield line.rstrip(b"\n")
        except OSError as error:
            raise StoreError(f"{self.path}: cannot read {self._what}: {error.strerror}") from error

    def append(self, lines: bytes) -> None:
        """Append whole lines, all or none of them; safe from a crash of this process when it returns."""
        try:
            written = 0
            while written < len(lines):
                written += os.write(self._descriptor, lines[written:])
        except OSError as error:
            try:  # no later line may follow half an append; if this fails too, the next process removes the torn line
                self.keep(self.size)
            except StoreError:
                self.close()
            raise StoreError(f"{self.path}: cannot write {self._what}: {error.strerror}") from error
        self.size += len(lines)

    def commit(self) -> None:
        """Flush what was appended to the disk; safe from a power cut when it returns.

        Raises:
            StoreError: also if the file was deleted meanwhile, since what is written to it is lost.
        """
        try:
            if os.fstat(self._descriptor).st_nlink == 0:
                raise StoreError(f"{self.path}: {self._what} was deleted while the sweep was running")
            os.fsync(self._descriptor)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot write {self._what}: {error.strerror}") from error

    def keep(self, n_bytes: int) -> None:
        """Cut off everything behind the first bytes.

        Raises:
            StoreError: if the file cannot be written.
        """
        try:
            os.ftruncate(self._descriptor, n_bytes)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot write {self._what}: {error.strerror}") from error
        self.size = n_bytes

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def mend_torn_line(path: Path) -> int:
    """Bytes cut off the end of a file of lines whose last line was torn by a crash; 0 where it is whole or absent."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end > 0:
            start = max(0, end - _BLOCK_BYTES)
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


def flush_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk, so that a new or renamed file outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
