"""The Parquet tables of a sweep: typed by ``records``, with a schema version in each file.

``trials`` and ``epochs`` are written from the row log: one file each, whose metadata say how many bytes of the log it holds. Earlier
versions wrote several files without that; each row counts once in any case. A foreign or incomplete file is skipped, named and counted.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sweeper.errors import StorageAwayError, StoreError
from sweeper.records import EPOCH_COLUMNS, ONLY_SEARCH, PREDICTION_COLUMNS, SCHEMA_VERSION, TRIAL_COLUMNS, Column
from sweeper.store.folder import Folder
from sweeper.store.row_log import Kind, mended, rows_of
from sweeper.text import first_line

RowTable = Literal["trials", "epochs"]
TableName = Literal[RowTable, "predictions"]
LogLines: TypeAlias = Callable[[int, int | None], Iterable[bytes]]
"""The lines of the row log from one byte up to another; from the first on where the log is shorter than that: it is another log."""
COLUMNS: Mapping[TableName, Sequence[Column]] = {"trials": TRIAL_COLUMNS, "epochs": EPOCH_COLUMNS, "predictions": PREDICTION_COLUMNS}
_KINDS: Mapping[RowTable, Kind] = {"trials": "trial", "epochs": "epoch"}
_KEYS: Mapping[RowTable, list[str]] = {"trials": ["sweep", "trial"], "epochs": ["sweep", "trial", "epoch"]}
"""What makes a row of each table unique."""

_PART = re.compile(r"part-\d{1,12}-[0-9a-f]{8}\.parquet")
"""Files of earlier versions."""
_OWN_METRIC = re.compile(r"(?:(?:best_|last_)?val|test)_")
"""Columns of metrics that the space declares."""
_VERSION_KEY = b"sweeper_schema_version"
_LOG_BYTES_KEY = b"sweeper_log_bytes"
_ARROW_TYPES: Mapping[str, pa.DataType] = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}
_PYTHON_TYPES: Mapping[pa.DataType, type | tuple[type, ...]] = {
    pa.string(): str,
    pa.int64(): int,
    pa.float64(): (int, float),
    pa.bool_(): bool,
}


class _DamagedError(StoreError):
    """A file whose bytes are not those that were written."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not read, and why; ``damaged``: its bytes are not those that were written."""

    file: str
    reason: str
    damaged: bool = False

    def __str__(self) -> str:
        return f"{self.file}: skipped, {self.reason}"


@dataclass(frozen=True, slots=True)
class StoredTable:
    """The rows of one table, each once, and the files that had to be skipped."""

    frame: pd.DataFrame
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a table. ``log_bytes``: how much of the row log it holds; ``None`` where it was not made from the log."""

    name: str
    rows: pa.Table
    log_bytes: int | None


def read_predictions(folder: Folder, arm: str | None = None) -> StoredTable:
    """The predictions that are stored, of one arm or of all."""
    files, skipped = _read_files(folder, "predictions", arm)
    if not files:
        return StoredTable(pd.DataFrame(columns=[column.name for column in PREDICTION_COLUMNS]), tuple(skipped))
    return StoredTable(pa.concat_tables([file.rows for file in files], promote_options="default").to_pandas(), tuple(skipped))


def read_rows(folder: Folder, table: RowTable, log: LogLines) -> StoredTable:
    """Every row of trials or epochs: those in the table's files, and those that were logged since."""
    files, skipped = _read_files(folder, table)
    rows = list(rows_of(_KINDS[table], log(_n_held(files), None)))
    types: dict[str, pa.DataType | None] = {column.name: _ARROW_TYPES[column.type] for column in COLUMNS[table]}
    types |= dict.fromkeys(name for row in rows for name in row if name.startswith("param_"))
    types |= dict.fromkeys((name for row in rows for name in row if name not in types and _OWN_METRIC.match(name)), pa.float64())
    types |= {field.name: field.type for file in files for field in file.rows.schema}
    logged = pa.table({name: _readable_column([row.get(name) for row in rows], type_) for name, type_ in types.items()})
    return StoredTable(_merge(table, files, logged).to_pandas(), tuple(skipped))


def unlogged_rows(folder: Folder, table: RowTable, n_logged: int) -> Iterator[tuple[Kind, dict[str, Any]]]:
    """Rows of files that were not made from this row log, of so many bytes: an earlier version wrote them, or there was another log."""
    for file in _read_files(folder, table)[0]:
        if file.log_bytes is None or file.log_bytes > n_logged:
            for batch in file.rows.to_batches(max_chunksize=10_000):
                yield from ((_KINDS[table], mended(row)) for row in batch.to_pylist())


def write_rows(folder: Folder, table: RowTable, columns: Sequence[Column], log: LogLines, n_bytes: int) -> None:
    """Make one file of the first bytes of the row log, in place of the files that the table had; nothing where it is that already.

    A file of ours that is damaged is kept under a name that no reader takes for data, a foreign one stays.

    Raises:
        StoreError: if the storage refuses, or a row does not fit the columns.
    """
    files, skipped = _read_files(folder, table)
    name = f"{table}.parquet"
    if [(file.name, file.log_bytes) for file in files] == [(name, n_bytes)]:
        return
    rows = list(rows_of(_KINDS[table], log(_n_held(files), n_bytes)))
    schema = pa.schema([(column.name, _ARROW_TYPES[column.type]) for column in columns])
    try:
        arrays = [pa.array([row.get(field.name) for row in rows], type=field.type) for field in schema]
        merged = _merge(table, files, pa.Table.from_arrays(arrays, schema=schema))
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise StoreError(f"{folder}/{table}: a row does not fit the columns: {first_line(error)}") from error
    for found in skipped:
        file_name = found.file.rpartition("/")[2]
        if file_name == name or (found.damaged and _PART.fullmatch(file_name)):
            folder.rename(f"{table}/{file_name}", f"{table}/_damaged-{file_name}.bin")
    folder.write(f"{table}/{name}", parquet_bytes(merged, log_bytes=n_bytes))
    for file in files:
        if file.name != name:
            folder.delete(f"{table}/{file.name}")


def parquet_bytes(table: pa.Table, plain_columns: Sequence[str] = (), log_bytes: int | None = None) -> bytes:
    """A table as the bytes of a Parquet file, stamped with the schema version, and with how much of the row log it holds.

    ``plain_columns`` hold floats without repetition, which a dictionary would only make larger. (Byte-stream split would save a fifth of
    float16 logits, but DuckDB cannot read it.)
    """
    stamps = {_VERSION_KEY: SCHEMA_VERSION} | ({} if log_bytes is None else {_LOG_BYTES_KEY: log_bytes})
    table = table.replace_schema_metadata({key: str(value).encode() for key, value in stamps.items()})
    dictionary = [name for name in table.column_names if name not in set(plain_columns)]
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", compression_level=9, use_dictionary=dictionary, write_page_checksum=True)
    return sink.getvalue()


def _read_files(folder: Folder, table: TableName, arm: str | None = None) -> tuple[list[_File], list[Skipped]]:
    files: list[_File] = []
    skipped = []
    for name in folder.names(table):
        if name.startswith((".", "_")):
            continue  # readers of Parquet folders pass over such names, too
        try:
            rows = _read_file(folder, table, name, arm)
            if files:
                _check_types(rows.schema, files[0].rows.schema)
        except StorageAwayError:
            raise  # says nothing about the file
        except StoreError as error:
            skipped.append(Skipped(f"{folder}/{table}/{name}", str(error), isinstance(error, _DamagedError)))
            continue
        stamp = (rows.schema.metadata or {}).get(_LOG_BYTES_KEY, b"")
        files.append(_File(name, rows, int(stamp) if stamp.isdigit() else None))
    return files, skipped


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
        for position, column in enumerate(COLUMNS[table]):
            if column.name not in rows.column_names:  # an earlier version's file
                value = pa.scalar(ONLY_SEARCH if column.name == "search" else None, _ARROW_TYPES[column.type])
                rows = rows.add_column(position, column.name, pa.repeat(value, len(rows)))
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
        if position < 0 and column.is_later:
            continue
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


def _n_held(files: Sequence[_File]) -> int:
    """How many bytes of the row log the files hold."""
    return max((file.log_bytes or 0 for file in files), default=0)


def _readable_column(values: Sequence[Any], type_: pa.DataType | None) -> pa.Array:
    """Logged values, null where they do not fit the type; ``None``: the type that they seem to have."""
    try:
        return pa.array(values, type=type_)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        type_ = type_ or pa.string()
        return pa.array([value if isinstance(value, _PYTHON_TYPES.get(type_, ())) else None for value in values], type=type_)


def _merge(table: RowTable, files: Sequence[_File], logged: pa.Table) -> pa.Table:
    """The rows of the files and those logged since; a row that is in both counts once, as it was logged."""
    tables = [each.replace_schema_metadata() for each in (*(file.rows for file in files), logged)]
    rows = pa.concat_tables(tables, promote_options="default")
    duplicates = rows.select(_KEYS[table]).to_pandas().duplicated(keep="last").to_numpy()
    return rows.filter(pa.array(~duplicates)) if duplicates.any() else rows
