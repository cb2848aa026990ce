"""What a command does where its output cannot go, and with names that are empty."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from finished_sweep import sweep
from forked_python import fast_python

PRINTING = {
    "check": ("{space}",),
    "list": ("{results}",),
    "status": ("{sweep}",),
    "show": ("{sweep}",),
    "reproduce": ("{sweep}", "focal-2"),
    "report": ("{sweep}",),
    "schema": (),
    "completion": ("bash",),
}


def words(command, finished):
    known = {"space": finished.space, "results": finished.results, "sweep": finished.path}
    return [command, *(word.format(**known) for word in PRINTING[command])]


@pytest.mark.parametrize("command", PRINTING)
def test_a_full_disk_behind_stdout_is_told_without_a_traceback(finished_sweep, command):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with Path("/dev/full").open("w") as full:
        arguments = [fast_python(whole_end=True), "-m", "sweeper", *words(command, finished_sweep)]
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    last = [line for line in done.stderr.splitlines() if not line.startswith(("warning: ", "not checked: "))]
    assert (done.returncode, last) == (2, ["stdout: cannot write there: No space left on device"])


@pytest.mark.parametrize("command", PRINTING)
def test_a_closed_stdout_or_a_reader_that_leaves_gives_no_traceback(finished_sweep, command):
    program = f"{fast_python(whole_end=True)} -m sweeper {' '.join(words(command, finished_sweep))}"
    for line in (f"{program} >&-", f"{program} | true"):
        done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("list", ""), "'[RESULTS]'"),
        (("list", "--results", ""), "'--results'"),
        (("status", "--results", " "), "'--results'"),
        (("run", "x.yaml", "--results", ""), "'--results'"),
        (("report", "--output", ""), "'--output'"),
        (("report", "--plots", ""), "'--plots'"),
    ],
)
def test_an_empty_name_is_told_as_such(arguments, name):
    done = sweep(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"Error: Invalid value for {name}: is empty\n")


def test_a_list_takes_its_folder_as_the_other_commands_do(finished_sweep):
    listed = sweep("list", finished_sweep.results).stdout
    assert listed == sweep("list", "--results", finished_sweep.results).stdout


def test_paths_that_a_report_cannot_write_to_are_told_at_once_and_before_anything_is_written(finished_sweep, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    done = sweep("report", finished_sweep.path, "--output", tmp_path, "--plots", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (f"--output: {tmp_path} is a folder; give the name of a file in it\n--plots: {file} is a file; give a folder\n")
    done = sweep("report", finished_sweep.path, "--output", file / "x", "--plots", file / "x")
    assert done.stderr == f"--output: {file} is a file, and nothing can be written in it\n--plots: {file} is a file; give a folder\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "mine"


def test_a_report_is_written_into_a_pipe_or_device_and_takes_no_place_of_one(finished_sweep, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert sweep("report", finished_sweep.path, "--format", "markdown", "--output", pipe).returncode == 0
        assert os.read(reader, 2**16).decode() == sweep("report", finished_sweep.path, "--format", "markdown").stdout
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_device_that_takes_no_more_of_a_report_is_told_and_stays(finished_sweep, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    device = tmp_path / "full"
    device.symlink_to("/dev/full")
    done = sweep("report", finished_sweep.path, "--output", device)
    assert (done.returncode, done.stderr) == (2, f"--output: {device}: No space left on device\n")
    assert device.is_symlink()
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    ("command", "trial", "expected"), [("report", "", "\n--------"), ("show", "focal-2", "#"), ("status", "", "\\u640d\\u5931")]
)
def test_signs_and_letters_that_an_encoding_lacks_are_told_in_ascii(finished_sweep, tmp_path, encoding, command, trial, expected):
    (tmp_path / "損失").symlink_to(finished_sweep.results)
    path = tmp_path / "損失" / finished_sweep.path.name
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    words = filter(None, [sys.executable, "-m", "sweeper", command, str(path), trial])
    done = subprocess.run(list(words), capture_output=True, env=environment, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout.decode("ascii")
