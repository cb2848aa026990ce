"""Connects the studies, the packs that Ray Tune runs, and the recorder; the searcher and the scheduler delegate to it.

The order of writes makes a crash harmless: rows are flushed, then Optuna is told which trials ended, then the studies are flushed in one
append, and only then is the worker given a decision.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sweeper.driver.events import EpochTrained, Notice, Observer, TrialEnded, TrialJoined, TrialReturned
from sweeper.driver.messages import Failure, PackReport
from sweeper.driver.recorder import Recorder, best_epoch
from sweeper.errors import StoreError
from sweeper.records import EpochMetrics, TestMetrics, TrialConfig, TrialOutcome, TrialState
from sweeper.space import Space
from sweeper.store import SweepFolder
from sweeper.studies.studies import Studies, TrialEnd

MOST_NODES_LOST = 20
"""Nodes that a trial may lose before it is taken for the cause."""

OUT_OF_MEMORY_ADVICE = "use a smaller --pack, a smaller training.batch_size, or more memory per trial (--gpus-per-trial)"


@dataclass
class _Member:
    """A trial in training: what the driver knows of it."""

    config: TrialConfig
    attempts: int
    alone: bool
    epochs: list[EpochMetrics] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a pack does next: members that leave it, members that join it."""

    remove: tuple[str, ...]
    add: tuple[TrialConfig, ...]
    empty: bool


class Coordinator:
    """Hands out members to packs, takes their reports, decides, and records every trial's end.

    ``refill``: a pack that members have left takes in new ones, up to the number it began with; else it shrinks until it is empty. New
    members start at their first epoch, and so share no batches with the old ones: where each stream of batches is cut on its own, it is
    cheaper to let a pack shrink and to start the next with members that share all.

    A pack that is out of memory halves all packs to come: its members go back, and no pack holds more than half as many from then on. A
    resume, maybe on another machine, begins with the space's own size again.
    """

    def __init__(
        self, space: Space, studies: Studies, recorder: Recorder, folder: SweepFolder, observe: Observer, *, refill: bool = False
    ) -> None:
        self._studies = studies
        self._recorder = recorder
        self._folder = folder
        self._metric = space.search.metric
        self._selects_best = space.training.select == "best"
        self._n_epochs = space.training.epochs
        self._max_failures = space.resources.max_failures
        self._observe = observe
        self._refill = refill
        self._sizes: dict[str, int] = {}
        self._most: int | None = None
        self._packs: dict[str, dict[str, _Member]] = {}
        self._nodes_lost: Counter[str] = Counter()
        self._told: set[str] = set()
        self._ended = set(recorder.ends)

    @property
    def finished(self) -> bool:
        return self._studies.finished

    @property
    def n_left(self) -> float:
        """Trials to be trained, of those that are planned so far; of one in training counts the part of its epochs that is left."""
        in_training = sum(1 - len(member.epochs) / self._n_epochs for pack in self._packs.values() for member in pack.values())
        return self._studies.n_waiting + in_training

    @property
    def n_packs(self) -> int:
        """Packs that are running or waiting for a device."""
        return len(self._packs)

    def start_pack(self, pack_id: str, size: int) -> tuple[TrialConfig, ...]:
        """Up to ``size`` members for a new pack; none when all trials are out or done."""
        self._packs[pack_id] = {}
        members = self._join(pack_id, size)
        if members:
            self._sizes[pack_id] = len(members)
        else:
            del self._packs[pack_id]
        for config in members:
            self._observe(TrialJoined(config))
        return members

    def report(self, pack_id: str, report: PackReport) -> Decision:
        """Take a pack's news: record, report to Optuna, prune, end.

        Raises:
            StoreError: if the driver or the pack cannot write to the sweep's folder.
        """
        if report.fatal is not None:
            raise StoreError(report.fatal)
        if report.notice is not None and report.notice not in self._told:
            self._told.add(report.notice)
            self._observe(Notice(report.notice))
        pack = self._packs[pack_id]
        seen: list[tuple[TrialConfig, EpochMetrics]] = []
        ends: list[TrialOutcome] = []
        again: list[tuple[TrialConfig, str]] = []
        full: list[str] = []  # out of memory with others: fewer may have enough
        for trial_id, member in pack.items():
            before = len(member.epochs)
            state = self._take_epochs(member, report.epochs.get(trial_id, []))
            seen += [(member.config, epoch) for epoch in member.epochs[before:]]
            failure = report.failures.get(trial_id)
            if state is not None:
                test = report.tests.get(trial_id) if state is TrialState.COMPLETE else None  # none of what its last epoch pruned
                ends.append(self._outcome(pack_id, member, state, report.device, test=test))
            elif failure is not None and failure.out_of_memory and len(pack) > 1:
                full.append(trial_id)
                again.append((member.config, failure.error))
            elif failure is not None and (outcome := self._failed(pack_id, member, failure, report.device)):
                ends.append(outcome)
            elif failure is not None:
                again.append((member.config, failure.error))
        left = [outcome.config.trial_id for outcome in ends]
        left += [trial_id for trial_id in report.failures if trial_id in pack and trial_id not in left]
        halved = len(full) > 1 and len(full) + len(ends) == len(pack)  # else it was the member's own loss
        if halved:
            self._halve(len(pack))
        self._leave(pack_id, left, ends, full, alone=not halved)
        new = self._join(pack_id, self._sizes[pack_id]) if self._refill and pack else ()
        for config, epoch in seen:
            self._observe(EpochTrained(config, epoch))
        self._tell(ends, again)
        for config in new:
            self._observe(TrialJoined(config))
        return Decision(remove=tuple(left), add=new, empty=not pack)

    def lost(self, pack_id: str, failure: Failure) -> None:
        """Take back the members of a pack whose process died: each is tried again alone, up to ``max_failures`` times.

        If it was killed for its memory, fewer members may do, and packs to come are halved instead. Else which of several members was the
        cause is unknown: it counts for none until one has died alone. Nor is a lost node held against them: on spot machines it happens to
        long trials more often than ``max_failures`` allows.
        """
        if failure.node_lost and self._spared(pack_id):
            self.closed(pack_id, failure.error)
            return
        members = list(self._packs.get(pack_id, {}).values())
        trial_ids = [member.config.trial_id for member in members]
        together = trial_ids if len(members) > 1 else []
        ends = [outcome for member in members if not together and (outcome := self._failed(pack_id, member, failure, device=None))]
        if halved := bool(together) and failure.out_of_memory:
            self._halve(len(members))
        self._leave(pack_id, trial_ids, ends, together, alone=not halved)
        self._packs.pop(pack_id, None)
        self._sizes.pop(pack_id, None)
        ended = {outcome.config.trial_id for outcome in ends}
        self._tell(ends, [(member.config, failure.error) for member in members if member.config.trial_id not in ended])

    def closed(self, pack_id: str, error: str | None = None) -> None:
        """Forget a pack that Tune has ended, or that ``error`` took; members it still had go back to be trained again."""
        self._sizes.pop(pack_id, None)
        for trial_id, member in self._packs.pop(pack_id, {}).items():
            self._studies.release(trial_id)
            self._observe(TrialReturned(member.config, error))

    def _spared(self, pack_id: str) -> bool:
        """Whether none of a pack's members has lost so many nodes that it must be what kills them."""
        members = self._packs.get(pack_id, {})
        self._nodes_lost.update(list(members))
        return all(self._nodes_lost[trial_id] <= MOST_NODES_LOST for trial_id in members)

    def _halve(self, n_members: int) -> None:
        """From now on no pack holds more than half of ``n_members``, which were out of memory together; tells it where that is new."""
        most = n_members // 2
        if self._most is None or most < self._most:
            self._most = most
            self._observe(Notice(f"out of memory with packs of {n_members} trials: going on with at most {most}"))

    def _join(self, pack_id: str, size: int) -> tuple[TrialConfig, ...]:
        """Trials that join a pack, until it has ``size`` members, or as many as memory allows, or none are left.

        Some go alone (see ``Studies``).
        """
        pack = self._packs[pack_id]
        size = min(size, self._most or size)
        joined: list[TrialConfig] = []
        while len(pack) < size and not any(member.alone for member in pack.values()):
            config = self._studies.take()
            if config is None:
                break
            alone = self._studies.goes_alone(config.trial_id)
            if alone and pack:
                self._studies.release(config.trial_id)
                break
            pack[config.trial_id] = _Member(config, 1 + self._studies.failures(config.trial_id), alone)
            joined.append(config)
        if joined:
            self._studies.commit()
        return tuple(joined)

    def _take_epochs(self, member: _Member, epochs: Sequence[EpochMetrics]) -> TrialState | None:
        """Record the epochs that are new; returns the state in which the trial has ended with them, if it has."""
        for reported in epochs:
            if member.epochs and reported.epoch <= member.epochs[-1].epoch:
                continue
            epoch = self._recorder.epoch(member.config, reported)
            member.epochs.append(epoch)
            value = epoch[self._metric]
            prune = self._studies.report(member.config.trial_id, epoch.epoch, value)
            if not all(math.isfinite(each) for each in (epoch.train_loss, epoch.val_loss, value) if each is not None):
                return TrialState.DIVERGED
            if prune:
                return TrialState.PRUNED
            if epoch.epoch >= self._n_epochs:
                return TrialState.COMPLETE
        return None

    def _outcome(
        self,
        pack_id: str,
        member: _Member,
        state: TrialState,
        device: str | None,
        test: TestMetrics | None = None,
        failure: Failure | None = None,
    ) -> TrialOutcome:
        return TrialOutcome(
            config=member.config,
            state=state,
            value=self._judged(member.epochs)[self._metric] if state is TrialState.COMPLETE else None,
            epochs=tuple(member.epochs),
            test=test,
            pack=pack_id,
            device=device,
            error=failure.error if failure else None,
            traceback=failure.traceback if failure else None,
            diverged_epoch=member.epochs[-1].epoch if state is TrialState.DIVERGED else None,
            attempts=member.attempts,
        )

    def _judged(self, epochs: Sequence[EpochMetrics]) -> EpochMetrics:
        """The epoch by which a trial is judged: its last, or its best where the space selects that."""
        return best_epoch(epochs, self._metric) if self._selects_best else epochs[-1]

    def _failed(self, pack_id: str, member: _Member, failure: Failure, device: str | None) -> TrialOutcome | None:
        """The outcome of a member whose attempts are used up; ``None`` if it is to be trained again, alone."""
        if member.attempts <= self._max_failures:
            return None
        if failure.out_of_memory:
            failure = replace(failure, error=f"{failure.error}; {OUT_OF_MEMORY_ADVICE}")
        return self._outcome(pack_id, self._as_recorded(member), TrialState.FAILED, device, failure=failure)

    def _as_recorded(self, member: _Member) -> _Member:
        """A member with the epochs of earlier attempts, which a process that died at once did not repeat."""
        recorded = self._recorder.epochs(member.config.trial_id)
        return replace(member, epochs=[recorded[epoch] for epoch in sorted(recorded)])

    def _leave(self, pack_id: str, trial_ids: Sequence[str], ends: Sequence[TrialOutcome], together: Sequence[str], *, alone: bool) -> None:
        """Take members out of a pack: those in ``ends`` for good, the others to be trained again. All on the disk when this returns.

        ``together``: members that failed together, which is held against none of them. ``alone``: whether these are tried alone.

        Rows come first: an end that Optuna knows has a row; an end that has a row, and that Optuna was not told of, is told on resume.
        """
        for outcome in ends:
            self._recorder.outcome(outcome)
        self._recorder.commit()
        ended = {outcome.config.trial_id: outcome for outcome in ends}
        for trial_id in trial_ids:
            del self._packs[pack_id][trial_id]
            if trial_id in ended:
                end = ended[trial_id]
                self._studies.end(trial_id, TrialEnd(end.state, end.value, end.error, end.diverged_epoch))
            else:
                self._studies.release(trial_id, failed=trial_id not in together, alone=alone or trial_id not in together)
        self._studies.commit()
        self._ended.update(ended)
        if ended:
            self._folder.delete_ended_checkpoints(self._ended, [each for each, members in self._packs.items() if members])
        self._recorder.flush_when_due()

    def _tell(self, ends: Sequence[TrialOutcome], again: Sequence[tuple[TrialConfig, str]]) -> None:
        for outcome in ends:
            self._observe(TrialEnded(outcome))
        for config, error in again:
            self._observe(TrialReturned(config, error))
