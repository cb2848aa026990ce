"""Where loggers say that they write."""

import pytest

from sweeper.driver.events import SweepEnded, SweepStarted
from sweeper.space import parse_space
from sweeper.store import SweepFolder
from sweeper.tune.loggers import Loggers, destination

SPACE = """
name: mine
dataset: {name: synthetic}
training: {epochs: 1}
parameters: {loss: cross_entropy, learning_rate: 0.1}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return SweepFolder(f"{tmp_path}/mine-1")


@pytest.mark.parametrize(
    ("logger", "environment", "told"),
    [
        ("tensorboard", {}, "RESULTS/mine-1/tensorboard"),
        ("mlflow", {}, "experiment mine at sqlite:///RESULTS/mlflow.db"),
        ("mlflow", {"MLFLOW_TRACKING_URI": "https://me:secret@host:1/x"}, "experiment mine at https://host:1/x"),
        ("wandb", {}, "project mine, group mine-1, at https://wandb.ai"),
        ("wandb", {"WANDB_PROJECT": "p", "WANDB_ENTITY": "e"}, "project p, group mine-1, at https://wandb.ai/e/p"),
        ("wandb", {"WANDB_BASE_URL": "http://own/"}, "project mine, group mine-1, at http://own"),
        ("wandb", {"WANDB_MODE": "offline"}, "project mine, group mine-1, offline, in RESULTS/mine-1/wandb until `wandb sync`"),
        ("wandb", {"WANDB_MODE": "disabled"}, "project mine, group mine-1, disabled"),
    ],
)
def test_each_logger_says_where_it_writes(logger, environment, told, folder, tmp_path, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert destination(logger, folder, parse_space(SPACE, "space")) == told.replace("RESULTS", str(tmp_path))


@pytest.mark.parametrize("quiet", [False, True])
def test_it_is_said_once_at_the_start_unless_nothing_is_to_be_said(quiet, folder):
    lines = []
    loggers = Loggers(["tensorboard"], lines.append, quiet=quiet)
    loggers(SweepStarted(folder, parse_space(SPACE, "space"), 1, {}))
    loggers(SweepEnded())
    assert lines == ([] if quiet else [f"logging to tensorboard: {folder}/tensorboard"])
