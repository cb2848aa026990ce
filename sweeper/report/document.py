"""The parts of a report: headings, sentences, tables and code. Every text format renders the same ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

WIDTH = 80
"""Columns of a report in a terminal."""


@dataclass(frozen=True, slots=True)
class Heading:
    """``level`` 1 opens a sweep, 2 a section of it; ``name`` is what a page finds a section by."""

    text: str
    level: int = 2
    name: str = ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """Running text; ``role`` is verdict or note."""

    text: str
    role: str = "note"


@dataclass(frozen=True, slots=True)
class Warnings:
    """What to be careful about, a sentence each."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """Text, and the number behind it by which a page can sort; ``None`` where there is none."""

    text: str
    value: float | None = None


def cells(show: Callable[[Any], str], *values: float | None) -> tuple[Cell, ...]:
    """A cell for each value as ``show`` writes it, NaN as if it were missing."""
    found = (None if value is None or math.isnan(value) else value for value in values)
    return tuple(Cell(show(value), value) for value in found)


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: the first column names the row, all others hold numbers unless their index is in ``text_columns``."""

    name: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    text_columns: frozenset[int] = frozenset({0})


@dataclass(frozen=True, slots=True)
class Code:
    """Text to be copied verbatim."""

    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture in text, of at most :data:`WIDTH` columns; the page has a chart in its place."""

    text: str


Block: TypeAlias = Heading | Sentence | Warnings | Grid | Code | Drawing
Document: TypeAlias = tuple[Block, ...]
