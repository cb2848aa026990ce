"""``--set key=value``: single fields of a space file replaced from the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sweeper.errors import Problem

from .wording import Path, dotted, printable, shown
from .yaml_lines import Document, read_yaml


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
