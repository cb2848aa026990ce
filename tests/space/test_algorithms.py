# ruff: noqa: E501  one case a line
import inspect
import subprocess
import sys
import warnings

import optuna
import pytest
import yaml
from spaces import base, space_of

from sweeper.errors import SpaceError
from sweeper.space.algorithms import HIGHEST, LOWEST, OURS, PRUNERS, SAMPLERS, WITHDRAWN, option_types
from sweeper.studies.optuna_parts import build_pruner, build_sampler


def message(**search):
    with pytest.raises(SpaceError) as caught:
        space_of(base(search=search))
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ({"sampler": "tpee"}, ["search.sampler: unknown sampler 'tpee'; did you mean 'tpe'?"]),
        ({"sampler": {"name": "tpe", "n_startup_trial": 3}}, ["search.sampler.n_startup_trial: sampler 'tpe' has no such option; did you mean 'n_startup_trials'?"]),
        ({"sampler": {"name": "tpe", "n_startup_trials": -1}}, ["search.sampler.n_startup_trials: must be >= 0, got -1"]),
        ({"sampler": {"name": "tpe", "n_startup_trials": True}}, ["search.sampler.n_startup_trials: must be an integer, got true"]),
        ({"sampler": {"name": "tpe", "n_startup_trials": 10**7}}, ["search.sampler.n_startup_trials: must be <= 1000000, got 10000000"]),
        ({"sampler": {"name": "tpe", "n_ei_candidates": 10**15}}, ["search.sampler.n_ei_candidates: must be <= 10000, got 1000000000000000"]),
        ({"sampler": {"name": "cmaes", "popsize": 10**6}}, ["search.sampler.popsize: must be <= 10000, got 1000000"]),
        ({"sampler": "TPESampler"}, ["search.sampler: unknown sampler 'TPESampler'; did you mean 'tpe'?"]),
        ({"pruner": {"name": "successive_halving", "min_early_stopping_rate": 10**15}}, ["search.pruner.min_early_stopping_rate: must be <= 17, got 1000000000000000"]),
        ({"sampler": {"name": "tpe", "group": 1}}, ["search.sampler.group: must be true or false, got 1"]),
        ({"sampler": {"name": "tpe", "group": True, "multivariate": False}}, ["search.sampler.group: refused by Optuna: ``group`` option can only be enabled when ``multivariate`` is enabled"]),
        ({"sampler": {"name": "tpe", "prior_weight": 2}}, ["search.sampler.prior_weight: is deprecated by Optuna; leave it out"]),
        ({"sampler": {"name": "tpe", "gamma": 2}}, ["search.sampler.gamma: sampler 'tpe' has no such option; known: n_startup_trials, n_ei_candidates, multivariate, group, constant_liar"]),
        ({"sampler": {"name": "random", "seed": 2}}, ["search.sampler.seed: is set by the sweep: write seed at the top level"]),
        ({"sampler": {"name": "random", "x": 2}}, ["search.sampler.x: sampler 'random' has no such option; it has none"]),
        ({"sampler": {"name": "qmc", "qmc_type": "sobel"}}, ["search.sampler.qmc_type: refused by Optuna: The `qmc_type`, \"sobel\", is not a valid. It must be one of \"sobol\" and \"halton\""]),
        ({"sampler": {"name": "cmaes", "popsize": 1}}, ["search.sampler.popsize: must be >= 2, got 1"]),
        ({"pruner": "median_pruner"}, ["search.pruner: unknown pruner 'median_pruner'; did you mean 'median'?"]),
        ({"pruner": {"name": "median", "interval_steps": 0}}, ["search.pruner.interval_steps: refused by Optuna: Pruning interval steps must be at least 1 but got 0"]),
        ({"pruner": {"name": "percentile"}}, ["search.pruner.percentile: is missing"]),
        ({"pruner": {"name": "percentile", "percentile": 120}}, ["search.pruner.percentile: refused by Optuna: Percentile must be between 0 and 100 inclusive but got 120.0"]),
        ({"pruner": {"name": "threshold"}}, ["search.pruner: refused by Optuna: Either lower or upper must be specified"]),
        ({"pruner": {"name": "threshold", "lower": float("nan")}}, ["search.pruner.lower: must be a finite number below 2^53, got nan"]),
        ({"pruner": {"name": "successive_halving", "reduction_factor": 1}}, ["search.pruner.reduction_factor: must be >= 2, got 1"]),
        ({"pruner": {"name": "successive_halving", "min_resource": "automatic"}}, ["search.pruner.min_resource: refused by Optuna: The value of `min_resource` is automatic, but must be either `min_resource` >= 1 or 'auto'"]),
        ({"pruner": {"name": "successive_halving", "min_resource": 10}}, ["search.pruner.min_resource: must be <= training.epochs, which is 9, got 10"]),
        ({"pruner": {"name": "hyperband", "min_resource": 3, "max_resource": 2}}, ["search.pruner.max_resource: must be >= min_resource, which is 3, got 2"]),
        ({"pruner": {"name": "patient"}}, ["search.pruner.patience: is missing"]),
        ({"pruner": {"name": "patient", "patience": -1, "wrapped": {"name": "hyperband", "min_resource": 10}}}, ["search.pruner.patience: refused by Optuna: patience cannot be negative but got -1", "search.pruner.wrapped.min_resource: must be <= training.epochs, which is 9, got 10"]),
        ({"pruner": {"name": "patient", "patience": 1, "wrapped_pruner": "median"}}, ["search.pruner.wrapped_pruner: pruner 'patient' has no such option; did you mean 'wrapped'?"]),
        ({"pruner": {"name": "wilcoxon", "p_threshold": 2}}, ["search.pruner.p_threshold: refused by Optuna: p_threshold must be between 0 and 1 but got 2.0"]),
        ({"pruner": {"name": "none", "patience": 2}}, ["search.pruner.patience: pruner 'none' has no such option; it has none"]),
        ({"metric": "val_acuracy"}, ["search.metric: unknown metric 'val_acuracy'; did you mean 'val_accuracy'?"]),
        ({"metric": "test_accuracy"}, ["search.metric: unknown metric 'test_accuracy'; did you mean 'val_accuracy'?"]),
    ],
)  # fmt: skip
def test_an_option_is_checked_against_optunas_signature_and_limits(search, expected):
    # what Optuna says after our own words is its own to change
    assert [text.partition("refused by Optuna: ")[:2] for text in message(**search)] == [
        text.partition("refused by Optuna: ")[:2] for text in expected
    ]


@pytest.mark.parametrize("algorithm", [*SAMPLERS.values(), *PRUNERS.values()])
def test_optuna_warns_of_the_withdrawn_options_and_of_no_other(algorithm):
    needed = {"percentile": 50.0, "patience": 1, "wrapped_pruner": None, "lower": 0.5}
    signature = inspect.signature(algorithm).parameters
    for name in option_types(algorithm).keys() | (WITHDRAWN & signature.keys()):
        default = signature[name].default
        value = default if isinstance(default, bool | int | float | str) else None
        if name in WITHDRAWN:
            value = {"restart_strategy": "ipop", "inc_popsize": 2}.get(name, 0.5)
        arguments = {key: value for key, value in needed.items() if key in signature}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            algorithm(**{**arguments, name: value if value is not None else arguments.get(name)})
        is_deprecated = any("deprecated" in str(warning.message) for warning in caught)
        assert is_deprecated == (name in WITHDRAWN), name


def test_the_written_names_are_optunas_classes():
    assert {name: algorithm.__name__ for name, algorithm in {**SAMPLERS, **PRUNERS}.items()} == {
        "tpe": "TPESampler", "random": "RandomSampler", "grid": "RandomSampler", "gp": "GPSampler", "cmaes": "CmaEsSampler",
        "qmc": "QMCSampler", "median": "MedianPruner", "percentile": "PercentilePruner", "successive_halving": "SuccessiveHalvingPruner",
        "hyperband": "HyperbandPruner", "patient": "PatientPruner", "threshold": "ThresholdPruner", "wilcoxon": "WilcoxonPruner",
        "none": "NopPruner",
    }  # fmt: skip


def test_every_limit_and_option_of_ours_is_still_one_of_optunas():
    known = {name for algorithm in (*SAMPLERS.values(), *PRUNERS.values()) for name in inspect.signature(algorithm).parameters}
    assert LOWEST.keys() | HIGHEST.keys() <= known | {"points"}
    assert known >= OURS
    assert {name: sorted(option_types(algorithm)) for name, algorithm in PRUNERS.items()} == {
        "median": ["interval_steps", "n_min_trials", "n_startup_trials", "n_warmup_steps"],
        "percentile": ["interval_steps", "n_min_trials", "n_startup_trials", "n_warmup_steps", "percentile"],
        "successive_halving": ["bootstrap_count", "min_early_stopping_rate", "min_resource", "reduction_factor"],
        "hyperband": ["bootstrap_count", "max_resource", "min_resource", "reduction_factor"],
        "patient": ["min_delta", "patience"],
        "threshold": ["interval_steps", "lower", "n_warmup_steps", "upper"],
        "wilcoxon": ["n_startup_steps", "p_threshold"],
        "none": [],
    }


def test_hyperband_knows_the_number_of_epochs():
    assert build_pruner(space_of(base(search={"pruner": "hyperband"})))._max_resource == 9
    assert build_pruner(space_of(base(search={"pruner": {"name": "hyperband", "max_resource": 5}})))._max_resource == 5


def test_the_patient_pruner_wraps_another():
    pruner = {"name": "patient", "patience": 2, "wrapped": {"name": "hyperband"}}
    built = build_pruner(space_of(base(search={"pruner": pruner})))
    assert isinstance(built, optuna.pruners.PatientPruner)
    assert isinstance(built._wrapped_pruner, optuna.pruners.HyperbandPruner)
    assert built._wrapped_pruner._max_resource == 9


def test_tpe_groups_conditional_parameters_unless_told_otherwise():
    space = space_of(base())
    assert build_sampler(space, space.arms[0], 1)._group
    by_arm = space_of(base(compare={"arms": "loss"}))
    assert not any(build_sampler(by_arm, arm, 1)._group for arm in by_arm.arms)
    told = space_of(base(search={"sampler": {"name": "tpe", "group": False}}))
    assert not build_sampler(told, told.arms[0], 1)._group


def test_the_same_seed_draws_the_same_trials_and_another_does_not():
    space = space_of(base())

    def values(seed):
        study = optuna.create_study(sampler=build_sampler(space, space.arms[0], seed))
        return [study.ask().suggest_float("x", 0, 1) for _ in range(3)]

    assert values(5) == values(5)
    assert values(5) != values(6)
    assert values(2**32 + 5) == values(5)


def test_checking_a_qmc_sampler_prints_nothing_but_the_answer(tmp_path):
    (tmp_path / "qmc.yaml").write_text(yaml.safe_dump(base(search={"sampler": {"name": "qmc", "scramble": True}})))
    done = subprocess.run([sys.executable, "-m", "sweeper", "check", "qmc.yaml"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "No seed" not in done.stderr
