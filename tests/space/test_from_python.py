"""Spaces from Python: what can be written into a file becomes what the file would say, everything else is refused with the way out."""

import enum
import types
from pathlib import Path

import losses_for_spaces
import models_for_spaces
import numpy as np
import pytest
from spaces import base, space_of
from torch import nn

import sweeper
from sweeper.errors import SpaceError
from sweeper.space import parse_space
from sweeper.space.from_python import parse_mapping, python_override


class Colour(enum.StrEnum):
    RED = "l1"


def params(**parameters):
    return base(parameters={"learning_rate": 0.1, **parameters})


def problems(call):
    with pytest.raises(SpaceError) as caught:
        call()
    assert all(problem.line is None for problem in caught.value.problems)
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


def main_class():
    """A class as a notebook or a script defines it."""
    return type("MyLoss", (nn.Module,), {"__module__": "__main__", "__qualname__": "MyLoss"})


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (params(loss=losses_for_spaces.Tempered, t1=0.5), params(loss="losses_for_spaces:Tempered", t1=0.5)),
        (
            params(loss={"choices": (losses_for_spaces.scaled, "l1")}, scale={"value": 2, "when": {"loss": losses_for_spaces.scaled}}),
            params(loss={"choices": ["losses_for_spaces:scaled", "l1"]}, scale={"value": 2, "when": {"loss": "losses_for_spaces:scaled"}}),
        ),
        (base(training={"model": models_for_spaces.Net}), base(training={"model": "models_for_spaces:Net"})),
        (params(loss=nn.CrossEntropyLoss), params(loss="torch.nn.modules.loss:CrossEntropyLoss")),
        (
            params(loss=Colour.RED, momentum={"choices": np.array([0.5, 0.9])}, weight_decay=np.float64(0.1)),
            params(loss="l1", momentum={"choices": [0.5, 0.9]}, weight_decay=0.1),
        ),
        (base(seed=np.int64(7), training={"augment": np.bool_(False)}), base(seed=7, training={"augment": False})),
        (params(loss="l1", batch_size={"choices": range(8, 10)}), params(loss="l1", batch_size={"choices": [8, 9]})),
        (
            base(dataset={"name": "parquet", "data_dir": Path("data/cifar10")}),
            base(dataset={"name": "parquet", "data_dir": "data/cifar10"}),
        ),
        (base(dataset=types.MappingProxyType({"name": "synthetic"})), base(dataset={"name": "synthetic"})),
    ],
)
def test_values_of_python_are_those_of_the_file(given, written):
    assert parse_mapping(given) == space_of(written)


def test_text_that_looks_like_a_number_stays_text():
    assert parse_mapping(base(dataset={"name": "parquet", "data_dir": "1e5"})).dataset.data_dir == "1e5"


TO_A_FILE = (
    "so that the processes that train cannot import it: "
    'put it into a file {0}.py in this folder, and write "{0}:{1}", or import it from there'
)
NO_VALUE = "must be a number, text, true or false, a list or a mapping, a class or a function, got a"


def local():
    class Inside:
        pass

    return Inside


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (main_class(), f"'MyLoss' is defined in the notebook or script itself, {TO_A_FILE.format('my_losses', 'MyLoss')}"),
        (lambda logits, labels: 0, f"a lambda has no name, {TO_A_FILE.format('my_losses', 'my_function')}"),
        (local(), f"'local.<locals>.Inside' is defined inside another function or class, {TO_A_FILE.format('my_losses', 'Inside')}"),
        (
            type("Gone", (), {"__module__": "losses_for_spaces", "__qualname__": "Gone"}),
            f"'losses_for_spaces:Gone' is another object by now, {TO_A_FILE.format('my_losses', 'Gone')}",
        ),
        (
            type("Typed", (), {"__module__": "made_by_hand", "__qualname__": "Typed"}),
            f"'Typed' is defined in made_by_hand, which is no file, {TO_A_FILE.format('my_losses', 'Typed')}",
        ),
        (
            nn.CrossEntropyLoss(),
            f"{NO_VALUE} CrossEntropyLoss; give the class CrossEntropyLoss itself: its arguments are set under parameters",
        ),
        (3 + 4j, f"{NO_VALUE} complex"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_no_process_that_trains_could_import_is_refused_wherever_it_stands(target, message):
    assert problems(lambda: parse_mapping(params(loss=target))) == [f"parameters.loss: {message}"]
    assert problems(lambda: parse_mapping(params(loss={"choices": ["l1", target]}))) == [f"parameters.loss.choices[1]: {message}"]
    assert problems(lambda: python_override("parameters.loss", target)) == [f"parameters.loss: {message}"]


def test_a_model_is_sent_to_a_module_of_models_and_all_that_is_refused_is_told_at_once():
    found = problems(lambda: parse_mapping({**params(loss=main_class()), "training": {"model": main_class()}}))
    assert [(line.partition(":")[0], "my_nets.py" in line) for line in found] == [("training.model", True), ("parameters.loss", False)]


def test_nothing_is_begun_with_a_loss_of_the_script(tmp_path):
    found = problems(lambda: sweeper.run(params(loss=main_class()), results=str(tmp_path / "results"), progress=False))
    assert found[0].startswith("parameters.loss: 'MyLoss' is defined in the notebook or script itself")
    assert not (tmp_path / "results").exists()


def test_mistakes_of_a_mapping_have_no_line():
    assert problems(lambda: parse_mapping(base(training={"epochs": 0}))) == ["training.epochs: must be >= 1, got 0"]


@pytest.mark.parametrize("key", [1, ("a",), None])
def test_keys_are_text(key):
    assert problems(lambda: parse_mapping(base(training={key: 3})))[0].startswith("training: keys must be text, got ")


def test_a_mapping_that_holds_itself_is_refused():
    training = {}
    training["model"] = training
    assert problems(lambda: parse_mapping(base(training=training))) == ["training.model: holds itself"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (Path("a b"), "a b"),
        ("1e5", "1e5"),
        ([0.5, np.float32(0.25)], [0.5, 0.25]),
        (None, None),
        ({"low": 1}, {"low": 1}),
    ],
)
def test_settings_are_written_as_what_they_are(value, expected):
    key, _, text = python_override("dataset.mean", value).partition("=")
    assert (key, read(text)) == ("dataset.mean", expected)


def read(text):
    from sweeper.space.yaml_lines import read_yaml

    return read_yaml(text).data


def test_a_class_can_be_set():
    text = python_override("parameters.loss", losses_for_spaces.scaled)
    assert str(parse_space("name: x\ndataset: {name: synthetic}\nparameters: {learning_rate: 0.1}\n", "x", [text]).custom_code) == (
        "('losses_for_spaces:scaled',)"
    )
