"""Storage that refuses in the middle of a sweep: a clear error that names the file, and a resume that completes once it is mended."""

import errno
import os
import shutil
import subprocess

import pytest

from sweeper.errors import FolderExistsError, StoreError
from sweeper.store import SweepFolder, find_sweeps
from sweeper.tune import recorder as recorder_module

from .invariants import check_equal, check_sweep
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
    write = SweepFolder.write_checkpoint

    def vanish(sweep, checkpoint):
        nonlocal n_written
        n_written += 1
        if n_written == 5:
            shutil.rmtree(tmp_path / "results")
        write(sweep, checkpoint)

    monkeypatch.setattr(SweepFolder, "write_checkpoint", vanish)
    with pytest.raises(StoreError, match=r"results/sweep/.*No such file or directory"):
        run_sweep(folder, space)
    assert not (tmp_path / "results").exists()


def test_logs_that_vanish_stop_the_sweep(tmp_path, monkeypatch):
    space = space_with()
    folder = new_sweep(tmp_path / "sweep", space)
    write = SweepFolder.write_checkpoint

    def vanish(sweep, checkpoint):
        folder.row_log.unlink(missing_ok=True)
        write(sweep, checkpoint)

    monkeypatch.setattr(SweepFolder, "write_checkpoint", vanish)
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
