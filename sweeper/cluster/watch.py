"""Watches the processes of a Ray that the sweep started: without it, a driver whose Ray is gone waits a minute and exits silently."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psutil

from sweeper.cluster.ray_internals import CORE_PROCESSES
from sweeper.errors import ClusterError
from sweeper.process.interruption import abort

POLL_SECONDS = 0.2


class ClusterLostError(ClusterError):
    """A Ray cluster that ended under a running sweep."""

    exit_code = 1


@contextlib.contextmanager
def ray_processes_watched() -> Iterator[None]:
    """Abort the sweep when a core process of Ray that this process started ends within the block, even while Ray is still starting.

    In a program that uses this package as a library, Ray's own limits of time apply if the server dies just before Ray first calls it:
    compiled code then waits for 40 to 60 s and answers no signal.
    """
    done = threading.Event()
    threading.Thread(target=_watch, args=(done,), name="sweeper-ray-watch", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _watch(done: threading.Event) -> None:
    seen: dict[psutil.Process, str] = {}
    while not done.wait(POLL_SECONDS):
        if len(seen) < len(CORE_PROCESSES):  # this looks at every process of the machine
            seen |= _core_processes()
        lost = [name for process, name in seen.items() if not _is_alive(process)]
        if lost and not done.is_set():
            abort(ClusterLostError(f"Ray ended under the sweep: its process {lost[0]} died"))
            return


def _core_processes() -> dict[psutil.Process, str]:
    """The children of this process that Ray cannot live without, and their names; those that have just died are among them."""
    found = {}
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if (name := process.name()) in CORE_PROCESSES:
                found[process] = name
    return found


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    except psutil.NoSuchProcess:
        return False
