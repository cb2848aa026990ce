"""A sweep of two searches of each arm, really run, killed between the confirm phases of its searches, resumed and looked at."""

import json
import re
import time

import pandas as pd
import pytest
from faults.kill_harness import finish, kill, start, wait_until_gone
from finished_sweep import sweep
from forked_python import fast_python

import sweeper

pytestmark = pytest.mark.timeout(600)

SPACE = """
name: two
dataset: {name: synthetic, train_images: 600, test_images: 100, validation: 100}
training: {epochs: 2, batch_size: 50}
parameters:
  loss: {choices: [cross_entropy, focal]}
  learning_rate: {low: 1.0e-2, high: 1.0, log: true}
compare: {arms: loss, searches: 2, trials_per_arm: 2, seeds: 2}
search: {sampler: random, pruner: none}
seed: 3
"""


def n_confirmed(folder):
    """How many confirm trials have ended and are in Optuna's journal, which is written after the row log: a later epoch follows."""
    log = folder / "tune" / "rows.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    while lines and '"kind":"epoch"' not in lines[-1]:
        lines.pop()
    return sum('"kind":"trial"' in line and '"phase":"confirm"' in line for line in lines)


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory):
    """The sweep's folder, what ``status`` said of it after the driver was killed, and what ``resume`` wrote."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "two.yaml").write_text(SPACE)
    run = start(["run", str(folder / "two.yaml"), "--results", str(folder / "results")], folder / "log")
    deadline = time.monotonic() + 300
    while not (found := list(folder.glob("results/*/sweep.yaml"))) or not n_confirmed(found[0].parent):
        assert run.process.poll() is None, run.output
        assert time.monotonic() < deadline, run.output
        time.sleep(0.02)
    kill(run.process.pid)
    finish(run)
    wait_until_gone(run)
    path = found[0].parent
    before = sweep("status", path, "--json").stdout
    resumed = start(["resume", str(path)], folder / "resumed", program=fast_python())
    assert finish(resumed) == 0, resumed.output
    return path, json.loads(before), resumed.output


def test_a_sweep_that_was_killed_between_confirm_phases_ends_with_every_search_confirmed_on_the_same_seeds(killed_and_resumed):
    path, before, output = killed_and_resumed
    assert before["state"] == "interrupted"
    confirmed = {(part["arm"], part["search"]): part["complete"] for part in before["snapshot"]["parts"] if part["phase"] == "confirm"}
    assert len(confirmed) == 4
    assert 1 <= sum(confirmed.values()) < 8
    assert sum(part["planned"] for part in before["snapshot"]["parts"]) == 16
    assert "2 arms (cross_entropy, focal), 2 searches of each arm, " in output
    assert " ended: 16 of 16 trials, " in output
    trials = pd.read_parquet(path / "trials")
    assert len(trials) == trials["trial"].nunique() == 16
    seeds = trials[trials["phase"] == "confirm"].groupby(["arm", "search"])["seed"].agg(lambda each: tuple(sorted(each)))
    assert len(seeds) == 4
    assert seeds.nunique() == 1
    searched = trials[trials["phase"] == "search"].groupby(["arm", "search"])["seed"].unique()
    assert all(len(each) == 1 for each in searched)
    assert len({int(each[0]) for each in searched}) == 4  # each search has weights and a validation split of its own


def test_what_is_confirmed_is_the_best_of_its_own_search(killed_and_resumed):
    path, _, _ = killed_and_resumed
    trials = pd.read_parquet(path / "trials")
    for _, rows in trials.groupby(["arm", "search"]):
        searched = rows[rows["phase"] == "search"]
        best = searched.loc[searched["value"].idxmax()]
        assert set(rows[rows["phase"] == "confirm"]["param_learning_rate"]) == {best["param_learning_rate"]}


def test_status_and_list_tell_of_both_searches_together(killed_and_resumed):
    path, _, _ = killed_and_resumed
    lines = sweep("status", path).stdout.splitlines()
    assert lines[0].startswith(f"{path.name}: finished, 2 searches of each arm, 16 of 16 trials, 32 epochs, ")
    for line, arm in zip(lines[3:5], ("cross_entropy", "focal"), strict=True):
        assert re.fullmatch(rf"{arm} +4/4 +0 +0 +0 +0 +4/4  0\.\d{{4}}", line)
    parts = json.loads(sweep("status", path, "--json").stdout)["snapshot"]["parts"]
    assert [(part["arm"], part["search"], part["phase"], part["complete"]) for part in parts[:3]] == [
        ("cross_entropy", 1, "search", 2),
        ("cross_entropy", 2, "search", 2),
        ("focal", 1, "search", 2),
    ]
    (listed,) = json.loads(sweep("list", path.parent, "--json").stdout)
    assert (listed["state"], listed["arms"], listed["searches"], listed["ended"]) == ("finished", 2, 2, 16)


def test_show_has_a_line_for_each_search_whose_figures_are_those_of_the_rows(killed_and_resumed):
    path, _, _ = killed_and_resumed
    trials = pd.read_parquet(path / "trials")
    lines = [line.split() for line in sweep("show", path).stdout.splitlines()[3:7]]
    for line, (arm, search) in zip(lines, [("cross_entropy", 1), ("cross_entropy", 2), ("focal", 1), ("focal", 2)], strict=True):
        rows = trials[(trials["arm"] == arm) & (trials["search"] == search)]
        best = rows.loc[rows[rows["phase"] == "search"]["value"].idxmax()]
        accuracy = rows[rows["phase"] == "confirm"]["test_accuracy"].mean()
        assert [*line[:3], *line[4:6]] == [arm, best["trial"], f"{best['value']:.4f}", "2", f"{accuracy:.4f}"]


def test_show_says_of_a_trial_which_search_it_belongs_to(killed_and_resumed):
    path, _, _ = killed_and_resumed
    lines = sweep("show", path, "focal-s2-confirm-1").stdout.splitlines()
    assert lines[0].startswith(f"focal-s2-confirm-1 of {path.name}: complete after 2 epochs in ")
    assert re.fullmatch(r"arm focal, search 2 of 2, phase confirm, seed \d+, attempt \d", lines[1])
    view = json.loads(sweep("show", path, "focal-1", "--json").stdout)
    assert (view["search"], view["searches"]) == (1, 2)


@pytest.mark.parametrize("trial", ["focal-s2-1", "cross_entropy-s2-confirm-0"])
def test_a_trial_of_the_second_search_is_trained_again_equal_to_the_last_bit(killed_and_resumed, trial):
    path, _, _ = killed_and_resumed
    found = json.loads(sweep("reproduce", path, trial, "--json").stdout)
    assert (found["trial"], found["verdict"], found["epochs"]) == (trial, "equal", 2)


def test_optuna_reads_the_study_of_each_search(killed_and_resumed):
    path, _, _ = killed_and_resumed
    opened = sweeper.open(path)
    trials = opened.trials.set_index("trial")
    for search, prefix in ((1, "focal"), (2, "focal-s2")):
        for phase, infix in (("search", ""), ("confirm", "-confirm")):
            values = [trial.value for trial in opened.study("focal", phase, search).trials]
            assert values == [trials.loc[f"{prefix}{infix}-{number}"]["value"] for number in (0, 1)]


def test_a_finished_sweep_of_several_searches_has_nothing_to_resume(killed_and_resumed):
    path, _, _ = killed_and_resumed
    done = sweep("resume", path)
    assert done.returncode == 0
    assert f"nothing to do: every trial of {path} has ended\n" in done.stderr


def test_trials_of_the_second_search_complete(killed_and_resumed):
    from types import SimpleNamespace

    from sweeper.cli.completion import complete_trial

    path, _, _ = killed_and_resumed
    context = SimpleNamespace(params={"sweep": str(path), "results": "nowhere"})
    assert [item.value for item in complete_trial(context, None, "focal-s2-c")] == ["focal-s2-confirm-0", "focal-s2-confirm-1"]
