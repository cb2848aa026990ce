"""Converts labels in Parquet files, numbers or text, to classes numbered from 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from sweeper.errors import DataError


class LabelColumn(NamedTuple):
    """The labels of a split, whole numbers or text without nulls; ``place`` says in which row of which file, for errors."""

    name: str
    values: pa.ChunkedArray
    place: Callable[[int], str]

    def refuse(self, row: int, what: str) -> NoReturn:
        """Raises the ``DataError`` about one row."""
        raise DataError(f"{self.place(row)}: column {self.name}: {what}")

    def where(self, condition: pa.ChunkedArray) -> Int64[np.ndarray, " n"]:
        """The rows in which a condition holds."""
        return np.flatnonzero(condition.to_numpy())


def class_numbers(
    train: LabelColumn, test: LabelColumn, names: tuple[str, ...] | None
) -> tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " test"], tuple[str, ...]]:
    """Labels of both splits from 0, and the names of the classes: for text in the order of its code points, for numbers ``names``.

    Raises:
        DataError: a negative number, a class between without an image, a single class, names that are not as many as the classes, a
            class of ``test`` that ``train`` does not have.
    """
    if pa.types.is_integer(train.values.type):
        classes = _numbered(train, names)
        of_test, of_train = test.values, train.values
        strangers = test.where(pc.or_(pc.less(of_test, 0), pc.greater_equal(of_test, len(classes))))
        known = f"must lie in 0..{len(classes) - 1}, the classes of train"
    else:
        classes = _texts(train)
        of_test, of_train = (pc.index_in(split.values, value_set=pa.array(classes)) for split in (test, train))
        strangers = test.where(pc.is_null(of_test))
        known = f"must be a class of train ({', '.join(classes[:8])}{', …' if len(classes) > 8 else ''})"
    if len(strangers):
        value = test.values[int(strangers[0])].as_py()
        unlabelled = ", which hubs write where a split has no labels: take a split that has them" if value == -1 else ""
        test.refuse(int(strangers[0]), f"{known}, got {_shown(value)}{_others(len(strangers))}{unlabelled}")
    return _array(of_train), _array(of_test), classes


def _numbered(train: LabelColumn, names: tuple[str, ...] | None) -> tuple[str, ...]:
    negative = train.where(pc.less(train.values, 0))
    if len(negative):
        value = train.values[int(negative[0])].as_py()
        train.refuse(int(negative[0]), f"must be >= 0, got {value}{_others(len(negative))}")
    found = sorted(pc.unique(train.values).to_pylist())
    missing = next((number for number, label in enumerate(found) if number != label), None)
    if missing is not None:
        row = int(train.where(pc.greater(train.values, missing))[0])
        train.refuse(
            row,
            f"classes must be numbered from 0 without gaps, got {train.values[row].as_py()} but no row has {missing}; "
            "number them anew, or save the column as text",
        )
    _require_two(train, found)
    if names is not None and len(names) != len(found):
        row = int(train.where(pc.equal(train.values, found[-1]))[0])
        train.refuse(row, f"the file's metadata names {len(names)} classes, but the highest label is {found[-1]}")
    return names or tuple(map(str, found))


def _texts(train: LabelColumn) -> tuple[str, ...]:
    found: list[str] = sorted(pc.unique(train.values).to_pylist())
    for name in found:
        if not name.isprintable() or not name:
            rows = train.where(pc.equal(train.values, name))
            train.refuse(int(rows[0]), f"must be printable text, for it names a class, got {name!r:.100}{_others(len(rows))}")
    _require_two(train, found)
    return tuple(found)


def _require_two(train: LabelColumn, found: list[int] | list[str]) -> None:
    if len(found) < 2:
        train.refuse(0, f"must name at least two classes, every row has {_shown(found[0])}")


def _shown(value: int | str) -> str:
    return f"{value!r:.100}"


def _others(n_rows: int) -> str:
    return f" ({n_rows} such rows)" if n_rows > 1 else ""


def _array(numbers: pa.ChunkedArray) -> Int64[np.ndarray, " n"]:
    return np.asarray(numbers.cast(pa.int64()).to_numpy())
