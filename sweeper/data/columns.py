"""Which columns of a Parquet file are the images and the labels: named by the user, or found by name, type and the hub's metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from sweeper.errors import DataError

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "labels")
OTHER_LABEL_COLUMNS = ("fine_label", "coarse_label", "class", "target")
"""Taken for labels where no column has one of the usual names."""


def find_columns(path: Path, schema: pa.Schema, image: str | None, label: str | None) -> tuple[str, str]:
    """The columns of images and of labels; ``image`` and ``label`` as the space names them, ``None`` where it is silent.

    Raises:
        DataError: a column that is named is not there, more than one might be meant, or none.
    """
    fit_for_images = [field.name for field in schema if encoded_field(field.type) is not None]
    if image is None:
        usual = [name for name in IMAGE_COLUMNS if name in schema.names]
        image = _only(path, schema, "image", IMAGE_COLUMNS, [[name for name in usual if name in fit_for_images], fit_for_images, usual])
    _require(path, schema, "image", image)
    if label is None:
        plain = [field.name for field in schema if label_kind(field.type) is not None and field.name != image]
        usual = [name for name in LABEL_COLUMNS if name in schema.names]
        others = [name for name in plain if name in OTHER_LABEL_COLUMNS or class_names(schema.metadata, name) is not None]
        label = _only(path, schema, "label", LABEL_COLUMNS, [[name for name in usual if name in plain], others, usual])
    _require(path, schema, "label", label)
    return image, label


def _only(path: Path, schema: pa.Schema, key: str, usual: Sequence[str], candidates: Iterable[Sequence[str]]) -> str:
    """The one name in the first of ``candidates`` that holds any."""
    found = next(filter(None, candidates), ())
    if len(found) > 1:
        raise DataError(
            f"{path}: which column is the {key}, {' or '.join(found)}? "
            f"Name it: dataset.{key}: {found[0]} (or --set dataset.{key}={found[0]})"
        )
    if not found:
        raise DataError(
            f"{path}: must have one column {' or '.join(usual)}, {_found(schema)}; "
            f"where another column is the {key}, name it: dataset.{key}: COLUMN"
        )
    return found[0]


def _require(path: Path, schema: pa.Schema, key: str, column: str) -> None:
    if column not in schema.names:
        raise DataError(f"{path}: must have the column {column}, {_found(schema)}; name another one as dataset.{key}")
    if schema.names.count(column) > 1:
        raise DataError(f"{path}: must have one column {column}, {_found(schema)}; rename the others")


def _found(schema: pa.Schema) -> str:
    return f"found {', '.join(schema.names[:20]) or 'no column'}"


def encoded_field(kind: pa.DataType) -> str | None:
    """Where a column of this type holds encoded images: in itself (``""``), in a field of a struct (``"bytes"``), or not at all."""
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type):
        return "bytes"
    return "" if _is_binary(kind) else None


def label_kind(kind: pa.DataType) -> pa.DataType | None:
    """What a column of this type is read as: itself for whole numbers, text for text and truth values, ``None`` if it cannot be labels."""
    if pa.types.is_dictionary(kind):
        return label_kind(kind.value_type)
    if pa.types.is_integer(kind):
        return kind
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return pa.string() if is_text or pa.types.is_boolean(kind) else None


def class_names(metadata: Mapping[bytes, bytes] | None, label: str) -> tuple[str, ...] | None:
    """Names of the classes of a column as Hugging Face's ``datasets`` writes them into a file's metadata; ``None`` where there are none."""
    try:
        names: Any = json.loads((metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return tuple(names) if isinstance(names, list) and names and all(isinstance(name, str) for name in names) else None


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))
