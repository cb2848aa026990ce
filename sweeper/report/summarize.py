"""From the folders of a results URI to one :class:`Report`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from sweeper.metrics import METRICS, declare
from sweeper.records import Phase, TrialState
from sweeper.report.budget import budget_of
from sweeper.report.comparison import OfLogits, compare_arms, logit_columns, of_logits, unit_of
from sweeper.report.groups import check_grouping, group_trials
from sweeper.report.measure import Measure, ReportError, find_measure
from sweeper.report.reading import StoredSweep, choose_sweeps, read_sweep, skipped_files
from sweeper.report.search import summarize_arms
from sweeper.report.summary import FORMAT_VERSION, ArmSummary, Comparison, PublishedFigure, Reference, Report, Summary
from sweeper.report.verdict import decide
from sweeper.report.warnings import cautions, guessing
from sweeper.store import StoredTable
from sweeper.store.provenance import hardware_text
from sweeper.text import plural, printable


def summarize(uri: str, *, by: str = "arm", metric: str | None = None, sweep: str | None = None) -> Report:
    """What the sweeps below ``uri`` found; only the one with the id ``sweep`` where that is given.

    Raises:
        StoreError: if there is no sweep.
        ReportError: for an unknown grouping, metric or sweep.
    """
    return Report(FORMAT_VERSION, tuple(summary for _, summary in read_and_summarize(uri, by, metric, sweep)))


def read_and_summarize(uri: str, by: str, metric: str | None, sweep: str | None) -> list[tuple[StoredSweep, Summary]]:
    """As :func:`summarize`, each sweep with what was read of it."""
    stored = [read_sweep(folder) for folder in choose_sweeps(uri, sweep)]
    measure = find_measure(metric) if metric is not None else None  # it may be one that a space declares
    if measure is not None and (without := [each for each in stored if measure.test_column not in each.trials]):
        raise ReportError(
            f"--metric: {measure.stem} is a metric that sweep {without[0].folder.id} does not declare; report others with --sweep"
        )
    check_grouping(by, tuple(dict.fromkeys(name for each in stored for name in each.parameters)))
    return [(each, summarize_sweep(each, by, measure or default_measure(each))) for each in stored]


def default_measure(sweep: StoredSweep) -> Measure:
    """The measure that the space's search went by."""
    return find_measure(sweep.space.search.metric if sweep.space else "val_accuracy")


def summarize_sweep(sweep: StoredSweep, by: str, measure: Measure) -> Summary:
    """One sweep's summary."""
    space = sweep.space
    declare(space.training.own_metrics if space else ())  # another sweep's metric of one name may have another direction
    table = _predictions(sweep)
    sweep = _with_later_figures(sweep, table.frame)
    logits, problems = _logits(sweep, table)
    arms = summarize_arms(sweep, measure)
    comparison = compare_arms(arms, measure, space, logits)
    verdict = decide(arms, comparison, measure, space)
    planned = [arm.search.planned for arm in arms] + [arm.confirm.planned for arm in arms]
    return Summary(
        sweep=printable(sweep.folder.id),
        name=space.name if space else None,
        started_at=_text(sweep.provenance, "started_at"),
        dataset=space.dataset.name if space else _text(_part(sweep.provenance, "dataset"), "name"),
        evaluate_on=space.training_settings().evaluate_on if space else None,
        compared=space.compare.arms if space else None,
        epochs_per_trial=space.training.epochs if space else None,
        metric=measure.val_column,
        planned_trials=sum(number or 0 for number in planned) if space else None,
        finished_trials=len(sweep.trials),
        verdict=verdict,
        comparison=comparison,
        reference=_reference(sweep, arms, comparison),
        arms=arms,
        by=by,
        groups=group_trials(sweep, by, measure),
        budget=budget_of(sweep, arms, comparison, measure, verdict),
        warnings=(*guessing(sweep, arms, comparison, measure, logits.n_classes), *problems, *cautions(sweep, arms, comparison, measure)),
        skipped_files=sweep.skipped_files + len(table.skipped),
        hardware=hardware_text(sweep.provenance),
        versions=_versions(sweep.provenance),
    )


def _predictions(sweep: StoredSweep) -> StoredTable:
    """The predictions of the complete confirm trials."""
    complete = _complete(sweep)
    if complete.empty:
        return StoredTable(complete[:0])
    table = sweep.folder.read_predictions()
    names = table.frame["trial"].map(printable) if len(table.frame) else table.frame["trial"]
    return replace(table, frame=table.frame[names.isin(complete["trial"])])


def _complete(sweep: StoredSweep) -> pd.DataFrame:
    confirm = sweep.rows(Phase.CONFIRM)
    return confirm[confirm["state"] == str(TrialState.COMPLETE)]


def _with_later_figures(sweep: StoredSweep, predictions: pd.DataFrame) -> StoredSweep:
    """A sweep of an earlier version with the figures on test that it lacks, computed from the logits of its confirm trials."""
    names = logit_columns(predictions)
    later = [metric for metric in METRICS.values() if metric.is_later and metric.compute and metric.least_classes <= len(names)]
    later = [metric for metric in later if sweep.trials[metric.test_column].isna().all()]
    if not later:
        return sweep
    test = predictions[predictions["split"] == "test"]
    trials, found = sweep.trials.copy(), dict[str, dict[str, float]]()
    for trial, rows in test[test["label"].between(0, len(names) - 1)].groupby("trial", observed=True):
        logits, labels = rows[names].to_numpy(dtype=np.float32), rows["label"].to_numpy()
        found[printable(str(trial))] = {metric.test_column: metric.compute(logits, labels) for metric in later if metric.compute}
    for metric in later:
        trials[metric.test_column] = trials["trial"].map({trial: figures[metric.test_column] for trial, figures in found.items()})
    return replace(sweep, trials=trials, _chosen={})


def _logits(sweep: StoredSweep, table: StoredTable) -> tuple[OfLogits, list[str]]:
    """What the logits of the confirm trials say, and what of them could not be read."""
    classes, complete, predictions = class_names(sweep), _complete(sweep), table.frame
    if complete.empty:
        return OfLogits({}, {}, len(classes) or None), []
    problems = skipped_files(sweep.folder, table)
    if len(predictions):  # else the report has no accuracy per class at all
        names = predictions["trial"].map(printable)
        problems += [
            f"{arm}: the logits of {plural(int((~is_there).sum()), 'complete confirm trial')} of {len(is_there)} are missing: "
            "accuracy per class is without them"
            for arm, is_there in complete["trial"].isin(names).groupby(complete["arm"], sort=False)
            if not is_there.all()
        ]
    return of_logits(predictions, classes, unit_of(len(sweep.searches))), problems


def class_names(sweep: StoredSweep) -> list[str]:
    """Names of the classes in the order of their labels; empty where they are not known."""
    classes = _part(sweep.provenance, "dataset").get("classes")
    return [printable(str(name)) for name in classes] if isinstance(classes, list) else []


def _reference(sweep: StoredSweep, arms: tuple[ArmSummary, ...], comparison: Comparison | None) -> Reference | None:
    published = sweep.space.compare.reference if sweep.space else None
    if published is None or sweep.space is None:
        return None
    confirmed = {arm.arm: arm.measures.get("test_accuracy") for arm in comparison.arms} if comparison else {}
    figures = []
    for name, accuracy in published.test_accuracy.items():
        ours, n = None, 0
        estimate, arm = confirmed.get(name), next((arm for arm in arms if arm.arm == name), None)
        if estimate is not None and arm is not None:
            ours, n = estimate.mean, sum(len(search.seeds) for search in arm.searches)
        elif arm is not None and arm.best is not None and sweep.space.dataset.validation == "test":
            rows = sweep.rows(Phase.SEARCH, name)
            ours, n = float(rows.loc[rows["trial"] == arm.best.trial, sweep.judged("val_accuracy")].iloc[0]), 1
        figures.append(PublishedFigure(name, ours, n, accuracy, ours - accuracy if ours is not None else None))
    return Reference(printable(published.source), tuple(figures))


def _part(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = content.get(key)
    return part if isinstance(part, dict) else {}


def _text(content: Mapping[str, Any], key: str) -> str | None:
    value = content.get(key)
    return printable(str(value)) if value is not None else None


def _versions(provenance: Mapping[str, Any]) -> dict[str, str]:
    versions = {name: _text(provenance, name) for name in ("sweeper", "python")}
    versions |= {name: _text(_part(provenance, "packages"), name) for name in _part(provenance, "packages")}
    return {printable(name): version for name, version in versions.items() if version is not None}
