"""Members of several models on one device."""

from dataclasses import replace

import numpy as np
import pytest
from test_engine import assert_equal_states
from toy_trials import config, settings

from sweeper.errors import TrainingError
from sweeper.records import Architecture
from sweeper.training.custom_loss import MemberFailure
from sweeper.training.engine import Pack
from sweeper.training.packs import Packs

MINE = "models_of_a_user"
MODELS = settings(model_parameters=("model", "channels"))
MEMBERS = [
    config(0),
    config(1, model=f"{MINE}:Normalised", channels=4),
    config(2, model=f"{MINE}:Normalised", channels=6),
    config(3, model=f"{MINE}:Dropped"),
]


def test_members_of_several_models_learn_what_each_learns_alone(dataset):
    packs = Packs(dataset, MODELS, MEMBERS, "cpu")
    curves = packs.train_epoch()
    for member in MEMBERS:
        architecture = MODELS.architecture(member.parameters)
        alone = Pack(dataset, MODELS, [member], architecture=architecture)
        expected = alone.train_epoch()[member.trial_id]
        assert replace(curves[member.trial_id], epoch_seconds=0.0) == replace(expected, epoch_seconds=0.0)
        assert_equal_states(packs.state(member.trial_id), alone.state(member.trial_id))
        np.testing.assert_array_equal(packs.predict(member.trial_id, "test").logits, alone.predict(member.trial_id, "test").logits)
    parts = packs.parts([member.trial_id for member in MEMBERS])
    assert [ids for _, ids in parts] == [[member.trial_id] for member in MEMBERS]


def test_images_lie_in_memory_once_and_models_that_nobody_trains_are_dropped(dataset):
    packs = Packs(dataset, MODELS, MEMBERS, "cpu")
    first, *others = [pack for pack, _ in packs.parts([member.trial_id for member in MEMBERS])]
    assert all(other.data.images("train") is first.data.images("train") for other in others)
    packs.remove(["arm-0", "arm-1", "arm-2"])
    packs.add([config(4, model=f"{MINE}:Dropped")])
    ((pack, ids),) = packs.parts(["arm-3", "arm-4"])
    assert ids == ["arm-3", "arm-4"]
    assert pack.data.images("train") is first.data.images("train")


def test_a_model_that_cannot_be_built_is_a_failure_of_its_members_alone(dataset):
    packs = Packs(dataset, MODELS, [config(0), config(1, model=f"{MINE}:Unbuildable")], "cpu")
    with pytest.raises(TrainingError, match="arm-1 is not in the pack"):
        packs.restore("arm-1", {})
    results = packs.train_epoch()
    assert isinstance(results["arm-1"], MemberFailure)
    assert results["arm-1"].error == f"model '{MINE}:Unbuildable': cannot be built: ValueError: no such depth"
    assert packs.train_epoch().keys() == {"arm-0"}


def test_the_one_model_of_a_sweep_is_refused_at_once(dataset):
    with pytest.raises(TrainingError, match="cannot be built"):
        Packs(dataset, settings(model=f"{MINE}:Unbuildable"), [], "cpu")


def test_what_belongs_to_the_model_is_not_given_to_the_loss(dataset):
    trial = config(0, loss="losses_of_a_user:anything", model=f"{MINE}:Normalised", channels=4)
    assert MODELS.of_loss(trial.parameters).keys().isdisjoint({"model", "channels"})
    assert MODELS.architecture(trial.parameters) == Architecture(f"{MINE}:Normalised", (("channels", 4),))
