"""The arms of a space and the parameters of each, fixed or free, ordered so that conditions can be decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from sweeper.catalogue import TRAINING_PARAMETERS
from sweeper.custom_code import LossSignature
from sweeper.records import Value
from sweeper.space.schema import ArmChoice, Choices, Condition, Constant, FloatRange, IntRange, Parameter
from sweeper.space.values import is_among

Owner: TypeAlias = Literal["loss", "model"]
LOSS: Final = "loss"
MODEL: Final = "model"


@dataclass(frozen=True)
class Arm:
    """One value of the compared parameter. ``settings``: what it fixes; ``ranges``: what it alone draws from a range of its own."""

    name: str
    settings: Mapping[str, Value]
    ranges: Mapping[str, FloatRange | IntRange] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Definition:
    """A parameter as one arm has it. It is drawn where every key of ``when`` was drawn with one of its values."""

    name: str
    parameter: Parameter
    when: Condition

    @property
    def is_free(self) -> bool:
        """Whether two trials of the arm can differ in it."""
        return not isinstance(self.parameter, Constant) and not (isinstance(self.parameter, Choices) and len(self.parameter.choices) == 1)

    def is_active(self, drawn: Mapping[str, Value]) -> bool:
        """Whether the parameter exists beside those already drawn."""
        return all(name in drawn and is_among(drawn[name], wanted) for name, wanted in self.when.items())


@dataclass(frozen=True)
class Signatures:
    """What the losses and models of a space may be configured with; ``model``: that of a trial whose parameters name none."""

    losses: Mapping[str, LossSignature]
    models: Mapping[str, LossSignature] = field(default_factory=dict)
    model: str = "convnet"

    def owner(self, name: str, when: Condition) -> Owner | None:
        """To what a parameter with this condition belongs; ``None`` for one of the training, which every trial has."""
        if name in ("loss", "model") or name in TRAINING_PARAMETERS:
            return None
        of_losses, of_models = self.losses.values(), self.models.values()
        if any(name in signature.arguments for signature in of_losses):
            return "loss"
        if any(name in signature.arguments for signature in of_models) or "model" in when:
            return "model"
        open_to_models = any(signature.takes_any for signature in of_models) and not any(signature.takes_any for signature in of_losses)
        return "model" if open_to_models and "loss" not in when else "loss"

    def of(self, owner: Owner) -> Mapping[str, LossSignature]:
        """The signatures of the losses, or of the models."""
        return self.losses if owner == "loss" else self.models


def list_arms(parameters: Mapping[str, Parameter], compared: str | None) -> tuple[Arm, ...]:
    """One arm per choice of the compared parameter, in the file's order; without one a single arm ``all``."""
    if compared is None:
        return (Arm("all", {}),)
    parameter = parameters[compared]
    if isinstance(parameter, Constant):
        return (Arm(value_name(parameter.value), {compared: parameter.value}),)
    if not isinstance(parameter, Choices):
        return ()
    return tuple(_arm(compared, choice) for choice in parameter.choices)


def _arm(compared: str, choice: ArmChoice | Value) -> Arm:
    if not isinstance(choice, ArmChoice):
        return Arm(value_name(choice), {compared: choice})
    settings = {name: setting.value for name, setting in choice.settings.items() if isinstance(setting, Constant)}
    ranges = {name: setting for name, setting in choice.settings.items() if not isinstance(setting, Constant)}
    return Arm(choice.name, settings, ranges)


def value_name(value: Value) -> str:
    """The name of an arm that is a plain value: as YAML writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def possible_values(parameter: Parameter, name: str) -> tuple[Value, ...] | None:
    """The values that ``name`` can take, ``None`` for a range."""
    if isinstance(parameter, Constant):
        return (parameter.value,)
    if not isinstance(parameter, Choices):
        return None
    values: list[Value] = []
    for choice in parameter.choices:
        setting = choice.settings.get(name) if isinstance(choice, ArmChoice) else Constant(value=choice)
        if isinstance(setting, Constant) and not is_among(setting.value, tuple(values)):
            values.append(setting.value)
    return tuple(values)


def contains(parameter: Parameter, name: str, value: Value) -> bool:
    """Whether ``name`` can take exactly ``value``; false for a point of a continuous range, which is never hit."""
    values = possible_values(parameter, name)
    if values is not None:
        return is_among(value, values)
    if not isinstance(parameter, FloatRange | IntRange) or isinstance(value, bool | str) or parameter.step is None:
        return False
    steps = (value - parameter.low) / parameter.step
    return parameter.low <= value <= parameter.high and abs(steps - round(steps)) < 1e-8


def define(parameters: dict[str, Parameter], constants: Mapping[str, Value], arm: Arm, signatures: Signatures) -> tuple[Definition, ...]:
    """Every parameter that can be active in ``arm``, each after those that its condition names.

    A loss's own parameter on which the file is silent has the loss's default, and exists for that loss only. A model's does not exist: its
    default stays with the model. Without any loss the parameters are those of a training loop of the user's own: they exist as the file
    says.
    """
    of_the_arm = {name: Constant(value=value) for name, value in arm.settings.items()} | dict(arm.ranges)
    if not signatures.losses:
        of_loop = {name: Definition(name, each, each.when) for name, each in (parameters | of_the_arm).items()}
        return _reachable([of_loop[name] for name in in_order({name: each.when for name, each in of_loop.items()})])
    merged: dict[str, Parameter] = {"loss": parameters["loss"], **parameters}
    merged |= {name: Constant(value=value) for name, value in constants.items() if name not in merged}
    merged |= of_the_arm
    of_arm = {owner: possible_owners(merged, owner, signatures) for owner in (LOSS, MODEL)}
    fixed = {*arm.settings, *arm.ranges}
    conditions: dict[str, Condition] = {}
    for name, parameter in merged.items():
        when = {} if name in fixed else dict(parameter.when)
        owner = signatures.owner(name, parameters[name].when if name in parameters else {})
        if owner == "model" and "model" not in merged:
            if not any(signature.has(name) for signature in of_arm["model"].values()):
                continue
        elif owner is not None and owner not in when:
            when = {owner: tuple(each for each, signature in of_arm[owner].items() if signature.has(name)), **when}
        conditions[name] = when
        for other, wanted in TRAINING_PARAMETERS[name].when.items() if name in TRAINING_PARAMETERS else ():
            if other in merged:
                conditions[name] = {**conditions[name], other: (wanted,)}
            elif TRAINING_PARAMETERS[other].default != wanted:
                del conditions[name]
    for name, default in _silent_defaults(of_arm["loss"], merged).items():
        merged[name] = Constant(value=default)
        conditions[name] = {"loss": tuple(loss for loss, signature in of_arm["loss"].items() if name in signature.arguments)}
    return _reachable([Definition(name, merged[name], conditions[name]) for name in in_order(conditions)])


def possible_owners(parameters: Mapping[str, Parameter], owner: Owner, signatures: Signatures) -> dict[str, LossSignature]:
    """The losses, or the models, that trials with these parameters can have, with their signatures."""
    if owner == "model" and owner not in parameters:
        return {signatures.model: signatures.models.get(signatures.model, LossSignature({}))}
    return {str(value): signatures.of(owner)[str(value)] for value in possible_values(parameters[owner], owner) or ()}


def _silent_defaults(signatures: Mapping[str, LossSignature], given: Mapping[str, Parameter]) -> dict[str, Value]:
    return {
        name: argument.default
        for signature in signatures.values()
        for name, argument in signature.arguments.items()
        if name not in given and argument.default is not None
    }


def in_order(conditions: Mapping[str, Condition]) -> list[str]:
    """The names so that each comes after those in its condition, else as given; names in a cycle are left out."""
    ordered: list[str] = []
    waiting = list(conditions)
    while True:
        ready = [name for name in waiting if all(other in ordered or other not in conditions for other in conditions[name])]
        if not ready:
            return ordered
        ordered += ready
        waiting = [name for name in waiting if name not in ready]


def _reachable(definitions: list[Definition]) -> tuple[Definition, ...]:
    kept: dict[str, Definition] = {}
    for definition in definitions:
        when: Condition = {}
        for name, wanted in definition.when.items():
            condition = kept.get(name)
            if condition is None or not any(contains(condition.parameter, name, value) for value in wanted):
                break
            values = possible_values(condition.parameter, name)
            is_certain = not condition.when and values is not None and all(is_among(value, wanted) for value in values)
            if not is_certain:
                when[name] = wanted
        else:
            kept[definition.name] = Definition(definition.name, definition.parameter, when)
    return tuple(kept.values())
