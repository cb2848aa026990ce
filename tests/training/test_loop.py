"""A training loop of the user's own: what it is given, what it may yield and return, and that it goes on bit by bit from its state."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sweeper.custom_code import import_custom
from sweeper.data import load_dataset, split
from sweeper.records import EpochMetrics, Phase, TrainingSettings, TrialConfig
from sweeper.training.custom_loss import MemberFailure
from sweeper.training.loop import Loops
from sweeper.tune.trainable import test_figures as figures_of

SETTINGS = TrainingSettings(
    model="convnet",
    epochs=3,
    reduction="batch",
    augment=True,
    validation=60,
    evaluate_on="validation",
    loop="loops_of_a_user:small",
    metric="val_accuracy",
    own_metrics=("f1",),
)


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("synthetic", None, train_images=200, test_images=50)


def config(number=0, **parameters):
    return TrialConfig("all", Phase.SEARCH, number, 7 + number, parameters)


def comparable(epoch):
    assert isinstance(epoch, EpochMetrics), epoch
    return replace(epoch, epoch_seconds=0.0)


def train(loops, n_epochs):
    """The epochs of each member, one after the other."""
    return [{name: comparable(epoch) for name, epoch in loops.train_epoch().items()} for _ in range(n_epochs)]


def failure(dataset, how, epochs=2, **changes):
    settings = replace(SETTINGS, loop="loops_of_a_user:wrong", epochs=epochs, metric="val_f1", **changes)
    loops = Loops(dataset, settings, [config(how=how)])
    for _ in range(epochs):
        (result,) = loops.train_epoch().values()
        if isinstance(result, MemberFailure):
            assert loops.train_epoch() == {}, "a member that failed has left"
            return result
    raise AssertionError("nothing failed")


@pytest.mark.parametrize("behind", [1, 2, 3])
def test_a_loop_goes_on_from_its_state_bit_by_bit_with_dropout_shuffling_and_schedule(dataset, behind):
    member = config()
    whole = Loops(dataset, SETTINGS, [member])
    curve = train(whole, 3)
    first = Loops(dataset, SETTINGS, [member])
    assert train(first, behind) == curve[:behind]
    torch.rand(5)  # whatever else is drawn in between
    second = Loops(dataset, SETTINGS, [member])
    second.restore(member.trial_id, first.state(member.trial_id))
    assert train(second, 3 - behind) == curve[behind:]
    for one, other in zip(whole.logits(member.trial_id), second.logits(member.trial_id), strict=True):
        assert np.array_equal(one.logits, other.logits)
    assert all(torch.equal(each, second.state_dict(member.trial_id)[name]) for name, each in whole.state_dict(member.trial_id).items())


def test_members_learn_in_company_what_they_learn_alone(dataset):
    members = [config(0), config(1, rate=0.1), config(2, optimizer="SGD")]
    together = train(Loops(dataset, SETTINGS, members), 3)
    for member in members:
        alone = train(Loops(dataset, SETTINGS, [member]), 3)
        assert [epoch[member.trial_id] for epoch in together] == [epoch[member.trial_id] for epoch in alone]


def test_a_loop_leaves_the_generators_of_others_as_they_were(dataset):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    Loops(dataset, SETTINGS, [config()]).train_epoch()
    assert torch.equal(torch.rand(3), expected)
    assert torch.is_grad_enabled()


def test_a_trial_is_given_its_splits_by_seed_and_a_folder_that_is_gone_behind_it(dataset):
    loops = Loops(dataset, SETTINGS, [config()])
    loops.train_epoch()
    data, folder = loops._data_of(7)[1], loops._members["all-0"].folder.name
    train_index, validation_index = split(dataset.train_labels, 60, 7)
    assert torch.equal(data.validation.labels, torch.tensor(dataset.train_labels[validation_index]))
    assert torch.equal(data.train.images[3], torch.tensor(dataset.train_images[train_index[3]]).permute(2, 0, 1))
    assert (len(data.train), len(data.validation), len(data.test)) == (140, 60, 50)
    assert (data.train.images.dtype, data.train.labels.dtype) == (torch.uint8, torch.int64)
    assert (data.classes, data.mean, data.std) == (dataset.classes, dataset.mean, dataset.std)
    pixel = (dataset.train_images[train_index[3], 5, 6, 1] / 255 - dataset.mean[1]) / dataset.std[1]
    assert data.train.normalised()[3, 1, 5, 6].item() == pytest.approx(pixel, abs=1e-6)
    batches = list(data.train.batches(50, shuffle=True))
    assert [len(labels) for _, labels in batches] == [50, 50, 40]
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == sorted(data.train.labels.tolist())
    assert torch.equal(next(data.train.batches(50))[1], data.train.labels[:50])
    with open(f"{folder}/epoch.txt") as file:  # noqa: PTH123
        assert file.read() == "1"
    loops.remove(["all-0"])
    with pytest.raises(FileNotFoundError):
        open(f"{folder}/epoch.txt")  # noqa: PTH123, SIM115


def test_the_validation_split_is_that_of_the_test_where_nothing_is_held_out(dataset):
    settings = replace(SETTINGS, validation=None, evaluate_on="test")
    loops = Loops(dataset, settings, [config()])
    train(loops, 3)
    data = loops._data_of(7)[1]
    assert (len(data.train), data.validation) == (200, data.test)
    assert [each.split for each in loops.logits("all-0")] == ["test"]


def test_figures_follow_from_logits_and_are_null_where_a_loop_gives_none(dataset):
    loops = Loops(dataset, SETTINGS, [config()])
    train(loops, 3)
    figures, predictions = figures_of(loops, "all-0", with_validation=True)
    assert [each.split for each in predictions] == ["validation", "test"]
    hits = (predictions[1].logits.argmax(1) == dataset.test_labels).mean()
    assert figures.test_accuracy == pytest.approx(hits)
    assert (figures.own, figures.test_loss) == ({"test_f1": 0.5}, None)
    assert figures.temperature is not None
    settings = replace(SETTINGS, loop="loops_of_a_user:of_numbers")
    plain = Loops(dataset, settings, [config()])
    (first, *_) = train(plain, 3)
    given = {name: value for name, value in first["all-0"].figures.items() if value is not None}
    assert given == {"epoch": 1, "val_accuracy": 0.01, "val_nll": 1.0, "epoch_seconds": 0.0}
    assert first["all-0"].own == {"val_f1": None}
    figures, predictions = figures_of(plain, "all-0", with_validation=True)
    assert (figures.test_accuracy, figures.test_loss, figures.test_nll, figures.own, predictions) == (0.5, 2.0, None, {"test_f1": None}, [])
    assert plain.state("all-0") is None
    assert plain.state_dict("all-0") == {}


LOOP = "training loop 'loops_of_a_user:wrong'"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raises", "ValueError: the user's mistake"),
        ("too few", f"{LOOP} returned after epoch 1 of 2: it must yield its metrics after every epoch"),
        ("too many", f"{LOOP} yielded once more after the last of 2 epochs: it must return then"),
        (
            "missing",
            f"{LOOP} yielded no 'val_f1' after epoch 2, which the search goes by (search.metric); it yielded 'val_accuracy'",
        ),
        (
            "undeclared",
            (
                f"{LOOP} yielded 'f11' after epoch 2, which is no metric of this sweep; did you mean 'f1'?; one of your own is declared "
                "under training.metrics"
            ),
        ),
        ("no number", f"{LOOP} yielded 'high' as 'f1' after epoch 2: it must be a number"),
        ("no mapping", f"{LOOP} yielded 0.5: it must yield a mapping of metrics, or (metrics, state)"),
        ("no test", f"{LOOP} returned no test metrics: it must return a mapping of them, got nothing"),
        (
            "logits",
            f"{LOOP} returned logits of shape [3, 2]: it must be numbers for 50 images x 10 classes, in the order of the split",
        ),
    ],
)
def test_what_a_loop_does_wrong_is_told_with_the_epoch_and_the_rule(dataset, how, said):
    found = failure(dataset, how)
    assert found.error == said
    assert ("loops_of_a_user.py" in found.traceback) == (how == "raises")


def test_a_state_that_cannot_be_kept_is_told(dataset):
    found = failure(dataset, "state")
    assert found.error.startswith(f"{LOOP} yielded a state that cannot be kept: it may hold tensors, numbers, text, lists, ")


def test_a_figure_that_is_not_finite_is_no_failure_of_the_loop(dataset):
    settings = replace(SETTINGS, loop="loops_of_a_user:wrong", epochs=2, metric="val_f1")
    loops = Loops(dataset, settings, [config(how="nan")])
    assert math.isnan(train(loops, 2)[1]["all-0"]["val_f1"])


def test_a_failed_member_takes_no_other_with_it(dataset):
    settings = replace(SETTINGS, loop="loops_of_a_user:wrong", epochs=2)
    loops = Loops(dataset, settings, [config(0, how="raises"), config(1, how="nothing")])
    loops.train_epoch()
    found = loops.train_epoch()
    assert isinstance(found["all-0"], MemberFailure)
    assert comparable(found["all-1"]).epoch == 2


def test_a_loop_that_is_removed_is_closed(dataset):
    closed = []

    def loop(trial):
        try:
            for _ in trial.remaining():
                yield {"accuracy": 0.5}
        finally:
            closed.append(trial.seed)

    loops = Loops(dataset, SETTINGS, [config()])
    loops._loop = loop
    loops.train_epoch()
    assert closed == []
    loops.remove(["all-0"])
    assert closed == [7]


def test_the_loops_of_these_tests_can_be_imported():
    assert callable(import_custom("loops_of_a_user:small"))
