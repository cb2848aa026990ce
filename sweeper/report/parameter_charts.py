"""The charts over parameters: each against the metric, all side by side, how much each matters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from sweeper.metrics import best_of
from sweeper.records import TrialState
from sweeper.report import numbers
from sweeper.report.chart_data import TunedParameter, complete_configurations, parameter_points, tuned_parameters
from sweeper.report.document import Cell, Grid, cells
from sweeper.report.importance import parameter_importance
from sweeper.report.measure import Measure
from sweeper.report.reading import StoredSweep
from sweeper.report.vega import (
    Chart,
    Spec,
    colour_by_arm,
    figure_format,
    metric_axis,
    number_axis,
    told,
    values_of,
    whole_numbers,
)
from sweeper.store import file_name

MOST_POINTS = 600
"""Most points of one scatter chart: the best of each arm, and others spread evenly over their numbers."""
MOST_LINES = 300
"""Most trials in the parallel coordinates: the best ones."""


def parameter_charts(sweep: StoredSweep, measure: Measure, colours: Mapping[str, str]) -> Iterator[Chart]:
    """One scatter per tuned parameter, all of them as parallel coordinates, and their importance."""
    tuned = tuned_parameters(sweep)
    for parameter in tuned:
        points = parameter_points(sweep, measure, parameter)
        arms = [arm for arm in colours if (points["arm"] == arm).any()]
        if arms:
            yield _parameter_chart(parameter, points, arms, colours, measure)
    yield from _parallel_coordinates(complete_configurations(sweep, measure, tuned), tuned, colours, measure)
    yield from _importance_chart(parameter_importance(sweep, measure), colours)


def _parameter_chart(
    parameter: TunedParameter, points: pd.DataFrame, arms: Sequence[str], colours: Mapping[str, str], measure: Measure
) -> Chart:
    shown = _thinned(points, measure)
    is_complete = shown["state"] == str(TrialState.COMPLETE)
    best = {best_of(measure.val_column, rows.index, rows["value"].get) for _, rows in shown[is_complete].groupby("arm")}
    shown = shown.assign(end=np.where(is_complete, "complete", "stopped early"))
    shown["is_best"] = [True if position in best else None for position in shown.index]
    colour = colour_by_arm(colours, arms)
    name, scale = parameter.name, {"type": "linear", "zero": False, "padding": 8}
    axis: Spec = {"format": "~g", "tickCount": 5}
    if parameter.is_log:
        name, axis, scale = f"{name} (log scale)", {"format": "~g", "values": _powers_of_ten(shown["parameter"])}, {"type": "log"}
    elif parameter.is_whole:
        axis |= whole_numbers(shown["parameter"])
    spec: Spec = {
        "data": values_of(shown, list(shown.columns)),
        "encoding": {
            "x": number_axis("parameter", name, axis, scale),
            "y": metric_axis("value", f"validation {measure.label}, last epoch", measure),
        },
        "layer": [
            {
                "mark": {"type": "point", "size": 45, "strokeWidth": 1.4},
                "encoding": {
                    "color": colour,
                    "fill": {"condition": {"test": "datum.end === 'complete'", **colour}, "value": "transparent"},
                    "tooltip": [
                        *told("arm", "trial", "state", "epochs"),
                        {"field": "parameter", "title": parameter.name, "format": ".4~g"},
                        {"field": "value", "title": measure.label, "format": figure_format(measure)},
                    ],
                },
            }
        ],
    }
    cross: Spec = {
        "transform": [{"filter": "datum.is_best"}],
        "mark": {"type": "point", "size": 200, "stroke": "black", "strokeWidth": 1.6},
        "encoding": {"shape": {"datum": "best of the arm", "type": "nominal", "scale": {"range": ["M-1,0H1M0,-1V1"]}}},
    }
    left_out = f" {len(shown):,} of {len(points):,} trials are drawn." if len(shown) < len(points) else ""
    return Chart(
        f"parameter_{file_name(parameter.name)}",
        parameter.name,
        f"{parameter.name} against the validation {measure.label} of each trial at its last epoch; rings were stopped early.{left_out}",
        spec,
        260,
        arms=tuple(arms),
        printed=(cross,),
    )


def _powers_of_ten(values: pd.Series[float]) -> list[float]:
    """What a logarithmic axis over these values is labelled with: with 2 and 5 between where it spans less than two powers."""
    low, high = math.floor(math.log10(values.min())), math.ceil(math.log10(values.max()))
    steps = (1.0, 2.0, 5.0) if high - low <= 2 else (1.0,)
    return [float(f"{step * 10.0**power:.1g}") for power in range(low, high + 1) for step in steps]


def _thinned(points: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    if len(points) <= MOST_POINTS:
        return points
    best = points.sort_values("value", ascending=not measure.maximize).groupby("arm").head(5).index
    spread = points.index[np.unique(np.linspace(0, len(points) - 1, MOST_POINTS).astype(int))]
    return points.loc[best.union(spread)]


def _parallel_coordinates(
    table: pd.DataFrame, parameters: list[TunedParameter], colours: Mapping[str, str], measure: Measure
) -> Iterator[Chart]:
    """One line per complete trial through its parameters to its final metric, dotted where it passes one that its arm does not search."""
    table = table.sort_values("value", ascending=measure.maximize).tail(MOST_LINES)
    parameters = sorted((each for each in parameters if table[each.name].notna().any()), key=lambda each: len(each.arms))
    if len(table) < 2 or not parameters:
        return
    columns = [*(each.name for each in parameters), "value"]
    is_log = {each.name: each.is_log for each in parameters}
    heights = np.column_stack([_heights(table[name].to_numpy(), is_log.get(name, False)) for name in columns])
    segments = [
        {"arm": arm, "from": start, "to": end, "low": round(line[start], 4), "high": round(line[end], 4), "is_bridge": end - start > 1}
        for arm, line in zip(table["arm"], heights.tolist(), strict=True)
        for start, end in pairwise(np.flatnonzero(np.isfinite(line)).tolist())
    ]
    titles = [*(f"{name}\n(log)" if is_log[name] else name for name in columns[:-1]), f"validation\n{measure.label}"]
    labels = []
    for position, (name, title) in enumerate(zip(columns, titles, strict=True)):
        ends = table[name].min(), table[name].max()
        low, high = (f"{100 * end:.1f} %" if name == "value" and measure.is_fraction else f"{end:.3g}" for end in ends)
        labels += [{"from": position, "low": y, "text": text} for y, text in ((-0.06, low), (1.06, high), (-0.17, title))]
    hidden = {"axis": None, "type": "quantitative"}
    scale = {"domain": [-0.25, 1.1], "nice": False}
    spec: Spec = {
        "width": max(560, 120 * len(columns)),
        "encoding": {
            "x": {"field": "from", "scale": {"domain": [-0.4, len(columns) - 0.6], "nice": False}, **hidden},
            "y": {"field": "low", "scale": scale, **hidden},
        },
        "layer": [
            {
                "data": {"values": [{"from": position, "low": 0, "high": 1} for position in range(len(columns))]},
                "mark": {"type": "rule", "color": "#888888"},
                "encoding": {"y2": {"field": "high"}},
            },
            {
                "data": {"values": segments},
                "mark": {"type": "rule", "strokeWidth": 1.1, "opacity": 0.6},
                "encoding": {
                    "x2": {"field": "to"},
                    "y2": {"field": "high"},
                    "color": colour_by_arm(colours, [arm for arm in colours if (table["arm"] == arm).any()]),
                    "strokeDash": {"condition": {"test": "datum.is_bridge", "value": [1, 3]}, "value": [1, 0]},
                },
            },
            {"data": {"values": labels}, "mark": {"type": "text", "lineBreak": "\n"}, "encoding": {"text": {"field": "text"}}},
        ],
    }
    yield Chart(
        "parallel_coordinates",
        "Parameters of the complete trials",
        "One line per complete trial through its parameters to its final value; dotted where it passes one that its arm does not search.",
        spec,
        320,
        is_on_page=False,
    )


def _heights(values: np.ndarray, is_log: bool) -> np.ndarray:
    scaled = np.log(values) if is_log else values
    low, high = np.nanmin(scaled), np.nanmax(scaled)
    return np.asarray((scaled - low) / (high - low) if high > low else np.where(np.isfinite(scaled), 0.5, np.nan))


def _importance_chart(table: pd.DataFrame, colours: Mapping[str, str]) -> Iterator[Chart]:
    """Importance of each parameter within each arm."""
    if table.empty:
        return
    arms = [arm for arm in colours if (table["arm"] == arm).any()]
    spec: Spec = {
        "data": values_of(table, ["arm", "parameter", "importance", "trials"]),
        "encoding": {
            "y": {"field": "parameter", "type": "nominal", "title": None, "sort": "-x"},
            "yOffset": {"field": "arm", "sort": arms},
            "x": {"field": "importance", "type": "quantitative", "title": "share within the arm", "axis": {"format": ".0%"}},
            "color": colour_by_arm(colours, arms),
            "tooltip": told("arm", "parameter", "trials", importance=".1%"),
        },
        "layer": [{"mark": {"type": "bar"}}],
    }
    rows = tuple(
        (Cell(row["arm"]), Cell(row["parameter"]), *cells(numbers.percent, row["importance"]), *cells(str, row["trials"]))
        for row in table.to_dict("records")
    )
    yield Chart(
        "importance",
        "Importance of the parameters",
        "How far an arm's best tenth of complete trials lies from all of them, parameter by parameter (PED-ANOVA). Complete trials: "
        f"{', '.join(f'{arm} {n}' for arm, n in table.groupby('arm', sort=False)['trials'].first().items())}.",
        spec,
        max(280, 12 * len(table)),
        Grid("importance", ("arm", "parameter", "importance %", "trials"), rows, frozenset({0, 1})),
    )
