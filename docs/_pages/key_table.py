"""Every key of a space file, once right and once wrong, as one line of a whole file; the options of samplers and pruners from Optuna."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sweeper.errors import SpaceError
from sweeper.space import check_warnings, parse_space
from sweeper.space.algorithms import LOWEST, PRUNERS, SAMPLERS, option_types
from sweeper.space.json_schema import json_schema

FILE = """\
name: mine
dataset: {name: synthetic}
training: {epochs: 9}
parameters: {loss: {choices: [cross_entropy, focal]}, learning_rate: {low: 1e-3, high: 1.0, log: true}}
compare: {arms: loss, trials_per_arm: 16, seeds: 8}
search: {sampler: tpe, pruner: successive_halving}
resources: {cpus_per_trial: 1}
seed: 1
"""
"""A space that can be run, one section a line; each line of a key below takes the place of the section's line here."""


@dataclass(frozen=True)
class Key:
    """A key by its dotted name, with a line that sets it well and one that does not."""

    name: str
    right: str
    wrong: str


def file_with(line: str) -> str:
    """The file above with ``line`` (or each line of it) in the place of the line of its section."""
    sections = {old.partition(":")[0]: old for old in (*FILE.splitlines(), *line.splitlines())}
    return "\n".join(sections.values()) + "\n"


def refusal(line: str) -> str:
    """What ``sweep check mine.yaml`` says of the file with ``line``; empty if it can be run."""
    try:
        parse_space(file_with(line), "mine.yaml")
    except SpaceError as error:
        return str(error)
    return ""


def example(key: Key) -> str:
    """The key alone, as the line that sets it well writes it: ``epochs: 30``."""
    last = key.name.rpartition(".")[2]
    text = key.right[re.search(rf"(?<![\w.]){re.escape(last)}: ", key.right).start() :]  # type: ignore[union-attr]
    depth = 0
    for position, character in enumerate(text):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(character, 0)
        if depth < 0 or character == "\n" or (depth == 0 and character == ","):
            return text[:position]
    return text


def doubts(line: str) -> list[str]:
    """The warnings of ``sweep check`` about the file with ``line``, which must be one that can be run."""
    return check_warnings(parse_space(file_with(line), "mine.yaml"))


def schema_keys() -> list[str]:
    """The dotted name of every key that the JSON Schema knows, in its order."""
    return list(_keys(json_schema(), ""))


def _keys(schema: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        here = f"{prefix}{name}"
        yield here
        if here.startswith("parameters."):
            continue  # the forms that all parameters share are listed once, as parameters.*
        if here in ("search.sampler", "search.pruner"):
            for form in field["anyOf"][1:]:
                algorithm = form["properties"]["name"]["const"]
                yield from (f"{here}.{algorithm}.{option}" for option in form["properties"] if option != "name")
            continue
        for branch in (field, *field.get("anyOf", ())):
            yield from _keys(branch, f"{here}.")
        if here == "parameters":
            forms = [form for form in field["properties"]["learning_rate"]["anyOf"] if form["type"] == "object"]
            yield from dict.fromkeys(f"parameters.*.{key}" for form in forms for key in form["properties"])
            yield "parameters.*.choices[].name"


def all_keys() -> tuple[Key, ...]:
    """Every key, in the order of the schema."""
    known = {key.name: key for key in (*_options("sampler", SAMPLERS), *_options("pruner", PRUNERS), *WRITTEN)}
    return tuple(known.pop(name) for name in schema_keys()) + tuple(known.values())


RATE = "learning_rate: {low: 1e-3, high: 1.0, log: true}"


def _parameters(text: str, loss: str = "{choices: [cross_entropy, focal]}", rate: str = RATE) -> str:
    return f"parameters: {{{', '.join(filter(None, [f'loss: {loss}', rate, text]))}}}"


def _options(role: str, known: dict[str, type]) -> Iterator[Key]:
    """The options of each algorithm; a wrong value is one below the lowest, or of another type."""
    other = "search: {{pruner: successive_halving, sampler: {}}}" if role == "sampler" else "search: {{sampler: tpe, pruner: {}}}"
    for name, algorithm in known.items():
        types = {"points": {"int"}} if name == "grid" else option_types(algorithm)
        for option, kinds in types.items():
            right, wrong = RIGHT_OPTIONS[option], _wrong(option, kinds)
            needed = "".join(f", {key}: {RIGHT_OPTIONS[key]}" for key in NEEDED.get(name, ()) if key != option)
            wrapped = ", wrapped: median" if name == "patient" else ""
            yield Key(
                f"search.{role}.{name}.{option}",
                other.format(f"{{name: {name}, {option}: {right}{needed}{wrapped}}}"),
                other.format(f"{{name: {name}, {option}: {wrong}{needed}{wrapped}}}"),
            )


def _wrong(option: str, kinds: set[str]) -> str:
    if option in LOWEST:
        return str(LOWEST[option] - 1)
    return {"int": "many", "float": "high", "bool": "maybe", "str": "3"}[sorted(kinds)[0]]


NEEDED = {"percentile": ("percentile",), "patient": ("patience",), "threshold": ("upper",)}
RIGHT_OPTIONS = {
    "n_startup_trials": "4",
    "n_ei_candidates": "24",
    "multivariate": "true",
    "group": "true",
    "constant_liar": "true",
    "points": "5",
    "deterministic_objective": "false",
    "consider_pruned_trials": "true",
    "popsize": "6",
    "use_separable_cma": "false",
    "with_margin": "false",
    "lr_adapt": "false",
    "qmc_type": "sobol",
    "scramble": "true",
    "n_warmup_steps": "2",
    "interval_steps": "1",
    "n_min_trials": "2",
    "percentile": "25.0",
    "min_resource": "1",
    "max_resource": "9",
    "reduction_factor": "3",
    "min_early_stopping_rate": "0",
    "bootstrap_count": "0",
    "patience": "3",
    "min_delta": "0.0",
    "lower": "0.12",
    "upper": "0.99",
    "p_threshold": "0.1",
    "n_startup_steps": "2",
}

WRITTEN = (
    Key("name", "name: focal-again", "name: focal again!"),
    Key("dataset", "dataset: {name: synthetic}", "dataset: synthetic"),
    Key("dataset.name", "dataset: {name: cifar10}", "dataset: {name: cifar}"),
    Key("dataset.validation", "dataset: {name: cifar10, validation: 5000}", "dataset: {name: cifar10, validation: 50000}"),
    Key("dataset.data_dir", "dataset: {name: parquet, data_dir: data/cifar10}", "dataset: {name: parquet}"),
    Key("dataset.train_images", "dataset: {name: synthetic, train_images: 4000}", "dataset: {name: cifar10, train_images: 4000}"),
    Key("dataset.test_images", "dataset: {name: synthetic, test_images: 500}", "dataset: {name: synthetic, test_images: 0}"),
    Key(
        "dataset.image_size",
        "dataset: {name: imagefolder, data_dir: pictures, validation: 200, image_size: 32}",
        "dataset: {name: imagefolder, data_dir: pictures, validation: 200, image_size: 32x32}",
    ),
    Key("dataset.mean", "dataset: {name: cifar10, mean: [0.49, 0.48, 0.45]}", "dataset: {name: cifar10, mean: 0.5}"),
    Key("dataset.std", "dataset: {name: cifar10, std: [0.25, 0.24, 0.26]}", "dataset: {name: cifar10, std: [0.25, 0.24, 0]}"),
    Key("training", "training: {epochs: 9}", "training: 9"),
    Key("training.model", "training: {model: convnet}", "training: {model: resnet}"),
    Key("training.epochs", "training: {epochs: 30}", "training: {epochs: 0}"),
    Key("training.reduction", "training: {reduction: batch}", "training: {reduction: element}"),
    Key("training.augment", "training: {augment: false}", "training: {augment: some}"),
    Key("training.batch_size", "training: {epochs: 9, batch_size: 64}", "training: {epochs: 9, batch_size: 12.5}"),
    Key(
        "training.learning_rate",
        "training: {epochs: 9, learning_rate: 0.1}\nparameters: {loss: {choices: [cross_entropy, focal]}}",
        "training: {epochs: 9, learning_rate: 0.1}",
    ),
    Key("training.momentum", "training: {epochs: 9, momentum: 0.9}", "training: {epochs: 9, momentum: 1.5}"),
    Key("training.weight_decay", "training: {epochs: 9, weight_decay: 5e-4}", "training: {epochs: 9, weight_decay: -5e-4}"),
    Key("training.step_size", "training: {epochs: 9, step_size: 3, step_gamma: 0.5}", "training: {epochs: 9, step_size: 3}"),
    Key(
        "training.step_gamma", "training: {epochs: 9, step_size: 3, step_gamma: 0.5}", "training: {epochs: 9, step_size: 3, step_gamma: 0}"
    ),
    Key("parameters", _parameters(""), "parameters: [loss, learning_rate]"),
    Key("parameters.loss", _parameters("", "{choices: [l1, focal]}"), _parameters("", "{choices: [l1, focul]}")),
    Key("parameters.learning_rate", _parameters("", rate="learning_rate: {low: 1e-4, high: 1.0, log: true}"), _parameters("", rate="")),
    Key("parameters.momentum", _parameters("momentum: {low: 0.5, high: 0.99}"), _parameters("momentum: {low: 0.5, high: 1.5}")),
    Key(
        "parameters.weight_decay",
        _parameters("weight_decay: {low: 1e-6, high: 1e-2, log: true}"),
        _parameters("weight_decay: {low: 0, high: 1e-2, log: true}"),
    ),
    Key(
        "parameters.step_size",
        _parameters("step_size: {type: int, low: 2, high: 6}, step_gamma: 0.5"),
        _parameters("step_size: {low: 2, high: 6}, step_gamma: 0.5"),
    ),
    Key(
        "parameters.step_gamma",
        _parameters("step_size: 3, step_gamma: {low: 0.1, high: 0.9}"),
        _parameters("step_gamma: {low: 0.1, high: 0.9}"),
    ),
    Key("parameters.batch_size", _parameters("batch_size: {choices: [64, 128]}"), _parameters("batch_size: {choices: [64, large]}")),
    Key("parameters.gamma", _parameters("gamma: {low: 0.0, high: 5.0, when: {loss: focal}}"), _parameters("gamma: {low: 0.0, high: 5.0}")),
    Key(
        "parameters.smoothing",
        _parameters("smoothing: {low: 0.0, high: 0.3, when: {loss: label_smoothing}}", "{choices: [cross_entropy, label_smoothing]}"),
        _parameters("smoothing: {low: 0.0, high: 0.3}"),
    ),
    Key(
        "parameters.q",
        _parameters("q: {low: 0.1, high: 1.0}", "generalized_cross_entropy"),
        _parameters("q: {low: 0.1, high: 2.0}", "generalized_cross_entropy"),
    ),
    Key(
        "parameters.epsilon",
        _parameters("epsilon: {low: -1.0, high: 4.0}", "poly1"),
        _parameters("epsilom: {low: -1.0, high: 4.0}", "poly1"),
    ),
    Key(
        "parameters.*.value",
        _parameters("gamma: {value: 2.0, when: {loss: focal}}"),
        _parameters("gamma: {value: two, when: {loss: focal}}"),
    ),
    Key(
        "parameters.*.type",
        _parameters("batch_size: {type: int, low: 32, high: 128}"),
        _parameters("momentum: {type: real, low: 0, high: 0.9}"),
    ),
    Key("parameters.*.low", _parameters("momentum: {low: 0.5, high: 0.9}"), _parameters("momentum: {low: 0.9, high: 0.5}")),
    Key("parameters.*.high", _parameters("momentum: {low: 0.5, high: 0.9}"), _parameters("momentum: {low: 0.5}")),
    Key(
        "parameters.*.log",
        _parameters("", rate="learning_rate: {low: 1e-4, high: 1.0, log: true}"),
        _parameters("", rate="learning_rate: {low: 0.0, high: 1.0, log: true}"),
    ),
    Key(
        "parameters.*.step",
        _parameters("momentum: {low: 0.5, high: 0.9, step: 0.1}"),
        _parameters("momentum: {low: 0.5, high: 0.9, step: 0.3}"),
    ),
    Key(
        "parameters.*.when",
        _parameters("gamma: {low: 0, high: 5, when: {loss: focal}}"),
        _parameters("gamma: {low: 0, high: 5, when: {loss: l1}}"),
    ),
    Key("parameters.*.choices", _parameters("momentum: {choices: [0.8, 0.9]}"), _parameters("momentum: [0.8, 0.9]")),
    Key(
        "parameters.*.choices[].name",
        _parameters("", "{choices: [cross_entropy, {name: focal_2, loss: focal, gamma: 2.0}]}"),
        _parameters("", "{choices: [cross_entropy, {name: focal/2, loss: focal, gamma: 2.0}]}"),
    ),
    Key("compare", "compare: {arms: loss}", "compare: loss"),
    Key("compare.arms", "compare: {arms: loss}", "compare: {arms: losses}"),
    Key("compare.trials_per_arm", "compare: {arms: loss, trials_per_arm: 32}", "compare: {arms: loss, trials_per_arm: 0}"),
    Key("compare.seeds", "compare: {arms: loss, seeds: 8}", "compare: {arms: loss, seeds: [1, 2, 3]}"),
    Key(
        "compare.reference",
        "compare: {arms: loss, reference: {source: the paper, test_accuracy: {focal: 0.59}}}",
        "compare: {arms: loss, reference: 0.59}",
    ),
    Key(
        "compare.reference.source",
        "compare: {arms: loss, reference: {source: the paper, test_accuracy: {focal: 0.59}}}",
        "compare: {arms: loss, reference: {test_accuracy: {focal: 0.59}}}",
    ),
    Key(
        "compare.reference.test_accuracy",
        "compare: {arms: loss, reference: {source: the paper, test_accuracy: {focal: 0.59}}}",
        "compare: {arms: loss, reference: {source: the paper, test_accuracy: {focal: 59}}}",
    ),
    Key("search", "search: {metric: val_nll}", "search: tpe"),
    Key("search.metric", "search: {metric: val_nll}", "search: {metric: accuracy}"),
    Key("search.sampler", "search: {sampler: random}", "search: {sampler: bayes}"),
    Key(
        "search.sampler.grid.points",
        "search: {sampler: {name: grid, points: 5}, pruner: successive_halving}",
        f"{_parameters('', rate='learning_rate: {choices: [0.01, 0.1]}')}\nsearch: {{sampler: {{name: grid, points: 1}}}}",
    ),
    Key("search.pruner", "search: {pruner: hyperband}", "search: {pruner: asha}"),
    Key(
        "search.pruner.patient.wrapped",
        "search: {sampler: tpe, pruner: {name: patient, patience: 3, wrapped: {name: median, n_startup_trials: 4}}}",
        "search: {sampler: tpe, pruner: {name: patient, patience: 3, wrapped: mean}}",
    ),
    Key("resources", "resources: {cpus_per_trial: 1}", "resources: 1"),
    Key("resources.cpus_per_trial", "resources: {cpus_per_trial: 2}", "resources: {cpus_per_trial: 0}"),
    Key("resources.gpus_per_trial", "resources: {gpus_per_trial: 0.25}", "resources: {gpus_per_trial: 1.5}"),
    Key("resources.pack", "resources: {pack: auto}", "resources: {pack: all}"),
    Key("resources.max_failures", "resources: {max_failures: 2}", "resources: {max_failures: never}"),
    Key("seed", "seed: 1", "seed: -1"),
)
