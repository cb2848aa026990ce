"""How far a sweep is, seen by a process that does not run it."""

import json
import math
import shutil
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from sweeper.errors import StoreError
from sweeper.records import Phase, TrialState
from sweeper.report import report
from sweeper.store import SweepFolder
from sweeper.studies.journal_reader import JournalTrial, read_journal
from sweeper.text import as_json
from sweeper.view.find import find_sweep
from sweeper.view.status import epochs_per_second, sweep_status
from sweeper.view.sweeps import list_sweeps
from sweeper.view.text import sparkline
from sweeper.view.trial import view_trial


@pytest.fixture
def interrupted(finished_sweep, tmp_path):
    """The finished sweep as it stood when its search was half done: the first lines of its journal and of its row log, no Parquet."""
    folder = shutil.copytree(finished_sweep.path, tmp_path / "results" / finished_sweep.id)
    for table in ("trials", "epochs", "predictions"):
        for path in (folder / table).glob("*.parquet"):
            path.unlink()
    for name, share in (("studies.journal", 0.5), ("tune/rows.jsonl", 0.4)):
        lines = (folder / name).read_bytes().splitlines(keepends=True)
        (folder / name).write_bytes(b"".join(lines[: int(len(lines) * share)]))
    return SweepFolder(str(folder))


def test_an_interrupted_sweep_counts_what_its_journal_holds(interrupted):
    status = sweep_status(interrupted)
    assert (status.state, status.owner) == ("interrupted", None)
    searched = status.snapshot.total("ended", Phase.SEARCH)
    assert 0 < searched < 8
    assert status.snapshot.total("running") == 0  # nobody trains them
    assert status.snapshot.eta_seconds is None


def test_while_a_process_holds_the_lock_the_sweep_is_running_and_named(interrupted):
    code = "import fcntl, sys; file = open(sys.argv[1], 'r+'); fcntl.flock(file, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, f"{interrupted}/lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        owner.stdout.readline()
        status = sweep_status(interrupted)
        owner.stdin.close()
        owner.wait(20)
    assert status.state == "running"
    assert " on " in status.owner
    assert sweep_status(interrupted).state == "interrupted"


def test_looking_writes_nothing(interrupted):
    def files():
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in interrupted.local_folder.rglob("*") if path.is_file()}

    before = files()
    sweep_status(interrupted)
    interrupted.read_trials(), interrupted.read_epochs()
    assert files() == before


def test_a_torn_last_line_is_passed_over(interrupted):
    whole = sweep_status(interrupted).snapshot
    for name in (interrupted.journal, interrupted.row_log):
        with name.open("ab") as file:
            file.write(b'{"kind": "epo')
    assert sweep_status(interrupted).snapshot.parts == whole.parts
    assert len(interrupted.read_epochs().frame) > 0


def test_rows_of_the_log_are_trials_before_any_parquet_file_is_written(interrupted):
    trials = interrupted.read_trials().frame
    assert len(trials) > 0
    view = view_trial(interrupted, trials["trial"].iloc[0])
    assert view.state in ("complete", "pruned")
    assert view.parameters["learning_rate"] > 0


def test_rows_in_parquet_and_in_the_log_count_once(finished_sweep):
    folder = SweepFolder(str(finished_sweep.path))
    trials, epochs = folder.read_trials().frame, folder.read_epochs().frame
    assert (len(trials), trials["trial"].nunique()) == (12, 12)
    assert not epochs.duplicated(["trial", "epoch"]).any()


def test_a_file_that_is_no_journal_is_named(tmp_path):
    assert read_journal(tmp_path / "absent") == {}
    path = tmp_path / "studies.journal"
    for content in (b"[1, 2]\n", b"not json\nnor this\n", b'{"op_code": 99}\n'):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"studies\.journal: not a journal that Optuna can read"):
            read_journal(path)


def test_the_pace_spreads_a_trials_epochs_over_its_time():
    now = datetime(2026, 1, 1, 12, 0, 0)

    def trial(started, ended, epochs):
        ago = [None if seconds is None else now - timedelta(seconds=seconds) for seconds in (started, ended)]
        return JournalTrial(0, TrialState.COMPLETE if ended else None, ended is None, None, epochs, {}, None, *ago)

    assert epochs_per_second([], now) is None
    assert epochs_per_second([trial(100, None, 10)], now) == pytest.approx(0.1)
    assert epochs_per_second([trial(100, 50, 10), trial(100, None, 10)], now) == pytest.approx(0.2)
    # of an hour-long trial only the last five minutes count
    assert epochs_per_second([trial(3600, None, 36)], now) == pytest.approx(0.01)


def test_a_folder_of_sweeps_means_the_newest(finished_sweep):
    assert find_sweep(str(finished_sweep.results), "nowhere").id == finished_sweep.id
    assert find_sweep(None, str(finished_sweep.results)).id == finished_sweep.id


@pytest.mark.parametrize("provenance", ['{"started_at": "20', "[]", ""])
def test_a_sweep_with_a_torn_provenance_hides_no_other(finished_sweep, tmp_path, provenance):
    for name in ("whole-20260101-000000", "torn-20270101-000000"):
        shutil.copytree(finished_sweep.path, tmp_path / name)
    (tmp_path / "torn-20270101-000000" / "provenance.json").write_text(provenance)
    torn, whole = list_sweeps(str(tmp_path))
    assert (torn.sweep, whole.sweep, whole.state) == ("torn-20270101-000000", "whole-20260101-000000", "finished")
    assert "torn-20270101-000000/provenance.json: " in torn.problem
    assert find_sweep(None, str(tmp_path)).id == "whole-20260101-000000"
    words = " ".join(report(str(tmp_path)).split())
    assert "! where the sweep ran is not known: provenance.json: " in words


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([], ""),
        ([1.0], "▅"),
        ([2.0, 2.0], "▅▅"),
        ([0.0, 1.0], "▁█"),
        (list(range(8)), "▁▂▃▄▅▆▇█"),
        ([0.0, math.nan, 1.0], "▁×█"),
        ([math.nan, math.inf], "××"),
        ([0.0] * 50 + [1.0] * 50, "▁" * 20 + "█" * 20),
    ],
)
def test_a_sparkline_goes_from_the_lowest_to_the_highest(values, bars):
    assert sparkline(values) == bars


def test_json_has_null_for_what_is_not_a_number():
    assert json.loads(as_json(({"a": math.nan, "b": (1, 2.5, True, None, TrialState.FAILED)},))) == [
        {"a": None, "b": [1, 2.5, True, None, "failed"]}
    ]
