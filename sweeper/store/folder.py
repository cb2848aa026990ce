"""Bytes and names in a folder on a local disk or on object storage, through ``pyarrow.fs``.

Writes are atomic: a file is written under a temporary name, flushed to the disk and renamed (object storage publishes an object only when
its upload is complete).
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import pyarrow as pa
from pyarrow import fs as pafs

from sweeper.errors import StorageAwayError, StoreError
from sweeper.store.append_log import flush_folder
from sweeper.store.outage import Patience, endpoint, no_bucket, storage_error
from sweeper.text import first_line

_Result = TypeVar("_Result")
SECONDS_TO_CONNECT, SECONDS_OF_SILENCE = 5, 10
"""After which one try of a request ends; the library tries three times."""
LONGEST_TRY = 3.0 * SECONDS_OF_SILENCE

_TEMPORARY = re.compile(r"\..*\.\d+\.[0-9a-f]{8}\.tmp", re.DOTALL)
_UNSAFE = re.compile(r"[^A-Za-z0-9._=+-]+")


class Folder:
    """A folder on a local disk or on object storage. Knows bytes and names, nothing of sweeps.

    Raises:
        StoreError: whenever the storage refuses, with the file's name and the system's own reason.
    """

    def __init__(self, uri: str) -> None:
        uri = uri.removeprefix("file://")
        self.local = "://" not in uri
        self.uri = uri.rstrip("/") or "/"
        self.patience: Patience | None = None
        """What waits for unavailable storage; without it, an outage is an error at once."""
        self._filesystem: pafs.FileSystem | None = None
        self._path = ""

    def __getstate__(self) -> dict[str, str]:
        # a worker has a working directory of its own
        return {"uri": str(Path(self.uri).absolute()) if self.local else self.uri}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__init__(state["uri"])  # type: ignore[misc]

    def __truediv__(self, name: str) -> Folder:
        return Folder(f"{self.uri}/{name}")

    def __str__(self) -> str:
        return self.uri

    def exists(self, name: str = "") -> bool:
        return self._do(name, lambda system, path: bool(system.get_file_info(path).type != pafs.FileType.NotFound))

    def names(self, name: str = "", *, directories: bool = False) -> list[str]:
        """Names of the files (or folders) directly below ``name``, sorted; empty where there is no such folder."""
        wanted = pafs.FileType.Directory if directories else pafs.FileType.File
        return sorted(info.base_name for info in self._list(name) if info.type == wanted)

    def times(self, name: str) -> dict[str, float]:
        """When each file directly below ``name`` was written, in seconds, by the clock of the storage and no other."""
        return {info.base_name: info.mtime_ns / 1e9 for info in self._list(name) if info.type == pafs.FileType.File and info.mtime_ns}

    def require_bucket(self) -> None:
        """Raises ``StoreError`` where the bucket that the folder would lie in is missing."""
        if not self.local and self._do(
            "", lambda system, path: system.get_file_info(path.partition("/")[0]).type == pafs.FileType.NotFound
        ):
            raise no_bucket(self.uri)

    def read(self, name: str) -> bytes:
        return self.read_from(name, lambda file: file.read())

    def read_from(self, name: str, read: Callable[[BinaryIO], _Result]) -> _Result:
        """What ``read`` makes of the open file, in which it may move about."""

        def opened(system: pafs.FileSystem, path: str) -> _Result:
            with system.open_input_file(path) as file:
                return read(file)

        return self._do(name, opened)

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Make ``name`` hold ``content``: whole and on the disk when this returns, or unchanged when it raises."""

        def write(system: pafs.FileSystem, path: str) -> None:
            if self.local:
                _write_atomically(Path(path), content)
            else:
                with system.open_output_stream(path) as file:
                    file.write(content)

        self._do(name, write)

    def delete(self, name: str) -> None:
        def delete(system: pafs.FileSystem, path: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                system.delete_file(path)

        self._do(name, delete)

    def rename(self, name: str, new_name: str) -> None:
        """Give a file another name, at once."""
        self._do(name, lambda system, path: system.move(path, f"{path[: len(path) - len(name)]}{new_name}"))

    def delete_temporaries(self, name: str) -> None:
        """Delete what writers that were killed half-way left in the folder ``name``. Nobody else may be writing there."""
        if self.local:
            for found in self.names(name):
                if _TEMPORARY.fullmatch(found):
                    self.delete(_join(name, found))

    def make(self, name: str = "") -> None:
        """Create the folder ``name`` where the storage has folders."""
        if self.local:
            self._do(name, lambda system, path: system.create_dir(path, recursive=True))

    def _list(self, name: str) -> list[pafs.FileInfo]:
        return self._do(name, lambda system, path: system.get_file_info(pafs.FileSelector(path, allow_not_found=True)))

    def _do(self, name: str, action: Callable[[pafs.FileSystem, str], _Result]) -> _Result:
        """What ``action`` makes of the file system and the path of ``name`` in it; with patience, as often as the storage was away."""
        since, n_tries = time.monotonic(), 0
        while True:
            try:
                system, path = self._open()
                result = action(system, _join(path, name))
            except (OSError, ValueError, pa.ArrowException) as error:
                failure = self._explained(error, name)
                if self.patience is None or not isinstance(failure, StorageAwayError):
                    raise failure from error
                since = max(since, time.monotonic() - LONGEST_TRY) if n_tries == 0 else since  # a long upload was no outage
                n_tries += 1
                self.patience.wait(failure, since, n_tries)
            else:
                if self.patience is not None:
                    self.patience.answered(self.uri)
                return result

    def _open(self) -> tuple[pafs.FileSystem, str]:
        if self._filesystem is None and self.local:
            self._filesystem, self._path = pafs.LocalFileSystem(), str(Path(self.uri).absolute())
        elif self._filesystem is None:
            self._filesystem, self._path = _remote(self.uri)
        return self._filesystem, self._path

    def _explained(self, error: Exception, name: str) -> StoreError:
        place, reason = _join(self.uri, name), first_line(error)
        if self._filesystem is None:
            place, reason = self.uri, f"cannot open this storage: {reason}"
        return StoreError(f"{place}: {reason}") if self.local else storage_error(place, reason)


def file_name(name: str) -> str:
    """A file name for any printable name: unsafe characters are replaced, and a hash keeps two different names apart."""
    safe = _UNSAFE.sub("_", name)[:80].strip(".")
    return safe if safe == name else f"{safe or 'x'}-{uuid.uuid5(uuid.NAMESPACE_OID, name).hex[:8]}"


def _remote(uri: str) -> tuple[pafs.FileSystem, str]:
    """The storage behind a URI, and the path in it."""
    own = endpoint()
    if not uri.startswith("s3://") or not own:
        filesystem, path = pafs.FileSystem.from_uri(uri)
        return filesystem, path
    scheme, _, address = own.rpartition("://")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    filesystem = pafs.S3FileSystem(
        endpoint_override=address.rstrip("/"),
        scheme=scheme or "https",
        region=region,
        connect_timeout=SECONDS_TO_CONNECT,
        request_timeout=SECONDS_OF_SILENCE,
    )
    return filesystem, uri.removeprefix("s3://")


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path and name else path or name


def _write_atomically(path: Path, content: bytes | memoryview) -> None:
    aside = path.with_name(f".{path.name[:100]}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
    path.parent.mkdir(exist_ok=True)  # its own parent must exist: a deleted folder must not come back in part
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    flush_folder(path.parent)
