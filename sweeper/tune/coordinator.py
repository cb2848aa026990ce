"""Joins the studies, the packs that Ray Tune runs, and the recorder: the one object behind the searcher and the scheduler.

The order of writes is what makes a crash harmless: a row reaches the log, then Optuna is told, then both are flushed to the disk, and only
then does the worker hear a decision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sweeper.records import EpochMetrics, TestMetrics, TrialConfig, TrialOutcome, TrialState
from sweeper.space import Space
from sweeper.store import SweepFolder
from sweeper.study import Studies, TrialEnd
from sweeper.tune.messages import Failure, PackReport
from sweeper.tune.recorder import Recorder

OUT_OF_MEMORY_ADVICE = "use a smaller --pack, a smaller training.batch_size, or more memory per trial (--gpus-per-trial)"


@dataclass
class _Member:
    """A trial in training: what the driver knows of it."""

    config: TrialConfig
    attempts: int
    epochs: list[EpochMetrics] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a pack does next: members that leave it, members that join it."""

    remove: tuple[str, ...]
    add: tuple[TrialConfig, ...]
    empty: bool


class Observer(Protocol):
    """Somebody who watches a sweep; called by the driver between two decisions, so it must be quick and must not raise."""

    def started(self, folder: SweepFolder, space: Space, n_packs: int) -> None:
        """All is ready; ``n_packs`` packs will run side by side."""

    def epoch(self, config: TrialConfig, metrics: EpochMetrics) -> None:
        """A trial has trained an epoch."""

    def outcome(self, outcome: TrialOutcome) -> None:
        """A trial has ended."""


class Coordinator:
    """Hands out members to packs, takes their reports, decides, and records every trial's end."""

    def __init__(
        self,
        studies: Studies,
        recorder: Recorder,
        folder: SweepFolder,
        *,
        metric: str,
        n_epochs: int,
        max_failures: int,
        observer: Observer,
    ) -> None:
        self._studies = studies
        self._recorder = recorder
        self._folder = folder
        self._metric = metric
        self._n_epochs = n_epochs
        self._max_failures = max_failures
        self._observer = observer
        self._packs: dict[str, dict[str, _Member]] = {}
        self._attempts: dict[str, int] = {}
        self._alone: set[str] = set()

    @property
    def finished(self) -> bool:
        return self._studies.finished

    @property
    def n_packs(self) -> int:
        """Packs that are running or waiting for a device."""
        return len(self._packs)

    def start_pack(self, pack_id: str, size: int) -> tuple[TrialConfig, ...]:
        """Up to ``size`` members for a new pack; none when all trials are out or done."""
        members: list[TrialConfig] = []
        while len(members) < size:
            config = self._studies.take()
            if config is None:
                break
            if config.trial_id in self._alone and members:
                self._studies.release(config.trial_id)
                break
            members.append(config)
            if config.trial_id in self._alone:
                break
        if members:
            self._packs[pack_id] = {}
            for config in members:
                self._join(pack_id, config)
            self._studies.commit()
        return tuple(members)

    def report(self, pack_id: str, report: PackReport) -> Decision:
        """Take a pack's news: record, report to Optuna, prune, end."""
        pack = self._packs[pack_id]
        left, ended = [], []
        for trial_id, member in list(pack.items()):
            state = self._take_epochs(member, report.epochs.get(trial_id, []))
            failure = report.failures.get(trial_id)
            if state is not None:
                self._end(pack_id, member, state, report.device, test=report.tests.get(trial_id))
                ended.append(trial_id)
            elif failure is not None and self._fail(pack_id, member, failure, report.device):
                ended.append(trial_id)
            if trial_id not in pack:
                left.append(trial_id)
        self._commit()
        for trial_id in ended:
            self._folder.delete_checkpoint(trial_id)
        return Decision(remove=tuple(left), add=(), empty=not pack)

    def lost(self, pack_id: str, error: str, traceback: str) -> None:
        """Take back the members of a pack whose process died: each is tried again, up to ``max_failures`` times."""
        for member in list(self._packs.get(pack_id, {}).values()):
            self._fail(pack_id, member, Failure(error, traceback), device=None)
        self._packs.pop(pack_id, None)
        self._commit()

    def closed(self, pack_id: str) -> None:
        """Forget a pack that Tune has ended; members it still had go back to be trained again."""
        for trial_id in self._packs.pop(pack_id, {}):
            self._studies.release(trial_id)

    def _join(self, pack_id: str, config: TrialConfig) -> None:
        attempts = self._attempts.get(config.trial_id, 0) + 1
        self._attempts[config.trial_id] = attempts
        self._packs[pack_id][config.trial_id] = _Member(config, attempts)

    def _take_epochs(self, member: _Member, epochs: Sequence[EpochMetrics]) -> TrialState | None:
        """Record the epochs that are new; returns the state in which the trial has ended with them, if it has."""
        for epoch in epochs:
            if member.epochs and epoch.epoch <= member.epochs[-1].epoch:
                continue
            self._recorder.epoch(member.config, epoch)
            member.epochs.append(epoch)
            self._observer.epoch(member.config, epoch)
            prune = self._studies.report(member.config.trial_id, epoch.epoch, float(getattr(epoch, self._metric)))
            if not (math.isfinite(epoch.train_loss) and math.isfinite(epoch.val_loss)):
                return TrialState.DIVERGED
            if prune:
                return TrialState.PRUNED
            if epoch.epoch >= self._n_epochs:
                return TrialState.COMPLETE
        return None

    def _end(
        self,
        pack_id: str,
        member: _Member,
        state: TrialState,
        device: str | None,
        test: TestMetrics | None = None,
        failure: Failure | None = None,
    ) -> None:
        trial_id = member.config.trial_id
        outcome = TrialOutcome(
            config=member.config,
            state=state,
            value=float(getattr(member.epochs[-1], self._metric)) if state is TrialState.COMPLETE else None,
            epochs=tuple(member.epochs),
            test=test,
            pack=pack_id,
            device=device,
            error=failure.error if failure else None,
            traceback=failure.traceback if failure else None,
            diverged_epoch=member.epochs[-1].epoch if state is TrialState.DIVERGED else None,
            attempts=member.attempts,
        )
        self._recorder.outcome(outcome)
        self._studies.end(trial_id, TrialEnd(state, outcome.value, outcome.error, outcome.diverged_epoch))
        del self._packs[pack_id][trial_id]
        self._attempts.pop(trial_id, None)
        self._observer.outcome(outcome)

    def _fail(self, pack_id: str, member: _Member, failure: Failure, device: str | None) -> bool:
        """Put a failed member back to be trained alone, or end it when its attempts are used up; returns whether it ended."""
        trial_id = member.config.trial_id
        if member.attempts <= self._max_failures:
            del self._packs[pack_id][trial_id]
            self._alone.add(trial_id)
            self._studies.release(trial_id)
            return False
        if failure.out_of_memory:
            failure = Failure(f"{failure.error}; {OUT_OF_MEMORY_ADVICE}", failure.traceback, out_of_memory=True)
        self._end(pack_id, member, TrialState.FAILED, device, failure=failure)
        return True

    def _commit(self) -> None:
        self._recorder.commit()
        self._studies.commit()
