"""The progress of a sweep, read from its studies, lock and space without disturbing the process that runs it."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sweeper.records import Phase, TrialState, study_name, trial_name
from sweeper.space import parse_stored_space
from sweeper.store import SweepFolder
from sweeper.trial_counts import BestTrial, Part
from sweeper.view.counts import free_parameters
from sweeper.view.snapshot import Snapshot, before_any_trial

if TYPE_CHECKING:  # it imports Optuna, a quarter of a report's time
    from sweeper.studies.journal_reader import JournalTrial

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
    at_the_start, now = before_any_trial(folder.id, space), datetime.now()
    free = {arm.name: free_parameters(space, arm) for arm in space.arms}
    parts = [
        _counted(
            part,
            studies.get(study_name(part.arm, part.search, part.phase), ()),
            free[part.arm],
            at_the_start.metric,
            is_owned=owner is not None,
        )
        for part in at_the_start.parts
    ]
    trials = [trial for study in studies.values() for trial in study]
    pace = epochs_per_second(trials, now) if owner is not None else None
    begun = [trial.started for trial in trials if trial.started]
    last = now if owner is not None else max((trial.ended for trial in trials if trial.ended), default=now)
    seconds = (last - min(begun)).total_seconds() if begun else 0.0
    snapshot = at_the_start.at(parts, seconds, pace, _first_failure(studies))
    started_at = folder.read_provenance().get("started_at")
    return Status(str(folder), _state(owner, snapshot), owner, str(started_at) if started_at else None, snapshot)


def epochs_per_second(trials: Iterable[JournalTrial], now: datetime) -> float | None:
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
    # a search of which no trial was complete has nothing to confirm
    confirmed = {(part.arm, part.search) for part in snapshot.parts if part.best}
    to_end = [part for part in snapshot.parts if part.phase is Phase.SEARCH or (part.arm, part.search) in confirmed]
    return "finished" if all(part.ended >= part.planned for part in to_end) else "interrupted"


def _read_studies(folder: SweepFolder) -> dict[str, tuple[JournalTrial, ...]]:
    from sweeper.studies.journal_reader import read_journal

    if folder.folder.local:
        return read_journal(folder.journal)
    if not folder.folder.exists("studies.journal"):
        return {}
    with tempfile.TemporaryDirectory(prefix="sweeper-") as scratch:
        copy = Path(scratch) / "studies.journal"
        copy.write_bytes(folder.folder.read("studies.journal"))
        return read_journal(copy)


def _counted(part: Part, trials: Sequence[JournalTrial], free: Collection[str], metric: str, *, is_owned: bool) -> Part:
    """A part with its trials counted; those that repeat failed ones come on top of what the space plans."""
    for trial in trials:
        if trial.state is not None:
            name = trial_name(part.arm, part.search, part.phase, trial.number)
            chosen = {each: trial.parameters[each] for each in free if each in trial.parameters}
            candidate = BestTrial(name, trial.number, trial.value, trial.epochs, chosen, part.search) if trial.value is not None else None
            part = part.after(trial.state, trial.epochs, candidate, metric)
    return replace(
        part,
        planned=max(part.planned, len(trials)),
        running=sum(trial.running for trial in trials) if is_owned else 0,
        epochs=sum(trial.epochs for trial in trials),
    )


def _first_failure(studies: dict[str, tuple[JournalTrial, ...]]) -> str | None:
    failed = [(trial.ended, name, trial) for name, study in studies.items() for trial in study if trial.state is TrialState.FAILED]
    if not failed:
        return None
    _, name, trial = min(failed, key=lambda entry: (entry[0] or datetime.max, entry[1]))
    return f"{name.replace('/', '-')}-{trial.number}: {trial.error}"
