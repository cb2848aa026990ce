"""The charts over epochs and trials: learning curves, loss and accuracy, what smaller budgets would have found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeVar

import pandas as pd

from sweeper.report import numbers
from sweeper.report.chart_data import best_so_far, confirm_bands
from sweeper.report.document import Cell, Grid, cells
from sweeper.report.measure import Measure, find_measure
from sweeper.report.reading import StoredSweep
from sweeper.report.summary import Budget
from sweeper.report.vega import (
    Chart,
    Spec,
    colour_by_arm,
    dashed_lines,
    figure_format,
    metric_axis,
    nearest_points,
    number_axis,
    told,
    values_of,
    whole_numbers,
)
from sweeper.text import plural

Figure = TypeVar("Figure")
_POINTS: Spec = {"transform": [{"filter": "datum.is_point"}], "mark": {"type": "point", "filled": True, "size": 16, "tooltip": None}}
"""Trials of one epoch, of which a line shows nothing."""


def curve_charts(curves: pd.DataFrame, colours: Mapping[str, str], evaluated_on: str) -> Iterator[Chart]:
    """Accuracy by epoch: chosen trials, confirm bands, the rest of the search thin. Beside it loss and accuracy of the chosen trials."""
    arms = [arm for arm in colours if (curves["arm"] == arm).any()]
    if not arms:
        return
    chosen = curves[curves["role"] == "chosen"]
    lines = pd.concat(
        [
            curves[curves["role"] == "thin"].assign(accuracy=curves["val_accuracy"]),
            chosen.assign(split=evaluated_on, accuracy=chosen["val_accuracy"], loss=chosen["val_loss"]),
            chosen.assign(split="training", accuracy=chosen["train_accuracy"], loss=chosen["train_loss"]),
        ]
    )
    lines["is_point"] = (lines.groupby(["trial", "role"])["epoch"].transform("nunique") == 1).where(lambda alone: alone, None)
    band = confirm_bands(curves, "val_accuracy").assign(role="band")
    table = pd.concat([lines, band, confirm_bands(curves, "train_accuracy").assign(role="training band")])
    roles = set(table["role"])
    table = table.assign(low=table["mean"] - table["std"], high=table["mean"] + table["std"])
    tooltip = told("arm", "trial", "split", "epoch", accuracy=".1%")
    bold = dashed_lines("split", [evaluated_on, "training"])
    thin = {"mark": {"type": "line", "strokeWidth": 0.7, "opacity": 0.35, "tooltip": None}, "encoding": {"detail": {"field": "trial"}}}
    layers = [  # without empty ones, about which Vega warns
        ("thin" in roles, {**_only("thin"), **thin}),
        ("band" in roles, _band("band", 0.25)),
        ("chosen" in roles, {**_only("chosen"), "mark": bold["mark"], "encoding": {**bold["encoding"], "tooltip": tooltip}}),
        (table["is_point"].any(), _POINTS),
    ]
    spec: Spec = {
        "data": values_of(table, ["arm", "trial", "epoch", "accuracy", "split", "role", "is_point", "low", "high"]),
        "encoding": {
            "x": number_axis("epoch", "epoch", whole_numbers(curves["epoch"])),
            "y": number_axis("accuracy", "accuracy", {"format": ".0%"}),
            "color": colour_by_arm(colours, arms),
        },
        "layer": [layer for is_filled, layer in layers if is_filled],
    }
    n_confirmed = int(band["count"].max()) if len(band) else 0
    confirm = f" Band: mean ± 1 standard deviation over {plural(n_confirmed, 'confirm trial')}." if n_confirmed else ""
    yield Chart(
        "learning_curves",
        "Learning curves",
        f"Accuracy by epoch of the chosen trial of each arm, {evaluated_on} solid and training dashed.{confirm} Thin: other trials.",
        spec,
        340,
        _curve_table(chosen, arms),
        is_wide=True,
        arms=tuple(arms),
        pointed=({**_only("chosen"), **nearest_points({"tooltip": tooltip})},) if len(chosen) else (),
        printed=(_band("training band", 0.12),),
    )
    if len(chosen):
        yield _loss_and_accuracy(lines[lines["role"] == "chosen"], colours, evaluated_on)


def _only(role: str) -> Spec:
    return {"transform": [{"filter": f"datum.role === '{role}'"}]}


def _band(role: str, opacity: float) -> Spec:
    low = {"field": "low", "type": "quantitative", "stack": None}
    return {
        **_only(role),
        "mark": {"type": "area", "opacity": opacity, "tooltip": None},
        "encoding": {"y": low, "y2": {"field": "high"}},
    }


def _curve_table(chosen: pd.DataFrame, arms: Sequence[str]) -> Grid:
    by_epoch = chosen.pivot_table(index="epoch", columns="arm", values="val_accuracy", aggfunc="first").reindex(columns=list(arms))
    rows = tuple(
        (Cell(str(epoch), float(epoch)), *cells(numbers.percent, *values))
        for epoch, values in zip(by_epoch.index.tolist(), by_epoch.to_numpy().tolist(), strict=True)
    )
    return Grid("curves", ("epoch", *(f"{arm} %" for arm in arms)), rows)


def _loss_and_accuracy(lines: pd.DataFrame, colours: Mapping[str, str], evaluated_on: str) -> Chart:
    """The notebook's own picture."""
    is_log = bool((lines["loss"] > 0).all())
    axes = {
        "loss": number_axis("loss", "mean loss per image", {"format": "~g"}, {"type": "log", "nice": False} if is_log else None),
        "accuracy": number_axis("accuracy", "accuracy", {"format": ".0%"}),
    }
    colour = colour_by_arm(colours, [arm for arm in colours if (lines["arm"] == arm).any()])
    bold = dashed_lines("split", [evaluated_on, "training"])
    panels = [
        {
            "title": name,
            "width": 320,
            "height": 260,
            "encoding": {"x": number_axis("epoch", "epoch", whole_numbers(lines["epoch"])), "y": axis, "color": colour},
            "layer": [bold, _POINTS],
        }
        for name, axis in axes.items()
    ]
    return Chart(
        "loss_and_accuracy",
        "Loss and accuracy",
        f"The chosen trial of each arm, {evaluated_on} solid and training dashed. The loss is each arm's own, not comparable.",
        {"data": values_of(lines, ["arm", "epoch", "split", "loss", "accuracy", "is_point"]), "hconcat": panels},
        260,
        is_on_page=False,
    )


def budget_chart(sweep: StoredSweep, measure: Measure, colours: Mapping[str, str]) -> Iterator[Chart]:
    """Best so far against the epochs spent."""
    table = best_so_far(sweep, measure).rename(columns={"spent": "epochs spent"})
    arms = [arm for arm in colours if (table["arm"] == arm).any()]
    if not arms:
        return
    is_improved = table.groupby(["arm", "search"])["best"].diff().fillna(1) != 0
    improved = table[is_improved]
    ends = table.groupby(["arm", "search"], sort=False).tail(1)
    spec: Spec = {
        "data": values_of(table.loc[improved.index.union(ends.index)], ["arm", "search", "trial", "epochs spent", "best"]),
        "encoding": {
            "detail": {"field": "search"},
            "x": number_axis("epochs spent", "epochs spent on a search", scale={"zero": True}),
            "y": metric_axis("best", f"best validation {measure.label} so far", measure),
            "color": colour_by_arm(colours, arms),
            "tooltip": told("arm", "trial", "epochs spent", best=figure_format(measure)),
        },
        "layer": [{"mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2.2}}],
    }
    show = partial(numbers.figure, measure=measure)
    rows = tuple(
        (Cell(row["arm"]), Cell(row["trial"]), *cells(numbers.count, int(row["epochs spent"])), *cells(show, row["best"]))
        for row in improved.to_dict("records")
    )
    yield Chart(
        "best_against_budget",
        "Best so far against the budget",
        "The best final value among the complete trials of each search, against the epochs that all its trials had taken by then.",
        spec,
        280,
        Grid("best_so_far", ("arm", "trial", "epochs spent", f"best {measure.stem}{numbers.unit(measure)}"), rows, frozenset({0, 1})),
        pointed=(nearest_points(),),
        printed=({"mark": {"type": "point", "filled": True, "size": 30}},),
    )


def trials_chart(budget: Budget, colours: Mapping[str, str], far: Sequence[str] = ()) -> Iterator[Chart]:
    """The test figure of the pick against the number of trials: every search, the median of each arm, and the range of its searches.

    ``far``: arms that stand in the table alone, since with them nothing could be seen of the others.
    """
    measure = find_measure(budget.measure)
    curves = [curve for curve in budget.curves if curve.arm not in far]
    searches = [
        {"arm": curve.arm, "search": curve.search, "trials": n, "value": value, "pick": curve.picks[n - 1], "role": "search"}
        for curve in curves
        for n, value in _steps(curve.values)
    ]
    spans = [
        {"arm": arm, "trials": n, "median": span[0], "low": span[1], "high": span[2], "role": "median"}
        for arm in dict.fromkeys(curve.arm for curve in curves)
        for n, span in _steps([each.spans[arm] for each in budget.at])
    ]
    table = pd.DataFrame([*searches, *spans]).reindex(columns=[*_TRIALS_COLUMNS])
    n_searches = max(curve.search for curve in budget.curves)
    show = figure_format(measure)
    several: list[Spec] = [
        {
            **_only("median"),
            "mark": {"type": "area", "interpolate": "step-after", "opacity": 0.15, "tooltip": None},
            "encoding": {"y": {"field": "low", "type": "quantitative", "stack": None}, "y2": {"field": "high"}},
        },
        {
            **_only("median"),
            "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2.4, "tooltip": None},
            "encoding": {"y": {"field": "median", "type": "quantitative"}},
        },
    ]
    thin = {"type": "line", "interpolate": "step-after", "strokeWidth": 0.8, "opacity": 0.6, "tooltip": None}
    one = {"type": "line", "interpolate": "step-after", "strokeWidth": 2.2, "tooltip": None}
    spec: Spec = {
        "data": values_of(table, _TRIALS_COLUMNS),
        "encoding": {
            "x": number_axis("trials", "trials of a search", whole_numbers(table["trials"]), {"zero": False, "nice": False}),
            "y": metric_axis("value", f"test {measure.label} of the pick", measure),
            "color": colour_by_arm(colours, [arm for arm in colours if (table["arm"] == arm).any()]),
        },
        "layer": [
            *(several if n_searches > 1 and spans else []),
            {**_only("search"), "mark": thin if n_searches > 1 else one, "encoding": {"detail": {"field": "search"}}},
        ],
    }
    lines = f" Bold: median of {n_searches} searches; shaded: from their lowest to their highest; thin: each." if n_searches > 1 else ""
    lines += f" Off this scale: {numbers.listed(far)}." if far else ""
    yield Chart(
        "budget",
        "What fewer trials would have found",
        f"Test {measure.label} of what a search would have picked by validation after so many trials.{lines}",
        spec,
        320,
        _trials_table(budget, measure),
        pointed=({**_only("search"), **nearest_points({"tooltip": told("arm", "search", "pick", "trials", value=show)})},),
    )


def _steps(found: Sequence[Figure | None]) -> Iterator[tuple[int, Figure]]:
    """The places, from 1, at which something is found that was not before, and the last: all that a line of steps needs."""
    for n, (before, each) in enumerate(pairwise([None, *found]), start=1):
        if each is not None and (each != before or n == len(found)):
            yield n, each


_TRIALS_COLUMNS = ("arm", "search", "trials", "value", "pick", "median", "low", "high", "role")


def _trials_table(budget: Budget, measure: Measure) -> Grid:
    arms = list(dict.fromkeys(curve.arm for curve in budget.curves))
    rows = tuple((Cell(str(each.n), each.n), *(numbers.span(each.spans[arm], measure) for arm in arms)) for each in budget.at)
    return Grid("budget", ("trials", *(f"{arm}{numbers.unit(measure)}" for arm in arms)), rows)
