"""Values that could be read, and that no sweep could be run with."""

import pytest
from spaces import base, space_of

from sweeper.errors import SpaceError
from sweeper.space import parse_space

FOLDER = {"name": "parquet", "data_dir": "images"}


def refusal(**sections):
    with pytest.raises(SpaceError) as caught:
        space_of(base(**sections))
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


@pytest.mark.parametrize("mean", [[125.3, 123.0, 113.9], [-0.1, 0.5, 0.5], [0.5, 0.5], 0.5, [0.5, 0.5, float("nan")]])
def test_means_are_those_of_pixels_from_0_to_1(mean):
    (message,) = refusal(dataset={**FOLDER, "mean": mean})
    assert message.startswith("dataset.mean: must be three numbers from 0 to 1, one per channel of pixels from 0 to 1, got ")


@pytest.mark.parametrize("std", [[63.0, 62.1, 66.7], [0.0, 0.2, 0.2], [1e-320, 0.2, 0.2]])
def test_deviations_are_those_of_pixels_from_0_to_1_and_can_be_divided_by(std):
    (message,) = refusal(dataset={**FOLDER, "std": std})
    assert message.startswith("dataset.std: must be three numbers from 0.001 to 1, one per channel of pixels from 0 to 1, got ")


@pytest.mark.parametrize("name", ["cifar10", "synthetic"])
def test_images_of_one_size_are_not_resized(name):
    assert refusal(dataset={"name": name, "image_size": 64}) == [
        f"dataset.image_size: only data sets 'parquet' and 'imagefolder' have this key, and this is '{name}'"
    ]


def test_nothing_written_for_the_number_of_images_is_the_default():
    space = space_of(base(dataset={"name": "synthetic", "train_images": None, "test_images": None}))
    assert (space.dataset.train_images, space.dataset.test_images) == (10_000, 2_000)


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"cpus_per_trial": 5e-324}, "resources.cpus_per_trial: must be >= 0.01, got 5e-324"),
        ({"gpus_per_trial": 5e-324}, "resources.gpus_per_trial: must be 0 or >= 0.01, got 5e-324"),
        ({"gpus_per_trial": 1.5}, "resources.gpus_per_trial: must be a share of one GPU or a whole number of GPUs, got 1.5"),
    ],
)
def test_a_trial_occupies_no_less_than_ray_can_share(resources, message):
    assert refusal(resources=resources) == [message]


def test_a_reference_names_its_source_and_an_arm():
    assert refusal(compare={"arms": "loss", "reference": {"source": "", "test_accuracy": {}}}) == [
        "compare.reference.source: must not be empty",
        "compare.reference.test_accuracy: must not be empty",
    ]


def test_what_all_trials_share_is_no_parameter():
    parameters = {"loss": "l1", "learning_rate": 0.1, "epochs": {"type": "int", "low": 2, "high": 9}}
    assert refusal(parameters=parameters) == ["parameters.epochs: all trials share it: write epochs under training"]


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ({"width": 1}, "unknown key 'width'; known: choices, value, low, high"),
        ({"min": 0.1, "width": 1.0}, "unknown key 'min'; did you mean 'low'?"),
        ({"width": 1, "choises": [0.1]}, "unknown key 'choises'; did you mean 'choices'?"),
    ],
)
def test_a_parameter_of_no_known_form_is_told_by_a_key_that_is_not_known(written, hint):
    parameters = {"loss": "l1", "learning_rate": written}
    assert refusal(parameters=parameters) == [f"parameters.learning_rate: needs low and high, choices, or value ({hint})"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# nothing\n", "           a space file is a mapping of keys to values, it is empty; it needs name, dataset and parameters"),
        ("\n- name: x\n", "  line 2   a space file is a mapping of keys to values, got a list"),
    ],
)
def test_what_is_no_mapping_is_refused_at_its_line(text, message):
    with pytest.raises(SpaceError) as caught:
        parse_space(text, "mine.yaml")
    assert str(caught.value).splitlines()[-1].split() == message.split()


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("training", "epochs", "3", "must be an integer, got '3'; write 3 without quotes"),
        ("training", "epochs", "three", "must be an integer, got 'three'"),
        ("training", "momentum", "0.9", "must be a number, got '0.9'; write 0.9 without quotes"),
        ("training", "momentum", "0,9", "must be a number, got '0,9'; write 0.9"),
        ("training", "augment", "yes", "must be one of none, flip, crop_flip, cutout, randaugment, got 'yes'; write true"),
        ("training", "augment", "off", "must be one of none, flip, crop_flip, cutout, randaugment, got 'off'; write false"),
        ("training", "augment", "true", "must be one of none, flip, crop_flip, cutout, randaugment, got 'true'; write true without quotes"),
        ("dataset", "validation", 0.1, "must be a whole number of images or 'test', got 0.1"),
        ("search", "pruner", False, "must be a name or {name: ..., options}, got false; to prune nothing write none"),
        ("search", "pruner", None, "must be a name or {name: ..., options}, got nothing; to prune nothing write none"),
    ],
)
def test_a_value_that_looks_like_what_is_needed_is_told_how_to_write_it(section, key, value, message):
    data = base(**{section: {**({"name": "synthetic"} if section == "dataset" else {}), key: value}})
    assert refusal(**{section: data[section]}) == [f"{section}.{key}: {message}"]


@pytest.mark.parametrize(
    ("learning_rate", "message"),
    [
        ("'0.1'", "parameters.learning_rate: must be a number, got '0.1'; write 0.1 without quotes"),
        ("{low: 0.1, high: 0,5}", "parameters.learning_rate.5: unknown key; numbers have a decimal point: 0.001"),
    ],
)
def test_quotes_and_decimal_commas_are_told_as_such(learning_rate, message):
    with pytest.raises(SpaceError) as caught:
        parse_space(f"name: x\ndataset: {{name: synthetic}}\nparameters: {{loss: l1, learning_rate: {learning_rate}}}\n", "mine.yaml")
    assert message in [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


def test_a_choice_of_losses_in_other_words_is_written_out_in_ours():
    parameters = {"loss": "tune.choice(['l1', 'focal'])", "learning_rate": 0.1}
    assert refusal(parameters=parameters) == ["parameters.loss: is written {choices: [l1, focal]} here, got 'tune.choice(['l1', 'focal'])'"]


@pytest.mark.parametrize("text", ["name:x\ndataset: {name: synthetic}\n", "name: x\n seed: 1\n"])
def test_a_missing_space_and_an_indentation_too_deep_are_suspected(text):
    with pytest.raises(SpaceError, match="a colon too many; is the line indented too deep, a space missing after the colon of the line"):
        parse_space(text, "mine.yaml")


RATES = {"low": 1e-3, "high": 1.0, "log": True}


@pytest.mark.parametrize(
    ("training", "parameters", "message"),
    [
        (
            {"label_smoothing": 0.1},
            {"loss": "label_smoothing"},
            "training.label_smoothing: loss label_smoothing smooths by its own parameter smoothing; keep one of the two",
        ),
        (
            {},
            {"loss": {"choices": ["l1", {"name": "twice", "loss": "label_smoothing", "label_smoothing": 0.1}]}},
            "parameters.loss.choices[1].label_smoothing: loss label_smoothing smooths by its own parameter smoothing; keep one of the two",
        ),
        (
            {},
            {"loss": {"choices": ["l1", "losses_for_spaces:other_gamma"]}, "label_smoothing": {"low": 0.0, "high": 0.2}},
            (
                "parameters.label_smoothing: loss 'losses_for_spaces:other_gamma' is given labels, and no targets to be smoothed; "
                "let it take label_smoothing, or leave this out"
            ),
        ),
    ],
)
def test_targets_are_smoothed_where_a_loss_has_them_and_once(training, parameters, message):
    assert refusal(training=training, parameters={**parameters, "learning_rate": RATES}, compare={"arms": "loss"}) == [message]


@pytest.mark.parametrize(
    ("loss", "smoothing"),
    [("label_smoothing", 0.0), ("torch.nn:CrossEntropyLoss", 0.1), ("torch.nn:CrossEntropyLoss", {"low": 0.0, "high": 0.3}), ("mae", 1.0)],
)
def test_targets_that_can_be_smoothed_are(loss, smoothing):
    parameters = {"loss": {"choices": ["cross_entropy", loss]}, "learning_rate": RATES, "label_smoothing": smoothing}
    space_of(base(parameters=parameters, compare={"arms": "loss"}))
