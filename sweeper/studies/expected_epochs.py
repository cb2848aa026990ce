"""The expected number of epochs of a search's trials, from running its pruner on simulated trials."""

from __future__ import annotations

import random
from collections.abc import Sequence

import optuna

from sweeper.metrics import metric_of
from sweeper.space.space import Space
from sweeper.studies.optuna_parts import build_pruner

MOST_TRIALS = 32
MOST_REPORTS = 60
"""Of one trial; a longer trial reports at that many epochs, ever further apart."""


def expected_epochs(space: Space, side_by_side: int = 2) -> tuple[int, ...]:
    """Epochs of each trial of one search, up to :data:`MOST_TRIALS` of them, ``side_by_side`` of all searches in training at once.

    The trials are made up: how good they are is drawn uniformly, and the better of two is the better after every epoch. The pruner is the
    space's own, and decides as in a sweep. Real curves cross each other, and samplers learn: more trials are then kept, or fewer.
    """
    n_epochs, n_trials = space.training.epochs, min(MOST_TRIALS, max(space.planned_trials(arm) for arm in space.arms))
    if space.search.pruner.name == "none":
        return (n_epochs,) * n_trials
    maximize = metric_of(space.search.metric).maximize
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize" if maximize else "minimize", sampler=optuna.samplers.RandomSampler(seed=0), pruner=build_pruner(space)
    )
    generator = random.Random(space.seed)  # noqa: S311  no secret
    lengths: list[int] = []
    running: list[_MadeUp] = []
    waiting, of_one = n_trials, max(1, side_by_side // (len(space.arms) * space.compare.searches))
    while running or waiting:
        while waiting and len(running) < of_one:
            running.append(_MadeUp(study.ask(), generator.random(), 1.0 if maximize else -1.0, _reported(n_epochs)))
            waiting -= 1
        for trial in list(running):
            if trial.goes_on():
                continue
            running.remove(trial)
            lengths.append(trial.epoch)
            study.tell(trial.trial, trial.value if trial.epoch == n_epochs else None, state=trial.state(n_epochs))
    return tuple(lengths)


class _MadeUp:
    """A trial in training that learns as fast as every other and ends ``quality`` above the worst."""

    def __init__(self, trial: optuna.Trial, quality: float, sign: float, epochs: Sequence[int]) -> None:
        self.trial, self._quality, self._sign, self._epochs = trial, quality, sign, list(epochs)
        self.epoch, self.value = 0, 0.0

    def goes_on(self) -> bool:
        """Train to the next epoch that is reported; whether there is another, and the pruner wants it."""
        self.epoch = self._epochs.pop(0)
        self.value = self._sign * (0.5 + self._quality / 2) * self.epoch / (self.epoch + 1)
        self.trial.report(self.value, self.epoch)
        return bool(self._epochs) and not self.trial.should_prune()

    def state(self, n_epochs: int) -> optuna.trial.TrialState:
        return optuna.trial.TrialState.COMPLETE if self.epoch == n_epochs else optuna.trial.TrialState.PRUNED


def _reported(n_epochs: int) -> list[int]:
    if n_epochs <= MOST_REPORTS:
        return list(range(1, n_epochs + 1))
    return sorted({round(n_epochs ** (step / (MOST_REPORTS - 1))) for step in range(MOST_REPORTS)})
