"""Train and test images out of Parquet files, laid out as data set hubs publish them."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Int64, UInt8

from sweeper.errors import DataError

from .folder import listing
from .images import decode_images

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMN = "label"
SHARD = re.compile(r"-\d+-of-(\d+)(?:-[0-9a-f]+)?$")  # some hubs add a hash


@dataclass(frozen=True)
class ParquetSplit:
    """One split as read: pixels, labels, and the names of the classes where the files' metadata holds them."""

    images: UInt8[np.ndarray, "n h w 3"]
    labels: Int64[np.ndarray, " n"]
    classes: tuple[str, ...] | None


def read_split(folder: Path, name: str, *, image_size: int | None, progress: Callable[[str], None]) -> ParquetSplit:
    """The images of ``<name>.parquet``, or of the shards ``<name>-*.parquet`` in the order of their names.

    Columns: ``img`` or ``image``, encoded images as binary or as a struct with a binary field ``bytes``; ``label``, integers. Others are
    not read. Class names come from the Hugging Face metadata of the first file.

    Raises:
        DataError: no such file, a shard missing, a file that is no Parquet, a column missing or of another type, a null, an image that
            cannot be decoded, no rows.
    """
    paths = _files(folder, name)
    tables = [_read(path) for path in paths]
    encoded = [image for table in tables for chunk in table.column("image").chunks for image in chunk.to_pylist()]
    if not encoded:
        raise DataError(f"{folder}: the {name} split must hold images, found no row in {', '.join(path.name for path in paths)}")
    first_rows = list(accumulate((table.num_rows for table in tables), initial=0))

    def place(index: int) -> str:
        file = bisect_right(first_rows, index) - 1
        return f"{paths[file]}: row {index - first_rows[file]}"

    images = decode_images(
        len(encoded),
        encoded.__getitem__,
        place,
        image_size=image_size,
        progress=lambda n_done: progress(f"{name}: {n_done:,} of {len(encoded):,} images decoded"),
    )
    labels = np.concatenate([table.column("label").combine_chunks().to_numpy() for table in tables])
    return ParquetSplit(images, labels, _class_names(tables[0].schema.metadata))


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


def _read(path: Path) -> pa.Table:
    """The two columns of a file, the struct of an image reduced to its bytes."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        schema = file.schema_arrow
    except Exception as error:
        raise _unreadable(path, error) from error
    image = next((column for column in IMAGE_COLUMNS if schema.names.count(column) == 1), None)
    if image is None or schema.names.count(LABEL_COLUMN) != 1:
        wanted = f"{LABEL_COLUMN}" if image else " or ".join(IMAGE_COLUMNS)
        raise DataError(f"{path}: must have one column {wanted}, found {', '.join(schema.names[:20]) or 'no column'}")
    kind = schema.field(image).type
    nested = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    if not _is_binary(kind.field("bytes").type if nested else kind):
        raise DataError(f"{path}: column {image}: must be binary, or a struct with a binary field bytes, got {kind}")
    if not pa.types.is_integer(schema.field(LABEL_COLUMN).type):
        raise DataError(f"{path}: column {LABEL_COLUMN}: must be integers, got {schema.field(LABEL_COLUMN).type}")
    try:
        table = file.read(columns=[f"{image}.bytes" if nested else image, LABEL_COLUMN])
        images = pc.struct_field(table.column(image), "bytes") if nested else table.column(image)
        labels = table.column(LABEL_COLUMN).cast(pa.int64())
    except Exception as error:
        raise _unreadable(path, error) from error
    for column, values in ((image, images), (LABEL_COLUMN, labels)):
        if values.null_count:
            row = pc.index(pc.is_null(values), True).as_py()
            raise DataError(f"{path}: row {row}: column {column}: must not be null ({values.null_count} such rows); leave the row out")
    return pa.table({"image": images, "label": labels}).replace_schema_metadata(schema.metadata)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _unreadable(path: Path, error: Exception) -> DataError:
    """What Arrow says of foreign or damaged bytes, which can be an exception of nearly any type."""
    reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    return DataError(f"{path}: cannot be read as Parquet: {reason}; replace it by a whole file")


def _class_names(metadata: Mapping[bytes, bytes] | None) -> tuple[str, ...] | None:
    """Names of the classes as Hugging Face's ``datasets`` writes them into a file's metadata; ``None`` where there are none."""
    try:
        names = json.loads((metadata or {})[b"huggingface"])["info"]["features"][LABEL_COLUMN]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return tuple(names) if isinstance(names, list) and names and all(isinstance(name, str) for name in names) else None
