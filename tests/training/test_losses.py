import math

import pytest
import torch
import torch.nn.functional as F
from plain_pytorch import plain_loss

from sweeper.catalogue import LOSSES
from sweeper.training.losses import LOSS_FUNCTIONS, Outputs

# each parameter at its bounds, at its default and in between
PARAMETERS = {
    "focal": {"gamma": (0.0, 0.3, 0.5, 1.0, 2.0, 20.0)},
    "label_smoothing": {"smoothing": (0.0, 0.1, 0.7, 1.0)},
    "generalized_cross_entropy": {"q": (0.0, 1e-8, 0.3, 0.7, 1.0)},
    "poly1": {"epsilon": (-1.0, 0.0, 2.0, 100.0)},
}
CASES = [(name, {}) for name in LOSSES if name not in PARAMETERS] + [
    (name, {key: value}) for name, of_loss in PARAMETERS.items() for key, values in of_loss.items() for value in values
]


def on_all_members(name, parameters, logits, labels):
    tensors = {key: torch.full(logits.shape[:1], value, dtype=logits.dtype) for key, value in parameters.items()}
    return LOSS_FUNCTIONS[name](Outputs.of(logits, labels), **tensors)


def some_logits(n_members=2, n_images=5, n_classes=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(n_members, n_images, n_classes, generator=generator, dtype=dtype) * 2
    return logits, torch.randint(0, n_classes, (n_members, n_images), generator=generator)


def test_every_loss_of_the_catalogue_has_its_function_and_parameters():
    assert list(LOSS_FUNCTIONS) == list(LOSSES)
    for name, function in LOSS_FUNCTIONS.items():
        accepted = set(function.__code__.co_varnames[1 : function.__code__.co_argcount])
        assert accepted == set(LOSSES[name].parameters), name


@pytest.mark.parametrize(("name", "parameters"), [case for case in CASES if case[1].get("q", 1.0) > 1e-6])  # else the formula has no digits
def test_a_loss_and_its_gradient_are_those_of_its_formula_under_autograd(name, parameters):
    logits, labels = some_logits()
    found, gradient = on_all_members(name, parameters, logits, labels)
    for member in range(len(logits)):
        leaf = logits[member].clone().requires_grad_()
        expected = plain_loss({"loss": name, **parameters}, leaf, labels[member], "batch")
        (expected_gradient,) = torch.autograd.grad(expected, leaf)
        torch.testing.assert_close(found[member].mean(), expected.detach(), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(gradient[member] / labels.shape[1], expected_gradient, rtol=1e-9, atol=1e-9)


SMOOTHABLE = [case for case in CASES if case[0] != "label_smoothing"]


def smoothed(name, parameters, logits, labels, shares):
    tensors = {key: torch.full(logits.shape[:1], value, dtype=logits.dtype) for key, value in parameters.items()}
    return LOSS_FUNCTIONS[name](Outputs.of(logits, labels).smoothed(torch.tensor(shares, dtype=logits.dtype)), **tensors)


@pytest.mark.parametrize(("name", "parameters"), [case for case in SMOOTHABLE if case[1].get("q", 1.0) > 1e-6])
def test_against_smoothed_targets_a_loss_is_its_mean_over_the_target_or_the_distance_from_it(name, parameters):
    logits, labels = some_logits(n_members=3)
    shares = [0.05, 0.4, 1.0]
    found, gradient = smoothed(name, parameters, logits, labels, shares)
    for member, share in enumerate(shares):
        leaf = logits[member].clone().requires_grad_()
        expected = plain_loss({"loss": name, **parameters, "label_smoothing": share}, leaf, labels[member], "batch")
        (expected_gradient,) = torch.autograd.grad(expected, leaf)
        torch.testing.assert_close(found[member].mean(), expected.detach(), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(gradient[member] / labels.shape[1], expected_gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_cross_entropy_against_smoothed_targets_is_pytorchs_own(share):
    logits, labels = some_logits(n_members=1, dtype=torch.float32)
    leaf = logits[0].clone().requires_grad_()
    expected = F.cross_entropy(leaf, labels[0], reduction="none", label_smoothing=share)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), leaf)
    found, gradient = smoothed("cross_entropy", {}, logits, labels, [share])
    torch.testing.assert_close(found[0], expected.detach())
    torch.testing.assert_close(gradient[0], expected_gradient)


@pytest.mark.parametrize(("name", "parameters"), SMOOTHABLE)
def test_smoothing_by_nothing_is_the_loss_itself(name, parameters):
    logits, labels = some_logits()
    for found, expected in zip(
        smoothed(name, parameters, logits, labels, [0.0, 0.0]), on_all_members(name, parameters, logits, labels), strict=True
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("name", "parameters"), SMOOTHABLE)
def test_smoothed_losses_stay_finite_for_logits_of_ten_thousand(name, parameters):
    logits = torch.tensor([[1e4, -1e4, 0.0], [1e4, 1e4, 1e4], [0.0, 0.0, 0.0], [20.0, 0.0, 0.0]]).repeat_interleave(3, 0)[None]
    labels = torch.arange(3).repeat(4)[None]
    found = smoothed(name, parameters, logits, labels, [0.3])
    for value, exact in zip(found, smoothed(name, parameters, logits.double(), labels, [0.3]), strict=True):
        assert value.dtype == torch.float32
        assert value.isfinite().all()
        torch.testing.assert_close(value.double(), exact, rtol=1e-4, atol=1e-5)


class AsAutograd(torch.autograd.Function):
    """A loss as autograd would have it, for gradcheck."""

    @staticmethod
    def forward(ctx, logits, labels, name, parameters):
        loss, gradient = on_all_members(name, parameters, logits, labels)
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx, upstream):
        return ctx.saved_tensors[0] * upstream[..., None], None, None, None


@pytest.mark.parametrize(("name", "parameters"), CASES)
@pytest.mark.parametrize("certainty", [0.0, 12.0])
def test_a_gradient_is_the_slope_of_the_loss(name, parameters, certainty):
    logits, labels = some_logits()
    logits = logits + certainty * F.one_hot(labels, 4)  # p within 1e-5 of 1, where focal's power is steep
    assert torch.autograd.gradcheck(lambda z: AsAutograd.apply(z, labels, name, parameters), logits.requires_grad_(), eps=1e-7, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", lambda z, y: F.l1_loss(z, F.one_hot(y, 4).double(), reduction="none").sum(-1)),
        ("cross_entropy", lambda z, y: F.cross_entropy(z.transpose(1, 2), y, reduction="none")),
        ("mae", lambda z, y: F.l1_loss(z.softmax(-1), F.one_hot(y, 4).double(), reduction="none").sum(-1)),
        ("mse", lambda z, y: F.mse_loss(z.softmax(-1), F.one_hot(y, 4).double(), reduction="none").sum(-1)),
    ],
)
def test_a_loss_is_pytorchs_own(name, expected):
    logits, labels = some_logits()
    torch.testing.assert_close(on_all_members(name, {}, logits, labels)[0], expected(logits, labels))


def test_label_smoothing_is_pytorchs_own():
    logits, labels = some_logits()
    expected = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none", label_smoothing=0.3)
    torch.testing.assert_close(on_all_members("label_smoothing", {"smoothing": 0.3}, logits, labels)[0], expected)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("focal", {"gamma": 0.0}),
        ("poly1", {"epsilon": 0.0}),
        ("label_smoothing", {"smoothing": 0.0}),
        ("generalized_cross_entropy", {"q": 0.0}),
        ("generalized_cross_entropy", {"q": 1e-12}),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_loss_without_its_twist_is_cross_entropy(name, parameters, dtype):
    logits, labels = some_logits(dtype=dtype)
    loss, gradient = on_all_members(name, parameters, logits, labels)
    expected, expected_gradient = on_all_members("cross_entropy", {}, logits, labels)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)


def test_generalized_cross_entropy_at_one_is_half_of_mae():
    logits, labels = some_logits()
    torch.testing.assert_close(
        on_all_members("generalized_cross_entropy", {"q": 1.0}, logits, labels)[0], on_all_members("mae", {}, logits, labels)[0] / 2
    )


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_value_and_gradient_stay_finite_for_logits_of_ten_thousand(name, parameters):
    extremes = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4], [-1e4, -1e4, 1e4], [0.0, 0.0, 0.0], [20.0, 0.0, 0.0]])
    logits = extremes.repeat_interleave(3, 0)[None]
    labels = torch.arange(3).repeat(len(extremes))[None]
    loss, gradient = on_all_members(name, parameters, logits, labels)
    assert loss.dtype == gradient.dtype == torch.float32
    assert loss.isfinite().all()
    assert gradient.isfinite().all()
    exact, exact_gradient = on_all_members(name, parameters, logits.double(), labels)
    torch.testing.assert_close(loss.double(), exact, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradient.double(), exact_gradient, rtol=1e-4, atol=1e-5)


def test_a_certain_and_right_answer_teaches_focal_nothing():
    logits = torch.tensor([[[200.0, 0.0]]])
    for gamma in (0.1, 0.5, 1.0, 2.0):
        loss, gradient = on_all_members("focal", {"gamma": gamma}, logits, torch.tensor([[0]]))
        assert loss.item() == 0
        assert gradient.abs().max().item() == 0


def test_each_member_has_its_own_parameter():
    logits, labels = some_logits(n_members=3)
    logits, labels = logits[:1].expand(3, -1, -1), labels[:1].expand(3, -1)
    gamma = torch.tensor([0.0, 1.0, 3.0], dtype=logits.dtype)
    together = LOSS_FUNCTIONS["focal"](Outputs.of(logits, labels), gamma=gamma)[0]
    p = logits[0].softmax(-1).gather(-1, labels[0][:, None])[:, 0]
    for row, power in zip(together, gamma, strict=True):
        torch.testing.assert_close(row, (1 - p) ** power * -p.log())


@pytest.mark.parametrize("name", LOSSES)
def test_a_member_that_is_not_finite_leaves_the_others_alone(name):
    logits, labels = some_logits(n_members=3, dtype=torch.float32)
    parameters = {key: parameter.default for key, parameter in LOSSES[name].parameters.items()}
    expected, expected_gradient = on_all_members(name, parameters, logits, labels)
    sick = logits.clone()
    sick[1] = torch.tensor([math.nan, math.inf, -math.inf, 1.0])
    loss, gradient = on_all_members(name, parameters, sick, labels)
    for member in (0, 2):
        assert torch.equal(loss[member], expected[member])
        assert torch.equal(gradient[member], expected_gradient[member])
    assert not loss[1].isfinite().any()
