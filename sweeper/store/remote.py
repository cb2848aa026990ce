"""A sweep on object storage, where nothing can be appended to and nobody can lock: its logs are appended to here and saved there.

Journal and row log are saved together as one object, so that they always agree; ``studies.journal`` is saved beside it for readers. The
object ``tune/owner.json`` says who runs the sweep, and is renewed while it runs: an owner of whom nothing has been heard is gone.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import socket
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeper.errors import StoreError
from sweeper.interruption import abort
from sweeper.store.folder import Folder, file_name

SECONDS_BETWEEN_SAVES = 5.0
SECONDS_BETWEEN_BEATS = 10.0
SECONDS_TO_BE_GONE = 60.0
"""How long after its last beat an owner on another machine counts as gone."""

LOGS = ("studies.journal", "tune/rows.jsonl")
_ARCHIVE = "tune/logs.zip"
_OWNER = "tune/owner.json"
_SESSION = "session"


def cache_folder(uri: str) -> Path:
    """Where the logs of the sweep at ``uri`` are appended to: below ``SWEEPER_CACHE_DIR``, or the user's own cache folder."""
    root = os.environ.get("SWEEPER_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sweeper"
    return Path(root) / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}-{file_name(uri.rsplit('/', 1)[-1])}"


class RemoteLogs:
    """The logs of one sweep, in ``cache`` on this machine and in ``folder`` on object storage, for the process that owns the sweep."""

    def __init__(self, folder: Folder, cache: Path) -> None:
        self._folder = folder
        self._cache = cache
        self._saved = 0.0
        self._saved_sizes: tuple[int, ...] = ()
        self._session = uuid.uuid4().hex

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        """Own the sweep for the length of the block, with the newest logs in the cache.

        Raises:
            StoreError: if another process owns it, or the storage refuses.
        """
        earlier = self._read_owner()
        self._refuse_if_alive(earlier)
        if earlier.get(_SESSION) == self._cached_session():
            self.save()  # the last owner was this machine: its logs are at least as new as the saved ones
        else:
            self._fetch()
        self._beat()
        self._write_cache(_SESSION, self._session.encode())
        ended = threading.Event()
        beating = threading.Thread(target=self._keep_beating, args=(ended,), name="sweeper-owner", daemon=True)
        beating.start()
        try:
            yield
        finally:
            ended.set()
            beating.join()
            with contextlib.suppress(StoreError):
                self._folder.write(_OWNER, json.dumps({_SESSION: self._session}).encode())

    def save_when_due(self) -> None:
        """Save the logs if the last save is old enough."""
        if time.monotonic() - self._saved > SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Save the logs as they are.

        Raises:
            StoreError: if the storage refuses, or another process has taken the sweep over meanwhile.
        """
        sizes = tuple(path.stat().st_size if path.exists() else 0 for path in map(self._cache.joinpath, LOGS))
        if sizes == self._saved_sizes:
            return
        if self._saved_sizes and self._read_owner().get(_SESSION) != self._session:
            raise StoreError(f"{self._folder}: another process has taken this sweep over; this one stops")
        started = time.monotonic()
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            for name in LOGS:
                if (self._cache / name).exists():
                    file.write(self._cache / name, name)
        self._folder.write(_ARCHIVE, archive.getvalue())
        if (self._cache / LOGS[0]).exists():
            self._folder.write(LOGS[0], (self._cache / LOGS[0]).read_bytes())
        self._saved_sizes = sizes
        self._saved = time.monotonic() + 10 * (time.monotonic() - started)  # a tenth of the time at most is spent on saving

    def _fetch(self) -> None:
        """Replace the logs in the cache by the saved ones."""
        contents: dict[str, bytes] = {}
        if self._folder.exists(_ARCHIVE):
            try:
                with zipfile.ZipFile(io.BytesIO(self._folder.read(_ARCHIVE))) as archive:
                    contents = {name: archive.read(name) for name in LOGS if name in archive.namelist()}
            except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
                raise StoreError(f"{self._folder}/{_ARCHIVE}: damaged ({error}); restore it from a copy") from error
        for name in LOGS:
            (self._cache / name).unlink(missing_ok=True)
            if name in contents:
                self._write_cache(name, contents[name])

    def _write_cache(self, name: str, content: bytes) -> None:
        try:
            (self._cache / name).parent.mkdir(parents=True, exist_ok=True)
            (self._cache / name).write_bytes(content)
        except OSError as error:
            raise StoreError(f"{self._cache / name}: {error.strerror}") from error

    def _cached_session(self) -> str | None:
        path = self._cache / _SESSION
        return path.read_text() if path.exists() else None

    def _read_owner(self) -> dict[str, Any]:
        if not self._folder.exists(_OWNER):
            return {}
        try:
            return dict(json.loads(self._folder.read(_OWNER)))
        except (ValueError, TypeError):
            return {}

    def _refuse_if_alive(self, owner: dict[str, Any]) -> None:
        seconds = time.time() - float(owner.get("beat") or 0)
        alive = _is_alive(int(owner.get("process") or 0)) if owner.get("machine") == _machine() else seconds < SECONDS_TO_BE_GONE
        if "beat" in owner and alive:
            raise StoreError(
                f"{self._folder}: another process is running this sweep (process {owner.get('process')} on {owner.get('host')}, heard of "
                f"{seconds:.0f} s ago); wait for it, or end it first: it counts as gone after {SECONDS_TO_BE_GONE:.0f} s of silence"
            )

    def _beat(self) -> None:
        owner = {_SESSION: self._session, "process": os.getpid(), "host": socket.gethostname(), "machine": _machine(), "beat": time.time()}
        self._folder.write(_OWNER, json.dumps(owner).encode())

    def _keep_beating(self, ended: threading.Event) -> None:
        heard = time.monotonic()
        while not ended.wait(SECONDS_BETWEEN_BEATS):
            try:
                if self._read_owner().get(_SESSION) != self._session:
                    abort(StoreError(f"{self._folder}: another process has taken this sweep over; this one stops"))
                    return
                self._beat()
                heard = time.monotonic()
            except StoreError as error:
                if time.monotonic() - heard > SECONDS_TO_BE_GONE / 2:
                    abort(error)
                    return


def _machine() -> str:
    """A name of this machine since it was started, and of the room of process ids that this process lives in."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    room = Path("/proc/self/ns/pid")
    return f"{boot.read_text().strip() if boot.exists() else socket.gethostname()} {room.stat().st_ino if room.exists() else 0}"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process > 0
