"""Files in a sweep that are torn, corrupt, foreign, old or hostile: skipped, named and counted, or refused; never wrong numbers."""

import json
import subprocess

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_rows import store_rows

from sweeper.driver.recorder import Recorder
from sweeper.errors import StoreError
from sweeper.records import EPOCH_COLUMNS, EpochMetrics, Phase, TrialConfig
from sweeper.store import Checkpoint, Folder, SweepFolder, file_name
from sweeper.store.append_log import AppendLog
from sweeper.store.tables import parquet_bytes

N_ROWS = 20


def epoch_rows(n_rows=N_ROWS, trial="focal-0"):
    identity = {"sweep": "s", "arm": "focal", "phase": "search", "trial": trial, "number": 0}
    figures = {column.name: 0.5 for column in EPOCH_COLUMNS if column.type == "float64"}
    return [{**identity, **figures, "epoch": epoch} for epoch in range(1, n_rows + 1)]


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    folder = SweepFolder(str(tmp_path_factory.mktemp("good") / "s"))
    folder.create()
    store_rows(folder, epochs=epoch_rows())
    return folder.folder.read("epochs/epochs.parquet")


@pytest.fixture
def sweep(tmp_path):
    folder = SweepFolder(str(tmp_path / "s"))
    folder.create()
    return folder


@pytest.fixture(scope="module")
def shared_sweep(tmp_path_factory):
    folder = SweepFolder(str(tmp_path_factory.mktemp("fuzz") / "s"))
    folder.create()
    return folder


NAME = "epochs/part-000001-0123abcd.parquet"


def check_rows(stored):
    """Either the file counts with exactly its rows, or it is skipped and named."""
    if stored.skipped:
        assert len(stored.frame) == 0
        assert stored.skipped[0].file.endswith(NAME)
        assert stored.skipped[0].reason
    else:
        pd.testing.assert_frame_equal(
            stored.frame, pd.DataFrame(epoch_rows())[[column.name for column in EPOCH_COLUMNS]], check_dtype=False
        )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_that_changed_are_noticed(shared_sweep, part, data):
    content = bytearray(part)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    shared_sweep.folder.write(NAME, bytes(content))
    stored = shared_sweep.read_epochs()
    if not stored.skipped:
        assert len(stored.frame) == N_ROWS
        assert set(stored.frame["epoch"]) == set(range(1, N_ROWS + 1))
        assert (stored.frame["val_accuracy"] == 0.5).all()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.floats(0, 1, exclude_max=True), tail=st.binary(max_size=30))
def test_a_torn_file_is_skipped(shared_sweep, part, length, tail):
    shared_sweep.folder.write(NAME, part[: int(len(part) * length)] + tail)
    stored = shared_sweep.read_epochs()
    assert len(stored.frame) == 0
    assert len(stored.skipped) == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_a_file_that_was_never_parquet_is_skipped(shared_sweep, content):
    shared_sweep.folder.write(NAME, content)
    check_rows(shared_sweep.read_epochs())


def _table(**changes):
    rows = pa.Table.from_pylist(
        epoch_rows(),
        schema=pa.schema([(c.name, {"string": pa.string(), "int64": pa.int64()}.get(c.type, pa.float64())) for c in EPOCH_COLUMNS]),
    )
    for name, column in changes.items():
        rows = (
            rows.set_column(rows.column_names.index(name), name, column) if name in rows.column_names else rows.append_column(name, column)
        )
    return rows


FOREIGN = {
    "another schema": (parquet_bytes(pa.table({"a": [1]})), "column 'sweep' is missing"),
    "a column of another type": (parquet_bytes(_table(epoch=pa.array(["x"] * N_ROWS))), "column 'epoch' is string, expected int64"),
    "two columns of one name": (parquet_bytes(_table().append_column("epoch", pa.array([1] * N_ROWS))), "two columns have one name"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_skipped_with_its_reason_and_the_others_are_read(sweep, part, kind):
    content, reason = FOREIGN[kind]
    sweep.folder.write("epochs/part-000002-0123abcd.parquet", content)
    sweep.folder.write("epochs/notes.txt", b"mine")
    sweep.folder.write("epochs/_SUCCESS", b"")
    sweep.folder.write(NAME, part)
    stored = sweep.read_epochs()
    assert len(stored.frame) == N_ROWS
    assert {skipped.file.rsplit("/", 1)[1]: skipped.reason for skipped in stored.skipped} == {
        "part-000002-0123abcd.parquet": reason,
        "notes.txt": "not a .parquet file",
    }


def test_a_parquet_file_of_somebody_else_is_skipped(sweep, tmp_path):
    pq.write_table(_table(), tmp_path / "s" / NAME)
    assert sweep.read_epochs().skipped[0].reason == "not written by sweeper (no schema version in it)"


@pytest.mark.parametrize("version", [b"0", b"2", b"", b"\xff", b"9" * 100])
def test_a_file_of_another_version_is_skipped_and_stays_where_it_is(sweep, tmp_path, version):
    pq.write_table(_table().replace_schema_metadata({b"sweeper_schema_version": version}), tmp_path / "s" / NAME)
    (skipped,) = sweep.read_epochs().skipped
    assert "this sweeper reads version 1" in skipped.reason
    store_rows(sweep)
    assert sweep.folder.names("epochs") == ["epochs.parquet", skipped.file.rpartition("/")[2]]


def test_a_parameter_column_of_another_type_does_not_break_the_table(sweep, part):
    sweep.folder.write(NAME, parquet_bytes(_table(param_x=pa.array([1.0] * N_ROWS))))
    sweep.folder.write("epochs/part-000002-0123abcd.parquet", parquet_bytes(_table(param_x=pa.array(["a"] * N_ROWS))))
    stored = sweep.read_epochs()
    assert len(stored.frame) == N_ROWS
    assert [skipped.reason for skipped in stored.skipped] == ["column 'param_x' is string, in the files before it double"]


def test_text_that_is_no_text_is_damage(sweep):
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(bytes(4) + b"\x02\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    rows = _table().slice(0, 1)
    sweep.folder.write(NAME, parquet_bytes(rows.set_column(rows.column_names.index("arm"), "arm", broken)))
    assert "damaged" in sweep.read_epochs().skipped[0].reason


def test_a_damaged_file_of_ours_is_set_aside_and_its_rows_come_back_from_the_row_log(sweep, tmp_path):
    config = TrialConfig("focal", Phase.SEARCH, 0, 1, {"learning_rate": 0.1})
    recorder = Recorder(sweep, {"learning_rate": "float64"}, "val_accuracy")
    for epoch in (1, 2, 3):
        recorder.epoch(config, EpochMetrics(epoch, *[0.25] * 9))
    recorder.flush()
    recorder.close()
    names = ["epochs.parquet", "part-000001-0123abcd.parquet"]
    for name in names:
        (tmp_path / "s" / "epochs" / name).write_bytes(b"PAR1 torn")
    assert sweep.read_epochs().frame["epoch"].tolist() == [1, 2, 3]
    assert [skipped.file for skipped in sweep.read_epochs().skipped] == [f"{sweep}/epochs/{name}" for name in names]
    recorder = Recorder(sweep, {"learning_rate": "float64"}, "val_accuracy")
    recorder.flush()
    recorder.close()
    assert pd.read_parquet(tmp_path / "s" / "epochs")["epoch"].tolist() == [1, 2, 3]
    assert sweep.folder.names("epochs") == [*(f"_damaged-{name}.bin" for name in names), "epochs.parquet"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[]", "TypeError"),
        (b'{"kind": "epoch", "row": {}}', "KeyError"),
        (b'{"kind": "epoch", "row": {"trial": ["x"], "epoch": 1}}', "KeyError"),
        (b'{"kind": "trial", "row": {"trial": 7}}', "TypeError"),
        (b'{"kind": "evil", "row": {"trial": "x"}}', "unknown kind 'evil'"),
        (b'{"kind": "header", "row": {"schema_version": 99}}', "schema version 99, this sweeper reads version 1"),
        (b"\xff\xfe\x00", "UnicodeDecodeError"),
        (b"[" * 100_000, "RecursionError"),
    ],
)
def test_a_damaged_row_log_is_named_with_its_line(sweep, line, reason):
    log = AppendLog(sweep.row_log, "the row log")
    log.append(b'{"kind":"header","row":{"schema_version":1}}\n' + line + b"\n")
    log.close()
    with pytest.raises(StoreError, match=reason) as refusal:
        Recorder(sweep, {}, "val_accuracy")
    assert "tune/rows.jsonl: " in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\x80\x04\x95", b"x" * 1000])
def test_a_checkpoint_that_is_not_whole_is_no_checkpoint(sweep, content):
    config = TrialConfig("focal", Phase.SEARCH, 0, 1, {"learning_rate": 0.1})
    sweep.folder.write("checkpoints/focal-0.npz", content)
    assert not sweep.checkpoints.read([config])


def test_a_checkpoint_with_a_pickle_in_it_is_not_opened(sweep, tmp_path):
    import numpy as np

    class Evil:
        def __reduce__(self):
            return (subprocess.run, (["touch", str(tmp_path / "owned")],))

    config = TrialConfig("focal", Phase.SEARCH, 0, 1, {"learning_rate": 0.1})
    sweep.checkpoints.write(Checkpoint({"epochs": np.asarray(0)}, (), config))
    assert sweep.checkpoints.read([config])
    np.savez(tmp_path / "s" / "checkpoints" / "focal-0.npz", __meta__=np.array([Evil()], dtype=object))
    assert not sweep.checkpoints.read([config])
    assert not (tmp_path / "owned").exists()


def test_a_checkpoint_of_another_configuration_is_not_used(sweep):
    import numpy as np

    config = TrialConfig("focal", Phase.SEARCH, 0, 1, {"learning_rate": 0.1})
    sweep.checkpoints.write(Checkpoint({"epochs": np.asarray(0)}, (), config))
    assert not sweep.checkpoints.read([TrialConfig("focal", Phase.SEARCH, 0, 1, {"learning_rate": 0.2})])
    assert not sweep.checkpoints.read([TrialConfig("focal", Phase.SEARCH, 0, 2, {"learning_rate": 0.1})])


@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff", b"null", b'"x"'])
def test_a_damaged_provenance_is_named(sweep, content):
    sweep.folder.write("provenance.json", content)
    with pytest.raises(StoreError, match=r"provenance\.json: "):
        sweep.read_provenance()


def test_a_sweep_of_another_version_is_refused(sweep):
    sweep.folder.write("provenance.json", json.dumps({"schema_version": 0}).encode())
    with pytest.raises(StoreError, match=r"provenance\.json: schema version 0, this sweeper writes version 1; resume with the version"):
        sweep.check_version()


HOSTILE_NAMES = [
    "../../x",
    "/etc/passwd",
    "a/../b",
    "..",
    ".",
    "",
    "nul\0byte",
    "x" * 500,
    "ünïcödé",
    "con",
    "a\nb",
    "~root",
    "a:b",
    "é" * 300,
    "-rf",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_no_name_leaves_the_folder(sweep, tmp_path, name):
    config = TrialConfig(name, Phase.SEARCH, 0, 1, {"learning_rate": 0.1})
    import numpy as np

    sweep.checkpoints.write(Checkpoint({"epochs": np.asarray(0)}, (), config))
    (checkpoint,) = (tmp_path / "s" / "checkpoints").iterdir()
    assert sweep.checkpoints.read([config])
    assert len(checkpoint.name.encode()) <= 120
    assert {path.name for path in tmp_path.iterdir()} == {"s"}


@given(st.lists(st.text(min_size=1, max_size=200), min_size=2, max_size=2, unique=True))
@settings(max_examples=200, deadline=None)
def test_two_names_never_share_a_file(names):
    first, second = map(file_name, names)
    assert first != second
    for name in (first, second):
        assert name not in {".", ".."}
        assert "/" not in name
        assert len(name) <= 100


def test_writing_to_a_folder_that_was_deleted_is_an_error_and_does_not_bring_it_back(sweep, tmp_path):
    import shutil

    shutil.rmtree(tmp_path / "s")
    with pytest.raises(StoreError, match="No such file or directory"):
        sweep.write_tables({}, 0)
    assert not (tmp_path / "s").exists()


def test_a_file_is_never_seen_half_written(tmp_path, monkeypatch):
    import os

    folder = Folder(str(tmp_path))
    folder.write("a", b"old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match=r"/a: No space left on device"):
        folder.write("a", b"new")
    assert folder.read("a") == b"old"
    assert folder.names() == ["a"]
