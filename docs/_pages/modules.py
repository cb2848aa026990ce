"""The map of modules, by room, in the order of the layers: what the docstrings say, and the table of ``tests/test_layers.py``."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

from .markdown import code, table

ROOT = Path(__file__).parents[2]
INTRODUCTION = """\
# Module map

A *room* is a package of `sweeper/`, or one of the modules beside the packages. A module imports only from its own room and from lower
layers, which come first here; `tests/test_layers.py` reads the imports and enforces it. This page is made from the docstrings by
`python docs/generate.py`.
"""


def page() -> str:
    """The whole page."""
    layers = _layers()
    modules: dict[str, list[str]] = {}
    for module in layers.modules():
        modules.setdefault(layers.room_of(module)[0], []).append(module)
    pieces = [INTRODUCTION]
    for layer, rooms in enumerate(layers.LAYERS):
        pieces.append(f"## Layer {layer}\n")
        alone = sorted(room for room in rooms if not _is_package(room) or room == "sweeper")
        if alone:
            pieces.append(_table(alone))
        for room in sorted(rooms - set(alone)):
            pieces += [f"### {code(room)}\n", f"{_docstring(room)}\n", _table([module for module in modules[room] if module != room])]
    return "\n".join(pieces)


def rooms(argument: str, page: str) -> str:  # noqa: ARG001
    """One line per room: its layer, and the first sentence of its docstring."""
    entries = [(layer, room) for layer, names in enumerate(_layers().LAYERS) for room in sorted(names)]
    rows = [(code(_path(room)), str(layer), _first_paragraph(room)) for layer, room in entries]
    return table(("where", "layer", "what is there"), rows).rstrip("\n")


def _table(modules: list[str]) -> str:
    return table(("module", "what it does"), ((code(module), _first_paragraph(module)) for module in modules))


def _layers() -> ModuleType:
    """The layer test as a module: the one place that knows the layers."""
    spec = importlib.util.spec_from_file_location("layers_of_sweeper", ROOT / "tests" / "test_layers.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError("tests/test_layers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _is_package(module: str) -> bool:
    return ROOT.joinpath(*module.split(".")).is_dir()


def _path(module: str) -> str:
    """``sweeper/space/`` for a package, ``sweeper/plan.py`` for a module."""
    if module == "sweeper":
        return "sweeper/__init__.py"
    return module.replace(".", "/") + ("/" if _is_package(module) else ".py")


def _docstring(module: str) -> str:
    file = ROOT / _path(module)
    text = (file / "__init__.py" if file.is_dir() else file).read_text(encoding="utf-8")
    return re.sub(r":\w+:`\.?", "`", (ast.get_docstring(ast.parse(text)) or "").replace("``", "`"))


def _first_paragraph(module: str) -> str:
    return " ".join(_docstring(module).partition("\n\n")[0].split())
