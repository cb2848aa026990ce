"""How much each parameter matters within an arm: PED-ANOVA (Watanabe 2023, 2304.10255) as Optuna computes it.

Implemented in numpy, since ``optuna.importance`` imports scikit-learn if that is installed (MLflow brings it) and needs a study of trials:
together half the time of a page. A test compares the two.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64
from scipy.special import ndtr

from sweeper.report.chart_data import complete_configurations, tuned_parameters
from sweeper.report.measure import Measure
from sweeper.report.reading import StoredSweep
from sweeper.space import FloatRange, IntRange

FEWEST_TRIALS = 10
"""With fewer complete trials the best tenth is less than one trial, and importance says nothing."""
TOP_SHARE = 0.1
MOST_CELLS = 50
"""A range is divided into this many cells, fewer where it holds fewer values."""

Counts: TypeAlias = Int64[np.ndarray, " cell"]


def parameter_importance(sweep: StoredSweep, measure: Measure) -> pd.DataFrame:
    """Columns arm, parameter, importance (they sum to 1 within an arm) and trials; arms with fewer than ten complete trials are left out.

    The importance of a parameter is how far the best tenth of the trials lies from all of them along it. Conditional parameters have none.
    """
    table = complete_configurations(sweep, measure, tuned_parameters(sweep))
    rows = []
    for arm in sweep.space.arms if sweep.space else ():
        definitions = sweep.space.definitions(arm) if sweep.space else ()
        ranges = {each.name: each.parameter for each in definitions if isinstance(each.parameter, FloatRange | IntRange) and not each.when}
        trials = table[table["arm"] == arm.name]
        if len(trials) < FEWEST_TRIALS or not ranges:
            continue
        trials = trials.dropna(subset=list(ranges))
        for name, share in importance_shares(trials, ranges, maximize=measure.maximize).items():
            rows.append((arm.name, name, share, len(trials)))
    return pd.DataFrame(rows, columns=["arm", "parameter", "importance", "trials"])


def importance_shares(trials: pd.DataFrame, ranges: dict[str, FloatRange | IntRange], *, maximize: bool) -> dict[str, float]:
    """The share of each parameter, largest first; equal ones where none tells the best trials from the others.

    ``trials``: a column for each parameter, and ``value``.
    """
    values = trials["value"].to_numpy(dtype=np.float64) * (-1 if maximize else 1)
    last = math.ceil(TOP_SHARE * len(values)) - 1
    is_top = values <= np.partition(values, last)[last]
    divergences = {}
    for name, parameter in ranges.items():
        cells, n_cells = _cells(trials[name].to_numpy(dtype=np.float64), parameter)
        top, every = (_density(np.bincount(chosen, minlength=n_cells)) for chosen in (cells[is_top], cells))
        divergences[name] = float(every @ (top / every - 1) ** 2)
    total = sum(divergences.values())
    ordered = sorted(divergences.items(), key=lambda entry: -entry[1])
    return {name: divergence / total if total else 1 / len(ordered) for name, divergence in ordered}


def _cells(values: Float64[np.ndarray, " trial"], parameter: FloatRange | IntRange) -> tuple[Int64[np.ndarray, " trial"], int]:
    """The cell in which each value lies, and how many there are."""
    n_cells, low, high = MOST_CELLS, float(parameter.low), float(parameter.high)
    if parameter.log:
        if isinstance(parameter, IntRange):
            n_cells = min(math.ceil(math.log2(high - low + 1)) + 1, n_cells)
        values, low, high = np.log(values), math.log(low), math.log(high)
    elif parameter.step is not None:
        n_cells = min(round((high - low) / parameter.step) + 1, n_cells)
    cells = np.ceil((values - low) / ((high - low) / (n_cells - 1)) - 0.5).astype(np.int64)
    return np.clip(cells, 0, n_cells - 1), n_cells


def _density(counts: Counts) -> Float64[np.ndarray, " cell"]:
    """The share of each cell, smoothed: a normal kernel on each value, as wide as Scott's rule has it, and one over the whole range."""
    n, occupied = int(counts.sum()), np.flatnonzero(counts)
    weights, running = counts[occupied], np.cumsum(counts[occupied])
    mean = occupied @ weights / n
    sd = math.sqrt((occupied - mean) ** 2 @ weights / max(1, n - 1))
    lower = int(np.searchsorted(running, n // 4, side="left"))
    upper = min(len(occupied) - 1, int(np.searchsorted(running, n * 3 // 4, side="right")))
    spread = min((occupied[upper] - occupied[lower]) / 1.34, sd)
    width = max(1.059 * spread * n**-0.2, 0.5 / 1.64)  # at most nine tenths of a kernel lie in its own cell
    last = len(counts) - 1
    centres, widths = np.append(occupied, last / 2), np.append(np.full(len(occupied), width), last + 1)
    edges = ndtr((np.arange(len(counts) + 1)[:, None] - 0.5 - centres) / widths)
    kernels = np.diff(edges, axis=0) / (edges[-1] - edges[0])
    return np.asarray(kernels @ np.append(weights, 1) / (n + 1) + 1e-12)
