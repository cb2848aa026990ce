"""The charts of a sweep, in the order in which the page and the pictures show them."""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.report.chart_data import colour_of, epoch_curves, logits_by_arm
from sweeper.report.epoch_charts import budget_chart, curve_charts, trials_chart
from sweeper.report.logit_charts import logit_charts
from sweeper.report.measure import find_measure
from sweeper.report.parameter_charts import parameter_charts
from sweeper.report.reading import StoredSweep
from sweeper.report.summarize import class_names
from sweeper.report.summary import Summary
from sweeper.report.vega import Chart
from sweeper.report.verdict_chart import verdict_charts
from sweeper.report.verdict_figures import verdict_figures


def draw_charts(stored: StoredSweep, summary: Summary) -> Iterator[Chart]:
    """Every chart that the sweep has data for."""
    measure, colours = find_measure(summary.metric), colour_of(stored.arms)
    figures = verdict_figures(summary)
    if figures is not None:
        yield from verdict_charts(figures, summary.verdict.sentence, colours)
    yield from curve_charts(epoch_curves(stored, summary), colours, summary.evaluate_on or "validation")
    yield from budget_chart(stored, measure, colours)
    if summary.budget is not None:
        yield from trials_chart(summary.budget, colours, figures.far() if figures is not None else ())
    yield from parameter_charts(stored, measure, colours)
    if summary.comparison is not None:
        yield from logit_charts(logits_by_arm(stored), summary.comparison, class_names(stored), colours)
