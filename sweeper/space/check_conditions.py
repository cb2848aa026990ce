"""Rules about when parameters exist: names that no loss has, conditions that cannot be met or decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sweeper.catalogue import LOSSES, TRAINING_PARAMETERS
from sweeper.custom_code import is_import_path
from sweeper.records import Value
from sweeper.space.arms import LOSS, MODEL, Owner, Signatures, contains, possible_values
from sweeper.space.draft import Draft
from sweeper.space.keys import unknown_key
from sweeper.space.schema import ArmChoice, Choices, Condition, Constant, FloatRange, IntRange, Parameter, Training
from sweeper.space.values import Finding, is_among
from sweeper.space.wording import Path
from sweeper.text import listed, nearest, shown

SHARED = frozenset(Training.model_fields.keys() - TRAINING_PARAMETERS.keys() - {MODEL})
"""Keys of ``training`` that are no parameters."""


def condition_problems(draft: Draft) -> Iterator[Finding]:
    """Parameters that no loss has, conditions that cannot be decided or met, arguments that a loss needs."""
    in_cycles = {name for trail in _trails(draft.parameters) for name in trail}
    for name, parameter in draft.parameters.items():
        path: Path = ("parameters", name)
        if draft.has_loop:
            yield from _condition(draft, name, parameter.when)
            continue
        if name in (LOSS, MODEL, *TRAINING_PARAMETERS):
            if parameter.when:
                beside = TRAINING_PARAMETERS[name].when if name in TRAINING_PARAMETERS else {}
                beside = {other: value for other, value in beside.items() if other in {*draft.written, *draft.constants}}
                own = " and ".join(f"it exists beside {other} {value} alone" for other, value in beside.items())
                reason = own or f"every trial needs {name}: it cannot have a condition"
                yield Finding((*path, "when"), f"{reason}; {'leave this out, or ' if own else ''}give single arms a setting of their own")
            continue
        findings = [*_condition(draft, name, parameter.when), *both_have(draft, name, path), *_given_twice(draft, name, path)]
        yield from findings
        if not draft.all_losses_known:
            yield from _slip(draft, name)
        elif not findings and name not in in_cycles:
            yield from _ownership(draft, name, parameter)
    for name, when in draft.unread_conditions.items():
        yield from _condition(draft, name, when)
        yield from _slip(draft, name) if not draft.has_loop else ()
    for trail in _trails(draft.parameters):
        yield Finding(("parameters", trail[0], "when"), f"conditions form a cycle: {' -> '.join([*trail, trail[0]])}")
    if draft.all_losses_known:
        yield from _needed_arguments(draft)


def _slip(draft: Draft, name: str) -> Iterator[Finding]:
    """A name one letter off, which can be told even while the losses are not all known."""
    known = {LOSS, MODEL, *TRAINING_PARAMETERS, *(own for entry in LOSSES.values() for own in entry.parameters)}
    known |= {own for signature in (*draft.signatures.values(), *draft.models.values()) for own in signature.arguments}
    meant = unknown_key(name, "parameters", sorted(known - draft.written))
    if name not in known and not meant.startswith("known: "):
        yield Finding(("parameters", name), f"no parameter has this name; {meant}")


def _condition(draft: Draft, name: str, when: Condition) -> Iterator[Finding]:
    for other, wanted in when.items():
        at: Path = ("parameters", name, "when", other)
        if other == name:
            yield Finding(at, "a parameter cannot depend on itself")
        elif other == "loss" and other not in draft.written and not draft.has_loop:
            continue  # told once, where it is missing
        elif other not in draft.written:
            hint = (
                "it is a constant under training"
                if other in (MODEL, *draft.constants) and not draft.has_loop
                else nearest(other, sorted(draft.written - {name}))
            )
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


def _allowed_owners(draft: Draft, name: str, owner: Owner, seen: frozenset[str] = frozenset()) -> set[str]:
    """The losses, or models, under which the condition of ``name``, and the conditions of what it depends on, can hold."""
    allowed = set(draft.owners.of(owner))
    parameter = draft.parameters.get(name)
    for other, wanted in parameter.when.items() if parameter is not None else ():
        if other == owner:
            allowed &= {str(value) for value in wanted}
        elif other not in seen:
            allowed &= _allowed_owners(draft, other, owner, seen | {name})
    return allowed


def _ownership(draft: Draft, name: str, parameter: Parameter) -> Iterator[Finding]:
    owner = draft.owners.owner(name, parameter.when) or LOSS
    signatures = draft.owners.of(owner)
    allowed = _allowed_owners(draft, name, owner)
    owners = {each for each, signature in signatures.items() if name in signature.arguments}
    if owner in parameter.when or (owner == MODEL and len(signatures) == 1):
        owners |= {each for each, signature in signatures.items() if signature.takes_any}
    strangers = [each for each in signatures if each in allowed - owners]
    path: Path = ("parameters", name)
    if not allowed or not strangers:
        return
    if not owners & allowed:
        yield Finding(path, not_of(list(draft.signatures) if owner == MODEL else strangers, name, draft.owners))
    elif owner in parameter.when:
        verb = "has" if len(strangers) == 1 else "have"
        yield Finding((*path, "when", owner), f"{listed(strangers)} {verb} no parameter '{name}'")
    elif owner in draft.written:
        having = [each for each in signatures if each in owners]
        when = f"when: {{{owner}: {having[0] if len(having) == 1 else '[' + ', '.join(having) + ']'}}}"
        way_out = f"write {{value: ..., {when}}}" if isinstance(parameter, Constant) else f"add {when}"
        yield Finding(path, f"only {owner} {listed(having)} has this parameter; {way_out}")


def both_have(draft: Draft, name: str, path: Path) -> Iterator[Finding]:
    """A name that both a loss and a model have: one value cannot be meant for both."""
    losses, models = (
        [each for each, one in signatures.items() if name in one.arguments] for signatures in (draft.signatures, draft.models)
    )
    if losses and models:
        way_out = f"rename the model's, or give it its value under training, model: {{path: {models[0]}, {name}: ...}}"
        yield Finding(path, f"both loss {listed(losses)} and model {listed(models)} have this parameter; {way_out}")


def _given_twice(draft: Draft, name: str, path: Path) -> Iterator[Finding]:
    given = draft.training.default_model.arguments if draft.training and MODEL not in draft.written else {}
    if name in given and not any(name in signature.arguments for signature in draft.signatures.values()):
        yield Finding(path, f"is set under training.model too, to {shown(given[name])}; keep one of the two")


def not_of(losses: list[str], name: str, signatures: Signatures) -> str:
    """What to say of a parameter ``name`` that none of ``losses`` and no model has: whose it is, or which one may have been meant."""
    elsewhere = [loss for loss, entry in LOSSES.items() if name in entry.parameters]
    whose = f"loss {listed(losses)}" if len(losses) == 1 else f"the losses {listed(losses)}"
    if elsewhere:
        return f"is a parameter of loss {listed(elsewhere)}, not of {whose}"
    if name in SHARED:
        return f"all trials share it: write {name} under training"
    known = [*(own for loss in losses for own in signatures.losses[loss].arguments), *TRAINING_PARAMETERS]
    known += [own for signature in signatures.models.values() for own in signature.arguments]
    own_models = [model for model in signatures.models if is_import_path(model)]
    whose += f" or model {listed(own_models)}" if own_models else ""
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
    for model, signature in draft.models.items():
        for name, argument in signature.arguments.items():
            if argument.is_required and name not in {*by_arms, *draft.written} and not _set_beside(draft, model, name):
                where = ("parameters",) if MODEL in draft.written else ("training", "model")
                way_out = f"write it there, {{path: {model}, {name}: ...}}, or under parameters"
                if MODEL in draft.written:
                    way_out = f"add it here with when: {{model: {model}}}, or to the arm that has the model"
                yield Finding(where, f"model {shown(model)} needs '{name}', which has no default: {way_out}")


def _set_beside(draft: Draft, model: str, name: str) -> bool:
    """Whether each arm that has the model sets ``name`` too."""
    arms = [choice for parameter in draft.parameters.values() if isinstance(parameter, Choices) for choice in parameter.choices]
    having = [arm for arm in arms if isinstance(arm, ArmChoice) and arm.settings.get(MODEL) == Constant(value=model)]
    return bool(having) and model not in arms and all(name in arm.settings for arm in having)
