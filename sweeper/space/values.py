"""Checks a value against its domain and a section against its model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError

from sweeper.catalogue import Domain
from sweeper.records import Value
from sweeper.space.elsewhere import as_parameter, suggestion
from sweeper.space.keys import unknown_key
from sweeper.space.wording import Path, dotted, reworded, unquoted
from sweeper.text import limit, shown

Model = TypeVar("Model", bound=BaseModel)
LARGEST_INTEGER = 2**63 - 1
DECIMAL_COMMA = "numbers have a decimal point: 0.001"


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem before its line is known: the value it is about, and ``at``, the key whose line is shown, where that is another one."""

    path: Path
    message: str
    at: Path | None = None


def common_domain(arguments: Iterable[Domain]) -> Domain:
    """What suits every loss that has a parameter of one name; anything where none has."""
    arguments = list(arguments) or [Domain("any")]
    kinds = {argument.kind for argument in arguments} - {"any"}
    kind = kinds.pop() if len(kinds) == 1 else "any"
    return Domain(kind, max(argument.low for argument in arguments), min(argument.high for argument in arguments))


def is_among(value: Value, wanted: Iterable[Value]) -> bool:
    """Membership in which ``true`` is not 1."""
    return any(isinstance(value, bool) == isinstance(other, bool) and value == other for other in wanted)


def family(value: Value) -> str:
    """The kind of value that one column can hold, in words."""
    return "true or false" if isinstance(value, bool) else "text" if isinstance(value, str) else "numbers"


class UnfitError(Exception):
    """A value outside its domain; the message is the rule and the value."""


def fitted(value: object, domain: Domain) -> Value:
    """``value`` in the type of its domain (1 becomes 1.0 for a float parameter).

    Raises:
        UnfitError: with the rule that it breaks.
    """
    if not isinstance(value, bool | int | float | str):
        raise UnfitError(f"must be a number, text, true or false, got {shown(value)}")
    if domain.options and value not in domain.options:
        raise UnfitError(f"must be one of {', '.join(domain.options)}, got {shown(value)}")
    if domain.kind == "text" and not isinstance(value, str):
        raise UnfitError(f"must be text, got {shown(value)}")
    if domain.kind == "bool" and not isinstance(value, bool):
        raise UnfitError(f"must be true or false, got {shown(value)}")
    here = as_parameter(value) if isinstance(value, str) else None
    way_out = f"; write {here}" if here else unquoted(value) if isinstance(value, str) else ""
    if domain.kind == "int" and (isinstance(value, bool) or not isinstance(value, int)):
        raise UnfitError(f"must be an integer, got {shown(value)}{way_out}")
    if domain.kind == "float" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise UnfitError(f"must be a number, got {shown(value)}{way_out}")
    if isinstance(value, bool | str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise UnfitError(f"must be a finite number, got {shown(value)}")
    if abs(value) > LARGEST_INTEGER and isinstance(value, int):
        raise UnfitError(f"must lie within 64 bits, got {shown(value)}")
    check_limits(value, domain)
    return float(value) if domain.kind == "float" else value


def check_limits(value: float, domain: Domain, name: str = "") -> None:
    """Refuse a number outside its domain, called ``name`` where it is an end of a range.

    Raises:
        UnfitError: with the limit.
    """
    prefix = f"{name} " if name else ""
    if domain.low_open and value <= domain.low:
        raise UnfitError(f"{prefix}must be > {limit(domain.low)}, got {shown(value)}")
    if value < domain.low:
        raise UnfitError(f"{prefix}must be >= {limit(domain.low)}, got {shown(value)}")
    if value > domain.high:
        raise UnfitError(f"{prefix}must be <= {limit(domain.high)}, got {shown(value)}")


def validated(model: type[Model], raw: object, path: Path) -> tuple[Model | None, list[Finding]]:
    """``raw`` as ``model`` and what is wrong with it; without the wrong keys if the rest suffices, so that later rules see it."""
    try:
        return model.model_validate(raw), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    findings = [Finding((*path, *detail["loc"]), reworded(detail, _unknown_in(model, detail["loc"], path))) for detail in details]
    if not isinstance(raw, dict):
        return None, findings
    guilty = {detail["loc"][0] for detail in details if detail["loc"]}
    try:
        return model.model_validate({key: value for key, value in raw.items() if key not in guilty}), findings
    except ValidationError:
        return None, findings


def _unknown_in(model: type[BaseModel], place: Path, path: Path) -> Callable[[object], str]:
    """What to say about an unknown key of the mapping around ``place`` in ``model``, which is at ``path``."""
    for key in place[:-1]:
        annotation = model.model_fields[str(key)].annotation if key in model.model_fields else None
        model = next((part for part in get_args(annotation) if isinstance(part, type) and issubclass(part, BaseModel)), model)
    known = list(model.model_fields)
    if path[:1] == ("parameters",):
        return lambda key: DECIMAL_COMMA if str(key).isdigit() else suggestion(key, known, "form")
    return lambda key: unknown_key(key, dotted((*path, *place[:-1])), known)
