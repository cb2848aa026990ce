"""Optimisers, schedules, warm-up and clipping, against PyTorch's own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from emulation import EmulatedKernels
from plain_pytorch import PlainTrial, plain_optimizer, plain_schedule
from toy_trials import config, settings

from sweeper.errors import TrainingError
from sweeper.training.engine import Pack
from sweeper.training.optimizer import learning_rate

ADAMW = {"optimizer": "adamw", "learning_rate": 2e-3, "weight_decay": 0.1}
RECIPES = {
    "adamw": ADAMW,
    "adamw_betas": {**ADAMW, "beta1": 0.8, "beta2": 0.95},
    "adamw_clipped": {**ADAMW, "gradient_clip": 0.5, "schedule": "cosine"},
    "nesterov": {"nesterov": True, "momentum": 0.9, "weight_decay": 1e-3},
    "cosine": {"schedule": "cosine"},
    "linear": {"schedule": "linear", "warmup_epochs": 1},
    "warmup_cosine": {"schedule": "cosine", "warmup_epochs": 2},
    "warmup_step": {"warmup_epochs": 1, "step_gamma": 0.3},
    "constant": {"schedule": "constant", "learning_rate": 0.005},
    "clipped": {"gradient_clip": 0.3},
    "everything": {**ADAMW, "schedule": "linear", "warmup_epochs": 2, "gradient_clip": 0.2, "beta2": 0.99},
}
N_EPOCHS = 10  # of 5 steps


def recipe(number, name):
    return config(number, **{"loss": "cross_entropy", "batch_size": 40, "learning_rate": 0.01, **RECIPES[name]})


@pytest.fixture(params=["lanes", "operators", EmulatedKernels], ids=["lanes", "operators", "fused"])
def backend(request):
    return request.param


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("n_epochs", [3, 30])
def test_the_learning_rate_of_each_epoch_is_that_of_pytorchs_schedulers(name, n_epochs):
    parameters = recipe(0, name).parameters
    optimizer = plain_optimizer([torch.zeros(2, 2, requires_grad=True)], parameters)
    schedule = plain_schedule(optimizer, parameters, n_epochs)
    for epoch in range(1, n_epochs + 1):
        assert learning_rate(parameters, epoch, n_epochs) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-15)
        optimizer.step()
        schedule.step()


def largest_differences(dataset, backend, names):
    """The largest difference of a weight from PyTorch's own training, after 50 steps, by recipe."""
    way = replace(settings(), epochs=N_EPOCHS)
    configs = [recipe(number, name) for number, name in enumerate(names)]
    pack = Pack(dataset, way, configs, backend=backend)
    plain = [PlainTrial(dataset, way, each) for each in configs]
    for _ in range(N_EPOCHS):
        result = pack.train_epoch()
        for each, alone in zip(configs, plain, strict=True):
            assert result[each.trial_id].learning_rate == pytest.approx(alone.train_epoch()[3], rel=1e-9)
    found = {}
    for each, alone, name in zip(configs, plain, names, strict=True):
        state = pack.state(each.trial_id)
        found[name] = max(np.abs(state[f"weights/{key}"] - expected).max() for key, expected in alone.weights().items())
    return found


def test_members_with_any_recipe_end_fifty_steps_where_pytorchs_own_optimisers_do(dataset, backend):
    found = largest_differences(dataset, backend, RECIPES)
    assert max(found.values()) < 1e-5, found


def test_no_member_changes_by_a_bit_for_what_others_in_its_pack_train_with(dataset):
    names = [*RECIPES, "cosine", "adamw"]
    configs = [recipe(number, name) for number, name in enumerate(names)]
    together = Pack(dataset, settings(), configs)
    for _ in range(2):
        together.train_epoch()
    for each in configs:
        alone = Pack(dataset, settings(), [each])
        for _ in range(2):
            alone.train_epoch()
        expected, found = alone.state(each.trial_id), together.state(each.trial_id)
        assert expected.keys() == found.keys()
        assert all(np.array_equal(found[name], expected[name]) for name in expected), each.parameters


@pytest.mark.parametrize("best", [False, True])
def test_a_member_that_is_restored_goes_on_to_the_same_bits_whatever_it_trains_with(dataset, best):
    way = replace(settings(), epochs=4, best_by="val_accuracy" if best else None)
    configs = [recipe(number, name) for number, name in enumerate(RECIPES)]
    whole, first = Pack(dataset, way, configs), Pack(dataset, way, configs)
    for _ in range(4):
        whole.train_epoch()
    for _ in range(2):
        first.train_epoch()
    second = Pack(dataset, way, configs)
    for each in configs:
        second.restore(each.trial_id, first.state(each.trial_id))
    for _ in range(2):
        second.train_epoch()
    for each in configs:
        expected, found = whole.state(each.trial_id), second.state(each.trial_id)
        assert all(np.array_equal(found[name], expected[name]) for name in expected), each.parameters


def test_the_state_of_sgd_is_none_of_adamw(dataset):
    sgd, adamw = recipe(0, "constant"), recipe(0, "adamw")
    with pytest.raises(TrainingError, match=r"second_moment/conv1\.weight"):
        Pack(dataset, settings(), [adamw]).restore(adamw.trial_id, Pack(dataset, settings(), [sgd]).state(sgd.trial_id))


def test_the_best_epoch_is_tested_where_it_is_selected_and_the_last_elsewhere(dataset):
    each = config(0, learning_rate=0.03, batch_size=40, schedule="constant")
    packs = {by: Pack(dataset, replace(settings(), epochs=6, best_by=by), [each]) for by in (None, "val_accuracy", "val_nll")}
    logits, curve = [], []
    for _ in range(6):
        (figures,) = {by: pack.train_epoch() for by, pack in packs.items()}[None].values()
        curve.append(figures)
        logits.append(packs[None].predict(each.trial_id, "test").logits)
    best = {"val_accuracy": np.argmax([each.val_accuracy for each in curve]), "val_nll": np.argmin([each.val_nll for each in curve])}
    assert set(best.values()) != {5}, "the last epoch is the best by both: nothing is tested here"
    for by, epoch in {None: 5, **best}.items():
        np.testing.assert_array_equal(packs[by].predict(each.trial_id, "test").logits, logits[epoch])
