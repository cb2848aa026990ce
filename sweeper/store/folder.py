"""Bytes and names in a folder on a local disk or on object storage, through ``pyarrow.fs``.

Every file appears whole or not at all: it is written aside, flushed to the disk and renamed (object storage publishes an object only when
its upload is complete).
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import fs as pafs

from sweeper.append_log import flush_folder
from sweeper.errors import StoreError

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

    def _open(self) -> tuple[pafs.FileSystem, str]:
        if self._filesystem is None:
            try:
                if self.local:
                    self._filesystem, self._path = pafs.LocalFileSystem(), str(Path(self.uri).absolute())
                else:
                    self._filesystem, self._path = _remote(self.uri)
            except (pa.ArrowInvalid, OSError, ValueError) as error:
                raise StoreError(f"{self.uri}: cannot open this storage: {first_line(error)}") from error
        return self._filesystem, self._path

    def exists(self, name: str = "") -> bool:
        filesystem, path = self._open()
        with self._explained(name):
            return bool(filesystem.get_file_info(_join(path, name)).type != pafs.FileType.NotFound)

    def names(self, name: str = "", *, directories: bool = False) -> list[str]:
        """Names of the files (or folders) directly below ``name``, sorted; empty where there is no such folder."""
        filesystem, path = self._open()
        wanted = pafs.FileType.Directory if directories else pafs.FileType.File
        with self._explained(name):
            infos = filesystem.get_file_info(pafs.FileSelector(_join(path, name), allow_not_found=True))
        return sorted(info.base_name for info in infos if info.type == wanted)

    def read(self, name: str) -> bytes:
        filesystem, path = self._open()
        with self._explained(name), filesystem.open_input_file(_join(path, name)) as file:
            return bytes(file.read())

    def write(self, name: str, content: bytes) -> None:
        """Make ``name`` hold ``content``: whole and on the disk when this returns, or unchanged when it raises."""
        filesystem, path = self._open()
        with self._explained(name):
            if self.local:
                _write_atomically(Path(path) / name, content)
            else:
                with filesystem.open_output_stream(_join(path, name)) as file:
                    file.write(content)

    def delete(self, name: str) -> None:
        filesystem, path = self._open()
        with self._explained(name), contextlib.suppress(FileNotFoundError):
            filesystem.delete_file(_join(path, name))

    def rename(self, name: str, new_name: str) -> None:
        """Give a file another name, at once."""
        filesystem, path = self._open()
        with self._explained(name):
            filesystem.move(_join(path, name), _join(path, new_name))

    def delete_temporaries(self, name: str) -> None:
        """Delete what writers that were killed half-way left in the folder ``name``. Nobody else may be writing there."""
        if self.local:
            for found in self.names(name):
                if _TEMPORARY.fullmatch(found):
                    self.delete(_join(name, found))

    def make(self, name: str = "") -> None:
        """Create the folder ``name`` where the storage has folders."""
        filesystem, path = self._open()
        if self.local:
            with self._explained(name):
                filesystem.create_dir(_join(path, name), recursive=True)

    @contextlib.contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{_join(self.uri, name)}: {first_line(error)}") from error


def file_name(name: str) -> str:
    """A file name for any printable name: unsafe characters are replaced, and a hash keeps two different names apart."""
    safe = _UNSAFE.sub("_", name)[:80].strip(".")
    return safe if safe == name else f"{safe or 'x'}-{uuid.uuid5(uuid.NAMESPACE_OID, name).hex[:8]}"


def _remote(uri: str) -> tuple[pafs.FileSystem, str]:
    """The storage behind a URI, and the path in it. An endpoint of one's own comes from the environment, as for Amazon's own tools."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not uri.startswith("s3://") or not endpoint:
        filesystem, path = pafs.FileSystem.from_uri(uri)
        return filesystem, path
    scheme, _, address = endpoint.rpartition("://")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    filesystem = pafs.S3FileSystem(
        endpoint_override=address.rstrip("/"), scheme=scheme or "https", region=region, connect_timeout=10, request_timeout=60
    )
    return filesystem, uri.removeprefix("s3://")


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path and name else path or name


def first_line(error: BaseException) -> str:
    """The reason of a system or library error, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _write_atomically(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name[:100]}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
    path.parent.mkdir(exist_ok=True)  # its own parent must be there: a folder that somebody deleted must not come back half
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
