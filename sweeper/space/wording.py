"""The wording of problems: the value as the file has it, the nearest valid name, pydantic's findings in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import ErrorDetails, PydanticCustomError

from sweeper.text import cut, limit, nearest_name, printable, shown

Path = tuple[str | int, ...]
"""The place of a value in a space file: keys and list positions from the top."""


def dotted(path: Path) -> str:
    """``parameters.loss.choices[1].gamma``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{cut(printable(part))}" for part in path)
    return text.removeprefix(".")


def rule(message: str) -> PydanticCustomError:
    """An error for pydantic validators to raise whose text reaches the user as it is."""
    return PydanticCustomError("rule", "{message}", {"message": message})


COMPARISONS = {
    "greater_than": (">", "gt"),
    "greater_than_equal": (">=", "ge"),
    "less_than": ("<", "lt"),
    "less_than_equal": ("<=", "le"),
}
EXPECTED = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "dict": "a mapping of keys to values",
    "model": "a mapping of keys to values",
    "list": "a list",
    "tuple": "a list",
    "finite": "a finite number",
}


def unquoted(text: str) -> str:
    """The way out for a text where a number or a truth value is needed, where it looks like one: the end of a message."""
    if text.lower() in ("yes", "on", "y", "no", "off", "n"):
        return f"; write {'true' if text.lower() in ('yes', 'on', 'y') else 'false'}"
    if text in ("true", "false") or re.fullmatch(r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?", text):
        return f"; write {text} without quotes"
    return f"; write {text.replace(',', '.')}" if re.fullmatch(r"[-+]?[0-9]+,[0-9]+", text) else ""


def reworded(error: ErrorDetails, unknown: Callable[[object], str]) -> str:
    """The message for one of pydantic's findings; ``unknown``: what to say of a key that its mapping does not have."""
    kind, value = error["type"], error["input"]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "rule":
        return str(context["message"])
    if kind == "extra_forbidden":
        return f"unknown key; {unknown(error['loc'][-1])}"
    if kind == "missing":
        return "is missing"
    if kind in COMPARISONS:
        sign, bound = COMPARISONS[kind]
        return f"must be {sign} {limit(context[bound])}, got {shown(value)}"
    if kind == "literal_error":
        meant = nearest_name(value, re.findall(r"'(.*?)'", context["expected"]))
        return f"must be {context['expected']}, got {shown(value)}" + (f"; did you mean '{meant}'?" if meant is not None else "")
    if kind in ("string_too_short", "too_short"):
        return "must not be empty"
    if isinstance(value, str) and kind in ("int_type", "float_type", "bool_type"):
        return f"must be {EXPECTED[kind.partition('_')[0]]}, got {shown(value)}{unquoted(value)}"
    if kind == "int_from_float" or kind.startswith("int_parsing"):
        return f"must be an integer, got {shown(value)}"
    expected = EXPECTED.get(kind.partition("_")[0])
    return f"must be {expected}, got {shown(value)}" if expected else f"{error['msg']}, got {shown(value)}"
