"""Code of the user's own, named in a space file by import path: imported from the working folder, and told apart by its source."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import sys
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


def source_digests(paths: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the file that defines each of these names; one that has no source file (a built-in) is left out."""
    digests = {}
    for path in paths:
        target = import_own(path)
        try:
            file = inspect.getsourcefile(target)  # type: ignore[arg-type]  # what has no source raises TypeError
            digests[path] = hashlib.sha256(Path(str(file)).read_bytes()).hexdigest()
        except (TypeError, OSError):
            continue
    return digests
