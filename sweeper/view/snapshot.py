"""How far a sweep is, at one moment, as plain frozen data: what the panel, the lines and ``sweep status`` show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.records import Phase, Value

END_SECONDS = 4.0
"""What a sweep takes after its last epoch: the last trials' test figures, Ray's end and the report. From runs on two cores."""


@dataclass(frozen=True, slots=True)
class Best:
    """The complete search trial with the best value of the metric so far; of equals the lowest number."""

    trial: str
    value: float
    parameters: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Part:
    """The trials of one arm in one phase.

    ``epochs``: those that were trained so far, by running trials too; ``epochs_of_ended``: by trials that have ended; ``epochs_of_pruned``:
    by those that were pruned. ``expected``: epochs that a trial is expected to last before any tells; ``None``: all.
    """

    arm: str
    phase: Phase
    planned: int
    running: int
    complete: int
    pruned: int
    diverged: int
    failed: int
    epochs: int
    epochs_of_ended: int
    epochs_of_pruned: int
    best: Best | None
    expected: float | None = None

    @property
    def ended(self) -> int:
        return self.complete + self.pruned + self.diverged + self.failed

    def expected_epochs(self, epochs_per_trial: int) -> float:
        """Epochs that this part will have taken at its end, if its trials go on to last as long on average as those that have ended.

        The first that end are those that are pruned soon: until five have ended, each counts for as much as was expected beforehand.
        """
        typical = self.epochs_of_ended / self.ended if self.ended >= 5 else self.expected or float(epochs_per_trial)
        return self.epochs_of_ended + (self.planned - self.ended) * typical


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole sweep at one moment; parts in the order of the arms, the search before the confirm phase.

    ``stage``: what it is doing, in words. ``comparable``: whether values of the metric mean the same in every arm. ``seconds``: since it
    began, in this process. ``epochs_per_second``: of late; ``None`` where nobody measures. ``first_failure``: the first failed trial and
    its error.
    """

    sweep: str
    stage: str
    metric: str
    maximize: bool
    comparable: bool
    epochs_per_trial: int
    parts: tuple[Part, ...]
    seconds: float
    epochs_per_second: float | None
    first_failure: str | None

    @property
    def best(self) -> Best | None:
        """The best of all arms, by the metric that all are searched by; ``None`` where its values cannot be compared between them."""
        found = [part.best for part in self.parts if part.best is not None and self.comparable]
        sign = 1.0 if self.maximize else -1.0
        return max(found, key=lambda best: sign * best.value, default=None)

    @property
    def phase(self) -> Phase:
        """The phase in which trials are still to be ended: the search, until all arms are searched, or where nothing is confirmed."""
        searching = any(part.ended < part.planned for part in self.phase_parts(Phase.SEARCH))
        return Phase.SEARCH if searching or not self.total("planned", Phase.CONFIRM) else Phase.CONFIRM

    @property
    def epochs(self) -> int:
        return sum(part.epochs for part in self.parts)

    @property
    def eta_seconds(self) -> float | None:
        """About how long it still takes, report included; ``None`` while nobody knows, and when every trial has ended."""
        if not self.epochs_per_second or self.total("ended") >= self.total("planned"):
            return None
        left = sum(max(0.0, part.expected_epochs(self.epochs_per_trial) - part.epochs) for part in self.parts)
        return left / self.epochs_per_second + END_SECONDS

    @property
    def saved(self) -> float | None:
        """Share of the epochs of ended search trials that pruned ones were spared, a fraction; ``None`` before any has ended."""
        parts = self.phase_parts(Phase.SEARCH)
        whole = sum(part.ended for part in parts) * self.epochs_per_trial
        return sum(part.pruned * self.epochs_per_trial - part.epochs_of_pruned for part in parts) / whole if whole else None

    def phase_parts(self, phase: Phase) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.phase is phase)

    def total(self, name: str, phase: Phase | None = None) -> int:
        """The sum of a count (``planned``, ``ended``, ``running``, …) over the parts of a phase, or of all."""
        return sum(int(getattr(part, name)) for part in self.parts if phase is None or part.phase is phase)
