"""The charts of the page that rest on trials and epochs, as Vega-Lite specifications."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from sweeper.records import TrialState
from sweeper.report import numbers
from sweeper.report.chart_data import TunedParameter, best_so_far, confirm_bands, parameter_points, tuned_parameters
from sweeper.report.document import Cell, Grid
from sweeper.report.measure import Measure
from sweeper.report.reading import StoredSweep
from sweeper.report.vega import (
    Chart,
    Spec,
    colour_by_arm,
    dashed_lines,
    figure_cell,
    figure_format,
    layered,
    metric_axis,
    nearest_points,
    percent_cell,
    values_of,
)
from sweeper.text import plural

MOST_POINTS = 600
"""Most points of one scatter chart: the best of each arm, and others spread evenly over their numbers."""


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
            "data": values_of(curves[curves["role"] == "thin"], ["arm", "trial", "epoch", "val_accuracy"]),
            "mark": {"type": "line", "strokeWidth": 0.7, "opacity": 0.35, "tooltip": None},
            "encoding": {**_curve(colours, arms), "detail": {"field": "trial"}},
        },
        {
            "data": values_of(
                band.assign(low=band["mean"] - band["std"], high=band["mean"] + band["std"]), ["arm", "epoch", "low", "high"]
            ),
            "mark": {"type": "area", "opacity": 0.25, "tooltip": None},
            "encoding": {
                **_curve(colours, arms),
                "y": {"field": "low", "type": "quantitative", "stack": None, "scale": {"zero": False}},
                "y2": {"field": "high"},
            },
        },
        {
            "data": values_of(bold, ["arm", "trial", "epoch", "val_accuracy", "split"]),
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
            "layer": [dashed_lines("split", [evaluated_on, "training"]), nearest_points()],
        },
    ]
    n_seeds = int(band["count"].max()) if len(band) else 0
    confirm = f" Band: mean ± 1 standard deviation over {plural(n_seeds, 'confirm seed')}." if n_seeds else ""
    description = (
        f"Accuracy by epoch of the chosen trial of each arm, {evaluated_on} solid and training dashed.{confirm} Thin: other trials."
    )
    filled = [layer for layer in layers if layer["data"]["values"]]
    yield Chart("curves", "Learning curves", description, layered(filled, 340), _curve_table(chosen, arms), is_wide=True)


def _curve(colours: Mapping[str, str], arms: Sequence[str]) -> Spec:
    return {
        "x": {"field": "epoch", "type": "quantitative", "title": "epoch", "axis": {"tickMinStep": 1}},
        "y": {"field": "val_accuracy", "type": "quantitative", "title": "accuracy", "axis": {"format": ".0%"}, "scale": {"zero": False}},
        "color": colour_by_arm(colours, arms),
    }


def _curve_table(chosen: pd.DataFrame, arms: Sequence[str]) -> Grid:
    by_epoch = chosen.pivot_table(index="epoch", columns="arm", values="val_accuracy", aggfunc="first").reindex(columns=list(arms))
    rows = tuple(
        (Cell(str(epoch), float(epoch)), *(percent_cell(value) for value in values))
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
    spec = layered(
        [
            {
                "data": values_of(kept, ["arm", "trial", "spent", "best"]),
                "encoding": {
                    "x": {"field": "spent", "type": "quantitative", "title": "epochs spent on the arm's search"},
                    "y": metric_axis("best", f"best validation {measure.label} so far", measure),
                    "color": colour_by_arm(colours, arms),
                    "tooltip": [
                        {"field": "arm"},
                        {"field": "trial"},
                        {"field": "spent", "title": "epochs spent"},
                        {"field": "best", "format": figure_format(measure)},
                    ],
                },
                "layer": [{"mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2.2}}, nearest_points()],
            }
        ],
        280,
    )
    rows = tuple(
        (
            Cell(row["arm"]),
            Cell(row["trial"]),
            Cell(numbers.count(int(row["spent"])), int(row["spent"])),
            figure_cell(row["best"], measure),
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
        points = parameter_points(sweep, measure, parameter)
        arms = [arm for arm in colours if (points["arm"] == arm).any()]
        if arms:
            yield _parameter_chart(index, parameter, points, arms, colours, measure)


def _parameter_chart(
    index: int, parameter: TunedParameter, points: pd.DataFrame, arms: Sequence[str], colours: Mapping[str, str], measure: Measure
) -> Chart:
    shown = _thinned(points, measure)
    is_complete = shown["state"] == str(TrialState.COMPLETE)
    title = f"{parameter.name}{' (log scale)' if parameter.is_log else ''}"
    spec = layered(
        [
            {
                "data": values_of(shown.assign(end=np.where(is_complete, "complete", "stopped early")), [*points.columns, "end"]),
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
                    "y": metric_axis("value", f"validation {measure.label}, last epoch", measure),
                    "color": colour_by_arm(colours, arms),
                    "fill": {"condition": {"test": "datum.end === 'complete'", **colour_by_arm(colours, arms)}, "value": "transparent"},
                    "tooltip": [
                        {"field": "arm"},
                        {"field": "trial"},
                        {"field": "state"},
                        {"field": "epochs"},
                        {"field": "parameter", "title": parameter.name, "format": ".4~g"},
                        {"field": "value", "title": measure.label, "format": figure_format(measure)},
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
    spec = layered(
        [
            {
                "data": values_of(table, ["arm", "parameter", "importance", "trials"]),
                "mark": {"type": "bar"},
                "encoding": {
                    "y": {"field": "parameter", "type": "nominal", "title": None, "sort": "-x"},
                    "yOffset": {"field": "arm", "sort": arms},
                    "x": {"field": "importance", "type": "quantitative", "title": "share within the arm", "axis": {"format": ".0%"}},
                    "color": colour_by_arm(colours, arms),
                    "tooltip": [{"field": "arm"}, {"field": "parameter"}, {"field": "importance", "format": ".1%"}, {"field": "trials"}],
                },
            }
        ],
        280,
    )
    rows = tuple(
        (Cell(row["arm"]), Cell(row["parameter"]), percent_cell(row["importance"]), Cell(str(row["trials"]), row["trials"]))
        for row in table.to_dict("records")
    )
    grid = Grid("importance", ("arm", "parameter", "importance %", "trials"), rows, frozenset({0, 1}))
    description = "How far an arm's best tenth of complete trials lies from all of them, parameter by parameter (PED-ANOVA)."
    yield Chart("importance", "Importance of the parameters", description, spec, grid)
