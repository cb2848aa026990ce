"""Writes rows durably: first to an append-only log, then, every few seconds, to Parquet.

A row is in the log, and on the disk, before Optuna is told of it, so a resumed sweep has a row for everything that its studies hold. The
log keeps every row: a missing or damaged Parquet file is rebuilt from it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import pandas as pd

from sweeper.errors import StoreError
from sweeper.metrics import best_of
from sweeper.records import SCHEMA_VERSION, VAL_METRICS, EpochMetrics, TrialConfig, TrialOutcome, TrialState, study_name
from sweeper.store import SweepFolder
from sweeper.store.append_log import AppendLog

FLUSH_SECONDS = 20.0
"""Longest age of a row that is only in the log while results keep coming."""

_METRIC_NAMES = tuple(field.name for field in fields(EpochMetrics))


class Recorder:
    """Collects the rows of one sweep. One process owns it.

    Raises:
        StoreError: if the log or a table cannot be read or written, or the log holds a line that is no row.
    """

    def __init__(self, folder: SweepFolder, parameter_types: Mapping[str, str], metric: str) -> None:
        self._folder = folder
        self._parameter_types = parameter_types
        self._metric = metric
        self._uncommitted: list[bytes] = []
        self._epoch_rows: list[Mapping[str, Any]] = []
        self._trial_rows: list[Mapping[str, Any]] = []
        self._ends: dict[str, Mapping[str, Any]] = {}
        self._epochs: dict[str, dict[int, EpochMetrics]] = {}
        self._log = AppendLog(folder.row_log, "the row log")
        self._recover()
        self._flushed = time.monotonic()

    @property
    def ends(self) -> Mapping[str, Mapping[str, Any]]:
        """Rows of the trials whose end an earlier process recorded, by trial id, wherever they are stored."""
        return self._ends

    def epochs(self, trial_id: str) -> Mapping[int, EpochMetrics]:
        """The epochs of a trial that are recorded, by number."""
        return self._epochs.get(trial_id, {})

    def epoch(self, config: TrialConfig, metrics: EpochMetrics) -> EpochMetrics:
        """Record one epoch of one trial; on the disk after :meth:`commit`. Returns what is recorded: of two reports the first is kept."""
        recorded = self._epochs.setdefault(config.trial_id, {})
        if metrics.epoch not in recorded:
            recorded[metrics.epoch] = metrics
            row = {**self._identity(config), **asdict(metrics)}
            self._epoch_rows.append(row)
            self._uncommitted.append(_line("epoch", row))
        return recorded[metrics.epoch]

    def outcome(self, outcome: TrialOutcome) -> None:
        """Record the end of one trial; on the disk after :meth:`commit`."""
        row = self._trial_row(outcome)
        self._trial_rows.append(row)
        self._uncommitted.append(_line("trial", row))
        self._epochs.pop(outcome.config.trial_id, None)

    def commit(self) -> None:
        """Make the rows safe from a crash and from a power cut."""
        lines, self._uncommitted = b"".join(self._uncommitted), []
        self._log.append(lines)
        self._log.commit()

    def flush_when_due(self) -> None:
        """Write Parquet files if the last ones are old enough; does not wait for object storage."""
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._hand_over()

    def flush(self) -> None:
        """Write all rows that are only in the log to Parquet; no row is there that the saved logs do not hold."""
        self._hand_over()
        self._folder.save_logs()

    def _hand_over(self) -> None:
        self.commit()
        epochs, trials = self._epoch_rows, self._trial_rows
        self._epoch_rows, self._trial_rows = [], []
        self._folder.later(lambda: self._folder.write_epochs(epochs))
        self._folder.later(lambda: self._folder.write_trials(trials, self._parameter_types))
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Close the log, without what was not committed."""
        self._log.close()

    def _recover(self) -> None:
        """Take up what earlier processes left: rows in Parquet, and rows in the log that did not get there."""
        trials, epochs = self._folder.read_trials().frame, self._folder.read_epochs().frame
        self._ends = {str(row["trial"]): _ended(row) for row in _rows(trials)}
        stored = set(zip(epochs["trial"], epochs["epoch"], strict=True))
        unfinished = epochs[~epochs["trial"].isin(self._ends.keys())]
        for row in _rows(unfinished):
            self._epochs.setdefault(str(row["trial"]), {})[int(row["epoch"])] = _metrics(row)
        empty = True
        for kind, row in self._logged():
            empty = False
            if kind == "epoch" and (row["trial"], row["epoch"]) not in stored:
                stored.add((row["trial"], row["epoch"]))
                self._epoch_rows.append(row)
                self._epochs.setdefault(row["trial"], {})[row["epoch"]] = _metrics(row)
            elif kind == "trial" and row["trial"] not in self._ends:
                self._ends[row["trial"]] = _ended(row)
                self._trial_rows.append(self._ends[row["trial"]])
        if empty:
            self._uncommitted.append(_line("header", {"schema_version": SCHEMA_VERSION}))

    def _logged(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, line in enumerate(self._log.lines(), start=1):
            try:
                entry = json.loads(line)
                kind, row = entry["kind"], dict(entry["row"])
                version = row["schema_version"] if kind == "header" else SCHEMA_VERSION
                if version != SCHEMA_VERSION:
                    raise StoreError(f"{self._log.path}: schema version {version}, this sweeper reads version {SCHEMA_VERSION}")
                if kind not in {"header", "epoch", "trial"}:
                    raise ValueError(f"unknown kind {kind!r}")
                if kind == "epoch":
                    _metrics(row)
                if kind != "header":
                    str.strip(row["trial"])
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise StoreError(
                    f"{self._log.path}: line {number} is damaged ({type(error).__name__}: {error}); restore the file from a copy"
                ) from error
            yield kind, row

    def _identity(self, config: TrialConfig) -> dict[str, Any]:
        return {
            "sweep": self._folder.id,
            "arm": config.arm,
            "phase": str(config.phase),
            "trial": config.trial_id,
            "number": config.number,
        }

    def _trial_row(self, outcome: TrialOutcome) -> dict[str, Any]:
        config = outcome.config
        row: dict[str, Any] = {
            **self._identity(config),
            "study": study_name(config.arm, config.phase),
            "pack": outcome.pack,
            "seed": config.seed,
            "state": str(outcome.state),
            "value": outcome.value,
            "epochs": len(outcome.epochs),
            "train_seconds": math.fsum(epoch.epoch_seconds for epoch in outcome.epochs),
            "device": outcome.device,
            "attempts": outcome.attempts,
            "diverged_epoch": outcome.diverged_epoch,
            "error": outcome.error,
            "traceback": outcome.traceback,
            **(asdict(outcome.test) if outcome.test else {}),
            **{f"param_{name}": value for name, value in config.parameters.items()},
        }
        if outcome.epochs:
            best, last = best_epoch(outcome.epochs, self._metric), outcome.epochs[-1]
            row["best_epoch"] = best.epoch
            for name in VAL_METRICS:
                row[f"best_{name}"] = getattr(best, name)
                row[f"last_{name}"] = getattr(last, name)
        return row


def best_epoch(epochs: Sequence[EpochMetrics], metric: str) -> EpochMetrics:
    """The epoch with the best value of the search metric, the first of equals; the first of all where no value is finite."""
    return best_of(metric, epochs, lambda epoch: float(getattr(epoch, metric))) or epochs[0]


def _ended(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A trial's row; one that says complete without a finite value, as earlier versions wrote, diverged at its last epoch."""
    value = row.get("value")
    if row.get("state") != TrialState.COMPLETE or (isinstance(value, int | float) and math.isfinite(value)):
        return row
    return {**row, "state": str(TrialState.DIVERGED), "value": None, "diverged_epoch": row.get("epochs")}


def _line(kind: str, row: Mapping[str, Any]) -> bytes:
    return json.dumps({"kind": kind, "row": row}, separators=(",", ":")).encode() + b"\n"


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _metrics(row: Mapping[str, Any]) -> EpochMetrics:
    """The epoch in a row. Parquet, through pandas, gives back null for what is not a number."""
    values: dict[str, Any] = {name: math.nan if pd.isna(row[name]) else row[name] for name in _METRIC_NAMES}
    return EpochMetrics(**{**values, "epoch": int(row["epoch"])})
