"""A sweep with a loss and a model of the user's own, from its run to its report."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from finished_sweep import sweep
from forked_python import fast_python

import sweeper
from sweeper.errors import SpaceError
from sweeper.space import parse_space
from sweeper.store import SweepFolder
from sweeper.store.provenance import provenance
from sweeper.store.trust import CustomCodeError, space_to_run
from sweeper.sweep import ModelChangedError, _compare_custom_code

CODE = """
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self, n_classes, channels=4):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, stride=4)
        self.head = nn.Linear(channels, n_classes)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))

class Normed(Net):
    def __init__(self, n_classes):
        super().__init__(n_classes)
        self.norm = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x):
        return super().forward(self.norm(x))

def softened(logits, labels, passes=2):
    return F.cross_entropy(logits / len(range(passes)), labels)
"""
SPACE = """
name: own
dataset: {name: synthetic, train_images: 300, test_images: 50, validation: 100}
training: {epochs: 2, batch_size: 50, learning_rate: 0.1, model: "my_code:Net"}
parameters: {loss: {choices: [cross_entropy, {name: softened, loss: "my_code:softened"}]}}
compare: {arms: loss, searches: 1, trials_per_arm: 1, seeds: 1}
search: {pruner: none}
resources: {pack: 2}
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A finished sweep whose code lies in the working folder that it was started from."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_code.py").write_text(CODE)
    (folder / "own.yaml").write_text(SPACE)
    done = program("run", "own.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    (path,) = (folder / "results").iterdir()
    return path


def program(*arguments, cwd):
    return sweep(*arguments, cwd=cwd, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])})


def test_provenance_says_which_model_and_code_were_run(own):
    found = json.loads((own / "provenance.json").read_text())
    assert found["model"] == {"name": "my_code:Net", "weights": 4 * 27 + 4 + 40 + 10}
    assert found["own_code"].keys() == {"my_code:Net", "my_code:softened"}
    assert len(set(found["own_code"].values())) == 1


def test_a_trial_is_reproduced_with_its_loss_given_whole_numbers_as_such(own):
    done = program("reproduce", own, "softened-confirm-0", cwd=own.parents[1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("softened-confirm-0: equal to the last bit over 2 epochs on cpu\n")


@pytest.mark.parametrize("arguments", [["report"], ["show"], ["show", "softened-0"], ["status"]], ids=" ".join)
def test_looking_at_a_sweep_needs_none_of_its_code(own, tmp_path, arguments):
    done = program(arguments[0], own, *arguments[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "softened" in done.stdout
    assert "cannot be read" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["reproduce", "resume"])
def test_what_would_run_the_code_refuses_it_on_demand(own, command):
    trial = ["softened-0"] if command == "reproduce" else []
    done = program(command, own, *trial, "--no-custom-code", cwd=own.parents[1])
    assert done.returncode == 2
    assert "'my_code:Net' is code of your own, which --no-custom-code refuses to run" in done.stderr


@pytest.fixture
def copied(own, tmp_path):
    """The sweep as it came from elsewhere, beside a module of the name that it wants, which leaves a trace when it is imported."""
    shutil.copytree(own, tmp_path / "downloads" / own.name)
    (tmp_path / "my_code.py").write_text(f"open('imported', 'w').close()\n{CODE}")
    return tmp_path / "downloads" / own.name


def test_a_sweep_from_elsewhere_asks_once_before_it_runs_its_code(copied, tmp_path):
    for arguments in (["resume", copied], ["reproduce", copied, "softened-0"]):
        done = program(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.endswith(
            f"{copied}: was not begun here by you, and would import my_code:Net, my_code:softened: code that then runs with your rights. "
            "If you trust it, allow it once with --custom-code (from Python: custom_code=True)\n"
        )
    with pytest.raises(CustomCodeError, match="would import my_code:Net, my_code:softened"):
        sweeper.open(copied).reproduce("softened-0")
    with pytest.raises(CustomCodeError, match="would import my_code:Net, my_code:softened"):
        sweeper.resume(copied, progress=False)
    assert not (tmp_path / "imported").exists()
    allowed = program("resume", copied, "--custom-code", cwd=tmp_path)
    assert allowed.returncode == 0, allowed.stderr
    again = program("resume", copied, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    (copied / "sweep.yaml").write_text((copied / "sweep.yaml").read_text().replace("my_code:softened", "my_code:other"))
    changed = program("resume", copied, cwd=tmp_path)
    assert changed.returncode == 2
    assert "would import my_code:Net, my_code:other: " in changed.stderr


def test_a_sweep_without_code_of_its_own_asks_nothing_wherever_it_comes_from(own, tmp_path):
    folder = SweepFolder(str(tmp_path / own.name))
    folder.create()
    folder.write_space(
        (own / "sweep.yaml").read_text().replace("my_code:Net", "convnet").replace("my_code:softened", "focal").replace("passes", "gamma")
    )
    assert space_to_run(folder, None).custom_code == ()


def test_a_sweep_that_names_the_standard_library_is_never_run_even_if_allowed(own, tmp_path):
    folder = SweepFolder(str(tmp_path / own.name))
    folder.create()
    folder.write_space((own / "sweep.yaml").read_text().replace("my_code:softened", "subprocess:Popen").replace("my_code:Net", "os:getcwd"))
    with pytest.raises(SpaceError) as caught:
        space_to_run(folder, True)
    assert str(caught.value).count("of Python's standard library, which holds no loss and no model") == 2


def test_a_model_that_breaks_a_rule_is_refused_before_anything_is_created(own, tmp_path):
    done = program("run", "own.yaml", "--set", "training.model=my_code:Normed", "--results", tmp_path / "none", cwd=own.parents[1])
    assert (done.returncode, done.stdout) == (2, "")
    assert "training.model=my_code:Normed: 'my_code:Normed': gives an image other logits in other company: in eval mode" in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_resumed_sweep_is_told_of_changed_code_and_keeps_its_network(own, monkeypatch):
    monkeypatch.syspath_prepend(str(own.parents[1]))
    space = parse_space((own / "sweep.yaml").read_text(), "sweep.yaml")
    folder, told = SweepFolder(str(own)), []
    model = {"name": "my_code:Net", "weights": 162}
    began = provenance([], {}, model, space.custom_code)
    _compare_custom_code(space, folder, model, began, told.append)
    _compare_custom_code(space, folder, model, {}, told.append)  # of a sweep that an older version began
    assert told == []
    began["own_code"]["my_code:softened"] = "0" * 64
    _compare_custom_code(space, folder, model, began, told.append)
    assert told == ["warning: my_code:softened has changed since the sweep began: its trials of before and after may not be comparable"]
    with pytest.raises(ModelChangedError, match=r"training.model my_code:Net has changed since the sweep began \(163 weights, was 162\)"):
        _compare_custom_code(space, folder, {**model, "weights": 163}, began, told.append)


LIBRARY = """
from torch.nn import functional as F

def half(logits, labels):
    return F.cross_entropy(logits, labels) / 2
"""
SCRIPT = """
import sys
sys.path.append("../library")
import sweeper, my_library
from my_code import Net

sweep = sweeper.run({
    "name": "own", "dataset": {"name": "synthetic", "train_images": 300, "test_images": 50, "validation": 100},
    "training": {"epochs": 1, "batch_size": 50, "learning_rate": 0.1, "model": Net},
    "parameters": {"loss": {"choices": [my_library.half, "cross_entropy"]}},
    "compare": {"arms": "loss", "searches": 1, "trials_per_arm": 1, "seeds": 0}, "search": {"pruner": "none"},
})
print(sorted(sweep.trials["param_loss"]), sweep.trials["state"].tolist())
"""


def test_classes_given_from_python_train_wherever_the_script_found_them(tmp_path):
    work, beside, library = (tmp_path / name for name in ("work", "beside", "library"))
    for folder in (work, beside, library):
        folder.mkdir()
    (beside / "run_it.py").write_text(SCRIPT)
    (beside / "my_code.py").write_text(CODE)
    (library / "my_library.py").write_text(LIBRARY)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [fast_python(), beside / "run_it.py"]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=150, check=False)
    assert done.stdout == "['cross_entropy', 'my_library:half'] ['complete', 'complete']\n", done.stderr
