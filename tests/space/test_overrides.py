from pathlib import Path

import pytest
import yaml
from spaces import base

from sweeper.errors import SpaceError
from sweeper.space import as_override, check_warnings, dump_space, parse_space

TEXT = yaml.safe_dump(base(), sort_keys=False)
FOCAL = (Path(__file__).parents[2] / "search_spaces" / "focal.yaml").read_text()


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
            "--set parameters.learning_rate={low: 0.1, high: 1, log: yes}: log: must be true or false, got 'yes'; write true",
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


@pytest.mark.parametrize("override", ["parameters.loss=cross_entropy", "parameters.loss.choices=[l1, mae]"])
def test_a_parameter_whose_condition_an_override_makes_impossible_is_left_out_with_a_warning(override):
    space = parse_space(FOCAL, "focal.yaml", [override])
    assert "gamma" not in space.parameters
    assert check_warnings(space)[0] == f"parameters.gamma is left out: with --set {override} its condition loss: focal cannot hold"
    assert parse_space(dump_space(space), "sweep.yaml") == space


@pytest.mark.parametrize("override", ["parameters.loss=focal", "parameters.loss.choices=[l1, {name: f, loss: focal}]", "seed=3"])
def test_a_parameter_whose_condition_can_hold_stays(override):
    space = parse_space(FOCAL, "focal.yaml", [override])
    assert "gamma" in space.parameters
    assert space.remarks == ()


def test_what_depends_on_a_parameter_that_is_left_out_is_left_out_too():
    parameters = {
        "loss": {"choices": ["l1", "focal"]},
        "gamma": {"choices": [1.0, 2.0], "when": {"loss": "focal"}},
        "learning_rate": 0.1,
        "extra": {"value": 1.0, "when": {"gamma": 2.0}},
    }
    space = parse_space(yaml.safe_dump(base(parameters=parameters)), "test.yaml", ["parameters.loss=l1"])
    assert space.parameters.keys() == {"loss", "learning_rate"}
    assert [remark.partition(" is")[0] for remark in space.remarks] == ["parameters.gamma", "parameters.extra"]


def test_what_the_command_line_asks_for_is_never_left_out():
    line = 1 + next(number for number, text in enumerate(TEXT.splitlines()) if text.strip() == "loss: focal")
    assert problems("parameters.loss=l1", "parameters.gamma.high=3.0") == [
        f"  line {line}  parameters.gamma.when.loss: loss is never 'focal'; known: l1"
    ]


def test_a_misspelt_loss_is_the_only_problem_that_it_makes():
    assert problems("parameters.loss=focall") == ["           --set parameters.loss=focall: unknown loss 'focall'; did you mean 'focal'?"]


def test_wrong_points_of_a_grid_are_one_problem():
    (problem,) = problems("search.sampler={name: grid, points: 1}", "search.pruner=successive_halving")
    assert problem.endswith("points: must be >= 2, got 1")
