"""Whole sweeps on a GPU: `quickstart.yaml` to its verdict, killed and resumed, and begun on another device than it ends on."""

import time

import pytest
import torch
from faults.invariants import check_sweep, tables
from faults.kill_harness import ROOT, finish, start, wait_until_gone

from sweeper.store import SweepFolder
from sweeper.store.row_log import rows_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
QUICKSTART = str(ROOT / "search_spaces" / "quickstart.yaml")
SHORT = ["--set", "dataset.train_images=4000", "--set", "dataset.test_images=500", "--set", "dataset.validation=500"]
ON_THE_CPU = {"CUDA_VISIBLE_DEVICES": ""}


def begin(tmp_path, *arguments, **environment):
    return start(["run", QUICKSTART, *arguments, "--results", str(tmp_path / "results")], tmp_path / "log", **environment)


def sweep_of(tmp_path):
    (sweep,) = (path.parent for path in (tmp_path / "results").glob("*/sweep.yaml"))
    return sweep


def n_ended(tmp_path):
    """Trials of the sweep that have ended, while it runs."""
    logs = [SweepFolder(str(path)).row_log for path in (tmp_path / "results").glob("*")]
    return sum(len(list(rows_of("trial", log.read_bytes().splitlines()))) for log in logs if log.exists())


def kill_after(run, tmp_path, n_trials):
    """Kill the driver once so many trials have ended."""
    deadline = time.monotonic() + 300
    while n_ended(tmp_path) < n_trials:
        assert run.process.poll() is None, run.output
        assert time.monotonic() < deadline, run.output
        time.sleep(0.05)
    run.process.kill()
    finish(run)
    wait_until_gone(run)


def resume(tmp_path, **environment):
    run = start(["resume", str(sweep_of(tmp_path))], tmp_path / "log", **environment)
    assert finish(run) == 0, run.output
    check_sweep(sweep_of(tmp_path))


def devices(tmp_path):
    """Devices that trained its trials."""
    trials, _ = tables(sweep_of(tmp_path))
    return set(trials["device"].dropna())


def test_quickstart_runs_on_the_gpu_to_its_verdict(tmp_path):
    run = begin(tmp_path, "--gpus-per-trial", "1")
    assert finish(run, timeout=500) == 0, run.output
    check_sweep(sweep_of(tmp_path))
    assert devices(tmp_path) == {torch.cuda.get_device_name()}
    report = start(["report", str(sweep_of(tmp_path))], tmp_path / "report")
    assert finish(report) == 0
    assert "cross_entropy" in report.output
    trials, _ = tables(sweep_of(tmp_path))
    best = trials[trials["phase"] == "confirm"].groupby("arm")["test_accuracy"].mean().max()
    assert best > 0.4, "ten classes: a network that learns is far above 0.1"


def test_a_sweep_that_is_killed_on_the_gpu_is_resumed_whole(tmp_path):
    kill_after(begin(tmp_path, *SHORT, "--gpus-per-trial", "1"), tmp_path, n_trials=10)
    resume(tmp_path)
    assert devices(tmp_path) == {torch.cuda.get_device_name()}


@pytest.mark.parametrize(
    ("first", "then"),
    [(ON_THE_CPU, {}), ({}, ON_THE_CPU)],
    ids=["begun on the CPU, ended on the GPU", "begun on the GPU, ended on the CPU"],
)
def test_a_sweep_goes_on_where_there_is_another_device(tmp_path, first, then):
    kill_after(begin(tmp_path, *SHORT, **first), tmp_path, n_trials=10)
    resume(tmp_path, **then)
    assert devices(tmp_path) == {"cpu", torch.cuda.get_device_name()}
