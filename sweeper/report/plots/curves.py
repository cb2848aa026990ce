"""Pictures over epochs: learning curves, the notebook's loss and accuracy, best so far against the budget."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sweeper.report.chart_data import confirm_bands
from sweeper.report.measure import Measure
from sweeper.report.plots.canvas import legend_below, log_axis, outer_labels, panels, shorten

_STYLES = (("val_accuracy", "-", 0.25), ("train_accuracy", (0, (4, 2)), 0.12))


def learning_curves(curves: pd.DataFrame, colours: dict[str, str], evaluated_on: str) -> Figure | None:
    """Accuracy by epoch, one panel per arm: the chosen trial bold, its confirm seeds as a band, the rest of the search thin."""
    arms = [arm for arm in colours if (curves["arm"] == arm).any()]
    if not arms:
        return None
    figure, axes = panels(len(arms))
    for panel, arm in zip(axes, arms, strict=True):
        _draw_arm(panel, curves[curves["arm"] == arm], colours[arm])
        panel.set_title(shorten(arm), loc="left")
        _percent_axis(panel)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    outer_labels(axes, "epoch", "accuracy")
    grey = "#444444"
    handles = [
        Line2D([], [], color=grey, linewidth=2),
        Line2D([], [], color=grey, linewidth=2, linestyle=_STYLES[1][1]),
        Patch(color=grey, alpha=0.25),
        Line2D([], [], color=grey, linewidth=0.6, alpha=0.5),
    ]
    labels = [f"chosen, {evaluated_on}", "chosen, training", "confirm, ± 1 sd", "rest of the search"]
    has = curves["role"].unique()
    kept = [index for index, role in enumerate(("chosen", "chosen", "confirm", "thin")) if role in has]
    legend_below(figure, [handles[index] for index in kept], [labels[index] for index in kept])
    return figure


def _draw_arm(panel: Axes, curves: pd.DataFrame, colour: str) -> None:
    thin = [rows[["epoch", "val_accuracy"]].to_numpy() for _, rows in curves[curves["role"] == "thin"].groupby("trial")]
    panel.add_collection(LineCollection(thin, colors=colour, linewidths=0.6, alpha=0.45))
    ends = [line[0] for line in thin if len(line) == 1]  # a trial of one epoch is a point
    panel.plot([end[0] for end in ends], [end[1] for end in ends], ".", color=colour, markersize=2, alpha=0.45)
    for column, style, alpha in _STYLES:
        band = confirm_bands(curves, column)
        if len(band):
            panel.fill_between(
                band["epoch"], band["mean"] - band["std"], band["mean"] + band["std"], color=colour, alpha=alpha, linewidth=0
            )
        for _, rows in curves[curves["role"] == "chosen"].groupby("trial"):
            panel.plot(rows["epoch"], rows[column], linestyle=style, color=colour, linewidth=2, marker="." if len(rows) == 1 else None)
    panel.autoscale_view()


def loss_and_accuracy(curves: pd.DataFrame, colours: dict[str, str], evaluated_on: str) -> Figure | None:
    """The notebook's own picture: loss and accuracy by epoch of the chosen trial of each arm, training and evaluation."""
    chosen = curves[curves["role"] == "chosen"]
    arms = [arm for arm in colours if (chosen["arm"] == arm).any()]
    if not arms:
        return None
    figure, (left, right) = panels(2, width=4.2, height=3.4, share=False)
    for arm in arms:
        rows = chosen[chosen["arm"] == arm]
        for axes, quantity in ((left, "loss"), (right, "accuracy")):
            axes.plot(rows["epoch"], rows[f"val_{quantity}"], "-", color=colours[arm], linewidth=1.8)
            axes.plot(rows["epoch"], rows[f"train_{quantity}"], linestyle=_STYLES[1][1], color=colours[arm], linewidth=1.2)
    values = chosen[["val_loss", "train_loss"]].to_numpy()
    if (values > 0).all():
        left.set_yscale("log")
        log_axis(left.yaxis)
    left.set_title("loss: each arm's own, not comparable", loc="left")
    right.set_title("accuracy", loc="left")
    _percent_axis(right)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_ylabel("mean loss per image")
    right.set_ylabel("accuracy")
    handles = [Line2D([], [], color=colours[arm], linewidth=2) for arm in arms]
    grey = [Line2D([], [], color="#444444", linewidth=1.8), Line2D([], [], color="#444444", linewidth=1.2, linestyle=_STYLES[1][1])]
    legend_below(figure, [*handles, *grey], [*arms, evaluated_on, "training"])
    return figure


def best_against_budget(table: pd.DataFrame, colours: dict[str, str], measure: Measure) -> Figure | None:
    """The best value that each arm's search had found after so many epochs of training."""
    arms = [arm for arm in colours if (table["arm"] == arm).any()]
    if not arms:
        return None
    figure, (axes,) = panels(1, width=6.4, height=3.6)
    for arm in arms:
        rows = table[table["arm"] == arm]
        axes.step(rows["spent"], rows["best"], where="post", color=colours[arm], linewidth=2)
        improved = rows[rows["best"].diff().fillna(1) != 0]
        axes.plot(improved["spent"], improved["best"], "o", color=colours[arm], markersize=4)
    axes.set_xlabel("epochs spent on the arm's search")
    axes.set_ylabel(f"best validation {measure.label} so far")
    axes.set_xlim(left=0)
    if measure.is_fraction:
        _percent_axis(axes)
    legend_below(figure, [Line2D([], [], color=colours[arm], linewidth=2) for arm in arms], arms)
    return figure


def _percent_axis(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=None, symbol=" %"))
