import os
import sys

import optuna
import pytest
from spaces import base, space_of

from sweeper.errors import SpaceError
from sweeper.studies.optuna_parts import draw

TEMPERED = "losses_for_spaces:Tempered"
SCALED = "losses_for_spaces:scaled"


def params(**parameters):
    return base(parameters={"learning_rate": 0.1, **parameters})


def message(data, **options):
    with pytest.raises(SpaceError) as caught:
        space_of(data, **options)
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


def test_the_constructor_says_which_parameters_a_loss_has():
    space = space_of(params(loss=TEMPERED, t1={"low": 0, "high": 1}, smooth=True))
    drawn = draw(space, space.arms[0], optuna.create_study().ask())
    assert 0 <= drawn.pop("t1") <= 1
    assert drawn == {
        "loss": TEMPERED, "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0, "step_size": 1, "step_gamma": 1.0,
        "batch_size": 128, "smooth": True, "t2": 1.0,
    }  # fmt: skip
    assert type(drawn["t2"]) is float


def test_a_function_has_the_parameters_after_logits_and_labels():
    space = space_of(params(loss={"choices": ["l1", SCALED]}, scale={"type": "int", "low": 1, "high": 4, "when": {"loss": SCALED}}))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    drawn = [draw(space, space.arms[0], study.ask()) for _ in range(20)]
    assert {("scale" in one, one.get("kind")) for one in drawn} == {(False, None), (True, "plain")}


def test_a_loss_with_keyword_arguments_takes_any_parameter_under_its_condition():
    anything = "losses_for_spaces:anything"
    space = space_of(params(loss={"choices": ["l1", anything]}, tau={"low": 0.1, "high": 1.0, "when": {"loss": anything}}))
    assert "tau" in space.parameter_types()
    assert message(params(loss={"choices": ["l1", anything]}, tau={"low": 0.1, "high": 1.0, "when": {"loss": "l1"}}))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("no_such_module:Loss", "cannot import 'no_such_module:Loss': ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "losses_for_spaces:Los",
            "cannot import 'losses_for_spaces:Los': AttributeError: module 'losses_for_spaces' has no attribute 'Los'",
        ),
        ("broken_module_for_spaces:Loss", "cannot import 'broken_module_for_spaces:Loss': RuntimeError: half"),
        ("losses_for_spaces:NOT_A_LOSS", "'losses_for_spaces:NOT_A_LOSS' is not a class or function but int"),
        ("losses_for_spaces:too_few", "'losses_for_spaces:too_few' is a function, and must take (logits, labels, ...)"),
        ("losses_for_spaces:TakesLoss", "'losses_for_spaces:TakesLoss' has a parameter 'loss', a name that is taken; rename it"),
        (
            "losses_for_spaces:positional",
            "'losses_for_spaces:positional' takes 'scale' by position only; a space file gives parameters by name",
        ),
        ("losses_for_spaces.Tempered", "a loss of your own is written my_package.my_module:MyLoss, got 'losses_for_spaces.Tempered'"),
        ("os:system; rm", "a loss of your own is written my_package.my_module:MyLoss, got 'os:system; rm'"),
        ("..:x", "a loss of your own is written my_package.my_module:MyLoss, got '..:x'"),
        ("", "unknown loss ''; known: l1, cross_entropy, focal, mae, mse, label_smoothing, generalized_cross_entropy, poly1"),
    ],
)
def test_a_loss_that_cannot_be_had_is_refused_with_the_reason(loss, expected):
    assert message(params(loss=loss)) == [f"parameters.loss: {expected}"]


LIBRARY = "of Python's standard library, which holds no loss and no model"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("subprocess:Popen", f"is {LIBRARY}"),
        ("os:system", f"is {LIBRARY}"),
        ("builtins:eval", f"is {LIBRARY}"),
        ("os.path:join", f"is {LIBRARY}"),
        ("this:s", f"is {LIBRARY}"),
        ("losses_for_spaces:Popen", f"is subprocess.Popen, {LIBRARY}"),
        ("losses_for_spaces:join", f"is posixpath.join, {LIBRARY}"),
        ("losses_for_spaces:run", f"is {os.name}.system, {LIBRARY}"),
        ("losses_for_spaces:item", f"is operator.item, {LIBRARY}"),
        ("losses_for_spaces:quoted", f"is shlex.shlex.get_token, {LIBRARY}"),
        ("losses_for_spaces:append", f"is builtins.list.append, {LIBRARY}"),
        ("__main__:loss", "is of the program that is running, which trials cannot import: move it into a module of its own"),
    ],
)
def test_what_is_no_code_of_the_users_own_is_refused_as_loss_and_as_model_whatever_name_it_goes_by(path, said):
    sys.modules.pop("this", None)
    parameters = dict.fromkeys(("args", "command", "source"), "touch it")
    with pytest.raises(SpaceError) as caught:
        space_of({**params(loss={"choices": ["l1", path]}, **parameters), "training": {"epochs": 1, "model": path}})
    found = {problem.key: (problem.line, problem.message) for problem in caught.value.problems}
    assert found["training.model"] == (6, f"'{path}' {said}")
    assert found["parameters.loss.choices[1]"] == (12, f"'{path}' {said}")
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Uncalled", "is a class whose objects cannot be called with (logits, labels); derive it from torch.nn.Module"),
        ("OfLogitsAlone", "is a class whose forward must take (logits, labels, ...)"),
        ("OfThree", "is a class whose forward needs 'negative' besides (logits, labels)"),
        ("READY_MADE", "is a module that is built already; name the class, so that each trial has one of its own"),
        ("swapped", "is a function, and takes (labels, logits): it must take the logits first and then the labels"),
    ],
)
def test_what_cannot_be_called_with_logits_and_labels_is_refused_before_it_is_built_or_called(name, said):
    assert message(params(loss=f"losses_for_spaces:{name}")) == [f"parameters.loss: 'losses_for_spaces:{name}' {said}"]


@pytest.mark.parametrize("name", ["OfAnything", "Sound", "with_kind", "bound", "anonymous"])
def test_whatever_can_be_called_with_logits_and_labels_is_accepted(name):
    assert space_of(params(loss=f"losses_for_spaces:{name}")).custom_code == (f"losses_for_spaces:{name}",)


def test_an_argument_without_a_default_must_be_given():
    assert message(params(loss={"choices": ["l1", TEMPERED]})) == [
        f"parameters: loss '{TEMPERED}' needs 't1', which has no default: add it here with when: {{loss: '{TEMPERED}'}}"
    ]
    data = params(
        loss={"choices": ["l1", TEMPERED]},
        momentum={"choices": [0.1, 0.9]},
        t1={"low": 0, "high": 1, "when": {"loss": TEMPERED, "momentum": 0.9}},
    )
    assert message(data) == [
        f"parameters.t1.when: loss '{TEMPERED}' always needs it, for it has no default: its only condition can be loss"
    ]


def test_a_value_of_the_wrong_type_for_an_argument_is_refused():
    assert message(params(loss=TEMPERED, t1=1, t2="x", smooth=1)) == [
        "parameters.t2: must be a number, got 'x'",
        "parameters.smooth: must be true or false, got 1",
    ]


def test_code_of_the_users_own_is_neither_run_nor_imported_where_it_is_refused():
    sys.modules.pop("broken_module_for_spaces", None)
    (text,) = message(params(loss="broken_module_for_spaces:Loss"), allow_custom_code=False)
    assert text == "parameters.loss: 'broken_module_for_spaces:Loss' is code of your own, which --no-custom-code refuses to run"
    assert "broken_module_for_spaces" not in sys.modules
    assert space_of(params(loss="focal"), allow_custom_code=False).name == "base"


def test_two_losses_of_one_study_need_one_default():
    data = params(loss={"choices": ["focal", "losses_for_spaces:other_gamma"]})
    assert message(data) == ["parameters: losses of one study have different defaults of 'gamma'; write it under parameters"]
    assert len(space_of({**data, "compare": {"arms": "loss"}}).arms) == 2


def test_an_import_path_can_be_an_arm():
    space = space_of({**params(loss={"choices": ["l1", SCALED]}), "compare": {"arms": "loss"}})
    assert [arm.name for arm in space.arms] == ["l1", SCALED]


def test_a_loss_of_pytorch_itself_can_be_named():
    space = space_of(params(loss="torch.nn:CrossEntropyLoss", label_smoothing={"low": 0.0, "high": 0.3}))
    assert space.parameter_types()["label_smoothing"] == "float64"
