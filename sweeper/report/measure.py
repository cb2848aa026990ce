"""The measures that a report can compare by, and where each is stored."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweeper.errors import SweeperError
from sweeper.records import MAXIMIZED_METRICS, TRIAL_COLUMNS, VAL_METRICS
from sweeper.text import nearest, shown

TEST_MEASURES = tuple(column.name for column in TRIAL_COLUMNS if column.name.startswith("test_"))
"""Columns of the test split, in the order of ``trials/``."""

_LABELS = {"accuracy": "accuracy", "nll": "NLL", "brier": "Brier score", "ece": "ECE", "loss": "loss"}

_POSSIBLE = {"accuracy": (0.0, 1.0), "ece": (0.0, 1.0), "brier": (0.0, 2.0), "nll": (0.0, math.inf)}


class ReportError(SweeperError):
    """A report that cannot be made as asked: an unknown format, grouping, metric or sweep."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric as the search sees it (on validation) and as the confirm phase does (on test)."""

    stem: str
    scaled: bool = False

    @property
    def val_column(self) -> str:
        return f"val_{self.stem}"

    @property
    def test_column(self) -> str:
        return f"test_{self.stem}{'_scaled' if self.scaled else ''}"

    @property
    def maximize(self) -> bool:
        return self.val_column in MAXIMIZED_METRICS

    @property
    def is_fraction(self) -> bool:
        return self.stem in {"accuracy", "ece"}

    @property
    def label(self) -> str:
        """As a heading has it, without a unit."""
        return _LABELS[self.stem] + (" after temperature scaling" if self.scaled else "")

    def rank(self, value: float) -> float:
        """Larger is better."""
        return value if self.maximize else -value


def possible_values(column: str) -> tuple[float, float]:
    """The least and the largest value that a column of the test split can have."""
    return _POSSIBLE.get(column.removeprefix("test_").removesuffix("_scaled"), (-math.inf, math.inf))


def find_measure(name: str) -> Measure:
    """The measure behind ``val_nll``, ``test_nll``, ``test_nll_scaled`` or plain ``nll``.

    Raises:
        ReportError: for any other name, with the nearest one.
    """
    known = {**dict.fromkeys(VAL_METRICS), **dict.fromkeys(TEST_MEASURES)}
    column = name if name in known else f"val_{name}" if f"val_{name}" in known else f"test_{name}" if f"test_{name}" in known else None
    if column is None:
        raise ReportError(f"--metric: unknown metric {shown(name)}; {nearest(name, known)}")
    stem = column.partition("_")[2]
    return Measure(stem.removesuffix("_scaled"), stem.endswith("_scaled"))
