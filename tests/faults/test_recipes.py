"""A whole sweep that compares optimisers and tests each network's best epoch, killed on its way and undisturbed."""

import os
import signal
import time

import pandas as pd
import pytest
from forked_python import fast_python

from sweeper.reproduce import reproduce_trial
from sweeper.store import SweepFolder

from .invariants import check_equal, check_sweep
from .kill_harness import finish, start, wait_until_gone

SPACE = """
name: optimizers
dataset: {name: synthetic, train_images: 600, test_images: 100, validation: 100}
training: {epochs: 8, batch_size: 50, schedule: cosine, warmup_epochs: 1, gradient_clip: 1.0, select: best}
parameters:
  loss: cross_entropy
  optimizer:
    choices:
      - {name: nesterov, optimizer: sgd, nesterov: true, learning_rate: {low: 1.0e-2, high: 1.0, log: true}}
      - {name: adamw, optimizer: adamw, learning_rate: {low: 1.0e-3, high: 1.0e-1, log: true}, weight_decay: 0.1}
compare: {arms: optimizer, searches: 1, trials_per_arm: 2, seeds: 1}
search: {sampler: random, pruner: none, metric: val_accuracy}
resources: {pack: 2}
seed: 5
"""

pytestmark = pytest.mark.timeout(600)


def test_arms_with_optimisers_of_their_own_survive_a_kill_to_the_bit_and_test_their_best_epochs(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    whole = start(["run", str(tmp_path / "space.yaml"), "--results", str(tmp_path / "whole")], tmp_path / "log", program=fast_python())
    assert finish(whole) == 0, whole.output
    (reference,) = (tmp_path / "whole").iterdir()
    run = start(["run", str(tmp_path / "space.yaml"), "--results", str(tmp_path / "killed")], tmp_path / "log-killed", process_group=0)
    while not list(tmp_path.glob("killed/*/checkpoints/*.npz")) and run.process.poll() is None:
        time.sleep(0.01)
    os.killpg(run.process.pid, signal.SIGKILL)
    finish(run)
    wait_until_gone(run)
    (folder,) = (tmp_path / "killed").iterdir()
    resumed = start(["resume", str(folder)], tmp_path / "log-resumed", program=fast_python())
    assert finish(resumed) == 0, resumed.output
    check_sweep(folder)
    check_equal(folder, reference)
    sweep = SweepFolder(str(folder))
    trials, epochs = sweep.read_trials().frame, sweep.read_epochs().frame
    assert len(trials) == 6
    for _, trial in trials.iterrows():
        curve = epochs[epochs["trial"] == trial["trial"]].set_index("epoch")["val_accuracy"]
        assert trial["value"] == trial["best_val_accuracy"] == curve.max() == curve[trial["best_epoch"]]
        assert pd.isna(trial["param_momentum"]) == (trial["arm"] == "adamw")
    assert reproduce_trial(sweep, "adamw-confirm-0").verdict == "equal"
