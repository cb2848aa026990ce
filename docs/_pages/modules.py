"""The map of modules: each with its layer and the first sentence of its docstring."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

from .markdown import code, table

ROOT = Path(__file__).parents[2]
INTRODUCTION = """\
# Module map

Every module imports only from modules of its own package or from a higher table of this page; `tests/test_layers.py` reads the imports and
enforces it. Made from the docstrings by `python docs/generate.py`.
"""


def page() -> str:
    """The whole page."""
    layers = _layers()
    rows: dict[int, list[tuple[str, str]]] = {layer: [] for layer in range(len(layers.LAYERS))}
    for module in layers._modules():
        layer = layers._room(module)[1] if module != "sweeper" else 0
        rows[layer].append((code(module), _sentence(module)))
    tables = [f"## Layer {layer}\n\n{table(('module', 'what it does'), entries)}" for layer, entries in rows.items() if entries]
    return "\n".join([INTRODUCTION, *tables])


def _layers() -> ModuleType:
    """The layer test as a module: the one place that knows the layers."""
    spec = importlib.util.spec_from_file_location("layers_of_sweeper", ROOT / "tests" / "test_layers.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError("tests/test_layers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _sentence(module: str) -> str:
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(doc.partition("\n\n")[0].split())
    return paragraph.replace("``", "`")
