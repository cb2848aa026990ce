"""Pictures of a sweep, as PNG and as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from sweeper.errors import StoreError
from sweeper.report.chart_data import (
    TestLogits,
    best_so_far,
    colour_of,
    complete_configurations,
    epoch_curves,
    parameter_points,
    test_logits,
    tuned_parameters,
)
from sweeper.report.importance import parameter_importance
from sweeper.report.measure import Measure
from sweeper.report.plots.calibration import confusion_of, reliability_diagrams
from sweeper.report.plots.canvas import SETTINGS, rendered
from sweeper.report.plots.curves import best_against_budget, learning_curves, loss_and_accuracy
from sweeper.report.plots.parameters import importance_bars, parallel_coordinates, parameter_against_metric
from sweeper.report.reading import StoredSweep, choose_sweeps, read_sweep
from sweeper.report.summarize import class_names, default_measure, summarize_sweep
from sweeper.report.summary import Summary
from sweeper.store import file_name


def write_plots(uri: str, directory: str | Path, *, sweep: str | None = None) -> list[Path]:
    """Write every picture that the sweeps below ``uri`` have data for: in ``directory``, or in a folder each when they are several.

    Raises:
        StoreError: if there is no sweep, or a file cannot be written.
        ReportError: for an unknown sweep.
    """
    folders = choose_sweeps(uri, sweep)
    written = []
    for folder in folders:
        target = Path(directory) / file_name(folder.id) if len(folders) > 1 else Path(directory)
        with mpl.rc_context(SETTINGS):
            for name, figure in draw_figures(read_sweep(folder)):
                written += _write(target, name, figure)
    return written


def draw_figures(stored: StoredSweep) -> Iterator[tuple[str, Figure]]:
    """File name without suffix, and figure, of each picture that the sweep has data for."""
    measure = default_measure(stored)
    summary = summarize_sweep(stored, "arm", measure)
    colours = colour_of(stored.arms)
    for name, figure in (*_over_epochs(stored, summary, measure, colours), *_over_parameters(stored, measure, colours)):
        if figure is not None:
            yield name, figure
    yield from _over_logits(stored, summary, colours)


def _over_epochs(stored: StoredSweep, summary: Summary, measure: Measure, colours: dict[str, str]) -> Iterator[tuple[str, Figure | None]]:
    curves = epoch_curves(stored, summary)
    evaluated_on = summary.evaluate_on or "validation"
    yield "learning_curves", learning_curves(curves, colours, evaluated_on)
    yield "loss_and_accuracy", loss_and_accuracy(curves, colours, evaluated_on)
    yield "best_against_budget", best_against_budget(best_so_far(stored, measure), colours, measure)


def _over_parameters(stored: StoredSweep, measure: Measure, colours: dict[str, str]) -> Iterator[tuple[str, Figure | None]]:
    tuned = tuned_parameters(stored)
    for parameter in tuned:
        points = parameter_points(stored, measure, parameter)
        yield f"parameter_{file_name(parameter.name)}", parameter_against_metric(points, parameter, colours, measure)
    yield "parallel_coordinates", parallel_coordinates(complete_configurations(stored, measure, tuned), tuned, colours, measure)
    yield "importance", importance_bars(parameter_importance(stored, measure), colours)


def _over_logits(stored: StoredSweep, summary: Summary, colours: dict[str, str]) -> Iterator[tuple[str, Figure]]:
    if summary.comparison is None:
        return
    by_arm: dict[str, list[TestLogits]] = {}
    for trial in test_logits(stored, stored.folder.read_predictions().frame):
        by_arm.setdefault(trial.arm, []).append(trial)
    figure = reliability_diagrams(by_arm, colours, summary.comparison)
    if figure is not None:
        yield "reliability", figure
    best = summary.comparison.arms[0].arm
    if best in by_arm:
        yield "confusion", confusion_of(best, by_arm[best], class_names(stored))


def _write(target: Path, name: str, figure: Figure) -> list[Path]:
    paths = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for suffix, content in rendered(figure).items():
            path = target / f"{name}.{suffix}"
            path.write_bytes(content)
            paths.append(path)
    except OSError as error:
        raise StoreError(f"{target}: cannot write a picture there: {error.strerror}") from error
    return paths
