"""Search trials grouped by a parameter: by its values if they are few, otherwise by quartiles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from sweeper.records import Phase
from sweeper.report.measure import Measure, ReportError
from sweeper.report.reading import StoredSweep
from sweeper.report.search import count_trials, ends, final_values
from sweeper.report.summary import Group
from sweeper.text import nearest, shown

MOST_VALUES = 6
"""A number with more distinct values than this is grouped by quartiles."""


def check_grouping(by: str, known: tuple[str, ...]) -> None:
    """Refuse a grouping that no trial can have.

    Raises:
        ReportError: with the nearest valid name.
    """
    if by != "arm" and by not in known:
        raise ReportError(f"--by: unknown grouping {shown(by)}; {nearest(by, ['arm', *known])}")


def group_trials(sweep: StoredSweep, by: str, measure: Measure) -> tuple[Group, ...]:
    """The search trials by value or interval of the parameter ``by``, and within that by arm, for arms differ in what suits them."""
    rows = sweep.rows(Phase.SEARCH)
    if by == "arm" or by not in sweep.parameters:
        return ()
    return tuple(
        _group(sweep, members[members["arm"] == arm], label, low, high, arm, measure)
        for label, low, high, members in _split(rows, rows[f"param_{by}"])
        for arm in sweep.arms
        if (members["arm"] == arm).any()
    )


def _split(rows: pd.DataFrame, values: pd.Series[float]) -> Iterator[tuple[str, float | None, float | None, pd.DataFrame]]:
    known = values.dropna()
    distinct = sorted(known.unique())
    if len(distinct) <= MOST_VALUES or not pd.api.types.is_numeric_dtype(values):
        for value in distinct:
            yield _shown(value), None, None, rows[values == value]
    else:
        edges = np.unique(np.quantile(known, [0, 0.25, 0.5, 0.75, 1], method="inverted_cdf"))
        for index, (low, high) in enumerate(pairwise(edges)):
            above = values >= low if index == 0 else values > low
            yield f"{_shown(low)} to {_shown(high)}", float(low), float(high), rows[above & (values <= high)]
    if values.isna().any():
        yield "without", None, None, rows[values.isna()]


def _group(sweep: StoredSweep, rows: pd.DataFrame, label: str, low: float | None, high: float | None, arm: str, measure: Measure) -> Group:
    part = count_trials(sweep, rows, measure)
    values = final_values(sweep, rows, measure).dropna()
    return Group(
        label=label,
        low=low,
        high=high,
        arm=arm,
        ends=ends(part),
        best=part.best.value if part.best else None,
        best_trial=part.best.trial if part.best else None,
        median=float(values.median()) if len(values) else None,
        epochs=part.epochs,
        seconds=math.fsum(rows["train_seconds"].dropna()),
    )


def _shown(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    return f"{value:.4g}" if isinstance(value, float | int | np.number) else str(value)
