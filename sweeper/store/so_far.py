"""The rows of a sweep that may still be running: those in Parquet files, and those that only its log holds yet."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweeper.errors import StoreError
from sweeper.store.sweep_folder import SweepFolder
from sweeper.store.tables import KEYS, Skipped, StoredTable


@dataclass(frozen=True, slots=True)
class RowsSoFar:
    """Both tables, each row once, and the files that could not be read."""

    trials: pd.DataFrame
    epochs: pd.DataFrame
    skipped: tuple[Skipped, ...]


def rows_so_far(folder: SweepFolder) -> RowsSoFar:
    """All rows of a sweep that another process may be writing; the log's last line is left out where it is half written."""
    trials, epochs = folder.read_trials(), folder.read_epochs()  # before the log: what moves meanwhile is seen twice, not missed
    logged: dict[str, list[dict[str, Any]]] = {"trial": [], "epoch": []}
    for line in _lines(folder):
        try:
            entry = json.loads(line)
            if entry["kind"] in logged:
                logged[entry["kind"]].append(dict(entry["row"]))
        except (ValueError, KeyError, TypeError):
            continue  # half written, or damaged: resume, which needs every line, says so
    return RowsSoFar(
        _joined(trials, logged["trial"], KEYS["trials"]),
        _joined(epochs, logged["epoch"], KEYS["epochs"]),
        (*trials.skipped, *epochs.skipped),
    )


def _lines(folder: SweepFolder) -> list[bytes]:
    if not folder.folder.local or not folder.row_log.exists():
        return []
    try:
        return folder.row_log.read_bytes().splitlines()
    except OSError as error:
        raise StoreError(f"{folder.row_log}: {error.strerror}") from error


def _joined(stored: StoredTable, logged: list[dict[str, Any]], keys: list[str]) -> pd.DataFrame:
    known = set(stored.frame[keys].itertuples(index=False, name=None))
    new = [row for row in logged if tuple(row.get(key) for key in keys) not in known]
    if not new:
        return stored.frame
    added = pd.DataFrame(new).drop_duplicates(keys, keep="last")
    return (
        added.reindex(columns=stored.frame.columns.union(added.columns, sort=False))
        if stored.frame.empty
        else pd.concat([stored.frame, added])
    )
