"""The importance of parameters, against Optuna's own."""

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from sweeper.report.importance import importance_shares
from sweeper.space import FloatRange, IntRange

RANGES = {
    "learning_rate": FloatRange(low=1e-4, high=1.0, log=True),
    "step_gamma": FloatRange(low=0.1, high=0.9),
    "dropout": FloatRange(low=0.0, high=0.5, step=0.25),
    "step_size": IntRange(low=2, high=15),
    "warmup": IntRange(low=0, high=300, step=3),
    "batch_size": IntRange(low=1, high=512, log=True),
}


def drawn(n_trials: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "learning_rate": 10 ** rng.uniform(-4, 0, n_trials),
            "step_gamma": rng.uniform(0.1, 0.9, n_trials),
            "dropout": 0.25 * rng.integers(0, 3, n_trials),
            "step_size": rng.integers(2, 16, n_trials),
            "warmup": 3 * rng.integers(0, 101, n_trials),
            "batch_size": np.round(2 ** rng.uniform(0, 9, n_trials)).astype(int),
        }
    )
    return table.assign(value=np.round(-np.abs(np.log10(table["learning_rate"]) + 2) + 0.1 * table["step_size"] * table["dropout"], 2))


def optunas(trials: pd.DataFrame, *, maximize: bool) -> dict[str, float]:
    distributions = {
        name: (IntDistribution if isinstance(each, IntRange) else FloatDistribution)(each.low, each.high, log=each.log, step=each.step)
        for name, each in RANGES.items()
    }
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    for row in trials.to_dict("records"):
        value = row.pop("value")
        study.add_trial(optuna.trial.create_trial(params=row, distributions=distributions, value=value))
    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize(("n_trials", "seed"), [(10, 0), (11, 1), (20, 2), (57, 3), (500, 4)])
def test_shares_are_those_of_optuna(n_trials, seed, maximize):
    trials = drawn(n_trials, seed)
    ours, theirs = importance_shares(trials, RANGES, maximize=maximize), optunas(trials, maximize=maximize)
    assert ours == pytest.approx(theirs, rel=1e-9)
    assert list(ours) == list(theirs)


def test_trials_that_all_ended_alike_make_every_parameter_equally_important():
    trials = drawn(30, 0).assign(value=0.1)
    assert set(importance_shares(trials, RANGES, maximize=True).values()) == {1 / len(RANGES)}
