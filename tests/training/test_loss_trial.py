import random

import numpy as np
import pytest
import torch

from sweeper.training.loss_trial import loss_problem

MINE = "losses_of_a_user"


def problem(name, *, n_classes=10, batch_size=50, **parameters):
    path = f"{MINE}:{name}"
    found = loss_problem(path, {"loss": path, "batch_size": batch_size, "learning_rate": 0.1, **parameters}, n_classes, "cpu")
    return found and found.removeprefix(f"loss '{path}' ")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Focal", {"gamma": 2.0}),
        ("smoothed", {"smoothing": 0.2}),
        ("with_any", {"gamma": 1.0}),
        ("noisy", {}),
        ("RandomWeights", {}),
        ("Frozen", {}),
        ("gradient_penalty", {}),
        ("Caching", {}),
        ("in_double", {}),
        ("prints", {}),
        ("partly", {}),
        ("bound", {}),
        ("anonymous", {}),
    ],
)
def test_a_sound_loss_passes(name, parameters):
    assert problem(name, **parameters) is None


KEEPS = "when it is called; a loss keeps nothing from one batch to the next"
TRAINED = "and only the network is trained: hold them as buffers, or let the space set them"
ANEW = "gives the same batch another loss when it is called again"
UNFOLLOWED = "does not depend on the logits in a way that autograd can follow"
RETURN = "it must return a tensor, either a scalar or one loss per image"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a_number", f"returned a float; {RETURN}"),
        ("per_class", f"returned shape [10] for 6 images; {RETURN}"),
        ("column", f"returned shape [6, 1] for 6 images; {RETURN}"),
        ("whole_numbers", "returned torch.int64; it must return floating-point numbers"),
        ("detached", UNFOLLOWED),
        ("elsewhere", UNFOLLOWED),
        ("nan_at_the_start", "is nan on small logits, where training begins"),
        ("infinite_slope", "has a gradient that is not finite on small logits, where training begins"),
        ("in_place", "fails: RuntimeError: a leaf Variable that requires grad is being used in an in-place operation."),
        (
            "scribbles",
            "fails: RuntimeError: one of the variables needed for gradient computation has been modified",
        ),
        ("needs_one_hot", "fails: RuntimeError: The size of tensor a (6) must match the size of tensor b (10)"),
        ("other_way_round", "fails: "),
        ("leaves", "fails: SystemExit: 3"),
        ("FailsInEvaluation", "fails: RuntimeError: no gradient, no loss"),
        ("Unbuildable", "fails: ValueError: q must be < 1, got 1.0"),
        ("Scaled", f"has parameters to train (scale), {TRAINED}"),
        ("ScaledByTensor", f"depends on a tensor of shape [] that requires a gradient, {TRAINED}"),
        ("scaled_by_module", f"depends on a tensor of shape [] that requires a gradient, {TRAINED}"),
        ("Averaging", f"changes its tensor 'mean' {KEEPS}"),
        ("CountingInAList", f"changes its attribute 'seen.4' {KEEPS}"),
        ("CountingInItsClass", f"changes its attribute 'n_calls' {KEEPS}"),
        ("counting_in_its_module", f"changes its attribute 'N_CALLS' {KEEPS}"),
        ("counting_on_itself", f"changes its attribute 'n_calls' {KEEPS}"),
        ("OwnGenerator", f"changes its generator 'generator' {KEEPS}"),
        ("RememberingTheFirst", ANEW),
        ("hidden_generator", ANEW),
        ("Focal", "needs gamma; add it to the parameters of the space"),
    ],
)
def test_a_loss_that_breaks_a_rule_is_refused_with_the_rule(name, said):
    assert problem(name, **({"q": 1.0} if name == "Unbuildable" else {})).startswith(said)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_loss_for_gpus_alone_is_refused_where_there_is_none():
    assert problem("on_the_gpu").startswith("fails: ")


@pytest.mark.parametrize(("n_classes", "n_images"), [(2, 6), (6, 7), (100, 6)])
def test_a_loss_is_tried_on_the_classes_of_the_data_set_and_never_on_as_many_images(n_classes, n_images):
    assert problem("per_class", n_classes=n_classes).startswith(f"returned shape [{n_classes}] for {n_images} images")


def test_a_loss_never_sees_more_images_than_its_batch_size():
    assert problem("NeverMoreThan", most=3, batch_size=3) is None


def test_trying_a_loss_prints_nothing_on_stdout_and_leaves_the_generators_alone(capsys):
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert problem("prints") is None
    assert problem("noisy") is None
    assert problem("RandomWeights") is None
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]
    told = capsys.readouterr()
    assert told.out == ""
    assert "a loss" in told.err
