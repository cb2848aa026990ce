"""The worker's side of checkpoints: what is on the disk when an epoch is reported, and that a pack goes on from there."""

import dataclasses
import threading
from types import SimpleNamespace

import pytest
import ray
from faults.simulation import new_sweep

from sweeper.driver.messages import REPORT_KEY, PackReport, members_to_json
from sweeper.preflight import load_data
from sweeper.records import Phase, TrialConfig
from sweeper.space import parse_space
from sweeper.store import SweepFolder
from sweeper.store.checkpoints import Checkpoints
from sweeper.training.engine import Pack
from sweeper.tune import trainable as trainable_module
from sweeper.tune.trainable import PackTrainable, TrialContext

SPACE = """
name: pack
dataset: {name: synthetic, train_images: 100, test_images: 20, validation: 20}
training: {epochs: 5, batch_size: 50}
parameters:
  loss: {choices: [cross_entropy, l1]}
  learning_rate: 0.1
compare: {arms: loss, searches: 1, trials_per_arm: 2, seeds: 0}
seed: 3
"""


@pytest.fixture(scope="module")
def space():
    return parse_space(SPACE, "space.yaml")


@pytest.fixture(scope="module")
def dataset(space):
    return load_data(space, None)


@pytest.fixture
def folder(tmp_path, space):
    return new_sweep(tmp_path / "sweep", space)


@pytest.fixture
def start(monkeypatch, space, dataset):
    """A function that starts a worker on some members, in this process: Ray is asked for nothing but the name of the node."""
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "node"))

    def start_worker(folder, *members):
        pack_id = f"pack-{members[0].trial_id}"
        context = TrialContext(SweepFolder(str(folder)), space.training_settings(), 1, "cpu")

        class Bound(PackTrainable):  # as Tune does, through Ray's object store
            trial_id = pack_id

            def setup(self, config):
                super().setup(config, context, dataset)

        return Bound({"members": members_to_json(members)})

    return start_worker


@pytest.fixture
def every_epoch(monkeypatch):
    monkeypatch.setattr(trainable_module, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)


def trial(number, loss="cross_entropy"):
    schedule = {"momentum": 0.9, "weight_decay": 0.0, "step_size": 10, "step_gamma": 0.1, "batch_size": 50}
    return TrialConfig("arm", Phase.SEARCH, number, number, {"loss": loss, "learning_rate": 0.05, **schedule})


def step(worker):
    return PackReport.from_json(worker.step()[REPORT_KEY])


def epochs_kept(folder, *configs):
    found = SweepFolder(str(folder)).checkpoints.read(configs)
    return [len(found[config.trial_id].history) if config.trial_id in found else 0 for config in configs]


def figures(epochs):
    """Curves without the times they took."""
    return [[(epoch.epoch, epoch.train_loss, epoch.val_loss, epoch.val_nll, epoch.val_accuracy) for epoch in curve] for curve in epochs]


def test_each_epoch_is_kept_in_one_file_while_the_next_trains_and_the_last_is_not(every_epoch, folder, start):
    members = [trial(1), trial(2, "l1"), trial(3)]
    worker = start(folder, *members)
    for n_epochs in range(1, 6):
        report = step(worker)
        assert report.fatal is None
        assert epochs_kept(folder, *members) == [n_epochs - 1] * 3
    assert set(report.tests) == {"arm-1", "arm-2", "arm-3"}
    assert len(folder.folder.names("checkpoints")) == 1


def test_a_file_is_written_while_the_pack_trains(every_epoch, folder, start, monkeypatch):
    training = threading.Event()
    train, write = Pack.train_epoch, Checkpoints.write_pack
    monkeypatch.setattr(Pack, "train_epoch", lambda pack: training.set() or train(pack))

    def write_beside(checkpoints, pack_id, checkpoint):
        assert training.wait(60), "the pack waits for its checkpoint"
        write(checkpoints, pack_id, checkpoint)

    worker = start(folder, trial(1))
    step(worker)
    training.clear()
    monkeypatch.setattr(Checkpoints, "write_pack", write_beside)
    step(worker)
    assert epochs_kept(folder, trial(1)) == [1]


def test_packs_of_short_epochs_keep_their_first_and_then_one_every_few_seconds(folder, start, monkeypatch):
    worker = start(folder, trial(1))
    monkeypatch.setattr(trainable_module, "SECONDS_BETWEEN_CHECKPOINTS", 3600.0)
    for _ in range(4):
        step(worker)
    assert epochs_kept(folder, trial(1)) == [1]


def test_members_go_on_bit_by_bit_from_the_file_of_a_pack_that_died_in_other_company(every_epoch, folder, start, space, tmp_path):
    members = [trial(1), trial(2, "l1"), trial(3)]
    undisturbed = start(new_sweep(tmp_path / "undisturbed", space), *members)
    reports = [step(undisturbed) for _ in range(5)]
    curves = {name: [report.epochs[name][0] for report in reports] for name in reports[0].epochs}

    dead = start(folder, *members)
    for _ in range(3):
        step(dead)
    first, second = start(folder, trial(4), trial(3)), start(folder, trial(2, "l1"), trial(1))
    for worker, names in ((first, ["arm-3"]), (second, ["arm-2", "arm-1"])):
        resumed = [step(worker) for _ in range(3)]
        assert [len(report.epochs[names[0]]) for report in resumed] == [3, 1, 1]  # two are told again, the third is trained again
        told = {name: [epoch for report in resumed for epoch in report.epochs[name]] for name in names}
        assert figures(told.values()) == figures(curves[name] for name in names)
        assert [resumed[-1].tests[name] for name in names] == [reports[-1].tests[name] for name in names]


def test_a_checkpoint_of_another_model_is_refused_and_the_trial_starts_again(every_epoch, folder, start):
    worker = start(folder, trial(1))
    for _ in range(3):
        step(worker)
    (checkpoint,) = folder.checkpoints.read([trial(1)]).values()
    foreign = {name.replace("conv1", "stem"): array for name, array in checkpoint.arrays.items()}
    assert foreign.keys() != checkpoint.arrays.keys()
    folder.checkpoints.delete_all()
    folder.checkpoints.write(dataclasses.replace(checkpoint, arrays=foreign))
    assert epochs_kept(folder, trial(1)) == [2]
    again = step(start(folder, trial(1)))
    assert [epoch.epoch for epoch in again.epochs["arm-1"]] == [1]


def test_what_the_thread_cannot_write_is_in_the_report_of_the_epoch_beside_it(every_epoch, folder, start):
    worker = start(folder, trial(1))
    assert step(worker).fatal is None
    checkpoints = folder.local_folder / "checkpoints"
    checkpoints.rmdir()
    checkpoints.write_bytes(b"")
    assert f"{checkpoints}/" in step(worker).fatal


def test_no_thread_outlives_an_epoch(every_epoch, folder, start):
    worker = start(folder, trial(1))
    before = threading.active_count()
    for _ in range(3):
        step(worker)
    assert threading.active_count() == before


def test_a_member_that_fails_goes_on_elsewhere_from_what_its_pack_had_kept(every_epoch, folder, start, monkeypatch, tmp_path):
    (tmp_path / "failing_loss.py").write_text(
        "import torch\n"
        "n_calls = 0\n"
        "def third_epoch(logits, labels):\n"
        "    global n_calls\n"
        "    n_calls += logits.requires_grad\n"
        "    if n_calls > 4:\n"
        "        raise ValueError('as told')\n"
        "    return torch.nn.functional.cross_entropy(logits, labels)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    failing, other = trial(1, "failing_loss:third_epoch"), trial(2)
    worker = start(folder, failing, other)
    reports = [step(worker) for _ in range(3)]
    assert [list(report.failures) for report in reports] == [[], [], ["arm-1"]]
    worker.change_members(["arm-1"], "[]")
    step(worker)
    assert epochs_kept(folder, failing, other) == [2, 3]
    assert len(folder.folder.names("checkpoints")) == 2
