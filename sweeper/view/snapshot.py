"""The progress of a sweep at one moment, as frozen data: what the panel, the lines and ``sweep status`` show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType

from sweeper.metrics import best_of, metric_of
from sweeper.records import ONLY_SEARCH, Phase, Planned
from sweeper.space import Space
from sweeper.trial_counts import BestTrial, Part, saved_by_pruning, together

END_SECONDS = 4.0
"""What a sweep takes after its last epoch: the last trials' test figures, Ray's end and the report. From runs on two cores."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole sweep at one moment; a part for each search of an arm, in the order of the arms, the search before the confirm phase.

    ``searches``: of each arm. ``stage``: the phase in which trials are still to be ended: the search, until all searches have ended, or
    where nothing is confirmed.
    ``comparable``: whether values of the metric mean the same in every arm. ``seconds``: since it began; of a running sweep, in this
    process. ``epochs_per_second``: recently; ``None`` if not measured. ``first_failure``: the first failed trial and its error.
    """

    sweep: str
    stage: Phase
    metric: str
    maximize: bool
    comparable: bool
    epochs_per_trial: int
    parts: tuple[Part, ...]
    seconds: float
    epochs_per_second: float | None
    first_failure: str | None
    searches: int = ONLY_SEARCH

    @property
    def best(self) -> BestTrial | None:
        """The best of all arms, by the metric that all are searched by; ``None`` where its values cannot be compared between them."""
        found = [part.best for part in self.parts if part.best is not None and self.comparable]
        return best_of(self.metric, found, lambda best: best.value)

    @property
    def epochs(self) -> int:
        return sum(part.epochs for part in self.parts)

    @property
    def eta_seconds(self) -> float | None:
        """About how long it still takes, report included; ``None`` while unknown, and when every trial has ended."""
        if not self.epochs_per_second or self.total("ended") >= self.total("planned"):
            return None
        parts = [part for phase in Phase for part in self.phase_parts(phase)]
        left = sum(max(0.0, part.expected_epochs(self.epochs_per_trial) - part.epochs) for part in parts)
        return left / self.epochs_per_second + END_SECONDS

    @property
    def saved(self) -> float | None:
        """Share of the epochs of ended search trials that pruned ones were spared, a fraction; ``None`` before any has ended."""
        return saved_by_pruning(self.phase_parts(Phase.SEARCH), self.epochs_per_trial)

    def phase_parts(self, phase: Phase) -> tuple[Part, ...]:
        """A part for each arm, all its searches together."""
        by_arm: dict[str, list[Part]] = {}
        for part in self.parts:
            if part.phase is phase:
                by_arm.setdefault(part.arm, []).append(part)
        return tuple(together(parts, self.metric) for parts in by_arm.values())

    def total(self, name: str, phase: Phase | None = None) -> int:
        """The sum of a count (``planned``, ``ended``, ``running``, …) over the parts of a phase, or of all."""
        return sum(int(getattr(part, name)) for part in self.parts if phase is None or part.phase is phase)

    def at(self, parts: Iterable[Part], seconds: float, epochs_per_second: float | None, first_failure: str | None) -> Snapshot:
        """The same sweep at another moment."""
        later = replace(self, parts=tuple(parts), seconds=seconds, epochs_per_second=epochs_per_second, first_failure=first_failure)
        searching = later.total("ended", Phase.SEARCH) < later.total("planned", Phase.SEARCH)
        return replace(later, stage=Phase.SEARCH if searching or not later.total("planned", Phase.CONFIRM) else Phase.CONFIRM)


def before_any_trial(sweep: str, space: Space, planned: Planned = MappingProxyType({})) -> Snapshot:
    """A sweep as it begins; ``planned``: where more trials are planned than the space says, because failed ones are repeated."""
    of_space = {(arm.name, search, Phase.SEARCH): space.planned_trials(arm) for arm in space.arms for search in space.searches}
    of_space |= {(arm.name, search, Phase.CONFIRM): space.compare.seeds for arm in space.arms for search in space.searches}
    return Snapshot(
        sweep=sweep,
        stage=Phase.SEARCH,
        metric=space.search.metric,
        maximize=metric_of(space.search.metric).maximize,
        comparable=space.is_comparable(space.search.metric),
        epochs_per_trial=space.training.epochs,
        parts=tuple(Part(key[0], key[2], planned.get(key, number), search=key[1]) for key, number in of_space.items()),
        seconds=0.0,
        epochs_per_second=None,
        first_failure=None,
        searches=space.compare.searches,
    )
