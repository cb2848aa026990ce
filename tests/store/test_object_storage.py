"""A sweep on object storage: a real S3 server on loopback, kill and resume from another machine's empty cache."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from attack.invariants import check_equal, check_sweep
from attack.kill_harness import SPACE, finish, start, wait_until_gone
from attack.simulation import Crash, Disk, new_sweep, run_sweep
from attack.test_crash_points import space_with

from sweeper.errors import StoreError
from sweeper.store import Folder, SweepFolder, find_sweeps
from sweeper.store import remote as remote_module
from sweeper.tune import recorder as recorder_module


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pytest.importorskip("moto.server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path_factory.mktemp("moto") / "log").open("wb")
    process = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT"), timeout=10).close()  # noqa: S310
    yield url
    process.kill()
    process.wait()


@pytest.fixture
def bucket(server, monkeypatch, tmp_path):
    """Environment of a machine with an empty cache."""
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SWEEPER_CACHE_DIR": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote_module, "SECONDS_BETWEEN_SAVES", 0.0)
    return f"s3://bucket/{tmp_path.name}"


def own(folder):
    """What another process does to own the sweep, and to let it go."""
    with SweepFolder(str(folder)).lock():
        pass


def download(uri, path):
    """The sweep's folder as a copy on this disk, as any S3 client would make it."""
    folder = Folder(uri)
    for name in ("", "trials", "epochs", "predictions", "checkpoints", "tune"):
        (path / name).mkdir(parents=True, exist_ok=True)
        for found in folder.names(name):
            (path / name / found).write_bytes(folder.read(f"{name}/{found}" if name else found))
    return path


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


def sweeps_in(bucket):
    with contextlib.suppress(StoreError):
        return find_sweeps(bucket)
    return []


def test_a_second_process_is_refused_while_the_first_is_alive_and_let_in_when_it_is_gone(bucket, tmp_path, monkeypatch):
    folder = new_sweep(f"{bucket}/sweep", space_with())
    with folder.lock():
        with pytest.raises(StoreError, match=rf"another process is running this sweep \(process {os.getpid()} on "):
            own(folder)
        monkeypatch.setenv("SWEEPER_CACHE_DIR", str(tmp_path / "another machine"))
        with pytest.raises(StoreError, match=r"another process is running this sweep \(process .* heard of [0-9] s ago\)"):
            own(folder)
    own(folder)
    elsewhere = {"session": "x", "process": 1, "host": "far", "machine": "far", "beat": time.time() - 59}
    folder.folder.write("tune/owner.json", json.dumps(elsewhere).encode())
    with pytest.raises(StoreError, match=r"process 1 on far, heard of 59 s ago\); .* counts as gone after 60 s of silence"):
        own(folder)
    folder.folder.write("tune/owner.json", json.dumps({**elsewhere, "beat": time.time() - 61}).encode())
    own(folder)


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
    assert len(stored.frame) == 12
    assert [skipped.file for skipped in stored.skipped] == [f"{bucket}/sweep/trials/part-000009-0123abcd.parquet"]
