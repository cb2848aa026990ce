"""Train and test images from Parquet files in the layout of data set hubs."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import UInt8

from sweeper.data.columns import class_names, encoded_field, find_columns, label_kind
from sweeper.data.dataset import Splits
from sweeper.data.folder import listing
from sweeper.data.images import decode_images
from sweeper.data.labels import LabelColumn, class_numbers
from sweeper.errors import DataError

SHARD = re.compile(r"-\d+-of-(\d+)(?:-[0-9a-f]+)?$")  # some hubs add a hash


def read_parquet(
    folder: Path,
    *,
    image: str | None,
    label: str | None,
    image_size: int | None,
    progress: Callable[[str], None],
    glance: bool = False,
) -> Splits:
    """Train and test images with their labels, and the names of the classes.

    A split is ``<name>.parquet``, or the shards ``<name>-*.parquet`` in the order of their names. Of their columns two are read: ``image``,
    encoded images as binary or as a struct with a binary field ``bytes``, and ``label``, whole numbers, text, or true and false; where
    these are ``None`` the columns are found in the first file of train. Names of numbered classes come from its Hugging Face metadata.
    ``glance``: see :func:`decode_images`.

    Raises:
        DataError: no such file, a shard missing, a file that is no Parquet, a column missing, ambiguous or of another type, a null, a
            label or an image that will not do, no rows.
    """
    files = {name: _files(folder, name) for name in ("train", "test")}
    first = _opened(files["train"][0])
    columns = find_columns(files["train"][0], first.schema_arrow, image, label)
    train, test = (_Rows(folder, name, paths, [_read(path, *columns, glance=glance) for path in paths]) for name, paths in files.items())
    _require_one_kind(train, test, columns[1])
    train_labels, test_labels, classes = class_numbers(
        train.labels(columns[1]), test.labels(columns[1]), class_names(first.schema_arrow.metadata, columns[1])
    )
    images = [rows.images(image_size, progress, glance=glance) for rows in (train, test)]
    return (images[0], train_labels), (images[1], test_labels), classes


class _Rows:
    """The rows of a split, file by file, still encoded."""

    def __init__(self, folder: Path, name: str, paths: Sequence[Path], tables: Sequence[pa.Table]) -> None:
        self._name, self.paths, self.tables = name, paths, tables
        self._first_rows = list(accumulate((table.num_rows for table in tables), initial=0))
        if not self._first_rows[-1]:
            raise DataError(f"{folder}: the {name} split must hold images, found no row in {', '.join(path.name for path in paths)}")

    def _place(self, index: int) -> str:
        file = bisect_right(self._first_rows, index) - 1
        return f"{self.paths[file]}: row {index - self._first_rows[file]}"

    def labels(self, column: str) -> LabelColumn:
        return LabelColumn(column, pa.chunked_array([chunk for table in self.tables for chunk in table["label"].chunks]), self._place)

    def images(self, image_size: int | None, progress: Callable[[str], None], *, glance: bool) -> UInt8[np.ndarray, "n h w 3"]:
        encoded = [image for table in self.tables for chunk in table["image"].chunks for image in chunk.to_pylist()]
        return decode_images(
            len(encoded),
            encoded.__getitem__,
            self._place,
            image_size=image_size,
            progress=lambda n_done: progress(f"{self._name}: {n_done:,} of {len(encoded):,} images decoded"),
            glance=glance,
        )


def _require_one_kind(train: _Rows, test: _Rows, label: str) -> None:
    kinds = {
        path: "whole numbers" if pa.types.is_integer(table.schema.field("label").type) else "text"
        for rows in (train, test)
        for path, table in zip(rows.paths, rows.tables, strict=True)
    }
    first, *others = kinds
    for path in others:
        if kinds[path] != kinds[first]:
            raise DataError(f"{path}: column {label}: must be {kinds[first]} as in {first.name}, got {kinds[path]}")


def _files(folder: Path, name: str) -> Sequence[Path]:
    """The files of a split: the whole file alone, or all its shards."""
    single = folder / f"{name}.parquet"
    shards = sorted(folder.glob(f"{name}-*.parquet"))
    if single.is_file() and shards:
        raise DataError(f"{folder}: holds both {single.name} and {shards[0].name}: which is the {name} split? Move one of them away")
    if single.is_file():
        return [single]
    if not shards:
        inside = sorted(path.parent.name for path in folder.glob(f"*/{name}*.parquet"))
        hint = f"; did you mean --data-dir {folder / inside[0]}?" if inside else ""
        raise DataError(f"{folder}: must hold {name}.parquet or {name}-*.parquet, found {listing(folder)}{hint}")
    for numbered in filter(None, (SHARD.search(path.stem) for path in shards)):
        if int(numbered[1]) != len(shards):
            raise DataError(
                f"{folder}: {name}{numbered[0]}.parquet belongs to {int(numbered[1])} files, found {len(shards)}; "
                "copy the missing ones, or move the surplus ones away"
            )
    return shards


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except Exception as error:
        raise _unreadable(path, error) from error


def _read(path: Path, image: str, label: str, *, glance: bool) -> pa.Table:
    """The two columns of a file as ``image`` and ``label``: the struct of an image reduced to its bytes, labels as numbers or text.

    ``glance``: all images but the first are empty.
    """
    file = _opened(path)
    schema = file.schema_arrow
    find_columns(path, schema, image, label)
    image_type, label_type = schema.field(image).type, schema.field(label).type
    inner, kind = encoded_field(image_type), label_kind(label_type)
    if inner is None:
        raise DataError(f"{path}: column {image}: must be binary, or a struct with a binary field bytes, got {image_type}")
    try:
        labels = file.read(columns=[label]).column(label)
        labels = labels.cast(kind) if kind is not None else labels
        column = f"{image}.{inner}" if inner else image
        batches = islice(file.iter_batches(batch_size=1, columns=[column]), 1) if glance else file.read(columns=[column]).to_batches()
        parts = [pc.struct_field(batch.column(0), inner) if inner else batch.column(0) for batch in batches]
        if glance and parts:
            parts = [parts[0].cast(pa.large_binary()), pa.repeat(pa.scalar(b"", pa.large_binary()), len(labels) - 1)]
        images = pa.chunked_array(parts, type=None if parts else pa.binary())
    except Exception as error:
        raise _unreadable(path, error) from error
    for column, values in ((image, images), (label, labels)):
        if values.null_count:
            row = pc.index(pc.is_null(values), True).as_py()
            raise DataError(f"{path}: row {row}: column {column}: must not be null ({values.null_count} such rows); leave the row out")
    if kind is None:
        got = f", in row 0 {labels[0].as_py()!r:.60}" if len(labels) else ""
        raise DataError(f"{path}: column {label}: must be integers, text, or true and false, got {label_type}{got}")
    return pa.table({"image": images, "label": labels})


def _unreadable(path: Path, error: Exception) -> DataError:
    """What Arrow says of foreign or damaged bytes, which can be an exception of nearly any type."""
    reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    return DataError(f"{path}: cannot be read as Parquet: {reason}; replace it by a whole file")
