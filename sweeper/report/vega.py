"""What all charts share: the parts that Vega-Lite specifications are put together from, and how the page and a picture show one.

Names and texts from files go into data values and titles only, never into an expression.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from sweeper.report.document import Grid
from sweeper.report.measure import Measure

Spec: TypeAlias = dict[str, Any]
SIGNIFICANT_DIGITS = 6
MOST_COLUMNS = 4
"""Most panels side by side in a picture."""
PANEL_WIDTHS = {0: 560, 1: 480, 2: 320, 3: 230, 4: 210}
"""Pixels, by the number of panels side by side; 0 for a picture without panels."""

_ON_ANY_GROUND: Spec = {"labelColor": "currentColor", "titleColor": "currentColor"}
CONFIG: Spec = {  # text takes the page's colour, so that light, dark and print need nothing more; in a picture that is black
    "background": None,
    "aria": False,  # a screen reader gets the description and the table, not thousands of marks
    "font": "system-ui, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif",
    "view": {"stroke": None},
    "text": {"color": "currentColor"},
    "axis": _ON_ANY_GROUND
    | {"domainColor": "#8888", "tickColor": "#8888", "gridColor": "#8883"}
    | {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"},
    "legend": _ON_ANY_GROUND
    | {"labelFontSize": 12, "orient": "bottom", "title": None}
    | {"symbolSize": 90, "symbolOpacity": 1, "symbolBaseStrokeColor": "currentColor"},
    "header": _ON_ANY_GROUND,
}
PICTURE_CONFIG = CONFIG | {
    "background": "white",
    "font": "'Liberation Sans', Arial, Helvetica, sans-serif",  # the first comes with vl-convert, the others are as wide
    "legend": {**CONFIG["legend"], "columns": 5},
    "axisX": {"labelFlush": False},  # else the ends of an axis crowd the labels beside them
    "title": {"anchor": "start", "fontSize": 14, "subtitleColor": "#555555", "subtitleFontSize": 12, "subtitlePadding": 5, "offset": 12},
    "header": _ON_ANY_GROUND | {"labelAnchor": "start", "labelFontSize": 13, "labelFontWeight": "bold", "labelPadding": 5},
}


@dataclass(frozen=True, slots=True)
class Chart:
    """A specification without a size, and the text around it; its picture has the file name ``name``.

    ``table``: the same figures for who cannot see the chart. ``arms``: if not empty, the picture has a panel for each.
    ``opens_page``: it stands right below the verdict. ``pointed``: layers for a pointer, which the page alone has; ``printed``: layers that
    replace them in the picture.
    """

    name: str
    title: str
    description: str
    spec: Spec
    height: int
    table: Grid | None = None
    is_wide: bool = False
    is_on_page: bool = True
    is_picture: bool = True
    opens_page: bool = False
    is_square: bool = False
    arms: tuple[str, ...] = ()
    pointed: tuple[Spec, ...] = ()
    printed: tuple[Spec, ...] = ()

    def for_page(self) -> Spec:
        """The specification, as wide as its place on the page."""
        spec = {**self.spec, "layer": [*self.spec["layer"], *self.pointed]}
        return {**spec, "width": "container", "height": self.height, "description": self.description}

    def for_picture(self) -> Spec:
        """The specification with a title, its size in pixels, and a panel for each arm where it has ``arms``."""
        spec = dict(self.spec)
        columns = min(len(self.arms), MOST_COLUMNS)
        if "layer" in spec:
            width = PANEL_WIDTHS[columns]
            size = {"width": width, "height": width if self.is_square else min(self.height, width)}
            spec = {**size, **spec, "layer": [*spec["layer"], *self.printed]}
        if self.arms:
            facet = {"field": "arm", "sort": list(self.arms), "title": None, "header": {"labelLimit": PANEL_WIDTHS[columns]}}
            spec = {"data": spec.pop("data"), "facet": facet, "columns": columns, "spec": spec, "resolve": {"axis": {"x": "independent"}}}
        characters = max(columns, 2) * PANEL_WIDTHS[max(columns, 2)] // 6
        title = {"text": self.title, "subtitle": textwrap.wrap(self.description, characters)}
        return {**spec, "title": title, "config": PICTURE_CONFIG}


def dashed_lines(field: str, kinds: list[str]) -> Spec:
    """A solid line for the first kind, a dashed one for the second."""
    legend = {"title": None, "symbolType": "stroke", "symbolSize": 400}
    return {"mark": {"type": "line", "strokeWidth": 2.0}, "encoding": {"strokeDash": {"field": field, "sort": kinds, "legend": legend}}}


def nearest_points(encoding: Spec | None = None) -> Spec:
    """Points that show only under the pointer, the nearest one to it: they carry the tooltip of a curve."""
    return {
        "params": [{"name": "hover", "select": {"type": "point", "on": "pointerover", "nearest": True, "clear": "pointerout"}}],
        "mark": {"type": "point", "filled": True, "size": 70},
        "encoding": {"opacity": {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0}, **(encoding or {})},
    }


def told(*fields: str, **formats: str) -> list[Spec]:
    """What a tooltip shows: fields unchanged, then numbers in a format."""
    return [*({"field": field} for field in fields), *({"field": field, "format": text} for field, text in formats.items())]


def number_axis(field: str, title: str, axis: Spec | None = None, scale: Spec | None = None) -> Spec:
    """An axis of numbers, which need not begin at zero."""
    return {"field": field, "type": "quantitative", "title": title, "axis": axis or {}, "scale": scale or {"zero": False}}


def whole_numbers(values: pd.Series[float]) -> Spec:
    """Ticks of an axis over whole numbers: each where they are few, for Vega halves the steps of an axis that spans two."""
    low, high = int(values.min()), int(values.max())
    return {"values": list(range(low, high + 1)), "format": "d"} if high - low <= 2 else {"tickMinStep": 1}


def colour_by_arm(colours: Mapping[str, str], arms: Sequence[str]) -> Spec:
    """The colour of each arm, the same as in every other chart and picture."""
    scale = {"domain": list(arms), "range": [colours[arm] for arm in arms]}
    return {"field": "arm", "type": "nominal", "scale": scale, "legend": {"title": None}}


def metric_axis(field: str, title: str, measure: Measure) -> Spec:
    """A y axis in the unit of the measure."""
    return number_axis(field, title, {"format": ".0%"} if measure.is_fraction else {})


def figure_format(measure: Measure) -> str:
    """How a tooltip rounds a value of the measure."""
    return ".1%" if measure.is_fraction else ".3f"


def values_of(table: pd.DataFrame, columns: Sequence[str]) -> Spec:
    """Rows of a table as inline data, each without its missing values."""
    names = [str(name) for name in columns]
    rows = zip(*(map(rounded, table[name].tolist()) for name in columns), strict=True)
    return {"values": [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]}


def rounded(value: Any) -> Any:
    """A number to draw, in six digits; ``None`` for what is not finite."""
    if not isinstance(value, float):
        return value.item() if isinstance(value, np.generic) else value
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
