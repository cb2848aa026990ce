"""Pictures of the stored logits: reliability of each arm, confusion matrix of the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from sweeper.report.chart_data import TestLogits, pooled_confusion, pooled_reliability
from sweeper.report.numbers import percent
from sweeper.report.plots.canvas import legend_below, outer_labels, panels, shorten
from sweeper.report.summary import Comparison


def reliability_diagrams(trials: Mapping[str, list[TestLogits]], colours: dict[str, str], comparison: Comparison) -> Figure | None:
    """Accuracy against confidence on the test split, seeds of an arm pooled, raw and temperature-scaled; area shows the images of a bin."""
    arms = [arm for arm in colours if arm in trials]
    if not arms:
        return None
    figure, axes = panels(len(arms), height=2.9)
    measures = {arm.arm: arm.measures for arm in comparison.arms}
    for panel, arm in zip(axes, arms, strict=True):
        panel.plot([0, 1], [0, 1], color="#888888", linewidth=0.8)
        for scaled, style in ((False, "-"), (True, (0, (4, 2)))):
            bins = pooled_reliability(trials[arm], scaled=scaled)
            filled = bins.counts > 0
            x, y = bins.confidence[filled], bins.accuracy[filled]
            panel.plot(x, y, linestyle=style, color=colours[arm], linewidth=1.6)
            sizes = 4 + 120 * bins.counts[filled] / bins.counts.sum()
            panel.scatter(x, y, s=sizes, color="white" if scaled else colours[arm], edgecolors=colours[arm], linewidths=1.0, zorder=3)
        found = measures.get(arm, {})
        eces = [percent(found[name].mean) for name in ("test_ece", "test_ece_scaled") if name in found]
        if eces:
            panel.text(0.97, 0.05, f"ECE {' % → '.join(eces)} %", transform=panel.transAxes, ha="right", fontsize=8)
        panel.set_title(shorten(arm), loc="left")
        panel.set_aspect("equal")
        panel.set_xlim(0, 1)
        panel.set_ylim(0, 1)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
            axis.set_ticks([0, 0.5, 1.0])
    outer_labels(axes, "confidence", "accuracy")
    grey = "#444444"
    handles = [
        Line2D([], [], color=grey, marker="o", markersize=4),
        Line2D([], [], color=grey, marker="o", markersize=4, markerfacecolor="white", linestyle="--"),
        Line2D([], [], color="#888888", linewidth=0.8),
    ]
    legend_below(figure, handles, ["raw", "temperature-scaled", "perfectly calibrated"])
    return figure


def confusion_of(arm: str, trials: list[TestLogits], classes: Sequence[str]) -> Figure:
    """Share of each true class (row) that the arm gives each class (column) on the test split, all seeds pooled, in per cent."""
    shares = pooled_confusion(trials)
    n_classes = len(shares)
    names = [shorten(name, 14) for name in classes] if len(classes) == n_classes else [str(index) for index in range(n_classes)]
    size = max(3.6, min(0.5 * n_classes + 1.4, 14))
    figure, (axes,) = panels(1, width=size + 0.6, height=size)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    axes.set_xticks(np.arange(n_classes), names, rotation=45 if max(map(len, names)) > 3 else 0, ha="right", rotation_mode="anchor")
    axes.set_yticks(np.arange(n_classes), names)
    axes.set_xlabel("given class")
    axes.set_ylabel("true class")
    axes.set_title(f"{shorten(arm)}: share of each true class, %", loc="left")
    axes.grid(visible=False)
    if n_classes <= 20:
        for (row, column), share in np.ndenumerate(shares):
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color="white" if share > 0.55 else "black")
    return figure
