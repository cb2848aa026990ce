"""One stored trial: its curve, its parameters, its provenance, and the command that trains it again."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweeper.records import EPOCH_FIGURES, ONLY_SEARCH, EpochMetrics, Phase, TrialConfig, Value
from sweeper.report.reading import StoredSweep, read_sweep
from sweeper.store import SweepFolder
from sweeper.view.find import find_trial, known_trials


@dataclass(frozen=True, slots=True)
class TrialView:
    """``state`` is ``running`` (or ``interrupted``) for a trial that has no end yet; then what only an end tells is ``None``, and
    ``parameters`` are empty. ``test``: figures on the test split, where it was read. ``reproduce``: the command that trains it again;
    ``retry``: the one that tries failed trials once more. ``searches``: of its arm. ``is_own_loop``: whether a training
    loop of the user's own has trained it.
    """

    sweep: str
    trial: str
    arm: str
    search: int
    phase: str
    number: int
    state: str
    seed: int | None
    metric: str
    value: float | None
    device: str | None
    attempts: int | None
    train_seconds: float | None
    diverged_epoch: int | None
    error: str | None
    traceback: str | None
    parameters: Mapping[str, Value]
    test: Mapping[str, float]
    curve: tuple[EpochMetrics, ...]
    provenance: Mapping[str, Any]
    reproduce: str
    retry: str
    searches: int = ONLY_SEARCH
    is_own_loop: bool = False

    @property
    def config(self) -> TrialConfig:
        """What was trained."""
        return TrialConfig(self.arm, Phase(self.phase), self.number, int(self.seed or 0), self.parameters, self.search)


def read_so_far(folder: SweepFolder) -> tuple[StoredSweep, pd.DataFrame]:
    """A sweep as a report reads it, and its epochs."""
    return read_sweep(folder), folder.read_epochs().frame


def view_trial(folder: SweepFolder, trial: str) -> TrialView:
    """Everything that is stored of one trial.

    Raises:
        LookError: if the sweep has no such trial, with the nearest one.
    """
    stored, epochs = read_so_far(folder)
    trial = find_trial(trial, known_trials(stored.trials, epochs), folder)
    curve = curve_of(epochs, trial)
    found = stored.trials[stored.trials["trial"] == trial]
    last = (found if len(found) else epochs[epochs["trial"] == trial]).iloc[-1]
    row: Mapping[str, Any] = {str(name): value for name, value in last.items()}
    ended = len(found) > 0

    def known(name: str) -> Any:
        return None if pd.isna(row.get(name)) else row[name]

    def whole(name: str) -> int | None:
        return None if known(name) is None else int(row[name])

    return TrialView(
        sweep=folder.id,
        trial=trial,
        arm=str(row["arm"]),
        search=int(row["search"]),
        phase=str(row["phase"]),
        number=int(row["number"]),
        state=str(row["state"]) if ended else "running" if folder.owner() else "interrupted",
        seed=whole("seed"),
        metric=stored.space.search.metric if stored.space else "val_accuracy",
        value=known("value"),
        device=known("device"),
        attempts=whole("attempts"),
        train_seconds=known("train_seconds"),
        diverged_epoch=whole("diverged_epoch"),
        error=known("error"),
        traceback=known("traceback"),
        parameters=stored.parameters_of(row) if ended else {},
        test={name: float(row[name]) for name in row if (name.startswith("test_") or name == "temperature") and known(name) is not None}
        if ended
        else {},
        curve=curve,
        provenance=stored.provenance,
        reproduce=f"sweep reproduce {shlex.quote(str(folder))} {shlex.quote(trial)}",
        retry=f"sweep resume {shlex.quote(str(folder))} --retry-failed",
        searches=stored.space.compare.searches if stored.space else ONLY_SEARCH,
        is_own_loop=stored.space is not None and stored.space.training.loop is not None,
    )


def curve_of(epochs: pd.DataFrame, trial: str) -> tuple[EpochMetrics, ...]:
    """The epochs of one trial in their order; what is null in the table is not a number."""
    rows = epochs[epochs["trial"] == trial].sort_values("epoch")
    names = [name for name in rows.columns if name in EPOCH_FIGURES or name.startswith("val_")]
    return tuple(
        EpochMetrics.of({str(name): math.nan if pd.isna(value) else float(value) for name, value in row.items()})
        for row in rows[names].to_dict("records")
    )
