"""``--backend``: from the command line and the space file to the worker, and from the worker back to the user."""

import re
import subprocess
import sys

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from faults.simulation import curve, new_sweep
from finished_sweep import sweep

from sweeper.cli import cli
from sweeper.driver.coordinator import Coordinator
from sweeper.driver.events import Notice
from sweeper.driver.messages import PackReport
from sweeper.errors import SpaceError
from sweeper.space import parse_space
from sweeper.sweep import _open

SPACE = """
name: backends
dataset: {name: synthetic, train_images: 200, test_images: 50, validation: 50}
training: {epochs: 1, model: MODEL}
parameters:
  loss: {choices: [l1, cross_entropy]}
  learning_rate: {low: 1e-3, high: 0.5, log: true}
compare: {arms: loss, searches: 1, trials_per_arm: 1, seeds: 1}
resources: {backend: BACKEND}
"""


def text_with(backend, model="convnet"):
    return SPACE.replace("BACKEND", backend).replace("MODEL", model)


@pytest.mark.parametrize(
    ("backend", "model", "problem"),
    [
        ("cudnn", "convnet", "must be 'auto', 'fused' or 'operators', got 'cudnn'"),
        ("fused", "nets:Net", "fused trains the convnet alone, and training.model is nets:Net; take auto or operators"),
    ],
)
def test_a_backend_is_one_of_three_and_fused_is_for_the_convnet(tmp_path, monkeypatch, backend, model, problem):
    (tmp_path / "nets.py").write_text("from torch import nn\n\nclass Net(nn.Module):\n    def __init__(self, n_classes): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpaceError) as caught:
        parse_space(text_with(backend, model), "space.yaml")
    assert str(caught.value) == f"space.yaml: 1 problem\n  line 9   resources.backend: {problem}"


@pytest.mark.parametrize("command", ["check", "run"])
def test_fused_is_refused_on_a_machine_without_a_gpu_before_anything_is_made(tmp_path, monkeypatch, command):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    space = tmp_path / "space.yaml"
    space.write_text(text_with("auto"))
    done = CliRunner().invoke(cli, [command, str(space), "--backend", "fused", "--results", str(tmp_path / "results")])
    assert done.exit_code == 2
    assert "resources.backend: fused trains on a GPU, and trials would have none here; take auto" in done.stderr
    assert not (tmp_path / "results").exists()


def test_operators_train_a_sweep_on_the_cpu_as_the_kernels_of_the_cpu_do(tmp_path):
    space = tmp_path / "space.yaml"
    space.write_text(text_with("auto"))
    figures = {}
    for backend in ("auto", "operators"):
        done = sweep("run", space, "--backend", backend, "--results", tmp_path / backend, "-q")
        assert done.returncode == 0, done.stderr
        (folder,) = (tmp_path / backend).iterdir()
        assert f"backend: {backend}" in (folder / "sweep.yaml").read_text()
        figures[backend] = pd.read_parquet(folder / "epochs").set_index("trial")["train_loss"].sort_index()
    pd.testing.assert_series_equal(figures["auto"], figures["operators"], rtol=1e-5)
    assert (figures["auto"] != figures["operators"]).any(), "both were trained by the same code"
    for trial in figures["operators"].index:  # alone, where the sweep trained all losses in one pack
        done = sweep("reproduce", folder, trial)
        assert done.returncode == 0, done.stderr
        assert re.match(rf"{trial}: (equal to the last bit|within tolerance) over 1 epoch", done.stdout), done.stdout


def test_what_many_workers_have_to_say_is_told_once(tmp_path):
    space = parse_space(text_with("auto"), "space.yaml")
    recorder, studies = _open(space, folder := new_sweep(tmp_path / "sweep", space))
    told = []
    coordinator = Coordinator(space, studies, recorder, folder, lambda event: told.append(event) if isinstance(event, Notice) else None)
    for pack in ("pack-0", "pack-1"):
        (member,) = coordinator.start_pack(pack, 1)
        report = PackReport("cpu", {member.trial_id: [curve(member, 1)]}, notice="training with PyTorch's operators")
        coordinator.report(pack, PackReport.from_json(report.to_json()))
    assert told == [Notice("training with PyTorch's operators")]
    recorder.close()
    studies.close()


GIVEN_A_GPU = """
import ray, sweeper
from sweeper.errors import SweeperError
ray.init(num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
try:
    sweeper.run("space.yaml", gpus_per_trial=1)
except SweeperError as error:
    print(error)
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine whose torch can use no GPU")
def test_a_worker_whose_gpu_torch_cannot_use_ends_the_sweep_with_the_cause(tmp_path):
    (tmp_path / "space.yaml").write_text(text_with("auto"))
    done = subprocess.run([sys.executable, "-c", GIVEN_A_GPU], cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert "a GPU that torch cannot use: " in done.stdout
    assert "or train on the CPU with --gpus-per-trial 0" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
