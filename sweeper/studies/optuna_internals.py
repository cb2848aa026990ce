"""What this package uses of Optuna that is no public API: each part behind one function or class, which says why no public way serves.

Seen in Optuna 5.0.0. To admit another version, run ``tests/studies/test_optuna_internals.py`` with it, which has a test for each part; then
raise :data:`VERSIONS` here and in ``pyproject.toml``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Container, Mapping
from typing import Any

import optuna
from optuna.samplers import QMCSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

VERSIONS = ">=5.0,<5.1"
"""The versions of Optuna in which every part was tested: what ``pyproject.toml`` says, too."""

TPE_GOOD_TRIALS = 25
"""No more of the best trials make TPE's model of good parameters, however many there are: ``default_gamma``, in a private module."""


def resumed_trial(study: Study, number: int) -> optuna.Trial:
    """A trial that is running in the study, to be drawn for, reported and told: ``Study.ask`` gives out new and enqueued trials only."""
    return optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)


def reported_epochs(trial: optuna.Trial) -> Collection[int]:
    """The epochs that a trial has reported: a ``Trial`` does not tell, and ``Study.trials`` copies the whole study."""
    return trial._cached_frozen_trial.intermediate_values.keys()


def all_trials(study: Study) -> list[FrozenTrial]:
    """All trials of the study that a sampler is given, uncopied: under Hyperband its ``get_trials`` leaves out all other brackets."""
    return study._get_trials(deepcopy=False)


class StudyView(Study):
    """A study of which a sampler is shown only ``trials``. Samplers read a study by ``_get_trials``, and only from a ``Study``."""

    def __init__(self, study: Study, trials: list[FrozenTrial]) -> None:
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        self._trials = trials

    def _get_trials(
        self,
        deepcopy: bool = True,  # noqa: ARG002  the sampler changes none
        states: Container[TrialState] | None = None,
        use_cache: bool = False,  # noqa: ARG002
    ) -> list[FrozenTrial]:
        return [trial for trial in self._trials if states is None or trial.state in states]


def tpe_rank(trial: FrozenTrial, sign: float) -> tuple[bool, float, float, int]:
    """TPE's own order, the best first: complete trials by value, then pruned ones by how far they came and their last value.

    ``sign``: 1 where small values are good, -1 where large ones are. TPE's function for it is private, and splits without an order.
    """
    if trial.state is TrialState.COMPLETE:
        return False, 0.0, sign * float(trial.value or 0.0), trial.number
    if trial.last_step is None:
        return True, 1.0, 0.0, trial.number
    last = sign * trial.intermediate_values[trial.last_step]
    return True, -float(trial.last_step), math.inf if math.isnan(last) else last, trial.number


def take_groups(sampler: TPESampler, inferred: TPESampler) -> None:
    """Give a sampler the groups of parameters that another has inferred: it would go through all trials to find the same.

    ``None`` where it does not draw by groups.
    """
    sampler._search_space_group = inferred._search_space_group


def draw_point(sampler: QMCSampler, number: int) -> QMCSampler:
    """The sampler, made to draw this point of its sequence: by itself it counts in the study what was drawn, a lost draw too."""
    sampler._find_sample_id = lambda *_: number  # type: ignore[method-assign]
    return sampler


class DriverStorage(JournalStorage):
    """Optuna's storage on a journal, for a process that asks for a new trial again and again.

    Each ``Study.ask`` looks for a trial that waits, with ``states=(WAITING,)``, in Optuna among all trials of the study. Here a trial that
    has begun is looked at once. How a storage answers is not public; that it may be subclassed is.
    """

    def __init__(self, journal: BaseJournalBackend) -> None:
        super().__init__(journal)
        self._begun: dict[int, int] = {}

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        if states == (TrialState.WAITING,) and not self._any_waits(study_id):
            return []
        return super().get_all_trials(study_id, deepcopy, states)

    def _any_waits(self, study_id: int) -> bool:
        """Whether a trial waits; counts those before the first one that does, which have begun and never wait again."""
        number = self._begun.get(study_id, 0)
        while True:
            try:
                trial = self.get_trial(self.get_trial_id_from_study_id_trial_number(study_id, number))
            except KeyError:
                waits = False
                break
            if trial.state is TrialState.WAITING:
                waits = True
                break
            number += 1
        self._begun[study_id] = number
        return waits


def is_journal_record(record: Mapping[str, Any]) -> bool:
    """Whether this is a record of Optuna's journal, whose format is not documented; keys that it does not know are ignored.

    Raises:
        KeyError, TypeError: it is not.
    """
    return isinstance(record["op_code"], int) and isinstance(record["worker_id"], str)
