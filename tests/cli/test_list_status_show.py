"""list, status, show and reproduce, as a user meets them: real processes on a sweep that was really run."""

import json
import re
import shutil

import pandas as pd
import pytest
from finished_sweep import sweep

from sweeper.trial_counts import BestTrial
from sweeper.view.sweeps import SweepLine
from sweeper.view.text import list_text


@pytest.fixture
def altered(finished_sweep, tmp_path):
    """A copy of the finished sweep to be tampered with."""
    return shutil.copytree(finished_sweep.path, tmp_path / "results" / finished_sweep.id)


def test_a_list_has_a_line_per_sweep(finished_sweep):
    done = sweep("list", finished_sweep.results)
    heading, line = done.stdout.splitlines()
    assert heading.split() == ["sweep", "state", "started", "arms", "trials", "failed", "best"]
    assert re.fullmatch(
        rf"{finished_sweep.id}  finished  \d{{4}}-\d\d-\d\d \d\d:\d\d     2   12/12       0  val_accuracy 0\.\d{{4}} \S+", line
    )


def test_a_list_for_programs_holds_what_the_lines_hold(finished_sweep):
    (line,) = json.loads(sweep("list", finished_sweep.results, "--json").stdout)
    assert (line["sweep"], line["state"], line["ended"], line["planned"], line["failed"]) == (finished_sweep.id, "finished", 12, 12, 0)
    assert line["best"]["value"] == pd.read_parquet(finished_sweep.path / "trials").query("phase == 'search'")["value"].max()


def test_a_list_for_80_columns_puts_below_what_is_too_wide():
    best = BestTrial("cross_entropy-12", 12, 0.722, 15, {})
    lines = (
        SweepLine("focal-20261124-165215", "finished", "2026-11-24T16:52:15+00:00", 3, 72, 72, 0, "val_accuracy", best),
        SweepLine("torn-20261124-165216", None, None, 0, 0, 0, 0, None, None, "sweep.yaml: 1 problem " + "and its long explanation " * 4),
    )
    assert list_text(lines, 80) == (
        "sweep                  state       started           arms  trials  failed\n"
        "focal-20261124-165215  finished    2026-11-24 16:52     3   72/72       0\n"
        "  val_accuracy 0.7220 cross_entropy-12\n"
        "torn-20261124-165216   unreadable\n"
        "  sweep.yaml: 1 problem and its long explanation and its long explanation and\n"
        "  its long explanation and its long explanation"
    )
    assert list_text(lines[:1], 120).splitlines()[1] == (
        "focal-20261124-165215  finished  2026-11-24 16:52     3   72/72       0  val_accuracy 0.7220 cross_entropy-12"
    )


def test_a_sweep_that_cannot_be_read_says_why_in_the_list_and_the_others_are_listed(finished_sweep, altered):
    broken = altered.parent / "broken"
    broken.mkdir()
    (broken / "sweep.yaml").write_text("name: broken\n")
    done = sweep("list", altered.parent)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[1].startswith(f"{'broken':<{len(finished_sweep.id)}}  unreadable")
    assert "dataset: is missing" in lines[1]
    assert lines[2].split()[1] == "finished"


def test_the_status_of_a_finished_sweep(finished_sweep):
    done = sweep("status", finished_sweep.id, "--results", finished_sweep.results)
    lines = done.stdout.splitlines()
    assert re.fullmatch(rf"{finished_sweep.id}: finished, 12 of 12 trials, \d+ epochs, 0:\d\d:\d\d", lines[0])
    assert lines[2].split() == ["arm", "search", "running", "pruned", "diverged", "failed", "confirm", "best"]
    for line, arm in zip(lines[3:5], ["cross_entropy", "focal"], strict=True):
        assert re.fullmatch(rf"{arm} +4/4 +0 +[1-3] +0 +0 +2/2  0\.\d{{4}}", line)
    assert lines[-1] == f"next     sweep report {finished_sweep.path}"


def test_the_status_as_json_is_the_status_field_by_field(finished_sweep):
    status = json.loads(sweep("status", finished_sweep.path, "--json").stdout)
    assert (status["state"], status["owner"], status["folder"]) == ("finished", None, str(finished_sweep.path))
    parts = status["snapshot"]["parts"]
    assert [(part["arm"], part["phase"], part["planned"]) for part in parts] == [
        ("cross_entropy", "search", 4),
        ("focal", "search", 4),
        ("cross_entropy", "confirm", 2),
        ("focal", "confirm", 2),
    ]
    trials = pd.read_parquet(finished_sweep.path / "trials")
    for part in parts:
        rows = trials[(trials["arm"] == part["arm"]) & (trials["phase"] == part["phase"])]
        assert part["complete"] == (rows["state"] == "complete").sum()
        assert part["pruned"] == (rows["state"] == "pruned").sum()
        assert part["epochs"] == rows["epochs"].sum()
        if part["best"]:
            best = rows.loc[rows["value"].idxmax()]
            assert (part["best"]["value"], part["best"]["parameters"]["learning_rate"]) == (best["value"], best["param_learning_rate"])


def test_without_an_id_status_means_the_newest_sweep(finished_sweep):
    assert sweep("status", "--results", finished_sweep.results).stdout.startswith(f"{finished_sweep.id}: finished")


def test_the_best_trial_of_each_arm(finished_sweep):
    done = sweep("show", "tiny", "--results", finished_sweep.results)
    lines = done.stdout.splitlines()
    assert lines[2].split() == ["arm", "best", "trial", "val_accuracy", "curve", "seeds", "test", "accuracy", "parameters"]
    assert re.fullmatch(r"cross_entropy  cross_entropy-\d +0\.\d{4}  [▁▂▃▄▅▆▇█]{3} +2 +0\.\d{4}  learning_rate \S+", lines[3])
    assert re.fullmatch(
        r"focal +focal-\d +0\.\d{4}  [▁▂▃▄▅▆▇█]{3} +2 +0\.\d{4}  (learning_rate|gamma) \S+, (learning_rate|gamma) \S+", lines[4]
    )
    assert re.fullmatch(rf"next +sweep show {finished_sweep.path} \S+", lines[-1])
    shown = json.loads(sweep("show", finished_sweep.path, "--json").stdout)
    assert [arm["arm"] for arm in shown["arms"]] == ["cross_entropy", "focal"]
    assert all(len(arm["curve"]) == 3 for arm in shown["arms"])


def test_everything_about_one_trial(finished_sweep):
    done = sweep("show", finished_sweep.path, "focal-confirm-1")
    lines = done.stdout.splitlines()
    assert re.fullmatch(rf"focal-confirm-1 of {finished_sweep.id}: complete after 3 epochs in \d+\.\d s on cpu", lines[0])
    assert lines[1] == "arm focal, phase confirm, seed 2112390637, attempt 1"
    for name in ("val_accuracy", "train_loss", "learning_rate"):
        assert any(re.match(rf"{name} .*[▁▂▃▄▅▆▇█]{{3}}", line) for line in lines)
    assert "  loss           focal" in lines
    assert any(line.startswith("  test_accuracy ") for line in lines)
    assert any(line.startswith("  versions     sweeper ") for line in lines)
    assert lines[-1] == f"  sweep reproduce {finished_sweep.path} focal-confirm-1"
    view = json.loads(sweep("show", finished_sweep.path, "focal-confirm-1", "--json").stdout)
    row = pd.read_parquet(finished_sweep.path / "trials").set_index("trial").loc["focal-confirm-1"]
    assert view["parameters"]["gamma"] == row["param_gamma"]
    assert view["test"]["test_nll"] == row["test_nll"]
    assert [epoch["epoch"] for epoch in view["curve"]] == [1, 2, 3]


@pytest.mark.parametrize("phase", ["search", "confirm"])
@pytest.mark.parametrize("n_epochs", [0, 3])
def test_a_failed_trial_shows_its_traceback_and_how_to_try_it_again(altered, phase, n_epochs):
    """As a killed sweep leaves it: in the row log, not in Parquet yet."""
    log = altered / "tune" / "rows.jsonl"
    entry = next(entry for entry in map(json.loads, log.read_text().splitlines()) if entry["kind"] == "trial")
    told = {"error": "RuntimeError: no gradient", "traceback": 'Traceback:\n  File "mine.py", line 3\nRuntimeError: no\x1b gradient\n'}
    trial = {"trial": "focal-9", "arm": "focal", "phase": phase, "number": 9, "state": "failed", "value": None, "attempts": 3}
    failed = entry["row"] | trial | told
    epochs = [{"kind": "epoch", "row": {**epoch, "trial": "focal-9"}} for epoch in epoch_rows(log)[:n_epochs]]
    with log.open("a") as file:
        file.writelines(json.dumps(entry, separators=(",", ":")) + "\n" for entry in [*epochs, {"kind": "trial", "row": failed}])
    done = sweep("show", altered, "focal-9")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "error: RuntimeError: no gradient" in lines
    at = lines.index("traceback")
    assert lines[at + 1 : at + 5] == ["  Traceback:", '    File "mine.py", line 3', "  RuntimeError: no\\x1b gradient", ""]
    # without an epoch there is nothing to compare
    again = ["train it again", f"  sweep reproduce {altered} focal-9", ""] if n_epochs else []
    assert lines[at + 5 :] == [*again, "try the failed trials once more", f"  sweep resume {altered} --retry-failed"]
    view = json.loads(sweep("show", altered, "focal-9", "--json").stdout)
    assert (view["traceback"], view["retry"]) == (failed["traceback"], f"sweep resume {altered} --retry-failed")


def epoch_rows(log):
    return [entry["row"] for entry in map(json.loads, log.read_text().splitlines()) if entry["kind"] == "epoch"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "tinny"), "no sweep 'tinny' in {results}; did you mean '{id}'?"),
        (("show", "{id}", "focl-1"), "{path}: no trial 'focl-1'; did you mean 'focal-1'?"),
        (("reproduce", "{id}", "x"), "{path}: no trial 'x'; known: "),
        (("status", "other"), "no sweep 'other' in {results}; known: {id}"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(finished_sweep, arguments, message):
    known = {"id": finished_sweep.id, "results": str(finished_sweep.results), "path": f"{finished_sweep.results}/{finished_sweep.id}"}
    done = sweep(*(argument.format(**known) for argument in arguments), "--results", finished_sweep.results)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message.format(**known))


def test_a_trial_that_is_trained_again_is_equal_to_the_last_bit(finished_sweep):
    done = sweep("reproduce", finished_sweep.path, "focal-0")
    assert done.returncode == 0, done.stdout
    assert re.match(r"focal-0: equal to the last bit over \d epochs? on cpu\n", done.stdout)
