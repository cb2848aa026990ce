"""A child process that outlives an abrupt exit of this one, prints how to continue, and ends the processes that were left behind.

Ray ends a driver that has lost its raylet with ``_Exit``; the kernel kills one that uses too much memory or is sent SIGKILL. No handler
runs then, and what Ray had started may live on.

This file is also the child's program. It imports nothing else of this package, so that it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_children: list[subprocess.Popen[bytes]] = []

SECONDS_TO_LOOK = 10.0
"""So long are processes looked for that others started while they were being ended."""


def on_abrupt_exit(**requests: str) -> None:
    """Have the child do something if this process ends before :func:`stop`; a later request of the same name replaces the former.

    ``say``: a text for stderr. Processes are killed with SIGKILL: ``end``: those that have this ``NAME=value`` in their environment
    and those called ``ray::...`` that such a one started, ``end_writers``: those called ``ray::...`` with a file open below a folder of
    this pattern.
    """
    with contextlib.suppress(OSError):  # no room for another process, or it was killed: the sweep goes on without
        if not _children:
            command = [sys.executable, "-I", "-S", __file__]
            # a session of its own: Ctrl-C, and a terminal that is closed, are not for it
            _children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True))
        _tell(_children[-1], requests)


def stop() -> None:
    """Stop the child without printing anything or ending any process."""
    while _children:
        child = _children.pop()
        with contextlib.suppress(OSError, ValueError):
            _tell(child, None)
            child.communicate()


def _tell(child: subprocess.Popen[bytes], requests: dict[str, str] | None) -> None:
    if child.stdin is not None:
        child.stdin.write(json.dumps(requests).encode() + b"\n")
        child.stdin.flush()


def living_processes(mark: str, folders: str = "") -> Iterator[tuple[int, bytes]]:
    """Process id and command line of each process of ours: those with ``mark`` (``NAME=value``) in their environment, and others of Ray.

    A process that renames itself, as Ray's workers do, writes its name (``ray::...``) over its environment. Its parent tells whose it is
    while that lives, a file open below one of ``folders`` (a pattern as in a shell), where Ray keeps its logs, does afterwards. None where
    there is no ``/proc``.
    """
    marked: set[int] = set()
    renamed: list[tuple[Path, bytes]] = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended by now, or belongs to another user
            command = process.joinpath("cmdline").read_bytes()
            if _has(process, mark):
                marked.add(int(process.name))
                yield int(process.name), command
            elif command.startswith(b"ray::"):
                renamed.append((process, command))
    for process, command in renamed:
        with contextlib.suppress(OSError):
            if _parent(process) in marked or (folders and _has_open(process, folders)):
                yield int(process.name), command


def _has(process: Path, mark: str) -> bool:
    return bool(mark) and mark.encode() in process.joinpath("environ").read_bytes().split(b"\0")


def _parent(process: Path) -> int:
    after_the_name = process.joinpath("stat").read_bytes().rpartition(b")")[2].split()
    return int(after_the_name[1])


def _has_open(process: Path, folders: str) -> bool:
    for link in process.joinpath("fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed by now
            if any(fnmatch.fnmatchcase(str(folder), folders) for folder in link.readlink().parents):
                return True
    return False


def end_processes(mark: str, folders: str = "") -> None:
    """Kill the :func:`living_processes` of ``mark`` and ``folders``, but for this one.

    One of them may start another after it was listed and before it is killed: they are looked for until none is left.
    """
    deadline = time.monotonic() + SECONDS_TO_LOOK
    while time.monotonic() < deadline:
        left = [process for process, _ in living_processes(mark, folders) if process != os.getpid()]
        if not left:
            return
        for process in left:
            with contextlib.suppress(OSError):  # it has ended by itself
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)


def _wait_and_reap() -> None:
    requests: dict[str, str] = {}
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if request is None:
            return
        requests |= request
    if say := requests.get("say"):
        with contextlib.suppress(OSError):
            os.write(2, f"{say}\n".encode(errors="replace"))
    end_processes(requests.get("end", ""), requests.get("end_writers", ""))


if __name__ == "__main__":
    _wait_and_reap()
