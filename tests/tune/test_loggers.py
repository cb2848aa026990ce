"""Where loggers say that they write, and what they write."""

import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from sweeper.driver.events import EpochTrained, SweepEnded, SweepStarted, TrialEnded
from sweeper.records import EpochMetrics, Phase, TestMetrics, TrialConfig, TrialOutcome, TrialState
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


def tags(folder):
    """The names of all figures in TensorBoard's files below a folder: records of a length, a checksum, an event and a checksum."""
    names = set()
    for path in folder.rglob("events.out.*"):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            names |= {value.tag for value in Event.FromString(content[12 : 12 + length]).summary.value}
            content = content[16 + length :]
    return names


def test_metrics_that_a_space_declares_are_logged_under_their_own_names_as_the_others_are(folder, tmp_path):
    config = TrialConfig("focal", Phase.SEARCH, 0, 1, {"gamma": 2.0})
    epoch = EpochMetrics(1, *[0.5] * 9, own={"val_f1": 0.25})
    test = TestMetrics(test_accuracy=0.5, own={"test_f1": 0.25})
    loggers = Loggers(["tensorboard"], lambda _: None)
    loggers(SweepStarted(folder, parse_space(SPACE, "space"), 1, {}))
    loggers(EpochTrained(config, epoch))
    loggers(TrialEnded(TrialOutcome(config, TrialState.COMPLETE, 0.5, (epoch,), test)))
    loggers(SweepEnded())
    found = {tag.removeprefix("ray/tune/") for tag in tags(tmp_path)}
    assert {"val_f1", "val_accuracy", "test_f1", "test_accuracy"} <= found
    assert not [tag for tag in found if "own" in tag]
