"""Sweeps from Python."""

import json
import os
import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import optuna
import pandas as pd
import pytest
from forked_python import fast_python

import sweeper
from sweeper.api import ArgumentError
from sweeper.errors import SpaceError, StoreError
from sweeper.view.find import LookError


def test_importing_sweeper_loads_nothing_heavy():
    code = "import sweeper, sys, json; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "ray", "optuna", "pandas", "numpy", "pydantic", "click", "rich"} & set(json.loads(done.stdout))


def test_the_names_of_the_package_are_those_it_documents():
    assert {"run", "open", "resume", "Sweep"} <= set(dir(sweeper))
    with pytest.raises(AttributeError, match="module 'sweeper' has no attribute 'runn'"):
        _ = sweeper.runn


def test_a_sweep_is_opened_by_its_folder_its_id_or_the_beginning_of_it(finished_sweep):
    for name in (finished_sweep.path, finished_sweep.id, "tiny"):
        assert sweeper.open(name, results=str(finished_sweep.results)).id == finished_sweep.id
    with pytest.raises(LookError, match=r"no sweep 'tinny' in .*; did you mean 'tiny-"):
        sweeper.open("tinny", results=str(finished_sweep.results))


def test_trials_and_epochs_are_the_files_as_pandas_reads_them(finished_sweep):
    sweep = sweeper.open(finished_sweep.path)
    trials, epochs = (pd.read_parquet(finished_sweep.path / table) for table in ("trials", "epochs"))
    pd.testing.assert_frame_equal(sweep.trials, trials, check_dtype=False)
    pd.testing.assert_frame_equal(sweep.epochs, epochs, check_dtype=False)
    assert len(sweep.trials) == 12
    assert sweep.n_failed == 0


def test_report_status_predictions_and_space_are_those_of_the_command_line(finished_sweep):
    sweep = sweeper.open(finished_sweep.path)
    assert sweep.report().rstrip("\n") == finished_sweep.stdout.rstrip("\n")
    assert json.loads(sweep.report("json"))["sweeps"][0]["sweep"] == sweep.id
    assert sweep.status().state == "finished"
    assert sweep.space.compare.trials_per_arm == 4
    assert set(sweep.predictions("focal")["trial"]) == {"focal-confirm-0", "focal-confirm-1"}
    assert repr(sweep) == f"sweeper.open('{finished_sweep.path}')"


def test_the_verdict_and_the_comparison_are_those_of_the_report(finished_sweep):
    sweep = sweeper.open(finished_sweep.path)
    told = json.loads(sweep.report("json"))["sweeps"][0]
    assert (str(sweep.verdict), sweep.verdict.kind, sweep.verdict.best) == tuple(
        told["verdict"][key] for key in ("sentence", "kind", "best")
    )
    frame, arms = sweep.comparison, told["comparison"]["arms"]
    assert (frame.index.name, list(frame.index)) == ("arm", [arm["arm"] for arm in arms])
    for arm in arms:
        row, mean, contrast = frame.loc[arm["arm"]], arm["measures"]["test_accuracy"], arm["contrast"]
        assert [row["test_accuracy"], row["low"], row["high"], row["n"]] == [mean[key] for key in ("mean", "low", "high", "n")]
        if contrast is None:
            assert row[["to_best", "p_best_wins", "p_value", "outcome"]].isna().all()
        else:
            assert list(row[["to_best", "to_best_low", "to_best_high"]]) == [contrast["difference"][key] for key in ("mean", "low", "high")]
            assert [row["p_best_wins"], row["p_value"], row["outcome"]] == [contrast["p_best_wins"], contrast["p_value"], "undecided"]


def test_a_sweep_without_a_confirm_trial_has_a_comparison_without_rows(earlier_sweep):
    sweep = sweeper.open(earlier_sweep("unfinished"))
    assert sweep.verdict.kind == "unfinished"
    assert sweep.comparison.empty
    assert list(sweep.comparison.columns)[:4] == ["test_accuracy", "low", "high", "n"]


def test_a_notebook_shows_verdict_and_comparison_and_names_are_text_in_it(finished_sweep, tmp_path):
    shown = sweeper.open(finished_sweep.path)._repr_html_()
    page = ElementTree.fromstring(shown)  # noqa: S314  ours
    assert "".join(page.find("p").itertext()) == f"{finished_sweep.id}: {sweeper.open(finished_sweep.path).verdict}"
    assert [cell.text for cell in page.iter("th")] == ["arm", "accuracy %", "to best, points", "P", "p", "outcome"]
    assert {row[0].text for row in page.iter("tr") if row[0].tag == "td"} == {"cross_entropy", "focal"}
    assert not {"color", "background", "script"} & set(re.findall(r"[a-z]+", shown))  # the notebook's own colours, light or dark
    hostile = shutil.copytree(finished_sweep.path, tmp_path / "<script>alert(1)</script>".replace("/", "-"))
    assert "<script" not in sweeper.open(hostile)._repr_html_()
    assert "&lt;script&gt;" in sweeper.open(hostile)._repr_html_()


def test_a_notebook_shows_the_name_of_a_sweep_whose_files_are_gone(finished_sweep, tmp_path):
    sweep = sweeper.open(shutil.copytree(finished_sweep.path, tmp_path / "copy"))
    shutil.rmtree(tmp_path / "copy")
    assert sweep._repr_html_() is None
    assert repr(sweep) == f"sweeper.open('{tmp_path / 'copy'}')"


def test_optuna_reads_every_study_and_makes_its_table(finished_sweep):
    sweep = sweeper.open(finished_sweep.path)
    trials = sweep.trials.set_index("trial")
    for arm, phase, prefix in (("focal", "search", "focal"), ("cross_entropy", "confirm", "cross_entropy-confirm")):
        table = sweep.study(arm, phase).trials_dataframe()
        for row in table.to_dict("records"):
            ours = trials.loc[f"{prefix}-{row['number']}"]
            assert row["params_learning_rate"] == ours["param_learning_rate"]
            assert row["state"].lower() == ours["state"]
            if row["state"] == "COMPLETE":
                assert row["value"] == ours["value"]


def test_plain_optuna_opens_the_journal_too(finished_sweep):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(finished_sweep.path / "studies.journal")))
    study = optuna.load_study(study_name="focal", storage=storage)
    assert list(study.trials_dataframe()["number"]) == [0, 1, 2, 3]


def test_a_study_is_read_only_and_the_journal_stays_as_it_is(finished_sweep):
    journal = finished_sweep.path / "studies.journal"
    before = journal.read_bytes()
    study = sweeper.open(finished_sweep.path).study("focal")
    with pytest.raises(StoreError, match="read-only"):
        study.ask()
    with pytest.raises(StoreError, match="no study 'focl'; did you mean 'focal'"):
        sweeper.open(finished_sweep.path).study("focl")
    assert journal.read_bytes() == before


def test_a_keyword_that_run_does_not_know_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ArgumentError, match=r"run\(\) has no keyword 'epoch'; did you mean 'epochs'\?"):
        sweeper.run({}, epoch=3, results=str(tmp_path / "results"))


def test_keywords_and_settings_are_checked_like_the_file_and_nothing_is_created(finished_sweep, tmp_path):
    results = tmp_path / "results"
    with pytest.raises(SpaceError) as raised:
        sweeper.run(finished_sweep.space, epochs=0, settings={"search.metric": "val_acuracy"}, results=str(results))
    assert "--set training.epochs=0: must be >= 1, got 0" in str(raised.value)
    assert "did you mean 'val_accuracy'?" in str(raised.value)
    assert not results.exists()


SPACE = """
name: api
dataset: {name: synthetic, train_images: 300, test_images: 100, validation: 100}
training: {epochs: 2}
parameters:
  loss: {choices: [l1, cross_entropy]}
  learning_rate: {low: 1e-3, high: 1.0, log: true}
compare: {arms: loss, searches: 1, trials_per_arm: 1, seeds: 1}
search: {sampler: random, pruner: none}
"""

SURROUNDINGS = """
import logging, os, signal, sys, threading, time
from pathlib import Path
import ray, sweeper
from sweeper.errors import SweeperError
sweeper.run  # is imported when it is asked for
def surroundings():
    import torch
    loggers = {name: logging.getLogger(name) for name in ("ray", "ray.tune", "optuna")}
    return (
        dict(os.environ), {each: signal.getsignal(each) for each in signal.valid_signals()}, sys.excepthook, sys.unraisablehook,
        {name: (each.level, list(each.handlers), each.propagate) for name, each in loggers.items()},
        torch.get_num_threads(), ray.is_initialized(), list(ray._private.worker._post_init_hooks),
    )
def run(**options):
    return sweeper.run("space.yaml", **options)
def told(call):
    try:
        call()
    except SweeperError as error:
        return str(error)
"""

USERS_RAY = """
ray.init("local", num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
@ray.remote(num_cpus=0)
class Users:
    def x(self):
        return "alive"
users = Users.remote()
ray.get(users.x.remote())
before = surroundings()
assert told(lambda: run(cpus_per_trial=2)).startswith("no node can run a trial that wants 2 CPU and 0 GPU: the cluster has 1 CPU and 0 GPU")
assert "this process is connected to the Ray at" in told(lambda: run(address="127.0.0.1:1"))
assert "this process is connected to the Ray at" in told(lambda: run(address="local"))
def groups():
    return [group for group in ray.util.placement_group_table().values() if group["state"] != "REMOVED"]
def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)
def interrupt():
    wait_for(lambda: len(groups()) == 2)  # the sweep has just asked for its first one, and Tune may not know it yet
    os.kill(os.getpid(), signal.SIGINT)
of_the_user = ray.util.placement_group([{"memory": 1}], name="sweeper-of-the-user")
threading.Thread(target=interrupt).start()
try:
    run(epochs=500, results="interrupted")
    raise SystemExit("it was not interrupted")
except KeyboardInterrupt:
    pass
assert ray.get(users.x.remote()) == "alive"
assert [group["name"] for group in groups()] == ["sweeper-of-the-user"]
ray.util.remove_placement_group(of_the_user)
wait_for(lambda: ray.available_resources().get("CPU") == 1)  # what the sweep had is given back
sweep = run(address="auto")
assert sweep.reproduce("l1-0").verdict == "equal"
(interrupted,) = Path("interrupted").iterdir()
assert sweeper.open(interrupted).status().state == "interrupted", sweeper.open(interrupted).status()
after = surroundings()
assert before == after, [(one, other) for one, other in zip(before, after) if one != other]
wait_for(lambda: ray.available_resources().get("CPU") == 1)
print(len(sweep.trials), ray.get(users.x.remote()))
"""

OUR_RAY_TWICE = """
before = surroundings()
results = []
thread = threading.Thread(target=lambda: results.append(run()))
thread.start()
while not list(Path("results").glob("*/sweep.yaml")):
    time.sleep(0.1)
assert told(run).startswith("another thread of this process is running a sweep")
thread.join()
results.append(sweeper.resume(results[0].path))
results.append(run(progress=False))
after = surroundings()
assert before == after, [(one, other) for one, other in zip(before, after) if one != other]
assert [thread.name for thread in threading.enumerate() if "sweeper" in thread.name] == []
print([len(sweep.trials) for sweep in results])
"""


def environment_without_rays():
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


def as_a_script(code, folder):
    environment = environment_without_rays()
    command = [fast_python(), "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


def as_a_notebook(code, folder):
    import nbclient
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=400, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    said = "".join(output.text for output in notebook.cells[0].outputs if output.get("name") == "stdout")
    return said.splitlines()[-1]


@pytest.mark.timeout(500)
@pytest.mark.parametrize("executed", [as_a_script, as_a_notebook])
def test_a_ray_that_the_user_has_started_is_used_and_stays_and_so_does_everything_around_it(executed, tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    assert executed(SURROUNDINGS + USERS_RAY, tmp_path) == "4 alive"


@pytest.mark.timeout(500)
def test_a_program_runs_sweeps_one_after_the_other_from_any_thread_and_is_left_as_it_was(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    assert as_a_script(SURROUNDINGS + OUR_RAY_TWICE, tmp_path) == "[4, 4, 4]"
