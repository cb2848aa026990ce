"""Samplers whose draws depend on the trial's number alone, so that a resumed sweep draws what an uninterrupted one would.

A seeded Optuna sampler repeats its random numbers when it is created anew, and continues with others when it is not. Here every draw has
its own seed, derived from the sweep's seed, the study, the trial's number and the parameter's name: the same whatever was interrupted and
whatever runs concurrently. The points of a quasi-Monte Carlo sampler are one sequence, scrambled with one seed, and the trial's number is
the index into it.

TPE reads the whole study for every draw: 6 ms at 300 trials, 38 ms at 3,000, and seconds later on. So that the ten thousandth trial costs
little more than the first, it sees at most :data:`MOST_FINISHED` finished trials of its study. Up to that many, nothing changes. What TPE
infers from the parameters of these trials stays the same until another trial ends, so it is kept for all the trials that join together.
"""

from __future__ import annotations

import bisect
import heapq
import zlib
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, QMCSampler, TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeper.studies.optuna_internals import TPE_GOOD_TRIALS, StudyView, all_trials, draw_point, take_groups, tpe_rank

MOST_FINISHED = 250
"""Finished trials of one study that TPE learns from: the best, and of the others the newest."""

_LEARNT_FROM = (TrialState.COMPLETE, TrialState.PRUNED)


def mixed_seed(*parts: int | str) -> int:
    """A seed in [0, 2**32) that depends on every part and on their order, the same on every machine."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part & 0xFFFFFFFF for part in parts]
    return int(np.random.SeedSequence([len(words), *words]).generate_state(1)[0])


class PerTrialSampler(BaseSampler):
    """A sampler that is made anew for every draw, from ``make(seed)``. ``most_finished``: see :class:`CappedStudy`."""

    def __init__(self, make: Callable[[int], BaseSampler], seed: int, most_finished: int | None = None) -> None:
        self._make = make
        self._seed = seed
        self._shown = CappedStudy(most_finished).of if most_finished is not None else lambda study: study
        self._fixed = make(seed)
        self._inferred: dict[str, BaseDistribution] | None = None
        self._grouped: TPESampler | None = None

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        inferred = self._inferred
        if inferred is None:
            inferred = self._fixed.infer_relative_search_space(study, trial)
            if isinstance(self._fixed, TPESampler):  # others may look at trials that run, too
                self._inferred = inferred
        return dict(inferred)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        if not search_space:
            return {}
        if isinstance(self._fixed, QMCSampler):
            return self._point(max(0, trial.number - 1)).sample_relative(study, trial, search_space)  # the first trial has no point
        sampler = self._make(mixed_seed(self._seed, study.study_name, trial.number))
        shown = self._shown(study)
        if isinstance(sampler, TPESampler):  # keeps the groups that it finds, and draws group by group
            if self._grouped is None:
                sampler.infer_relative_search_space(shown, trial)
                self._grouped = sampler
            take_groups(sampler, self._grouped)
        return sampler.sample_relative(shown, trial, search_space)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        sampler = self._make(mixed_seed(self._seed, study.study_name, trial.number, param_name))
        return sampler.sample_independent(self._shown(study), trial, param_name, param_distribution)

    def _point(self, number: int) -> QMCSampler:
        """A sampler whose next point is this one of its sequence. Optuna's counts in the study what was drawn, a lost draw too."""
        return draw_point(cast("QMCSampler", self._make(self._seed)), number)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._fixed.before_trial(study, trial)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._inferred = self._grouped = None
        self._fixed.after_trial(study, trial, state, values)


class CappedStudy:
    """What a sampler is shown of one study: all of it up to ``most_finished`` complete and pruned trials, then a view that holds that many.

    The view keeps the :data:`TPE_GOOD_TRIALS` best and fills up with the newest, so TPE's model of good parameters is that of the whole
    study, and its model of the others forgets what it weighs least: the oldest. What is kept depends on the trials alone.
    """

    def __init__(self, most_finished: int) -> None:
        self._most_finished = most_finished
        self._n_looked_at = 0
        self._unfinished: set[int] = set()
        self._finished: list[int] = []
        self._best: list[tuple[bool, float, float, int]] = []

    def of(self, study: Study) -> Study:
        """The study itself, or a view of it. Looks at the trials that are new or were not finished at the last look, and at no others."""
        trials = all_trials(study)
        self._look_at(trials, 1.0 if study.direction is StudyDirection.MINIMIZE else -1.0)
        if len(self._finished) <= self._most_finished:
            return study
        shown = {number for *_, number in self._best}
        for number in reversed(self._finished):
            if len(shown) >= self._most_finished:
                break
            shown.add(number)
        return StudyView(study, [trials[number] for number in sorted(shown | self._unfinished)])

    def _look_at(self, trials: Sequence[FrozenTrial], sign: float) -> None:
        unknown = [*self._unfinished, *range(self._n_looked_at, len(trials))]
        self._n_looked_at = len(trials)
        self._unfinished = {number for number in unknown if not trials[number].state.is_finished()}
        new = [number for number in unknown if trials[number].state in _LEARNT_FROM]
        for number in new:
            bisect.insort(self._finished, number)
        self._best = heapq.nsmallest(TPE_GOOD_TRIALS, self._best + [tpe_rank(trials[number], sign) for number in new])
