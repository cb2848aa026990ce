"""The CUDA path of PyTorch's operators without a GPU: devices, shapes, waits and memory of every operator, but no values."""

import pytest
import torch
from fake_cuda import Watch, fake_cuda
from torch._subclasses.fake_tensor import DataDependentOutputException
from toy_trials import LOSSES, config, random_dataset, settings, varied_configs

from sweeper.catalogue import TRAINING_PARAMETERS
from sweeper.training import device_data, evaluate
from sweeper.training.augment import draw_epoch
from sweeper.training.engine import Pack
from sweeper.training.evaluate import EVALUATION_BYTES


@pytest.fixture(scope="module")
def dataset():
    """Three batches an epoch: each operator takes a millisecond here."""
    return random_dataset(160, 20)


def train_epoch(pack):
    """What an epoch asked of the device. The last thing that it does is to wait for the figures, which this device has not."""
    with Watch() as watch, pytest.raises(DataDependentOutputException):
        pack.train_epoch()
    return watch


@pytest.mark.parametrize(("seeds", "batch_sizes"), [((1,), (64,)), ((1, 2, 3), (64, 50))])
def test_an_epoch_of_all_losses_mixes_no_devices_and_waits_once(dataset, monkeypatch, seeds, batch_sizes):
    with fake_cuda(monkeypatch):
        pack = Pack(dataset, settings(), varied_configs(len(LOSSES), seeds=seeds, batch_sizes=batch_sizes), "cuda")
        for epoch in (1, 2):
            watch = train_epoch(pack)
            assert watch.waits == ["aten::_local_scalar_dense"]
            for member in pack._members.values():
                assert (member.epochs, member.failure) == (epoch, None)
                assert {member.weights.device.type, member.velocity.device.type} == {"cuda"}


@pytest.mark.parametrize("way", [{"augment": False, "reduction": "elements"}, {"validation": None, "evaluate_on": "test"}])
def test_every_way_of_training_stays_on_the_device(dataset, monkeypatch, way):
    with fake_cuda(monkeypatch):
        assert len(train_epoch(Pack(dataset, settings(**way), varied_configs(2, seeds=(1, 2)), "cuda")).waits) == 1


def test_recipes_of_their_own_stay_on_the_device(dataset, monkeypatch):
    recipes = [{"augment": "randaugment"}, {"augment": "cutout", "label_smoothing": 0.1}, {"augment": "flip"}]
    configs = [config(number, seed=1 + number % 2, **recipe) for number, recipe in enumerate(recipes)]
    policies = TRAINING_PARAMETERS["augment"].options
    streams = [(seed, epoch, 110, policy, (32, 32)) for seed in (1, 2) for epoch in (1, 2) for policy in policies]
    drawn = {stream: draw_epoch(*stream) for stream in streams}  # made on a CPU that computes values
    monkeypatch.setattr(device_data, "draw_epoch", lambda *stream: drawn.get(stream) or draw_epoch(*stream))
    with fake_cuda(monkeypatch):
        assert len(train_epoch(Pack(dataset, settings(), configs, "cuda", "operators")).waits) == 1


def test_a_member_that_joins_does_not_wait_for_the_device_either(dataset, monkeypatch):
    with fake_cuda(monkeypatch):
        pack = Pack(dataset, settings(), varied_configs(2), "cuda")
        train_epoch(pack)
        pack.remove(["arm-1"])
        pack.add([config(9, seed=5)])
        assert len(train_epoch(pack).waits) == 1


def evaluated(monkeypatch, n_members, n_streams, n_classes=10):
    """Most bytes that an evaluation holds on the device at once, and its number of operators."""
    data = random_dataset(260, 20, n_classes=n_classes)
    with fake_cuda(monkeypatch):
        pack = Pack(data, settings(validation=200), varied_configs(n_members, seeds=range(n_streams)), "cuda")
        members = list(pack._members.values())
        before = [pack.data.index(member.config.seed, "validation") for member in members]
        with Watch() as watch:
            pack._evaluate(members)
    assert len(before) == n_members
    return watch


@pytest.mark.parametrize(("n_members", "n_streams", "n_classes"), [(16, 1, 10), (16, 16, 10), (12, 3, 20)])
def test_evaluation_holds_no_more_than_it_may_however_many_members_and_streams(monkeypatch, n_members, n_streams, n_classes):
    most = 2**21
    for module in ("evaluate", "device_data"):
        monkeypatch.setattr(f"sweeper.training.{module}.EVALUATION_BYTES", most)
    watch = evaluated(monkeypatch, n_members, n_streams, n_classes)
    # beside the weights and figures, of which a member has some; an image and a member are the least that can be done at once
    a_member = 200 * (evaluate.BYTES_AN_IMAGE + evaluate.BYTES_A_LOGIT * n_classes)
    weights = n_members * 4 * (10_000 + 33 * n_classes)
    assert watch.peak < max(most, a_member) + weights + 2**19


def test_an_evaluation_whose_memory_suffices_takes_all_members_at_once(monkeypatch):
    few, many = (evaluated(monkeypatch, n_members, 1).n_operators for n_members in (9, 36))
    assert many < 1.3 * few
    assert EVALUATION_BYTES == 2**30  # of which the larger pack needs a tenth


def test_what_a_logit_holds_while_it_is_scored_is_what_is_said(monkeypatch):
    with fake_cuda(monkeypatch):
        for n_classes in (2, 10, 100):
            logits = torch.empty(4, 5000, n_classes, device="cuda")
            labels = torch.zeros(4, 5000, dtype=torch.int64, device="cuda")
            with Watch() as watch:
                evaluate.score(logits, labels)
            assert watch.peak + logits.nbytes <= logits[..., 0].numel() * (evaluate.BYTES_AN_IMAGE + evaluate.BYTES_A_LOGIT * n_classes)
