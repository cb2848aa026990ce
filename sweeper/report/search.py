"""The searches of each arm: what each spent, its pick, and the figures of its pick on the seeds of the confirm phase."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace

import numpy as np
import pandas as pd

from sweeper.metrics import TEMPERATURE_RANGE, best_of
from sweeper.records import Phase, TrialState
from sweeper.report.measure import MEASURES, Measure, find_measure
from sweeper.report.reading import StoredSweep
from sweeper.report.summary import ArmSummary, Cost, Ends, SearchSummary
from sweeper.trial_counts import BestTrial, Part, saved_by_pruning


def summarize_arms(sweep: StoredSweep, measure: Measure) -> tuple[ArmSummary, ...]:
    """One summary per arm, in the space's order."""
    planned = {arm.name: sweep.space.planned_trials(arm) for arm in sweep.space.arms} if sweep.space else {}
    is_known = bool(sweep.trials[f"last_{measure.val_column}"].notna().any()) or sweep.space is None
    by = measure if is_known or sweep.space is None else find_measure(sweep.space.search.metric)
    arms = tuple(
        _summarize_arm(arm, [_summarize_search(sweep, arm, number, planned.get(arm), measure, by) for number in sweep.searches], by)
        for arm in sweep.arms
    )
    return arms if is_known else tuple(map(_without_values, arms))


def _without_values(arm: ArmSummary) -> ArmSummary:
    """The arm with picks that have no validation figure of the measure, for no trial has one."""
    best, *picks = (pick and replace(pick, value=math.nan) for pick in (arm.best, *(search.pick for search in arm.searches)))
    searches = tuple(replace(search, pick=pick) for search, pick in zip(arm.searches, picks, strict=True))
    return replace(arm, best=best, searches=searches)


def _summarize_arm(arm: str, searches: Sequence[SearchSummary], measure: Measure) -> ArmSummary:
    best = best_of(measure.val_column, [each.pick for each in searches if each.pick], lambda pick: pick.value)
    spent = (_total([each.search for each in searches]), _total([each.confirm for each in searches]))
    return ArmSummary(arm, *spent, best, tuple(searches))


def _summarize_search(sweep: StoredSweep, arm: str, number: int, planned: int | None, measure: Measure, by: Measure) -> SearchSummary:
    """``by``: the measure that takes the pick, on validation."""
    rows, confirm_rows = (sweep.rows(phase, arm, number) for phase in Phase)
    search, confirm = count_trials(sweep, rows, by), count_trials(sweep, confirm_rows, by)
    seeds = sweep.space.compare.seeds if sweep.space else None
    is_hopeless = search.best is None and search.ended >= (planned or 0)  # nothing to confirm, and nothing more to come
    measured = _measured(confirm_rows, measure)
    own = sweep.space.training.own_metrics if sweep.space else ()
    values = {name: tuple(map(_finite, measured[name])) for name in (*MEASURES, *(metric.test_column for metric in own))}
    return SearchSummary(
        number=number,
        search=_cost(sweep, search, rows, planned),
        confirm=_cost(sweep, confirm, confirm_rows, 0 if seeds is not None and is_hopeless else seeds),
        pick=search.best,
        seeds=tuple(map(int, measured["seed"])),
        values=values,
        means={name: float(np.mean(known)) for name, found in values.items() if (known := _all_known(name, found))},
    )


def _measured(rows: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """Complete trials with a finite figure, one per seed (the last where a seed was confirmed twice), ordered by seed."""
    complete = rows[rows["state"] == str(TrialState.COMPLETE)]
    finite = complete[np.isfinite(complete[measure.test_column].astype(float)) & complete["seed"].notna()]
    return finite.drop_duplicates("seed", keep="last").sort_values("seed")


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _all_known(name: str, values: Iterable[float | None]) -> list[float]:
    """The values if each is known, and of temperatures if each was found within the bounds of its fit; else none."""
    known = [value for value in values if value is not None and not (name == "temperature" and value in TEMPERATURE_RANGE)]
    return known if len(known) == len(tuple(values)) else []


def count_trials(sweep: StoredSweep, rows: pd.DataFrame, measure: Measure) -> Part:
    """Trials of one arm and phase, counted; their best is the one by ``measure``."""
    part, epochs = Part("", Phase.SEARCH), rows["epochs"].fillna(0)
    columns = (rows["trial"], rows["search"], rows["number"], final_values(sweep, rows, measure), epochs, rows["state"])
    for trial, search, number, value, n_epochs, state in zip(*columns, strict=True):
        candidate = BestTrial(str(trial), int(number), float(value), int(n_epochs), {}, int(search))
        part = part.after(TrialState(state), candidate.epochs, candidate, measure.val_column)
    if part.best is None:
        return part
    row = rows[rows["trial"] == part.best.trial].iloc[0]
    return replace(part, best=replace(part.best, parameters=sweep.parameters_of(row)))


def final_values(sweep: StoredSweep, rows: pd.DataFrame, measure: Measure) -> pd.Series[float]:
    """The metric of each complete trial at the epoch that is judged, ordered as ``rows``; missing for all others."""
    is_search_metric = sweep.space is not None and sweep.space.search.metric == measure.val_column
    column = "value" if is_search_metric else sweep.judged(measure.val_column)
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


def _total(costs: Sequence[Cost]) -> Cost:
    """What several searches took together."""
    finished = sum(cost.ends.finished for cost in costs)
    saved = math.fsum((cost.saved or 0.0) * cost.ends.finished for cost in costs)  # each a share of as many whole trials
    return Cost(
        planned=sum(cost.planned or 0 for cost in costs) if all(cost.planned is not None for cost in costs) else None,
        ends=Ends(*(sum(getattr(cost.ends, state.name) for cost in costs) for state in fields(Ends))),
        epochs=sum(cost.epochs for cost in costs),
        seconds=math.fsum(cost.seconds for cost in costs),
        saved=saved / finished if finished and any(cost.saved is not None for cost in costs) else None,
    )
