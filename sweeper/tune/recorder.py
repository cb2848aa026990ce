"""Writes rows where nothing can lose them: first to an append-only log, then, every few seconds, to Parquet.

A row is in the log before Optuna is told of it, so the Parquet files of a resumed sweep hold everything that its studies hold. A log line
that a crash tore is cut off; a row that is already in Parquet is not written twice.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sweeper.errors import StoreError
from sweeper.journal import mend_torn_line
from sweeper.records import MAXIMIZED_METRICS, VAL_METRICS, EpochMetrics, TrialConfig, TrialOutcome, study_name
from sweeper.store import SweepFolder

FLUSH_SECONDS = 20.0
"""Longest age of a row that is only in the log while results keep coming."""


class Recorder:
    """Collects the rows of one sweep. One process owns it."""

    def __init__(self, folder: SweepFolder, parameter_types: Mapping[str, str], metric: str) -> None:
        self._folder = folder
        self._parameter_types = parameter_types
        self._metric = metric
        self._epochs: dict[tuple[str, int], dict[str, Any]] = {}
        self._trials: dict[str, dict[str, Any]] = {}
        self._earlier_ends: dict[str, Mapping[str, Any]] = {}
        self._earlier_epochs: set[tuple[str, int]] = set()
        self._flushed = time.monotonic()
        try:
            folder.row_log.parent.mkdir(parents=True, exist_ok=True)
            mend_torn_line(folder.row_log)
            self._recover()
            self._log = folder.row_log.open("ab")
        except OSError as error:
            raise StoreError(f"{folder.row_log}: cannot open the row log: {error.strerror}") from error

    @property
    def ends(self) -> Mapping[str, Mapping[str, Any]]:
        """Rows of the trials whose end an earlier process recorded, by trial id, wherever they are stored."""
        return self._earlier_ends

    def epoch(self, config: TrialConfig, metrics: EpochMetrics) -> None:
        """Record one epoch of one trial, once; in the log when this returns, on the disk after :meth:`commit`."""
        key = config.trial_id, metrics.epoch
        if key in self._earlier_epochs or key in self._epochs:
            return
        row = {**self._identity(config), **asdict(metrics)}
        self._append("epoch", row)
        self._epochs[key] = row

    def outcome(self, outcome: TrialOutcome) -> None:
        """Record the end of one trial."""
        row = self._trial_row(outcome)
        self._append("trial", row)
        self._trials[outcome.config.trial_id] = row

    def commit(self) -> None:
        """Make the log safe from a power cut; write Parquet files when the last ones are old enough."""
        try:
            os.fsync(self._log.fileno())
        except OSError as error:
            raise StoreError(f"{self._folder.row_log}: cannot write the row log: {error.strerror}") from error
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write all rows that are only in the log to Parquet, then empty the log."""
        self._folder.write_epochs(list(self._epochs.values()))
        self._folder.write_trials(list(self._trials.values()), self._parameter_types)
        self._epochs.clear()
        self._trials.clear()
        self._log.truncate(0)
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Flush, merge the files of each table into one, and close the log."""
        self.flush()
        self._folder.compact()
        self._log.close()

    def _append(self, kind: str, row: Mapping[str, Any]) -> None:
        try:
            self._log.write(json.dumps({"kind": kind, "row": row}).encode() + b"\n")
            self._log.flush()
        except OSError as error:
            raise StoreError(f"{self._folder.row_log}: cannot write the row log: {error.strerror}") from error

    def _recover(self) -> None:
        """Take up what an earlier process left: rows in Parquet, and rows in the log that did not get there."""
        for number, line in enumerate(self._log_lines(), start=1):
            try:
                entry = json.loads(line)
                kind, row = entry["kind"], entry["row"]
                if kind == "epoch":
                    self._epochs[row["trial"], row["epoch"]] = row
                else:
                    self._trials[row["trial"]] = row
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(
                    f"{self._folder.row_log}: line {number} is damaged ({error}); move the file away to resume without its rows"
                ) from error
        trials, epochs = self._folder.read_trials().frame, self._folder.read_epochs().frame
        self._earlier_ends = {**{str(row["trial"]): row for row in trials.to_dict("records")}, **self._trials}
        self._earlier_epochs = set(zip(epochs["trial"], epochs["epoch"], strict=True))

    def _log_lines(self) -> list[bytes]:
        return self._folder.row_log.read_bytes().splitlines() if self._folder.row_log.exists() else []

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
    """The epoch with the best value of the search metric, the first of equals; a value that is not a number is never the best."""
    worst = -math.inf if metric in MAXIMIZED_METRICS else math.inf
    pick = max if metric in MAXIMIZED_METRICS else min

    def rank(epoch: EpochMetrics) -> float:
        value = float(getattr(epoch, metric))
        return worst if math.isnan(value) else value

    return pick(epochs, key=rank)
