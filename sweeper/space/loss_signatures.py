"""The parameters that belong to a loss: the catalogue's for a built-in one, the constructor's for one given by import path."""

from __future__ import annotations

import importlib
import inspect
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

from sweeper.catalogue import LOSSES, TRAINING_PARAMETERS
from sweeper.records import Value

from .wording import nearest, shown

IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
Kind: TypeAlias = Literal["float", "int", "text", "bool", "any"]


@dataclass(frozen=True, slots=True)
class Argument:
    """One parameter of a loss: what it may hold and its default; ``is_required`` when it has none.

    ``default`` is ``None`` where the loss has a default that is no plain value (a tensor, ``None``): it then stays out of the records.
    """

    kind: Kind
    low: float = -float("inf")
    high: float = float("inf")
    default: Value | None = None
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class LossSignature:
    """The parameters of one loss by name; ``takes_any``: its constructor has ``**kwargs``."""

    arguments: Mapping[str, Argument]
    takes_any: bool = False


class LossError(Exception):
    """A loss that the space names and that cannot be had; the message completes 'parameters.loss: '."""


def is_import_path(loss: str) -> bool:
    """Whether ``loss`` is code of the user's own, ``my_package.my_module:MyLoss``."""
    return IMPORT_PATH.fullmatch(loss) is not None


def loss_signature(loss: str) -> LossSignature:
    """What ``loss`` may be configured with. A loss by import path is imported for it, which runs its module.

    Raises:
        LossError: unknown name, or a path that cannot be imported or called.
    """
    if loss in LOSSES:
        arguments = {name: Argument("float", entry.low, entry.high, entry.default) for name, entry in LOSSES[loss].parameters.items()}
        return LossSignature(arguments)
    if is_import_path(loss):
        return _imported_signature(loss)
    if ":" in loss or "." in loss:
        raise LossError(f"a loss of your own is written my_package.my_module:MyLoss, got {shown(loss)}")
    raise LossError(f"unknown loss {shown(loss)}; {nearest(loss, LOSSES)}")


@lru_cache(maxsize=64)
def _imported_signature(loss: str) -> LossSignature:
    module_name, _, name = loss.partition(":")
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # a console script, unlike `python -m`, leaves the working folder out
    try:
        target: object = getattr(importlib.import_module(module_name), name)
    except (Exception, SystemExit) as error:  # a user's module may raise anything while it is imported
        raise LossError(f"cannot import {shown(loss)}: {type(error).__name__}: {_first_line(error)}") from error
    if not callable(target):
        raise LossError(f"{shown(loss)} is not a class or function but {type(target).__name__}")
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError) as error:
        raise LossError(f"cannot read the parameters of {shown(loss)}: {_first_line(error)}") from error
    if not isinstance(target, type):
        parameters = _after_logits_and_labels(loss, parameters)
    arguments: dict[str, Argument] = {}
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD or parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            continue
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise LossError(f"{shown(loss)} takes {shown(parameter.name)} by position only; a space file gives parameters by name")
        if parameter.name in TRAINING_PARAMETERS:
            continue  # the training gives the loss its own value of it
        if parameter.name == "loss":
            raise LossError(f"{shown(loss)} has a parameter 'loss', a name that is taken; rename it")
        arguments[parameter.name] = _argument(parameter)
    return LossSignature(arguments, takes_any=any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters))


def _after_logits_and_labels(loss: str, parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) >= 2 and all(parameter.kind in positional for parameter in parameters[:2]):
        return parameters[2:]
    raise LossError(f"{shown(loss)} is a function, and must take (logits, labels, ...)")


def _argument(parameter: inspect.Parameter) -> Argument:
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
    return Argument(kind, default=plain, is_required=is_required)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200]
