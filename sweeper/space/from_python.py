"""A space given as Python values: classes become import paths, numpy's numbers plain ones, and what YAML cannot hold is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from typing import Any

import numpy as np
import yaml

from sweeper.custom_code import NoImportPathError, import_path
from sweeper.errors import Problem, SpaceError
from sweeper.space.dump import PlainDumper
from sweeper.space.load import parse_space
from sweeper.space.overrides import as_override
from sweeper.space.space import Space
from sweeper.space.wording import Path, dotted
from sweeper.text import shown

SOURCE = "space"
"""What messages call a space that has no file."""


def parse_mapping(space: Mapping[str, Any], overrides: Sequence[str] = ()) -> Space:
    """The space in a mapping, as :func:`parse_space` makes it of the same content in YAML.

    A class or function is replaced by its import path.

    Raises:
        SpaceError: a value that has no place in a space file, or whatever breaks rules.
    """
    problems: list[Problem] = []
    text = yaml.dump(_plain(space, (), problems, ()), Dumper=PlainDumper, sort_keys=False, allow_unicode=True)
    if problems:
        raise SpaceError(SOURCE, problems)
    try:
        return parse_space(text, SOURCE, overrides)
    except SpaceError as error:  # the lines are those of a text that the user has not seen
        raise SpaceError(SOURCE, [replace(problem, line=None) for problem in error.problems]) from None


def python_override(key: str, value: object) -> str:
    """``key=value`` for a value from Python.

    Raises:
        SpaceError: a value that has no place in a space file.
    """
    problems: list[Problem] = []
    plain = _plain(value, tuple(key.split(".")), problems, ())
    if problems:
        raise SpaceError(SOURCE, problems)
    if isinstance(plain, str | int | float | bool):
        return as_override(key, plain)
    text = yaml.dump(plain, Dumper=PlainDumper, default_flow_style=True, width=math.inf)
    return f"{key}={text.strip().removesuffix('...').strip()}"


def _plain(value: object, path: Path, problems: list[Problem], holders: tuple[int, ...]) -> Any:
    """``value`` in the types that YAML has; ``holders``: the ids of the values that it lies in."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value) if kind is not str else str.__str__(value)  # without an enumeration around it
    if id(value) in holders:
        return _refused(path, problems, "holds itself")
    inside = (*holders, id(value))
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            return _refused(path, problems, f"keys must be text, got {shown(odd[0])}")
        return {str.__str__(key): _plain(each, (*path, key), problems, inside) for key, each in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(each, (*path, index), problems, inside) for index, each in enumerate(value)]
    if isinstance(value, PathLike):
        return fspath(value)
    try:
        return import_path(value, "my_nets" if "model" in path else "my_loops" if path[-1:] == ("loop",) else "my_losses")
    except NoImportPathError as error:
        return _refused(path, problems, str(error))


def _refused(path: Path, problems: list[Problem], message: str) -> None:
    problems.append(Problem(None, dotted(path), message))
