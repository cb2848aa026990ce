"""The Parquet tables of a sweep: typed by ``records``, with a schema version in each file.

A foreign or incomplete file is skipped, named and counted.
"""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sweeper.errors import StorageAwayError, StoreError
from sweeper.records import EPOCH_COLUMNS, PREDICTION_COLUMNS, SCHEMA_VERSION, TRIAL_COLUMNS, Column
from sweeper.store.folder import Folder
from sweeper.text import first_line

TableName = Literal["trials", "epochs", "predictions"]
COLUMNS: Mapping[TableName, Sequence[Column]] = {"trials": TRIAL_COLUMNS, "epochs": EPOCH_COLUMNS, "predictions": PREDICTION_COLUMNS}
KEYS: Mapping[TableName, list[str]] = {
    "trials": ["sweep", "trial"],
    "epochs": ["sweep", "trial", "epoch"],
    "predictions": ["sweep", "trial", "split", "image"],
}
"""What makes a row of each table unique."""

_PART = re.compile(r"part-(\d{1,12})-[0-9a-f]{8}\.parquet")
_VERSION_KEY = b"sweeper_schema_version"
_ARROW_TYPES: Mapping[str, pa.DataType] = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}


class _DamagedError(StoreError):
    """A file whose bytes are not those that were written."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not read, and why."""

    file: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: skipped, {self.reason}"


@dataclass(frozen=True, slots=True)
class StoredTable:
    """The rows of one table without doubles, and the files that had to be skipped."""

    frame: pd.DataFrame
    skipped: tuple[Skipped, ...] = ()


def write_rows(folder: Folder, table: TableName, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """Add one file of rows to a table; a column that a row lacks is null."""
    if not rows:
        return
    schema = pa.schema([(column.name, _ARROW_TYPES[column.type]) for column in columns])
    try:
        arrays = [pa.array([row.get(field.name) for row in rows], type=field.type) for field in schema]
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise StoreError(f"{folder}/{table}: a row does not fit the columns: {first_line(error)}") from error
    _write_part(folder, table, pa.Table.from_arrays(arrays, schema=schema))


def merge_files(folder: Folder, table: TableName) -> None:
    """Merge the files of a table into one. A crash half-way leaves doubles, which readers and the next merge drop."""
    files = [name for name in folder.names(table) if _is_data(name)]
    if len(files) < 2:
        return
    tables, skipped = _read_files(folder, table)
    if skipped:
        return  # a file that cannot be read must not vanish in a merge
    _write_part(folder, table, _without_doubles(_concatenate(tables), KEYS[table]))
    for name in files:
        folder.delete(f"{table}/{name}")


def read_table(folder: Folder, table: TableName, arm: str | None = None) -> StoredTable:
    """All rows of a table, or those of one arm; of duplicate rows the one written last counts."""
    tables, skipped = _read_files(folder, table, arm)
    if not tables:
        return StoredTable(pd.DataFrame(columns=[column.name for column in COLUMNS[table]]), tuple(skipped))
    merged = _concatenate(tables)
    if table != "predictions":  # one file per trial, replaced as a whole: no doubles to look for among a million rows
        merged = _without_doubles(merged, KEYS[table])
    return StoredTable(merged.to_pandas(), tuple(skipped))


def set_damaged_aside(folder: Folder, table: TableName) -> list[Skipped]:
    """Rename the files that this module wrote and that are not whole any more, so that no reader takes them for data; returns them."""
    damaged = []
    for name in folder.names(table):
        if not _PART.fullmatch(name):
            continue
        try:
            _read_file(folder, table, name, None)
        except _DamagedError as error:
            folder.rename(f"{table}/{name}", f"{table}/_damaged-{name}.bin")
            damaged.append(Skipped(f"{folder}/{table}/{name}", str(error)))
        except StoreError:
            continue
    return damaged


def parquet_bytes(table: pa.Table, plain_columns: Sequence[str] = ()) -> bytes:
    """A table as the bytes of a Parquet file, stamped with the schema version.

    ``plain_columns`` hold floats without repetition, which a dictionary would only make larger. (Byte-stream split would save a fifth of
    float16 logits, but DuckDB cannot read it.)
    """
    table = table.replace_schema_metadata({_VERSION_KEY: str(SCHEMA_VERSION).encode()})
    dictionary = [name for name in table.column_names if name not in set(plain_columns)]
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", compression_level=9, use_dictionary=dictionary, write_page_checksum=True)
    return sink.getvalue()


def _write_part(folder: Folder, table: TableName, rows: pa.Table) -> None:
    number = 1 + max((_part_number(name) for name in folder.names(table)), default=0)
    folder.write(f"{table}/part-{number:06d}-{uuid.uuid4().hex[:8]}.parquet", parquet_bytes(rows))


def _part_number(name: str) -> int:
    found = _PART.fullmatch(name)
    return int(found[1]) if found else 0


def _is_data(name: str) -> bool:
    """Whether readers of Parquet folders take a file for data; they pass over names that begin with a dot or an underscore."""
    return not name.startswith((".", "_"))


def _read_files(folder: Folder, table: TableName, arm: str | None = None) -> tuple[list[pa.Table], list[Skipped]]:
    tables: list[pa.Table] = []
    skipped = []
    for name in folder.names(table):
        if not _is_data(name):
            continue
        try:
            rows = _read_file(folder, table, name, arm)
            if tables:
                _check_types(rows.schema, tables[0].schema)
        except StorageAwayError:
            raise  # says nothing about the file
        except StoreError as error:
            skipped.append(Skipped(f"{folder}/{table}/{name}", str(error)))
            continue
        tables.append(rows)
    return tables, skipped


def _read_file(folder: Folder, table: TableName, name: str, arm: str | None) -> pa.Table:
    """The rows of one file.

    Raises:
        StoreError: if it is a foreign file, or the storage refuses; ``_DamagedError`` if it is truncated or corrupt.
    """
    if not name.endswith(".parquet"):
        raise StoreError("not a .parquet file")
    content = folder.read(f"{table}/{name}")
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        schema = file.schema_arrow
        _check_schema(schema, table)
        rows = file.read()
        rows.validate(full=True)
        return rows if arm is None else rows.filter(pc.equal(rows["arm"], arm))
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
        raise _DamagedError(f"damaged or not Parquet: {first_line(error)}") from error


def _check_schema(schema: pa.Schema, table: TableName) -> None:
    """Raises ``StoreError`` unless these are the table's columns, each once."""
    version = (schema.metadata or {}).get(_VERSION_KEY)
    if version is None:
        raise StoreError("not written by sweeper (no schema version in it)")
    if version != str(SCHEMA_VERSION).encode():
        raise StoreError(f"schema version {version.decode(errors='replace'):.20}, this sweeper reads version {SCHEMA_VERSION}")
    if len(set(schema.names)) < len(schema.names):
        raise StoreError("two columns have one name")
    for column in COLUMNS[table]:
        position = schema.get_field_index(column.name)
        if position < 0:
            raise StoreError(f"column {column.name!r} is missing")
        if schema.field(position).type != _ARROW_TYPES[column.type]:
            raise StoreError(f"column {column.name!r} is {schema.field(position).type}, expected {column.type}")


def _check_types(ours: pa.Schema, others: pa.Schema) -> None:
    """Raises ``StoreError`` where a column that both files have differs in type: they cannot be one table."""
    for field in ours:
        position = others.get_field_index(field.name)
        if position >= 0 and others.field(position).type != field.type:
            raise StoreError(f"column {field.name!r} is {field.type}, in the files before it {others.field(position).type}")


def _concatenate(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables, promote_options="default")


def _without_doubles(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    doubles = rows.select(keys).to_pandas().duplicated(keep="last").to_numpy()
    return rows.filter(pa.array(~doubles)) if doubles.any() else rows
