"""Code of the user's own, named in a space file by import path: imported from the working folder, and told apart by its source."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import re
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_import_path(name: str) -> bool:
    """Whether ``name`` is code of the user's own, ``my_package.my_module:MyName``, and not an entry of the catalogue."""
    return IMPORT_PATH.fullmatch(name) is not None


def import_own(path: str) -> object:
    """What the import path names; its module is run. Raises whatever importing it raises, and :class:`AttributeError`."""
    module_name, _, name = path.partition(":")
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # a console script, unlike `python -m`, leaves the working folder out
    return getattr(importlib.import_module(module_name), name)


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
        hint = f"; give the class {kind} itself: what it is built with stands under parameters" if callable(target) else ""
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
        return Path(str(inspect.getsourcefile(import_own(path)))).absolute()  # type: ignore[arg-type]  # what has no source raises TypeError
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
