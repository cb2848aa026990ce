import sys

import pytest
import yaml
from spaces import base, space_of

from sweeper.errors import SpaceError
from sweeper.space import dump_space, parse_space, parse_stored_space

NET = "models_for_spaces:Net"
ARGUMENTS = "n_classes, num_classes, height, width"


def with_model(path):
    return base(training={"epochs": 9, "model": path})


def message(data, **options):
    with pytest.raises(SpaceError) as caught:
        space_of(data, **options)
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


def test_a_model_of_the_users_own_is_kept_by_its_path():
    space = space_of(with_model(NET))
    assert space.training_settings().model == NET
    assert space.custom_code == (NET,)
    assert parse_space(dump_space(space), "dumped") == space


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("no_such_module:Net", "cannot import 'no_such_module:Net': ModuleNotFoundError: No module named 'no_such_module'"),
        ("models_for_spaces:NOT_A_MODEL", "'models_for_spaces:NOT_A_MODEL' is not a class or function but int"),
        (
            "models_for_spaces:READY_MADE",
            "'models_for_spaces:READY_MADE' is a module that is built already; name the class, or a function that builds one",
        ),
        (
            "models_for_spaces:deep",
            (
                "model 'models_for_spaces:deep' needs 'depth', which has no default: write it there, {path: models_for_spaces:deep, "
                "depth: ...}, or under parameters"
            ),
        ),
        (
            "models_for_spaces:positional",
            "'models_for_spaces:positional' takes 'n_classes' by position only; a model is given its arguments by name",
        ),
        ("models_for_spaces:NoModule", "'models_for_spaces:NoModule' is a class that does not derive from torch.nn.Module"),
        (
            "models_for_spaces:of_nothing",
            f"'models_for_spaces:of_nothing' is a function that takes none of {ARGUMENTS}, so that it builds no model for a data set",
        ),
        ("models_for_spaces.Net", "a model of your own is written my_package.my_module:MyNet, got 'models_for_spaces.Net'"),
        ("models:Net()", "a model of your own is written my_package.my_module:MyNet, got 'models:Net()'"),
    ],
)
def test_a_model_that_cannot_be_had_is_refused_with_the_reason(path, expected):
    assert message(with_model(path)) == [f"training.model: {expected}"]


def test_a_model_is_neither_run_nor_imported_where_code_of_the_users_own_is_refused():
    sys.modules.pop("broken_module_for_spaces", None)
    (text,) = message(with_model("broken_module_for_spaces:Net"), allow_custom_code=False)
    assert text == "training.model: 'broken_module_for_spaces:Net' is code of your own, which --no-custom-code refuses to run"
    assert "broken_module_for_spaces" not in sys.modules


def test_the_space_of_a_sweep_that_has_begun_is_read_without_its_code():
    space = {
        **with_model("gone_module:Net"),
        "parameters": {
            "loss": {"choices": ["focal", {"name": "mine", "loss": "gone_module:Loss", "depth": 2}, "gone_module:other"]},
            "gamma": {"low": 0.0, "high": 5.0, "when": {"loss": "focal"}},
            "t1": {"low": 0.0, "high": 1.0, "when": {"loss": "gone_module:other"}},
            "learning_rate": 0.1,
        },
        "compare": {"arms": "loss"},
    }
    text = yaml.safe_dump(space, sort_keys=False)
    with pytest.raises(SpaceError, match="cannot import 'gone_module:Loss'"):
        parse_space(text, "sweep.yaml")
    stored = parse_stored_space(text, "sweep.yaml")
    free = [{one.name for one in stored.definitions(arm) if one.is_free} for arm in stored.arms]
    assert [arm.name for arm in stored.arms] == ["focal", "mine", "gone_module:other"]
    assert free == [{"gamma"}, set(), {"t1"}]
    assert stored.parameter_types()["depth"] == "int64"


def test_a_single_loss_of_the_users_own_needs_no_condition_to_be_read_again():
    text = yaml.safe_dump(base(parameters={"loss": "gone_module:Loss", "t1": {"low": 0.0, "high": 1.0}, "learning_rate": 0.1}))
    stored = parse_stored_space(text, "sweep.yaml")
    assert {one.name for one in stored.definitions(stored.arms[0]) if one.is_free} == {"t1"}
