"""The JSON Schema by which editors complete space files."""

import json
from pathlib import Path

import jsonschema
import pytest

from sweeper.errors import SpaceError
from sweeper.space import dump_space, load_space, parse_space
from sweeper.space.json_schema import json_schema
from sweeper.space.yaml_lines import read_yaml

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "search_spaces").glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(json_schema())

GOOD = """
name: good
dataset: {name: parquet, data_dir: data, validation: 100}
training: {epochs: 3, momentum: 0.8}
parameters:
  loss: {choices: [l1, {name: soft, loss: label_smoothing, smoothing: 0.2}]}
  learning_rate: {low: 0.001, high: 1.0, log: true}
  step_size: {type: int, low: 1, high: 4, step: 1}
  step_gamma: 0.5
compare: {arms: loss, reference: {source: us, test_accuracy: {l1: 0.5}}}
search: {metric: val_nll, sampler: {name: tpe, n_startup_trials: 3}, pruner: {name: patient, patience: 2, wrapped: median}}
resources: {gpus_per_trial: auto, pack: 4}
seed: 7
"""


def errors(text):
    return [(".".join(map(str, error.absolute_path)), error.message) for error in VALIDATOR.iter_errors(read_yaml(text).data)]


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_the_file_beside_the_spaces_is_the_schema():
    assert json.loads((ROOT / "search_spaces" / "schema.json").read_text()) == json_schema(), "sweep schema > search_spaces/schema.json"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_spaces_fit_and_name_the_schema(path):
    assert errors(path.read_text()) == []
    assert "# yaml-language-server: $schema=schema.json\n" in path.read_text()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_resolved_spaces_fit(path):
    assert errors(dump_space(load_space(path))) == []


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("name: good", "name: -bad", "name"),
        ("name: parquet", "name: cifar", "dataset.name"),
        ("epochs: 3", "epochs: 0", "training.epochs"),
        ("epochs: 3", "epoch: 3", "training"),
        ("momentum: 0.8", "momentum: 1.8", "training.momentum"),
        ("choices: [l1,", "choices: [l2,", "parameters.loss"),
        ("log: true", "log: 1", "parameters.learning_rate"),
        ("metric: val_nll", "metric: nll", "search.metric"),
        ("name: tpe", "name: tpee", "search.sampler"),
        ("n_startup_trials: 3", "n_startup_trials: -1", "search.sampler"),
        ("patience: 2", "patient: 2", "search.pruner"),
        ("l1: 0.5", "l1: 1.5", "compare.reference"),
        ("pack: 4", "pack: 0", "resources.pack"),
        ("seed: 7", "seed: -1", "seed"),
        ("seed: 7", "sead: 7", ""),
    ],
)
def test_a_slip_is_marked_where_the_check_finds_it_too(old, new, key):
    assert errors(GOOD) == []
    parse_space(GOOD, "good.yaml")
    slip = GOOD.replace(old, new)
    assert slip != GOOD
    assert any(place.startswith(key) for place, _ in errors(slip))
    with pytest.raises(SpaceError):
        parse_space(slip, "good.yaml")


def test_every_key_is_described():
    fields = json_schema()["properties"]
    sections = {name: field["properties"] for name, field in fields.items() if "properties" in field}
    assert set(sections) == {"dataset", "training", "parameters", "compare", "search", "resources"}
    for name, keys in {"": fields, **sections}.items():
        assert [f"{name}.{key}" for key, field in keys.items() if not field.get("description")] == []


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("{type: int, low: 0.5, high: 4}", "parameters.step_size"),
        ("{type: int, low: 1, high: 4, step: 0}", "parameters.step_size"),
        ("{low: 1, high: 4, step: 0}", "parameters.step_size"),
        ("{low: 1}", "parameters.step_size"),
        ("{choices: []}", "parameters.step_size"),
        ("{value: 2, when: {}}", "parameters.step_size"),
    ],
)
def test_a_form_that_the_check_refuses_is_marked(line, key):
    slip = GOOD.replace("{type: int, low: 1, high: 4, step: 1}", line)
    assert [place for place, _ in errors(slip)] == [key]
    with pytest.raises(SpaceError):
        parse_space(slip, "good.yaml")
