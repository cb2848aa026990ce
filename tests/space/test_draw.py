"""Real Optuna studies over spaces: what is drawn is what the study holds, and every sampler goes with every pruner."""

import itertools
import warnings

import optuna
import pytest
from spaces import base, space_of

from sweeper.catalogue import ALWAYS_RECORDED
from sweeper.space.algorithms import PRUNERS, SAMPLERS
from sweeper.studies.optuna_parts import build_pruner, build_sampler, draw, grid

EVERYTHING = {
    "loss": {"choices": ["l1", "focal", "poly1"]},
    "gamma": {"low": 0.0, "high": 5.0, "when": {"loss": "focal"}},
    "epsilon": {"choices": [0, 0.5, 2], "when": {"loss": "poly1"}},
    "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
    "momentum": {"low": 0.0, "high": 0.9, "step": 0.3},
    "weight_decay": {"choices": [0, 1e-4]},
    "step_size": {"type": "int", "low": 2, "high": 8, "step": 2},
    "step_gamma": 0.5,
    "batch_size": {"type": "int", "low": 16, "high": 256, "log": True},
}
GRIDDABLE = {**EVERYTHING, "batch_size": {"choices": [32, 64]}}
PRUNER_OPTIONS = {
    "percentile": {"percentile": 50, "n_startup_trials": 1},
    "median": {"n_startup_trials": 1},
    "patient": {"patience": 1, "wrapped": {"name": "median", "n_startup_trials": 1}},
    "threshold": {"lower": 0.5, "n_warmup_steps": 7},
}


def run(space, arm, seed=0, n_trials=8):
    """A study of ``arm`` whose trials get better with their number and never fail."""
    study = optuna.create_study(direction="maximize", sampler=build_sampler(space, arm, seed), pruner=build_pruner(space))
    if space.search.sampler.name == "grid":
        for point in grid(space, arm)[:n_trials]:
            study.enqueue_trial(point)
    drawn = []
    for _ in range(n_trials):
        trial = study.ask()
        drawn.append(draw(space, arm, trial))
        for epoch in range(1, space.training.epochs + 1):
            trial.report((trial.number * 7 % 5 + 1) / 6 * epoch / 9, epoch)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, (trial.number * 7 % 5 + 1) / 6)
    return study, drawn


@pytest.mark.parametrize(("sampler", "pruner"), list(itertools.product(SAMPLERS, PRUNERS)))
@pytest.mark.parametrize("arms", [None, "loss"])
def test_every_sampler_goes_with_every_pruner_without_a_warning(sampler, pruner, arms, capfd):
    search = {"sampler": {"name": sampler, **({"points": 3} if sampler == "grid" else {})}, "pruner": {"name": pruner}}
    search["pruner"] |= PRUNER_OPTIONS.get(pruner, {})
    if sampler in ("tpe", "gp", "cmaes"):
        search["sampler"] |= {"n_startup_trials": 3}
    space = space_of(base(parameters=GRIDDABLE if sampler == "grid" else EVERYTHING, search=search, compare={"arms": arms} if arms else {}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for arm in space.arms[-1:]:
            study, drawn = run(space, arm, n_trials=5 if sampler == "gp" else 8)  # a Gaussian process takes a second to fit
    assert [trial.params for trial in study.trials] == drawn
    assert capfd.readouterr().err == ""


def test_pruners_prune():
    for pruner in ("median", "percentile", "successive_halving", "hyperband", "patient", "threshold"):
        space = space_of(base(search={"sampler": "random", "pruner": {"name": pruner, **PRUNER_OPTIONS.get(pruner, {})}}))
        study, _ = run(space, space.arms[0], n_trials=20)
        n_pruned = sum(trial.state is optuna.trial.TrialState.PRUNED for trial in study.trials)
        assert (0 < n_pruned < 20) or pruner == "patient", pruner


@pytest.mark.parametrize("arms", [None, "loss", "weight_decay"])
def test_the_trial_holds_exactly_what_was_drawn_constants_too(arms):
    space = space_of(base(parameters=EVERYTHING, compare={"arms": arms} if arms else {}))
    types = {"string": str, "int64": int, "float64": float, "bool": bool}
    columns = space.parameter_types()
    for arm in space.arms:
        study, drawn = run(space, arm, n_trials=10)
        assert [trial.params for trial in study.trials] == drawn
        for parameters in drawn:
            assert {"loss", *ALWAYS_RECORDED} <= parameters.keys()
            assert {name: type(value) for name, value in parameters.items()} == {name: types[columns[name]] for name in parameters}
            assert arm.settings.items() <= parameters.items()


def test_a_draw_stays_within_its_range_and_on_its_steps():
    space = space_of(base(parameters=EVERYTHING, search={"sampler": "random"}))
    _, drawn = run(space, space.arms[0], n_trials=200)
    assert {one["momentum"] for one in drawn} == {0.0, 0.3, 0.6, 0.8999999999999999} or {round(one["momentum"], 6) for one in drawn} == {
        0.0,
        0.3,
        0.6,
        0.9,
    }
    assert {one["step_size"] for one in drawn} == {2, 4, 6, 8}
    assert {one["weight_decay"] for one in drawn} == {0.0, 1e-4}
    assert all(1e-4 <= one["learning_rate"] <= 1.0 for one in drawn)
    assert sum(one["learning_rate"] < 1e-2 for one in drawn) > 60, "the logarithm is uniform, so half lie below the geometric mean"
    assert {one["epsilon"] for one in drawn if "epsilon" in one} == {0.0, 0.5, 2.0}


def test_an_arm_without_a_free_parameter_is_planned_once():
    space = space_of(base(parameters={"loss": {"choices": ["l1", "mse"]}, "learning_rate": 0.1}, compare={"arms": "loss"}))
    assert [space.planned_trials(arm) for arm in space.arms] == [1, 1]
    assert run(space, space.arms[1], n_trials=1)[0].trials[0].params == {
        "loss": "mse", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0, "step_size": 1, "step_gamma": 1.0, "batch_size": 128,
    }  # fmt: skip


def test_a_fixed_configuration_can_be_enqueued_and_drawn_back():
    space = space_of(base(parameters=EVERYTHING))
    arm = space.arms[0]
    _, drawn = run(space, arm)
    study = optuna.create_study()
    for parameters in drawn:
        study.enqueue_trial(parameters)
    assert [draw(space, arm, study.ask()) for _ in drawn] == drawn
