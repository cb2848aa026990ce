"""Counts what a running sweep does, so that somebody can be shown how far it is."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pandas as pd

from sweeper.records import MAXIMIZED_METRICS, EpochMetrics, Phase, Planned, TrialConfig, TrialOutcome, TrialState, Value, trial_rank
from sweeper.space import Arm, Space
from sweeper.view.snapshot import Best, Part, Snapshot

RATE_SECONDS = 60.0
"""Epochs per second are counted over the last minute: a sweep's pace changes with its arms and as trials end."""

PATIENCE = 3
"""Epochs that are trained for each trial in training before the pace is told without the slowest of them."""


@dataclass
class _Counts:
    planned: int
    running: dict[str, int] = field(default_factory=dict)
    ended: Counter[TrialState] = field(default_factory=Counter)
    epochs_of_ended: int = 0
    epochs_of_pruned: int = 0
    best: Best | None = None
    best_rank: tuple[float, int] | None = None
    expected: float | None = None


class Counts:
    """Takes a sweep's events in the driver's thread, and gives a :class:`Snapshot` to any.

    ``planned``: where more trials are planned than the space says, because failed ones are repeated.
    """

    def __init__(self, sweep: str, space: Space, planned: Planned = MappingProxyType({})) -> None:
        self._sweep = sweep
        self._metric = space.search.metric
        self._comparable = space.is_comparable(self._metric)
        self._epochs_per_trial = space.training.epochs
        self.free = {arm.name: free_parameters(space, arm) for arm in space.arms}
        self._parts: dict[tuple[Phase, str], _Counts] = {}
        for arm in space.arms:
            self._parts[Phase.SEARCH, arm.name] = _Counts(planned.get((arm.name, Phase.SEARCH), space.planned_trials(arm)))
        for arm in space.arms:
            self._parts[Phase.CONFIRM, arm.name] = _Counts(planned.get((arm.name, Phase.CONFIRM), space.compare.seeds))
        self._started = time.monotonic()
        self._epoch_times: deque[float] = deque()
        self._under_way = False
        self._first_failure: str | None = None
        self._lock = threading.Lock()

    def found(self, trials: pd.DataFrame) -> None:
        """Count the trials that ended before this process began."""
        for row in trials.to_dict("records"):
            value = None if pd.isna(row["value"]) else float(row["value"])
            parameters = {str(name).removeprefix("param_"): each for name, each in row.items() if str(name).startswith("param_")}
            key = Phase(row["phase"]), str(row["arm"])
            if key in self._parts:
                self._end(key, str(row["trial"]), int(row["number"]), TrialState(row["state"]), value, int(row["epochs"]), parameters)

    def expect(self, epochs: float) -> None:
        """Take each search trial to last that long, until those that end tell."""
        for (phase, _), counts in self._parts.items():
            if phase is Phase.SEARCH:
                counts.expected = epochs

    def joined(self, config: TrialConfig) -> None:
        """A trial has been given to a device."""
        with self._lock:
            self._parts[config.phase, config.arm].running[config.trial_id] = 0

    def returned(self, config: TrialConfig) -> None:
        """A trial has lost its device, and will be given to another."""
        with self._lock:
            self._parts[config.phase, config.arm].running.pop(config.trial_id, None)

    def epoch(self, config: TrialConfig, metrics: EpochMetrics) -> None:
        """A trial has trained an epoch."""
        with self._lock:
            self._parts[config.phase, config.arm].running[config.trial_id] = metrics.epoch
            if self._are_all_under_way():
                self._epoch_times.append(time.monotonic())

    def outcome(self, outcome: TrialOutcome) -> None:
        """A trial has ended."""
        config = outcome.config
        with self._lock:
            if outcome.state is TrialState.FAILED and self._first_failure is None:
                self._first_failure = f"{config.trial_id}: {outcome.error}"
            key = config.phase, config.arm
            self._end(key, config.trial_id, config.number, outcome.state, outcome.value, len(outcome.epochs), config.parameters)

    def snapshot(self, stage: str) -> Snapshot:
        """How far the sweep is now."""
        with self._lock:
            now = time.monotonic()
            while self._epoch_times and self._epoch_times[0] < now - RATE_SECONDS:
                self._epoch_times.popleft()
            seconds = now - self._started
            return Snapshot(
                sweep=self._sweep,
                stage=stage,
                metric=self._metric,
                maximize=self._metric in MAXIMIZED_METRICS,
                comparable=self._comparable,
                epochs_per_trial=self._epochs_per_trial,
                parts=tuple(_part(arm, phase, counts) for (phase, arm), counts in self._parts.items()),
                seconds=seconds,
                epochs_per_second=self._pace(now),
                first_failure=self._first_failure,
            )

    def _are_all_under_way(self) -> bool:
        """Whether every trial in training has trained an epoch, or nobody waits for the last of them any more; once so, for good.

        A process that has just started is slow, and slows down those beside it.
        """
        running = [epochs for counts in self._parts.values() for epochs in counts.running.values()]
        self._under_way = self._under_way or all(running) or sum(running) > PATIENCE * len(running)
        return self._under_way

    def _pace(self, now: float) -> float | None:
        """Epochs per second since all are under way: before that, processes start and load."""
        if len(self._epoch_times) < 3:
            return None
        return (len(self._epoch_times) - 1) / max(now - self._epoch_times[0], 1e-3)

    def _end(
        self,
        key: tuple[Phase, str],
        trial_id: str,
        number: int,
        state: TrialState,
        value: float | None,
        epochs: int,
        parameters: Mapping[str, Any],
    ) -> None:
        counts = self._parts[key]
        counts.running.pop(trial_id, None)
        counts.ended[state] += 1
        counts.epochs_of_ended += epochs
        counts.epochs_of_pruned += epochs if state is TrialState.PRUNED else 0
        rank = trial_rank(self._metric, number, state, value)
        if rank is not None and (counts.best_rank is None or rank > counts.best_rank):
            free: dict[str, Value] = {name: parameters[name] for name in self.free[key[1]] if not _is_missing(parameters.get(name))}
            counts.best, counts.best_rank = Best(trial_id, float(value or 0.0), free), rank


def free_parameters(space: Space, arm: Arm) -> tuple[str, ...]:
    """Names of the parameters in which two trials of an arm can differ."""
    return tuple(definition.name for definition in space.definitions(arm) if definition.is_free)


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # noqa: PLR0124  # a null in a table of floats is not a number


def _part(arm: str, phase: Phase, counts: _Counts) -> Part:
    return Part(
        arm=arm,
        phase=phase,
        planned=counts.planned,
        running=len(counts.running),
        complete=counts.ended[TrialState.COMPLETE],
        pruned=counts.ended[TrialState.PRUNED],
        diverged=counts.ended[TrialState.DIVERGED],
        failed=counts.ended[TrialState.FAILED],
        epochs=counts.epochs_of_ended + sum(counts.running.values()),
        epochs_of_ended=counts.epochs_of_ended,
        epochs_of_pruned=counts.epochs_of_pruned,
        best=counts.best if phase is Phase.SEARCH else None,
        expected=counts.expected,
    )
