"""The picture of the verdict: every search or seed of each arm, and the difference of each rival to the best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from sweeper.report import numbers
from sweeper.report.document import Cell, Grid, cells
from sweeper.report.summary import Estimate
from sweeper.report.vega import Chart, Spec, figure_format, number_axis, told
from sweeper.report.verdict_figures import NO_FIGURE, ArmFigures, VerdictFigures

ROW_HEIGHT = 58
"""Pixels of an arm: its name, its dots, and below them mean and interval, so that nothing needs room beside or a colour to be read."""
PANEL_WIDTH = 400
_SCALE: Spec = {"zero": False, "nice": False, "padding": 14}
_NAME: Spec = {"labelAlign": "left", "labelBaseline": "middle", "labelPadding": -4, "labelOffset": -19, "labelLimit": 290}


def verdict_charts(figures: VerdictFigures, sentence: str, colours: Mapping[str, str]) -> Iterator[Chart]:
    """The picture, with the verdict's sentence, and for the page its two panels: beside or below one another, as there is room."""
    measure, near = figures.measure, figures.near()
    far = " An arrow points to arms off this scale." if figures.far() else ""
    panels = [
        Chart(
            "verdict_figures",
            f"Test {measure.label} by {figures.unit}",
            f"Dots: one {figures.unit} each. Diamond and bar: mean and 95 % interval.{far}",
            _figures(figures, near, colours),
            ROW_HEIGHT * len(figures.arms),
            _table(figures),
            opens_page=True,
            is_picture=False,
        )
    ]
    if any(arm.difference for arm in figures.arms):
        band = f" Band: the margin, ± {100 * figures.margin:g} points." if figures.margin is not None else ""
        worse = "Left" if measure.maximize else "Right"
        panels.append(
            Chart(
                "verdict_differences",
                f"Difference to {figures.best}",
                f"Test {measure.label} of each arm less that of the best, and its 95 % interval. {worse} of zero: worse.{band}{far}",
                _differences(figures, near, colours),
                ROW_HEIGHT * len(figures.arms),
                opens_page=True,
                is_picture=False,
            )
        )
    yield from panels
    beside = [{**panel.spec, "title": panel.title, "width": PANEL_WIDTH, "height": panel.height} for panel in panels]
    texts = dict.fromkeys(panel.description.removesuffix(far) for panel in panels)
    description = f"{' '.join([sentence, *texts])}{far}"
    yield Chart("verdict", "Verdict", description, {"hconcat": beside}, panels[0].height, is_on_page=False)


def _panel(figures: VerdictFigures, colours: Mapping[str, str], rows: list[Spec], x: Spec, layers: list[Spec]) -> Spec:
    """``rows``: data with their ``arm``; every arm has a row of the panel, with its name above its marks."""
    names = [arm.arm for arm in figures.arms]
    colour = {"domain": names, "range": [colours[name] for name in names]}
    axis = {"title": None, "ticks": False, "domain": False, **_NAME}
    return {
        "data": {"values": rows},
        "encoding": {
            "x": x,
            "y": {"field": "arm", "type": "nominal", "scale": {"domain": names}, "axis": axis},
            "color": {"field": "arm", "type": "nominal", "scale": colour, "legend": None},
        },
        "layer": layers,
    }


def _intervals(field: str, rows: list[Spec]) -> list[Spec]:
    """Each 95 % interval as a bar, the mean as a diamond on it; a pointer gets both as the tables have them."""
    tooltip = [*told("arm"), {"field": "figure", "title": field}]
    bar: Spec = {"mark": {"type": "rule", "strokeWidth": 4, "yOffset": 14}, "encoding": {"x": {"field": "low"}, "x2": {"field": "high"}}}
    diamond: Spec = {
        "mark": {"type": "point", "shape": "diamond", "filled": True, "size": 170, "yOffset": 14, "stroke": "currentColor", "opacity": 1},
        "encoding": {"x": {"field": field}},
    }
    return [
        {"transform": [{"filter": f"isValid(datum.{name})"}], **layer, "encoding": {**layer["encoding"], "tooltip": tooltip}}
        for name, layer in (("low", bar), (field, diamond))
        if any(name in row for row in rows)  # Vega warns about a layer without data
    ]


def _beside(rows: list[Spec]) -> list[Spec]:
    """A text in the row of each arm that has nothing on the scale, at the side where its figure lies."""
    return [
        {
            "transform": [{"filter": f"datum.side === '{side}'"}],
            "mark": {"type": "text", "align": side, "baseline": "middle", "fontSize": 12, "yOffset": 4},
            "encoding": {"x": x, "text": {"field": "text"}, "color": {"value": "currentColor"}},
        }
        for side, x in (("left", {"value": 4}), ("right", {"value": "width"}))
        if any(row.get("side") == side for row in rows)
    ]


def _far(arm: ArmFigures, text: str) -> Spec:
    return {"arm": arm.arm, "text": text, "side": "right" if text.endswith("→") else "left"}


def _ends(found: Estimate) -> Spec:
    return {"low": found.low, "high": found.high} if found.low is not None else {}


def _figures(figures: VerdictFigures, near: list[ArmFigures], colours: Mapping[str, str]) -> Spec:
    measure, rows = figures.measure, list[Spec]()
    for arm in figures.arms:
        if arm not in near:
            rows.append(_far(arm, figures.far_text(arm)))
            continue
        rows += [{"arm": arm.arm, figures.unit: unit, "value": value} for unit, value in arm.values.items()]
        if arm.mean is not None and arm.mean.n > 1:
            rows.append(
                {"arm": arm.arm, "figure": numbers.figure_with_interval(arm.mean, measure), "mean": arm.mean.mean, **_ends(arm.mean)}
            )
    dots = {
        "transform": [{"filter": "isValid(datum.value)"}],
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 0.65, "yOffset": -2},
        "encoding": {"x": {"field": "value"}, "tooltip": told("arm", figures.unit, value=figure_format(measure))},
    }
    axis = {"format": ".1%", "tickCount": 4} if measure.is_fraction else {"tickCount": 4}
    x = number_axis("value", f"test {measure.label}", axis, _SCALE)
    return _panel(figures, colours, rows, x, [dots, *_intervals("mean", rows), *_beside(rows)])


def _differences(figures: VerdictFigures, near: list[ArmFigures], colours: Mapping[str, str]) -> Spec:
    measure, rows = figures.measure, list[Spec]()
    for arm in figures.arms:
        gap = arm.difference
        if arm.arm == figures.best:
            rows.append({"arm": arm.arm, "figure": "the best", "difference": 0.0})
        elif gap is None or arm not in near:
            text = numbers.difference_with_interval(gap, measure) if gap else NO_FIGURE
            rows.append(_far(arm, text if gap is None else f"← {text}" if gap.mean < 0 else f"{text} →"))
        else:
            rows.append({"arm": arm.arm, "figure": numbers.difference_with_interval(gap, measure), "difference": gap.mean, **_ends(gap)})
    layers, whole_height = list[Spec](), {"y": {"value": 0}, "y2": {"value": "height"}}
    if figures.margin is not None:
        band = {"x": {"field": "from"}, "x2": {"field": "to"}, "color": {"value": "#8885"}, **whole_height}
        layers.append({"data": {"values": [{"from": -figures.margin, "to": figures.margin}]}, "mark": "rect", "encoding": band})
    zero = {"x": {"field": "zero"}, "color": {"value": "currentColor"}, **whole_height}
    layers.append({"data": {"values": [{"zero": 0}]}, "mark": {"type": "rule", "strokeDash": [4, 3]}, "encoding": zero})
    unit, factor = ("percentage points", 100) if measure.is_fraction else (f"difference in {measure.label}", 1)
    axis = {"labelExpr": f"datum.value === 0 ? '0' : format({factor} * datum.value, '+~g')", "tickCount": 4}
    x = number_axis("difference", unit, axis, _SCALE)
    return _panel(figures, colours, rows, x, [*layers, *_intervals("difference", rows), *_beside(rows)])


def _table(figures: VerdictFigures) -> Grid:
    """The figure of every search, or seed."""
    units = sorted({unit for arm in figures.arms for unit in arm.values})
    show = partial(numbers.figure, measure=figures.measure)
    rows = tuple((Cell(arm.arm), *cells(show, *(arm.values.get(unit) for unit in units))) for arm in figures.arms)
    return Grid("units", ("arm", *(f"{figures.unit} {unit}" for unit in units)), rows)
