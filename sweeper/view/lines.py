"""The progress of a running sweep as plain lines, for pipes, files and CI logs."""

from __future__ import annotations

import time
from collections.abc import Callable

from sweeper.records import Phase
from sweeper.text import plural
from sweeper.view.snapshot import Snapshot
from sweeper.view.wording import STATES_TOLD, best_text, duration, eta_text, pace_text, saved_text

SHORTEST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds between two lines: a twentieth of the time that the sweep has run, within these limits."""


class SpacedLines:
    """Passes on a line only when the last one is some seconds old: news of a load that may be quick or slow."""

    def __init__(self, write: Callable[[str], None], seconds: float = 2.0) -> None:
        self._write = write
        self._seconds = seconds
        self._told = time.monotonic()

    def __call__(self, line: str) -> None:
        if time.monotonic() - self._told >= self._seconds:
            self._write(line)
            self._told = time.monotonic()


def pause_after(seconds: float) -> float:
    """Seconds until the next line of a sweep that has run for ``seconds``."""
    return min(max(SHORTEST_PAUSE, seconds / 20), LONGEST_PAUSE)


def progress_line(snapshot: Snapshot) -> str:
    """How far a sweep is, on one line."""
    # of several searches the first to end is confirmed while others go on
    is_ahead = snapshot.searches > 1 and snapshot.total("ended", Phase.CONFIRM) and snapshot.stage is Phase.SEARCH
    phases = [*Phase] if is_ahead else [snapshot.stage]
    ended = [f"{phase} {snapshot.total('ended', phase)}/{snapshot.total('planned', phase)}" for phase in phases]
    told = [
        f"{duration(snapshot.seconds)} {', '.join(ended)}",
        f"{snapshot.total('running')} running",
        *(f"{count} {state}" for state in STATES_TOLD if (count := snapshot.total(str(state)))),
        pace_text(snapshot),
        eta_text(snapshot),
        f"best {best_text(snapshot.best, snapshot.metric)}" if snapshot.best else None,
    ]
    return ", ".join(filter(None, told))


def closing_line(snapshot: Snapshot) -> str:
    """What a sweep took, when it has ended."""
    told = [
        f"{duration(snapshot.seconds)} ended: {snapshot.total('ended')} of {plural(snapshot.total('planned'), 'trial')}",
        *(f"{count} {state}" for state in STATES_TOLD if (count := snapshot.total(str(state)))),
        plural(snapshot.epochs, "epoch"),
        saved_text(snapshot),
    ]
    return ", ".join(filter(None, told))
