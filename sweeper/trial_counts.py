"""The trials of a search in one phase, counted: one way for a running sweep, for one that is seen from outside, and for a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sweeper.metrics import best_of
from sweeper.records import ONLY_SEARCH, Phase, TrialState, Value


@dataclass(frozen=True, slots=True)
class BestTrial:
    """The complete search trial with the best finite ``value`` (the metric at its last epoch) of an arm, or of one of its searches.

    Of equals, that of the first search and the lowest number.
    """

    trial: str
    number: int
    value: float
    epochs: int
    parameters: Mapping[str, Value]
    search: int = ONLY_SEARCH


@dataclass(frozen=True, slots=True)
class Part:
    """The trials of one search of an arm in one phase, or of all its searches (:func:`together`).

    ``epochs``: those that were trained so far, by running trials too; ``epochs_of_ended``: by trials that have ended; ``epochs_of_pruned``:
    by those that were pruned. ``expected``: epochs that a trial is expected to last before any tells; ``None``: all.
    """

    arm: str
    phase: Phase
    planned: int = 0
    running: int = 0
    complete: int = 0
    pruned: int = 0
    diverged: int = 0
    failed: int = 0
    epochs: int = 0
    epochs_of_ended: int = 0
    epochs_of_pruned: int = 0
    best: BestTrial | None = None
    expected: float | None = None
    search: int = ONLY_SEARCH

    @property
    def ended(self) -> int:
        return self.complete + self.pruned + self.diverged + self.failed

    def expected_epochs(self, epochs_per_trial: int) -> float:
        """Epochs that this part will have taken at its end, if its trials go on to last as long on average as those that have ended.

        The first that end are those that are pruned soon: until five have ended, each counts for as much as was expected beforehand.
        """
        typical = self.epochs_of_ended / self.ended if self.ended >= 5 else self.expected or float(epochs_per_trial)
        return self.epochs_of_ended + (self.planned - self.ended) * typical

    def after(self, state: TrialState, epochs: int, candidate: BestTrial | None, metric: str) -> Part:
        """This part with one more trial that has ended, in whatever order they end; ``candidate``: that trial, if it has a final value."""
        best = self.best
        if candidate is not None and self.phase is Phase.SEARCH:
            candidates = sorted(filter(None, (best, candidate)), key=lambda trial: (trial.search, trial.number))
            best = best_of(metric, candidates, lambda trial: trial.value)
        return replace(
            self,
            **{str(state): getattr(self, state) + 1},
            epochs=self.epochs + epochs,
            epochs_of_ended=self.epochs_of_ended + epochs,
            epochs_of_pruned=self.epochs_of_pruned + (epochs if state is TrialState.PRUNED else 0),
            best=best,
        )


def together(parts: Sequence[Part], metric: str) -> Part:
    """The parts of an arm's searches in one phase as one part, with the best of their bests: that of the first search of equals."""
    names = ("planned", "running", *map(str, TrialState), "epochs", "epochs_of_ended", "epochs_of_pruned")
    counts = {name: sum(getattr(part, name) for part in parts) for name in names}
    return replace(parts[0], **counts, best=best_of(metric, [part.best for part in parts if part.best], lambda trial: trial.value))


def saved_by_pruning(parts: Iterable[Part], epochs_per_trial: int) -> float | None:
    """Share of the epochs of ended trials that pruned ones were spared, a fraction; ``None`` before any has ended.

    What failed or diverged has saved nothing.
    """
    parts = tuple(parts)
    whole = sum(part.ended for part in parts) * epochs_per_trial
    return sum(part.pruned * epochs_per_trial - part.epochs_of_pruned for part in parts) / whole if whole else None
