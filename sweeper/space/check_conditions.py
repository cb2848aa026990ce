"""Rules about when parameters exist: names that no loss has, conditions that cannot be met or decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sweeper.catalogue import LOSSES, TRAINING_PARAMETERS
from sweeper.custom_code import LossSignature
from sweeper.records import Value
from sweeper.space.arms import contains, possible_values
from sweeper.space.draft import Draft
from sweeper.space.keys import unknown_key
from sweeper.space.schema import Condition, Constant, FloatRange, IntRange, Parameter, Training
from sweeper.space.values import Finding, is_among
from sweeper.space.wording import Path
from sweeper.text import listed, nearest, shown

SHARED = frozenset(Training.model_fields.keys() - TRAINING_PARAMETERS.keys())
"""Keys of ``training`` that are no parameters."""


def condition_problems(draft: Draft) -> Iterator[Finding]:
    """Parameters that no loss has, conditions that cannot be decided or met, arguments that a loss needs."""
    in_cycles = {name for trail in _trails(draft.parameters) for name in trail}
    for name, parameter in draft.parameters.items():
        path: Path = ("parameters", name)
        if name == "loss" or name in TRAINING_PARAMETERS:
            if parameter.when:
                beside = TRAINING_PARAMETERS[name].when if name != "loss" else {}
                beside = {other: value for other, value in beside.items() if other in {*draft.written, *draft.constants}}
                own = " and ".join(f"it exists beside {other} {value} alone" for other, value in beside.items())
                reason = own or f"every trial needs {name}: it cannot have a condition"
                yield Finding((*path, "when"), f"{reason}; {'leave this out, or ' if own else ''}give single arms a setting of their own")
            continue
        findings = list(_condition(draft, name, parameter.when))
        yield from findings
        if not draft.all_losses_known:
            yield from _slip(draft, name)
        elif not findings and name not in in_cycles:
            yield from _ownership(draft, name, parameter)
    for name, when in draft.unread_conditions.items():
        yield from _condition(draft, name, when)
        yield from _slip(draft, name)
    for trail in _trails(draft.parameters):
        yield Finding(("parameters", trail[0], "when"), f"conditions form a cycle: {' -> '.join([*trail, trail[0]])}")
    if draft.all_losses_known:
        yield from _needed_arguments(draft)


def _slip(draft: Draft, name: str) -> Iterator[Finding]:
    """A name one letter off, which can be told even while the losses are not all known."""
    known = {"loss", *TRAINING_PARAMETERS, *(own for entry in LOSSES.values() for own in entry.parameters)}
    known |= {own for signature in draft.signatures.values() for own in signature.arguments}
    meant = unknown_key(name, "parameters", sorted(known - draft.written))
    if name not in known and not meant.startswith("known: "):
        yield Finding(("parameters", name), f"no parameter has this name; {meant}")


def _condition(draft: Draft, name: str, when: Condition) -> Iterator[Finding]:
    for other, wanted in when.items():
        at: Path = ("parameters", name, "when", other)
        if other == name:
            yield Finding(at, "a parameter cannot depend on itself")
        elif other == "loss" and other not in draft.written:
            continue  # told once, where it is missing
        elif other not in draft.written:
            hint = "it is a constant under training" if other in draft.constants else nearest(other, sorted(draft.written - {name}))
            yield Finding(at, f"no parameter has this name; {hint}")
        elif condition := draft.parameters.get(other):
            for value in wanted:
                if message := _impossible(draft, condition, other, value):
                    yield Finding(at, message)


def _impossible(draft: Draft, condition: Parameter, name: str, value: Value) -> str | None:
    values = possible_values(condition, name)
    if values is not None:
        if name == "loss" and (not draft.all_losses_known or value in draft.signatures):
            return None
        return None if is_among(value, values) else f"{name} is never {shown(value)}; {nearest(value, values)}"
    if isinstance(value, bool | str):
        return f"{name} is a number and never {shown(value)}"
    if isinstance(condition, FloatRange) and condition.step is None:
        return f"{name} is a continuous range and never exactly {shown(value)}; a condition needs choices, type: int or a step"
    if isinstance(condition, FloatRange | IntRange) and not contains(condition, name, value):
        return f"{name} is never {shown(value)}: it goes from {condition.low} to {condition.high} in steps of {condition.step}"
    return None


def _allowed_losses(draft: Draft, name: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """The losses under which the condition of ``name``, and the conditions of what it depends on, can hold."""
    allowed = set(draft.signatures)
    parameter = draft.parameters.get(name)
    for other, wanted in parameter.when.items() if parameter is not None else ():
        if other == "loss":
            allowed &= {str(value) for value in wanted}
        elif other not in seen:
            allowed &= _allowed_losses(draft, other, seen | {name})
    return allowed


def _ownership(draft: Draft, name: str, parameter: Parameter) -> Iterator[Finding]:
    allowed = _allowed_losses(draft, name)
    owners = {loss for loss, signature in draft.signatures.items() if name in signature.arguments}
    if "loss" in parameter.when:
        owners |= {loss for loss, signature in draft.signatures.items() if signature.takes_any}
    strangers = [loss for loss in draft.signatures if loss in allowed - owners]
    path: Path = ("parameters", name)
    if not allowed or not strangers:
        return
    if not owners & allowed:
        yield Finding(path, not_of(strangers, name, draft.signatures))
    elif "loss" in parameter.when:
        verb = "has" if len(strangers) == 1 else "have"
        yield Finding((*path, "when", "loss"), f"{listed(strangers)} {verb} no parameter '{name}'")
    else:
        having = [loss for loss in draft.signatures if loss in owners]
        when = f"when: {{loss: {having[0] if len(having) == 1 else '[' + ', '.join(having) + ']'}}}"
        way_out = f"write {{value: ..., {when}}}" if isinstance(parameter, Constant) else f"add {when}"
        yield Finding(path, f"only loss {listed(having)} has this parameter; {way_out}")


def not_of(losses: list[str], name: str, signatures: Mapping[str, LossSignature]) -> str:
    """What to say of a parameter ``name`` that none of ``losses`` has: whose it is, or which one may have been meant."""
    elsewhere = [loss for loss, entry in LOSSES.items() if name in entry.parameters]
    whose = f"loss {listed(losses)}" if len(losses) == 1 else f"the losses {listed(losses)}"
    if elsewhere:
        return f"is a parameter of loss {listed(elsewhere)}, not of {whose}"
    if name in SHARED:
        return f"all trials share it: write {name} under training"
    known = [*(own for loss in losses for own in signatures[loss].arguments), *TRAINING_PARAMETERS]
    return f"no parameter of {whose} has this name; {unknown_key(name, 'parameters', known)}"


def _trails(parameters: Mapping[str, Parameter]) -> list[list[str]]:
    """The cycles of conditions, each once, starting at the parameter that comes first in the file."""
    trails: list[list[str]] = []
    for start in parameters:
        trail = _way_back(parameters, start)
        if len(trail) > 1 and not any(start in other for other in trails):
            trails.append(trail)
    return trails


def _way_back(parameters: Mapping[str, Parameter], start: str) -> list[str]:
    """The shortest chain of conditions that leads from ``start`` back to it, ``start`` first; empty if none does."""
    trails = [[start]]
    seen: set[str] = set()
    while trails:
        trail = trails.pop(0)
        for other in parameters[trail[-1]].when if trail[-1] in parameters else ():
            if other == start:
                return trail
            if other not in seen:
                seen.add(other)
                trails.append([*trail, other])
    return []


def _needed_arguments(draft: Draft) -> Iterator[Finding]:
    by_arms = draft.set_by_every_arm()
    for loss, signature in draft.signatures.items():
        for name, argument in signature.arguments.items():
            if not argument.is_required or name in by_arms:
                continue
            if name not in draft.written:
                message = f"loss {shown(loss)} needs '{name}', which has no default: add it here with when: {{loss: {shown(loss)}}}"
                yield Finding(("parameters",), message)
            elif name in draft.parameters and set(draft.parameters[name].when) - {"loss"}:
                message = f"loss {shown(loss)} always needs it, for it has no default: its only condition can be loss"
                yield Finding(("parameters", name, "when"), message)
