import itertools

import optuna
import pytest
from spaces import base, space_of

from sweeper.errors import SpaceError
from sweeper.studies.optuna_parts import draw


def params(**parameters):
    return base(parameters={"learning_rate": 0.1, **parameters})


def message(data):
    with pytest.raises(SpaceError) as caught:
        space_of(data)
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("loss", "momentum", "expected"),
    [
        ("focal", 0.9, {"gamma"}),
        ("focal", 0.5, set()),
        ("poly1", 0.9, {"epsilon"}),
        ("poly1", 0.5, {"epsilon"}),
        ("l1", 0.9, set()),
        ("l1", 0.5, set()),
    ],
)
def test_a_parameter_is_drawn_exactly_where_all_of_its_conditions_hold(loss, momentum, expected):
    space = space_of(
        params(
            loss={"choices": ["focal", "poly1", "l1"]},
            momentum={"choices": [0.5, 0.9]},
            gamma={"low": 0.0, "high": 5.0, "when": {"loss": "focal", "momentum": 0.9}},
            epsilon={"low": 0.0, "high": 5.0, "when": {"loss": ["poly1"]}},
        )
    )
    study = optuna.create_study()
    study.enqueue_trial({"loss": loss, "momentum": momentum})
    drawn = draw(space, space.arms[0], study.ask())
    assert drawn.keys() - {"loss", "learning_rate", "momentum", "weight_decay", "step_size", "step_gamma", "batch_size"} == expected


def test_the_order_of_the_file_does_not_matter_for_conditions():
    parameters = {
        "gamma": {"low": 0.0, "high": 5.0, "when": {"loss": "focal", "batch_size": [32, 64]}},
        "batch_size": {"choices": [32, 64, 128]},
        "loss": {"choices": ["focal", "l1"]},
        "learning_rate": 0.1,
    }
    for order in itertools.permutations(parameters):
        space = space_of(base(parameters={name: parameters[name] for name in order}))
        for seed in range(5):
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
            drawn = draw(space, space.arms[0], study.ask())
            assert ("gamma" in drawn) == (drawn["loss"] == "focal" and drawn["batch_size"] in (32, 64))


def test_a_condition_on_a_chain_of_conditions_reaches_the_loss():
    space = space_of(
        params(
            loss={"choices": ["focal", "losses_for_spaces:scaled"]},
            kind={"choices": ["plain", "fancy"], "when": {"loss": "losses_for_spaces:scaled"}},
            scale={"type": "int", "low": 1, "high": 3, "when": {"kind": "fancy"}},
            gamma={"low": 0.0, "high": 5.0, "when": {"loss": "focal"}},
        )
    )
    seen = set()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    for _ in range(40):
        drawn = draw(space, space.arms[0], study.ask())
        seen.add((drawn["loss"] == "focal", "gamma" in drawn, "kind" in drawn, "scale" in drawn, drawn.get("kind")))
    assert seen == {(True, True, False, False, None), (False, False, True, False, "plain"), (False, False, True, True, "fancy")}


LOSSES = {"choices": ["l1", "focal", "poly1"]}
RANGE = {"low": 0.0, "high": 5.0}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"gamma": RANGE}, ["parameters.gamma: only loss 'focal' has this parameter; add when: {loss: focal}"]),
        ({"gamma": 2}, ["parameters.gamma: only loss 'focal' has this parameter; write {value: ..., when: {loss: focal}}"]),
        ({"gamma": {**RANGE, "when": {"loss": "l1"}}}, ["parameters.gamma: is a parameter of loss 'focal', not of loss 'l1'"]),
        ({"gamma": {**RANGE, "when": {"loss": ["l1", "focal"]}}}, ["parameters.gamma.when.loss: 'l1' has no parameter 'gamma'"]),
        ({"gamma": {**RANGE, "when": {"loss": "focl"}}}, ["parameters.gamma.when.loss: loss is never 'focl'; did you mean 'focal'?"]),
        ({"gamma": {**RANGE, "when": {"los": "focal"}}}, ["parameters.gamma.when.los: no parameter has this name; did you mean 'loss'?"]),
        ({"gamma": {**RANGE, "when": {"loss": "focal", "gamma": 1}}}, ["parameters.gamma.when.gamma: a parameter cannot depend on itself"]),
        (
            {"gamma": {**RANGE, "when": {}}},
            ["parameters.gamma.when: must name a parameter and its value, as in {loss: focal}, got a mapping"],
        ),
        (
            {"gamma": {**RANGE, "when": "focal"}},
            ["parameters.gamma.when: must name a parameter and its value, as in {loss: focal}, got 'focal'"],
        ),
        (
            {"gamma": {**RANGE, "when": {"loss": "focal", "momentum": True}}, "momentum": {"choices": [0.0, 1.0]}},
            ["parameters.gamma.when.momentum: momentum is never true; known: 0.0, 1.0"],
        ),
        (
            {"momentum": {"choices": [0.1, 0.9], "when": {"loss": "l1"}}},
            ["parameters.momentum.when: every trial needs momentum: it cannot have a condition; give single arms a setting of their own"],
        ),
        (
            {"optimizer": {"choices": ["sgd", "adamw"]}, "momentum": {"choices": [0.1, 0.9], "when": {"loss": "l1"}}},
            ["parameters.momentum.when: it exists beside optimizer sgd alone; leave this out, or give single arms a setting of their own"],
        ),
        (
            {"beta": 3},
            ["parameters.beta: no parameter of the losses 'l1', 'focal' and 'poly1' has this name; did you mean 'beta2'?"],
        ),
    ],
)
def test_a_condition_that_cannot_be_met_or_is_needed_is_refused(parameters, expected):
    assert message(params(loss=LOSSES, **parameters)) == expected


def test_an_integer_in_a_condition_finds_the_real_number():
    space = space_of(params(loss="focal", momentum={"choices": [0, 0.5]}, gamma={**RANGE, "when": {"momentum": 0}}))
    assert space.parameters["gamma"].when == {"momentum": (0.0,)}


def test_a_cycle_is_told_once_whatever_its_length():
    data = params(
        loss="losses_for_spaces:anything",
        a={"choices": [1, 2], "when": {"loss": "losses_for_spaces:anything", "c": 1}},
        b={"choices": [1, 2], "when": {"loss": "losses_for_spaces:anything", "a": 1}},
        c={"choices": [1, 2], "when": {"loss": "losses_for_spaces:anything", "b": 1}},
        d={"choices": [1, 2], "when": {"loss": "losses_for_spaces:anything", "c": 1}},
    )
    assert message(data) == ["parameters.a.when: conditions form a cycle: a -> c -> b -> a"]


def test_a_loss_whose_own_parameter_the_file_leaves_out_gets_its_default():
    space = space_of(params(loss={"choices": ["focal", "label_smoothing", "l1"]}))
    own = set()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    for _ in range(30):
        drawn = draw(space, space.arms[0], study.ask())
        own.add((drawn["loss"], drawn.get("gamma"), drawn.get("smoothing")))
    assert own == {("focal", 2.0, None), ("label_smoothing", None, 0.1), ("l1", None, None)}
