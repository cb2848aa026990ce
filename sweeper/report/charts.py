"""The charts of the page as Vega-Lite specifications.

Names and texts from files stand in data values and titles only, never in an expression.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from sweeper.records import TrialState

from . import numbers
from .chart_data import (
    TestLogits,
    TunedParameter,
    best_so_far,
    confirm_bands,
    parameter_points,
    pooled_confusion,
    pooled_reliability,
    tuned_parameters,
)
from .document import Cell, Grid
from .measure import Measure
from .reading import StoredSweep

Spec: TypeAlias = dict[str, Any]

MOST_POINTS = 600
"""Most points of one scatter chart: the best of each arm, and others spread evenly over their numbers."""
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


def curve_charts(curves: pd.DataFrame, colours: Mapping[str, str], evaluated_on: str) -> Iterator[Chart]:
    """Accuracy by epoch: chosen trials, confirm bands, the rest of the search thin."""
    arms = [arm for arm in colours if (curves["arm"] == arm).any()]
    if not arms:
        return
    band = confirm_bands(curves, "val_accuracy")
    chosen = curves[curves["role"] == "chosen"]
    training = chosen.assign(val_accuracy=chosen["train_accuracy"], split="training")
    bold = pd.concat([chosen.assign(split=evaluated_on), training])
    layers: list[Spec] = [
        {
            "data": _rows(curves[curves["role"] == "thin"], ["arm", "trial", "epoch", "val_accuracy"]),
            "mark": {"type": "line", "strokeWidth": 0.7, "opacity": 0.35, "tooltip": None},
            "encoding": {**_curve(colours, arms), "detail": {"field": "trial"}},
        },
        {
            "data": _rows(band.assign(low=band["mean"] - band["std"], high=band["mean"] + band["std"]), ["arm", "epoch", "low", "high"]),
            "mark": {"type": "area", "opacity": 0.25, "tooltip": None},
            "encoding": {
                **_curve(colours, arms),
                "y": {"field": "low", "type": "quantitative", "stack": None, "scale": {"zero": False}},
                "y2": {"field": "high"},
            },
        },
        {
            "data": _rows(bold, ["arm", "trial", "epoch", "val_accuracy", "split"]),
            "encoding": {
                **_curve(colours, arms),
                "tooltip": [
                    {"field": "arm"},
                    {"field": "trial"},
                    {"field": "split"},
                    {"field": "epoch"},
                    {"field": "val_accuracy", "title": "accuracy", "format": ".1%"},
                ],
            },
            "layer": [_dashed_lines("split", [evaluated_on, "training"]), _nearest_points()],
        },
    ]
    n_seeds = int(band["count"].max()) if len(band) else 0
    confirm = f" Band: mean ± 1 standard deviation over {numbers.plural(n_seeds, 'confirm seed')}." if n_seeds else ""
    description = (
        f"Accuracy by epoch of the chosen trial of each arm, {evaluated_on} solid and training dashed.{confirm} Thin: other trials."
    )
    filled = [layer for layer in layers if layer["data"]["values"]]
    yield Chart("curves", "Learning curves", description, _chart(filled, 340), _curve_table(chosen, arms), is_wide=True)


def _curve(colours: Mapping[str, str], arms: Sequence[str]) -> Spec:
    return {
        "x": {"field": "epoch", "type": "quantitative", "title": "epoch", "axis": {"tickMinStep": 1}},
        "y": {"field": "val_accuracy", "type": "quantitative", "title": "accuracy", "axis": {"format": ".0%"}, "scale": {"zero": False}},
        "color": _colour(colours, arms),
    }


def _curve_table(chosen: pd.DataFrame, arms: Sequence[str]) -> Grid:
    by_epoch = chosen.pivot_table(index="epoch", columns="arm", values="val_accuracy", aggfunc="first").reindex(columns=list(arms))
    rows = tuple(
        (Cell(str(epoch), float(epoch)), *(_percent_cell(value) for value in values))
        for epoch, values in zip(by_epoch.index.tolist(), by_epoch.to_numpy().tolist(), strict=True)
    )
    return Grid("curves", ("epoch", *(f"{arm} %" for arm in arms)), rows)


def budget_chart(sweep: StoredSweep, measure: Measure, colours: Mapping[str, str]) -> Iterator[Chart]:
    """Best so far against the epochs spent."""
    table = best_so_far(sweep, measure)
    arms = [arm for arm in colours if (table["arm"] == arm).any()]
    if not arms:
        return
    improved = table[table.groupby("arm")["best"].diff().fillna(1) != 0]
    ends = table.groupby("arm", sort=False).tail(1)
    kept = table.loc[improved.index.union(ends.index)]
    spec = _chart(
        [
            {
                "data": _rows(kept, ["arm", "trial", "spent", "best"]),
                "encoding": {
                    "x": {"field": "spent", "type": "quantitative", "title": "epochs spent on the arm's search"},
                    "y": _metric_axis("best", f"best validation {measure.label} so far", measure),
                    "color": _colour(colours, arms),
                    "tooltip": [
                        {"field": "arm"},
                        {"field": "trial"},
                        {"field": "spent", "title": "epochs spent"},
                        {"field": "best", "format": _format(measure)},
                    ],
                },
                "layer": [{"mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2.2}}, _nearest_points()],
            }
        ],
        280,
    )
    rows = tuple(
        (
            Cell(row["arm"]),
            Cell(row["trial"]),
            Cell(numbers.count(int(row["spent"])), int(row["spent"])),
            _figure_cell(row["best"], measure),
        )
        for row in improved.to_dict("records")
    )
    grid = Grid("best_so_far", ("arm", "trial", "epochs spent", f"best {measure.stem}{numbers.unit(measure)}"), rows, frozenset({0, 1}))
    description = (
        "The best final value among the complete trials of an arm's search, against the epochs that all its trials had taken by then."
    )
    yield Chart("budget", "Best so far against the budget", description, spec, grid)


def parameter_charts(sweep: StoredSweep, measure: Measure, colours: Mapping[str, str]) -> Iterator[Chart]:
    """One scatter per tuned parameter."""
    for index, parameter in enumerate(tuned_parameters(sweep)):
        points = parameter_points(sweep, measure, parameter.name)
        arms = [arm for arm in colours if (points["arm"] == arm).any()]
        if arms:
            yield _parameter_chart(index, parameter, points, arms, colours, measure)


def _parameter_chart(
    index: int, parameter: TunedParameter, points: pd.DataFrame, arms: Sequence[str], colours: Mapping[str, str], measure: Measure
) -> Chart:
    shown = _thinned(points, measure)
    is_complete = shown["state"] == str(TrialState.COMPLETE)
    title = f"{parameter.name}{' (log scale)' if parameter.is_log else ''}"
    spec = _chart(
        [
            {
                "data": _rows(shown.assign(end=np.where(is_complete, "complete", "stopped early")), [*points.columns, "end"]),
                "mark": {"type": "point", "size": 45, "strokeWidth": 1.4},
                "encoding": {
                    "x": {
                        "field": "parameter",
                        "type": "quantitative",
                        "title": title,
                        "scale": {"type": "log"} if parameter.is_log else {"type": "linear", "zero": False, "padding": 8},
                        "axis": {
                            "format": "~g",
                            **({"values": _powers_of_ten(shown["parameter"])} if parameter.is_log else {"tickCount": 5}),
                        },
                    },
                    "y": _metric_axis("value", f"validation {measure.label}, last epoch", measure),
                    "color": _colour(colours, arms),
                    "fill": {"condition": {"test": "datum.end === 'complete'", **_colour(colours, arms)}, "value": "transparent"},
                    "tooltip": [
                        {"field": "arm"},
                        {"field": "trial"},
                        {"field": "state"},
                        {"field": "epochs"},
                        {"field": "parameter", "title": parameter.name, "format": ".4~g"},
                        {"field": "value", "title": measure.label, "format": _format(measure)},
                    ],
                },
            }
        ],
        260,
    )
    left_out = f" {len(shown):,} of {len(points):,} trials are drawn." if len(shown) < len(points) else ""
    description = (
        f"{parameter.name} against the validation {measure.label} of each trial at its last epoch; rings were stopped early.{left_out}"
    )
    return Chart(f"parameter{index}", parameter.name, description, spec)


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


def importance_chart(table: pd.DataFrame, colours: Mapping[str, str]) -> Iterator[Chart]:
    """Importance of each parameter within each arm."""
    if table.empty:
        return
    arms = [arm for arm in colours if (table["arm"] == arm).any()]
    spec = _chart(
        [
            {
                "data": _rows(table, ["arm", "parameter", "importance", "trials"]),
                "mark": {"type": "bar"},
                "encoding": {
                    "y": {"field": "parameter", "type": "nominal", "title": None, "sort": "-x"},
                    "yOffset": {"field": "arm", "sort": arms},
                    "x": {"field": "importance", "type": "quantitative", "title": "share within the arm", "axis": {"format": ".0%"}},
                    "color": _colour(colours, arms),
                    "tooltip": [{"field": "arm"}, {"field": "parameter"}, {"field": "importance", "format": ".1%"}, {"field": "trials"}],
                },
            }
        ],
        280,
    )
    rows = tuple(
        (Cell(row["arm"]), Cell(row["parameter"]), _percent_cell(row["importance"]), Cell(str(row["trials"]), row["trials"]))
        for row in table.to_dict("records")
    )
    grid = Grid("importance", ("arm", "parameter", "importance %", "trials"), rows, frozenset({0, 1}))
    description = "How far an arm's best tenth of complete trials lies from all of them, parameter by parameter (PED-ANOVA)."
    yield Chart("importance", "Importance of the parameters", description, spec, grid)


def logit_charts(by_arm: Mapping[str, list[TestLogits]], best: str, classes: Sequence[str], colours: Mapping[str, str]) -> Iterator[Chart]:
    """Reliability of each arm, and the confusion matrix of the best."""
    arms = [arm for arm in colours if arm in by_arm]
    if arms:
        yield _reliability(by_arm, arms, colours)
    if best in by_arm:
        yield _confusion(best, by_arm[best], classes)


def _reliability(by_arm: Mapping[str, list[TestLogits]], arms: Sequence[str], colours: Mapping[str, str]) -> Chart:
    rows = []
    for arm in arms:
        for scaled in (False, True):
            bins = pooled_reliability(by_arm[arm], scaled=scaled)
            for position in np.flatnonzero(bins.counts):
                figures = float(bins.confidence[position]), float(bins.accuracy[position]), int(bins.counts[position])
                rows.append((arm, "temperature-scaled" if scaled else "raw", *figures))
    table = pd.DataFrame(rows, columns=["arm", "logits", "confidence", "accuracy", "images"])
    percent_axis = {"format": ".0%", "values": [0, 0.25, 0.5, 0.75, 1]}
    diagonal: Spec = {
        "data": {"values": [{"p": 0}, {"p": 1}]},
        "mark": {"type": "line", "color": "#888888", "strokeWidth": 1, "tooltip": None},
        "encoding": {"x": {"field": "p", "type": "quantitative"}, "y": {"field": "p", "type": "quantitative"}},
    }
    lines: Spec = {
        "data": _rows(table, list(table.columns)),
        "encoding": {
            "x": {"field": "confidence", "type": "quantitative", "title": "confidence", "axis": percent_axis, "scale": {"domain": [0, 1]}},
            "y": {"field": "accuracy", "type": "quantitative", "title": "accuracy", "axis": percent_axis, "scale": {"domain": [0, 1]}},
            "color": _colour(colours, arms),
            "tooltip": [
                {"field": "arm"},
                {"field": "logits"},
                {"field": "confidence", "format": ".1%"},
                {"field": "accuracy", "format": ".1%"},
                {"field": "images"},
            ],
        },
        "layer": [_dashed_lines("logits", ["raw", "temperature-scaled"]), _nearest_points()],
    }
    cells = tuple(
        (Cell(arm), Cell(logits), _percent_cell(confidence), _percent_cell(accuracy), Cell(f"{images:,}", images))
        for arm, logits, confidence, accuracy, images in rows
    )
    grid = Grid("reliability", ("arm", "logits", "confidence %", "accuracy %", "images"), cells, frozenset({0, 1}))
    description = (
        "Accuracy against confidence on the test split, all confirm seeds of an arm pooled, in 15 bins; on the diagonal is calibrated."
    )
    return Chart("reliability", "Reliability", description, _chart([diagonal, lines], 300), grid)


def _confusion(best: str, trials: list[TestLogits], classes: Sequence[str]) -> Chart:
    shares = pooled_confusion(trials)
    names = list(classes) if len(classes) == len(shares) else [str(index) for index in range(len(shares))]
    values = [
        {"true": names[row], "given": names[column], "share": _rounded(float(share))} for (row, column), share in np.ndenumerate(shares)
    ]
    axis = {"type": "nominal", "sort": names, "scale": {"domain": names}}
    layers: list[Spec] = [
        {
            "mark": {"type": "rect"},
            "encoding": {
                "color": {"field": "share", "type": "quantitative", "scale": {"scheme": "blues", "domain": [0, 1]}, "legend": None},
            },
        }
    ]
    if len(names) <= 20:
        layers.append(
            {
                "mark": {"type": "text", "fontSize": 11, "tooltip": None},
                "encoding": {
                    "text": {"field": "share", "type": "quantitative", "format": ".0%"},
                    "color": {"condition": {"test": "datum.share > 0.55", "value": "white"}, "value": "black"},
                },
            }
        )
    spec: Spec = {
        "data": {"values": values},
        "width": "container",
        "height": max(240, 24 * len(names)),
        "encoding": {
            "x": {"field": "given", "title": "given class", "axis": {"labelAngle": -45}, **axis},
            "y": {"field": "true", "title": "true class", **axis},
            "tooltip": [{"field": "true"}, {"field": "given"}, {"field": "share", "format": ".1%"}],
        },
        "layer": layers,
    }
    rows = tuple((Cell(name), *(_percent_cell(float(share)) for share in line)) for name, line in zip(names, shares, strict=True))
    grid = Grid("confusion", ("true class, %", *names), rows)
    description = f"Share of the images of each true class that {best} gives each class, on the test split, all confirm seeds pooled."
    return Chart("confusion", f"Confusion matrix of {best}", description, spec, grid)


def _chart(layers: list[Spec], height: int) -> Spec:
    return {"width": "container", "height": height, "layer": layers}


def _dashed_lines(field: str, kinds: list[str]) -> Spec:
    """A solid line for the first kind, a dashed one for the second."""
    legend = {"title": None, "symbolType": "stroke", "symbolSize": 400}
    return {"mark": {"type": "line", "strokeWidth": 2.0}, "encoding": {"strokeDash": {"field": field, "sort": kinds, "legend": legend}}}


def _nearest_points() -> Spec:
    """Points that show only under the pointer, the nearest one to it: they carry the tooltip of a curve."""
    return {
        "params": [{"name": "hover", "select": {"type": "point", "on": "pointerover", "nearest": True, "clear": "pointerout"}}],
        "mark": {"type": "point", "filled": True, "size": 70},
        "encoding": {"opacity": {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0}},
    }


def _colour(colours: Mapping[str, str], arms: Sequence[str]) -> Spec:
    scale = {"domain": list(arms), "range": [colours[arm] for arm in arms]}
    return {"field": "arm", "type": "nominal", "scale": scale, "legend": {"title": None}}


def _metric_axis(field: str, title: str, measure: Measure) -> Spec:
    axis = {"format": ".0%"} if measure.is_fraction else {}
    return {"field": field, "type": "quantitative", "title": title, "axis": axis, "scale": {"zero": False}}


def _format(measure: Measure) -> str:
    return ".1%" if measure.is_fraction else ".3f"


def _rows(table: pd.DataFrame, columns: Sequence[str]) -> Spec:
    records = table[list(columns)].to_dict("records")
    return {"values": [{str(name): _rounded(value) for name, value in record.items()} for record in records]}


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value.item() if isinstance(value, np.generic) else value
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None


def _percent_cell(value: float) -> Cell:
    return Cell(numbers.percent(value), value) if math.isfinite(value) else Cell(numbers.MISSING)


def _figure_cell(value: float, measure: Measure) -> Cell:
    return Cell(numbers.figure(value, measure), value)
