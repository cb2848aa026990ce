"""The worker's side of checkpoints: what is on the disk when an epoch is reported, and that a pack goes on from there."""

import dataclasses
import json
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import ray
import safetensors
import torch
from faults.simulation import new_sweep

from sweeper.driver.messages import REPORT_KEY, PackReport, members_to_json
from sweeper.errors import StoreError
from sweeper.preflight import load_data
from sweeper.records import Phase, TrialConfig
from sweeper.space import parse_space
from sweeper.store import SweepFolder
from sweeper.store import folder as folder_module
from sweeper.store.checkpoints import Checkpoints
from sweeper.training.build_model import build_module
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

    def start_worker(folder, *members, keep="nothing"):
        pack_id = f"pack-{members[0].trial_id}"
        context = TrialContext(SweepFolder(str(folder)), dataclasses.replace(space.training_settings(), keep=keep), 1, "cpu")

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


def confirmed(number, loss="cross_entropy"):
    return dataclasses.replace(trial(number, loss), phase=Phase.CONFIRM)


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


def trained(worker, n_epochs=5):
    for _ in range(n_epochs):
        report = step(worker)
    return report


def test_a_confirm_trial_has_its_weights_in_its_folder_when_its_end_is_reported_and_a_search_trial_never(folder, start, dataset):
    report = trained(start(folder, trial(1), confirmed(2), confirmed(3, "l1"), keep="weights"))
    assert set(report.tests) == {"arm-1", "arm-confirm-2", "arm-confirm-3"}
    assert folder.folder.names("weights") == ["arm-confirm-2.safetensors", "arm-confirm-3.safetensors"]
    with safetensors.safe_open(f"{folder}/weights/arm-confirm-2.safetensors", "pt") as file:  # as anybody reads it
        about, names = file.metadata(), set(file.keys())
    assert names == {f"{layer}.{kind}" for layer in ("conv1", "conv2", "fc1", "fc2") for kind in ("weight", "bias")}
    assert (about["sweep"], about["trial"], about["model"]) == ("sweep", "arm-confirm-2", "convnet")
    assert {name: json.loads(about[name]) for name in ("image_size", "classes", "mean", "std")} == {
        "image_size": [32, 32], "classes": list(dataset.classes), "mean": list(dataset.mean), "std": list(dataset.std),
    }  # fmt: skip


def test_without_the_setting_no_weights_and_no_folder_for_them_are_there(folder, start):
    trained(start(folder, confirmed(1)))
    assert not folder.folder.exists("weights")
    assert not folder.has_weights("arm-confirm-1")


def test_the_kept_weights_are_the_networks_whose_logits_are_stored(folder, start, dataset):
    trained(start(folder, confirmed(2), confirmed(3, "l1"), keep="weights"))
    kept = folder.read_weights("arm-confirm-3")
    module = build_module(kept.network).eval()
    module.load_state_dict({name: torch.from_numpy(array) for name, array in kept.tensors.items()})
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (kept.network.mean, kept.network.std))
    with torch.no_grad():
        logits = module((torch.tensor(dataset.test_images).permute(0, 3, 1, 2) / 255 - mean) / std)
    stored = folder.read_predictions().frame.query("trial == 'arm-confirm-3' and split == 'test'").filter(like="logit_")
    assert np.abs(stored.to_numpy(np.float32) - logits.numpy()).max() < 1e-3 * np.abs(logits.numpy()).max()  # float16 holds 3 digits


def test_a_worker_that_dies_while_it_writes_weights_has_reported_no_end_and_leaves_no_half_of_a_file(
    folder, start, space, tmp_path, monkeypatch
):
    class DiedError(Exception):
        pass

    def half_a_file(path, content):
        path.parent.mkdir(exist_ok=True)
        path.with_name(f".{path.name}.1.{'0' * 8}.tmp").write_bytes(content[: len(content) // 2])
        raise DiedError

    worker = start(folder, confirmed(1), keep="weights")
    trained(worker, 4)
    write = folder_module._write_atomically
    with monkeypatch.context() as patch:
        patch.setattr(
            folder_module, "_write_atomically", lambda path, content: (half_a_file if "weights" in str(path) else write)(path, content)
        )
        with pytest.raises(DiedError):
            step(worker)
    assert not folder.has_weights("arm-confirm-1")
    folder.tidy()  # as a resume does
    assert folder.folder.names("weights") == []
    other = new_sweep(tmp_path / "other", space)
    for each in (folder, other):
        worker = start(each, confirmed(1), keep="weights")
        while "arm-confirm-1" not in step(worker).tests:
            pass
    resumed, undisturbed = (each.read_weights("arm-confirm-1").tensors for each in (folder, other))
    assert all(np.array_equal(resumed[name], array) for name, array in undisturbed.items())


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-4], lambda content: content[:100], lambda content: b"PK" + content, lambda content: b""]
)
def test_weights_that_are_not_whole_are_refused_and_not_loaded(folder, start, damage):
    trained(start(folder, confirmed(1), keep="weights"))
    path = Path(f"{folder}/weights/arm-confirm-1.safetensors")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StoreError, match=r"weights/arm-confirm-1.safetensors: damaged, or not written by sweeper: "):
        folder.read_weights("arm-confirm-1")


def test_storage_that_refuses_the_weights_ends_the_sweep_and_not_the_trial(folder, start):
    worker = start(folder, confirmed(1), keep="weights")
    trained(worker, 4)
    Path(f"{folder}/weights").write_text("a file where the folder would be")
    report = step(worker)
    assert not report.tests
    assert "weights/arm-confirm-1.safetensors: " in report.fatal
