"""The sweeps of a results folder, one line each, and what each search of one sweep has found."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from sweeper.errors import SweeperError
from sweeper.records import ONLY_SEARCH, EpochMetrics, Phase, TrialState, Value
from sweeper.store import SweepFolder, find_sweeps
from sweeper.trial_counts import BestTrial, Part
from sweeper.view.snapshot import Snapshot
from sweeper.view.status import Status, sweep_status
from sweeper.view.trial import curve_of, read_so_far


@dataclass(frozen=True, slots=True)
class SweepLine:
    """One sweep in a list. ``searches``: of each arm. ``problem``: why nothing else is known of it."""

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
    searches: int = ONLY_SEARCH


@dataclass(frozen=True, slots=True)
class SearchView:
    """The best trial of a search, ``None`` before any is complete, with its validation curve; and its seeds in the confirm phase.

    ``test_accuracy``: the mean over the confirm trials that are complete, a fraction.
    """

    search: int
    trial: str | None
    value: float | None
    parameters: Mapping[str, Value]
    curve: tuple[EpochMetrics, ...]
    confirmed: int
    test_accuracy: float | None


@dataclass(frozen=True, slots=True)
class ArmView:
    """What the searches of an arm have found, and the best trial of all of them as a :class:`SearchView` has it.

    ``confirmed``: confirm trials of all searches that are complete; ``test_accuracy``: the mean over the means of the searches.
    """

    arm: str
    trial: str | None
    value: float | None
    parameters: Mapping[str, Value]
    curve: tuple[EpochMetrics, ...]
    confirmed: int
    test_accuracy: float | None
    searches: tuple[SearchView, ...]


@dataclass(frozen=True, slots=True)
class SweepView:
    """A sweep and what its arms have found, in the space's order. ``show``: the command that shows the best trial of all."""

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
        searches=snapshot.searches,
    )


def view_sweep(folder: SweepFolder) -> SweepView:
    """How far a sweep is, and what its arms have found.

    Raises:
        StoreError, SpaceError: as :func:`sweeper.view.status.sweep_status`.
    """
    status = sweep_status(folder)
    stored, epochs = read_so_far(folder)
    arms = tuple(_arm(part, status.snapshot, stored.trials, epochs) for part in status.snapshot.phase_parts(Phase.SEARCH))
    best = status.snapshot.best
    dataset = stored.provenance.get("dataset")
    return SweepView(
        status=status,
        dataset=str(dataset.get("name")) if isinstance(dataset, dict) else None,
        arms=arms,
        problems=stored.problems,
        show=f"sweep show {shlex.quote(str(folder))} {shlex.quote(best.trial)}" if best else None,
    )


def _arm(whole: Part, snapshot: Snapshot, trials: pd.DataFrame, epochs: pd.DataFrame) -> ArmView:
    parts = [part for part in snapshot.parts if (part.arm, part.phase) == (whole.arm, Phase.SEARCH)]
    searches = tuple(_search(part, trials, epochs) for part in parts)
    best = next((search for search in searches if whole.best and search.search == whole.best.search), searches[0])
    accuracies = [search.test_accuracy for search in searches if search.test_accuracy is not None]
    return ArmView(
        arm=whole.arm,
        trial=best.trial,
        value=best.value,
        parameters=best.parameters,
        curve=best.curve,
        confirmed=sum(search.confirmed for search in searches),
        test_accuracy=fmean(accuracies) if accuracies else None,
        searches=searches,
    )


def _search(part: Part, trials: pd.DataFrame, epochs: pd.DataFrame) -> SearchView:
    best, rows = part.best, trials[(trials["arm"] == part.arm) & (trials["search"] == part.search)]
    confirm = rows[(rows["phase"] == Phase.CONFIRM) & (rows["state"] == TrialState.COMPLETE)]
    accuracies = confirm["test_accuracy"].dropna() if len(confirm) else pd.Series(dtype=float)
    return SearchView(
        search=part.search,
        trial=best.trial if best else None,
        value=best.value if best else None,
        parameters=best.parameters if best else {},
        curve=curve_of(epochs, best.trial) if best else (),
        confirmed=len(confirm),
        test_accuracy=float(accuracies.mean()) if len(accuracies) else None,
    )
