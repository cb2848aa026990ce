"""Says what a program is doing while nothing else is printed: loading libraries, reading a data set, starting Ray."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

SHORTEST_SILENCE, LONGEST_SILENCE = 1.0, 60.0
"""Seconds that nothing is said: a thirtieth of the time since the beginning, within these limits. A person waits two without asking."""

_SECONDS_BETWEEN_LOOKS = 0.1


class Waiting:
    """Says by ``write`` what was last given to :meth:`doing`, and for how long that goes on, whenever nothing was said for a while."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._what = ""
        self._began = self._since = self._said_at = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sweeper-waiting", daemon=True)

    def doing(self, what: str) -> None:
        """Say from here on that this is what goes on."""
        self._what, self._since = what, time.monotonic()
        if not self._thread.is_alive() and not self._done.is_set():
            with contextlib.suppress(RuntimeError):  # it has ended because the reader has gone
                self._thread.start()

    def said(self) -> None:
        """Something else was said just now."""
        self._said_at = time.monotonic()

    def close(self) -> None:
        """Say nothing any more."""
        self._done.set()

    def _watch(self) -> None:
        while not self._done.wait(_SECONDS_BETWEEN_LOOKS):
            now = time.monotonic()
            seconds = now - self._since
            if now - self._said_at >= min(max(SHORTEST_SILENCE, (now - self._began) / 30), LONGEST_SILENCE):
                try:
                    self._write(f"{self._what} ({seconds:.0f} s)" if seconds >= SHORTEST_SILENCE else self._what)
                except (OSError, ValueError):  # the reader has gone
                    return
                self.said()


@contextlib.contextmanager
def telling(what: str, write: Callable[[str], None] | None) -> Iterator[None]:
    """Say by ``write`` that this goes on while the block takes long; ``None`` says nothing."""
    waiting = Waiting(write or (lambda _: None))
    if write is not None:
        waiting.doing(what)
    try:
        yield
    finally:
        waiting.close()
