"""The user's own code, named in a space file by import path: imported from the working folder, what it accepts, and its source."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import inspect
import math
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from sweeper.catalogue import TRAINING_PARAMETERS, Domain, Kind, model_arguments

AnyValue = TypeVar("AnyValue")
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_import_path(name: str) -> bool:
    """Whether ``name`` is code of the user's own, ``my_package.my_module:MyName``, and not an entry of the catalogue."""
    return IMPORT_PATH.fullmatch(name) is not None


class UnsuitableModuleError(ImportError):
    """An import path that leads to what is no code of the user's own; the message goes on after the path."""


def import_custom(path: str) -> object:
    """What the import path names; its module is run, and what it prints goes to stderr.

    Raises :class:`UnsuitableModuleError` for Python's standard library, before it is imported and whatever name it goes by, else whatever
    importing the module raises, and :class:`AttributeError`.
    """
    module_name, _, name = path.partition(":")
    _refuse_standard_library(module_name)
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # a console script, unlike `python -m`, leaves the working folder out
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
        found = getattr(importlib.import_module(module_name), name)
    if callable(found):
        called = found
        while isinstance(called, functools.partial):
            called = called.func
        _refuse_standard_library(_defining_module(called), getattr(called, "__qualname__", name))
    return found


def is_network_class(found: object) -> bool:
    """Whether it is a class derived from ``torch.nn.Module``. Does not import torch: whoever derives from it has."""
    torch_nn: Any = sys.modules.get("torch.nn")
    return torch_nn is not None and isinstance(found, type) and issubclass(found, torch_nn.Module)


def _refuse_standard_library(module_name: str, name: str = "") -> None:
    room = module_name.partition(".")[0]
    if room in sys.stdlib_module_names:
        raise UnsuitableModuleError(
            f"is {f'{module_name}.{name}, ' if name else ''}of Python's standard library, which holds no loss and no model"
        )
    if room == "__main__":
        raise UnsuitableModuleError("is of the program that is running, which trials cannot import: move it into a module of its own")


def _defining_module(found: Any) -> str:
    """The module of what runs when ``found`` is called, whichever module it is named in."""
    module = getattr(found, "__module__", None)
    if module is None:  # a method of a built-in type
        owner = getattr(found, "__objclass__", None) or getattr(found, "__self__", None)
        module = getattr(owner if isinstance(owner, type) else type(owner), "__module__", "") if owner is not None else ""
    return str(module)


@dataclass(frozen=True, slots=True)
class LossSignature:
    """The parameters of one loss, or model, by name; ``takes_any``: it has ``**kwargs``. ``training``: those of the training that it wants
    to know.
    """

    arguments: Mapping[str, Domain]
    takes_any: bool = False
    training: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Whether ``name`` is, or may be, a parameter of its own."""
        return name in self.arguments or self.takes_any

    def accepted(self, parameters: Mapping[str, AnyValue]) -> dict[str, AnyValue]:
        """Those parameters of a trial that the loss is given."""
        return {
            name: value
            for name, value in parameters.items()
            if (name in self.training if name in TRAINING_PARAMETERS else name != "loss" and self.has(name))
        }


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


def read_model_signature(model: Callable[..., Any]) -> LossSignature:
    """What a model is built with, as far as it is given by name. What every model may be told of a data set is not required.

    Raises:
        TypeError, ValueError: it has no signature that can be read.
    """
    parameters = inspect.signature(model).parameters.values()
    named = [parameter for parameter in parameters if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)]
    told = model_arguments([parameter.name for parameter in named])
    return LossSignature(
        {
            parameter.name: replace(_domain(parameter), default=None, is_required=parameter.default is parameter.empty)
            if parameter.name not in told
            else Domain("any")
            for parameter in named
            if parameter.name not in {"loss", "model", *TRAINING_PARAMETERS}
        },
        takes_any=any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters),
    )


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


class NoImportPathError(Exception):
    """A value from Python that no worker could import; the message says why, and the way out."""


def import_path(target: object, module: str) -> str:
    """The path by which other processes import a class or function: of a module in a file, and not inside anything else.

    ``module``: what to call a module that it should be put into.

    Raises:
        NoImportPathError: it is neither, or can only be had in this process.
    """
    name = getattr(target, "__qualname__", "")
    if not inspect.isclass(target) and not inspect.isroutine(target):
        kind = type(target).__qualname__
        hint = f"; give the class {kind} itself: its arguments are set under parameters" if callable(target) else ""
        raise NoImportPathError(f"must be a number, text, true or false, a list or a mapping, a class or a function, got a {kind}{hint}")
    home = target.__module__ or ""
    if "<lambda>" in name:
        why, name = "a lambda has no name", "my_function"
    elif "." in name:
        why, name = f"'{name}' is defined inside another function or class", name.rpartition(".")[2]
    elif home == "__main__":
        why = f"'{name}' is defined in the notebook or script itself"
    elif not getattr(sys.modules.get(home), "__file__", None):
        why = f"'{name}' is defined in {home or 'no module'}, which is no file"
    elif getattr(sys.modules[home], name, None) is not target:
        why = f"'{home}:{name}' is another object by now"
    else:
        return f"{home}:{name}"
    raise NoImportPathError(
        f"{why}, so that the processes that train cannot import it: put it into a file {module}.py in this folder, and write "
        f'"{module}:{name}", or import it from there'
    )


def import_folders() -> list[str]:
    """The folders in which this process finds modules besides those of its Python, first to last: where other processes must look too."""
    stdlib = Path(sysconfig.get_path("stdlib")).resolve()
    folders = [Path(entry or ".").resolve() for entry in sys.path]
    own = [each for each in folders if each.is_dir() and not {"site-packages", "dist-packages"} & set(each.parts)]
    return [str(each) for each in own if not each.is_relative_to(stdlib)]


def source_file(path: str) -> Path | None:
    """The file that defines what the import path names; ``None`` where there is none, as for a built-in."""
    try:
        return Path(str(inspect.getsourcefile(import_custom(path)))).absolute()  # type: ignore[arg-type]  # what has no source raises TypeError
    except TypeError:
        return None


def source_digests(paths: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the file that defines each of these names; one that has no source file (a built-in) is left out."""
    digests = {}
    for path in paths:
        if (file := source_file(path)) is None:
            continue
        with contextlib.suppress(OSError):
            digests[path] = hashlib.sha256(file.read_bytes()).hexdigest()
    return digests
