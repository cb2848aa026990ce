# ruff: noqa: E501  one case a line
import pytest
from spaces import base, space_of

from sweeper.errors import SpaceError
from sweeper.records import TrainingSettings
from sweeper.space import Arm, FloatRange


def compared(*choices, **parameters):
    return base(parameters={"loss": {"choices": list(choices)}, "learning_rate": 0.1, **parameters}, compare={"arms": "loss"})


def message(data):
    with pytest.raises(SpaceError) as caught:
        space_of(data)
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


def test_every_choice_of_the_compared_parameter_is_an_arm():
    space = space_of(compared("l1", "focal", {"name": "focal_0.5", "loss": "focal", "gamma": 0.5}))
    assert space.arms == (
        Arm("l1", {"loss": "l1"}),
        Arm("focal", {"loss": "focal"}),
        Arm("focal_0.5", {"loss": "focal", "gamma": 0.5}),
    )


def test_without_a_compared_parameter_there_is_one_arm():
    assert space_of(base()).arms == (Arm("all", {}),)


def test_a_compared_constant_is_one_arm():
    assert space_of(base(parameters={"loss": "l1", "learning_rate": 0.1}, compare={"arms": "loss"})).arms == (Arm("l1", {"loss": "l1"}),)


def test_any_choices_can_be_compared():
    parameters = {"loss": "l1", "learning_rate": 0.1, "momentum": {"choices": [0, 0.9]}}
    arms = space_of(base(parameters=parameters, compare={"arms": "momentum"})).arms
    assert arms == (Arm("0.0", {"momentum": 0.0}), Arm("0.9", {"momentum": 0.9}))


def test_an_arm_can_have_a_learning_rate_range_of_its_own():
    own = {"low": 0.1, "high": 10.0, "log": True}
    space = space_of(compared("cross_entropy", {"name": "l1", "loss": "l1", "learning_rate": own}))
    plain, with_range = space.arms
    assert with_range.ranges == {"learning_rate": FloatRange(low=0.1, high=10.0, log=True)}
    assert [definition.name for definition in space.definitions(with_range) if definition.is_free] == ["learning_rate"]
    assert (space.planned_trials(plain), space.planned_trials(with_range)) == (1, 32)


@pytest.mark.parametrize(
    ("choices", "parameters", "expected"),
    [
        (["l1", {"name": "a", "loss": "l1"}], {}, ["[1]: arm 'a' has the same settings as arm 'l1'; two arms must differ"]),
        (["focal", {"name": "a", "loss": "focal", "gamma": 2}], {}, ["[1]: arm 'a' has the same settings as arm 'focal'; two arms must differ"]),
        (["l1", {"name": "a", "loss": "l1", "learning_rate": 0.1}], {}, ["[1]: arm 'a' has the same settings as arm 'l1'; two arms must differ"]),
        (["l1", {"name": "a", "loss": "l1", "momentum": 0.9}], {}, ["[1]: arm 'a' has the same settings as arm 'l1'; two arms must differ"]),
        (["l1", {"name": "l1", "loss": "focal"}], {}, ["[1].name: two arms have the same name, got 'l1'"]),
        (["l1", {"name": "a", "loss": "l1", "gamma": 2}], {}, ["[1].gamma: is a parameter of loss 'focal', not of loss 'l1'"]),
        (["l1", {"name": "a", "loss": "mse", "momntum": 1}], {}, ["[1].momntum: no parameter of loss 'mse' has this name; did you mean 'momentum'?"]),
        (["l1", {"name": "a", "loss": "focal", "gamma": "x"}], {}, ["[1].gamma: must be a number, got 'x'"]),
        (["l1", {"name": 3, "loss": "focal"}], {}, ["[1].name: must be text, got 3"]),
    ],
)  # fmt: skip
def test_arms_that_cannot_be_told_apart_or_trained_are_refused(choices, parameters, expected):
    assert message(compared(*choices, **parameters)) == [f"parameters.loss.choices{text}" for text in expected]


def test_arms_that_differ_in_a_free_parameter_only_are_two():
    gamma = {"low": 0.0, "high": 5.0, "when": {"loss": "focal"}}
    assert len(space_of(compared("focal", {"name": "focal_2", "loss": "focal", "gamma": 2}, gamma=gamma)).arms) == 2


def test_a_choice_with_settings_needs_to_be_compared():
    data = compared({"name": "a", "loss": "l1"}, "focal")
    del data["compare"]
    assert message(data) == ["parameters.loss.choices[0]: a choice with settings is an arm, which needs compare: {arms: loss}"]


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ("los", "compare.arms: no parameter is called 'los'; did you mean 'loss'?"),
        ("gamma", "compare.arms: gamma is a range; arms need {choices: [...]}"),
        ("momentum", "compare.arms: no parameter is called 'momentum'; known: gamma, learning_rate, loss"),
    ],
)
def test_only_choices_can_be_compared(arms, expected):
    assert message(base(compare={"arms": arms})) == [expected]


@pytest.mark.parametrize(
    "name", ["", " ", " a", "a ", ".", "..", "a/b", "a\\b", "CON", "nul", "com1.txt", "x" * 65, "a\nb", "a\x00b", "\u202eabc", "end."]
)
def test_a_name_that_is_not_fit_for_a_file_is_refused(name):
    (text,) = message(compared("l1", {"name": name, "loss": "focal"}))
    assert text.startswith("parameters.loss.choices[1].name: ")
    assert text.isprintable()


@pytest.mark.parametrize("name", ["größer", "focal γ=2", "a.b", "x" * 64, "-", "中文", "my_module:Loss"])
def test_a_printable_name_is_taken(name):
    assert space_of(compared("l1", {"name": name, "loss": "focal"})).arms[1].name == name


@pytest.mark.parametrize("name", ["", "../x", "/x", "a/b", "x" * 65, ".hidden", "-x", "a b", "nul", "COM1.x", "größe", "a\n", "x."])
def test_a_sweep_name_that_could_leave_the_results_folder_is_refused(name):
    (text,) = message(base(name=name))
    assert text.startswith("name: ")


def test_trials_of_two_arms_never_have_the_same_name():
    (text,) = message(compared("l1", {"name": "l1-confirm", "loss": "focal"}))
    assert text == "parameters.loss.choices[1].name: trials of arms 'l1' and 'l1-confirm' would have the same names; choose another"


def test_published_figures_belong_to_arms():
    data = compared("l1", "focal")
    data["compare"] |= {"reference": {"source": "a paper", "test_accuracy": {"l1": 0.1, "focl": 0.5, "focal": 1.5}}}
    assert message(data) == ["compare.reference.test_accuracy.focal: must be <= 1, got 1.5"]
    data["compare"]["reference"]["test_accuracy"]["focal"] = 0.6
    assert message(data) == ["compare.reference.test_accuracy.focl: no arm has this name; did you mean 'focal'?"]


def test_the_columns_of_all_parameters_are_typed():
    space = space_of(
        base(
            parameters={
                "loss": {"choices": ["l1", "focal", "losses_for_spaces:scaled", "losses_for_spaces:Tempered"]},
                "gamma": {"low": 0, "high": 5, "when": {"loss": "focal"}},
                "t1": {"low": 0, "high": 1, "when": {"loss": "losses_for_spaces:Tempered"}},
                "scale": {"choices": [1, 2], "when": {"loss": "losses_for_spaces:scaled"}},
                "learning_rate": {"choices": [1, 0.1]},
                "batch_size": {"type": "int", "low": 8, "high": 64, "log": True},
            },
            compare={"arms": "loss"},
        )
    )
    assert space.parameter_types() == {
        "loss": "string", "learning_rate": "float64", "batch_size": "int64", "momentum": "float64", "weight_decay": "float64",
        "step_size": "int64", "step_gamma": "float64", "gamma": "float64", "scale": "int64", "kind": "string", "t1": "float64",
        "t2": "float64", "smooth": "bool",
    }  # fmt: skip


def test_a_parameter_that_is_text_in_one_arm_and_a_number_in_another_is_refused():
    data = compared(
        {"name": "a", "loss": "losses_for_spaces:anything", "x": 1}, {"name": "b", "loss": "losses_for_spaces:anything", "x": "one"}
    )
    assert message(data) == ["parameters.x: holds numbers in one arm and text in another; one column cannot"]


def test_the_validation_split_decides_what_every_epoch_is_measured_on():
    space = space_of(base(dataset={"name": "cifar10"}))
    assert space.training_settings() == TrainingSettings("convnet", 9, "batch", "crop_flip", 5000, "validation")
    space = space_of(base(dataset={"name": "cifar10", "validation": "test"}))
    assert space.training_settings() == TrainingSettings("convnet", 9, "batch", "crop_flip", None, "test")


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ({"name": "synthetic", "validation": 10_000}, "dataset.validation: must be < 10000, the training images of 'synthetic', got 10000"),
        ({"name": "synthetic", "train_images": 100, "validation": 100}, "dataset.validation: must be < 100, the training images of 'synthetic', got 100"),
        ({"name": "synthetic", "validation": 9}, "dataset.validation: must be >= 10, an image of each class, got 9"),
        ({"name": "cifar10", "validation": 50_000}, "dataset.validation: must be < 50000, the training images of 'cifar10', got 50000"),
        ({"name": "cifar10", "validation": "tests"}, "dataset.validation: must be a whole number of images or 'test', got 'tests'"),
        ({"name": "cifar10", "validation": True}, "dataset.validation: must be a whole number of images or 'test', got true"),
        ({"name": "parquet"}, "dataset.data_dir: is missing: data set 'parquet' is read from a folder; write data_dir or give --data-dir"),
        ({"name": "imagefolder", "data_dir": "x"}, "dataset.validation: is missing"),
        ({"name": "synthetic", "data_dir": "x"}, "dataset.data_dir: data set 'synthetic' is generated and reads no folder, got 'x'"),
        ({"name": "cifar"}, "dataset.name: unknown data set 'cifar'; did you mean 'cifar10'?"),
        ("cifar10", "dataset: must be a mapping of keys to values, got 'cifar10'; write dataset: {name: cifar10}"),
        ({"name": "cifar10", "data_dir": ""}, "dataset.data_dir: must not be empty"),
    ],
)  # fmt: skip
def test_a_data_set_that_cannot_be_split_or_found_is_refused(dataset, expected):
    assert message(base(dataset=dataset)) == [expected]


@pytest.mark.parametrize("compare", [{}, {"arms": "batch_size"}])
@pytest.mark.parametrize("resources", [{}, {"pack": 1}, {"pack": 2}])
def test_batch_sizes_may_differ_whatever_the_pack(resources, compare):
    sizes = {"loss": "l1", "learning_rate": {"low": 0.01, "high": 0.1}, "batch_size": {"choices": [32, 64]}}
    assert space_of(base(parameters=sizes, resources=resources, compare=compare)).resources.pack == resources.get("pack", "auto")


@pytest.mark.parametrize(
    ("training", "parameters", "expected"),
    [
        ({"learning_rate": 0.1}, {}, "parameters.learning_rate: is set under training too, to 0.1; keep one of the two"),
        ({"step_size": 5}, {}, "training.step_size: does nothing without step_gamma; write both or neither"),
        ({}, {"step_gamma": {"low": 0.1, "high": 0.9}}, "parameters.step_gamma: does nothing without step_size; write both or neither"),
        ({"momentum": 1.5}, {}, "training.momentum: must be <= 1, got 1.5"),
        ({"batch_size": 0}, {}, "training.batch_size: must be >= 1, got 0"),
        ({"batch_size": 32.0}, {}, "training.batch_size: must be an integer, got 32.0"),
        ({"epochs": 0}, {}, "training.epochs: must be >= 1, got 0"),
        ({"weight_decay": -1}, {}, "training.weight_decay: must be >= 0, got -1.0"),
        ({"weight_decay": float("nan")}, {}, "training.weight_decay: must be a finite number, got nan"),
        (
            {"model": "resnet"},
            {},
            "training.model: unknown model 'resnet'; known: convnet; one of your own is written my_package.my_module:MyNet",
        ),
        ({"reduction": "mean"}, {}, "training.reduction: must be 'batch' or 'elements', got 'mean'"),
    ],
)
def test_training_that_contradicts_itself_or_its_limits_is_refused(training, parameters, expected):
    data = base(training=training)
    data["parameters"] |= parameters
    assert message(data) == [expected]


def test_the_definitions_of_an_arm_are_computed_once_and_change_no_comparison_of_spaces():
    space, same = space_of(base()), space_of(base())
    assert space.definitions(space.arms[0]) is space.definitions(space.arms[0])
    assert space == same
