"""One parameter of a space file: the forms in which it can be written, and every rule that concerns it alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from sweeper.catalogue import Domain
from sweeper.records import Value
from sweeper.space.elsewhere import in_one_line, suggestion, translated
from sweeper.space.schema import ArmChoice, Choices, Condition, Constant, FloatRange, IntRange, Parameter
from sweeper.space.values import Finding, UnfitError, check_limits, family, fitted, is_among, validated
from sweeper.space.wording import Path
from sweeper.text import shown

FORM_KEYS = [*dict.fromkeys(key for form in (FloatRange, Choices, Constant) for key in form.model_fields if key != "when"), "when"]
"""Keys of a parameter, in the order in which they are written."""


def parse_parameter(raw: object, name: str, path: Path, domain_of: Callable[[str], Domain]) -> tuple[Parameter | None, list[Finding]]:
    """The parameter ``name`` as written in ``raw``, and everything wrong with it taken alone."""
    if isinstance(raw, list):
        return None, [Finding(path, f"several values are written {in_one_line({'choices': raw}) or '{choices: [...]}'}, got {shown(raw)}")]
    if raw is None:
        return None, [Finding(path, "needs a value, {low: ..., high: ...} or {choices: [...]}, got nothing")]
    if not isinstance(raw, dict):
        raw = {"value": raw}
        path_of_value = path
    else:
        path_of_value = (*path, "value")
    if not raw.keys() <= set(FORM_KEYS) and (here := translated(raw, FORM_KEYS)):
        return None, [Finding(path, f"is written {here} here, got {in_one_line(raw) or 'other keys'}")]
    raw, findings = _with_conditions_as_lists(raw, path)
    if "choices" in raw:
        return _choices(raw, name, path, domain_of, findings)
    if "value" in raw:
        return _constant(raw, path, path_of_value, domain_of(name), findings)
    if raw.keys() & {"low", "high", "type", "log", "step"}:
        return _range(raw, name, path, domain_of(name), findings)
    forms = ("choices", "value", "low", "high")
    hints = [f"unknown key {shown(key)}; {suggestion(key, forms, 'form')}" for key in raw if key != "when"]
    hint = f" ({min(hints, key=lambda text: '; known: ' in text)})" if hints else ""
    return None, [*findings, Finding(path, f"needs low and high, choices, or value{hint}")]


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
            conditions[key] = tuple(fitted(value, Domain("any")) for value in values)
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
    for key, end in (("low", low), ("high", high)):
        try:
            if found.log and end <= 0 and key == "low":
                raise UnfitError(f"low must be {lowest_log} when log is true, got {shown(low)}")
            check_limits(end, domain, key)
        except UnfitError as error:
            findings.append(Finding(path, str(error), (*path, key)))
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
    plain: list[Value] = []
    findings = list(findings)
    for index, entry in enumerate(entries):
        here = (*path, "choices", index)
        if isinstance(entry, dict):
            arm, more = _arm_choice(entry, name, here, domain_of)
            findings += more
            choices += [arm] if arm else []
            continue
        try:
            value = fitted(entry, domain_of(name))
            if is_among(value, plain):
                raise UnfitError(f"duplicate choice {shown(entry)}")
        except UnfitError as error:
            findings.append(Finding(here, str(error)))
        else:
            plain.append(value)
            choices.append(value)
    if len(families := {family(value) for value in plain}) > 1:
        findings.append(Finding((*path, "choices"), f"must be all of one kind, got {' and '.join(sorted(families))}"))
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
