"""Networks of the user's own as they are, batch normalisation and dropout included: killed, resumed and reproduced bit by bit."""

import time

import pytest
from finished_sweep import sweep

from faults.invariants import check_equal, check_sweep
from faults.kill_harness import ROOT, finish, kill_all, start

CODE = """
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self, n_classes, channels=8, dropped=0.0):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.drop = nn.Dropout(dropped)
        self.head = nn.Linear(channels, n_classes)

    def forward(self, x):
        return self.head(self.drop(F.relu(self.norm(self.stem(x))).mean((2, 3))))

def resnet18(**options):
    import torchvision
    net = torchvision.models.resnet18(**options)
    net.fc = nn.Sequential(nn.Dropout(0.3), net.fc)
    return net
"""
SMALL = """
name: small
dataset: {name: synthetic, train_images: 3000, test_images: 200, validation: 500}
training: {epochs: 4, batch_size: 50, learning_rate: 0.05}
parameters:
  loss: cross_entropy
  model: {choices: [convnet, {name: plain, model: "own_nets:Net"}, {name: dropped, model: "own_nets:Net", dropped: 0.3, channels: 12}]}
compare: {arms: model, searches: 1, trials_per_arm: 1, seeds: 1}
search: {pruner: none}
resources: {pack: 3}
seed: 5
"""
RESNET = """
name: resnet
dataset: {name: synthetic, train_images: 2500, test_images: 500, validation: 500}
training: {epochs: 2, batch_size: 100, learning_rate: 0.05, model: MODEL}
parameters: {loss: {choices: [cross_entropy, focal]}}
compare: {arms: loss, searches: 1, trials_per_arm: 1, seeds: 1}
search: {pruner: none}
resources: {pack: 1}
seed: 5
"""
STOCK, DROPPED = '{path: "torchvision.models:resnet18", weights: null}', '"own_nets:resnet18"'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own_networks")
    (folder / "own_nets.py").write_text(CODE)
    return folder


def killed_and_resumed(folder, name, text):
    """An undisturbed sweep of this space, and one that was killed once a trial had a checkpoint, and resumed."""
    (folder / f"{name}.yaml").write_text(text)
    environment = {"PYTHONPATH": f"{folder}:{ROOT}"}
    paths = []
    for disturbed in (False, True):
        results = folder / f"{name}-{'killed' if disturbed else 'left alone'}"
        run = start(["run", str(folder / f"{name}.yaml"), "--results", str(results)], folder / f"{name}.log", **environment)
        if disturbed:
            deadline = time.monotonic() + 300
            while not list(results.glob("*/checkpoints/*.npz")):
                assert time.monotonic() < deadline, run.output
                assert run.process.poll() is None, run.output
                time.sleep(0.02)
            kill_all(run)
            assert list(results.glob("*/checkpoints/*.npz"))
            run = start(["resume", str(next(results.iterdir()))], folder / f"{name}.log", **environment)
        assert finish(run) == 0, run.output
        paths += results.iterdir()
    return paths


def assert_bit_equal(folder, name, text, trials):
    undisturbed, resumed = killed_and_resumed(folder, name, text)
    check_sweep(resumed)
    check_equal(resumed, undisturbed)
    for trial in trials:
        done = sweep("reproduce", resumed, trial, cwd=folder, env={"PYTHONPATH": f"{folder}:{ROOT}"})
        assert done.returncode == 0, done.stderr
        assert f"{trial}: equal to the last bit" in done.stdout


def test_a_sweep_over_networks_that_was_killed_is_resumed_bit_by_bit_and_its_trials_are_reproduced(folder):
    assert_bit_equal(folder, "small", SMALL, ["plain-confirm-0", "dropped-0"])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "model"), [("stock", STOCK), ("with_dropout", DROPPED)])
def test_a_resnet_that_was_killed_is_resumed_bit_by_bit_and_reproduced(folder, name, model):
    assert_bit_equal(folder, name, RESNET.replace("MODEL", model), ["cross_entropy-confirm-0", "focal-0"])
