"""The reference of space files: every key with its type, default, rule and an example."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from sweeper.catalogue import ALWAYS_RECORDED, DATASETS, LOSSES, MODELS, TRAINING_PARAMETERS, DatasetEntry
from sweeper.records import VAL_METRICS
from sweeper.space.algorithms import PER_ARM, PRUNERS, SAMPLERS
from sweeper.space.json_schema import json_schema

from .key_table import all_keys, example
from .markdown import code, table

INTRODUCTION = """\
# Space files

A space file is YAML. It says which images, what is compared and tuned, with which budget, and how the search goes.
Three keys are required: `name`, `dataset` and `parameters`. Every other key has the default that this page states;
what was really run, with every default written out, is `sweep.yaml` in the sweep's folder.

`sweep check FILE` names every mistake in a file at once: [a mistake in each key](mistakes.md). Any field can be replaced on the command
line, `--set training.momentum=0.8`. Editors complete keys by the JSON Schema: put this line at the top of a file, after
`sweep schema > schema.json`:

```yaml
# yaml-language-server: $schema=schema.json
```

Numbers and truth values are those of YAML 1.2: `1e-4` is a number, `yes` is text. A key that stands twice, a tag and a merge key (`<<`) are
refused.

This page is made from the code by `python docs/generate.py`.
"""
FORMS = """\
A parameter is written in one of four forms:

| form | meaning |
|---|---|
| `learning_rate: 0.1` | a constant |
| `learning_rate: {low: 1e-4, high: 1.0, log: true}` | a range, both ends included; `type: int` for whole numbers, `step` for some of them |
| `momentum: {choices: [0.8, 0.9]}` | one of several values |
| `gamma: {value: 2.0, when: {loss: focal}}` | a constant that exists under a condition only |

`when` names another parameter and a value of it, or a list of values: `when: {loss: [focal, poly1]}`. A loss's own parameter needs such a
condition where other losses of the file do not have it. A loss's own parameter that the file does not name has the loss's default.

A choice may be an arm with a name and settings of its own, constants or ranges:
`loss: {choices: [cross_entropy, {name: focal_2, loss: focal, gamma: 2.0}]}`.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    schema = json_schema()["properties"]
    top = ("name", "dataset", "training", "parameters", "compare", "search", "resources", "seed")
    yield "## The file\n"
    yield table(_HEAD, [_row(name, schema[name], "required" if name in ("name", "dataset", "parameters") else None) for name in top])
    yield "## dataset\n"
    yield table(_HEAD, [_row(f"dataset.{key}", field, _dataset_default(key)) for key, field in schema["dataset"]["properties"].items()])
    yield table(("data set", "what it is"), [(code(name), entry.doc) for name, entry in DATASETS.items()])
    yield "## training\n"
    yield (
        "A parameter of training stands here when it is constant, and under `parameters` when it is tuned; never in both places. One that "
        f"no file names has its default; {', '.join(map(code, ALWAYS_RECORDED))} are columns of the results all the same, the others only "
        "where they are named. Those of an optimiser or a schedule exist beside it alone: `momentum` and `nesterov` beside `sgd`, `beta1` "
        "and `beta2` beside `adamw`, `step_size` and `step_gamma` beside `schedule: step`. See the [tutorial](../tutorial.md#a-recipe).\n"
    )
    yield table(_HEAD, [_row(f"training.{key}", field, _training_default(key)) for key, field in schema["training"]["properties"].items()])
    yield table(("model", "what it is"), [(code(name), doc) for name, doc in MODELS.items()])
    yield (
        "A model of your own is `model: my_package.my_module:MyNet`, or `{path: my_package.my_module:MyNet, width: 64}` with what it is "
        "built with: see the [tutorial](../tutorial.md#a-model-of-your-own).\n"
    )
    yield (
        "A training loop of your own is `loop: my_package.my_module:train`. Beside it only `epochs`, `metrics` and `keep` may stand here, "
        "and every name under `parameters` is the loop's: see [a loop of your own](../own_loop.md).\n"
    )
    yield "## parameters\n"
    yield FORMS
    yield table(_HEAD, [_row(name, {}, None) for name in _names() if name.startswith("parameters.*")])
    yield table(_HEAD, [_parameter_row(name, field) for name, field in schema["parameters"]["properties"].items()])
    yield "Any other name is a parameter of a loss of your own. All names are the loop's where `training.loop` names one.\n"
    yield table(("loss", "what it is", "its own parameters"), [_loss_row(name) for name in LOSSES])
    yield "A loss of your own is `loss: my_package.my_module:MyLoss`: see the [tutorial](../tutorial.md).\n"
    yield "## compare\n"
    yield table(_HEAD, [_row(f"compare.{key}", field, None) for key, field in schema["compare"]["properties"].items()])
    reference = next(form for form in schema["compare"]["properties"]["reference"]["anyOf"] if form["type"] == "object")
    yield table(_HEAD, [_row(f"compare.reference.{key}", field, "required") for key, field in reference["properties"].items()])
    yield "## search\n"
    yield table(_HEAD, [_row(f"search.{key}", field, None) for key, field in schema["search"]["properties"].items()])
    yield table(("metric", "unit", "what it is"), [(code(name), metric.unit, metric.val_doc) for name, metric in VAL_METRICS.items()])
    for role, known in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        yield f"### {role}s\n"
        yield "Written as a name, or as `{name: …}` with options of Optuna's class, which may refuse values beyond the rules below.\n"
        yield table(
            (role, "option", "type", "default", "rule", "example"), list(_algorithm_rows(role, known, schema["search"]["properties"][role]))
        )
    yield "## resources\n"
    yield table(_HEAD, [_row(f"resources.{key}", field, None) for key, field in schema["resources"]["properties"].items()])


_HEAD = ("key", "type", "default", "rule", "example", "meaning")
_FORM_KEYS = {
    "parameters.*.value": ("any", "required", "", "the constant"),
    "parameters.*.type": ("text", "`float`", "one of `float`, `int`", "whether a range is of real or of whole numbers"),
    "parameters.*.low": ("number", "required", "< high; > 0 with `log`", "lowest value, included"),
    "parameters.*.high": ("number", "required", "> low", "highest value, included"),
    "parameters.*.log": ("true or false", "`false`", "not with `step`", "uniform in the logarithm"),
    "parameters.*.step": ("number", "none; 1 for `int`", "> 0; divides high - low", "only low, low + step, …"),
    "parameters.*.choices": ("list", "required", "at least one, all of one kind, none twice", "the values, or arms"),
    "parameters.*.choices[].name": (
        "text",
        "required",
        "1 to 64 printable characters, no slash",
        "name of an arm with settings of its own",
    ),
    "parameters.*.when": ("mapping", "always", "names a parameter and values it can have", "the parameter exists only then"),
}


def _names() -> dict[str, str]:
    return {key.name: example(key) for key in all_keys()}


def _row(name: str, field: dict[str, Any], default: str | None) -> tuple[str, ...]:
    key = code(name.removeprefix("parameters.*.").rpartition(".")[2] if "[]" not in name else "name of a choice")
    if name in _FORM_KEYS:
        kind, default, rule, meaning = _FORM_KEYS[name]
        return (key if "[]" not in name else "`name` of a choice", kind, default, rule, code(_names()[name]), meaning)
    kind, rule = describe(field)
    if default is None:
        default = code(_yaml(field["default"])) if field.get("default") is not None else "none"
    if name in ("training", "compare", "search", "resources"):
        default = "every default"
    return (key, kind, default, rule, code(_names()[name]), field.get("description", ""))


def _parameter_row(name: str, field: dict[str, Any]) -> tuple[str, ...]:
    kind, rule = describe(field["anyOf"][0])
    owners = [loss for loss, entry in LOSSES.items() if name in entry.parameters]
    if owners:
        limits = LOSSES[owners[0]].parameters[name]
        kind, rule = "number", f"{limits.low:g} to {limits.high:g}; only of {', '.join(map(code, owners))}"
        default = code(f"{limits.default:g}")
    else:
        default = _default(name)
    return (
        code(name),
        kind if name != "loss" else "text",
        default,
        rule if name != "loss" else "",
        code(_names()[f"parameters.{name}"]),
        field["description"],
    )


def _loss_row(name: str) -> tuple[str, str, str]:
    entry = LOSSES[name]
    own = "; ".join(
        f"{code(key)} ({one.low:g} to {one.high:g}, default {one.default:g}): {one.doc}" for key, one in entry.parameters.items()
    )
    return code(name), entry.doc, own


def _algorithm_rows(role: str, known: dict[str, type], field: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    forms = {form["properties"]["name"]["const"]: form["properties"] for form in field["anyOf"][1:]}
    for name, algorithm in known.items():
        options = [option for option in forms[name] if option != "name"]
        if not options:
            yield code(name), "none", "", "", "", code(f"{role}: {name}")
        for option in options:
            kind, rule = describe(forms[name][option])
            yield (
                code(name),
                code(option),
                kind,
                _option_default(algorithm, option),
                rule,
                code(_names()[f"search.{role}.{name}.{option}"]),
            )


def _option_default(algorithm: type, option: str) -> str:
    if option in PER_ARM:
        return "true for an arm with conditions"
    parameter = inspect.signature(algorithm).parameters.get(option)
    if parameter is None or parameter.default is None:
        return "none"
    return "required" if parameter.default is parameter.empty else code(_yaml(parameter.default))


def describe(field: dict[str, Any]) -> tuple[str, str]:
    """Type and rule of a value in words, from its JSON Schema."""
    forms = [form for form in field.get("anyOf", [field]) if form.get("type") != "null"]
    kinds = dict.fromkeys(_kind(form) for form in forms)
    rules = dict.fromkeys(filter(None, map(_rule, forms)))
    return " or ".join(kinds), " or ".join(rules)


def _kind(form: dict[str, Any]) -> str:
    if "const" in form:
        return code(str(form["const"]))
    words = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "array": "list", "object": "mapping"}
    kinds = form.get("type", "string" if "enum" in form else "object")
    return " or ".join(words[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null")


def _rule(form: dict[str, Any]) -> str:
    if "enum" in form:
        return "one of " + ", ".join(code(str(name)) for name in form["enum"])
    if form.get("type") == "array":
        inner = _rule(form["prefixItems"][0]) if "prefixItems" in form else ""
        return f"{form['minItems']} numbers{', each ' + inner if inner else ''}"
    if ":" in form.get("pattern", ""):
        return form["description"].rstrip(".")
    if "pattern" in form:
        return "1 to 64 letters, digits, `.`, `_`, `-`; the first a letter or digit" if "name" not in form else code(form["pattern"])
    bounds = [("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<")]
    return ", ".join(f"{sign} {form[bound]:.15g}" for bound, sign in bounds if bound in form)


def _dataset_default(key: str) -> str:
    if key == "name":
        return "required"
    if key == "validation":
        usual = DatasetEntry("").validation
        others = {name: entry.validation or "required" for name, entry in DATASETS.items() if entry.validation != usual}
        return "; ".join([str(usual), *(f"{name}: {others[name]}" for name in reversed(others))])
    owners = [name for name, entry in DATASETS.items() if entry.keys.get(key) is not None]
    return f"{owners[0]}: {DATASETS[owners[0]].keys[key]}" if owners else "none"


def _training_default(key: str) -> str | None:
    if key == "learning_rate":
        return "required, here or under `parameters`"
    return _default(key) if key in TRAINING_PARAMETERS else None


def _default(name: str) -> str:
    """Of a parameter that every trial has."""
    default = TRAINING_PARAMETERS[name].default if name in TRAINING_PARAMETERS else None
    return "required" if default is None else code(_yaml(default))


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
