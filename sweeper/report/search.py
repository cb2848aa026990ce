"""The search phase of a sweep: what each arm spent, and its best trial."""

from __future__ import annotations

import math

import pandas as pd

from sweeper.records import Phase, TrialState, trial_rank
from sweeper.report.measure import Measure
from sweeper.report.reading import StoredSweep
from sweeper.report.summary import ArmSummary, BestTrial, Cost, Ends


def summarize_arms(sweep: StoredSweep, measure: Measure) -> tuple[ArmSummary, ...]:
    """One summary per arm, in the space's order."""
    planned = {arm.name: sweep.space.planned_trials(arm) for arm in sweep.space.arms} if sweep.space else {}
    seeds = sweep.space.compare.seeds if sweep.space else None
    summaries = []
    for arm in sweep.arms:
        searched = sweep.rows(Phase.SEARCH, arm)
        best = best_trial(sweep, searched, measure)
        is_hopeless = best is None and len(searched) >= planned.get(arm, 0)  # nothing to confirm, and nothing more to come
        search = _cost(sweep, searched, planned.get(arm))
        confirm = _cost(sweep, sweep.rows(Phase.CONFIRM, arm), 0 if seeds is not None and is_hopeless else seeds)
        summaries.append(ArmSummary(arm, search, confirm, best))
    return tuple(summaries)


def best_trial(sweep: StoredSweep, rows: pd.DataFrame, measure: Measure) -> BestTrial | None:
    """The complete trial with the best final value among ``rows``."""
    values = final_values(sweep, rows, measure)
    ranks = [trial_rank(measure.val_column, *trial) for trial in zip(rows["number"], rows["state"], values, strict=True)]
    ranked = [(rank, position) for position, rank in enumerate(ranks) if rank is not None]
    if not ranked:
        return None
    _, position = max(ranked)
    row = rows.iloc[position]
    return BestTrial(
        trial=str(row["trial"]),
        number=int(row["number"]),
        value=float(values.iloc[position]),
        epochs=int(row["epochs"]),
        parameters=sweep.parameters_of(row),
    )


def final_values(sweep: StoredSweep, rows: pd.DataFrame, measure: Measure) -> pd.Series[float]:
    """The metric of each complete trial at its last epoch, ordered as ``rows``; missing for all others."""
    is_search_metric = sweep.space is not None and sweep.space.search.metric == measure.val_column
    column = "value" if is_search_metric else f"last_{measure.val_column}"
    return rows[column].astype(float).where(rows["state"] == str(TrialState.COMPLETE))


def count_ends(rows: pd.DataFrame) -> Ends:
    """How many of ``rows`` ended in each state."""
    counts = rows["state"].value_counts()
    return Ends(**{str(state): int(counts.get(str(state), 0)) for state in TrialState})


def _cost(sweep: StoredSweep, rows: pd.DataFrame, planned: int | None) -> Cost:
    trained, is_pruned = rows["epochs"].fillna(0), rows["state"] == str(TrialState.PRUNED)
    whole = sweep.space.training.epochs if sweep.space else 0
    possible = len(rows) * whole
    return Cost(
        planned=None if planned is None else max(planned, len(rows)),  # failed trials that were repeated came on top
        ends=count_ends(rows),
        epochs=int(trained.sum()),
        seconds=math.fsum(rows["train_seconds"].dropna()),
        saved=float((whole - trained[is_pruned]).sum()) / possible if possible else None,
    )
