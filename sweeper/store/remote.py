"""A sweep on object storage, which has neither append nor locks: its logs are kept on this machine and uploaded.

Journal and row log are uploaded together as one object, so that they always agree; ``studies.journal`` is uploaded too, for readers. The
object ``tune/owner.json`` says which process runs the sweep, and is renewed while it runs: an owner that stops renewing it counts as gone.
Only the storage's clock decides how long ago that was, since another machine's clock may be wrong.

To become the owner a process must be the only claimant (:meth:`RemoteLogs._alone`): ``pyarrow.fs`` and some S3 servers have no conditional
writes, but all of them read and list what was written before.

A thread uploads what the driver writes while it decides: a sweep continues while its storage is unavailable.
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
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from sweeper.errors import StoreError, SweeperError
from sweeper.process.interruption import abort
from sweeper.store.folder import Folder, file_name
from sweeper.store.outage import Patience

SECONDS_BETWEEN_SAVES = 5.0
SECONDS_BETWEEN_BEATS = 10.0
SECONDS_TO_BE_GONE = 180.0
"""How long after its last beat an owner counts as gone: one whose storage was away has ended by then (``outage.SECONDS_TO_WAIT``)."""
SECONDS_TO_BE_ALONE = 30.0
"""How long a process tries to be alone; far less than another takes to count as gone."""
SECONDS_TO_NOTICE = 5.0
"""How long the main thread has to find out by itself that its storage has failed, before it is interrupted."""

LOGS = JOURNAL, ROW_LOG = ("studies.journal", "tune/rows.jsonl")
_ARCHIVE = "tune/logs.zip"
_OWNER = "tune/owner.json"
_CLAIM = "claim-"
_SESSION = "session"
_LOGS_OF = "logs_of"
_BLOCK_BYTES = 1 << 20
_Read = TypeVar("_Read")


def cache_folder(uri: str) -> Path:
    """Where the logs of the sweep at ``uri`` are appended to: below ``SWEEPER_CACHE_DIR``, or the user's own cache folder."""
    root = os.environ.get("SWEEPER_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sweeper"
    return Path(root) / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}-{file_name(uri.rsplit('/', 1)[-1])}"


class RemoteLogs:
    """The logs of one sweep, in ``cache`` on this machine and in ``folder`` on object storage, for the process that owns the sweep."""

    def __init__(self, folder: Folder, cache: Path) -> None:
        self._folder = folder
        self._cache = cache
        self._saved_sizes: tuple[int, ...] = ()
        self._session = uuid.uuid4().hex
        self._since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        self._logs_of: str | None = None
        self._saving = threading.RLock()
        self._pending: deque[Callable[[], None]] = deque()
        self._failure: BaseException | None = None
        self._owned = False

    def create(self) -> bool:
        """Take the folder for a new sweep; whether nobody had it.

        Raises:
            StoreError: if the storage refuses.
        """
        with self._alone():
            is_free = not (self._folder.exists(_OWNER) or self._folder.exists("sweep.yaml"))
            if is_free:
                self._folder.write(_OWNER, json.dumps({_SESSION: self._session}).encode())
        return is_free

    @contextlib.contextmanager
    def owned(self, tell: Callable[[str], None] | None) -> Iterator[None]:
        """Own the sweep for the length of the block, with the newest logs in the cache. In it the folder has patience.

        ``tell`` is called with a line when the storage becomes unavailable, and again when it is back.

        Raises:
            StoreError: if another process owns it, or the storage refuses.
        """
        with self._alone() as now:
            earlier = self._read_owner()
            self._refuse_if_alive(earlier, now)
            self._logs_of = earlier.get(_LOGS_OF, earlier.get(_SESSION))
            self._beat()
        self._folder.patience = Patience(tell, f"; what is not saved there is kept in {self._cache}: go on from this machine")
        self._owned, self._failure = True, None
        self._pending.clear()
        ended = threading.Event()
        threads = [threading.Thread(target=keep, args=(ended,), daemon=True) for keep in (self._keep_beating, self._keep_saving)]
        try:
            threads[0].start()
            if self._logs_of is not None and self._logs_of == self._cached_session():
                self.save()  # the last owner was this machine: its logs are at least as new as the saved ones
            else:
                self._fetch()
            self._write_cache(_SESSION, self._session.encode())
            self._logs_of = self._session
            self._beat()
            threads[1].start()
            yield
        finally:
            ended.set()
            self._owned = False
            self._folder.patience.end()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            self._folder.patience, self._failure = None, None
            with contextlib.suppress(StoreError):
                if self._read_owner().get(_SESSION) == self._session:
                    self._folder.write(_OWNER, json.dumps({_SESSION: self._session, _LOGS_OF: self._logs_of}).encode())

    def owner(self) -> str | None:
        """The process that owns the sweep, on any machine, since when, and when it last renewed its claim; ``None`` if none does."""
        owner = self._read_owner()
        heard = self._folder.times("tune").get(Path(_OWNER).name) if "beat" in owner else None
        if heard is None:
            return None
        silent = time.time() - heard
        if abs(silent) > SECONDS_TO_BE_GONE:  # or the clock of this machine is wrong
            silent = self._storage_time(silent + heard) - heard
        if not _lives(owner, silent):
            return None
        moment = datetime.fromtimestamp(heard, UTC)
        return f"{owner.get('process')} on {owner.get('host')}, since {owner.get('since')}, last heard of at {moment:%H:%M:%S} UTC"

    def later(self, write: Callable[[], None]) -> None:
        """Have something written by a thread, in the order in which it is asked for, after the logs as they are now; at once if nobody owns
        the sweep.

        Raises:
            StoreError: if something that was to be written earlier could not be.
        """
        self.raise_failure()
        if self._owned:
            self._pending.append(write)
        else:
            write()

    @property
    def owned_here(self) -> bool:
        """Whether this process owns the sweep, so that the logs in the cache are the newest."""
        return self._owned

    def saved_rows(self, start: int) -> list[bytes]:
        """Lines of the saved row log behind its first bytes; all lines where it is shorter than that."""

        def read(archive: zipfile.ZipFile) -> bytes:
            if ROW_LOG not in archive.namelist() or archive.getinfo(ROW_LOG).file_size == start:
                return b""
            content = archive.read(ROW_LOG)
            return content[start:] if start < len(content) else content

        return (self._from_archive(read) or b"").splitlines(keepends=True)

    def raise_failure(self) -> None:
        """Raise what kept a thread from writing."""
        if self._failure is not None:
            raise self._failure

    def save(self) -> None:
        """Save the logs as they are, and then all that was to be written later.

        Raises:
            StoreError: if the storage refuses, or another process has taken the sweep over meanwhile.
        """
        with self._saving:
            self.raise_failure()
            n_pending = len(self._pending)
            self._save_logs()
            for _ in range(n_pending):
                self._pending[0]()
                self._pending.popleft()

    def _save_logs(self) -> None:
        sizes = tuple(path.stat().st_size if path.exists() else 0 for path in map(self._cache.joinpath, LOGS))
        if sizes == self._saved_sizes:
            return
        if self._saved_sizes:
            self._check_owner()
        logs = {name: (self._cache / name).read_bytes() for name in LOGS if (self._cache / name).exists()}  # rows last: none may be missing
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            for name, content in logs.items():
                file.writestr(name, content)
        self._folder.write(_ARCHIVE, archive.getvalue())
        if JOURNAL in logs:
            self._folder.write(JOURNAL, logs[JOURNAL])
        self._saved_sizes = sizes

    def _keep_saving(self, ended: threading.Event) -> None:
        pause = SECONDS_BETWEEN_SAVES
        while not ended.wait(max(0.05, pause)):
            started = time.monotonic()
            with self._saving:  # whoever waits for it to save finds the failure
                try:
                    self.save()
                except BaseException as error:  # the main thread raises it
                    self._fail(error)
            if self._failure is not None:
                self._interrupt_later(ended)
                return
            pause = max(SECONDS_BETWEEN_SAVES, 10 * (time.monotonic() - started))  # a tenth of the time at most is spent on saving

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        if self._folder.patience is not None:
            self._folder.patience.end()

    def _interrupt_later(self, ended: threading.Event) -> None:
        """Interrupt the main thread, unless it soon notices by itself that a thread failed."""
        if not ended.wait(SECONDS_TO_NOTICE) and isinstance(self._failure, SweeperError):
            abort(self._failure)

    def _check_owner(self) -> None:
        if self._read_owner().get(_SESSION) != self._session:
            raise StoreError(f"{self._folder}: another process has taken this sweep over; this one stops")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[float]:
        """The only process in such a block of this sweep, for its length; gives the time of the storage.

        Each process writes a claim and then lists all claims, so that of two one at least sees the other's. It enters when it sees no
        other; one that sees a name before its own withdraws its claim until that is gone (Lamport's one-bit algorithm). A claim as old as
        an owner that is gone was left by a process that died.

        Raises:
            StoreError: if others keep it from being alone, or the storage refuses.
        """
        claim = f"{_CLAIM}{uuid.uuid4().hex}"
        deadline = time.monotonic() + SECONDS_TO_BE_ALONE
        now, left = 0.0, set[str]()

        def others() -> list[str]:
            nonlocal now
            if time.monotonic() > deadline:
                raise StoreError(f"{self._folder}: another process is about to run this sweep; wait for it, or try again in a few minutes")
            times = {name: written for name, written in self._folder.times("tune").items() if name.startswith(_CLAIM)}
            now = times.pop(claim, now)
            left.update(name for name, written in times.items() if now - written > SECONDS_TO_BE_GONE)
            return [name for name in times if name not in left]

        try:
            self._folder.write(f"tune/{claim}", b"")
            while seen := others():
                if min(seen) < claim:
                    self._folder.delete(f"tune/{claim}")
                    while min(others(), default=claim) < claim:
                        time.sleep(0.05)
                    self._folder.write(f"tune/{claim}", b"")
                else:
                    time.sleep(0.05)
            for name in left:
                self._folder.delete(f"tune/{name}")
            yield now
        finally:
            with contextlib.suppress(StoreError):
                self._folder.delete(f"tune/{claim}")

    def _storage_time(self, otherwise: float) -> float:
        """What the clock of the storage shows, in seconds; ``otherwise`` where nothing may be written there to find it out."""
        name = f"clock-{uuid.uuid4().hex}"
        with contextlib.suppress(StoreError):
            self._folder.write(f"tune/{name}", b"")
            times = self._folder.times("tune")
            self._folder.delete(f"tune/{name}")
            return times.get(name, otherwise)
        return otherwise

    def _fetch(self) -> None:
        """Replace the logs in the cache by the saved ones."""
        contents = self._from_archive(lambda archive: {name: archive.read(name) for name in LOGS if name in archive.namelist()}) or {}
        for name in LOGS:
            (self._cache / name).unlink(missing_ok=True)
            if name in contents:
                self._write_cache(name, contents[name])

    def _from_archive(self, read: Callable[[zipfile.ZipFile], _Read]) -> _Read | None:
        """What ``read`` takes from the saved logs, of which no more is transferred than it asks for; ``None`` where none are saved."""
        if not self._folder.exists(_ARCHIVE):
            return None

        def opened(file: BinaryIO) -> _Read:
            try:
                # a small one is read as a whole: in an empty one zipfile seeks before the beginning, which Arrow's files refuse
                is_small = file.seek(0, io.SEEK_END) <= _BLOCK_BYTES
                file.seek(0)
                return read(zipfile.ZipFile(io.BytesIO(file.read()) if is_small else io.BufferedReader(file, _BLOCK_BYTES)))  # type: ignore[type-var]
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
                raise StoreError(f"{self._folder}/{_ARCHIVE}: damaged ({error}); restore it from a copy") from error

        return self._folder.read_from(_ARCHIVE, opened)

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

    def _refuse_if_alive(self, owner: dict[str, Any], now: float) -> None:
        silent = max(0.0, now - self._folder.times("tune").get(Path(_OWNER).name, 0.0))
        ended = (
            owner.get("machine") == _machine() and owner.get(_SESSION) == self._cached_session()
        )  # it had the cache's lock, which is ours
        if "beat" in owner and not ended and _lives(owner, silent):
            raise StoreError(
                f"{self._folder}: another process is running this sweep (process {owner.get('process')} on {owner.get('host')}, heard of "
                f"{silent:.0f} s ago); wait for it, or end it first: it counts as gone after {SECONDS_TO_BE_GONE:.0f} s of silence"
            )

    def _beat(self) -> None:
        owner = {_SESSION: self._session, _LOGS_OF: self._logs_of, "process": os.getpid(), "host": socket.gethostname()}
        owner |= {"machine": _machine(), "since": self._since, "beat": True}
        self._folder.write(_OWNER, json.dumps(owner).encode())

    def _keep_beating(self, ended: threading.Event) -> None:
        while not ended.wait(SECONDS_BETWEEN_BEATS):
            try:
                self._check_owner()
                self._beat()
            except StoreError as error:
                self._fail(error)
                self._interrupt_later(ended)
                return


def _lives(owner: dict[str, Any], silent: float) -> bool:
    """Whether an owner that last renewed its claim ``silent`` seconds ago is alive; on this machine the system knows."""
    here = owner.get("machine") == _machine()
    return silent <= SECONDS_TO_BE_GONE and (not here or _is_alive(int(owner.get("process") or 0)))


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
