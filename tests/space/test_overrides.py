import pytest
import yaml
from spaces import base

from sweeper.errors import SpaceError
from sweeper.space import as_override, parse_space

TEXT = yaml.safe_dump(base(), sort_keys=False)


def problems(*overrides):
    with pytest.raises(SpaceError) as caught:
        parse_space(TEXT, "test.yaml", overrides)
    return str(caught.value).splitlines()[1:]


def test_a_flag_replaces_any_field_with_a_yaml_value():
    space = parse_space(
        TEXT,
        "test.yaml",
        [
            "training.epochs=4",
            "parameters.learning_rate.low=1e-3",
            "seed=3",
            "parameters.step_size={type: int, low: 1, high: 4}",
            "training.step_gamma=0.5",
            "search.pruner=none",
        ],
    )
    assert (space.training.epochs, space.parameters["learning_rate"].low, space.seed) == (4, 1e-3, 3)
    assert space.parameters["step_size"].high == 4
    assert space.search.pruner.name == "none"


def test_the_last_of_two_flags_counts():
    assert parse_space(TEXT, "test.yaml", ["seed=3", "seed=4"]).seed == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=4", "--set training.epoch=4: unknown key; did you mean 'epochs'?"),
        ("training.epochs=", "--set training.epochs=: must be an integer, got nothing"),
        ("training.epochs=-1", "--set training.epochs=-1: must be >= 1, got -1"),
        ("epochs", "--set epochs: must be written key=value, for example training.epochs=4"),
        (".epochs=1", "--set .epochs=1: must be written key=value, for example training.epochs=4"),
        (
            "name=[",
            "--set name=[: the value is not valid YAML: expected the node content, but found '<stream end>' (while parsing a flow node)",
        ),
        ("parameters.learning_rate.low=2", "--set parameters.learning_rate.low=2: low must be < high, got low 2.0 and high 1.0"),
        (
            "parameters.learning_rate={low: 0.1, high: 1, log: yes}",
            "--set parameters.learning_rate={low: 0.1, high: 1, log: yes}: log: must be true or false, got 'yes'",
        ),
        ("name.x=1", "--set name.x=1: name is 'base' and has no keys; set it as a whole"),
        ("training.epochs.x=1", "--set training.epochs.x=1: training.epochs is 9 and has no keys; set it as a whole"),
        (
            "parameters.gama=1",
            "--set parameters.gama=1: no parameter of the losses 'cross_entropy' and 'focal' has this name; did you mean 'gamma'?",
        ),
        ("name=\x1b[31m", "--set name=\\x1b[31m: the value is not valid YAML: character U+001B is not allowed"),
    ],
)
def test_a_wrong_flag_is_named_in_the_refusal(override, message):
    (line,) = problems(override)
    assert line.strip() == message


def test_all_wrong_flags_are_told_at_once_beside_the_mistakes_of_the_file():
    text = TEXT.replace("epochs: 9", "epochs: 9\n  momentm: 0.9")
    with pytest.raises(SpaceError) as caught:
        parse_space(text, "test.yaml", ["seed=x", "nope=1"])
    assert [problem.key for problem in caught.value.problems] == ["--set nope=1", "--set seed=x", "training.momentm"]


def test_a_flag_takes_the_blame_of_the_line_that_it_replaces():
    (line,) = problems("parameters.gamma={low: 3, high: 1, when: {loss: focal}}")
    assert line.strip() == "--set parameters.gamma={low: 3, high: 1, when: {loss: focal}}: low must be < high, got low 3.0 and high 1.0"


@pytest.mark.parametrize("folder", ["1e5", "true", "~", "a: b", "[x", "Größe", "a\\b", "'", "# no comment"])
def test_a_folder_with_any_name_can_be_given(folder):
    overrides = [as_override("dataset.name", "parquet"), as_override("dataset.data_dir", folder)]
    assert parse_space(TEXT, "test.yaml", overrides).dataset.data_dir == folder
