"""Counts the trials and epochs of a running sweep, for the panel and the lines."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace
from types import MappingProxyType

import pandas as pd

from sweeper.driver.events import EpochTrained, Event, TrialEnded, TrialJoined, TrialReturned
from sweeper.records import Phase, Planned, TrialConfig, TrialState
from sweeper.space import Arm, Space
from sweeper.trial_counts import BestTrial
from sweeper.view.snapshot import Snapshot, before_any_trial

RATE_SECONDS = 60.0
"""Epochs per second are counted over the last minute: a sweep's pace changes with its arms and as trials end."""

PATIENCE = 3
"""Epochs that are trained for each trial in training before the pace is told without the slowest of them."""


class Counts:
    """An observer of a sweep, in the driver's thread, that gives a :class:`Snapshot` to any.

    ``planned``: where more trials are planned than the space says, because failed ones are repeated.
    """

    def __init__(self, sweep: str, space: Space, planned: Planned = MappingProxyType({})) -> None:
        self._at_the_start = before_any_trial(sweep, space, planned)
        self._parts = {(part.arm, part.search, part.phase): part for part in self._at_the_start.parts}
        self._running: dict[tuple[str, int, Phase], dict[str, int]] = {key: {} for key in self._parts}
        self.free = {arm.name: free_parameters(space, arm) for arm in space.arms}
        self._started = time.monotonic()
        self._epoch_times: deque[float] = deque()
        self._under_way = False
        self._first_failure: str | None = None
        self._lock = threading.Lock()

    def found(self, trials: pd.DataFrame) -> None:
        """Count the trials that ended before this process began."""
        for row in trials.to_dict("records"):
            known = {str(name): value for name, value in row.items() if not pd.isna(value)}
            parameters = {name.removeprefix("param_"): value for name, value in known.items() if name.startswith("param_")}
            config = TrialConfig(known["arm"], Phase(known["phase"]), int(known["number"]), 0, parameters, int(known["search"]))
            if _key(config) in self._parts:
                self._end(config, TrialState(known["state"]), known.get("value"), int(known["epochs"]))

    def expect(self, epochs: float) -> None:
        """Take each search trial to last that long, until those that end tell."""
        for key, part in self._parts.items():
            if part.phase is Phase.SEARCH:
                self._parts[key] = replace(part, expected=epochs)

    def __call__(self, event: Event) -> None:
        with self._lock:
            match event:
                case TrialJoined(config):
                    self._running[_key(config)][config.trial_id] = 0
                case TrialReturned(config):
                    self._running[_key(config)].pop(config.trial_id, None)
                case EpochTrained(config, metrics):
                    self._running[_key(config)][config.trial_id] = metrics.epoch
                    if self._are_all_under_way():
                        self._epoch_times.append(time.monotonic())
                case TrialEnded(outcome):
                    config = outcome.config
                    if outcome.state is TrialState.FAILED and self._first_failure is None:
                        self._first_failure = f"{config.trial_id}: {outcome.error}"
                    self._end(config, outcome.state, outcome.value, len(outcome.epochs))

    def snapshot(self) -> Snapshot:
        """How far the sweep is now."""
        with self._lock:
            now = time.monotonic()
            while self._epoch_times and self._epoch_times[0] < now - RATE_SECONDS:
                self._epoch_times.popleft()
            running = self._running
            parts = [
                replace(part, running=len(running[key]), epochs=part.epochs_of_ended + sum(running[key].values()))
                for key, part in self._parts.items()
            ]
            return self._at_the_start.at(parts, now - self._started, self._pace(now), self._first_failure)

    def _are_all_under_way(self) -> bool:
        """Whether every trial in training has trained an epoch, or has been waited for long enough; stays true once it is.

        A process that has just started is slow, and slows down those beside it.
        """
        if self._under_way:
            return True
        running = [epochs for trials in self._running.values() for epochs in trials.values()]
        self._under_way = all(running) or sum(running) > PATIENCE * len(running)
        return self._under_way

    def _pace(self, now: float) -> float | None:
        """Epochs per second since all are under way: before that, processes start and load."""
        if len(self._epoch_times) < 3:
            return None
        return (len(self._epoch_times) - 1) / max(now - self._epoch_times[0], 1e-3)

    def _end(self, config: TrialConfig, state: TrialState, value: float | None, epochs: int) -> None:
        key = _key(config)
        self._running[key].pop(config.trial_id, None)
        free = {name: config.parameters[name] for name in self.free[config.arm] if name in config.parameters}
        candidate = BestTrial(config.trial_id, config.number, value, epochs, free, config.search) if value is not None else None
        self._parts[key] = self._parts[key].after(state, epochs, candidate, self._at_the_start.metric)


def _key(config: TrialConfig) -> tuple[str, int, Phase]:
    return config.arm, config.search, config.phase


def free_parameters(space: Space, arm: Arm) -> tuple[str, ...]:
    """Names of the parameters in which two trials of an arm can differ."""
    return tuple(definition.name for definition in space.definitions(arm) if definition.is_free)
