"""Pictures over parameters: a parameter against the metric, parallel coordinates, importance."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sweeper.records import TrialState
from sweeper.report.chart_data import TunedParameter
from sweeper.report.measure import Measure
from sweeper.report.plots.canvas import legend_below, log_axis, outer_labels, panels, shorten

MOST_LINES = 300
"""Most trials in the parallel coordinates: the best ones."""


def parameter_against_metric(points: pd.DataFrame, parameter: TunedParameter, colours: dict[str, str], measure: Measure) -> Figure | None:
    """One panel per arm that searches the parameter; full points are complete trials, rings were stopped early, the best has a cross."""
    arms = [arm for arm in parameter.arms if (points["arm"] == arm).any()]
    if not arms:
        return None
    figure, axes = panels(len(arms))
    for panel, arm in zip(axes, arms, strict=True):
        rows = points[points["arm"] == arm]
        is_complete = rows["state"] == str(TrialState.COMPLETE)
        panel.scatter(
            rows["parameter"][~is_complete], rows["value"][~is_complete], s=16, facecolors="none", edgecolors=colours[arm], alpha=0.7
        )
        panel.scatter(rows["parameter"][is_complete], rows["value"][is_complete], s=18, color=colours[arm], linewidths=0)
        complete = rows[is_complete]
        if len(complete):
            best = complete.iloc[int(complete["value"].argmax() if measure.maximize else complete["value"].argmin())]
            panel.plot([best["parameter"]], [best["value"]], "+", color="black", markersize=13, markeredgewidth=1.4)
        panel.set_title(shorten(arm), loc="left")
        if parameter.is_log:
            panel.set_xscale("log")
            log_axis(panel.xaxis)
        elif parameter.is_whole:
            panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        if measure.is_fraction:
            panel.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
    outer_labels(axes, parameter.name + (" (log scale)" if parameter.is_log else ""), f"validation {measure.label}, last epoch")
    grey = "#444444"
    handles = [
        Line2D([], [], color=grey, marker="o", linestyle="", markersize=5),
        Line2D([], [], color=grey, marker="o", linestyle="", markersize=5, markerfacecolor="none"),
        Line2D([], [], color="black", marker="+", linestyle="", markersize=11),
    ]
    legend_below(figure, handles, ["complete", "stopped early", "best of the arm"])
    return figure


def parallel_coordinates(table: pd.DataFrame, parameters: list[TunedParameter], colours: dict[str, str], measure: Measure) -> Figure | None:
    """One line per complete trial through its parameters to its final metric, dotted where it passes one that its arm does not search."""
    table = table.sort_values("value", ascending=measure.maximize).tail(MOST_LINES)
    parameters = sorted((each for each in parameters if table[each.name].notna().any()), key=lambda each: len(each.arms))
    names = [each.name for each in parameters]
    if len(table) < 2 or not names:
        return None
    columns = [*names, "value"]
    is_log = {each.name: each.is_log for each in parameters}
    heights = np.column_stack([_heights(table[name].to_numpy(), is_log.get(name, False)) for name in columns])
    figure, (axes,) = panels(1, width=1.5 * len(columns) + 1.6, height=3.8)
    x = np.arange(len(columns))
    for order, arm in enumerate(colours):
        is_arm = (table["arm"] == arm).to_numpy()
        pieces = [np.column_stack([x, each])[np.isfinite(each)] for each in heights[is_arm]]
        segments = [segment for points in pieces for segment in pairwise(points)]
        for is_bridge, style in ((False, "solid"), (True, "dotted")):
            chosen = [segment for segment in segments if (segment[1][0] - segment[0][0] > 1) == is_bridge]
            axes.add_collection(
                LineCollection(chosen, colors=colours[arm], linewidths=1.1, alpha=0.6, linestyles=style, zorder=2 + order / 100)
            )
    for position, name in enumerate(columns):
        _scale(axes, position, table[name].to_numpy(), measure if name == "value" else None)
    axes.set_xlim(-0.35, len(columns) - 0.65)
    axes.set_ylim(-0.12, 1.12)
    axes.set_xticks(x, [*(f"{name}\n(log)" if is_log[name] else name for name in names), f"validation\n{measure.label}"])
    axes.set_yticks([])
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="x", length=0)
    arms = [arm for arm in colours if (table["arm"] == arm).any()]
    legend_below(figure, [Line2D([], [], color=colours[arm], linewidth=2) for arm in arms], arms)
    return figure


def _heights(values: np.ndarray, is_log: bool) -> np.ndarray:
    scaled = np.log(values) if is_log else values
    low, high = np.nanmin(scaled), np.nanmax(scaled)
    return np.asarray((scaled - low) / (high - low) if high > low else np.where(np.isfinite(scaled), 0.5, np.nan))


def _scale(axes: Axes, position: int, values: np.ndarray, measure: Measure | None) -> None:
    axes.axvline(position, ymin=0.1, ymax=0.9, color="#888888", linewidth=0.8, zorder=1)
    low, high = np.nanmin(values), np.nanmax(values)
    for value, y, alignment in ((low, -0.03, "top"), (high, 1.03, "bottom")):
        text = f"{100 * value:.1f} %" if measure is not None and measure.is_fraction else f"{value:.3g}"
        axes.text(position, y, text, ha="center", va=alignment, fontsize=8)


def importance_bars(table: pd.DataFrame, colours: dict[str, str]) -> Figure | None:
    """How much each parameter matters within each arm (PED-ANOVA)."""
    if table.empty:
        return None
    arms = [arm for arm in colours if (table["arm"] == arm).any()]
    names = table.groupby("parameter")["importance"].mean().sort_values().index.tolist()
    figure, (axes,) = panels(1, width=6.4, height=0.9 + 0.22 * len(names) * (len(arms) + 1))
    thickness = 0.8 / len(arms)
    for index, arm in enumerate(arms):
        shares = table[table["arm"] == arm].set_index("parameter")["importance"].reindex(names)
        offsets = np.arange(len(names)) + 0.4 - thickness * (index + 0.5)
        axes.barh(offsets, shares.fillna(0.0), height=thickness * 0.92, color=colours[arm])
    axes.set_yticks(np.arange(len(names)), names)
    axes.set_xlabel("share of the importance within the arm (PED-ANOVA)")
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
    axes.grid(visible=False, axis="y")
    n_trials = table.groupby("arm")["trials"].first()
    legend_below(
        figure, [Line2D([], [], color=colours[arm], linewidth=6) for arm in arms], [f"{arm} (n = {n_trials[arm]})" for arm in arms]
    )
    return figure
