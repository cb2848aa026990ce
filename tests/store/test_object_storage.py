"""A sweep on object storage: a real S3 server on loopback, kill and resume from another machine's empty cache."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from faults.invariants import check_equal, check_sweep
from faults.kill_harness import ROOT, SPACE, finish, start, wait_until_gone
from faults.object_storage import download, make_bucket, s3_server, sweeps_in, use_storage
from faults.simulation import Crash, Disk, new_sweep, run_sweep
from faults.test_crash_points import space_with
from forked_python import fast_python

from sweeper.cli import cli
from sweeper.driver import recorder as recorder_module
from sweeper.driver.recorder import Recorder
from sweeper.errors import StoreError
from sweeper.records import EpochMetrics, Network, Phase, TrialConfig
from sweeper.store import Folder, SweepFolder, find_sweeps
from sweeper.store import remote as remote_module
from sweeper.view.status import sweep_status


@pytest.fixture
def bucket(s3, monkeypatch, tmp_path):
    """Where a machine with an empty cache may write."""
    use_storage(monkeypatch, s3, tmp_path / "cache")
    monkeypatch.setattr(remote_module, "SECONDS_BETWEEN_SAVES", 0.0)
    return f"s3://bucket/{tmp_path.name}"


def own(folder):
    """What another process does to own the sweep, and to let it go."""
    with SweepFolder(str(folder)).lock():
        pass


def test_bytes_come_back_and_names_are_listed(bucket):
    folder = Folder(bucket)
    assert not folder.exists("a/b")
    assert folder.names("a") == []
    folder.write("a/b", b"1")
    folder.write("a/c", b"22")
    folder.write("a/b", b"333")
    assert folder.read("a/b") == b"333"
    assert folder.names("a") == ["b", "c"]
    assert folder.names(directories=True) == ["a"]
    folder.rename("a/b", "a/d")
    folder.delete("a/c")
    folder.delete("a/c")
    assert folder.names("a") == ["d"]


@pytest.mark.parametrize("uri", ["s3://no-such-bucket-here/x", "gopher://bucket/x", "s3://", "://", "file//:x:y://z"])
def test_a_storage_that_cannot_be_opened_is_named(bucket, uri):
    with pytest.raises(StoreError) as refusal:
        Folder(uri).write("a", b"1")
    assert str(refusal.value).startswith(uri.rstrip("/"))


def test_a_server_that_does_not_answer_is_an_error_and_no_hang(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"s3://bucket/x/a: "):
        Folder("s3://bucket/x").read("a")
    assert time.monotonic() - started < 60


def test_a_sweep_lies_in_the_bucket_as_it_would_lie_on_a_disk(bucket, tmp_path):
    space = space_with()
    folder = new_sweep(f"{bucket}/sweep", space)
    with folder.lock():
        run_sweep(folder, space)
    run_sweep(new_sweep(tmp_path / "local", space), space)
    copy = download(f"{bucket}/sweep", tmp_path / "copy")
    check_sweep(copy)
    check_equal(copy, tmp_path / "local")
    assert [sweep.id for sweep in find_sweeps(bucket)] == ["sweep"]


@pytest.mark.parametrize("fresh_cache", [True, False])
def test_a_sweep_that_dies_is_resumed_here_or_on_another_machine(bucket, tmp_path, monkeypatch, fresh_cache):
    space = space_with("tpe", "{name: successive_halving, min_resource: 1, reduction_factor: 2}")
    run_sweep(new_sweep(tmp_path / "local", space), space)
    monkeypatch.setattr(recorder_module, "FLUSH_SECONDS", -1.0)
    disk = Disk(monkeypatch)
    for point in (30, 61) if fresh_cache else (47,):
        uri = f"{bucket}/sweep-{point}"
        folder = new_sweep(uri, space)
        disk.n_effects, disk.die_at, disk.die_how = 0, point, "torn"
        with pytest.raises(Crash), folder.lock():
            run_sweep(folder, space)
        disk.die_at = None
        if fresh_cache:
            shutil.rmtree(tmp_path / "cache")
        again = SweepFolder(uri)
        with again.lock():
            run_sweep(again, space)
        copy = download(uri, tmp_path / f"copy-{point}")
        check_sweep(copy)
        check_equal(copy, tmp_path / "local")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_real_sweep_is_killed_resumed_from_another_cache_and_reported_from_the_bucket(bucket, tmp_path):
    """With Ray and its workers; the 5 s between saves are those of a user."""
    (tmp_path / "space.yaml").write_text(SPACE.replace("PACK", "1"))
    run = start(["run", str(tmp_path / "space.yaml"), "--results", bucket], tmp_path / "log")
    deadline = time.monotonic() + 240
    while not any(sweep.folder.names("checkpoints") for sweep in sweeps_in(bucket)):
        assert run.process.poll() is None, run.output
        assert time.monotonic() < deadline, run.output
        time.sleep(0.1)
    run.process.kill()
    run.process.wait()
    (sweep,) = sweeps_in(bucket)
    assert run.output.endswith(f"everything is saved; go on with: sweep resume {sweep}\n")
    wait_until_gone(run)
    resumed = start(["resume", str(sweep)], tmp_path / "log-2", SWEEPER_CACHE_DIR=str(tmp_path / "another"))
    assert finish(resumed) == 0, resumed.output
    copy = download(str(sweep), tmp_path / sweep.id)
    check_sweep(copy)
    reports = [
        start(["report", place, "--format", "json"], tmp_path / f"json-{number}") for number, place in enumerate((bucket, str(copy)))
    ]
    assert [finish(each) for each in reports] == [0, 0], reports[0].output
    from_bucket, from_disk = (json.loads(each.output)["sweeps"] for each in reports)
    assert from_bucket == from_disk


def test_a_second_process_is_refused_while_the_first_is_alive_and_let_in_when_it_is_gone(bucket, tmp_path, monkeypatch):
    folder = new_sweep(f"{bucket}/sweep", space_with())
    with folder.lock():
        with pytest.raises(StoreError, match=rf"another process is running this sweep \(process {os.getpid()} on "):
            own(folder)
        monkeypatch.setenv("SWEEPER_CACHE_DIR", str(tmp_path / "another machine"))
        with pytest.raises(StoreError, match=r"another process is running this sweep \(process .* heard of [0-9] s ago\)"):
            own(folder)
    own(folder)


OWNER = """
import sys, time
shift, uri = float(sys.argv[1]), sys.argv[2]
clock = time.time
time.time = lambda: clock() + shift
from sweeper.store import SweepFolder, remote
remote.SECONDS_BETWEEN_BEATS = 0.5
with SweepFolder(uri).lock():
    print("mine", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def elsewhere(bucket, tmp_path):
    """Runs an owner of a sweep on another machine, whose clock is wrong by so many seconds."""
    processes = []

    def start_owner(uri, shift=0.0):
        environment = {**os.environ, "SWEEPER_CACHE_DIR": str(tmp_path / "another machine")}
        process = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(shift), uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        processes.append(process)
        assert process.stdout.readline() == "mine\n"
        return process

    yield start_owner
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("shift", [-3600.0, 3600.0])
def test_a_clock_that_is_wrong_takes_no_sweep_over_and_hides_no_owner(bucket, monkeypatch, elsewhere, shift):
    folder = new_sweep(f"{bucket}/sweep", space_with())
    monkeypatch.setattr(remote_module, "_machine", lambda: "far from the owner")
    monkeypatch.setattr(remote_module, "SECONDS_TO_BE_GONE", 3.0)
    process = elsewhere(str(folder), shift)
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() - shift)
    for _ in range(2):
        time.sleep(2)
        with pytest.raises(StoreError, match=rf"another process is running this sweep \(process {process.pid} on .*, heard of [0-3] s ago"):
            own(folder)
        assert re.fullmatch(
            rf"{process.pid} on \S+, since \d{{4}}-\d\d-\d\d \S+ UTC, last heard of at \d\d:\d\d:\d\d UTC", sweep_status(folder).owner
        )
    process.kill()
    process.wait()
    with pytest.raises(StoreError, match="it counts as gone after 3 s of silence"):
        own(folder)
    time.sleep(4.5)
    assert sweep_status(folder).state == "interrupted"
    own(folder)


def test_a_process_of_this_machine_that_has_died_is_no_owner(bucket, elsewhere):
    folder = new_sweep(f"{bucket}/sweep", space_with())
    process = elsewhere(str(folder))
    assert sweep_status(folder).state == "running"
    process.kill()
    process.wait()
    assert sweep_status(folder).state == "interrupted"
    own(folder)


def test_the_sweep_that_has_ended_says_so_to_all_machines(bucket, elsewhere):
    folder = new_sweep(f"{bucket}/sweep", space_with())
    process = elsewhere(str(folder))
    process.communicate("")
    assert sweep_status(folder).state == "interrupted"
    own(folder)


CLAIMANT = """
import sys
from sweeper.errors import StoreError
from sweeper.records import EpochMetrics, Network, Phase, TrialConfig
from sweeper.store import SweepFolder
print("ready", flush=True)
for line in sys.stdin:
    what, uri = line.split()
    folder = SweepFolder(uri)
    try:
        if what == "create":
            folder.create()
            print("won", flush=True)
            continue
        with folder.lock():
            print("won", flush=True)
            sys.stdin.readline()
    except StoreError as error:
        print(type(error).__name__, error, flush=True)
"""


class Claimants:
    """Processes that wait for the word to claim one sweep, each with the cache of another machine."""

    def __init__(self, number, path):
        self.processes = [
            subprocess.Popen(
                [fast_python(), "-c", CLAIMANT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "SWEEPER_CACHE_DIR": str(path / f"machine-{each}")},
            )
            for each in range(number)
        ]
        for process in self.processes:
            assert process.stdout.readline() == "ready\n"

    def all_at_once(self, what, uri):
        """What each says; the winner holds on until all have spoken."""
        for process in self.processes:
            process.stdin.write(f"{what} {uri}\n")
            process.stdin.flush()
        said = [process.stdout.readline().strip() for process in self.processes]
        for process, word in zip(self.processes, said, strict=True):
            if what == "lock" and word == "won":
                process.stdin.write("end\n")
                process.stdin.flush()
        return said

    def end(self):
        for process in self.processes:
            process.communicate("")


ROUNDS = int(os.environ.get("SWEEPER_ROUNDS", "3"))


@pytest.mark.parametrize("number", [2, 5])
def test_of_processes_that_resume_one_sweep_at_once_exactly_one_does(bucket, tmp_path, number):
    folder = new_sweep(f"{bucket}/sweep", space_with())
    claimants = Claimants(number, tmp_path)
    for _ in range(ROUNDS):
        said = claimants.all_at_once("lock", folder)
        assert said.count("won") == 1, said
        assert sum("another process is running this sweep (process " in word for word in said) == number - 1, said
    claimants.end()
    assert [name for name in folder.folder.names("tune") if name.startswith("claim-")] == []


def test_of_processes_that_make_one_folder_at_once_exactly_one_does(bucket, tmp_path):
    claimants = Claimants(5, tmp_path)
    for number in range(ROUNDS):
        said = claimants.all_at_once("create", f"{bucket}/new-{number}")
        assert said.count("won") == 1, said
        assert sum(word.startswith("FolderExistsError") for word in said) == 4, said
    claimants.end()


def test_a_claim_that_a_dead_process_left_hinders_for_a_while_only(bucket, monkeypatch):
    folder = new_sweep(f"{bucket}/sweep", space_with())
    folder.folder.write("tune/claim-0000", b"")
    monkeypatch.setattr(remote_module, "SECONDS_TO_BE_ALONE", 1.0)
    with pytest.raises(StoreError, match="another process is about to run this sweep; wait for it"):
        own(folder)
    monkeypatch.setattr(remote_module, "SECONDS_TO_BE_GONE", 1.0)
    time.sleep(2.5)
    own(folder)
    assert "claim-0000" not in folder.folder.names("tune")


def test_an_owner_that_was_taken_over_stops(bucket):
    space = space_with()
    folder = new_sweep(f"{bucket}/sweep", space)
    with folder.lock():
        folder.folder.write("tune/owner.json", b'{"session": "another"}')
        with pytest.raises(StoreError, match="another process has taken this sweep over; this one stops"):
            run_sweep(folder, space)


def test_damaged_logs_in_the_bucket_are_named(bucket):
    folder = new_sweep(f"{bucket}/sweep", space_with())
    folder.folder.write("tune/logs.zip", b"PK nonsense")
    folder.folder.write("tune/owner.json", b'{"session": "another"}')
    with pytest.raises(StoreError, match=r"tune/logs\.zip: damaged"), folder.lock():
        pass


def test_foreign_files_in_the_bucket_are_skipped_and_counted(bucket):
    space = space_with()
    folder = new_sweep(f"{bucket}/sweep", space)
    with folder.lock():
        run_sweep(folder, space)
    folder.folder.write("trials/part-000009-0123abcd.parquet", b"PAR1 torn")
    stored = folder.read_trials()
    assert len(stored.frame) == 16
    assert [skipped.file for skipped in stored.skipped] == [f"{bucket}/sweep/trials/part-000009-0123abcd.parquet"]


def test_another_machine_reads_the_rows_that_were_saved_before_they_are_in_parquet(bucket, tmp_path, monkeypatch):
    folder = new_sweep(f"{bucket}/sweep", space_with())
    elsewhere = SweepFolder(str(folder))
    with folder.lock():
        recorder = Recorder(folder, {}, "val_accuracy")
        for epoch in (1, 2, 3):
            recorder.epoch(TrialConfig("l1", Phase.SEARCH, 0, 1, {}), EpochMetrics(epoch, *[0.25] * 9))
            recorder.commit()
            if epoch == 1:
                recorder.flush()
            folder.save_logs()
            assert elsewhere.read_epochs().frame["epoch"].tolist() == list(range(1, epoch + 1))
        assert pd.read_parquet(download(str(folder), tmp_path / "copy") / "epochs")["epoch"].tolist() == [1]
        recorder.close()
    assert elsewhere.read_epochs().frame["epoch"].tolist() == [1, 2, 3]


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory):
    """A server that knows one bucket and not our keys."""
    pytest.importorskip("moto.server")
    with s3_server(tmp_path_factory.mktemp("moto") / "log", INITIAL_NO_AUTH_ACTION_COUNT="1") as url:
        make_bucket(url)
        yield url


COMMANDS = {
    "list": ["list", "RESULTS"],
    "status": ["status", "RESULTS/one-20260101-000000"],
    "show": ["show", "RESULTS/one-20260101-000000"],
    "report": ["report", "RESULTS"],
    "resume": ["resume", "RESULTS/one-20260101-000000"],
    "run": ["run", str(ROOT / "search_spaces" / "quickstart.yaml"), "--results", "RESULTS"],
}
TROUBLES = {
    "credentials": ("s3://bucket/x", r"the storage refuses these credentials \(\w+\); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    "bucket": ("s3://no-such-bucket/x", r"there is no bucket s3://no-such-bucket; create it, or give another one"),
    "network": ("s3://bucket/x", r"the storage at http://127\.0\.0\.1:9 does not answer \(Could not connect to server\)"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("trouble", TROUBLES)
def test_every_command_tells_what_is_wrong_with_the_storage(bucket, strict_server, monkeypatch, command, trouble):
    if trouble != "bucket":
        monkeypatch.setenv("AWS_ENDPOINT_URL", strict_server if trouble == "credentials" else "http://127.0.0.1:9")
    results, words = TROUBLES[trouble]
    started = time.monotonic()
    said = CliRunner().invoke(cli, [word.replace("RESULTS", results) for word in COMMANDS[command]])
    assert re.fullmatch(rf"{results}\S*: {words}.*\n", said.output), said.output
    assert said.exit_code == 2
    assert time.monotonic() - started < 30


def test_weights_are_kept_beside_the_tables_and_come_back_bit_by_bit(bucket):
    folder = SweepFolder(f"{bucket}/sweep")
    config = TrialConfig("focal/½", Phase.CONFIRM, 0, 1, {"loss": "focal"})
    network = Network("convnet", {"height": 32, "width": 32, "n_classes": 2}, [32, 32], ["cat", "dög"], [0.5, 0.4, 0.3], [0.1, 0.2, 0.3])
    tensors = {"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 7, "n_batches": np.asarray(3)}
    assert not folder.has_weights(config.trial_id)
    folder.write_weights(config, network, tensors)
    assert folder.has_weights(config.trial_id)
    kept = folder.read_weights(config.trial_id)
    assert kept.network == network
    assert {name: (array.dtype, array.tolist()) for name, array in kept.tensors.items()} == {
        name: (array.dtype, array.tolist()) for name, array in tensors.items()
    }
    with pytest.raises(StoreError, match=r"s3://.*/sweep/weights/focal-confirm-1.safetensors: "):
        folder.read_weights("focal-confirm-1")
