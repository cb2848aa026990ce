"""The JSON Schema of space files, with which editors complete them and mark mistakes. ``sweep check`` has more rules.

It is pydantic's schema of :class:`Space`, changed where a file is written otherwise than the models hold it (parameters, arms, samplers
and pruners), and with the names that the models check in code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.catalogue import LOSSES, MODELS, TRAINING_PARAMETERS, Domain
from sweeper.space.algorithms import LOWEST, PRUNERS, SAMPLERS, highest_value, options_of
from sweeper.space.schema import MAX_NAME_LENGTH, ArmChoice, Choices, Constant, FloatRange, IntRange, Search, Section, Training
from sweeper.space.space import Space

Schema = dict[str, Any]

_SCALAR: Schema = {"type": ["number", "string", "boolean"]}
_WHEN: Schema = {"$ref": "#/$defs/when"}
_ARM: Schema = {"$ref": "#/$defs/arm"}
_DEFINITIONS: Schema = {
    "when": {
        "description": Constant.model_fields["when"].description,
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}]},
    },
    "arm": {
        "description": ArmChoice.__doc__,
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "minLength": 1, "maxLength": MAX_NAME_LENGTH}},
        "additionalProperties": {"anyOf": [_SCALAR, {"type": "object"}]},
    },
}
_TYPE_NAMES: Mapping[str, str] = {"int": "integer", "float": "number", "bool": "boolean", "str": "string"}


def json_schema() -> Schema:
    """The schema, draft 2020-12, as plain data."""
    schema = _generated(Space)
    fields = schema["properties"]
    for section in ("training", "compare", "search", "resources"):
        fields[section]["type"] = ["object", "null"]
    fields["dataset"]["required"] = ["name"]  # its defaults depend on the data set: see schema.Dataset
    fields["training"]["properties"]["model"] = _model(Training.model_fields["model"].description)
    fields["training"]["properties"] |= {name: {"description": entry.doc, **_value(entry)} for name, entry in TRAINING_PARAMETERS.items()}
    policies = TRAINING_PARAMETERS["augment"].options
    fields["training"]["properties"]["augment"] |= {"type": ["string", "boolean"], "enum": [*policies, True, False]}
    fields["search"]["properties"]["sampler"] |= {**_algorithm(SAMPLERS), "default": Search().sampler.name}
    fields["search"]["properties"]["pruner"] |= {**_algorithm(PRUNERS), "default": Search().pruner.name}
    fields["parameters"] |= _parameters()
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A sweep's space",
        "description": "A space file of sweeper.",
    }
    has_loop: Schema = {"properties": {"training": {"required": ["loop"], "type": "object"}}, "required": ["training"]}
    needs_loss: Schema = {"if": has_loop, "else": {"properties": {"parameters": {"required": ["loss"]}}}}
    return {**schema, **head, "required": ["name", "dataset", "parameters"], **needs_loss, "$defs": _DEFINITIONS}


def _generated(model: type[Section]) -> Schema:
    """Pydantic's schema of a model, without titles, references, and defaults of ``null``."""
    schema = model.model_json_schema()
    # an algorithm, which may hold another, is written in a way of its own: see _algorithm
    plain: Schema = _plain(schema, {**schema.get("$defs", {}), "Algorithm": {}})
    return plain


def _plain(schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_plain(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:  # the field's own description goes before that of its class
        referred = definitions[schema["$ref"].rpartition("/")[2]]
        return _plain({**referred, **{key: value for key, value in schema.items() if key != "$ref"}}, definitions)
    left_out = {"title", "$defs"} | ({"default"} if schema.get("default") in (None, {}) else set())
    if "const" in schema:
        left_out.add("enum")  # pydantic before 2.10 says the same twice
    return {key: _plain(value, definitions) for key, value in schema.items() if key not in left_out}


def _parameters() -> Schema:
    """The section ``parameters``; a name that the catalogue does not know is a parameter of a loss, or of a training loop,
    of the user's own.
    """
    loss = f"Which loss: {', '.join(LOSSES)}, or package.module:name of your own."
    model = f"Which network, where it differs between trials: {', '.join(MODELS)}, or package.module:Name of your own."
    own = {name: entry for loss in LOSSES.values() for name, entry in loss.parameters.items()}
    properties: dict[str, Schema] = {
        "loss": {"description": loss, **_parameter(_own_or(LOSSES, "loss"))},
        "model": {"description": model, **_parameter(_own_or(MODELS, "model"))},
        **{name: {"description": entry.doc, **_parameter(_value(entry))} for name, entry in TRAINING_PARAMETERS.items()},
        **{name: {"description": entry.doc, **_parameter({"type": "number"})} for name, entry in own.items()},
    }
    return {"properties": properties, "additionalProperties": _parameter(_SCALAR)}


def _parameter(value: Schema) -> Schema:
    """A parameter whose values are ``value``, in each of its forms."""
    forms = [_generated(form) for form in (FloatRange, IntRange, Choices, Constant)]
    for form in forms:
        form["properties"]["when"] = _WHEN
    *_, choices, constant = forms
    choices["properties"]["choices"]["items"] = {"anyOf": [value, _ARM]}
    constant["properties"]["value"] = {**value, "description": Constant.model_fields["value"].description}
    return {"anyOf": [value, *forms]}


def _value(entry: Domain) -> Schema:
    if entry.kind == "bool":
        return {"type": "boolean"}
    if entry.options:
        return {"type": "string", "enum": list(entry.options)}
    low = "exclusiveMinimum" if entry.low_open else "minimum"
    return {"type": "integer" if entry.kind == "int" else "number", low: entry.low, "maximum": entry.high}


def _own_or(known: Mapping[str, object], what: str) -> Schema:
    own = {"type": "string", "pattern": r"^[^:]+:[^:]+$", "description": f"package.module:Name of your own {what}."}
    return {"anyOf": [{"enum": list(known)}, own]}


def _model(description: str | None) -> Schema:
    """A model by name, or one of the user's own with arguments."""
    known, own = _own_or(MODELS, "model")["anyOf"]
    argument = {"type": ["number", "string", "boolean", "null"]}
    with_arguments = {"type": "object", "required": ["path"], "properties": {"path": own}, "additionalProperties": argument}
    return {"description": description, "default": Training().default_model.path, "anyOf": [known, own, with_arguments]}


def _algorithm(known: Mapping[str, type]) -> Schema:
    forms: list[Schema] = [{"enum": list(known)}]
    for name in known:
        options: dict[str, Schema] = {"name": {"const": name}, **{key: _option(key, kinds) for key, kinds in options_of(name).items()}}
        if name == "patient":
            options["wrapped"] = {"description": "The pruner that is held back.", "type": ["string", "object"]}
        forms.append({"type": "object", "required": ["name"], "additionalProperties": False, "properties": options})
    return {"anyOf": forms}


def _option(name: str, kinds: set[str]) -> Schema:
    types = sorted(_TYPE_NAMES[kind] for kind in kinds)
    limits = {"minimum": LOWEST.get(name), "maximum": highest_value(name, kinds)}
    return {"type": types[0] if len(types) == 1 else types, **{key: limit for key, limit in limits.items() if limit is not None}}
