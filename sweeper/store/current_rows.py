"""The rows of a sweep that may still be running: those in Parquet files, and those that are only in its log so far."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from sweeper.errors import StoreError
from sweeper.store.sweep_folder import SweepFolder
from sweeper.store.tables import COLUMNS, KEYS, Skipped, StoredTable


@dataclass(frozen=True, slots=True)
class CurrentRows:
    """Both tables, each row once, and the files that could not be read."""

    trials: pd.DataFrame
    epochs: pd.DataFrame
    skipped: tuple[Skipped, ...]


def current_rows(folder: SweepFolder) -> CurrentRows:
    """All rows of a sweep that another process may be writing; the log's last line is left out where it is half written."""
    trials, epochs = current_trials(folder), current_epochs(folder)
    return CurrentRows(trials.frame, epochs.frame, (*trials.skipped, *epochs.skipped))


def current_trials(folder: SweepFolder) -> StoredTable:
    """The trials that have ended, in Parquet or in the log."""
    return _with_logged(folder, folder.read_trials(), "trials")  # before the log: what moves meanwhile is seen twice, not missed


def current_epochs(folder: SweepFolder) -> StoredTable:
    """The epochs that were trained, in Parquet or in the log."""
    return _with_logged(folder, folder.read_epochs(), "epochs")


def _with_logged(folder: SweepFolder, stored: StoredTable, table: Literal["trials", "epochs"]) -> StoredTable:
    keys, prefix = KEYS[table], f'{{"kind":"{table.removesuffix("s")}"'.encode()
    # the log keeps every row, once: with no more lines than there are rows it holds nothing new, and need not be parsed
    if sum(line.endswith(b"\n") for line in _lines(folder, prefix)) <= len(stored.frame):
        return stored
    known = set(stored.frame[keys].itertuples(index=False, name=None))
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line in _lines(folder, prefix):
        try:
            row = dict(json.loads(line)["row"])
            key = tuple(row[name] for name in keys)
            if key not in known:
                rows[key] = row
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # half written, or damaged: resume, which needs every line, says so
    return StoredTable(_joined(stored.frame, list(rows.values()), table), stored.skipped) if rows else stored


def _lines(folder: SweepFolder, prefix: bytes) -> Iterator[bytes]:
    """The lines of the log that begin with ``prefix``."""
    if not folder.folder.local or not folder.row_log.exists():
        return
    try:
        with folder.row_log.open("rb") as file:
            yield from (line for line in file if line.startswith(prefix))
    except OSError as error:
        raise StoreError(f"{folder.row_log}: {error.strerror}") from error


def _joined(stored: pd.DataFrame, rows: list[dict[str, Any]], table: Literal["trials", "epochs"]) -> pd.DataFrame:
    added = pd.DataFrame(rows)
    for column in COLUMNS[table]:
        if column.name not in added:
            added[column.name] = None
        if column.type == "string":
            added[column.name] = added[column.name].where(added[column.name].map(lambda value: isinstance(value, str)), None)
        else:
            added[column.name] = pd.to_numeric(added[column.name], errors="coerce")
    columns = stored.columns.union(added.columns, sort=False)
    return added.reindex(columns=columns) if stored.empty else pd.concat([stored, added], ignore_index=True)
