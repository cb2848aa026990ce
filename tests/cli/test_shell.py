"""Completions in a real bash, and flags under the names that people know."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from finished_sweep import sweep

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """What bash offers for the last of the words typed so far."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "sweep"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m sweeper "$@"\n')
    program.chmod(0o755)

    def offered(*words, cwd=ROOT):
        script = (
            f'export PATH={folder}:$PATH; eval "$(sweep completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); '
            '_sweep_completion sweep; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(
            [bash, "--norc", "-c", script, "bash", *words], capture_output=True, text=True, cwd=cwd, check=True, timeout=60
        )
        return done.stdout.split()

    return offered


def test_commands_complete(complete):
    assert complete("sweep", "re") == ["report", "reproduce", "resume"]


def test_space_files_complete_from_the_folders_below(complete):
    shipped = [f"search_spaces/{path.name}" for path in sorted((ROOT / "search_spaces").glob("*.yaml"))]
    assert [name for name in complete("sweep", "run", "") if name.startswith("search_spaces/")] == shipped
    assert complete("sweep", "check", "search_spaces/fo") == ["search_spaces/focal.yaml"]


def test_sweeps_and_their_trials_complete(complete, finished_sweep):
    results = str(finished_sweep.results)
    assert complete("sweep", "show", "--results", results, "ti") == [finished_sweep.id]
    assert complete("sweep", "resume", f"{results}/ti") == [str(finished_sweep.path)]
    assert complete("sweep", "show", str(finished_sweep.path), "focal-c") == ["focal-confirm-0", "focal-confirm-1"]


@pytest.mark.parametrize(
    ("shell", "line"), [("zsh", "#compdef sweep"), ("fish", "complete --no-files --command sweep"), ("bash", "complete ")]
)
def test_each_shell_gets_its_script(shell, line):
    done = sweep("completion", shell)
    assert done.returncode == 0
    assert line in done.stdout


def test_num_samples_is_trials_per_arm():
    plans = [sweep("check", "search_spaces/focal.yaml", flag, 5, cwd=ROOT).stdout for flag in ("--num-samples", "--trials-per-arm")]
    assert plans[0] == plans[1]
    assert "5 searches of 5 trials each" in plans[0]


def test_a_folder_that_looks_like_a_number_stays_text():
    done = sweep("check", "search_spaces/focal.yaml", "--dataset", "parquet", "--data-dir", "1e5", "--name", "7", cwd=ROOT)
    assert done.stderr == "dataset.data_dir: 1e5: no such folder; pass the folder of the parquet data set as --data-dir DIR\n"


def test_a_plan_is_printed_and_nothing_is_created(tmp_path):
    done = sweep(
        "run",
        ROOT / "search_spaces" / "quickstart.yaml",
        *("--searches", 2, "--trials-per-arm", 5, "--epochs", 4, "--seeds", 2, "--dry-run"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "quickstart: 42 trials, at most 168 epochs; nothing was created"
    assert lines[2].split() == ["arm", "search", "trials", "epochs", "at", "most", "confirm", "trials", "epochs"]
    each = ["2", "x", "5", "40", "2", "x", "2", "16"]
    assert [line.split() for line in lines[3:6]] == [[arm, *each] for arm in ("l1", "cross_entropy", "focal")]
    assert "s an epoch of one pack" in lines[7]
    assert re.fullmatch(r"about 0:\d\d:\d\d on this machine alone, 0:\d\d:\d\d of it to start and to end", lines[8])
    assert re.fullmatch(r"assumed: the pruner leaves \d+ % of the search's epochs, as for simulated trials", lines[9])
    assert re.fullmatch(r"at most about 0:\d\d:\d\d if nothing is pruned", lines[10])
    assert list(tmp_path.iterdir()) == []


def test_one_of_anything_is_told_in_the_singular():
    one = ("--trials-per-arm", 1, "--epochs", 1, "--seeds", 1)
    for searches, planned in (
        (1, "3 search trials of 1 epoch, 1 confirm seed each"),
        (4, "4 searches of 1 trial each, 1 epoch a trial, 1 confirm seed"),
    ):
        done = sweep("check", "search_spaces/quickstart.yaml", *one, "--searches", searches, cwd=ROOT)
        assert done.stdout.endswith(f"3 arms (l1, cross_entropy, focal), {planned}\n")
        assert not re.search(r"\b1 (?:trials|epochs|seeds|searches|arms|are)\b", done.stdout + done.stderr)


def test_arms_whose_grids_differ_are_checked_with_the_least_and_the_most_trials():
    grid = ("--set", "search.sampler={name: grid, points: 2}", "--searches", 4)
    done = sweep("check", "search_spaces/quickstart.yaml", *grid, cwd=ROOT)
    assert "4 searches of 2 to 4 trials each, 4 epochs a trial" in done.stdout, done.stdout


def test_a_plan_says_how_many_trials_a_pack_would_hold_where_the_space_does_not():
    space = ROOT / "search_spaces" / "quickstart.yaml"
    done = sweep("run", space, "--trials-per-arm", 200, "--dry-run")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "side by side" in line)
    assert re.search(r"packs? of at most 8 \(pack: auto\) side by side, [\d.]+ s an epoch of one pack$", line), line


def test_the_printed_schema_is_the_one_beside_the_space_files():
    assert json.loads(sweep("schema").stdout) == json.loads((ROOT / "search_spaces" / "schema.json").read_text())


def test_a_logger_that_is_unknown_is_refused_before_anything_is_created(tmp_path):
    done = sweep("run", ROOT / "search_spaces" / "quickstart.yaml", "--log-to", "mlflw", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("--log-to: unknown logger 'mlflw'; did you mean 'mlflow'?\n")
    assert list(tmp_path.iterdir()) == []
