"""The row log: every row of a sweep's trials and epochs as a line of JSON, in the order in which the driver recorded them.

It is the truth. The Parquet files are made from it, and say how much of it they hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any, Literal

from sweeper.records import ONLY_SEARCH, SCHEMA_VERSION, EpochMetrics, TrialState

Kind = Literal["header", "epoch", "trial"]
_REQUIRED: Mapping[Kind, tuple[str, ...]] = {
    "header": ("schema_version",),
    "epoch": ("trial", *(each.name for each in fields(EpochMetrics) if each.default is each.default_factory is MISSING)),
    "trial": ("trial",),
}


def row_line(kind: Kind, row: Mapping[str, Any]) -> bytes:
    """A row as a line of the log."""
    return json.dumps({"kind": kind, "row": row}, separators=(",", ":")).encode() + b"\n"


def header_line() -> bytes:
    """The first line of a log."""
    return row_line("header", {"schema_version": SCHEMA_VERSION})


def parse_line(line: bytes) -> tuple[Kind, dict[str, Any]]:
    """Kind and row of a line.

    Raises:
        ValueError, KeyError, TypeError, RecursionError: if it is no line of a row log.
    """
    entry = json.loads(line)
    kind, row = entry["kind"], dict(entry["row"])
    if kind not in _REQUIRED:
        raise ValueError(f"unknown kind {kind!r}")
    if missing := [name for name in _REQUIRED[kind] if name not in row]:
        raise KeyError(missing[0])
    for name, expected in (("trial", str), ("epoch", int)):
        if name in row and not isinstance(row[name], expected):
            raise TypeError(f"{name} is {row[name]!r:.40}")
    return kind, mended(row)


def mended(row: dict[str, Any]) -> dict[str, Any]:
    """The row as this version writes it: one of an earlier version belongs to the only search that its arm had, and a trial that is
    complete without a finite value diverged at its last epoch.
    """
    row.setdefault("search", ONLY_SEARCH)
    value = row.get("value")
    if row.get("state") != TrialState.COMPLETE or (isinstance(value, int | float) and math.isfinite(value)):
        return row
    return {**row, "state": str(TrialState.DIVERGED), "value": None, "diverged_epoch": row.get("epochs")}


def rows_of(kind: Kind, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The rows of one kind; a line that is damaged or half written is passed over: resume, which needs every line, says so."""
    beginning = row_line(kind, {}).partition(b",")[0]
    for line in lines:
        if line.startswith(beginning):  # parsing takes far longer than looking
            try:
                yield parse_line(line)[1]
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
