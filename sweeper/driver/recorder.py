"""Writes rows durably: to an append-only log, from which the Parquet files are written every few seconds.

A row is in the log, and on the disk, before Optuna is told of it, so a resumed sweep has a row for everything that its studies hold.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from sweeper.errors import StoreError
from sweeper.metrics import Metric, best_of
from sweeper.records import (
    EPOCH_FIGURES,
    SCHEMA_VERSION,
    VAL_METRICS,
    EpochMetrics,
    TrialConfig,
    TrialOutcome,
    TrialState,
    as_stored,
    study_name,
)
from sweeper.store import SweepFolder
from sweeper.store.append_log import AppendLog
from sweeper.store.row_log import Kind, header_line, parse_line, row_line
from sweeper.studies.studies import TrialEnd

FLUSH_SECONDS = 20.0
"""Longest age of a row that is only in the log while results keep coming."""
WRITE_SECONDS = 0.4
"""Files that take longer to write are written less often, so that a fiftieth of the time at most goes into them."""

_values_of = attrgetter(*EPOCH_FIGURES)


class Recorder:
    """Collects the rows of one sweep. One process owns it.

    Raises:
        StoreError: if the log or a table cannot be read or written, or the log holds a line that is no row.
    """

    def __init__(self, folder: SweepFolder, parameter_types: Mapping[str, str], metric: str, own_metrics: Sequence[Metric] = ()) -> None:
        self._folder = folder
        self._parameter_types = parameter_types
        self._metric = metric
        self._own_metrics = own_metrics
        self._uncommitted: list[bytes] = []
        self._ends: dict[str, TrialEnd] = {}
        self._epochs: dict[str, dict[int, EpochMetrics]] = {}
        self._log = AppendLog(folder.row_log, "the row log")
        self._n_flushed = 0
        self._recover()
        self._due = time.monotonic() + FLUSH_SECONDS

    @property
    def ends(self) -> Mapping[str, TrialEnd]:
        """How the trials ended whose end an earlier process recorded, by trial id."""
        return self._ends

    def epochs(self, trial_id: str) -> Mapping[int, EpochMetrics]:
        """The epochs of a trial that are recorded, by number."""
        return self._epochs.get(trial_id, {})

    def epoch(self, config: TrialConfig, metrics: EpochMetrics) -> EpochMetrics:
        """Record one epoch of one trial; on the disk after :meth:`commit`. Returns what is recorded: of two reports the first is kept."""
        recorded = self._epochs.setdefault(config.trial_id, {})
        if metrics.epoch not in recorded:
            recorded[metrics.epoch] = metrics
            self._uncommitted.append(row_line("epoch", {**self._identity(config), **_figures(metrics)}))
        return recorded[metrics.epoch]

    def outcome(self, outcome: TrialOutcome) -> None:
        """Record the end of one trial; on the disk after :meth:`commit`."""
        self._uncommitted.append(row_line("trial", self._trial_row(outcome)))
        self._epochs.pop(outcome.config.trial_id, None)

    def commit(self) -> None:
        """Make the rows safe from a crash and from a power cut."""
        lines, self._uncommitted = b"".join(self._uncommitted), []
        self._log.append(lines)
        self._log.commit()

    def flush_when_due(self) -> None:
        """Write the Parquet files if the last ones are old enough; does not wait for object storage."""
        if time.monotonic() > self._due:
            self._write_tables()

    def flush(self) -> None:
        """Write all rows to Parquet; no row is there that the saved logs do not hold."""
        self._write_tables()
        self._folder.save_logs()

    def _write_tables(self) -> None:
        self.commit()
        log_bytes = self._n_flushed = self._log.size
        started = time.monotonic()

        def write() -> None:
            if log_bytes == self._n_flushed:  # else a later one, which holds more, is waiting behind this one
                self._folder.write_tables(self._parameter_types, log_bytes, self._own_metrics)

        self._folder.later(write)
        ended = time.monotonic()
        self._due = ended + FLUSH_SECONDS * max(1.0, (ended - started) / WRITE_SECONDS)

    def close(self) -> None:
        """Close the log, without what was not committed."""
        self._log.close()

    def _recover(self) -> None:
        """Take up what earlier processes left: the rows of the log, and those that only Parquet files hold, if the log was removed."""
        logged: set[tuple[str, int | None]] = set()
        number = 0
        for number, line in enumerate(self._log.lines(), start=1):
            try:
                kind, row = parse_line(line)
                if kind == "header" and row["schema_version"] != SCHEMA_VERSION:
                    version = row["schema_version"]
                    raise StoreError(f"{self._log.path}: schema version {version}, this sweeper reads version {SCHEMA_VERSION}")
                self._take_up(kind, row, logged)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise StoreError(
                    f"{self._log.path}: line {number} is damaged ({type(error).__name__}: {error}); restore the file from a copy"
                ) from error
        if number == 0:
            self._uncommitted.append(header_line())
        others = list(self._folder.read_unlogged(self._log.size))
        self._uncommitted += [row_line(kind, row) for kind, row in others if self._take_up(kind, row, logged)]
        if others:
            self.flush()  # before the log grows: what the files say of its length is not true of this log

    def _take_up(self, kind: Kind, row: Mapping[str, Any], logged: set[tuple[str, int | None]]) -> bool:
        """Whether a row was not among those that are ``logged``; it is then."""
        if kind == "header" or (key := (row["trial"], row.get("epoch"))) in logged:
            return False
        logged.add(key)
        epochs = self._epochs.setdefault(row["trial"], {})
        if kind == "epoch":
            epochs[row["epoch"]] = EpochMetrics.of(row)
            return True
        reports = {number: metrics[self._metric] for number, metrics in epochs.items()}
        self._ends[row["trial"]] = TrialEnd(TrialState(row["state"]), row["value"], row.get("error"), row.get("diverged_epoch"), reports)
        del self._epochs[row["trial"]]
        return True

    def _identity(self, config: TrialConfig) -> dict[str, Any]:
        return {
            "sweep": self._folder.id,
            "arm": config.arm,
            "search": config.search,
            "phase": str(config.phase),
            "trial": config.trial_id,
            "number": config.number,
        }

    def _trial_row(self, outcome: TrialOutcome) -> dict[str, Any]:
        config = outcome.config
        row: dict[str, Any] = {
            **self._identity(config),
            "study": study_name(config.arm, config.search, config.phase),
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
            **(outcome.test.figures if outcome.test else {}),
            **{f"param_{name}": value for name, value in config.parameters.items()},
        }
        if outcome.epochs:
            best, last = best_epoch(outcome.epochs, self._metric), outcome.epochs[-1]
            row["best_epoch"] = best.epoch
            for when, figures in (("best", best.figures), ("last", last.figures)):
                row |= {f"{when}_{name}": figures[name] for name in (*VAL_METRICS, *best.own)}
        return as_stored(row)


def _figures(metrics: EpochMetrics) -> dict[str, Any]:
    """The figures by name; ``asdict``, which copies each of them, takes ten times as long."""
    return as_stored({**dict(zip(EPOCH_FIGURES, _values_of(metrics), strict=True)), **metrics.own})


def best_epoch(epochs: Sequence[EpochMetrics], metric: str) -> EpochMetrics:
    """The epoch with the best value of the search metric, the first of equals; the first of all where no value is finite."""
    return best_of(metric, epochs, lambda epoch: epoch[metric]) or epochs[0]
