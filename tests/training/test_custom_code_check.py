"""Losses and models of the user's own are tried by ``check``, ``run --dry-run`` and ``run`` before anything is created."""

import pytest
from click.testing import CliRunner

from sweeper.cli import cli
from sweeper.errors import SpaceError
from sweeper.preflight import load_data
from sweeper.space import load_space
from sweeper.training.custom_code_check import check_custom_code

CODE = """
import torch
from torch import nn
from torch.nn import functional as F

class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, logits, labels):
        return F.cross_entropy(logits * self.scale, labels)

def powered(logits, labels, q, kind="mean"):
    return (1 - logits.softmax(1).gather(1, labels[:, None])[:, 0] ** q).mean() / q

def noisy(logits, labels):
    return F.cross_entropy(logits + torch.randn_like(logits), labels)

def weighted(logits, labels):
    return F.cross_entropy(logits, labels, weight=torch.ones(10))

def on_the_gpu(logits, labels):
    return F.cross_entropy(logits.cuda(), labels.cuda())

class Normed(nn.Sequential):
    def __init__(self, n_classes):
        super().__init__(nn.Flatten(), nn.Linear(3072, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, n_classes))
"""
SPACE = """
name: own
dataset: {name: synthetic, train_images: 300, test_images: 50, validation: 100}
training: {epochs: 2, learning_rate: 0.1, model: "tried_code:Normed"}
parameters:
  loss:
    choices:
      - cross_entropy
      - {name: scaled, loss: "tried_code:Scaled"}
      - {name: powered, loss: "tried_code:powered"}
      - tried_code:noisy
  q: {low: 0.0, high: 1.0, when: {loss: "tried_code:powered"}}
compare: {arms: loss, searches: 1, trials_per_arm: 1, seeds: 0}
"""
UNTRAINED = "and only the network is trained: hold them as buffers, or let the space set them"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    (tmp_path / "tried_code.py").write_text(CODE)
    (tmp_path / "own.yaml").write_text(SPACE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", [["check"], ["run", "--dry-run"], ["run"]], ids=" ".join)
def test_all_that_is_wrong_with_code_of_the_users_own_is_told_at_once_with_its_lines(tmp_path, command):
    done = CliRunner().invoke(cli, [*command, "own.yaml"])
    assert done.exit_code == 2
    assert done.stderr.partition("own.yaml: ")[2] == (
        "3 problems\n"
        "  line 4   training.model: 'tried_code:Normed': gives an image other logits in other company: in eval mode it must judge each "
        "image of a batch by itself\n"
        f"  line 9   parameters.loss.choices[1].loss: loss 'tried_code:Scaled' has parameters to train (scale), {UNTRAINED}\n"
        "  line 10  parameters.loss.choices[2].loss: loss 'tried_code:powered' is nan on small logits, where training begins "
        "(with q=0.0, kind=mean)\n"
    )
    assert not (tmp_path / "results").exists()


def checked(*overrides):
    space = load_space("own.yaml", ["training.model=convnet", *overrides])
    check_custom_code(space, load_data(space, None, glance=True))


def test_a_range_without_its_faulty_end_passes():
    with pytest.raises(SpaceError, match="is nan on small logits"):
        checked("parameters.loss=tried_code:powered")
    checked("parameters.loss=tried_code:powered", "parameters.q={low: 0.01, high: 1.0}")


def test_a_loss_is_tried_on_the_number_of_classes_of_the_data(tmp_path):
    import io

    import numpy as np
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), dtype=np.uint8)).save(stream, "PNG")
    for split in ("train", "test"):
        for name in ("cat", "dog", "fox"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(3):
                (tmp_path / split / name / f"{number}.png").write_bytes(stream.getvalue())
    checked("parameters.loss=tried_code:weighted")
    data = f"dataset={{name: imagefolder, data_dir: {tmp_path}, validation: 3}}"
    with pytest.raises(SpaceError, match="weight tensor should be defined either for all 3 classes"):
        checked("parameters.loss=tried_code:weighted", data)


def test_a_loss_for_gpus_passes_where_only_the_trials_have_them():
    with pytest.raises(SpaceError, match="loss 'tried_code:on_the_gpu' fails"):
        checked("parameters.loss=tried_code:on_the_gpu")
    checked("parameters.loss=tried_code:on_the_gpu", "resources.gpus_per_trial=1")
