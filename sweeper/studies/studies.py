"""The Optuna studies of a sweep, one per arm, search and phase: what to train next and whether to prune. A resume starts from them.

Equal budgets: the search with the fewest trials is asked next, up to its planned number. A trial is pruned by the pruner of its own study
only. When a search has ended, its best configuration is enqueued in its confirm study once per fresh seed.

Every random stream has a seed of its own, hashed from the sweep's seed, the arm, the search and what it is for; only the seeds of the
confirm phase are the same for all arms and searches, so that these are compared on the same.

Attributes of a trial: ``trial`` and ``seed``; ``failures``, how often it failed and was tried again; ``alone``, if its pack died, so that
it is tried alone; ``error``; ``diverged``, the epoch; ``retry_of``, the number of the failed trial that it repeats with the same parameters
and seed, on top of the budget.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import optuna
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.errors import SpaceError, StudyError
from sweeper.metrics import best_of, metric_of
from sweeper.records import (
    SCHEMA_VERSION,
    Phase,
    Planned,
    TrialConfig,
    TrialState,
    Value,
    study_name,
    trial_name,
)
from sweeper.space import Arm, Space, dump_space, parse_stored_space
from sweeper.studies.journal import SingleWriterJournal
from sweeper.studies.optuna_internals import DriverStorage, reported_epochs, resumed_trial
from sweeper.studies.optuna_parts import build_pruner, build_sampler, draw, grid
from sweeper.studies.sampling import MOST_FINISHED, PerTrialSampler, mixed_seed


@dataclass
class _Part:
    """One study, how many of its trials are planned, asked and finished."""

    arm: Arm
    search: int
    phase: Phase
    study: optuna.Study
    planned: int
    asked: int = 0
    finished: int = 0


class TrialEnd(NamedTuple):
    """How a trial ended, as :meth:`Studies.end` takes it."""

    state: TrialState
    value: float | None = None
    error: str | None = None
    diverged_epoch: int | None = None
    reports: Mapping[int, float] = MappingProxyType({})
    """Values of the search metric by epoch, for a process that has not reported them itself."""


class Studies:
    """The studies of one sweep. One process owns them; everything that they decided is in the journal after :meth:`commit`.

    Raises:
        StoreError: if the journal cannot be read or written.
        StudyError: if its content contradicts the space.
    """

    def __init__(self, space: Space, journal: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._path = journal
        self._journal = SingleWriterJournal(journal)
        self._storage = DriverStorage(self._journal)
        self._live: dict[str, tuple[_Part, optuna.Trial]] = {}
        self._interrupted: deque[tuple[_Part, int]] = deque()
        self._seeds = self._check_space()
        self._searches = [
            self._open(arm, search, Phase.SEARCH, space.planned_trials(arm)) for search in space.searches for arm in space.arms
        ]
        self._confirms: dict[tuple[str, int], _Part] = {}
        begun = optuna.get_all_study_names(self._storage)
        for part in self._searches:
            # a confirm phase that has begun goes on, whatever is repeated in the search
            if part.finished >= part.planned or study_name(part.arm.name, part.search, Phase.CONFIRM) in begun:
                self._confirm(part)

    @property
    def finished(self) -> bool:
        """Whether every planned trial of every arm and phase has ended."""
        return all(entry.finished >= entry.planned for entry in self._entries) and not self._live

    @property
    def planned(self) -> Planned:
        """Planned trials by arm, search and phase, a confirm phase once its search has ended."""
        return {(entry.arm.name, entry.search, entry.phase): entry.planned for entry in self._entries}

    @property
    def n_failed(self) -> int:
        """Failed trials that no later trial repeats."""
        return sum(len(_unrepeated_failures(entry.study)) for entry in self._entries)

    @property
    def n_waiting(self) -> int:
        """Trials planned so far that :meth:`take` has yet to give out."""
        return len(self._interrupted) + sum(entry.planned - entry.asked for entry in self._entries)

    def take(self) -> TrialConfig | None:
        """What to train next: an interrupted trial first, then a new one of the search that lags behind; ``None`` if all are out."""
        if self._interrupted:
            entry, number = self._interrupted.popleft()
            return self._bind(entry, resumed_trial(entry.study, number))
        waiting = [entry for entry in self._entries if entry.asked < entry.planned]
        if not waiting:
            return None
        entry = min(waiting, key=lambda entry: (entry.phase is Phase.CONFIRM, entry.asked))
        entry.asked += 1
        return self._bind(entry, entry.study.ask())

    def report(self, trial_id: str, epoch: int, value: float) -> bool:
        """Report a metric; returns whether the pruner wants the trial to stop. An epoch that was reported before decides nothing."""
        entry, trial = self._live[trial_id]
        if epoch in reported_epochs(trial):
            return False
        return self._report(entry, trial, epoch, value)

    def end(self, trial_id: str, end: TrialEnd) -> None:
        """Tell Optuna how a trial ended. A diverged one is PRUNED, with the attribute ``diverged``: samplers ignore failures."""
        entry, trial = self._live.pop(trial_id)
        for epoch in sorted(end.reports.keys() - reported_epochs(trial)):
            self._report(entry, trial, epoch, end.reports[epoch])
        if end.state is TrialState.DIVERGED:
            trial.set_user_attr("diverged", end.diverged_epoch)
        if end.error is not None:
            trial.set_user_attr("error", end.error)
        optuna_state = {
            TrialState.COMPLETE: OptunaState.COMPLETE,
            TrialState.PRUNED: OptunaState.PRUNED,
            TrialState.DIVERGED: OptunaState.PRUNED,
            TrialState.FAILED: OptunaState.FAIL,
        }[end.state]
        entry.study.tell(trial, end.value if end.state is TrialState.COMPLETE else None, state=optuna_state)
        entry.finished += 1
        if entry.phase is Phase.SEARCH and entry.finished >= entry.planned and (entry.arm.name, entry.search) not in self._confirms:
            self._confirm(entry)

    def failures(self, trial_id: str) -> int:
        """How often a trial has failed so far, in this process or in an earlier one."""
        return int(self._live[trial_id][1].user_attrs.get("failures", 0))

    def goes_alone(self, trial_id: str) -> bool:
        """Whether a trial has failed, or was in a pack that died: it shall take no other trial with it."""
        attributes = self._live[trial_id][1].user_attrs
        return bool(attributes.get("failures") or attributes.get("alone"))

    def release(self, trial_id: str, *, failed: bool = False, alone: bool = False) -> None:
        """Put a trial back that lost its process: the next :meth:`take` returns it again, with the same parameters.

        ``failed``: it is counted; ``alone``: it is not, but whether it was the cause is found out by trying it alone.
        """
        entry, trial = self._live.pop(trial_id)
        if failed:
            trial.set_user_attr("failures", int(trial.user_attrs.get("failures", 0)) + 1)
        if alone:
            trial.set_user_attr("alone", True)
        self._interrupted.append((entry, trial.number))

    def settle(self, ends: Mapping[str, TrialEnd]) -> None:
        """Tell Optuna the ends that were recorded, by trial id, but not told when the last process died.

        Raises:
            StudyError: if rows and studies contradict each other: one of the files was removed or replaced by an older copy.
        """
        if unknown := sorted(ends.keys() - self._trial_ids(finished=False)):
            raise StudyError(
                f"{self._path}: the studies do not know the trial {unknown[0]}{_and_others(unknown)}, which has a row; "
                "the journal was removed or is an older copy: put it back, or run the space again as a new sweep"
            )
        if lost := sorted(self._trial_ids(finished=True) - ends.keys()):
            raise StudyError(
                f"{self._path}: the trial {lost[0]}{_and_others(lost)} has ended, but has no row in trials/ nor in the row log; "
                "a file was removed or is damaged: put it back, or run the space again as a new sweep"
            )
        interrupted, self._interrupted = self._interrupted, deque()
        for entry, number in interrupted:
            trial_id = _trial_id(entry, number)
            if trial_id not in ends:
                self._interrupted.append((entry, number))
                continue
            self._live[trial_id] = (entry, resumed_trial(entry.study, number))
            self.end(trial_id, ends[trial_id])
        self.commit()

    def retry_failed(self) -> int:
        """Enqueue every failed trial once more, on top of the budget; returns how many. A failed repetition may be repeated again.

        The confirm phase keeps the configuration that it began with, whatever a repeated search trial finds.
        """
        n_retried = 0
        for entry in self._entries:
            for frozen in _unrepeated_failures(entry.study):
                attributes = {"seed": frozen.user_attrs.get("seed", self._search_seed(entry)), "retry_of": frozen.number}
                entry.study.enqueue_trial(dict(frozen.params), user_attrs=attributes)
                entry.planned += 1
                n_retried += 1
        self.commit()
        return n_retried

    def commit(self) -> None:
        """Make everything decided so far safe from a power cut."""
        self._journal.commit()

    def close(self) -> None:
        """Close the journal, without what was not committed."""
        self._journal.close()

    def _report(self, entry: _Part, trial: optuna.Trial, epoch: int, value: float) -> bool:
        """Whether the pruner wants the trial to stop. It is asked about every epoch, for some note down what they have seen."""
        trial.report(_finite_or_nan(value), epoch)
        return entry.phase is Phase.SEARCH and epoch < self._space.training.epochs and bool(trial.should_prune())

    @property
    def _entries(self) -> list[_Part]:
        return [*self._searches, *self._confirms.values()]

    def _open(self, arm: Arm, search: int, phase: Phase, planned: int) -> _Part:
        is_search = phase is Phase.SEARCH
        name = study_name(arm.name, search, phase)
        study = self._study(name)
        study.sampler = self._sampler(arm, search) if is_search else optuna.samplers.RandomSampler(seed=0)
        study.pruner = build_pruner(self._space) if is_search else optuna.pruners.NopPruner()
        if is_search and self._space.search.sampler.name == "grid":
            _enqueue(study, [(point, {}) for point in grid(self._space, arm, search)[:planned]])
        planned += sum("retry_of" in frozen.user_attrs for frozen in study.get_trials(deepcopy=False))
        entry = _Part(arm, search, phase, study, planned)
        for frozen in study.get_trials(deepcopy=False):
            if frozen.state is OptunaState.WAITING:
                continue
            entry.asked += 1
            if frozen.state.is_finished():
                entry.finished += 1
            else:
                self._interrupted.append((entry, frozen.number))
        if entry.asked > planned:
            raise StudyError(
                f"{self._path}: study {name!r} holds {entry.asked} trials, the space plans {planned}: the journal belongs to another "
                "space; run the space again as a new sweep"
            )
        return entry

    def _check_space(self) -> str:
        """Keep the space in the first study, and refuse a journal that another space began. Returns how the sweep's seeds are made.

        They are ``hashed``, unless an earlier version began the sweep. All of those train the search on the sweep's own seed; the last one
        made the seeds of the confirm phase as they are made today (``mixed``), those before it counted them on from the sweep's own.
        """
        text = dump_space(self._space)
        study = self._study(study_name(self._space.arms[0].name, 1, Phase.SEARCH))
        version = study.user_attrs.get("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise StudyError(f"{self._path}: written with schema version {version}, this sweeper reads version {SCHEMA_VERSION}")
        began_with = study.user_attrs.get("space")
        if began_with is None and study.get_trials(deepcopy=False):
            raise StudyError(f"{self._path}: not a journal of sweeper: its study {study.study_name!r} has trials but no space")
        if began_with is None:
            study.set_user_attr("schema_version", SCHEMA_VERSION)
            study.set_user_attr("seeds", "hashed")
            study.set_user_attr("space", text)
        elif began_with != text and (before := _as_dumped_now(str(began_with))) != text:
            raise StudyError(_changed_space(str(self._path.with_name("sweep.yaml")), before, text))
        return str(study.user_attrs.get("seeds", study.user_attrs.get("confirm_seeds", "consecutive")))

    def _study(self, name: str) -> optuna.Study:
        """The study of this name, new if there is none. (Optuna's ``load_if_exists`` would add a record to the journal each time.)"""
        try:
            return optuna.load_study(study_name=name, storage=self._storage)
        except KeyError:
            direction = StudyDirection.MAXIMIZE if metric_of(self._space.search.metric).maximize else StudyDirection.MINIMIZE
            return optuna.create_study(storage=self._storage, study_name=name, direction=direction)

    def _trial_ids(self, *, finished: bool) -> Collection[str]:
        """Ids of all trials that were asked, or of those alone that have ended."""
        return {
            _trial_id(entry, frozen.number)
            for entry in self._entries
            for frozen in entry.study.get_trials(deepcopy=False)
            if frozen.state is not OptunaState.WAITING and (frozen.state.is_finished() or not finished)
        }

    def _sampler(self, arm: Arm, search: int) -> BaseSampler:
        most_finished = MOST_FINISHED if self._space.search.sampler.name == "tpe" else None
        parts = (arm.name, search, "sampler") if self._seeds == "hashed" else (arm.name,)
        return PerTrialSampler(lambda seed: build_sampler(self._space, arm, seed), mixed_seed(self._space.seed, *parts), most_finished)

    def _bind(self, entry: _Part, trial: optuna.Trial) -> TrialConfig:
        parameters: dict[str, Value] = draw(self._space, entry.arm, trial)
        seed = int(trial.user_attrs["seed"]) if "seed" in trial.user_attrs else self._search_seed(entry)
        config = TrialConfig(entry.arm.name, entry.phase, trial.number, seed, parameters, entry.search)
        if "trial" not in trial.user_attrs:
            trial.set_user_attr("trial", config.trial_id)
            trial.set_user_attr("seed", seed)
        self._live[config.trial_id] = (entry, trial)
        return config

    def _search_seed(self, entry: _Part) -> int:
        if self._seeds != "hashed":
            return self._space.seed
        return search_seed(self._space.seed, entry.arm.name, entry.search)

    def _confirm(self, search: _Part) -> None:
        """Open the confirm phase of a search, and enqueue what it lacks; nothing for a search without a complete trial."""
        n_seeds = self._space.compare.seeds
        if not n_seeds:
            return
        best = self._best(search.study)
        if best is None:
            return
        confirm = self._open(search.arm, search.search, Phase.CONFIRM, n_seeds)
        if "confirms" in confirm.study.user_attrs:  # a failed search trial may have been repeated since
            best = search.study.get_trials(deepcopy=False)[confirm.study.user_attrs["confirms"]]
        else:
            confirm.study.set_user_attr("confirms", best.number)
        _enqueue(confirm.study, [(best.params, {"seed": seed}) for seed in self._confirm_seeds(n_seeds)])
        self._confirms[search.arm.name, search.search] = confirm

    def _confirm_seeds(self, n_seeds: int) -> list[int]:
        """The seeds of the confirm phase, the same for every arm and search; a sweep that began with consecutive ones keeps them."""
        if self._seeds == "consecutive":
            return [self._space.seed + 1 + index for index in range(n_seeds)]
        return confirm_seeds(self._space.seed, n_seeds)

    def _best(self, study: optuna.Study) -> FrozenTrial | None:
        """The complete trial with the best value, the first of equals; ``None`` if none is complete."""
        complete = study.get_trials(deepcopy=False, states=(OptunaState.COMPLETE,))
        return best_of(self._space.search.metric, complete, lambda trial: trial.value)


def example_members(space: Space, size: int) -> list[TrialConfig]:
    """Trials for a timing: one of each arm in turn, with parameters drawn at random."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.RandomSampler(seed=space.seed)
    arms = [space.arms[index % len(space.arms)] for index in range(size)]
    return [
        TrialConfig(arm.name, Phase.SEARCH, number, space.seed, draw(space, arm, optuna.create_study(sampler=sampler).ask()))
        for number, arm in enumerate(arms)
    ]


def search_seed(sweep_seed: int, arm: str, search: int) -> int:
    """The seed, of 31 bits, of all trials of one search: its configurations are compared on the same validation images."""
    return mixed_seed(sweep_seed, arm, search, "trial") >> 1


def confirm_seeds(sweep_seed: int, n_seeds: int) -> list[int]:
    """Seeds of 31 bits, no two alike, that no other sweep and no search shares but by a rare chance."""
    seeds: dict[int, None] = {}
    for index in itertools.count():
        if len(seeds) == n_seeds:
            break
        seeds[mixed_seed(sweep_seed, "confirm", index) >> 1] = None
    return list(seeds)


def _finite_or_nan(value: float) -> float:
    """A value as Optuna shall see it: an infinite one is no better than one that is not a number, in whatever direction it lies."""
    return value if math.isfinite(value) else math.nan


def _enqueue(study: optuna.Study, points: list[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
    """Enqueue the points that are not in the study yet, in their order; a crash in between leaves the rest for the next call."""
    for parameters, attributes in points[len(study.get_trials(deepcopy=False)) :]:
        study.enqueue_trial(dict(parameters), user_attrs=dict(attributes))


def _trial_id(entry: _Part, number: int) -> str:
    return trial_name(entry.arm.name, entry.search, entry.phase, number)


def _unrepeated_failures(study: optuna.Study) -> list[FrozenTrial]:
    trials = study.get_trials(deepcopy=False)
    repeated = {frozen.user_attrs.get("retry_of") for frozen in trials}
    return [frozen for frozen in trials if frozen.state is OptunaState.FAIL and frozen.number not in repeated]


def _and_others(names: Collection[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _as_dumped_now(text: str) -> str:
    """A stored space with what an earlier version did not write yet; the text itself where it cannot be read."""
    try:
        return dump_space(parse_stored_space(text, "journal"))
    except SpaceError:
        return text


def _changed_space(path: str, before: str, after: str) -> str:
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), "as the sweep began", path, lineterm="", n=1)
    heading = f"{path}: the space has changed since the sweep began; undo the change, or run it as a new sweep:"
    return "\n".join([heading, *(f"  {line}" for line in diff)])
