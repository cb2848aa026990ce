"""The files in ``search_spaces/`` are what their comments say."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.space import Arm, check_warnings, load_space

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "search_spaces").glob("*.yaml"))
NOTEBOOK_RUNS = ROOT / ".." / "shared" / "reference" / "notebook_runs.csv"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_opens_with_its_purpose_its_command_its_time_and_its_hardware(path):
    head = path.read_text().partition("\nname:")[0]
    assert f"sweep run search_spaces/{path.name}" in head
    assert "Time:" in head
    assert "Hardware:" in head
    assert load_space(path).name == path.stem


def test_the_headline_raises_no_doubts():
    assert check_warnings(load_space(ROOT / "search_spaces" / "focal.yaml")) == []


def test_the_notebook_file_is_the_notebooks_setting():
    space = load_space(ROOT / "search_spaces" / "notebook.yaml")
    assert space.arms == (
        Arm("l1", {"loss": "l1"}),
        Arm("cross_entropy", {"loss": "cross_entropy"}),
        Arm("focal_0.5", {"loss": "focal", "gamma": 0.5}),
        Arm("focal_2", {"loss": "focal", "gamma": 2.0}),
    )
    training = space.training
    assert (training.epochs, training.batch_size, training.learning_rate, training.momentum) == (30, 128, 0.1, 0.9)
    assert (training.step_size, training.step_gamma, training.reduction, training.augment) == (5, 0.5, "elements", "crop_flip")
    assert (space.dataset.validation, space.compare.seeds, space.search.pruner.name, space.seed) == ("test", 0, "none", 1)
    assert [space.planned_trials(arm) for arm in space.arms] == [1, 1, 1, 1]


def test_the_notebooks_figures_are_those_of_its_table():
    if not NOTEBOOK_RUNS.exists():
        pytest.skip(f"{NOTEBOOK_RUNS} is not here")
    with NOTEBOOK_RUNS.open() as file:
        last = {row["run"]: float(row["test_acc"]) for row in csv.DictReader(file) if row["epoch"] == "30"}
    last = {run.replace("focal_gamma", "focal"): accuracy for run, accuracy in last.items()}
    assert last == load_space(ROOT / "search_spaces" / "notebook.yaml").compare.reference.test_accuracy


def test_reading_a_space_loads_neither_torch_nor_ray():
    code = (
        "import sys; from sweeper.space import load_space, check_warnings; check_warnings(load_space('search_spaces/focal.yaml')); "
        "print([name for name in ('torch', 'ray', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
