"""What a running sweep says of itself: one line when a few seconds have passed and something has ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from sweeper.records import MAXIMIZED_METRICS, EpochMetrics, Phase, TrialConfig, TrialOutcome, TrialState
from sweeper.space import Space
from sweeper.store import SweepFolder

SECONDS_BETWEEN_LINES = 5.0


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


class LineProgress:
    """Counts what happens and writes a line now and then; the first failure is told at once."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._ended: Counter[tuple[Phase, TrialState]] = Counter()
        self._planned = {Phase.SEARCH: 0, Phase.CONFIRM: 0}
        self._epochs = 0
        self._best: tuple[float, str, str] | None = None
        self._metric = ""
        self._started = self._told = time.monotonic()

    def started(self, folder: SweepFolder, space: Space, n_packs: int) -> None:
        """Say what will run where."""
        self._metric = space.search.metric
        self._planned[Phase.SEARCH] = sum(space.planned_trials(arm) for arm in space.arms)
        self._planned[Phase.CONFIRM] = space.compare.seeds * len(space.arms)
        self._started = self._told = time.monotonic()
        arms = ", ".join(arm.name for arm in space.arms)
        self._write(f"sweep {folder.id}: {len(space.arms)} arms ({arms}), {n_packs} packs side by side, rows in {folder}")

    def epoch(self, config: TrialConfig, metrics: EpochMetrics) -> None:  # noqa: ARG002
        """Count an epoch."""
        self._epochs += 1

    def outcome(self, outcome: TrialOutcome) -> None:
        """Count an end, and write a line when the last one is old enough."""
        phase = outcome.config.phase
        self._ended[phase, outcome.state] += 1
        if outcome.value is not None and phase is Phase.SEARCH:
            sign = 1.0 if self._metric in MAXIMIZED_METRICS else -1.0
            if self._best is None or sign * outcome.value > self._best[0]:
                self._best = (sign * outcome.value, outcome.config.trial_id, f"{outcome.value:.4f}")
        if outcome.state is TrialState.FAILED and self._count(TrialState.FAILED) == 1:
            self._write(f"{outcome.config.trial_id} failed: {outcome.error}")
        done = sum(self._ended.values()) == sum(self._planned.values())
        if done or time.monotonic() - self._told >= SECONDS_BETWEEN_LINES:
            self._write(self._line(phase))
            self._told = time.monotonic()

    def _line(self, phase: Phase) -> str:
        seconds = time.monotonic() - self._started
        ended = sum(count for (each, _), count in self._ended.items() if each is phase)
        parts = [f"{seconds:6.0f} s", f"{phase} {ended}/{self._planned[phase]}"]
        parts += [
            f"{self._count(state)} {state}" for state in (TrialState.PRUNED, TrialState.DIVERGED, TrialState.FAILED) if self._count(state)
        ]
        parts.append(f"{self._epochs / max(seconds, 1e-9):.2f} epochs/s")
        if self._best is not None:
            parts.append(f"best {self._metric} {self._best[2]} ({self._best[1]})")
        return " · ".join(parts)

    def _count(self, state: TrialState) -> int:
        return sum(count for (_, each), count in self._ended.items() if each is state)
