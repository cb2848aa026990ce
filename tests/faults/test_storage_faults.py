"""Storage that refuses in the middle of a sweep: a clear error that names the file, and a resume that completes once it is mended."""

import errno
import os
import pickle
import re
import shutil
import subprocess
import threading
import time

import numpy as np
import pytest

from sweeper.driver import recorder as recorder_module
from sweeper.driver.recorder import Recorder
from sweeper.errors import FolderExistsError, StorageAwayError, StoreError
from sweeper.records import EpochMetrics, Phase, TrialConfig
from sweeper.store import Checkpoint, Folder, SweepFolder, find_sweeps
from sweeper.store import folder as folder_module
from sweeper.store import outage as outage_module
from sweeper.store import remote as remote_module
from sweeper.store.checkpoints import Checkpoints
from sweeper.store.outage import storage_error

from .invariants import check_equal, check_sweep
from .kill_harness import SPACE, finish, start
from .object_storage import Wire, download, sweeps_in, use_storage
from .simulation import new_sweep, run_sweep
from .test_crash_points import space_with

REASONS = {code: os.strerror(code) for code in (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS)}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("faults") / "reference"
    space = space_with()
    run_sweep(new_sweep(path, space), space)
    return path


class Fault:
    """Makes the ``point``-th call of a function of the system fail, and all calls after it until it is mended."""

    def __init__(self, monkeypatch, name, point, code):
        self.broken = True
        self.n_calls = 0
        system = getattr(os, name)

        def call(*arguments, **options):
            self.n_calls += 1
            if self.broken and self.n_calls >= point:
                if name == "write" and len(arguments[1]) > 1:
                    system(arguments[0], arguments[1][: len(arguments[1]) // 2])  # as a full disk does: half of it, and then no more
                raise OSError(code, os.strerror(code))
            return system(*arguments, **options)

        monkeypatch.setattr(os, name, call)


FAULTS = [("write", point, errno.ENOSPC) for point in (1, 6, 31)] + [
    ("fsync", point, code) for point, code in ((9, errno.EIO), (60, errno.EACCES), (141, errno.ENOSPC), (200, errno.EROFS))
]


@pytest.mark.parametrize(("name", "point", "code"), FAULTS)
def test_a_fault_is_named_and_mended(tmp_path, monkeypatch, reference, name, point, code):
    space = space_with()
    folder = new_sweep(tmp_path / "sweep", space)
    monkeypatch.setattr(recorder_module, "FLUSH_SECONDS", -1.0)
    fault = Fault(monkeypatch, name, point, code)
    with pytest.raises(StoreError) as refusal:
        run_sweep(folder, space)
    assert REASONS[code] in str(refusal.value)
    assert str(tmp_path / "sweep") in str(refusal.value)
    with pytest.raises(StoreError):  # it is as broken as before
        run_sweep(folder, space)
    fault.broken = False
    run_sweep(folder, space)
    check_sweep(tmp_path / "sweep")
    check_equal(tmp_path / "sweep", reference)


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting a small disk needs root: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_stops_the_sweep_and_a_larger_one_completes_it(small_disk, reference):
    space = space_with()
    folder = new_sweep(small_disk / "sweep", space)
    for size in ("40k", "52k", "64k"):
        subprocess.run(["mount", "-o", f"remount,size={size}", str(small_disk)], check=True)
        with pytest.raises(StoreError, match=r"disk/sweep/.*No space left on device"):
            run_sweep(folder, space)
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    run_sweep(folder, space)
    check_sweep(small_disk / "sweep")
    check_equal(small_disk / "sweep", reference)


def test_a_read_only_folder_is_named_and_nothing_is_made(small_disk):
    space = space_with()
    folder = new_sweep(small_disk / "sweep", space)
    subprocess.run(["mount", "-o", "remount,ro,size=20m", str(small_disk)], check=True)
    with pytest.raises(StoreError, match=r"disk/new: cannot make this folder: Read-only file system"):
        SweepFolder(str(small_disk / "new")).create()
    with pytest.raises(StoreError, match=r"disk/sweep/lock: cannot open the lock: Read-only file system"), folder.lock():
        pass
    assert find_sweeps(str(small_disk))[0].id == "sweep"  # reading is still possible
    assert folder.read_trials().frame.empty


def test_a_results_folder_that_vanishes_stops_the_sweep(tmp_path, monkeypatch):
    space = space_with()
    folder = new_sweep(tmp_path / "results" / "sweep", space)
    n_written = 0
    write = Checkpoints.write_pack

    def vanish(checkpoints, pack_id, checkpoint):
        nonlocal n_written
        n_written += 1
        if n_written == 5:
            shutil.rmtree(tmp_path / "results")
        write(checkpoints, pack_id, checkpoint)

    monkeypatch.setattr(Checkpoints, "write_pack", vanish)
    with pytest.raises(StoreError, match=r"results/sweep/.*No such file or directory"):
        run_sweep(folder, space)
    assert not (tmp_path / "results").exists()


def test_logs_that_vanish_stop_the_sweep(tmp_path, monkeypatch):
    space = space_with()
    folder = new_sweep(tmp_path / "sweep", space)
    write = Checkpoints.write_pack

    def vanish(checkpoints, pack_id, checkpoint):
        folder.row_log.unlink(missing_ok=True)
        write(checkpoints, pack_id, checkpoint)

    monkeypatch.setattr(Checkpoints, "write_pack", vanish)
    with pytest.raises(StoreError, match=r"tune/rows\.jsonl: the row log was deleted while the sweep was running"):
        run_sweep(folder, space)


def test_a_half_made_sweep_is_no_sweep(tmp_path):
    folder = SweepFolder(str(tmp_path / "half"))
    folder.create()
    folder.write_provenance({"started_at": "2026-01-01T00:00:00+00:00"})
    with pytest.raises(StoreError, match=r"no sweep in this folder \(a sweep's folder holds sweep\.yaml\)"):
        find_sweeps(str(tmp_path))
    with pytest.raises(StoreError, match=r"no sweep in this folder"):
        find_sweeps(str(tmp_path / "half"))
    space = space_with()
    whole = new_sweep(tmp_path / "whole", space)
    assert [sweep.id for sweep in find_sweeps(str(tmp_path))] == [whole.id]
    with pytest.raises(StoreError, match=r"whole: already exists; continue it with `sweep resume"):
        new_sweep(tmp_path / "whole", space)


def test_a_folder_of_one_name_is_made_once(tmp_path):
    SweepFolder(str(tmp_path / "sweep")).create()
    with pytest.raises(FolderExistsError, match="already exists; continue it with"):
        SweepFolder(str(tmp_path / "sweep")).create()


@pytest.fixture
def wire(s3, monkeypatch, tmp_path):
    """Leads to a bucket; what takes minutes takes seconds."""
    wire = Wire(s3)
    use_storage(monkeypatch, wire.url, tmp_path / "cache")
    monkeypatch.setattr(recorder_module, "FLUSH_SECONDS", -1.0)
    monkeypatch.setattr(remote_module, "SECONDS_BETWEEN_SAVES", 0.0)
    monkeypatch.setattr(remote_module, "SECONDS_BETWEEN_BEATS", 0.3)
    monkeypatch.setattr(folder_module, "SECONDS_OF_SILENCE", 1)
    monkeypatch.setattr(outage_module, "SECONDS_UNTOLD", 0.5)
    return wire


class AtCheckpoint:
    """Does something before the checkpoint of a given number is written."""

    def __init__(self, monkeypatch, number, action):
        self.n_written = 0
        write = Checkpoints.write_pack

        def counted(checkpoints, pack_id, checkpoint):
            self.n_written += 1
            if self.n_written == number:
                action()
            write(checkpoints, pack_id, checkpoint)

        monkeypatch.setattr(Checkpoints, "write_pack", counted)


@pytest.mark.parametrize("how", ["cut", "hold"])
def test_storage_that_comes_back_costs_a_sweep_nothing_and_is_told_once(wire, monkeypatch, tmp_path, reference, how):
    space, told = space_with(), []
    uri = f"s3://bucket/{tmp_path.name}"
    folder = new_sweep(uri, space)
    # a request that is held is given up after three tries of a second each, and may have been sent late
    away, back, seconds = {"cut": (wire.cut, wire.mend, 4.0), "hold": (wire.hold, wire.let_through, 8.0)}[how]

    def go_away():
        away()
        threading.Timer(seconds, back).start()

    AtCheckpoint(monkeypatch, 9, go_away)
    with folder.lock(told.append):
        run_sweep(folder, space)
    copy = download(str(folder), tmp_path / "copy")
    check_sweep(copy)
    check_equal(copy, reference)
    gone, returned = told
    assert re.fullmatch(
        rf"warning: {uri}/\S+: the storage at {wire.url} does not answer \(.+\); trying again for 120 s, training goes on", gone
    )
    assert re.fullmatch(rf"warning: {uri}: the storage answers again, after ([3-9]|1\d) s", returned)


def test_storage_that_stays_away_ends_the_sweep_with_everything_kept_on_this_machine(wire, monkeypatch, tmp_path, reference):
    monkeypatch.setattr(outage_module, "SECONDS_TO_WAIT", 2.0)
    space = space_with()
    folder = new_sweep(f"s3://bucket/{tmp_path.name}", space)
    AtCheckpoint(monkeypatch, 14, wire.cut)
    with pytest.raises(StoreError, match=r"the storage at http\S+ does not answer \(.*\), and has not for \d s"), folder.lock():
        run_sweep(folder, space)
    with pytest.raises(StorageAwayError, match="does not answer"), folder.lock():  # as a command: at once
        pass
    wire.mend()
    again = SweepFolder(str(folder))
    with again.lock():
        run_sweep(again, space)
    copy = download(str(folder), tmp_path / "copy")
    check_sweep(copy)
    check_equal(copy, reference)


def test_what_a_thread_cannot_write_is_raised_with_the_way_to_go_on(wire, monkeypatch, tmp_path):
    monkeypatch.setattr(outage_module, "SECONDS_TO_WAIT", 2.0)
    folder = new_sweep(f"s3://bucket/{tmp_path.name}", space_with())

    def wait_for_the_thread():
        with folder.lock():
            wire.cut()
            for _ in range(100):
                folder.later(lambda: None)
                time.sleep(0.1)

    kept = rf"has not for \d s; what is not saved there is kept in {tmp_path}/cache/\S+: go on from this machine$"
    with pytest.raises(StoreError, match=kept):
        wait_for_the_thread()
    wire.mend()


@pytest.mark.parametrize("how", ["cut", "hold"])
def test_decisions_do_not_wait_for_storage_that_is_away(wire, tmp_path, how):
    folder = new_sweep(f"s3://bucket/{tmp_path.name}", space_with())
    away, back = {"cut": (wire.cut, wire.mend), "hold": (wire.hold, wire.let_through)}[how]
    with folder.lock():
        recorder = Recorder(folder, {}, "val_accuracy")
        recorder.flush()
        away()
        config = TrialConfig("l1", Phase.SEARCH, 0, 1, {})
        for epoch in range(1, 31):
            started = time.monotonic()
            recorder.epoch(config, EpochMetrics(epoch, 1.0, 1.0, 0.5, 0.5, 1.0, 0.5, 0.1, 0.1, 0.2))
            recorder.commit()
            folder.delete_ended_checkpoints(["l1-0"], [])
            recorder.flush_when_due()
            assert time.monotonic() - started < 0.5
            time.sleep(0.05)
        assert SweepFolder(str(folder)).row_log.read_bytes().count(b'"epoch"}') == 0
        back()
        recorder.flush()
        assert len(folder.read_epochs().frame) == 30
        recorder.close()


def test_a_worker_waits_for_storage_as_its_driver_does(wire, monkeypatch, tmp_path):
    folder = new_sweep(f"s3://bucket/{tmp_path.name}", space_with())
    checkpoint = Checkpoint({"epochs": np.asarray(0)}, (), TrialConfig("l1", Phase.SEARCH, 0, 1, {}))
    with folder.lock():
        worker = pickle.loads(pickle.dumps(folder))
    with wire.away():
        threading.Timer(3.0, wire.mend).start()
        worker.checkpoints.write(checkpoint)
        assert worker.checkpoints.read([checkpoint.config])["l1-0"].arrays["epochs"] == 0
        wire.cut()
        with pytest.raises(StorageAwayError):  # anybody else is told at once
            pickle.loads(pickle.dumps(folder)).checkpoints.read([checkpoint.config])


def test_a_checkpoint_that_cannot_be_read_now_is_not_taken_for_none(wire, tmp_path):
    folder = new_sweep(f"s3://bucket/{tmp_path.name}", space_with())
    config = TrialConfig("l1", Phase.SEARCH, 0, 1, {})
    folder.checkpoints.write(Checkpoint({"epochs": np.asarray(0)}, (), config))
    times = Folder.times

    def listed_and_gone(self, name):
        found = times(self, name)
        wire.cut()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folder, "times", listed_and_gone)
        with pytest.raises(StorageAwayError):
            folder.checkpoints.read([config])
    wire.mend()


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (
            "AWS Error NETWORK_CONNECTION during X operation: curlCode: 6, Could not resolve hostname; Details: y",
            StorageAwayError,
            "hostname",
        ),
        ("AWS Error SLOW_DOWN during PutObject operation: Please reduce your request rate", StorageAwayError, "SLOW_DOWN"),
        ("AWS Error SERVICE_UNAVAILABLE during PutObject operation: No response body.", StorageAwayError, "SERVICE_UNAVAILABLE"),
        ("AWS Error UNKNOWN (HTTP status 502) during PutObject operation: Bad Gateway", StorageAwayError, "HTTP status 502"),
        ("google::cloud::Status(UNAVAILABLE: try later)", StorageAwayError, "try later"),
        ("AWS Error UNKNOWN (HTTP status 403) during PutObject operation: x", StoreError, "refuses these credentials"),
        ("AWS Error SIGNATURE_DOES_NOT_MATCH during PutObject operation: x", StoreError, "refuses these credentials"),
        ("AWS Error NO_SUCH_BUCKET during CreateMultipartUpload operation: x", StoreError, "there is no bucket s3://bucket"),
        ("AWS Error NO_SUCH_KEY during GetObject operation: gone", StoreError, "gone"),
    ],
)
def test_errors_of_object_storage_are_told_by_what_helps(said, kind, words):
    error = storage_error("s3://bucket/x", f"When doing something in bucket 'bucket': {said}")
    assert type(error) is kind
    assert str(error).startswith("s3://bucket/x: ")
    assert words in str(error)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_real_sweep_outlives_thirty_seconds_without_storage(s3, monkeypatch, tmp_path):
    wire = Wire(s3)
    use_storage(monkeypatch, wire.url, tmp_path / "cache")
    (tmp_path / "space.yaml").write_text(SPACE.replace("PACK", "1").replace("epochs: 4", "epochs: 12"))
    results = f"s3://bucket/{tmp_path.name}"
    run = start(["run", str(tmp_path / "space.yaml"), "--results", results], tmp_path / "log")
    deadline = time.monotonic() + 240
    while not any(sweep.folder.names("checkpoints") for sweep in sweeps_in(results)):
        assert run.process.poll() is None, run.output
        assert time.monotonic() < deadline, run.output
        time.sleep(0.1)
    with wire.away(30.0):
        pass
    assert finish(run) == 0, run.output
    assert len(re.findall(r"warning: .*does not answer .*; trying again for 120 s, training goes on\n", run.output)) == 1, run.output
    assert len(re.findall(r"warning: .*the storage answers again, after \d\d s\n", run.output)) == 1, run.output
    (sweep,) = sweeps_in(results)
    check_sweep(download(str(sweep), tmp_path / sweep.id))
