"""Reads a sweep's folder once for a report; what cannot be read is named, and the rest is still reported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sweeper.catalogue import TRAINING_PARAMETERS
from sweeper.errors import SpaceError, StoreError
from sweeper.records import ONLY_SEARCH, Phase, TrialState, Value, trial_columns
from sweeper.report.measure import ReportError
from sweeper.space import Space, parse_stored_space
from sweeper.store import StoredTable, SweepFolder, find_sweeps
from sweeper.text import nearest, printable, shown


@dataclass(frozen=True, slots=True, eq=False)
class StoredSweep:
    """One sweep as stored. All text in it is printable: control characters in files never reach a terminal.

    ``space`` is ``None`` where ``sweep.yaml`` cannot be read any more (damaged, or written by hand). ``problems``: what could not
    be read, in sentences; ``skipped_files``: how many files that were.
    """

    folder: SweepFolder
    space: Space | None
    provenance: Mapping[str, Any]
    trials: pd.DataFrame
    problems: tuple[str, ...]
    skipped_files: int
    _chosen: dict[tuple[Phase, str | None, int | None], pd.DataFrame] = field(default_factory=dict, repr=False)

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms in the space's order, then any others that have rows."""
        planned = [arm.name for arm in self.space.arms] if self.space else []
        return tuple(dict.fromkeys([*planned, *self.trials["arm"]]))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters that trials can have: the loss, then in the space's order, then any others that have a column."""
        stored = [name.removeprefix("param_") for name in self.trials.columns if name.startswith("param_")]
        planned = [name for name in self.space.parameter_types() if name in stored] if self.space else []
        return tuple(dict.fromkeys([*(name for name in stored if name == "loss"), *planned, *stored]))

    @property
    def searches(self) -> tuple[int, ...]:
        """The numbers of the searches of each arm: those that the space plans, and any others that have rows."""
        planned = self.space.searches if self.space else ()
        return tuple(sorted({*planned, *map(int, self.trials["search"].unique())})) or (ONLY_SEARCH,)

    def judged(self, column: str) -> str:
        """The column of a validation metric at the epoch by which trials are judged: the last, or the best where the space selects that."""
        return f"{'best' if self.space and self.space.training.select == 'best' else 'last'}_{column}"

    def rows(self, phase: Phase, arm: str | None = None, search: int | None = None) -> pd.DataFrame:
        """Finished trials of a phase, of one arm or of all, of one search or of all, ordered by search and number.

        Asked for often, chosen once, not to be written to.
        """
        key = phase, arm, search
        if key not in self._chosen:
            if search is not None:
                chosen = self.rows(phase, arm)
                chosen = chosen[chosen["search"] == search]
            elif arm is not None:
                chosen = self.rows(phase)
                chosen = chosen[chosen["arm"] == arm]
            else:
                chosen = self.trials[self.trials["phase"] == str(phase)].sort_values(["search", "number"], kind="stable")
            self._chosen[key] = chosen
        return self._chosen[key]

    def parameters_of(self, row: Mapping[Any, Any] | pd.Series[Any]) -> dict[str, Value]:
        """The parameters of one trial in their own types; those that it does not have are left out."""
        types = self.space.parameter_types() if self.space else {}
        found: dict[str, Value] = {}
        for name in self.parameters:
            value = row[f"param_{name}"]
            if pd.isna(value):
                continue
            is_of_training = name not in types and name in TRAINING_PARAMETERS  # where nothing is known of the space
            whole = types.get(name) == "int64" or (is_of_training and TRAINING_PARAMETERS[name].kind == "int")
            is_float = types.get(name) == "float64" and not isinstance(value, str)
            found[name] = int(value) if whole else float(value) if is_float else value.item() if hasattr(value, "item") else value
        return found


def choose_sweeps(uri: str, sweep: str | None) -> list[SweepFolder]:
    """The sweeps of a results folder, oldest first, or the one whose id is ``sweep``.

    Raises:
        StoreError: if there is none.
        ReportError: if none has this id, with the nearest one.
    """
    found = find_sweeps(uri)
    if sweep is None:
        return found
    chosen = [folder for folder in found if folder.id == sweep]
    if not chosen:
        raise ReportError(f"--sweep: no sweep {shown(sweep)} in {uri}; {nearest(sweep, [folder.id for folder in found])}")
    return chosen


def read_sweep(folder: SweepFolder) -> StoredSweep:
    """Everything that a report needs but epochs and logits."""
    problems: list[str] = []
    space, provenance = None, {}
    try:
        space = parse_stored_space(folder.read_space(), f"{folder}/sweep.yaml")
    except (SpaceError, StoreError) as error:
        problems.append(f"the space cannot be read, so nothing is known of what was planned: {'; '.join(str(error).splitlines())}")
    try:
        provenance = folder.read_provenance()
    except StoreError as error:
        problems.append(f"where the sweep ran is not known: {str(error).removeprefix(f'{folder}/')}")
    table = folder.read_trials()
    problems += skipped_files(folder, table)
    trials, n_unknown = _known_rows(table.frame)
    for name in (column for metric in (space.training.own_metrics if space else ()) for column in trial_columns(metric)):
        trials[name] = trials[name].astype(float) if name in trials else math.nan  # before the first trial has ended there is no column
    if n_unknown:
        problems.append(f"{n_unknown} rows of trials/ have a phase, state or search that this sweeper does not know, and are left out")
    return StoredSweep(folder, space, provenance, trials, tuple(map(printable, problems)), len(table.skipped))


def skipped_files(folder: SweepFolder, table: StoredTable) -> list[str]:
    """The files that a table could not be read from, named from the sweep's folder on, with the reason."""
    return [printable(str(skipped).removeprefix(f"{folder}/")) for skipped in table.skipped]


def _known_rows(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    known = (
        frame["phase"].isin([str(phase) for phase in Phase])
        & frame["state"].isin([str(state) for state in TrialState])
        & frame["arm"].notna()
        & frame["trial"].notna()
        & frame["search"].notna()
    )
    rows = frame[known].copy()
    for name in rows.columns:
        if not pd.api.types.is_numeric_dtype(rows[name]) and name != "traceback":
            rows[name] = rows[name].map(lambda value: printable(value) if isinstance(value, str) else value)
    return rows.reset_index(drop=True), int((~known).sum())
