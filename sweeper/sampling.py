"""Samplers whose draws depend on the trial alone, so that a resumed sweep draws what an uninterrupted one would have drawn.

A seeded Optuna sampler replays its random numbers when it is created again, and goes on with other numbers when it is not. Here every
draw has a seed of its own, mixed from the sweep's seed, the study, the trial's number and the parameter's name: the same whatever was
interrupted, whatever runs side by side. A quasi-Monte Carlo sampler, which counts its points in the study, needs one fixed seed instead.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState


def mixed_seed(*parts: int | str) -> int:
    """A seed in [0, 2**32) that depends on every part and on their order, the same on every machine."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part & 0xFFFFFFFF for part in parts]
    return int(np.random.SeedSequence([len(words), *words]).generate_state(1)[0])


class PerTrialSampler(BaseSampler):
    """A sampler that is made anew for every draw, from ``make(seed)``."""

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._fixed = make(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._fixed.infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        if not search_space:
            return {}
        return self._make(mixed_seed(self._seed, study.study_name, trial.number)).sample_relative(study, trial, search_space)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        sampler = self._make(mixed_seed(self._seed, study.study_name, trial.number, param_name))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._fixed.before_trial(study, trial)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._fixed.after_trial(study, trial, state, values)
