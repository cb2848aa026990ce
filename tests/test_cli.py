"""The command line as a user meets it: real processes, whole output."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from finished_sweep import sweep as command

ROOT = Path(__file__).parents[1]


def sweep(*arguments):
    return command(*arguments, cwd=ROOT)


def test_help_takes_less_than_half_a_second():
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "sweeper", "--help"], stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.5


@pytest.mark.parametrize("command", ["check", "run", "resume", "report"])
def test_every_command_explains_itself_with_an_example(command):
    done = sweep(command, "--help")
    assert done.returncode == 0
    assert f"\n  sweep {command} " in done.stdout


@pytest.mark.parametrize("space", ["quickstart", "focal", "notebook"])
def test_the_shipped_spaces_pass_the_check(space):
    done = sweep("check", f"search_spaces/{space}.yaml")
    assert done.returncode == 0
    assert done.stdout.startswith(f"search_spaces/{space}.yaml: ok: ")


def test_a_broken_space_is_refused_with_every_mistake_and_no_traceback(tmp_path):
    space = tmp_path / "mine.yaml"
    space.write_text("name: mine\ndataset: {name: cifar}\ntraining: {epochs: 0}\nparameters: {loss: focal}\n")
    done = sweep("check", str(space))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"{space}: 3 problems\n  line 2   dataset.name: ")
    assert "Traceback" not in done.stderr


def test_a_flag_is_short_for_a_field_and_named_in_the_refusal():
    done = sweep("check", "search_spaces/focal.yaml", "--epochs", "0", "--pack", "x")
    assert done.returncode == 2
    assert "--set training.epochs=0: must be >= 1, got 0" in done.stderr
    assert "--set resources.pack=x: must be an integer >= 1 or 'auto', got 'x'" in done.stderr


def test_flags_reach_the_plan():
    flags = ("--trials-per-arm", "5", "--epochs", "7", "--seeds", "3")
    for searches, planned in (
        ("1", "15 search trials of 7 epochs, 3 confirm seeds each"),
        ("6", "6 searches of 5 trials each, 7 epochs a trial, 3 confirm seeds"),
    ):
        done = sweep("check", "search_spaces/focal.yaml", *flags, "--searches", searches)
        assert done.stdout == f"search_spaces/focal.yaml: ok: 3 arms (l1, cross_entropy, focal), {planned}\n"


def test_a_report_of_a_folder_without_sweeps_says_what_to_do(tmp_path):
    done = sweep("report", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == (
        f"{tmp_path}: no sweep in this folder (a sweep's folder holds sweep.yaml); run one: sweep run search_spaces/quickstart.yaml\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "FILE"], "FILE: is a file; give the folder that holds the sweeps, or a sweep's own"),
        (["list", "FILE"], "FILE: is a file; give the folder that holds the sweeps, or a sweep's own"),
        (["report", "results", "--output", "FOLDER"], "--output: FOLDER is a folder; give the name of a file in it"),
        (["report", "results", "--output", "FILE/x"], "--output: FILE is a file, and nothing can be written in it"),
        (
            ["run", "search_spaces/quickstart.yaml", "--results", "FILE"],
            "FILE: is a file, and no folder can be made in it; give another --results",
        ),
    ],
)
def test_a_file_where_a_folder_should_be_is_told_with_the_way_out(arguments, message, tmp_path):
    (tmp_path / "file").write_text("")

    def filled(text):
        return text.replace("FILE", str(tmp_path / "file")).replace("FOLDER", str(tmp_path))

    done = sweep(*map(filled, arguments))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == filled(message)


def test_data_that_is_not_there_is_refused_before_anything_is_created(tmp_path):
    results = tmp_path / "results"
    done = sweep(
        "run", "search_spaces/focal.yaml", "--dataset", "parquet", "--data-dir", str(tmp_path / "absent"), "--results", str(results)
    )
    assert done.returncode == 2
    assert str(tmp_path / "absent") in done.stderr
    assert "Traceback" not in done.stderr
    assert not results.exists()


def test_a_report_writes_its_pictures_where_it_is_told(finished_sweep, tmp_path):
    done = sweep("report", str(finished_sweep.path), "--plots", str(tmp_path / "pictures"))
    assert done.returncode == 0, done.stderr
    written = {path.suffix for path in (tmp_path / "pictures").iterdir()}
    assert written == {".png", ".svg", ".pdf"}


def test_a_validation_split_that_leaves_nothing_to_train_on_is_refused_before_the_sweep_begins(tmp_path):
    done = sweep("run", "search_spaces/quickstart.yaml", "--set", "dataset.validation=9999", "--results", str(tmp_path / "results"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()
