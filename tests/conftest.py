import os
import pickle
import signal
import subprocess
import zipfile
from pathlib import Path

import pytest
from faults.kill_harness import reference_sweep
from faults.object_storage import make_bucket, s3_server
from filelock import FileLock
from finished_sweep import run_tiny_sweep
from forked_python import fast_python, fast_ray_workers
from xdist.scheduler import LoadGroupScheduling

# nohup, and a shell that starts pytest in the background, leave these ignored, and what a test starts would inherit that
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class WholeFiles(LoadGroupScheduling):
    """Each process takes a group of tests (``xdist_group``) as a whole, and each file whose tests are in none."""

    def _split_scope(self, nodeid):
        group = super()._split_scope(nodeid)
        return group.partition("::")[0] if group == nodeid else group


def pytest_configure():
    fast_python()  # its server starts while tests are collected; all of pytest's processes use this one


def pytest_xdist_make_scheduler(config, log):
    return WholeFiles(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests marked ``one_by_one`` become a group and come first: it takes longest. Files that look at a reference sweep come last."""
    looking = {item.path for item in items if {"finished_sweep", "undisturbed"} & set(item.fixturenames)}
    for item in items:
        if item.get_closest_marker("one_by_one"):
            item.add_marker(pytest.mark.xdist_group("one_by_one"))
    items.sort(key=lambda item: 0 if item.get_closest_marker("one_by_one") else 2 if item.path in looking else 1)


@pytest.fixture(autouse=True, scope="session")
def workers_that_start_fast():
    fast_ray_workers()
    subprocess.run([fast_python(), "-c", ""], check=True)  # it is ready, and has compiled the kernels for all


@pytest.fixture(autouse=True)
def no_wait_for_the_disk(monkeypatch):
    """What this process writes reaches the disk when the disk has time: no test cuts the power. Processes that tests start do wait."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def once_for_all_processes(tmp_path_factory, name, make):
    """What ``make(folder)`` returns, made by the first of pytest's processes that asks for it."""
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    made = common / f"{name}.pickle"
    with FileLock(f"{made}.lock"):
        if not made.exists():
            folder = common / name
            folder.mkdir(exist_ok=True)
            made.write_bytes(pickle.dumps(make(folder)))
    return pickle.loads(made.read_bytes())


@pytest.fixture(scope="session")
def finished_sweep(tmp_path_factory):
    """A sweep of two arms on generated images, finished, with trials pruned and confirmed. Tests must leave it as it is."""
    return once_for_all_processes(tmp_path_factory, "finished", run_tiny_sweep)


@pytest.fixture
def earlier_sweep(tmp_path):
    """Unpacks a sweep of an earlier version, below ``results``, and returns its folder.

    ``unfinished``: of commit ddd37d5, it died; all rows are in the log, the first of them in two files per table. ``finished``: of 4fec5f9,
    3 losses on CIFAR-10, one search each, one file per table, without the log and the logits.
    """

    def unpack(name):
        with zipfile.ZipFile(Path(__file__).parent / "earlier_sweeps" / f"{name}.zip") as archive:
            archive.extractall(tmp_path / "results")
        (folder,) = (tmp_path / "results").iterdir()
        return folder

    return unpack


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """Address of an S3 server on loopback with the bucket ``bucket``."""
    pytest.importorskip("moto.server")
    with s3_server(tmp_path_factory.mktemp("moto") / "log") as url:
        make_bucket(url)
        yield url


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Folder of a sweep with a random sampler, no pruner and packs of one, and the seconds that it took. Tests must leave it as it is."""
    return once_for_all_processes(tmp_path_factory, "undisturbed", lambda folder: reference_sweep(folder / "reference"))
