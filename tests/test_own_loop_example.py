"""The files of the page "A training loop of your own": the script trains, and its loop learns what the script learns."""

import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.space import load_space

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_loop"
SCRIPT = """
from torchvision.datasets import FakeData
from torchvision.transforms import ToTensor
from plain import main
sets = [FakeData(n, (3, 32, 32), 10, ToTensor(), random_offset=n) for n in (16, 8)]
assert 0 <= main(*sets, epochs=1) <= 1
"""


def test_the_plain_script_trains():
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=EXAMPLE, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("epoch 1: accuracy ")


def test_the_space_compares_two_optimisers_that_each_have_their_own_ranges(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    space = load_space(EXAMPLE / "compare.yaml")
    free = [{one.name for one in space.definitions(arm) if one.is_free} for arm in space.arms]
    assert ([arm.name for arm in space.arms], free) == (["adamw", "sgd"], [{"learning_rate", "weight_decay"}] * 2)


@pytest.mark.parametrize("name", ["plain.py", "resnet.py"])
def test_the_files_are_short(name):
    assert len((EXAMPLE / name).read_text().splitlines()) <= 60
