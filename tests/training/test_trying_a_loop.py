"""A training loop of the user's own is tried on a few images by `check`, `run --dry-run` and `run`, in one configuration of each arm."""

import pytest
from click.testing import CliRunner

from sweeper.cli import cli
from sweeper.errors import SpaceError
from sweeper.preflight import load_data
from sweeper.space import load_space
from sweeper.training.custom_code_check import check_custom_code

SPACE = """
name: own
dataset: {name: synthetic, train_images: 300, test_images: 50, validation: 100}
training: {epochs: 2, loop: "loops_of_a_user:small", metrics: {f1: {maximize: true}}}
parameters:
  optimizer: {choices: [AdamW, SGD, Adagard]}
  rate: {low: 0.001, high: 1.0}
compare: {arms: optimizer, searches: 1, trials_per_arm: 1, seeds: 0}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    (tmp_path / "own.yaml").write_text(SPACE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", [["check"], ["run", "--dry-run"], ["run"]], ids=" ".join)
def test_each_arm_is_tried_once_and_what_fails_is_told_with_its_line_and_parameters(tmp_path, command):
    done = CliRunner().invoke(cli, [*command, "own.yaml"])
    assert done.exit_code == 2
    assert done.stderr.partition("own.yaml: ")[2] == (
        "1 problem\n"
        "  line 4   training.loop: training loop 'loops_of_a_user:small' fails: AttributeError: module 'torch.optim' has no attribute "
        "'Adagard' (tried on a few images in arm 'Adagard' with optimizer=Adagard, rate=0.001)\n"
    )
    assert not (tmp_path / "results").exists()


def checked(loop):
    space = load_space("own.yaml", [f"training.loop=loops_of_a_user:{loop}", "parameters.optimizer=AdamW", "compare.arms=null"])
    check_custom_code(space, load_data(space, None, glance=True))


@pytest.mark.parametrize(
    ("loop", "said"),
    [
        (
            "of_options",
            "training loop 'loops_of_a_user:of_options' returned no test metrics: it must return a mapping of them, got nothing",
        ),
        (
            "forgets_its_state",
            "training loop 'loops_of_a_user:forgets_its_state' cannot go on from the state that it yields: KeyError: 'net'",
        ),
        ("fails_at_once", "training loop 'loops_of_a_user:fails_at_once' fails: RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
    ],
)
def test_a_loop_that_cannot_be_run_or_continued_is_refused(loop, said):
    with pytest.raises(SpaceError) as caught:
        checked(loop)
    assert caught.value.problems[0].message.startswith(said)


def test_a_loop_that_is_sound_passes():
    checked("small")
    checked("of_numbers")
