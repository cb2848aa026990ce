"""The metrics that a report can compare by, and where each is stored."""

from __future__ import annotations

from dataclasses import dataclass

from sweeper.errors import SweeperError
from sweeper.metrics import Metric, declared, metric_of
from sweeper.records import TRIAL_COLUMNS, VAL_METRICS
from sweeper.text import nearest, shown

TEST_MEASURES = tuple(column.name for column in TRIAL_COLUMNS if column.name.startswith("test_"))
"""Columns of the test split, in the order of ``trials/``."""
MEASURES = (*TEST_MEASURES, "temperature")
"""What a report tells of every confirm trial."""


class ReportError(SweeperError):
    """A report that cannot be made as asked: an unknown format, grouping, metric or sweep."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric as the search sees it (on validation) and as the confirm phase does (on test)."""

    metric: Metric
    scaled: bool = False

    @property
    def stem(self) -> str:
        return self.metric.name

    @property
    def val_column(self) -> str:
        return self.metric.val_column

    @property
    def test_column(self) -> str:
        return self.metric.scaled_column if self.scaled else self.metric.test_column

    @property
    def maximize(self) -> bool:
        return self.metric.maximize

    @property
    def is_fraction(self) -> bool:
        return self.metric.is_fraction

    @property
    def label(self) -> str:
        """As a heading has it, without a unit."""
        return self.metric.label + (" after temperature scaling" if self.scaled else "")

    def rank(self, value: float) -> float:
        """Larger is better."""
        return self.metric.rank(value)


def find_measure(name: str) -> Measure:
    """The measure behind ``val_nll``, ``test_nll``, ``test_nll_scaled`` or plain ``nll``, or a metric that a space declares.

    Raises:
        ReportError: for any other name, with the nearest one.
    """
    known = [*VAL_METRICS, *TEST_MEASURES, *(column for own in declared().values() for column in (own.val_column, own.test_column))]
    column = next((column for column in (name, f"val_{name}", f"test_{name}") if column in known), None)
    if column is None:
        raise ReportError(f"--metric: unknown metric {shown(name)}; {nearest(name, known)}")
    return Measure(metric_of(column), column.endswith("_scaled"))
