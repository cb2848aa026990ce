"""What the charts of the page share: the parts that Vega-Lite specifications are put together from.

Names and texts from files stand in data values and titles only, never in an expression.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from sweeper.report import numbers
from sweeper.report.document import Cell, Grid
from sweeper.report.measure import Measure

Spec: TypeAlias = dict[str, Any]
SIGNIFICANT_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Chart:
    """A specification with what stands around it. ``table``: the same figures for who cannot see the chart."""

    name: str
    title: str
    description: str
    spec: Spec
    table: Grid | None = None
    is_wide: bool = False


def layered(layers: list[Spec], height: int) -> Spec:
    """A chart as wide as its place on the page, ``height`` in pixels."""
    return {"width": "container", "height": height, "layer": layers}


def dashed_lines(field: str, kinds: list[str]) -> Spec:
    """A solid line for the first kind, a dashed one for the second."""
    legend = {"title": None, "symbolType": "stroke", "symbolSize": 400}
    return {"mark": {"type": "line", "strokeWidth": 2.0}, "encoding": {"strokeDash": {"field": field, "sort": kinds, "legend": legend}}}


def nearest_points() -> Spec:
    """Points that show only under the pointer, the nearest one to it: they carry the tooltip of a curve."""
    return {
        "params": [{"name": "hover", "select": {"type": "point", "on": "pointerover", "nearest": True, "clear": "pointerout"}}],
        "mark": {"type": "point", "filled": True, "size": 70},
        "encoding": {"opacity": {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0}},
    }


def colour_by_arm(colours: Mapping[str, str], arms: Sequence[str]) -> Spec:
    """The colour of each arm, the same as in every other chart and picture."""
    scale = {"domain": list(arms), "range": [colours[arm] for arm in arms]}
    return {"field": "arm", "type": "nominal", "scale": scale, "legend": {"title": None}}


def metric_axis(field: str, title: str, measure: Measure) -> Spec:
    """A y axis in the unit of the measure."""
    axis = {"format": ".0%"} if measure.is_fraction else {}
    return {"field": field, "type": "quantitative", "title": title, "axis": axis, "scale": {"zero": False}}


def figure_format(measure: Measure) -> str:
    """How a tooltip rounds a value of the measure."""
    return ".1%" if measure.is_fraction else ".3f"


def values_of(table: pd.DataFrame, columns: Sequence[str]) -> Spec:
    """Rows of a table as data that stand in the specification."""
    names = [str(name) for name in columns]
    rows = zip(*(map(rounded, table[name].tolist()) for name in columns), strict=True)
    return {"values": [dict(zip(names, row, strict=True)) for row in rows]}


def rounded(value: Any) -> Any:
    """A number to draw, in six digits; ``None`` for what is not finite."""
    if not isinstance(value, float):
        return value.item() if isinstance(value, np.generic) else value
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None


def percent_cell(value: float) -> Cell:
    """A fraction as the tables show it."""
    return Cell(numbers.percent(value), value) if math.isfinite(value) else Cell(numbers.MISSING)


def figure_cell(value: float, measure: Measure) -> Cell:
    """A value of the measure as the tables show it."""
    return Cell(numbers.figure(value, measure), value)
