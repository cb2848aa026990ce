"""Formats numbers: the same rounding in every format for people. ``csv`` and ``json`` do not round."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.report.document import Cell
from sweeper.report.measure import Measure
from sweeper.report.summary import ClassAccuracy, Estimate

MISSING = "–"


def percent(fraction: float | None) -> str:
    """A fraction as per cent with one decimal, without the sign: ``57.4``."""
    return MISSING if fraction is None else _signless_zero(f"{100 * fraction:.1f}")


def points(difference: float | None) -> str:
    """A difference of fractions in percentage points with two decimals and its sign: ``-1.83``."""
    return MISSING if difference is None else _signless_zero(f"{100 * difference:+.2f}")


def deviation(fraction: float | None) -> str:
    """A standard deviation of fractions in percentage points with two decimals: ``0.40``."""
    return MISSING if fraction is None else f"{100 * fraction:.2f}"


def figure(value: float | None, measure: Measure) -> str:
    """A value of a measure: per cent for fractions, else three decimals."""
    if measure.is_fraction:
        return percent(value)
    return MISSING if value is None else _signless_zero(f"{value:.3f}")


def difference(value: float | None, measure: Measure) -> str:
    """A difference of two values of a measure, with its sign: points for fractions, else three decimals."""
    if measure.is_fraction:
        return points(value)
    return MISSING if value is None else _signless_zero(f"{value:+.3f}")


def figure_with_interval(found: Estimate, measure: Measure) -> str:
    """``57.4 [57.1, 57.8]``."""
    return _with_interval(figure(found.mean, measure), figure(found.low, measure), figure(found.high, measure), found)


def difference_with_interval(found: Estimate | None, measure: Measure) -> str:
    """``-1.83 [-2.41, -1.20]``."""
    if found is None:
        return MISSING
    return _with_interval(difference(found.mean, measure), difference(found.low, measure), difference(found.high, measure), found)


def share(found: ClassAccuracy | None) -> Cell:
    """``57.4 [54.3, 60.4]``, per cent."""
    return Cell(MISSING) if found is None else Cell(f"{percent(found.mean)} [{percent(found.low)}, {percent(found.high)}]", found.mean)


def span(found: tuple[float, float, float] | None, measure: Measure) -> Cell:
    """``57.4 [55.8, 58.0]``: a median with the lowest and the highest; alone where all are the same."""
    if found is None:
        return Cell(MISSING)
    median, low, high = (figure(value, measure) for value in found)
    return Cell(median if low == high else f"{median} [{low}, {high}]", found[0])


def epochs(mean: float | None) -> str:
    """A mean of counts, rounded to a whole number."""
    return MISSING if mean is None else f"{mean:,.0f}"


def with_unit(text: str, measure: Measure) -> str:
    """``57.4 %`` or ``1.203``, for a sentence."""
    return f"{text} %" if measure.is_fraction else text


def unit(measure: Measure) -> str:
    """The unit after a metric's name in a heading: `` %`` or nothing."""
    return " %" if measure.is_fraction else ""


def count(value: int | None) -> str:
    """``1,234``."""
    return MISSING if value is None else f"{value:,}"


def counted(counts: Sequence[int], one: str, several: str) -> str:
    """``5 searches``, or ``4 to 5 searches`` where not all counts are the same."""
    shown = count(min(counts)) if min(counts) == max(counts) else f"{count(min(counts))} to {count(max(counts))}"
    return f"{shown} {one if max(counts) == 1 else several}"


def seconds(value: float) -> str:
    """Whole seconds from 10 s on, else one decimal."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def probability(value: float | None) -> str:
    """Two decimals."""
    return MISSING if value is None else f"{value:.2f}"


def p_value(value: float | None) -> str:
    """Three decimals, ``<0.001`` below."""
    if value is None:
        return MISSING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def listed(names: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    *head, tail = names
    return f"{', '.join(head)} {last} {tail}" if head else tail


def _with_interval(centre: str, low: str, high: str, found: Estimate) -> str:
    return centre if found.low is None else f"{centre} [{low}, {high}]"


def _signless_zero(text: str) -> str:
    return text.lstrip("+-") if float(text) == 0 else text
