"""Sweeps of a training loop of the user's own as a user runs them, with real Ray: killed and resumed, failing, reported, reproduced."""

import json
import random
import signal
import time

import pandas as pd
import pytest
from click.testing import CliRunner
from forked_python import fast_python
from safetensors.torch import load_file
from torchvision.models.resnet import BasicBlock, ResNet

from sweeper.cli import cli
from sweeper.errors import SweeperError
from sweeper.export import load
from sweeper.store import SweepFolder

from .invariants import check_equal, tables
from .kill_harness import ROOT, finish, kill_all, start, wait_until_gone

pytestmark = pytest.mark.timeout(600)
EXAMPLE = ROOT / "examples" / "own_loop"
SMALL = {
    "training.loop": "loop_that_waits:train",
    "training.keep": "weights",
    "dataset.name": "synthetic",
    "dataset.train_images": 120,
    "dataset.test_images": 30,
    "dataset.validation": 40,
    "parameters.blocks": 1,
    "parameters.batch_size": 40,
    "search.sampler": "random",
    "search.pruner": "none",
}
FLAGS = ["--epochs", "3", "--searches", "1", "--trials-per-arm", "2", "--seeds", "1"]
N_EPOCHS = 2 * (2 + 1) * 3


@pytest.fixture(scope="module")
def path_to_loops():
    return ":".join(map(str, (ROOT, EXAMPLE, ROOT / "tests" / "faults", ROOT / "tests")))


def run_example(folder, path, waits=()):
    """A started sweep of the example, small; it waits in the epochs of these numbers."""
    folder.mkdir()
    (folder / "waits").write_text("".join(f" {number} " for number in waits))
    settings = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    arguments = ["run", str(EXAMPLE / "compare.yaml"), *settings, *FLAGS, "--results", str(folder / "results")]
    return start(arguments, folder / "log", program=fast_python(), PYTHONPATH=path, EPOCHS_FOLDER=str(folder))


@pytest.fixture(scope="module")
def example(tmp_path_factory, path_to_loops):
    """The folder of a small sweep of the example that nobody disturbed."""
    folder = tmp_path_factory.mktemp("example") / "whole"
    run = run_example(folder, path_to_loops)
    assert finish(run) == 0, run.output
    (sweep,) = (folder / "results").iterdir()
    return sweep


def test_the_example_killed_at_three_random_epochs_and_interrupted_at_one_ends_as_if_nothing_had_been(example, tmp_path, path_to_loops):
    waits = sorted(random.Random(17).sample(range(1, N_EPOCHS * 2 // 3), 4))  # of the epochs but each trial's first
    folder = tmp_path / "killed"
    run = run_example(folder, path_to_loops, waits)
    for index, number in enumerate(waits):
        while not ((folder / f"waiting-{number}").exists() and list(folder.glob("results/*/checkpoints/*.npz"))):
            assert run.process.poll() is None, run.output
            time.sleep(0.02)
        if index == 1:
            run.process.send_signal(signal.SIGINT)
            assert finish(run) == 130, run.output
            assert "everything is saved; go on with: sweep resume" in run.output
        else:
            kill_all(run)
        wait_until_gone(run)
        (sweep,) = (folder / "results").iterdir()
        environment = {"PYTHONPATH": path_to_loops, "EPOCHS_FOLDER": str(folder)}
        run = start(["resume", str(sweep)], folder / f"log-{number}", program=fast_python(), **environment)
    assert finish(run) == 0, run.output
    check_equal(sweep, example)
    assert list(folder.glob("resumed-*")), "a trial went on from its state"
    assert not list((sweep / "checkpoints").iterdir())


def test_the_metrics_of_the_users_own_are_columns_and_what_a_loop_does_not_give_is_null(example):
    trials, epochs = tables(example)
    assert len(epochs) == N_EPOCHS
    assert trials["state"].eq("complete").all()
    for column in ("last_val_confidence", "best_val_confidence", "test_confidence", "test_accuracy", "test_nll_scaled", "temperature"):
        assert trials[column].notna().all(), column
    assert epochs[["val_confidence", "val_accuracy", "val_nll", "train_loss", "learning_rate"]].notna().all(axis=None)
    assert epochs[["val_brier", "val_ece", "val_loss", "train_accuracy"]].isna().all(axis=None)
    assert trials["test_loss"].isna().all()
    assert list(epochs.filter(regex="learning_rate").iloc[:, 0].groupby(epochs["trial"]).nunique()) == [3] * 6
    predictions = pd.read_parquet(example / "predictions")
    assert predictions.groupby("trial")["split"].nunique().eq(2).all()


def test_a_report_compares_by_a_metric_of_the_users_own(example):
    done = CliRunner().invoke(cli, ["report", str(example), "--metric", "test_confidence", "--format", "json"])
    assert done.exit_code == 0, done.stderr
    (summary,) = json.loads(done.stdout)["sweeps"]
    trials, _ = tables(example)
    confirm = trials[trials["phase"] == "confirm"].set_index("arm")["test_confidence"]
    compared = {arm["arm"]: arm["measures"]["test_confidence"]["mean"] for arm in summary["comparison"]["arms"]}
    assert compared == pytest.approx(confirm.to_dict())
    assert list(compared) == list(confirm.sort_values().index), "less is better"
    for kind in ("table", "markdown", "csv", "latex", "html"):
        assert CliRunner().invoke(cli, ["report", str(example), "--format", kind]).exit_code == 0
    unknown = CliRunner().invoke(cli, ["report", str(example), "--metric", "val_confidenze"])
    assert "--metric: unknown metric 'val_confidenze'; did you mean 'val_confidence'?" in unknown.stderr


def test_a_trial_is_shown_with_its_metrics_and_trained_again_to_the_last_bit(example, monkeypatch, tmp_path, path_to_loops):
    shown = CliRunner().invoke(cli, ["show", str(example), "sgd-confirm-0"])
    assert "val_confidence" in shown.stdout
    assert "test_confidence" in shown.stdout
    assert "loop         loop_that_waits:train" in shown.stdout
    assert "val_brier" not in shown.stdout
    (tmp_path / "waits").touch()
    environment = {"PYTHONPATH": path_to_loops, "EPOCHS_FOLDER": str(tmp_path)}
    run = start(["reproduce", str(example), "sgd-confirm-0", "--custom-code"], tmp_path / "log", program=fast_python(), **environment)
    assert finish(run) == 0, run.output
    assert "sgd-confirm-0: equal to the last bit over 3 epochs on cpu" in run.output
    provenance = json.loads((example / "provenance.json").read_text())
    assert list(provenance["own_code"]) == ["loop_that_waits:train"]
    assert provenance["model"] == {"loop": "loop_that_waits:train"}


def test_the_weights_that_a_loop_returns_are_kept_and_exported_without_a_program_that_could_not_build_the_network(example, tmp_path):
    done = CliRunner().invoke(cli, ["export", str(example), "--arm", "sgd", "--to", str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".yaml", ".safetensors"}
    (weights,) = (tmp_path / "out").glob("*.safetensors")
    net = ResNet(BasicBlock, [1] * 4, num_classes=10)
    net.load_state_dict(load_file(weights))
    with pytest.raises(SweeperError, match=r"sgd-confirm-0: build the network as your training loop does"):
        load(SweepFolder(str(example)), "sgd", None, custom_code=True)


WAYS = ["nothing", "raises", "too few", "too many", "missing", "undeclared", "no number", "nan", "no test"]
FAILING = f"""
name: failing
dataset: {{name: synthetic, train_images: 60, test_images: 50, validation: 20}}
training: {{epochs: 2, loop: "loops_of_a_user:wrong", metrics: {{f1: {{unit: fraction, maximize: true}}}}}}
parameters: {{how: {{choices: {json.dumps(WAYS)}}}}}
compare: {{arms: how, trials_per_arm: 1, seeds: 1}}
search: {{metric: val_f1}}
resources: {{max_failures: 1}}
"""


def test_a_loop_that_goes_wrong_fails_its_own_trials_and_no_other_and_the_rows_say_why(tmp_path, path_to_loops):
    (tmp_path / "failing.yaml").write_text(FAILING)
    arguments = ["run", str(tmp_path / "failing.yaml"), "--results", str(tmp_path / "results")]
    run = start(arguments, tmp_path / "log", program=fast_python(), PYTHONPATH=path_to_loops)
    assert finish(run) == 1, run.output  # some trials failed
    (sweep,) = (tmp_path / "results").iterdir()
    trials, _ = tables(sweep)
    search = trials[trials["phase"] == "search"].set_index("arm")
    ends = {"nothing": "complete", "nan": "diverged", **dict.fromkeys(set(WAYS) - {"nothing", "nan"}, "failed")}
    assert search["state"].to_dict() == ends
    failed = search[search["state"] == "failed"]
    assert failed["attempts"].eq(2).all()
    loop = "training loop 'loops_of_a_user:wrong'"
    said = failed["error"].to_dict()
    assert said["raises"] == "ValueError: the user's mistake"
    assert 'raise ValueError("the user\'s mistake")' in failed["traceback"]["raises"]
    assert said["too few"] == f"{loop} returned after epoch 1 of 2: it must yield its metrics after every epoch"
    assert said["missing"].startswith(f"{loop} yielded no 'val_f1' after epoch 2, which the search goes by (search.metric)")
    assert search.loc["nan", "diverged_epoch"] == 2
    assert f"{loop} returned after epoch 1 of 2" in run.output
    confirm = trials[trials["phase"] == "confirm"]
    assert confirm["arm"].tolist() == ["nothing"], "only what was complete is confirmed"
    assert confirm["test_f1"].tolist() == [0.5]
    for kind in ("table", "html"):
        assert CliRunner().invoke(cli, ["report", str(sweep), "--format", kind]).exit_code == 0
