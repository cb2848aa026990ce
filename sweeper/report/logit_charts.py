"""The charts over stored logits: reliability of each arm, confusion matrix of the best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from sweeper.report.chart_data import ConfirmLogits, pooled_confusion, pooled_reliability
from sweeper.report.document import Cell, Grid, cells
from sweeper.report.numbers import count, percent
from sweeper.report.summary import Comparison
from sweeper.report.vega import (
    Chart,
    Spec,
    colour_by_arm,
    dashed_lines,
    nearest_points,
    number_axis,
    rounded,
    told,
    values_of,
)


def logit_charts(
    by_arm: Mapping[str, list[ConfirmLogits]], comparison: Comparison, classes: Sequence[str], colours: Mapping[str, str]
) -> Iterator[Chart]:
    """Reliability of each arm, and the confusion matrix of the best."""
    arms = [arm for arm in colours if arm in by_arm]
    if arms:
        yield _reliability(by_arm, arms, comparison, colours)
    best = comparison.arms[0].arm
    if best in by_arm:
        yield _confusion(best, by_arm[best], classes)


def _reliability(
    by_arm: Mapping[str, list[ConfirmLogits]], arms: Sequence[str], comparison: Comparison, colours: Mapping[str, str]
) -> Chart:
    rows = []
    for arm in arms:
        for scaled in (False, True):
            bins = pooled_reliability(by_arm[arm], scaled=scaled)
            for position in np.flatnonzero(bins.counts):
                figures = float(bins.confidence[position]), float(bins.accuracy[position]), int(bins.counts[position])
                rows.append((arm, "temperature-scaled" if scaled else "raw", *figures))
    table = pd.DataFrame(rows, columns=["arm", "logits", "confidence", "accuracy", "images"])
    measures = {arm.arm: arm.measures for arm in comparison.arms}
    eces = {
        arm: [percent(found[name].mean) for name in ("test_ece", "test_ece_scaled") if name in found] for arm, found in measures.items()
    }
    printed = {arm: f"ECE {' % → '.join(figures)} %" for arm, figures in eces.items() if figures}
    table["ece"] = table["arm"].map(printed).where(~table["arm"].duplicated(), None)
    axis, scale = {"format": ".0%", "values": [0, 0.25, 0.5, 0.75, 1]}, {"domain": [0, 1]}
    colour = colour_by_arm(colours, arms)
    shown = {"color": colour, "tooltip": told("arm", "logits", "images", confidence=".1%", accuracy=".1%")}
    lines = dashed_lines("logits", ["raw", "temperature-scaled"])
    spec: Spec = {
        "data": values_of(table, list(table.columns)),
        "encoding": {"x": number_axis("confidence", "confidence", axis, scale), "y": number_axis("accuracy", "accuracy", axis, scale)},
        "layer": [
            {
                "data": {"values": [{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}]},
                "mark": {"type": "line", "color": "#888888", "strokeWidth": 1, "tooltip": None},
            },
            {"mark": lines["mark"], "encoding": {**lines["encoding"], **shown}},
        ],
    }
    bins_of_images: Spec = {
        "mark": {"type": "point", "strokeWidth": 1.2, "opacity": 1},
        "encoding": {
            "color": colour,
            "fill": {"condition": {"test": "datum.logits === 'raw'", **colour}, "value": "white"},
            "size": {"field": "images", "type": "quantitative", "scale": {"range": [6, 160]}, "legend": None},
        },
    }
    calibration_error: Spec = {
        "transform": [{"filter": "datum.ece"}],
        "mark": {"type": "text", "align": "right", "fontSize": 11},
        "encoding": {"x": {"datum": 0.97}, "y": {"datum": 0.05}, "text": {"field": "ece"}},
    }
    grid = Grid(
        "reliability",
        ("arm", "logits", "confidence %", "accuracy %", "images"),
        tuple((Cell(arm), Cell(logits), *cells(percent, *shares), *cells(count, images)) for arm, logits, *shares, images in rows),
        frozenset({0, 1}),
    )
    return Chart(
        "reliability",
        "Reliability",
        "Accuracy against confidence on the test split, all confirm seeds of an arm pooled, in 15 bins; on the diagonal is calibrated.",
        spec,
        300,
        grid,
        is_square=True,
        arms=tuple(arms),
        pointed=(nearest_points(shown),),
        printed=(bins_of_images, calibration_error),
    )


def _confusion(best: str, trials: list[ConfirmLogits], classes: Sequence[str]) -> Chart:
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
        "encoding": {
            "x": {"field": "given", "title": "given class", "axis": {"labelAngle": -45}, **axis},
            "y": {"field": "true", "title": "true class", **axis},
            "tooltip": told("true", "given", share=".1%"),
        },
        "layer": layers,
    }
    rows = tuple((Cell(name), *cells(percent, *map(float, line))) for name, line in zip(names, shares, strict=True))
    return Chart(
        "confusion",
        f"Confusion matrix of {best}",
        f"Share of the images of each true class that {best} gives each class, on the test split, all confirm seeds pooled.",
        spec,
        max(240, 24 * len(names)),
        Grid("confusion", ("true class, %", *names), rows),
        is_square=True,
    )
