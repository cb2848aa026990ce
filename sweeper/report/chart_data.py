"""The numbers behind every chart, in tidy tables, the same for the pictures and for the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from sweeper import metrics
from sweeper.records import Phase, TrialState
from sweeper.report.measure import Measure
from sweeper.report.reading import StoredSweep
from sweeper.report.search import final_values
from sweeper.report.summary import Summary
from sweeper.space import FloatRange, IntRange
from sweeper.text import printable

THIN_CURVES = 60
"""Most curves of unchosen search trials that are drawn per arm, spread evenly over their numbers: more only make ink."""

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B59F00")
"""Okabe and Ito 2008, readable with any colour vision; their yellow darkened and black left out, to be seen on white and on black."""


@dataclass(frozen=True, slots=True)
class TunedParameter:
    """A number that a space searches, and in which arms; ``is_log`` and ``is_whole`` if it is so in all of them."""

    name: str
    is_log: bool
    is_whole: bool
    arms: tuple[str, ...]


def colour_of(arms: tuple[str, ...]) -> dict[str, str]:
    """The colour of each arm, everywhere: by its place in the space, from the first again after seven."""
    return {arm: COLOURS[index % len(COLOURS)] for index, arm in enumerate(arms)}


def epoch_curves(sweep: StoredSweep, summary: Summary) -> pd.DataFrame:
    """Epoch rows of the curves to draw, with their ``role``: chosen (the best of an arm's search), confirm, or thin (some of the rest)."""
    chosen = {arm.best.trial for arm in summary.arms if arm.best is not None}
    roles: dict[str, str] = dict.fromkeys(chosen, "chosen")
    for arm in sweep.arms:
        roles |= dict.fromkeys(sweep.rows(Phase.CONFIRM, arm)["trial"], "confirm")
        rest = sweep.rows(Phase.SEARCH, arm)["trial"]
        rest = rest[~rest.isin(chosen)]
        roles |= dict.fromkeys(rest.iloc[np.unique(np.linspace(0, len(rest) - 1, min(len(rest), THIN_CURVES)).astype(int))], "thin")
    epochs = sweep.folder.read_epochs().frame
    epochs = epochs[epochs["trial"].isin(list(roles))]
    trials = epochs["trial"].map(printable)
    kept = epochs.assign(arm=epochs["arm"].map(printable), trial=trials, role=trials.map(roles))
    return kept.dropna(subset=["role"]).sort_values(["arm", "trial", "epoch"], kind="stable").reset_index(drop=True)


def confirm_bands(curves: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean and standard deviation over the confirm trials of all searches, by arm and epoch."""
    by_epoch = curves[curves["role"] == "confirm"].groupby(["arm", "epoch"], sort=True)[column]
    return pd.DataFrame({"mean": by_epoch.mean(), "std": by_epoch.std().fillna(0.0), "count": by_epoch.count()}).reset_index()


def best_so_far(sweep: StoredSweep, measure: Measure) -> pd.DataFrame:
    """For each search the best final value of its complete trials so far against the epochs that it has spent so far, by trial number.

    Every trial costs its epochs, whatever its end.
    """
    parts = []
    for arm, search in product(sweep.arms, sweep.searches):
        rows = sweep.rows(Phase.SEARCH, arm, search)
        values = final_values(sweep, rows, measure)
        best = (values.cummax() if measure.maximize else values.cummin()).ffill()
        spent = rows["epochs"].fillna(0).cumsum()
        parts.append(pd.DataFrame({"arm": arm, "search": search, "trial": rows["trial"], "spent": spent, "best": best}))
    return (
        pd.concat(parts).dropna(subset=["best"]).reset_index(drop=True)
        if parts
        else pd.DataFrame(columns=["arm", "search", "trial", "spent", "best"])
    )


def tuned_parameters(sweep: StoredSweep) -> list[TunedParameter]:
    """The numeric parameters that some arm searches, those of most arms first."""
    found: dict[str, dict[str, FloatRange | IntRange]] = {}
    for arm in sweep.space.arms if sweep.space else ():
        for definition in sweep.space.definitions(arm) if sweep.space else ():
            parameter, name = definition.parameter, definition.name
            if isinstance(parameter, FloatRange | IntRange) and name in sweep.parameters:
                found.setdefault(name, {})[arm.name] = parameter
    tuned = [
        TunedParameter(
            name, all(each.log for each in ranges.values()), all(isinstance(each, IntRange) for each in ranges.values()), tuple(ranges)
        )
        for name, ranges in found.items()
    ]
    return sorted(tuned, key=lambda each: -len(each.arms))


def _searched_values(rows: pd.DataFrame, parameter: TunedParameter) -> pd.Series[float]:
    """The values of a parameter in the arms that search it, ordered as ``rows``; missing in the others and where its axis has no place."""
    values = pd.to_numeric(rows[f"param_{parameter.name}"].where(rows["arm"].isin(parameter.arms)), errors="coerce").astype(float)
    return values.where(values > 0) if parameter.is_log else values


def parameter_points(sweep: StoredSweep, measure: Measure, parameter: TunedParameter) -> pd.DataFrame:
    """One point per search trial of an arm that searches the parameter: its value, the metric at the judged epoch, state, epochs."""
    rows = sweep.rows(Phase.SEARCH)
    points = pd.DataFrame(
        {
            "arm": rows["arm"],
            "trial": rows["trial"],
            "parameter": _searched_values(rows, parameter),
            "value": rows[sweep.judged(measure.val_column)].astype(float),
            "state": rows["state"],
            "epochs": rows["epochs"],
        }
    )
    return points.replace([np.inf, -np.inf], np.nan).dropna(subset=["parameter", "value"]).reset_index(drop=True)


def complete_configurations(sweep: StoredSweep, measure: Measure, parameters: list[TunedParameter]) -> pd.DataFrame:
    """One row per complete search trial: arm, trial, the parameters (missing where its arm does not search them), its final value."""
    rows = sweep.rows(Phase.SEARCH)
    columns = {each.name: _searched_values(rows, each) for each in parameters}
    table = pd.DataFrame({"arm": rows["arm"], "trial": rows["trial"], **columns, "value": final_values(sweep, rows, measure)})
    return table[rows["state"] == str(TrialState.COMPLETE)].dropna(subset=["value"]).reset_index(drop=True)


@dataclass(frozen=True, slots=True, eq=False)
class ConfirmLogits:
    """Logits of one confirm trial on the test split, with the temperature that its validation split asks for."""

    logits: np.ndarray[Any, np.dtype[np.float32]]
    labels: np.ndarray[Any, np.dtype[np.int64]]
    temperature: float | None


def logits_by_arm(sweep: StoredSweep) -> dict[str, list[ConfirmLogits]]:
    """The stored logits of the complete confirm trials of each arm."""
    predictions = sweep.folder.read_predictions().frame
    names = sorted((name for name in predictions.columns if name.startswith("logit_")), key=lambda name: int(name.removeprefix("logit_")))
    complete = sweep.rows(Phase.CONFIRM)
    complete = complete[complete["state"] == str(TrialState.COMPLETE)]
    found: dict[str, list[ConfirmLogits]] = {}
    temperatures: Mapping[str, float] = dict(zip(complete["trial"], complete["temperature"].astype(float), strict=True))
    for trial, rows in predictions[predictions["split"] == "test"].groupby("trial", sort=True, observed=True):
        name = printable(str(trial))
        labels = rows["label"].to_numpy(dtype=np.int64)
        if name not in temperatures or not len(labels) or labels.min() < 0 or labels.max() >= len(names):
            continue
        temperature = temperatures[name] if np.isfinite(temperatures[name]) else None
        logits = ConfirmLogits(rows[names].to_numpy(dtype=np.float32), labels, temperature)
        found.setdefault(printable(str(rows["arm"].iloc[0])), []).append(logits)
    return found


def pooled_reliability(trials: list[ConfirmLogits], *, scaled: bool) -> metrics.Reliability:
    """Reliability over all images of all seeds of one arm, raw or with the logits divided by each trial's temperature."""
    logits = np.concatenate([trial.logits / (trial.temperature if scaled and trial.temperature else 1.0) for trial in trials])
    return metrics.reliability(logits, np.concatenate([trial.labels for trial in trials]))


def pooled_confusion(trials: list[ConfirmLogits]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Share of the images of each true class (row) that were given each class (column), over all seeds."""
    counts = np.sum([metrics.confusion_matrix(trial.logits, trial.labels) for trial in trials], axis=0)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), dtype=np.float64)
