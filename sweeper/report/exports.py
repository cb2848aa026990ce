"""A report as CSV: every figure of the summary, unrounded; and its comparison as a data frame."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict
from typing import Any

import pandas as pd

from sweeper.report.layout import outcome_of_a_rival
from sweeper.report.measure import MEASURES, Measure, find_measure
from sweeper.report.summary import ArmSummary, Budget, ComparedArm, Cost, Group, Report, Summary


def as_csv(report: Report) -> str:
    """One row per sweep and arm (per sweep, group and arm with ``--by``), each with the sweep's verdict and its number of warnings."""
    rows = [row for summary in report.sweeps for row in _rows(summary)]
    columns = dict.fromkeys(name for row in rows for name in row)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{name: _cell(value) for name, value in row.items()} for row in rows])
    return stream.getvalue()


def comparison_frame(summary: Summary) -> pd.DataFrame:
    """The table of the comparison, unrounded: a row for each arm, from best to worst; without rows before there is any.

    The mean of the measure, under its own name, with its interval and the ``n`` that it is over; the difference to the best arm with its
    interval; the chance that the best wins, the p-value, and the outcome. Accuracies and their differences are fractions.
    """
    column = summary.comparison.measure if summary.comparison else find_measure(summary.metric).test_column
    rows = []
    for arm in summary.comparison.arms if summary.comparison else ():
        mean, contrast = arm.measures[column], arm.contrast
        gap = contrast.difference if contrast else None
        row: dict[str, Any] = {"arm": arm.arm, column: mean.mean, "low": mean.low, "high": mean.high, "n": mean.n}
        row |= {name: getattr(gap, part, None) for name, part in (("to_best", "mean"), ("to_best_low", "low"), ("to_best_high", "high"))}
        row |= {name: getattr(contrast, name, None) for name in ("p_best_wins", "p_value")}
        rows.append(row | {"outcome": outcome_of_a_rival(contrast)})
    figures = [column, "low", "high", "n", "to_best", "to_best_low", "to_best_high", "p_best_wins", "p_value"]
    frame = pd.DataFrame(rows, columns=["arm", *figures, "outcome"]).set_index("arm")
    return frame.astype(dict.fromkeys(figures, float) | {"n": int})


def _rows(summary: Summary) -> list[dict[str, Any]]:
    head = {
        "sweep": summary.sweep,
        "verdict": summary.verdict.kind,
        "verdict_sentence": summary.verdict.sentence,
        "metric": summary.metric,
        "finished_trials": summary.finished_trials,
        "planned_trials": summary.planned_trials,
        "warnings": len(summary.warnings),
        "skipped_files": summary.skipped_files,
    }
    if summary.by != "arm":
        return [head | _group(summary.by, group) for group in summary.groups]
    measure = find_measure(summary.comparison.measure if summary.comparison else summary.metric)
    compared = {arm.arm: arm for arm in summary.comparison.arms} if summary.comparison else {}
    published = {figure.arm: figure for figure in summary.reference.figures} if summary.reference else {}
    rows = []
    for arm in summary.arms:
        row = head | _arm(arm, measure) | _ahead(summary.budget, arm.arm) | _compared(compared.get(arm.arm))
        if summary.reference:
            figure = published.get(arm.arm)
            row["published_test_accuracy"] = figure.published if figure else None
            row["our_test_accuracy"] = figure.ours if figure else None
            row["difference_to_published"] = figure.difference if figure else None
        rows.append(row)
    return rows


def _group(by: str, group: Group) -> dict[str, Any]:
    return {
        "by": by,
        "group": group.label,
        "group_low": group.low,
        "group_high": group.high,
        "arm": group.arm,
        **asdict(group.ends),
        "best_value": group.best,
        "best_trial": group.best_trial,
        "median_value": group.median,
        "epochs": group.epochs,
        "train_seconds": group.seconds,
    }


def _arm(arm: ArmSummary, measure: Measure) -> dict[str, Any]:
    best = arm.best
    row = {
        "arm": arm.arm,
        **_cost("search", arm.search),
        **_cost("confirm", arm.confirm),
        "best_trial": best.trial if best else None,
        "best_value": best.value if best else None,
        **({f"best_param_{name}": value for name, value in best.parameters.items()} if best else {}),
    }
    for each in arm.searches:
        name = f"search_{each.number}"
        row |= {f"{name}_pick": each.pick.trial if each.pick else None, f"{name}_value": each.pick.value if each.pick else None}
        row |= {f"{name}_complete": each.search.ends.complete, f"{name}_epochs": each.search.epochs}
        row |= {f"{name}_seeds": len(each.seeds), f"{name}_{measure.test_column}": each.means.get(measure.test_column)}
    return row


def _ahead(budget: Budget | None, arm: str) -> dict[str, Any]:
    return {} if budget is None else {"ahead_from_trials": budget.ahead_from if budget.ahead == arm else None}


def _cost(phase: str, cost: Cost) -> dict[str, Any]:
    return {
        f"{phase}_planned": cost.planned,
        **{f"{phase}_{state}": number for state, number in asdict(cost.ends).items()},
        f"{phase}_epochs": cost.epochs,
        f"{phase}_seconds": cost.seconds,
        f"{phase}_saved": cost.saved,
    }


def _compared(arm: ComparedArm | None) -> dict[str, Any]:
    if arm is None:
        return {}
    row: dict[str, Any] = {}
    for name in dict.fromkeys([*MEASURES, *arm.measures]):
        found = arm.measures.get(name)
        for part in ("n", "mean", "sd", "low", "high"):
            row[f"{name}_{part}"] = getattr(found, part) if found else None
    row |= {"image_error": arm.image_error, "common_seeds": len(arm.common_seeds)}
    gap = arm.contrast.difference if arm.contrast else None
    row |= {f"difference_{part}": getattr(gap, part) if gap else None for part in ("n", "mean", "sd", "low", "high")}
    told = ("unit", "n_best", "n_rival", "equal_low", "equal_high", "p_value", "p_best_wins", "outcome", "behind")
    row |= {name: getattr(arm.contrast, name) if arm.contrast else None for name in told}
    for name, recall in arm.per_class.items():
        row |= {f"accuracy_class_{name}": recall.mean, f"accuracy_class_{name}_low": recall.low, f"accuracy_class_{name}_high": recall.high}
    return row


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or (isinstance(value, float) and not math.isfinite(value)) else value
