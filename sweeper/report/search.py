"""The search phase of a sweep: what each arm spent, and its best trial."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd

from sweeper.records import Phase, TrialState
from sweeper.report.measure import Measure
from sweeper.report.reading import StoredSweep
from sweeper.report.summary import ArmSummary, Cost, Ends
from sweeper.trial_counts import BestTrial, Part, saved_by_pruning


def summarize_arms(sweep: StoredSweep, measure: Measure) -> tuple[ArmSummary, ...]:
    """One summary per arm, in the space's order."""
    planned = {arm.name: sweep.space.planned_trials(arm) for arm in sweep.space.arms} if sweep.space else {}
    seeds = sweep.space.compare.seeds if sweep.space else None
    summaries = []
    for arm in sweep.arms:
        search, confirm = (count_trials(sweep, sweep.rows(phase, arm), measure) for phase in Phase)
        is_hopeless = search.best is None and search.ended >= planned.get(arm, 0)  # nothing to confirm, and nothing more to come
        summaries.append(
            ArmSummary(
                arm,
                _cost(sweep, search, sweep.rows(Phase.SEARCH, arm), planned.get(arm)),
                _cost(sweep, confirm, sweep.rows(Phase.CONFIRM, arm), 0 if seeds is not None and is_hopeless else seeds),
                search.best,
            )
        )
    return tuple(summaries)


def count_trials(sweep: StoredSweep, rows: pd.DataFrame, measure: Measure) -> Part:
    """Trials of one arm and phase, counted; their best is the one by ``measure``."""
    part, epochs = Part("", Phase.SEARCH), rows["epochs"].fillna(0)
    columns = (rows["trial"], rows["number"], final_values(sweep, rows, measure), epochs, rows["state"])
    for trial, number, value, n_epochs, state in zip(*columns, strict=True):
        candidate = BestTrial(str(trial), int(number), float(value), int(n_epochs), {})
        part = part.after(TrialState(state), candidate.epochs, candidate, measure.val_column)
    if part.best is None:
        return part
    row = rows[rows["trial"] == part.best.trial].iloc[0]
    return replace(part, best=replace(part.best, parameters=sweep.parameters_of(row)))


def final_values(sweep: StoredSweep, rows: pd.DataFrame, measure: Measure) -> pd.Series[float]:
    """The metric of each complete trial at its last epoch, ordered as ``rows``; missing for all others."""
    is_search_metric = sweep.space is not None and sweep.space.search.metric == measure.val_column
    column = "value" if is_search_metric else f"last_{measure.val_column}"
    return rows[column].astype(float).where(rows["state"] == str(TrialState.COMPLETE))


def ends(part: Part) -> Ends:
    """How many trials of a part ended in each state."""
    return Ends(part.complete, part.pruned, part.failed, part.diverged)


def _cost(sweep: StoredSweep, part: Part, rows: pd.DataFrame, planned: int | None) -> Cost:
    return Cost(
        planned=None if planned is None else max(planned, part.ended),  # failed trials that were repeated came on top
        ends=ends(part),
        epochs=part.epochs,
        seconds=math.fsum(rows["train_seconds"].dropna()),
        saved=saved_by_pruning([part], sweep.space.training.epochs) if sweep.space else None,
    )
