"""Whole sweeps as a user runs them, with real Ray, real processes and real signals."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from forked_python import fast_python

from .invariants import check_equal, check_sweep, tables
from .kill_harness import MARK, ROOT, finish, kill_round, start, wait_until_gone

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def reference(undisturbed):
    return undisturbed


def files_of(folder):
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def wait_for(run, text, timeout=240):
    deadline = time.monotonic() + timeout
    while text not in run.output:
        assert run.process.poll() is None, run.output
        assert time.monotonic() < deadline, run.output
        time.sleep(0.05)


def test_resuming_a_finished_sweep_says_so_and_touches_no_row(reference, tmp_path):
    folder, _ = reference
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    before = files_of(copy)
    run = start(["resume", str(copy)], tmp_path / "log", program=fast_python())
    assert finish(run) == 0
    assert f"nothing to do: every trial of {copy} has ended\n" in run.output
    changed = {str(name) for name, digest in files_of(copy).items() if before.get(name) != digest}
    assert changed <= {"lock"}


def test_a_changed_space_is_refused_with_the_difference(reference, tmp_path):
    folder, _ = reference
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    text = (copy / "sweep.yaml").read_text()
    (copy / "sweep.yaml").write_text(text.replace("trials_per_arm: 3", "trials_per_arm: 6"))
    run = start(["resume", str(copy)], tmp_path / "log", program=fast_python())
    assert finish(run) == 2
    assert f"{copy}/sweep.yaml: the space has changed since the sweep began; undo the change, or run it as a new sweep:" in run.output
    assert "-compare: {arms: loss, searches: 2, trials_per_arm: 3, seeds: 1, margin: 0.5}" in run.output
    assert "+compare: {arms: loss, searches: 2, trials_per_arm: 6, seeds: 1, margin: 0.5}" in run.output
    check_sweep(folder)


@pytest.mark.one_by_one
def test_ctrl_c_stops_within_ten_seconds_with_everything_saved_and_a_second_process_is_refused(reference, tmp_path):
    folder, _ = reference
    space = folder.parents[1] / "space.yaml"
    run = start(["run", str(space), "--results", str(tmp_path)], tmp_path / "log", process_group=0)
    wait_for(run, ", rows in ")
    (sweep,) = (path.parent for path in tmp_path.glob("*/sweep.yaml"))
    second = start(["resume", str(sweep)], tmp_path / "log-2", program=fast_python())
    assert finish(second) == 2
    owner = f"process {run.process.pid} on {os.uname().nodename}"
    said = [line for line in second.output.splitlines() if not line.startswith("loading libraries")]
    assert said == [f"{sweep}: another process is running this sweep ({owner}); wait for it, or end it first"]
    pressed = time.monotonic()
    os.killpg(run.process.pid, signal.SIGINT)  # a terminal sends it to Ray's processes too
    code = finish(run)
    assert time.monotonic() - pressed < 10
    if code != 0:  # it may have ended on its own while the second process was refused
        assert code == 130, run.output
        assert f"interrupted; everything is saved; go on with: sweep resume {sweep}\n" in run.output
        assert "Traceback" not in run.output
        assert "raylet" not in run.output
        wait_until_gone(run)
        assert finish(start(["resume", str(sweep)], tmp_path / "log-3", program=fast_python())) == 0
    check_sweep(sweep)
    check_equal(sweep, folder)


@pytest.mark.one_by_one
@pytest.mark.parametrize("after", [0.6, 1.6, 2.6])
def test_sigterm_while_modules_load_or_ray_or_its_workers_start_ends_at_once_with_nothing_begun_or_all_saved(reference, tmp_path, after):
    folder, _ = reference
    run = start(["run", str(folder.parents[1] / "space.yaml"), "--results", str(tmp_path / "results")], tmp_path / "log")
    time.sleep(after)
    sent = time.monotonic()
    run.process.terminate()
    assert finish(run) in {130, -signal.SIGTERM}, run.output  # before the first line of ours Python itself ends
    assert time.monotonic() - sent < 10
    assert "Traceback" not in run.output
    wait_until_gone(run)
    begun = [path.parent for path in tmp_path.glob("results/*/sweep.yaml")]  # how far it gets depends on the machine
    if not begun:
        assert not list(tmp_path.glob("results/*/trials/*"))
    for sweep in begun:
        assert f"interrupted; everything is saved; go on with: sweep resume {sweep}\n" in run.output
        assert finish(start(["resume", str(sweep)], tmp_path / "log-2", program=fast_python())) == 0
        check_sweep(sweep)
        check_equal(sweep, folder)


@pytest.mark.slow
def test_a_sweep_under_timeout_and_in_a_pipe_ends_with_its_files_in_order(reference, tmp_path):
    """``timeout`` sends SIGTERM; ``head`` closes the pipe while the sweep is still writing to it."""
    folder, seconds = reference
    environment = {**os.environ, MARK: "pipe", "PYTHONPATH": str(ROOT)}
    limit = max(4, round(seconds * 0.7))
    command = f"timeout {limit} python -m sweeper run {folder.parents[1] / 'space.yaml'} --results {tmp_path} 2>&1 | head -n 1"
    environment["PATH"] = f"{Path(os.sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(["bash", "-c", command], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.stderr == ""
    for sweep in (path.parent for path in tmp_path.glob("*/sweep.yaml")):
        assert finish(start(["resume", str(sweep)], tmp_path / "log")) == 0
        check_sweep(sweep)
        check_equal(sweep, folder)


@pytest.mark.parametrize(("target", "pack"), [("driver", 1), ("worker", 1), ("raylet", 4)])
def test_a_sweep_that_is_killed_at_random_loses_and_doubles_nothing_with_packs_or_without(reference, tmp_path, target, pack):
    folder, seconds = reference
    moment = random.Random(target)
    kill_round(tmp_path / "round", folder, seconds * 0.7, moment, pack, [target])  # equal to the reference, where each was alone
    for sweep in (path.parent for path in tmp_path.glob("round/*/results/*/sweep.yaml")):
        assert (tables(sweep)[0].groupby("pack").size().max() > 1) == (pack > 1)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_twenty_five_random_kills_lose_and_double_nothing(reference, tmp_path):
    folder, seconds = reference
    for number in range(1, 26):
        kill_round(tmp_path / str(number), folder, seconds, random.Random(f"1-{number}"))


FAILING = """
name: failing
dataset: {name: synthetic, train_images: 400, test_images: 100, validation: 100}
training: {epochs: 3, batch_size: 64, learning_rate: 0.1}
parameters:
  loss:
    choices:
      - {name: good, loss: "losses_that_fail:good"}
      - {name: raises, loss: "losses_that_fail:raises"}
      - {name: dies, loss: "losses_that_fail:dies"}
      - {name: memory, loss: "losses_that_fail:runs_out_of_memory"}
      - {name: nan, loss: "losses_that_fail:is_not_finite"}
      - {name: explodes, loss: cross_entropy, learning_rate: 1e6}
compare: {arms: loss, searches: 1, trials_per_arm: 1, seeds: 2}
search: {pruner: none}
resources: {max_failures: 1, pack: 6}
"""


def test_trials_that_fail_are_tried_again_alone_recorded_and_told_by_cause(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "faults"))
    (tmp_path / "space.yaml").write_text(FAILING)
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'faults'}"}
    run = start(
        ["run", str(tmp_path / "space.yaml"), "--results", str(tmp_path / "results")],
        tmp_path / "log",
        program=fast_python(),
        **environment,
    )
    assert finish(run) == 1, run.output
    assert "Traceback" not in run.output
    (sweep,) = (tmp_path / "results").iterdir()
    check_sweep(sweep)
    trials, _ = tables(sweep)
    rows = trials[trials["phase"] == "search"].set_index("arm").to_dict("index")
    assert {arm: row["state"] for arm, row in rows.items()} == {
        "good": "complete", "raises": "failed", "dies": "failed", "memory": "failed", "nan": "diverged", "explodes": "diverged",
    }  # fmt: skip
    assert rows["raises"]["error"] == "ValueError: the user's mistake"
    assert "raise ValueError" in rows["raises"]["traceback"]
    assert rows["dies"]["error"].startswith("the worker process died")
    assert rows["memory"]["error"].startswith("OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB; use a smaller --pack")
    assert {rows[arm]["attempts"] for arm in ("raises", "dies", "memory")} == {2}
    assert rows["nan"]["diverged_epoch"] == 1
    assert "3 trials failed:" in run.output
    assert "1 × ValueError: the user's mistake (for example raises-0)" in run.output
    again = start(["resume", str(sweep)], tmp_path / "log-2", program=fast_python(), **environment)
    assert finish(again) == 1  # nothing to do, but what it is asked about has failed
    assert f"nothing to do: every trial of {sweep} has ended\n" in again.output
    assert "3 trials failed:" in again.output
    refused = start(["resume", str(sweep), "--no-custom-code"], tmp_path / "log-3", program=fast_python(), **environment)
    assert finish(refused) == 2
    assert "Traceback" not in refused.output


def test_of_eight_trials_in_a_pack_whose_process_dies_only_the_guilty_one_fails_though_no_failure_is_allowed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "faults"))
    good = "".join(f'      - {{name: good_{number}, loss: "losses_that_fail:good", learning_rate: 0.{number}}}\n' for number in range(1, 8))
    (tmp_path / "space.yaml").write_text(
        "name: company\n"
        "dataset: {name: synthetic, train_images: 400, test_images: 100, validation: 100}\n"
        "training: {epochs: 2, batch_size: 64, learning_rate: 0.1}\n"
        "parameters:\n  loss:\n    choices:\n"
        f'{good}      - {{name: dies, loss: "losses_that_fail:dies"}}\n'
        "compare: {arms: loss, searches: 1, trials_per_arm: 1, seeds: 0}\n"
        "search: {pruner: none}\n"
        "resources: {max_failures: 0, pack: 8}\n"
    )
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'faults'}"}
    run = start(
        ["run", str(tmp_path / "space.yaml"), "--results", str(tmp_path / "results")],
        tmp_path / "log",
        program=fast_python(),
        **environment,
    )
    assert finish(run) == 1, run.output
    (sweep,) = (tmp_path / "results").iterdir()
    check_sweep(sweep)
    trials, _ = tables(sweep)
    assert trials.set_index("arm")["state"].to_dict() == {**{f"good_{number}": "complete" for number in range(1, 8)}, "dies": "failed"}
    assert set(trials["attempts"]) == {1}
