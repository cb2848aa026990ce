"""Says what a program is doing while nothing else is printed: loading libraries, reading a data set, starting Ray."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

SHORTEST_SILENCE, LONGEST_SILENCE = 1.0, 60.0
"""Seconds of silence allowed: a thirtieth of the time since the beginning, within these limits. Two seconds are acceptable."""

_POLL_SECONDS = 0.1


class Waiting:
    """Says with ``write`` what :meth:`begin` was last given, and for how long it has gone on, whenever nothing was printed for a while."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._what = ""
        self._began = self._since = self._output_at = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sweeper-waiting", daemon=True)

    def begin(self, what: str) -> None:
        """Say from now on that this is going on."""
        self._what, self._since = what, time.monotonic()
        if not self._thread.is_alive() and not self._done.is_set():
            with contextlib.suppress(RuntimeError):  # it has ended because the reader has gone
                self._thread.start()

    def reset(self) -> None:
        """Something else was printed just now."""
        self._output_at = time.monotonic()

    def close(self) -> None:
        """Stop."""
        self._done.set()

    def _watch(self) -> None:
        while not self._done.wait(_POLL_SECONDS):
            now = time.monotonic()
            seconds = now - self._since
            if now - self._output_at >= min(max(SHORTEST_SILENCE, (now - self._began) / 30), LONGEST_SILENCE):
                try:
                    self._write(f"{self._what} ({seconds:.0f} s)" if seconds >= SHORTEST_SILENCE else self._what)
                except (OSError, ValueError):  # the reader has gone
                    return
                self.reset()


@contextlib.contextmanager
def announcing(what: str, write: Callable[[str], None] | None) -> Iterator[None]:
    """Say with ``write`` what is going on if the block takes long; with ``None`` say nothing."""
    waiting = Waiting(write or (lambda _: None))
    if write is not None:
        waiting.begin(what)
    try:
        yield
    finally:
        waiting.close()
