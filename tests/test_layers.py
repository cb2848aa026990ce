"""Data flows one way: each module imports only from layers below its own."""

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sweeper"

LAYERS = [
    {"sweeper", "sweeper.errors", "sweeper.catalogue", "sweeper.significance", "sweeper.text"},
    {"sweeper.metrics", "sweeper.custom_code"},
    {"sweeper.records"},
    {"sweeper.trial_counts", "sweeper.space", "sweeper.data", "sweeper.process"},
    {"sweeper.store"},
    {"sweeper.training", "sweeper.studies"},
    {"sweeper.cluster", "sweeper.driver"},
    {"sweeper.tune", "sweeper.report"},
    {"sweeper.view", "sweeper.preflight"},
    {"sweeper.sweep", "sweeper.plan", "sweeper.reproduce", "sweeper.export"},
    {"sweeper.api"},
    {"sweeper.cli"},
    {"sweeper.__main__"},
]

FOREIGN = {
    "torch": {
        "sweeper.training",
        "sweeper.tune",
        "sweeper.preflight",
        "sweeper.plan",
        "sweeper.reproduce",
        "sweeper.export",
        "sweeper.api",
    },
    "ray": {"sweeper.cluster", "sweeper.tune"},
    "optuna": {"sweeper.studies", "sweeper.space.algorithms", "sweeper.api", "sweeper.plan"},
    "click": {"sweeper.cli"},
}
"""Packages that only some rooms may use."""

INTERNALS = {"sweeper.cluster.ray_internals", "sweeper.tune.tune_internals", "sweeper.studies.optuna_internals"}
"""Where what other packages keep private may be used: each with a test of its own for every part."""


@cache
def modules() -> list[str]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for path in paths]


@cache
def _tree(module: str) -> ast.Module:
    path = PACKAGE.parent / Path(*module.split("."))
    return ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())


@cache
def _imports(module: str) -> set[str]:
    package = module if (PACKAGE.parent / Path(*module.split("."))).is_dir() else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(filter(None, [base, node.module]))
            known = set(modules())
            found |= {f"{source}.{alias.name}" if f"{source}.{alias.name}" in known else source for alias in node.names}
    return found


def room_of(module: str) -> tuple[str, int]:
    """The longest entry of the table that the module lies in, and its layer."""
    rooms = [(room, layer) for layer, names in enumerate(LAYERS) for room in names if module == room or module.startswith(f"{room}.")]
    return max(rooms, key=lambda entry: len(entry[0]))


@pytest.mark.parametrize("module", modules())
def test_a_module_has_a_layer_and_imports_only_from_below_or_from_beside_itself(module):
    room, layer = room_of(module)
    assert room != "sweeper" or module == "sweeper", f"{module} belongs to no layer"
    for imported in _imports(module):
        if imported.split(".")[0] == "sweeper":
            _, other_layer = room_of(imported)
            same_room = imported.split(".")[:2] == module.split(".")[:2]
            assert other_layer < layer or (same_room and other_layer == layer), f"{module} ({layer}) imports {imported} ({other_layer})"


@pytest.mark.parametrize("module", modules())
def test_a_foreign_package_is_used_only_in_its_rooms(module):
    for imported in _imports(module):
        rooms = FOREIGN.get(imported.split(".")[0])
        assert rooms is None or any(module == room or module.startswith(f"{room}.") for room in rooms), f"{module} imports {imported}"


@cache
def _our_private_attributes() -> frozenset[str]:
    """Attributes with an underscore that the package's own classes define."""
    names = {"_exit"}  # of os, and public
    for module in set(modules()) - INTERNALS:
        for each in ast.walk(_tree(module)):
            for node in ast.walk(each) if isinstance(each, ast.ClassDef) else ():
                if isinstance(node, ast.FunctionDef):
                    names.add(node.name)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    names.add(node.id)
                elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    names.add(node.attr)
    return frozenset(names)


@pytest.mark.parametrize("module", modules())
def test_what_another_package_keeps_private_is_used_in_the_modules_of_internals_only(module):
    if module in INTERNALS:
        return
    used = {node.attr for node in ast.walk(_tree(module)) if isinstance(node, ast.Attribute)}
    for imported in ast.walk(_tree(module)):
        if isinstance(imported, ast.Import | ast.ImportFrom):
            path = [alias.name for alias in imported.names] + [getattr(imported, "module", None) or ""]
            used |= {part for each in path for part in each.split(".")}
    private = {name for name in used if name.startswith("_") and not name.startswith("__")}
    assert private <= _our_private_attributes(), f"{module} uses {sorted(private - _our_private_attributes())}"
