"""What happens in a sweep, as records that the driver passes to its observers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sweeper.records import EpochMetrics, Planned, TrialConfig, TrialOutcome
from sweeper.space import Space
from sweeper.store import SweepFolder


@dataclass(frozen=True, slots=True)
class Preparing:
    """``what`` goes on before the sweep has started, in words."""

    what: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A line for the user at any time: a warning, or what is waited for. May come from another thread than the driver's."""

    line: str


@dataclass(frozen=True, slots=True)
class SweepStarted:
    """All is ready; ``n_packs`` packs will run side by side. ``planned``: trials of the arms and phases that have begun."""

    folder: SweepFolder
    space: Space
    n_packs: int
    planned: Planned


@dataclass(frozen=True, slots=True)
class TrialJoined:
    """A trial has been given to a pack."""

    config: TrialConfig


@dataclass(frozen=True, slots=True)
class TrialReturned:
    """A trial has lost its pack, or failed with ``error``, and will be trained again."""

    config: TrialConfig
    error: str | None


@dataclass(frozen=True, slots=True)
class EpochTrained:
    """A trial has trained an epoch."""

    config: TrialConfig
    metrics: EpochMetrics


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial has ended for good."""

    outcome: TrialOutcome


@dataclass(frozen=True, slots=True)
class SweepEnded:
    """Every trial has ended; Ray is still there. An interrupted sweep has no such event."""


Event = Preparing | Notice | SweepStarted | TrialJoined | TrialReturned | EpochTrained | TrialEnded | SweepEnded

Observer = Callable[[Event], None]
"""Called by the driver between two decisions: it must be quick, but for :class:`SweepEnded`, which may take its time."""


def ignore(event: Event) -> None:
    """Observe nothing."""


def observed_by(*observers: Observer) -> Observer:
    """One observer that hands every event to each of several, in their order.

    A sweep outlives them: one that cannot write any more (its terminal or pipe is gone) is handed nothing further, the others are.
    """
    listening = dict.fromkeys(observers)

    def hand_over(event: Event) -> None:
        for observer in list(listening):
            try:
                observer(event)
            except OSError:
                listening.pop(observer, None)

    return hand_over
