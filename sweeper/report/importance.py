"""How much each parameter matters within an arm, by Optuna's PED-ANOVA."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from sweeper.space import FloatRange, IntRange

from .chart_data import complete_configurations, tuned_parameters
from .measure import Measure
from .reading import StoredSweep

FEWEST_TRIALS = 10
"""With fewer complete trials the best tenth is less than one trial, and importance says nothing."""


def parameter_importance(sweep: StoredSweep, measure: Measure) -> pd.DataFrame:
    """Columns arm, parameter, importance (they sum to 1 within an arm) and trials; arms with fewer than ten complete trials are left out.

    Watanabe 2023, 2304.10255: how far the best tenth of the trials lies from all of them, parameter by parameter.
    """
    table = complete_configurations(sweep, measure, tuned_parameters(sweep))
    rows = []
    for arm in sweep.space.arms if sweep.space else ():
        ranges = {d.name: d.parameter for d in (sweep.space.definitions(arm) if sweep.space else ()) if not d.when}
        distributions = {name: _distribution(each) for name, each in ranges.items() if isinstance(each, FloatRange | IntRange)}
        trials = table[table["arm"] == arm.name]
        if len(trials) < FEWEST_TRIALS or not distributions:
            continue
        trials = trials.dropna(subset=list(distributions))
        for name, share in _importances(trials, distributions, measure).items():
            rows.append((arm.name, name, float(share), len(trials)))
    return pd.DataFrame(rows, columns=["arm", "parameter", "importance", "trials"])


def _importances(trials: pd.DataFrame, distributions: dict[str, BaseDistribution], measure: Measure) -> dict[str, float]:
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            storage=optuna.storages.InMemoryStorage(), direction="maximize" if measure.maximize else "minimize", study_name="importance"
        )
        for row in trials.to_dict("records"):
            params = {name: each.to_external_repr(each.to_internal_repr(row[name])) for name, each in distributions.items()}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=float(row["value"])))
        return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from announcing a study that only lives here."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _distribution(parameter: FloatRange | IntRange) -> BaseDistribution:
    if isinstance(parameter, IntRange):
        return IntDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
