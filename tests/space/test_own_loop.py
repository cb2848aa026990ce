"""A space with a training loop of the user's own: every parameter is the loop's, and keys that would do nothing are refused."""

import sys

import pytest
from spaces import base, space_of

from sweeper.errors import SpaceError
from sweeper.metrics import metric_of
from sweeper.space import check_warnings, dump_space, parse_space, parse_stored_space

LOOP = "loops_of_a_user:small"


def with_loop(path=LOOP, **sections):
    training = {"loop": path, "epochs": 3, **sections.pop("training", {})}
    parameters = {"optimizer": {"choices": ["adamw", "sgd"]}, "rate": {"low": 1e-4, "high": 1.0, "log": True}}
    return base(**{"training": training, "parameters": parameters, "compare": {"arms": "optimizer"}, **sections})


def message(data, **options):
    with pytest.raises(SpaceError) as caught:
        space_of(data, **options)
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


def test_any_parameter_may_be_compared_and_no_loss_or_learning_rate_is_needed():
    space = space_of(with_loop())
    assert [arm.name for arm in space.arms] == ["adamw", "sgd"]
    assert {one.name for one in space.definitions(space.arms[0])} == {"optimizer", "rate"}
    assert space.parameter_types() == {"optimizer": "string", "rate": "float64"}
    assert space.custom_code == (LOOP,)
    settings = space.training_settings()
    assert (settings.loop, settings.metric, settings.own_metrics) == (LOOP, "val_accuracy", ())
    assert not any("learning_rate" in warning for warning in check_warnings(space))


def test_names_of_the_engine_mean_what_the_loop_takes_them_for():
    parameters = {
        "loss": {"choices": ["mine", "yours"]},
        "learning_rate": {"choices": ["auto", "none"]},
        "batch_size": {"low": 0.5, "high": 2.0},
        "momentum": {"value": 0.5, "when": {"loss": "mine"}},
        "schedule": {"low": 1, "high": 5, "type": "int"},
    }
    space = space_of(with_loop(parameters=parameters, compare={"arms": "loss"}))
    assert space.parameter_types() == {
        "loss": "string",
        "learning_rate": "string",
        "batch_size": "float64",
        "momentum": "float64",
        "schedule": "int64",
    }
    mine, yours = ({one.name for one in space.definitions(arm)} for arm in space.arms)
    assert mine - yours == {"momentum"}


def test_arms_have_settings_and_ranges_of_their_own():
    choices = [
        {"name": "slow", "optimizer": "sgd", "rate": {"low": 0.1, "high": 1.0}},
        {"name": "fast", "optimizer": "adamw", "rate": 0.01},
    ]
    space = space_of(with_loop(parameters={"optimizer": {"choices": choices}}))
    assert [[one.is_free for one in space.definitions(arm)] for arm in space.arms] == [[False, True], [False, False]]


def test_what_is_dumped_reads_back_and_holds_no_key_that_does_nothing():
    metrics = {"f1": {"unit": "fraction", "maximize": True, "doc": "F1 {of} all"}}
    space = space_of(with_loop(training={"metrics": metrics}, search={"metric": "val_f1"}))
    text = dump_space(space)
    assert parse_space(text, "dumped") == space
    assert parse_stored_space(text, "dumped") == space
    assert "model" not in text
    assert "batch_size" not in text


def test_a_metric_of_the_users_own_is_declared_with_unit_and_direction():
    metrics = {"f1": {"unit": "fraction", "maximize": True, "doc": "F1 {of} all"}, "cost": {"unit": "s", "maximize": False}}
    space = space_of(with_loop(training={"metrics": metrics}, search={"metric": "val_f1"}))
    assert space.training_settings().own_metrics == ("f1", "cost")
    f1, cost = metric_of("val_f1"), metric_of("test_cost")
    assert (f1.maximize, f1.is_fraction, f1.least, f1.most, f1.test_doc) == (True, True, 0.0, 1.0, "F1 {of} all on the test split")
    assert (cost.maximize, cost.unit, cost.val_doc) == (False, "s", "cost on the validation split")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("F1", "a metric's name is 1 to 40 small letters, digits and '_', the first a letter, got 'F1'"),
        (
            "accuracy",
            (
                "is no name for a metric of your own: accuracy is computed anyway, or taken from what the loop gives under this name; "
                "leave it out, or choose another name"
            ),
        ),
        ("f1_scaled", "is no name for a metric of your own: the end is taken; leave it out, or choose another name"),
    ],
)
def test_a_name_that_no_column_can_have_is_refused(name, said):
    (found,) = message(with_loop(training={"metrics": {name: {"maximize": True}}}))
    assert found.partition(": ")[2] == said


def test_metrics_are_complete_and_known_and_a_loops():
    assert message(with_loop(training={"metrics": {"f1": {"unit": "fraction"}}})) == ["training.metrics.f1.maximize: is missing"]
    declared = "one of your own is declared under training.metrics"
    (found,) = message(with_loop(search={"metric": "val_f1"}))
    assert found.startswith(f"search.metric: unknown metric 'val_f1'; {declared}; ")
    (found,) = message(base(training={"metrics": {"f1": {"maximize": True}}}))
    assert found == "training.metrics: only a training loop of your own gives metrics of your own: write training.loop, or leave it out"


def test_keys_that_do_nothing_beside_a_loop_are_refused():
    training = {"model": "convnet", "reduction": "batch", "augment": True, "batch_size": 64}
    nothing = "does nothing beside training.loop, which trains as it likes: leave it out"
    given = "training.loop is handed what is under parameters, and nothing else: write it there"
    assert sorted(message(with_loop(training=training, resources={"backend": "operators"}))) == sorted(
        [
            "resources.backend: does nothing beside training.loop: leave it out, got 'operators'",
            *(f"training.{name}: {given if name == 'batch_size' else nothing}" for name in training if name != "augment"),
            *(each for each in message(with_loop(training=training)) if each.startswith("training.augment: ")),
        ]
    )


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("loops_of_a_user.small", "a training loop of your own is written my_package.my_module:train, got 'loops_of_a_user.small'"),
        ("no_such_module:train", "cannot import 'no_such_module:train': ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "loops_of_a_user:no_generator",
            (
                "'loops_of_a_user:no_generator' is no generator function: a training loop takes the trial, yields its metrics after every "
                "epoch, and returns those on the test split"
            ),
        ),
        (
            "loops_of_a_user:two_arguments",
            (
                "'loops_of_a_user:two_arguments' must take one argument, the trial, and takes (trial, learning_rate): "
                "what is tuned is in trial.parameters"
            ),
        ),
        (
            "loops_of_a_user:no_arguments",
            "'loops_of_a_user:no_arguments' must take one argument, the trial, and takes (nothing): what is tuned is in trial.parameters",
        ),
        ("os:system", "'os:system' is of Python's standard library, which holds no loss and no model"),
    ],
)
def test_a_loop_that_cannot_be_had_is_refused_with_the_reason(path, said):
    assert message(with_loop(path)) == [f"training.loop: {said}"]


def test_a_loop_may_have_options_with_defaults():
    assert space_of(with_loop("loops_of_a_user:of_options")).training.loop == "loops_of_a_user:of_options"


def test_a_loop_is_neither_run_nor_imported_where_code_of_the_users_own_is_refused():
    sys.modules.pop("broken_module_for_spaces", None)
    (found,) = message(with_loop("broken_module_for_spaces:train"), allow_custom_code=False)
    assert found == "training.loop: 'broken_module_for_spaces:train' is code of your own, which --no-custom-code refuses to run"
    assert "broken_module_for_spaces" not in sys.modules


def test_values_of_a_loss_of_its_own_can_be_compared_unless_losses_are_the_arms():
    assert space_of(with_loop()).is_comparable("val_loss")
    losses = {"loss": {"choices": ["mine", "yours"]}}
    assert not space_of(with_loop(parameters=losses, compare={"arms": "loss"})).is_comparable("val_loss")
