"""``--set key=value``: replaces single fields of a space file from the command line."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sweeper.errors import Problem
from sweeper.space.values import is_among
from sweeper.space.wording import Path, dotted
from sweeper.space.yaml_lines import Document, read_yaml
from sweeper.text import printable, shown


def as_override(key: str, value: str | float | bool) -> str:
    """``key=value`` with the value quoted so that text stays text: a folder called ``1e5`` is no number."""
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Write each ``key=value`` into the document's data, under its flag; what cannot be written goes to its problems."""
    for override in overrides:
        flag = f"--set {printable(override)}"
        key, equals, text = override.partition("=")
        path: Path = tuple(key.strip().split("."))
        if not equals or "" in path:
            document.problems.append(Problem(None, flag, "must be written key=value, for example training.epochs=4"))
            continue
        value = read_yaml(text)
        if value.problems:
            document.problems += [Problem(None, flag, f"the value {problem.message}") for problem in value.problems]
            continue
        _write(document, path, value.data, flag)


def leave_out_unreachable(document: Document) -> tuple[str, ...]:
    """Drop the parameters whose condition cannot hold any more, because an override has fixed what it is about; a sentence for each.

    ``--set parameters.loss=l1`` on a file with ``gamma: {..., when: {loss: focal}}`` asks for l1, not for a mistake to be shown.
    """
    parameters = document.data.get("parameters")
    if not isinstance(parameters, dict):
        return ()
    flags = {str(path[1]): flag for path, flag in document.flags.items() if path[0] == "parameters" and len(path) > 1}
    fixed = {name: values for name in flags if (values := _values(parameters.get(name), name)) is not None}
    sentences: list[str] = []
    while unreachable := _unreachable(parameters, flags.keys(), fixed):
        name, other, wanted = unreachable
        del parameters[name]
        fixed[name], flags[name] = [], flags[other]
        condition = ", ".join(map(str, wanted))
        sentences.append(f"parameters.{printable(name)} is left out: with {flags[other]} its condition {other}: {condition} cannot hold")
    return tuple(sentences)


def _unreachable(
    parameters: Mapping[str, Any], overridden: Collection[str], fixed: Mapping[str, Sequence[Any]]
) -> tuple[str, str, Sequence[Any]] | None:
    """A parameter that no override is about, with the part of its condition that cannot hold."""
    for name, parameter in parameters.items():
        when = parameter.get("when") if isinstance(parameter, dict) and name not in overridden else None
        for other, wanted in when.items() if isinstance(when, dict) else ():
            values = wanted if isinstance(wanted, list) else [wanted]
            if other in fixed and not any(is_among(value, fixed[other]) for value in values):
                return name, str(other), values
    return None


def _values(raw: Any, name: str) -> list[Any] | None:
    """What a parameter as written can be; ``None`` for a range."""
    if not isinstance(raw, dict):
        return [raw]
    if "value" in raw:
        return [raw["value"]]
    choices = raw.get("choices")
    return [choice.get(name) if isinstance(choice, dict) else choice for choice in choices] if isinstance(choices, list) else None


def _write(document: Document, path: Path, value: Any, flag: str) -> None:
    holder: Any = document.data
    for depth, part in enumerate(path[:-1]):
        if part in holder and not isinstance(holder[part], dict):
            message = f"{dotted(path[: depth + 1])} is {shown(holder[part])} and has no keys; set it as a whole"
            document.problems.append(Problem(None, flag, message))
            return
        if part not in holder:
            holder[part] = {}
            document.flags[path[: depth + 1]] = flag
        holder = holder[part]
    holder[path[-1]] = value
    for known in [known for known in (*document.lines, *document.flags) if known[: len(path)] == path]:
        document.lines.pop(known, None)
        document.flags.pop(known, None)
    document.flags[path] = flag
