"""The charts of the page that rest on stored logits: reliability and confusion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from sweeper.report.chart_data import TestLogits, pooled_confusion, pooled_reliability
from sweeper.report.document import Cell, Grid
from sweeper.report.vega import Chart, Spec, colour_by_arm, dashed_lines, layered, nearest_points, percent_cell, rounded, values_of


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
        "data": values_of(table, list(table.columns)),
        "encoding": {
            "x": {"field": "confidence", "type": "quantitative", "title": "confidence", "axis": percent_axis, "scale": {"domain": [0, 1]}},
            "y": {"field": "accuracy", "type": "quantitative", "title": "accuracy", "axis": percent_axis, "scale": {"domain": [0, 1]}},
            "color": colour_by_arm(colours, arms),
            "tooltip": [
                {"field": "arm"},
                {"field": "logits"},
                {"field": "confidence", "format": ".1%"},
                {"field": "accuracy", "format": ".1%"},
                {"field": "images"},
            ],
        },
        "layer": [dashed_lines("logits", ["raw", "temperature-scaled"]), nearest_points()],
    }
    cells = tuple(
        (Cell(arm), Cell(logits), percent_cell(confidence), percent_cell(accuracy), Cell(f"{images:,}", images))
        for arm, logits, confidence, accuracy, images in rows
    )
    grid = Grid("reliability", ("arm", "logits", "confidence %", "accuracy %", "images"), cells, frozenset({0, 1}))
    description = (
        "Accuracy against confidence on the test split, all confirm seeds of an arm pooled, in 15 bins; on the diagonal is calibrated."
    )
    return Chart("reliability", "Reliability", description, layered([diagonal, lines], 300), grid)


def _confusion(best: str, trials: list[TestLogits], classes: Sequence[str]) -> Chart:
    shares = pooled_confusion(trials)
    names = list(classes) if len(classes) == len(shares) else [str(index) for index in range(len(shares))]
    values = [
        {"true": names[row], "given": names[column], "share": rounded(float(share))} for (row, column), share in np.ndenumerate(shares)
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
    rows = tuple((Cell(name), *(percent_cell(float(share)) for share in line)) for name, line in zip(names, shares, strict=True))
    grid = Grid("confusion", ("true class, %", *names), rows)
    description = f"Share of the images of each true class that {best} gives each class, on the test split, all confirm seeds pooled."
    return Chart("confusion", f"Confusion matrix of {best}", description, spec, grid)
