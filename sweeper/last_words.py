"""What the user is told if the process ends without a word of its own: said by a child that outlives it.

Ray ends a driver that lost its raylet with ``_Exit``, and the kernel one that has taken too much memory: no handler of ours runs then.
"""

from __future__ import annotations

import contextlib
import subprocess

_SCRIPT = 'read -r word || printf "%s\\n" "$1" >&2'
"""Whoever ends in order sends a line first; whoever does not closes the pipe by ending."""

_children: list[subprocess.Popen[bytes]] = []


def leave(text: str) -> None:
    """Have ``text`` written to stderr if this process ends before :func:`take_back`. It replaces what was left before.

    Where there is no POSIX shell, or no room for another process, nothing is left.
    """
    take_back()
    with contextlib.suppress(OSError):
        _children.append(
            subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, "sh", text],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C, and a terminal that is closed, are not for it
            )
        )


def take_back() -> None:
    """Leave nothing to be said."""
    while _children:
        child = _children.pop()
        with contextlib.suppress(OSError, ValueError):  # it was killed
            child.communicate(b"\n")
