"""Watches the processes of a Ray that the sweep started: without it, a driver whose Ray is gone waits a minute and exits silently."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from sweeper.errors import ClusterError
from sweeper.process.interruption import abort

SECONDS_BETWEEN_LOOKS = 0.2
_CORE = frozenset({"gcs_server", "raylet"})
_PROCESSES = Path("/proc")


class ClusterLostError(ClusterError):
    """A Ray cluster that ended under a running sweep."""

    exit_code = 1


@contextlib.contextmanager
def ray_processes_watched() -> Iterator[None]:
    """Abort the sweep when a core process of Ray that this process started ends within the block, even while Ray is still starting.

    Looks where Linux lists processes; elsewhere Ray's own limits of time apply. They also apply in a program that uses this package as a
    library if the server dies just before Ray first calls it: compiled code then waits for 40 to 60 s and answers no signal.
    """
    done = threading.Event()
    if _PROCESSES.is_dir():
        threading.Thread(target=_watch, args=(done,), name="sweeper-ray-watch", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def core_processes_alive() -> bool:
    """Whether the GCS server and the raylet that this process started are both alive; False where there is no ``/proc``."""
    living, _ = _core_children()
    return {name for _, name in living} == _CORE


def _watch(done: threading.Event) -> None:
    seen: set[tuple[int, str]] = set()
    while not done.wait(SECONDS_BETWEEN_LOOKS):
        living, dead = _core_children()
        lost = [name for _, name in (seen - living) | dead]
        if lost and not done.is_set():
            abort(ClusterLostError(f"Ray ended under the sweep: its process {lost[0]} died"))
            return
        seen |= living


def _core_children() -> tuple[set[tuple[int, str]], set[tuple[int, str]]]:
    """Children of this process that Ray cannot live without, as (process id, name): those that live, and those that have just died."""
    living: set[tuple[int, str]] = set()
    dead: set[tuple[int, str]] = set()
    for children in _PROCESSES.glob("self/task/*/children"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            for pid in map(int, children.read_text().split()):
                name, state = _name_and_state(pid)
                if name in _CORE:
                    (dead if state.startswith(("Z", "X")) else living).add((pid, name))
    return living, dead


def _name_and_state(pid: int) -> tuple[str, str]:
    try:
        fields = dict(line.split(":\t", 1) for line in (_PROCESSES / str(pid) / "status").read_text().splitlines() if ":\t" in line)
    except OSError:
        return "", ""
    return fields["Name"], fields["State"]
