"""Whether a loss, a model or a training loop that a space names can be used, and the parameters that belong to it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from pydantic_core import PydanticCustomError

from sweeper.catalogue import LOSSES, MODEL_ARGUMENTS, MODELS, TRAINING_PARAMETERS, Domain, model_arguments
from sweeper.custom_code import (
    VARIADIC,
    LossSignature,
    UnsuitableModuleError,
    import_custom,
    is_import_path,
    is_network_class,
    read_model_signature,
    read_signature,
)
from sweeper.space.elsewhere import suggestion
from sweeper.space.schema import model_name
from sweeper.text import shown

_LABELS = frozenset({"label", "target", "y", "y_true", "truth"})
_LOGITS = frozenset({"logit", "input", "output", "pred", "prediction", "score", "y_pred", "x"})
"""What authors call the two arguments of a loss, without a plural's s."""


class UnusableError(Exception):
    """A loss or model that the space names and that cannot be had; the message goes on after its key, 'parameters.loss: '."""


def model_signature(name: str) -> LossSignature:
    """What a model may be configured with. One by import path is imported for it, which runs its module.

    Raises:
        UnusableError: if it is unknown, cannot be imported, or is not built by its name.
    """
    try:
        path = model_name(name)
    except PydanticCustomError as error:
        raise UnusableError(error.message()) from None
    if path in MODELS:
        return LossSignature({})
    target, parameters = _imported(path)
    if not isinstance(target, type) and hasattr(target, "named_parameters"):
        raise UnusableError(f"{shown(path)} is a module that is built already; name the class, or a function that builds one")
    if isinstance(target, type) and not is_network_class(target):
        raise UnusableError(f"{shown(path)} is a class that does not derive from torch.nn.Module")
    is_told = model_arguments([parameter.name for parameter in parameters])
    if not isinstance(target, type) and not is_told and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        raise UnusableError(
            f"{shown(path)} is a function that takes none of {', '.join(MODEL_ARGUMENTS)}, so that it builds no model for a data set"
        )
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
            raise UnusableError(f"{shown(path)} takes {shown(parameter.name)} by position only; a model is given its arguments by name")
    return read_model_signature(target)


def check_loop(path: str) -> LossSignature:
    """What a training loop may be configured with: anything. It is imported, which runs its module, and what it takes is read.

    Raises:
        UnusableError: if it cannot be imported, is no generator function, or takes something else than a trial.
    """
    target, parameters = _imported(path)
    if isinstance(target, type) or not inspect.isgeneratorfunction(inspect.unwrap(target)):
        raise UnusableError(
            f"{shown(path)} is no generator function: a training loop takes the trial, yields its metrics after every epoch, "
            "and returns those on the test split"
        )
    needed = [each.name for each in parameters if each.default is each.empty and each.kind not in VARIADIC]
    by_position = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD, each.VAR_POSITIONAL)]
    if not by_position or needed[1:] or (needed and needed[0] != by_position[0].name):
        takes = ", ".join(map(str, parameters)) or "nothing"
        raise UnusableError(f"{shown(path)} must take one argument, the trial, and takes ({takes}): what is tuned is in trial.parameters")
    return LossSignature({}, takes_any=True)


def loss_signature(loss: str) -> LossSignature:
    """What ``loss`` may be configured with. A loss by import path is imported for it, which runs its module.

    Raises:
        UnusableError: unknown name, or a path that cannot be imported or called.
    """
    if loss in LOSSES:
        return LossSignature(LOSSES[loss].parameters)
    if is_import_path(loss):
        return _imported_signature(loss)
    hint = suggestion(loss, LOSSES, "loss")
    if ":" in loss or "." in loss:
        own = f"a loss of your own is written my_package.my_module:MyLoss, got {shown(loss)}"
        raise UnusableError(f"{own}; {hint}" if hint.startswith("did") else own)
    raise UnusableError(f"unknown loss {shown(loss)}; {hint}")


def _imported(path: str) -> tuple[Callable[..., Any], list[inspect.Parameter]]:
    """What an import path names, which must be callable, and its parameters."""
    try:
        target = import_custom(path)
    except UnsuitableModuleError as error:
        raise UnusableError(f"{shown(path)} {error}") from None
    except (Exception, SystemExit) as error:  # a user's module may raise anything while it is imported
        raise UnusableError(f"cannot import {shown(path)}: {type(error).__name__}: {_first_line(error)}") from error
    if not callable(target):
        raise UnusableError(f"{shown(path)} is not a class or function but {type(target).__name__}")
    try:
        return target, list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError) as error:
        raise UnusableError(f"cannot read the parameters of {shown(path)}: {_first_line(error)}") from error


@lru_cache(maxsize=64)
def _imported_signature(loss: str) -> LossSignature:
    target, parameters = _imported(loss)
    if isinstance(target, type):
        _check_class(loss, target)
    elif hasattr(target, "named_parameters"):
        raise UnusableError(f"{shown(loss)} is a module that is built already; name the class, so that each trial has one of its own")
    else:
        parameters = _after_logits_and_labels(loss, "is a function, and", parameters)
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise UnusableError(f"{shown(loss)} takes {shown(parameter.name)} by position only; a space file gives parameters by name")
        if parameter.name in ("loss", "model") and parameter.kind not in VARIADIC:
            raise UnusableError(f"{shown(loss)} has a parameter {shown(parameter.name)}, a name that is taken; rename it")
    return read_signature(target)


def signature_as_written(parameters: Mapping[str, Any]) -> LossSignature:
    """The signature of a loss that is not looked at: every parameter of the file that is not one of the training may be its own.

    A report reads stored spaces so, where the loss may be gone by now.
    """
    choices = [choice for each in parameters.values() if isinstance(each, dict) for choice in listed_values(each.get("choices"))]
    names = {*parameters, *(name for choice in choices if isinstance(choice, dict) for name in choice)}
    own = names - {"loss", "model", "name", *TRAINING_PARAMETERS}
    return LossSignature({str(name): Domain("any") for name in own}, takes_any=True, training=frozenset(TRAINING_PARAMETERS))


def listed_values(value: object) -> list[Any]:
    """``value`` where it is a list, else nothing."""
    return value if isinstance(value, list) else []


def _check_class(loss: str, target: type) -> None:
    """Refuse a class whose objects cannot be called with (logits, labels), before one is built."""
    name = "forward" if is_network_class(target) else "__call__"
    method = next((vars(base)[name] for base in target.__mro__ if name in vars(base)), None)
    if method is None:
        what = "is a class whose objects cannot be called with (logits, labels)"
        raise UnusableError(f"{shown(loss)} {what}; derive it from torch.nn.Module")
    try:
        parameters = list(inspect.signature(method).parameters.values())[0 if isinstance(method, staticmethod) else 1 :]
    except (TypeError, ValueError):
        return  # what has no signature to be read is called on a trial instead
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters[:2]):
        return
    for parameter in _after_logits_and_labels(loss, f"is a class whose {name}", parameters):
        if parameter.default is parameter.empty and parameter.kind not in VARIADIC:
            raise UnusableError(f"{shown(loss)} is a class whose {name} needs {shown(parameter.name)} besides (logits, labels)")


def _after_logits_and_labels(loss: str, what: str, parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) < 2 or not all(parameter.kind in positional for parameter in parameters[:2]):
        raise UnusableError(f"{shown(loss)} {what} must take (logits, labels, ...)")
    first, second = (parameter.name.lower().rstrip("s") for parameter in parameters[:2])
    if first in _LABELS and second in _LOGITS:
        given = ", ".join(parameter.name for parameter in parameters[:2])
        raise UnusableError(f"{shown(loss)} {what} takes ({given}): it must take the logits first and then the labels")
    return parameters[2:]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200]
