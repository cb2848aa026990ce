"""A JSON Schema of space files, so that editors complete them and mark slips while one types. ``sweep check`` knows more rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sweeper.catalogue import DATASETS, LOSSES, MODELS, TRAINING_PARAMETERS, LossParameter, TrainingParameter
from sweeper.records import VAL_METRICS
from sweeper.space.algorithms import LOWEST, PRUNERS, SAMPLERS, highest_value, option_types
from sweeper.space.schema import Compare, Dataset, Resources, Section, Training

Schema = dict[str, Any]

_SCALAR: Schema = {"type": ["number", "string", "boolean"]}
_WHEN: Schema = {"$ref": "#/$defs/when"}
_ARM: Schema = {"$ref": "#/$defs/arm"}
_DEFINITIONS: Schema = {
    "when": {
        "description": "The parameter exists only where another has this value, or one of these.",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}]},
    },
    "arm": {
        "description": "An arm with a name and settings of its own: constants, or ranges.",
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 64}},
        "additionalProperties": {"anyOf": [_SCALAR, {"type": "object"}]},
    },
}
_TYPE_NAMES: Mapping[str, str] = {"int": "integer", "float": "number", "bool": "boolean", "str": "string"}
_DOCS: Mapping[str, str] = {
    "name": "Name of the sweep; its id is this name and the time.",
    "dataset": "Which images.",
    "training": "What all trials share. Parameters of the optimiser that are not tuned stand here.",
    "parameters": "What is tuned, and what is compared: a constant, a range {low, high}, or {choices: [...]}.",
    "compare": "The compared parameter, its budget, and how often the best of each arm is confirmed.",
    "search": "The metric, the sampler and the pruner.",
    "resources": "What one trial occupies.",
    "seed": "Seed of samplers, splits, weights and batches.",
}
_FIELD_DOCS: Mapping[str, Mapping[str, str]] = {
    "dataset": {
        "validation": "Images held out of train for pruning and choosing; 'test' measures every epoch on the test split.",
        "data_dir": "Folder of the data set's files.",
        "train_images": "Training images to generate (synthetic).",
        "test_images": "Test images to generate (synthetic).",
        "image": "Column of the encoded images (parquet); img or image where it is not named.",
        "label": "Column of the labels (parquet): numbers from 0, text, or true and false; label or labels where it is not named.",
        "image_size": "Side in pixels to which images are resized.",
        "mean": "Mean per channel for normalising, of pixels from 0 to 1.",
        "std": "Standard deviation per channel for normalising, of pixels from 0 to 1.",
    },
    "training": {
        "epochs": "Epochs of a trial that is not pruned.",
        "reduction": "batch: mean over images. elements: mean over images x classes for elementwise losses.",
        "augment": "Random crops and flips of training images.",
    },
    "compare": {
        "arms": "The compared parameter: one study, one pruner and one budget per choice of it.",
        "trials_per_arm": "Trials that each arm's search may use.",
        "seeds": "Fresh seeds on which each arm's best is confirmed; 0 skips the confirm phase.",
        "reference": "Published test accuracies that a report shows beside ours.",
    },
    "resources": {
        "cpus_per_trial": "CPU cores of a trial.",
        "gpus_per_trial": "GPUs of a trial; fractions share one; auto: one where there is any.",
        "pack": "Trials that one device trains together as one fused model.",
        "max_failures": "How often a failed trial is tried again.",
    },
}


def json_schema() -> Schema:
    """The schema, draft 2020-12, as plain data."""
    parameters = {
        "type": "object",
        "required": ["loss"],
        "properties": {
            "loss": {
                "description": f"Which loss: {', '.join(LOSSES)}, or package.module:name of your own.",
                **_parameter(_own_or(LOSSES, "loss")),
            },
            **{name: _described(entry, _parameter(_training_value(entry))) for name, entry in TRAINING_PARAMETERS.items()},
            **{name: _described(entry, _parameter({"type": "number"})) for name, entry in _loss_parameters().items()},
        },
        "additionalProperties": _parameter(_SCALAR),
    }
    sections: Mapping[str, tuple[type[Section], Mapping[str, Schema]]] = {
        "dataset": (Dataset, {"name": _named(DATASETS)}),
        "training": (
            Training,
            {
                "model": _own_or(MODELS, "model"),
                **{name: _described(entry, _training_value(entry)) for name, entry in TRAINING_PARAMETERS.items()},
            },
        ),
        "compare": (Compare, {}),
        "resources": (Resources, {}),
    }
    properties: dict[str, Schema] = {
        "name": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
        **{name: _section(name, model, own) for name, (model, own) in sections.items()},
        "parameters": parameters,
        "search": _search(),
        "seed": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1, "default": 1},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A sweep's space",
        "type": "object",
        "required": ["name", "dataset", "parameters"],
        "additionalProperties": False,
        "properties": {name: {"description": _DOCS[name], **properties[name]} for name in _DOCS},
        "$defs": _DEFINITIONS,
    }


def _section(name: str, model: type[Section], own: Mapping[str, Schema]) -> Schema:
    """A section from its pydantic model, with what the model checks in code (names from the catalogue) written out."""
    schema = _plain(model.model_json_schema(), model.model_json_schema().get("$defs", {}))
    for key, field in schema["properties"].items():
        if key in own:
            schema["properties"][key] = {**own[key], **({"default": field["default"]} if field.get("default") is not None else {})}
        if key in _FIELD_DOCS.get(name, {}):
            schema["properties"][key] = {"description": _FIELD_DOCS[name][key], **schema["properties"][key]}
    if name == "dataset":  # its defaults depend on the data set: see schema.Dataset
        return {**schema, "required": ["name"]}
    return {**schema, "type": ["object", "null"]}


def _plain(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """A pydantic schema without titles, references, descriptions of classes, and defaults of ``null``."""
    if isinstance(schema, list):
        return [_plain(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _plain(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    kept = {
        key: value
        for key, value in schema.items()
        if key not in {"title", "description", "$defs"} and not (key == "default" and value is None)
    }
    if "const" in kept:
        kept.pop("enum", None)  # pydantic before 2.10 says the same twice
    if "properties" in kept:
        kept["properties"] = {name: _plain(value, definitions) for name, value in schema["properties"].items()}
    return {key: value if key == "properties" else _plain(value, definitions) for key, value in kept.items()}


def _search() -> Schema:
    return {
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {
            "metric": {"description": "What is optimised and pruned by.", **_named(VAL_METRICS), "default": "val_accuracy"},
            "sampler": {"description": "Optuna's sampler and its options.", **_algorithm(SAMPLERS), "default": "tpe"},
            "pruner": {"description": "Optuna's pruner and its options.", **_algorithm(PRUNERS), "default": "median"},
        },
    }


def _algorithm(known: Mapping[str, type]) -> Schema:
    forms: list[Schema] = [_named(known)]
    for name, algorithm in known.items():
        types = option_types(algorithm) if name != "grid" else {"points": {"int"}}
        options: dict[str, Schema] = {"name": {"const": name}, **{key: _option(key, kinds) for key, kinds in types.items()}}
        if name == "patient":
            options["wrapped"] = {"description": "The pruner that is held back.", "type": ["string", "object"]}
        forms.append({"type": "object", "required": ["name"], "additionalProperties": False, "properties": options})
    return {"anyOf": forms}


def _option(name: str, kinds: set[str]) -> Schema:
    types = sorted(_TYPE_NAMES[kind] for kind in kinds)
    limits = {"minimum": LOWEST.get(name), "maximum": highest_value(name, kinds)}
    return {"type": types[0] if len(types) == 1 else types, **{key: limit for key, limit in limits.items() if limit is not None}}


def _parameter(value: Schema) -> Schema:
    """A parameter whose values are ``value``, in each of its forms."""
    ends = {
        "type": {"enum": ["float", "int"], "default": "float"},
        "low": {"type": "number", "description": "Lowest value, included."},
        "high": {"type": "number", "description": "Highest value, included."},
        "log": {"type": "boolean", "default": False, "description": "Uniform in the logarithm."},
        "step": {"type": "number", "exclusiveMinimum": 0, "description": "Only low, low + step, ..."},
        "when": _WHEN,
    }
    choices = {"type": "array", "minItems": 1, "items": {"anyOf": [value, _ARM]}, "description": "One of several values."}
    forms: list[Schema] = [
        value,
        {"type": "object", "required": ["low", "high"], "additionalProperties": False, "properties": ends},
        {"type": "object", "required": ["choices"], "additionalProperties": False, "properties": {"choices": choices, "when": _WHEN}},
        {"type": "object", "required": ["value"], "additionalProperties": False, "properties": {"value": value, "when": _WHEN}},
    ]
    return {"anyOf": forms}


def _own_or(known: Mapping[str, object], what: str) -> Schema:
    own = {"type": "string", "pattern": r"^[^:]+:[^:]+$", "description": f"package.module:Name of your own {what}."}
    return {"anyOf": [_named(known), own]}


def _training_value(entry: TrainingParameter) -> Schema:
    low = "exclusiveMinimum" if entry.low_open else "minimum"
    return {"type": "integer" if entry.type is int else "number", low: entry.low, "maximum": entry.high}


def _loss_parameters() -> dict[str, LossParameter]:
    return {name: parameter for loss in LOSSES.values() for name, parameter in loss.parameters.items()}


def _named(known: Mapping[str, object]) -> Schema:
    return {"enum": list(known)}


def _described(entry: TrainingParameter | LossParameter, schema: Schema) -> Schema:
    return {"description": re.sub(r"\s+", " ", entry.doc), **schema}
