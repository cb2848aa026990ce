"""The optimiser, its schedule and the rest of a recipe in a space file: as constants, tuned, and as arms."""

import pytest
from spaces import base, space_of

from sweeper.errors import SpaceError
from sweeper.space import dump_space, parse_space

RATE = {"low": 1e-3, "high": 1.0, "log": True}


def recipe(training=None, compare=None, **parameters):
    return base(
        training={"epochs": 9, **(training or {})},
        parameters={"loss": "cross_entropy", "learning_rate": RATE, **parameters},
        compare=compare or {"searches": 1},
    )


def refusal(data):
    with pytest.raises(SpaceError) as caught:
        space_of(data)
    return {problem.key: problem.message for problem in caught.value.problems}


def names(space):
    return {arm.name: [definition.name for definition in space.definitions(arm)] for arm in space.arms}


def test_a_silent_file_has_the_parameters_of_sgd_and_step_lr_and_records_no_others():
    assert names(space_of(recipe())) == {
        "all": ["loss", "learning_rate", "momentum", "weight_decay", "step_size", "step_gamma", "batch_size"]
    }


def test_an_optimiser_and_a_schedule_have_their_own_parameters_and_not_those_of_others():
    (found,) = names(space_of(recipe({"optimizer": "adamw", "beta2": 0.99, "schedule": "cosine", "warmup_epochs": 2}))).values()
    assert set(found) == {"loss", "learning_rate", "weight_decay", "batch_size", "optimizer", "beta2", "schedule", "warmup_epochs"}


@pytest.mark.parametrize("training", [{"optimizer": "adamw", "schedule": "cosine"}, {"schedule": "linear", "nesterov": True}, {}])
def test_a_space_with_a_recipe_survives_being_written_and_read(training):
    space = space_of(recipe(training))
    again = parse_space(dump_space(space), "dumped")
    assert again == space
    assert again.definitions_by_arm == space.definitions_by_arm


def test_arms_may_differ_in_the_optimiser_each_with_settings_of_its_own():
    sgd = {"name": "sgd", "optimizer": "sgd", "nesterov": True}
    adamw = {"name": "adamw", "optimizer": "adamw", "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
    space = space_of(recipe(optimizer={"choices": [sgd, adamw]}, compare={"arms": "optimizer"}))
    found = names(space)
    assert {"momentum", "nesterov"} <= set(found["sgd"])
    assert not {"momentum", "nesterov"} & set(found["adamw"])
    assert space.parameter_types()["nesterov"] == "bool"
    assert space.parameter_types()["optimizer"] == "string"


def test_a_tuned_optimiser_decides_in_each_trial_which_parameters_exist():
    space = space_of(recipe(optimizer={"choices": ["sgd", "adamw"]}, beta1={"low": 0.8, "high": 0.95}))
    (definitions,) = (space.definitions(arm) for arm in space.arms)
    conditions = {each.name: dict(each.when) for each in definitions}
    assert conditions["momentum"] == {"optimizer": ("sgd",)}
    assert conditions["beta1"] == {"optimizer": ("adamw",)}
    assert conditions["weight_decay"] == {}


@pytest.mark.parametrize(("written", "policy"), [(True, "crop_flip"), (False, "none"), ("randaugment", "randaugment")])
def test_augmentation_is_a_name_or_true_or_false(written, policy):
    assert space_of(recipe({"augment": written})).training_settings().augment == policy


@pytest.mark.parametrize(
    ("training", "parameters", "expected"),
    [
        (
            {"optimizer": "adamw", "momentum": 0.8},
            {},
            {"training.momentum": "does nothing beside optimizer 'adamw': it belongs to optimizer sgd"},
        ),
        ({}, {"beta1": 0.8}, {"parameters.beta1": "does nothing beside optimizer 'sgd': it belongs to optimizer adamw"}),
        (
            {"schedule": "cosine", "step_size": 3, "step_gamma": 0.5},
            {},
            {
                "training.step_size": "does nothing beside schedule 'cosine': it belongs to schedule step",
                "training.step_gamma": "does nothing beside schedule 'cosine': it belongs to schedule step",
            },
        ),
        ({"warmup_epochs": 9}, {}, {"training.warmup_epochs": "must be < training.epochs, which is 9, got 9"}),
        (
            {},
            {"warmup_epochs": {"type": "int", "low": 1, "high": 12}},
            {"parameters.warmup_epochs": "must be < training.epochs, which is 9, got 12"},
        ),
        ({"optimizer": "rmsprop"}, {}, {"training.optimizer": "must be one of sgd, adamw, got 'rmsprop'"}),
        ({}, {"schedule": {"choices": ["cosine", "poly"]}}, {"parameters.schedule.choices[1]": None}),
        ({"nesterov": 1}, {}, {"training.nesterov": "must be true or false, got 1"}),
        (
            {"gradient_clip": 1.0},
            {"gradient_clip": {"low": 0.1, "high": 2.0}},
            {"parameters.gradient_clip": "is set under training too, to 1.0; keep one of the two"},
        ),
    ],
)
def test_what_does_nothing_or_cannot_be_is_refused(training, parameters, expected):
    found = refusal(recipe(training, **parameters))
    assert found.keys() == expected.keys()
    for key, message in expected.items():
        assert message is None or found[key] == message


def test_a_setting_of_an_arm_that_does_nothing_beside_its_optimiser_is_refused():
    adamw = {"name": "adamw", "optimizer": "adamw", "momentum": 0.8}
    found = refusal(recipe(optimizer={"choices": ["sgd", adamw]}, compare={"arms": "optimizer"}))
    assert found == {"parameters.optimizer.choices[1].momentum": "does nothing beside optimizer 'adamw': it belongs to optimizer sgd"}
