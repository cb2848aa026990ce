"""How far a sweep is, seen from outside: its studies, its lock and its space, without disturbing who runs it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sweeper.records import MAXIMIZED_METRICS, Phase, TrialConfig, TrialState, study_name, trial_rank
from sweeper.space import Arm, Space, parse_stored_space
from sweeper.store import SweepFolder
from sweeper.view.counts import free_parameters
from sweeper.view.snapshot import Best, Part, Snapshot

if TYPE_CHECKING:  # it imports Optuna, a quarter of a report's time
    from sweeper.studies.journal_reader import SeenTrial

PACE_WINDOW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Status:
    """``state``: ``running`` while a process owns the sweep (``owner``: which, and on which machine), ``finished`` when nothing is left
    to do, else ``interrupted``. ``started_at`` is in UTC.
    """

    folder: str
    state: Literal["running", "finished", "interrupted"]
    owner: str | None
    started_at: str | None
    snapshot: Snapshot


def sweep_status(folder: SweepFolder) -> Status:
    """How far a sweep is, whoever runs it.

    Raises:
        StoreError: if its files cannot be read.
        SpaceError: if its space cannot be read any more.
    """
    owner = folder.owner()
    space = parse_stored_space(folder.read_space(), f"{folder}/sweep.yaml")
    studies = _read_studies(folder)
    now = datetime.now()
    parts = tuple(
        _part(arm, phase, space, studies.get(study_name(arm.name, phase), ()), running=owner is not None)
        for phase in Phase
        for arm in space.arms
    )
    trials = [trial for study in studies.values() for trial in study]
    pace = epochs_per_second(trials, now) if owner is not None else None
    begun = [trial.started for trial in trials if trial.started]
    last = now if owner is not None else max((trial.ended for trial in trials if trial.ended), default=now)
    snapshot = Snapshot(
        sweep=folder.id,
        stage="",
        metric=space.search.metric,
        maximize=space.search.metric in MAXIMIZED_METRICS,
        comparable=space.is_comparable(space.search.metric),
        epochs_per_trial=space.training.epochs,
        parts=parts,
        seconds=(last - min(begun)).total_seconds() if begun else 0.0,
        epochs_per_second=pace,
        first_failure=_first_failure(studies),
    )
    started_at = folder.read_provenance().get("started_at")
    return Status(str(folder), _state(owner, snapshot), owner, str(started_at) if started_at else None, snapshot)


def epochs_per_second(trials: Iterable[SeenTrial], now: datetime) -> float | None:
    """Epochs that all trials together have trained per second in the last five minutes; a trial's epochs are spread over its time."""
    trials = [trial for trial in trials if trial.started]
    if not trials:
        return None
    begin = max(now - PACE_WINDOW, min(trial.started for trial in trials if trial.started))
    epochs = 0.0
    for trial in trials:
        if trial.started is None:
            continue
        end = trial.ended or now
        inside = (min(end, now) - max(trial.started, begin)).total_seconds()
        epochs += trial.epochs * max(0.0, inside) / max((end - trial.started).total_seconds(), 1e-3)
    return epochs / max((now - begin).total_seconds(), 1e-3)


def _state(owner: str | None, snapshot: Snapshot) -> Literal["running", "finished", "interrupted"]:
    if owner is not None:
        return "running"
    searched = all(part.ended >= part.planned for part in snapshot.phase_parts(Phase.SEARCH))
    # an arm of which no trial was complete has nothing to confirm
    best = {part.arm for part in snapshot.phase_parts(Phase.SEARCH) if part.best}
    confirmed = all(part.ended >= part.planned for part in snapshot.phase_parts(Phase.CONFIRM) if part.arm in best)
    return "finished" if searched and confirmed else "interrupted"


def _read_studies(folder: SweepFolder) -> dict[str, tuple[SeenTrial, ...]]:
    from sweeper.studies.journal_reader import read_journal

    if folder.folder.local:
        return read_journal(folder.journal)
    if not folder.folder.exists("studies.journal"):
        return {}
    with tempfile.TemporaryDirectory(prefix="sweeper-") as scratch:
        copy = Path(scratch) / "studies.journal"
        copy.write_bytes(folder.folder.read("studies.journal"))
        return read_journal(copy)


def _part(arm: Arm, phase: Phase, space: Space, trials: tuple[SeenTrial, ...], *, running: bool) -> Part:
    ended = [trial for trial in trials if trial.state is not None]
    n_repeated = max(0, len(trials) - (space.planned_trials(arm) if phase is Phase.SEARCH else space.compare.seeds))
    counts = {state: sum(trial.state is state for trial in ended) for state in TrialState}
    ranks = ((trial_rank(space.search.metric, trial.number, str(trial.state), trial.value), trial) for trial in ended)
    ranked = [(rank, trial) for rank, trial in ranks if rank is not None]
    best = None
    if ranked and phase is Phase.SEARCH:
        trial = max(ranked, key=lambda entry: entry[0])[1]
        free = {name: trial.parameters[name] for name in free_parameters(space, arm) if name in trial.parameters}
        best = Best(TrialConfig(arm.name, phase, trial.number, 0, {}).trial_id, float(trial.value or 0.0), free)
    return Part(
        arm=arm.name,
        phase=phase,
        planned=(space.planned_trials(arm) if phase is Phase.SEARCH else space.compare.seeds) + n_repeated,
        running=sum(trial.running for trial in trials) if running else 0,
        complete=counts[TrialState.COMPLETE],
        pruned=counts[TrialState.PRUNED],
        diverged=counts[TrialState.DIVERGED],
        failed=counts[TrialState.FAILED],
        epochs=sum(trial.epochs for trial in trials),
        epochs_of_ended=sum(trial.epochs for trial in ended),
        epochs_of_pruned=sum(trial.epochs for trial in ended if trial.state is TrialState.PRUNED),
        best=best,
    )


def _first_failure(studies: dict[str, tuple[SeenTrial, ...]]) -> str | None:
    failed = [(trial.ended, name, trial) for name, study in studies.items() for trial in study if trial.state is TrialState.FAILED]
    if not failed:
        return None
    _, name, trial = min(failed, key=lambda entry: (entry[0] or datetime.max, entry[1]))
    return f"{name}-{trial.number}: {trial.error}".replace("/", "-", 1)
