"""The sweeps of a results folder, one line each, and the best trial of each arm of one sweep."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from sweeper.errors import SweeperError
from sweeper.records import EpochMetrics, Phase, TrialState, Value
from sweeper.store import SweepFolder, find_sweeps
from sweeper.trial_counts import BestTrial
from sweeper.view.status import Status, sweep_status
from sweeper.view.trial import curve_of, read_so_far


@dataclass(frozen=True, slots=True)
class SweepLine:
    """One sweep in a list. ``problem``: why nothing else is known of it."""

    sweep: str
    state: str | None
    started_at: str | None
    arms: int
    ended: int
    planned: int
    failed: int
    metric: str | None
    best: BestTrial | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ArmView:
    """The best search trial of an arm, ``None`` before any is complete, with its validation curve; and its seeds in the confirm phase.

    ``test_accuracy``: the mean over the confirm trials that are complete, a fraction.
    """

    arm: str
    trial: str | None
    value: float | None
    parameters: Mapping[str, Value]
    curve: tuple[EpochMetrics, ...]
    confirmed: int
    test_accuracy: float | None


@dataclass(frozen=True, slots=True)
class SweepView:
    """A sweep and the best trial of each of its arms, in the space's order. ``show``: the command that shows the best of all."""

    status: Status
    dataset: str | None
    arms: tuple[ArmView, ...]
    problems: tuple[str, ...]
    show: str | None


def list_sweeps(results: str) -> tuple[SweepLine, ...]:
    """Every sweep below a folder, oldest first; one that cannot be read says why, and the others are listed all the same.

    Raises:
        StoreError: if the folder holds no sweep.
    """
    return tuple(map(_line, find_sweeps(results)))


def _line(folder: SweepFolder) -> SweepLine:
    try:
        status = sweep_status(folder)
    except SweeperError as error:
        return SweepLine(folder.id, None, None, 0, 0, 0, 0, None, None, "; ".join(map(str.strip, str(error).splitlines())))
    snapshot = status.snapshot
    return SweepLine(
        sweep=folder.id,
        state=status.state,
        started_at=status.started_at,
        arms=len(snapshot.phase_parts(Phase.SEARCH)),
        ended=snapshot.total("ended"),
        planned=snapshot.total("planned"),
        failed=snapshot.total("failed"),
        metric=snapshot.metric,
        best=snapshot.best,
    )


def view_sweep(folder: SweepFolder) -> SweepView:
    """How far a sweep is, and what its arms have found.

    Raises:
        StoreError, SpaceError: as :func:`sweeper.view.status.sweep_status`.
    """
    status = sweep_status(folder)
    stored, epochs = read_so_far(folder)
    bests = {part.arm: part.best for part in status.snapshot.phase_parts(Phase.SEARCH)}
    arms = tuple(_arm(arm, best, stored.trials, epochs) for arm, best in bests.items())
    best = status.snapshot.best
    dataset = stored.provenance.get("dataset")
    return SweepView(
        status=status,
        dataset=str(dataset.get("name")) if isinstance(dataset, dict) else None,
        arms=arms,
        problems=stored.problems,
        show=f"sweep show {shlex.quote(str(folder))} {shlex.quote(best.trial)}" if best else None,
    )


def _arm(arm: str, best: BestTrial | None, trials: pd.DataFrame, epochs: pd.DataFrame) -> ArmView:
    confirm = trials[(trials["arm"] == arm) & (trials["phase"] == Phase.CONFIRM) & (trials["state"] == TrialState.COMPLETE)]
    accuracies = confirm["test_accuracy"].dropna() if len(confirm) else pd.Series(dtype=float)
    return ArmView(
        arm=arm,
        trial=best.trial if best else None,
        value=best.value if best else None,
        parameters=best.parameters if best else {},
        curve=curve_of(epochs, best.trial) if best else (),
        confirmed=len(confirm),
        test_accuracy=float(accuracies.mean()) if len(accuracies) else None,
    )
