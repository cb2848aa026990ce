"""One parameter of a space file: which form it is written in, and every rule that it alone can break."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from sweeper.catalogue import TRAINING_PARAMETERS
from sweeper.records import Value
from sweeper.space.elsewhere import meant_by, nearest_here
from sweeper.space.keys import unknown_key
from sweeper.space.loss_signatures import Argument, Kind
from sweeper.space.schema import ArmChoice, Choices, Condition, Constant, FloatRange, IntRange, Parameter
from sweeper.space.wording import Path, dotted, reworded, unquoted
from sweeper.text import letters, limit, printable, shown

Model = TypeVar("Model", bound=BaseModel)
LARGEST_INTEGER = 2**63 - 1
FORM_KEYS = dict.fromkeys(("type", "low", "high", "log", "step", "choices", "value", "when"))
"""Keys of a parameter, in the order in which they are written."""
NUMBER = r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"
DECIMAL_COMMA = "numbers have a decimal point: 0.001"
MOST_CHARACTERS = 80
"""Of a parameter that a message writes out."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem before its line is known: the value it is about, and ``at``, the key whose line is shown, where that is another one."""

    path: Path
    message: str
    at: Path | None = None


@dataclass(frozen=True, slots=True)
class Domain:
    """What a parameter may hold, whatever form it is written in; ``low`` itself is excluded where ``low_open``."""

    kind: Kind
    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False


TEXT = Domain("text")
ANYTHING = Domain("any")
TRAINING_DOMAINS: Mapping[str, Domain] = {
    name: Domain("int" if entry.type is int else "float", entry.low, entry.high, entry.low_open)
    for name, entry in TRAINING_PARAMETERS.items()
}


def common_domain(arguments: list[Argument]) -> Domain:
    """What suits every loss that has a parameter of one name."""
    kinds = {argument.kind for argument in arguments} - {"any"}
    kind = kinds.pop() if len(kinds) == 1 else "any"
    return Domain(kind, max(argument.low for argument in arguments), min(argument.high for argument in arguments))


def is_among(value: Value, wanted: Iterable[Value]) -> bool:
    """Membership in which ``true`` is not 1."""
    return any(isinstance(value, bool) == isinstance(other, bool) and value == other for other in wanted)


def plain_choices(choices: Iterable[ArmChoice | Value]) -> tuple[Value, ...]:
    """The choices that are values, without arms."""
    return tuple(choice for choice in choices if not isinstance(choice, ArmChoice))


class UnfitError(Exception):
    """A value outside its domain; the message is the rule and the value."""


def fitted(value: object, domain: Domain) -> Value:
    """``value`` in the type of its domain (1 becomes 1.0 for a float parameter).

    Raises:
        UnfitError: with the rule that it breaks.
    """
    if not isinstance(value, bool | int | float | str):
        raise UnfitError(f"must be a number, text, true or false, got {shown(value)}")
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
    _check_limits(value, domain)
    return float(value) if domain.kind == "float" else value


def _check_limits(value: float, domain: Domain, name: str = "") -> None:
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
    """What to say of a key that the mapping around ``place`` in ``model``, which stands at ``path``, does not have."""
    for key in place[:-1]:
        annotation = model.model_fields[str(key)].annotation if key in model.model_fields else None
        model = next((part for part in get_args(annotation) if isinstance(part, type) and issubclass(part, BaseModel)), model)
    known = list(model.model_fields)
    if path[:1] == ("parameters",):
        return lambda key: DECIMAL_COMMA if str(key).isdigit() else nearest_here(key, known, "form")
    return lambda key: unknown_key(key, dotted((*path, *place[:-1])), known)


def parse_parameter(raw: object, name: str, path: Path, domain_of: Callable[[str], Domain]) -> tuple[Parameter | None, list[Finding]]:
    """The parameter ``name`` as written in ``raw``, and everything wrong with it taken alone."""
    if isinstance(raw, list):
        return None, [Finding(path, f"several values are written {_flow({'choices': raw}) or '{choices: [...]}'}, got {shown(raw)}")]
    if raw is None:
        return None, [Finding(path, "needs a value, {low: ..., high: ...} or {choices: [...]}, got nothing")]
    if not isinstance(raw, dict):
        raw = {"value": raw}
        path_of_value = path
    else:
        path_of_value = (*path, "value")
    if not raw.keys() <= FORM_KEYS.keys() and (here := _translated(raw)):
        return None, [Finding(path, f"is written {here} here, got {_flow(raw) or 'other keys'}")]
    raw, findings = _with_conditions_as_lists(raw, path)
    if "choices" in raw:
        return _choices(raw, name, path, domain_of, findings)
    if "value" in raw:
        return _constant(raw, path, path_of_value, domain_of(name), findings)
    if raw.keys() & {"low", "high", "type", "log", "step"}:
        return _range(raw, name, path, domain_of(name), findings)
    forms = ("choices", "value", "low", "high")
    hints = [f"unknown key {shown(key)}; {nearest_here(key, forms, 'form')}" for key in raw if key != "when"]
    hint = f" ({min(hints, key=lambda text: '; known: ' in text)})" if hints else ""
    return None, [*findings, Finding(path, f"needs low and high, choices, or value{hint}")]


def _translated(raw: Mapping[str, Any]) -> str | None:
    """A parameter in the words of other tools in those of this one; ``None`` where it is not made of such words."""
    here: dict[str, Any] = {}
    for key, value in raw.items():
        meant = key if key in FORM_KEYS else meant_by(str(key), "form")
        if meant in FORM_KEYS and meant != "type":
            here[meant] = value
        elif isinstance(value, str) and (meant == "type" or letters(str(key)) in ("distribution", "dist")):
            here |= _type_here(value)
        else:
            return None
    return _flow({key: here[key] for key in FORM_KEYS if key in here}) if here.keys() & {"choices", "value", "low"} else None


def _type_here(word: str) -> dict[str, Any]:
    """The keys that say what a distribution or a type of another tool says."""
    name = letters(word)
    is_whole = name.startswith(("int", "q", "discrete")) or name.endswith(("int", "integer"))
    return {**({"type": "int"} if is_whole and "float" not in name else {}), **({"log": True} if "log" in name else {})}


def as_parameter(text: str) -> str | None:
    """``loguniform(1e-4, 1e-1)``, as Ray Tune, Optuna or Hydra writes it, as it is written here."""
    call = re.fullmatch(r"(?:\w+\.)*(\w+)\((.*)\)", text.strip())
    if call is None:
        return None
    name, arguments = letters(call[1]), [part.strip(" []'\"") for part in call[2].split(",")]
    if name in ("choice", "choices", "gridsearch", "categorical", "suggestcategorical"):
        return f"{{choices: [{', '.join(arguments)}]}}"
    ends = [part for part in arguments if re.fullmatch(NUMBER, part)][:2]
    if len(ends) < 2 or not re.search("uniform|interval|range|int|float", name):
        return None
    whole = "type: int, " if re.search("int(?!erval)|range", name) else ""
    is_log = "log" in name or re.search(r"log\s*=\s*[Tt]rue", text) is not None
    return f"{{{whole}low: {ends[0]}, high: {ends[1]}{', log: true' if is_log else ''}}}"


def _flow(raw: Mapping[str, Any]) -> str | None:
    """A short mapping of plain values as YAML writes it in one line; ``None`` if it is long or holds anything else."""
    values = [each for value in raw.values() for each in (value if isinstance(value, list) else [value])]
    if not all(isinstance(value, bool | int | float | str) for value in values):
        return None
    parts = ", ".join(f"{key}: {_one_line(value)}" for key, value in raw.items())
    return f"{{{parts}}}" if len(parts) <= MOST_CHARACTERS else None


def _one_line(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_one_line, value))}]"
    return printable(value) if isinstance(value, str) else shown(value)


def conditions_of(raw: object) -> Condition:
    """The conditions of a parameter as written in ``raw``, as far as they can be read, whatever else is wrong with it."""
    return _with_conditions_as_lists(raw, ())[0].get("when", {}) if isinstance(raw, dict) else {}


def _with_conditions_as_lists(raw: dict[str, Any], path: Path) -> tuple[dict[str, Any], list[Finding]]:
    if "when" not in raw:
        return raw, []
    rest = {key: value for key, value in raw.items() if key != "when"}
    when = raw["when"]
    if not isinstance(when, dict) or not when:
        return rest, [Finding((*path, "when"), f"must name a parameter and its value, as in {{loss: focal}}, got {shown(when)}")]
    conditions: dict[str, tuple[Value, ...]] = {}
    findings = []
    for key, wanted in when.items():
        values = wanted if isinstance(wanted, list) else [wanted]
        try:
            conditions[key] = tuple(fitted(value, ANYTHING) for value in values)
            if not values:
                raise UnfitError("must name at least one value, got an empty list")
        except UnfitError as error:
            findings.append(Finding((*path, "when", key), str(error)))
            conditions.pop(key, None)
    return {**rest, "when": conditions}, findings


def _constant(
    raw: dict[str, Any], path: Path, path_of_value: Path, domain: Domain, findings: list[Finding]
) -> tuple[Parameter | None, list[Finding]]:
    try:
        raw = {**raw, "value": fitted(raw["value"], domain)}
    except UnfitError as error:
        return None, [*findings, Finding(path_of_value, str(error))]
    constant, more = validated(Constant, raw, path)
    return constant, findings + more


def _range(raw: dict[str, Any], name: str, path: Path, domain: Domain, findings: list[Finding]) -> tuple[Parameter | None, list[Finding]]:
    written = raw.get("type", "float")
    if written not in ("float", "int"):
        message = f"must be 'float' or 'int', got {shown(written)}; text and truth values are written {{choices: [...]}}"
        return None, [*findings, Finding((*path, "type"), message)]
    if domain.kind in ("text", "bool"):
        return None, [*findings, Finding(path, f"takes {'text' if domain.kind == 'text' else 'true or false'}; write {{choices: [...]}}")]
    if domain.kind == "int" and written == "float":
        at = (*path, "type") if "type" in raw else path
        return None, [*findings, Finding(path, "is a whole number: add type: int", at)]
    if domain.kind == "float" and written == "int":
        return None, [*findings, Finding((*path, "type"), f"must be float, for {name} is a real number; step: 1 gives whole ones")]
    form: type[IntRange | FloatRange] = IntRange if written == "int" else FloatRange
    found, more = validated(form, raw, path)
    findings = findings + more
    if found is None:
        return None, findings
    findings += _range_findings(found, name, path, domain)
    return (found if not findings else None), findings


def _range_findings(found: FloatRange | IntRange, name: str, path: Path, domain: Domain) -> list[Finding]:
    low, high, step = found.low, found.high, found.step
    if low == high:
        return [Finding(path, f"low and high are both {shown(low)}; write the constant plainly, {name}: {shown(low)}", (*path, "low"))]
    if low > high:
        return [Finding(path, f"low must be < high, got low {shown(low)} and high {shown(high)}", (*path, "low"))]
    findings = []
    is_step_given = step is not None if isinstance(found, FloatRange) else step != 1
    lowest_log = "> 0" if isinstance(found, FloatRange) else ">= 1"
    if found.log and low <= 0:
        findings.append(Finding(path, f"low must be {lowest_log} when log is true, got {shown(low)}", (*path, "low")))
    else:
        try:
            _check_limits(low, domain, "low")
        except UnfitError as error:
            findings.append(Finding(path, str(error), (*path, "low")))
    try:
        _check_limits(high, domain, "high")
    except UnfitError as error:
        findings.append(Finding(path, str(error), (*path, "high")))
    if found.log and is_step_given:
        findings.append(Finding(path, f"step cannot be combined with log: true, got step {shown(step)}", (*path, "step")))
    elif step is not None and (Fraction(str(high)) - Fraction(str(low))) % Fraction(str(step)):
        message = f"step must divide high - low, got step {shown(step)} between {shown(low)} and {shown(high)}"
        findings.append(Finding(path, message, (*path, "step")))
    if not math.isfinite(high - low):
        findings.append(Finding(path, f"high - low must be finite, got low {shown(low)} and high {shown(high)}", (*path, "high")))
    return findings


def _choices(
    raw: dict[str, Any], name: str, path: Path, domain_of: Callable[[str], Domain], findings: list[Finding]
) -> tuple[Parameter | None, list[Finding]]:
    entries = raw["choices"]
    if not isinstance(entries, list) or not entries:
        got = "an empty list" if entries == [] else shown(entries)
        return None, [*findings, Finding((*path, "choices"), f"must be a list of at least one value, got {got}")]
    choices: list[ArmChoice | Value] = []
    for index, entry in enumerate(entries):
        here = (*path, "choices", index)
        if isinstance(entry, dict):
            arm, more = _arm_choice(entry, name, here, domain_of)
            findings = findings + more
            choices += [arm] if arm else []
            continue
        try:
            value = fitted(entry, domain_of(name))
        except UnfitError as error:
            findings = [*findings, Finding(here, str(error))]
            continue
        if is_among(value, plain_choices(choices)):
            findings = [*findings, Finding(here, f"duplicate choice {shown(entry)}")]
        else:
            choices.append(value)
    plain = plain_choices(choices)
    families = {"text" if isinstance(value, str) else "true or false" if isinstance(value, bool) else "numbers" for value in plain}
    if len(families) > 1:
        findings = [*findings, Finding((*path, "choices"), f"must be all of one kind, got {' and '.join(sorted(families))}")]
    elif any(isinstance(value, float) for value in plain):
        choices = [float(choice) if isinstance(choice, int) else choice for choice in choices]
    if not choices:
        return None, findings
    found, more = validated(Choices, {**raw, "choices": tuple(choices)}, path)
    return found, findings + more


def _arm_choice(entry: dict[str, Any], name: str, path: Path, domain_of: Callable[[str], Domain]) -> tuple[ArmChoice | None, list[Finding]]:
    findings: list[Finding] = []
    settings: dict[str, Parameter] = {}
    for key, raw in entry.items():
        if key == "name":
            continue
        if key == "when":
            findings.append(Finding((*path, key), "an arm has no condition"))
        elif isinstance(raw, dict) and raw.keys() & {"choices", "when"}:
            findings.append(Finding((*path, key), "an arm's own setting is a constant or a range, without choices or when"))
        else:
            setting, more = parse_parameter(raw, key, (*path, key), domain_of)
            findings += more
            if setting is not None:
                settings[key] = setting
    if name not in entry:
        findings.append(Finding(path, f"an arm among the choices of {name} must set {name}"))
    elif name in settings and not isinstance(settings[name], Constant):
        findings.append(Finding((*path, name), "must be one value, for it is what the arm is"))
    arm, more = validated(ArmChoice, {**({"name": entry["name"]} if "name" in entry else {}), "settings": settings}, path)
    findings += more
    return (arm if not findings else None), findings
