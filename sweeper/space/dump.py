"""Writes a space as YAML with every default spelled out: what a sweep stores, and what reads back as the same space."""

from __future__ import annotations

from typing import Any

import yaml

from sweeper.space.schema import LOOP_KEYS, ArmChoice, Choices, Constant, FloatRange, IntRange, Parameter
from sweeper.space.space import Space
from sweeper.space.yaml_lines import RESOLVERS

LINE_WIDTH = 120


class PlainDumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would take for something else, so that any reader sees text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  the signature is PyYAML's
        return True


for _tag, _pattern, _first in RESOLVERS:
    PlainDumper.add_implicit_resolver(_tag, _pattern, _first)


def dump_space(space: Space) -> str:
    """YAML with every default written out; ``parse_space(dump_space(space), …) == space``."""
    data = space.model_dump(exclude_none=True, exclude={"parameters", "search"}, mode="python")
    if space.training.model is not None:
        data["training"]["model"] = space.training.model.as_written()
    data["parameters"] = {name: _parameter(parameter) for name, parameter in space.parameters.items()}
    if space.training.loop is not None:  # beside which the other keys are refused
        data["training"] = {key: value for key, value in data["training"].items() if key in LOOP_KEYS}
    search = space.search
    data["search"] = {"metric": search.metric, "sampler": search.sampler.as_written(), "pruner": search.pruner.as_written()}
    ordered = {name: data[name] for name in type(space).model_fields}
    return yaml.dump(ordered, Dumper=PlainDumper, sort_keys=False, allow_unicode=True, width=LINE_WIDTH, default_flow_style=None)


def _parameter(parameter: Parameter) -> Any:
    if isinstance(parameter, Constant) and not parameter.when:
        return parameter.value
    data: dict[str, Any]
    if isinstance(parameter, Choices):
        data = {"choices": [_arm(choice) if isinstance(choice, ArmChoice) else choice for choice in parameter.choices]}
    else:
        data = parameter.model_dump(exclude_none=True, exclude={"when"})
    if isinstance(parameter, IntRange | FloatRange) and parameter.log:
        data.pop("step", None)
    when = {name: list(wanted) if len(wanted) != 1 else wanted[0] for name, wanted in parameter.when.items()}
    return {**data, **({"when": when} if when else {})}


def _arm(choice: ArmChoice) -> dict[str, Any]:
    return {"name": choice.name, **{name: _parameter(setting) for name, setting in choice.settings.items()}}
