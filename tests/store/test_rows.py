"""The row log and the Parquet files that are made from it: whoever reads a sweep, whatever was lost of it, sees every row once."""

import json
import math
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from faults.invariants import check_equal, check_sweep, tables
from faults.simulation import new_sweep, run_sweep
from stored_rows import store_rows

from sweeper.driver.recorder import Recorder
from sweeper.errors import StoreError
from sweeper.records import EPOCH_COLUMNS, TRIAL_COLUMNS, EpochMetrics, Phase, TestMetrics, TrialConfig, TrialOutcome, TrialState
from sweeper.report import report
from sweeper.store import SweepFolder
from sweeper.store.row_log import parse_line, row_line
from sweeper.store.trust import space_to_run
from sweeper.sweep import resume_sweep
from sweeper.view.sweeps import list_sweeps, view_sweep
from sweeper.view.text import trial_text
from sweeper.view.trial import view_trial

LATER = [column.name for column in (*TRIAL_COLUMNS, *EPOCH_COLUMNS) if column.is_later and column.name != "search"]
"""Columns of metrics that the stored sweeps of earlier versions do not have."""


@pytest.fixture
def earlier(earlier_sweep):
    return SweepFolder(str(earlier_sweep("unfinished")))


@pytest.fixture
def finished(earlier_sweep):
    return SweepFolder(str(earlier_sweep("finished")))


def logged(folder, kind):
    return [row for found, row in map(parse_line, folder.row_log.read_bytes().splitlines()) if found == kind]


def names(folder):
    return [path.relative_to(str(folder)).as_posix() for table in ("trials", "epochs") for path in Path(str(folder), table).iterdir()]


def test_a_sweep_that_an_earlier_version_left_unfinished_is_listed_shown_and_reported_with_every_row(earlier):
    assert len(pd.read_parquet(f"{earlier}/epochs")) < len(logged(earlier, "epoch"))
    trials, epochs = earlier.read_trials(), earlier.read_epochs()
    assert trials.skipped == epochs.skipped == ()
    assert sorted(trials.frame["trial"]) == sorted(row["trial"] for row in logged(earlier, "trial"))
    assert trials.frame.set_index("trial")["value"].to_dict() == {row["trial"]: row["value"] for row in logged(earlier, "trial")}
    keys = ["trial", "epoch", "val_accuracy"]
    assert sorted(epochs.frame[keys].itertuples(index=False, name=None)) == sorted(
        tuple(row[key] for key in keys) for row in logged(earlier, "epoch")
    )
    (line,) = list_sweeps(str(Path(str(earlier)).parent))
    assert (line.state, line.ended, line.planned, line.problem) == ("interrupted", len(trials.frame), 12, None)
    arms = {arm["arm"]: arm for arm in json.loads(report(str(earlier), format="json"))["sweeps"][0]["arms"]}
    view = view_sweep(earlier)
    assert view.problems == ()
    for arm in view.arms:
        assert arms[arm.arm]["best"]["trial"] == arm.trial
        assert view_trial(earlier, arm.trial).value == arm.value


@pytest.mark.parametrize("lost", [(), ("trials",), ("epochs",), ("trials", "epochs"), ("checkpoints",)])
def test_a_sweep_of_an_earlier_version_is_resumed_to_what_it_would_have_been(earlier, tmp_path, lost):
    for name in lost:
        for path in Path(str(earlier), name).iterdir():
            path.unlink()
    space = space_to_run(earlier, None)
    reference = new_sweep(tmp_path / "reference", space)
    begun = [line for line in earlier.journal.read_text().splitlines(keepends=True) if json.loads(line)["op_code"] in (0, 2)]
    reference.journal.write_text("".join(begun[:5]).replace('"records":10,', ""))  # two studies, without any trial
    run_sweep(earlier, space)
    check_sweep(str(earlier), by_earlier_version=True)
    run_sweep(reference, space)
    tested = [column.name for column in TRIAL_COLUMNS if column.name.startswith("test_") or column.name == "temperature"]
    check_equal(str(earlier), tmp_path / "reference", varies=[*tested, *LATER])
    confirmed = [tables(folder)[0].query("phase == 'confirm'")[tested] for folder in (str(earlier), tmp_path / "reference")]
    pd.testing.assert_frame_equal(*confirmed, check_exact=True)
    assert sorted(names(earlier)) == ["epochs/epochs.parquet", "trials/trials.parquet"]


def test_a_finished_sweep_without_its_log_is_read_and_resumed_and_has_its_log_again(finished):
    said, rows = report(str(finished)), [pd.read_parquet(f"{finished}/{table}") for table in ("trials", "epochs")]
    best = view_sweep(finished).arms[0].trial
    curve = view_trial(finished, best).curve
    assert resume_sweep(finished, address=None).nothing_to_do
    assert report(str(finished)) == said
    for table, before in zip(("trials", "epochs"), rows, strict=True):
        after = pd.read_parquet(f"{finished}/{table}")
        assert set(after.pop("search")) == {1}
        later = [name for name in LATER if name in after]
        assert len(later) == {"trials": 12, "epochs": 4}[table]
        assert after[later].isna().all(axis=None)
        after = after.drop(columns=later)
        pd.testing.assert_frame_equal(after, before, check_exact=True)
        shutil.rmtree(f"{finished}/{table}")
    assert report(str(finished)) == said
    assert view_trial(finished, best).curve == curve


def epoch_row(number, trial="focal-0"):
    identity = {"sweep": "s", "arm": "focal", "phase": "search", "trial": trial, "number": 0, "epoch": number}
    names = (
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
        "val_nll",
        "val_brier",
        "val_ece",
        "learning_rate",
        "epoch_seconds",
    )
    return identity | dict.fromkeys(names, 0.1 * number)


@pytest.fixture
def sweep(tmp_path):
    folder = SweepFolder(str(tmp_path / "s"))
    folder.create()
    return folder


def test_a_figure_that_there_is_not_is_null_in_every_file_and_no_number_in_python(sweep):
    config = TrialConfig("focal", Phase.SEARCH, 0, 1, {})
    epoch = EpochMetrics(1, 1.0, 0.5, math.nan, 0.5, math.nan, 0.5, 0.1, 0.1, 0.1, 0.5, 0.5, math.nan, 0.25)
    recorder = Recorder(sweep, {}, "val_accuracy")
    recorder.epoch(config, epoch)
    test = TestMetrics(math.nan, 0.5, math.nan, 0.5, 0.1, 0.5, 0.5, math.nan, 0.25)
    recorder.outcome(TrialOutcome(config, TrialState.COMPLETE, 0.5, (epoch,), test))
    recorder.flush()
    recorder.close()
    null = ["val_top5_accuracy", "best_val_top5_accuracy", "last_val_top5_accuracy", "test_top5_accuracy"]
    for table in ("trials", "epochs"):
        stored = pq.read_table(f"{sweep}/{table}").to_pylist()[0]
        figures = [name for name in stored if name.startswith(("val_", "best_val_", "last_val_", "test_")) and "scaled" not in name]
        assert [name for name in figures if stored[name] is None] == [name for name in figures if name in null]
    assert [row["val_top5_accuracy"] for row in logged(sweep, "epoch")] == [None]
    assert repr(Recorder(sweep, {}, "val_accuracy").epochs("focal-0")) == "{}"  # it has ended
    (seen,) = view_trial(sweep, "focal-0").curve
    assert repr(seen) == repr(epoch)
    assert "test_top5_accuracy" not in view_trial(sweep, "focal-0").test
    assert "val_top5_accuracy" not in trial_text(view_trial(sweep, "focal-0"))
    assert "val_macro_f1" in trial_text(view_trial(sweep, "focal-0"))


def test_parquet_is_one_file_that_says_how_much_of_the_log_it_holds(sweep):
    sizes = []
    for number in (1, 2, 3):
        store_rows(sweep, epochs=[epoch_row(number)])
        sizes.append(sweep.row_log.stat().st_size)
        assert sorted(names(sweep)) == ["epochs/epochs.parquet", "trials/trials.parquet"]
        assert pq.read_schema(f"{sweep}/epochs/epochs.parquet").metadata[b"sweeper_log_bytes"] == str(sizes[-1]).encode()
        assert pd.read_parquet(f"{sweep}/epochs")["epoch"].tolist() == list(range(1, number + 1))
    before = [Path(str(sweep), name).stat().st_mtime_ns for name in names(sweep)]
    sweep.write_tables({}, sizes[-1])
    assert [Path(str(sweep), name).stat().st_mtime_ns for name in names(sweep)] == before


def test_rows_that_were_logged_since_are_read_and_a_torn_last_line_is_not(sweep):
    store_rows(sweep, epochs=[epoch_row(1)])
    with sweep.row_log.open("ab") as log:
        log.write(row_line("epoch", epoch_row(2)) + row_line("epoch", epoch_row(3))[:-20])
    assert sweep.read_epochs().frame["epoch"].tolist() == [1, 2]


def test_of_a_log_only_the_end_is_read_that_parquet_does_not_hold(sweep):
    store_rows(sweep, epochs=[epoch_row(1)])
    content = sweep.row_log.read_bytes()
    sweep.row_log.write_bytes(content.replace(b'"epoch":1', b'"epoch":9') + row_line("epoch", epoch_row(2)))
    assert sweep.read_epochs().frame["epoch"].tolist() == [1, 2]


@pytest.mark.parametrize("n_rows", [1, 20])
def test_a_log_that_was_removed_is_made_again_before_new_rows_come(sweep, n_rows):
    """Parquet tells of a log that was longer, or shorter, than the new one."""
    store_rows(sweep, epochs=[epoch_row(number) for number in range(1, n_rows + 1)])
    sweep.row_log.unlink()
    assert sweep.read_epochs().frame["epoch"].tolist() == list(range(1, n_rows + 1))
    recorder = Recorder(sweep, {}, "val_accuracy")
    recorder.close()
    with sweep.row_log.open("ab") as log:
        log.write(row_line("epoch", epoch_row(n_rows + 1)))
    assert sweep.read_epochs().frame["epoch"].tolist() == list(range(1, n_rows + 2))
    shutil.rmtree(f"{sweep}/epochs")
    assert sweep.read_epochs().frame["epoch"].tolist() == list(range(1, n_rows + 2))


def test_a_row_that_does_not_fit_its_columns_is_named_and_nothing_is_overwritten(sweep):
    store_rows(sweep, epochs=[epoch_row(1)])
    with pytest.raises(StoreError, match=r"s/epochs: a row does not fit the columns: "):
        store_rows(sweep, epochs=[{**epoch_row(2), "val_nll": "much"}])
    assert pd.read_parquet(f"{sweep}/epochs")["epoch"].tolist() == [1]
    assert sweep.read_epochs().frame["val_nll"].isna().tolist() == [False, True]


def test_a_trial_that_earlier_versions_called_complete_without_a_value_has_diverged_for_every_reader(sweep):
    row = {
        "sweep": "s",
        "arm": "a",
        "phase": "search",
        "trial": "a-0",
        "number": 0,
        "state": "complete",
        "value": float("nan"),
        "epochs": 7,
    }
    store_rows(sweep, trials=[row], in_parquet=0)
    recorder = Recorder(sweep, {}, "val_accuracy")
    assert recorder.ends["a-0"][:4] == ("diverged", None, None, 7)
    (read,) = sweep.read_trials().frame.to_dict("records")
    recorder.flush()
    recorder.close()
    (written,) = pd.read_parquet(f"{sweep}/trials").to_dict("records")
    for found in (read, written):
        assert (found["state"], found["diverged_epoch"], pd.isna(found["value"])) == ("diverged", 7, True)
