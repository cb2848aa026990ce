"""What custom code is called with, and the parameters of a loss: the catalogue's, or those of its constructor."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sweeper.catalogue import LOSSES, MODEL_ARGUMENTS, TRAINING_PARAMETERS, Domain, Kind
from sweeper.custom_code import ForeignCodeError, import_custom, is_import_path, is_network_class
from sweeper.records import Value
from sweeper.space.elsewhere import nearest_here
from sweeper.text import shown

_LABELS = frozenset({"label", "target", "y", "y_true", "truth"})
_LOGITS = frozenset({"logit", "input", "output", "pred", "prediction", "score", "y_pred", "x"})
"""What authors call the two arguments of a loss, without a plural's s."""
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class LossSignature:
    """The parameters of one loss by name; ``takes_any``: it has ``**kwargs``. ``training``: those of the training that it wants to know."""

    arguments: Mapping[str, Domain]
    takes_any: bool = False
    training: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Whether ``name`` is, or may be, a parameter of the loss's own."""
        return name in self.arguments or self.takes_any

    def accepted(self, parameters: Mapping[str, Value]) -> dict[str, Value]:
        """Those parameters of a trial that the loss is given."""
        return {
            name: value
            for name, value in parameters.items()
            if (name in self.training if name in TRAINING_PARAMETERS else name != "loss" and self.has(name))
        }


class LossError(Exception):
    """A loss that the space names and that cannot be had; the message completes 'parameters.loss: '."""


class ModelPathError(Exception):
    """A model that the space names and that cannot be had; the message completes 'training.model: '."""


def check_model(path: str) -> None:
    """Import the model of an import path, which runs its module, and read what it is built with.

    Raises:
        ModelPathError: if it cannot be imported, or built with what a model is given.
    """
    target, parameters = _imported(path, ModelPathError)
    if not isinstance(target, type) and hasattr(target, "named_parameters"):
        raise ModelPathError(f"{shown(path)} is a module that is built already; name the class, or a function that builds one")
    if isinstance(target, type) and not is_network_class(target):
        raise ModelPathError(f"{shown(path)} is a class that does not derive from torch.nn.Module")
    if not isinstance(target, type) and not any(parameter.name in MODEL_ARGUMENTS for parameter in parameters):
        raise ModelPathError(
            f"{shown(path)} is a function that takes none of {', '.join(MODEL_ARGUMENTS)}, so that it builds no model for a data set"
        )
    for parameter in parameters:
        is_needed = parameter.default is parameter.empty and parameter.kind not in VARIADIC
        if is_needed and (parameter.kind is parameter.POSITIONAL_ONLY or parameter.name not in MODEL_ARGUMENTS):
            raise ModelPathError(
                f"{shown(path)} needs {shown(parameter.name)}, and a model is given only {', '.join(MODEL_ARGUMENTS)}: "
                "give it a default, or name a function that sets it"
            )


def loss_signature(loss: str) -> LossSignature:
    """What ``loss`` may be configured with. A loss by import path is imported for it, which runs its module.

    Raises:
        LossError: unknown name, or a path that cannot be imported or called.
    """
    if loss in LOSSES:
        return LossSignature(LOSSES[loss].parameters)
    if is_import_path(loss):
        return _imported_signature(loss)
    hint = nearest_here(loss, LOSSES, "loss")
    if ":" in loss or "." in loss:
        own = f"a loss of your own is written my_package.my_module:MyLoss, got {shown(loss)}"
        raise LossError(f"{own}; {hint}" if hint.startswith("did") else own)
    raise LossError(f"unknown loss {shown(loss)}; {hint}")


def _imported(path: str, refusal: type[LossError | ModelPathError]) -> tuple[Callable[..., Any], list[inspect.Parameter]]:
    """What an import path names, which must be callable, and its parameters."""
    try:
        target = import_custom(path)
    except ForeignCodeError as error:
        raise refusal(f"{shown(path)} {error}") from None
    except (Exception, SystemExit) as error:  # a user's module may raise anything while it is imported
        raise refusal(f"cannot import {shown(path)}: {type(error).__name__}: {_first_line(error)}") from error
    if not callable(target):
        raise refusal(f"{shown(path)} is not a class or function but {type(target).__name__}")
    try:
        return target, list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError) as error:
        raise refusal(f"cannot read the parameters of {shown(path)}: {_first_line(error)}") from error


@lru_cache(maxsize=64)
def _imported_signature(loss: str) -> LossSignature:
    target, parameters = _imported(loss, LossError)
    if isinstance(target, type):
        _check_class(loss, target)
    elif hasattr(target, "named_parameters"):
        raise LossError(f"{shown(loss)} is a module that is built already; name the class, so that each trial has one of its own")
    else:
        parameters = _after_logits_and_labels(loss, "is a function, and", parameters)
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise LossError(f"{shown(loss)} takes {shown(parameter.name)} by position only; a space file gives parameters by name")
        if parameter.name == "loss" and parameter.kind not in VARIADIC:
            raise LossError(f"{shown(loss)} has a parameter 'loss', a name that is taken; rename it")
    return read_signature(target)


def read_signature(loss: Callable[..., Any]) -> LossSignature:
    """What a class is built with, or a function called with after logits and labels, as far as it is given by name.

    Raises:
        TypeError, ValueError: the loss has no signature that can be read.
    """
    parameters = list(inspect.signature(loss).parameters.values())[0 if isinstance(loss, type) else 2 :]
    named = [parameter for parameter in parameters if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)]
    return LossSignature(
        {parameter.name: _domain(parameter) for parameter in named if parameter.name not in TRAINING_PARAMETERS},
        takes_any=any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters),
        training=frozenset(parameter.name for parameter in named) & TRAINING_PARAMETERS.keys(),
    )


def signature_as_written(parameters: Mapping[str, Any]) -> LossSignature:
    """The signature of a loss that is not looked at: every parameter of the file that is not one of the training may be its own.

    A report reads stored spaces so, where the loss may be gone by now.
    """
    choices = [choice for each in parameters.values() if isinstance(each, dict) for choice in listed_values(each.get("choices"))]
    names = {*parameters, *(name for choice in choices if isinstance(choice, dict) for name in choice)}
    own = names - {"loss", "name", *TRAINING_PARAMETERS}
    return LossSignature({str(name): Domain("any") for name in own}, takes_any=True)


def listed_values(value: object) -> list[Any]:
    """``value`` where it is a list, else nothing."""
    return value if isinstance(value, list) else []


def _check_class(loss: str, target: type) -> None:
    """Refuse a class whose objects cannot be called with (logits, labels), before one is built."""
    name = "forward" if is_network_class(target) else "__call__"
    method = next((vars(base)[name] for base in target.__mro__ if name in vars(base)), None)
    if method is None:
        raise LossError(f"{shown(loss)} is a class whose objects cannot be called with (logits, labels); derive it from torch.nn.Module")
    try:
        parameters = list(inspect.signature(method).parameters.values())[0 if isinstance(method, staticmethod) else 1 :]
    except (TypeError, ValueError):
        return  # what has no signature to be read is called on a trial instead
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters[:2]):
        return
    for parameter in _after_logits_and_labels(loss, f"is a class whose {name}", parameters):
        if parameter.default is parameter.empty and parameter.kind not in VARIADIC:
            raise LossError(f"{shown(loss)} is a class whose {name} needs {shown(parameter.name)} besides (logits, labels)")


def _after_logits_and_labels(loss: str, what: str, parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) < 2 or not all(parameter.kind in positional for parameter in parameters[:2]):
        raise LossError(f"{shown(loss)} {what} must take (logits, labels, ...)")
    first, second = (parameter.name.lower().rstrip("s") for parameter in parameters[:2])
    if first in _LABELS and second in _LOGITS:
        given = ", ".join(parameter.name for parameter in parameters[:2])
        raise LossError(f"{shown(loss)} {what} takes ({given}): it must take the logits first and then the labels")
    return parameters[2:]


def _domain(parameter: inspect.Parameter) -> Domain:
    default, annotation = parameter.default, parameter.annotation
    is_required = default is inspect.Parameter.empty
    plain = default if isinstance(default, bool | int | str) or (isinstance(default, float) and math.isfinite(default)) else None
    by_annotation: dict[object, Kind] = {float: "float", int: "int", str: "text", bool: "bool"}
    by_annotation |= {known.__name__: kind for known, kind in by_annotation.items() if isinstance(known, type)}
    kind = by_annotation.get(annotation) if isinstance(annotation, type | str) else None
    if kind is None:
        kind = "float" if isinstance(plain, float) else "bool" if isinstance(plain, bool) else "text" if isinstance(plain, str) else "any"
    if kind == "float" and isinstance(plain, int):
        plain = float(plain)
    return Domain(kind, default=plain, is_required=is_required)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200]
