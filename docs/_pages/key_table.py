"""Every key of a space file, once right and once wrong, as one line of a whole file; the options of samplers and pruners from Optuna."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sweeper.errors import SpaceError
from sweeper.space import check_warnings, parse_space
from sweeper.space.algorithms import LOWEST, PRUNERS, SAMPLERS, options_of
from sweeper.space.json_schema import json_schema

FILE = """\
name: mine
dataset: {name: synthetic}
training: {epochs: 9}
parameters: {loss: {choices: [cross_entropy, focal]}, learning_rate: {low: 1e-3, high: 1.0, log: true}}
compare: {arms: loss, searches: 5, trials_per_arm: 16, seeds: 2}
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
    for name in known:
        for option, kinds in options_of(name).items():
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


def _section(section: str, values: dict[str, tuple[str, str]], beside: str = "") -> Iterator[Key]:
    """Keys of one section, each with a right and a wrong value; ``beside``: what stands before them in its line."""
    before = f"{beside}, " if beside else ""
    for name, pair in values.items():
        yield Key(f"{section}.{name}", *(f"{section}: {{{before}{name}: {value}}}" for value in pair))


def _parameter(name: str, right: str, wrong: str, loss: str = "{choices: [cross_entropy, focal]}") -> Key:
    """A parameter by its own name, beside the others of the file."""
    return Key(f"parameters.{name}", _parameters(f"{name}: {right}", loss), _parameters(f"{name}: {wrong}", loss))


def _form(key: str, right: str, wrong: str) -> Key:
    """A key that every parameter can have, in lines that set some parameter."""
    return Key(f"parameters.*.{key}", _parameters(right), _parameters(wrong))


PICTURES = "name: imagefolder, data_dir: pictures, validation: 200"
LOOP = "examples.own_loop.resnet:train"
FIGURES = "{source: the paper, test_accuracy: {focal: 0.59}}"
WRITTEN = (
    Key("name", "name: focal-again", "name: focal again!"),
    Key("dataset", "dataset: {name: synthetic}", "dataset: synthetic"),
    *_section("dataset", {"name": ("cifar10", "cifar")}),
    *_section("dataset", {"validation": ("5000", "50000"), "mean": ("[0.49, 0.48, 0.45]", "0.5")}, "name: cifar10"),
    *_section("dataset", {"std": ("[0.25, 0.24, 0.26]", "[0.25, 0.24, 0]")}, "name: cifar10"),
    *_section("dataset", {"image_size": ("32", "32x32")}, PICTURES),
    *_section("dataset", {"test_images": ("500", "0")}, "name: synthetic"),
    Key("dataset.data_dir", "dataset: {name: parquet, data_dir: data/cifar10}", "dataset: {name: parquet}"),
    *_section("dataset", {"image": ("picture", "3"), "label": ("fine_label", "[fine_label]")}, "name: parquet, data_dir: data/cifar100"),
    Key("dataset.train_images", "dataset: {name: synthetic, train_images: 4000}", "dataset: {name: cifar10, train_images: 4000}"),
    Key("training", "training: {epochs: 9}", "training: 9"),
    *_section(
        "training",
        {
            "model": ("convnet", "resnet"),
            "epochs": ("30", "0"),
            "reduction": ("batch", "element"),
            "augment": ("false", "some"),
            "keep": ("weights", "everything"),
        },
    ),
    Key("training.model.path", "training: {model: {path: convnet}}", "training: {model: {path: convnet, width: 64}}"),
    *_section("training", {"loop": (LOOP, "resnet.train")}, "epochs: 9"),
    *_section(
        "training", {"metrics": ("{f1: {unit: fraction, maximize: true}}", "{accuracy: {maximize: true}}")}, f"epochs: 9, loop: {LOOP}"
    ),
    *_section("training", {"batch_size": ("64", "12.5"), "momentum": ("0.9", "1.5"), "weight_decay": ("5e-4", "-5e-4")}, "epochs: 9"),
    *_section("training", {"step_gamma": ("0.5", "0")}, "epochs: 9, step_size: 3"),
    *_section(
        "training",
        {
            "optimizer": ("adamw", "adam"),
            "nesterov": ("true", "1"),
            "schedule": ("cosine", "cosines"),
            "warmup_epochs": ("2", "9"),
            "gradient_clip": ("1.0", "-1"),
            "label_smoothing": ("0.1", "1.1"),
            "precision": ("bfloat16", "float16"),
            "select": ("best", "first"),
        },
        "epochs: 9",
    ),
    *_section("training", {"beta1": ("0.9", "1.0"), "beta2": ("0.99", "1.0")}, "epochs: 9, optimizer: adamw"),
    Key("training.step_size", "training: {epochs: 9, step_size: 3, step_gamma: 0.5}", "training: {epochs: 9, step_size: 3}"),
    Key(
        "training.learning_rate",
        "training: {epochs: 9, learning_rate: 0.1}\nparameters: {loss: {choices: [cross_entropy, focal]}}\ncompare: {seeds: 2}",
        "training: {epochs: 9, learning_rate: 0.1}",
    ),
    Key("parameters", _parameters(""), "parameters: [loss, learning_rate]"),
    Key("parameters.loss", _parameters("", "{choices: [l1, focal]}"), _parameters("", "{choices: [l1, focul]}")),
    Key("parameters.learning_rate", _parameters("", rate="learning_rate: {low: 1e-4, high: 1.0, log: true}"), _parameters("", rate="")),
    _parameter("model", "convnet", "{choices: [convnet, resnet]}"),
    _parameter("momentum", "{low: 0.5, high: 0.99}", "{low: 0.5, high: 1.5}"),
    _parameter("weight_decay", "{low: 1e-6, high: 1e-2, log: true}", "{low: 0, high: 1e-2, log: true}"),
    _parameter("batch_size", "{choices: [64, 128]}", "{choices: [64, large]}"),
    _parameter("optimizer", "{choices: [sgd, adamw]}", "{choices: [sgd, adam]}"),
    _parameter("nesterov", "{choices: [true, false]}", "{choices: [true, 1]}"),
    _parameter("beta1", "{low: 0.8, high: 0.95}, optimizer: adamw", "{low: 0.8, high: 0.95}"),
    _parameter("beta2", "{low: 0.95, high: 0.999}, optimizer: adamw", "{low: 0.95, high: 0.999}, optimizer: sgd"),
    _parameter("schedule", "{choices: [cosine, linear]}", "{choices: [cosine, polynomial]}"),
    _parameter("warmup_epochs", "{type: int, low: 0, high: 3}", "{type: int, low: 0, high: 9}"),
    _parameter("gradient_clip", "{low: 0.1, high: 10.0, log: true}", "{low: -1.0, high: 10.0}"),
    _parameter("label_smoothing", "{low: 0.0, high: 0.2}", "{low: 0.0, high: 1.2}"),
    _parameter("precision", "{choices: [float32, bfloat16]}", "{choices: [float32, float16]}"),
    _parameter("augment", "{choices: [crop_flip, randaugment]}", "{choices: [crop_flip, mixup]}"),
    _parameter("gamma", "{low: 0.0, high: 5.0, when: {loss: focal}}", "{low: 0.0, high: 5.0}"),
    _parameter("smoothing", "{low: 0.0, high: 0.3}", "{low: 0.0, high: 3.0}", "label_smoothing"),
    _parameter("q", "{low: 0.1, high: 1.0}", "{low: 0.1, high: 2.0}", "generalized_cross_entropy"),
    Key(
        "parameters.epsilon",
        _parameters("epsilon: {low: -1.0, high: 4.0}", "poly1"),
        _parameters("epsilom: {low: -1.0, high: 4.0}", "poly1"),
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
    _form("value", "gamma: {value: 2.0, when: {loss: focal}}", "gamma: {value: two, when: {loss: focal}}"),
    _form("type", "batch_size: {type: int, low: 32, high: 128}", "momentum: {type: real, low: 0, high: 0.9}"),
    _form("low", "momentum: {low: 0.5, high: 0.9}", "momentum: {low: 0.9, high: 0.5}"),
    _form("high", "momentum: {low: 0.5, high: 0.9}", "momentum: {low: 0.5}"),
    _form("log", "weight_decay: {low: 1e-6, high: 1e-2, log: true}", "weight_decay: {low: 0.0, high: 1e-2, log: true}"),
    _form("step", "momentum: {low: 0.5, high: 0.9, step: 0.1}", "momentum: {low: 0.5, high: 0.9, step: 0.3}"),
    _form("when", "gamma: {low: 0, high: 5, when: {loss: focal}}", "gamma: {low: 0, high: 5, when: {loss: l1}}"),
    _form("choices", "momentum: {choices: [0.8, 0.9]}", "momentum: [0.8, 0.9]"),
    Key(
        "parameters.*.choices[].name",
        _parameters("", "{choices: [cross_entropy, {name: focal_2, loss: focal, gamma: 2.0}]}"),
        _parameters("", "{choices: [cross_entropy, {name: focal/2, loss: focal, gamma: 2.0}]}"),
    ),
    Key("compare", "compare: {arms: loss}", "compare: loss"),
    *_section("compare", {"arms": ("loss", "losses")}),
    *_section(
        "compare",
        {
            "searches": ("5", "0"),
            "trials_per_arm": ("32", "0"),
            "seeds": ("8", "[1, 2, 3]"),
            "margin": ("0.5", "0"),
            "reference": (FIGURES, "0.59"),
        },
        "arms: loss",
    ),
    Key(
        "compare.reference.source",
        f"compare: {{arms: loss, reference: {FIGURES}}}",
        "compare: {arms: loss, reference: {test_accuracy: {focal: 0.59}}}",
    ),
    Key(
        "compare.reference.test_accuracy",
        f"compare: {{arms: loss, reference: {FIGURES}}}",
        f"compare: {{arms: loss, reference: {FIGURES.replace('0.59', '59')}}}",
    ),
    Key("search", "search: {metric: val_nll}", "search: tpe"),
    *_section("search", {"metric": ("val_nll", "accuracy"), "sampler": ("random", "bayes"), "pruner": ("hyperband", "asha")}),
    Key(
        "search.pruner.patient.wrapped",
        "search: {sampler: tpe, pruner: {name: patient, patience: 3, wrapped: {name: median, n_startup_trials: 4}}}",
        "search: {sampler: tpe, pruner: {name: patient, patience: 3, wrapped: mean}}",
    ),
    Key("resources", "resources: {cpus_per_trial: 1}", "resources: 1"),
    *_section(
        "resources",
        {
            "cpus_per_trial": ("2", "0"),
            "gpus_per_trial": ("0.25", "1.5"),
            "pack": ("auto", "all"),
            "backend": ("operators", "cudnn"),
            "max_failures": ("2", "never"),
        },
    ),
    Key("seed", "seed: 1", "seed: -1"),
)
