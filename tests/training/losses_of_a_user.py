"""Losses as a user would write them, sound and broken, for the tests of import paths."""

import functools
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Focal(nn.Module):
    def __init__(self, gamma, learning_rate=0.0):
        super().__init__()
        self.gamma = gamma
        self.learning_rate = learning_rate

    def forward(self, logits, labels):
        nll = F.cross_entropy(logits, labels, reduction="none")
        return (1 - torch.exp(-nll)) ** self.gamma * nll


class Counting(nn.Module):
    """Fails at its n-th call."""

    def __init__(self, fails_at):
        super().__init__()
        self.calls_left = fails_at

    def forward(self, logits, labels):
        self.calls_left -= 1
        if self.calls_left <= 0:
            raise RuntimeError("out of\ncalls")
        return F.cross_entropy(logits, labels)


class FailsInEvaluation(nn.Module):
    def forward(self, logits, labels):
        if not logits.requires_grad:
            raise RuntimeError("no gradient, no loss")
        return F.cross_entropy(logits, labels)


class NeverMoreThan(nn.Module):
    """Fails on batches larger than it was told."""

    def __init__(self, most):
        super().__init__()
        self.most = most

    def forward(self, logits, labels):
        if len(labels) > self.most:
            raise RuntimeError(f"{len(labels)} images")
        return F.cross_entropy(logits, labels)


class NotCallable:
    pass


def smoothed(logits, labels, smoothing=0.0):
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def with_any(logits, labels, **parameters):
    assert set(parameters) == {"gamma"}, parameters
    return F.cross_entropy(logits, labels)


def scribbles(logits, labels):
    """Overwrites whatever memory it was given."""
    value = F.cross_entropy(logits, labels)
    logits.data.fill_(float("nan"))
    labels.fill_(0)
    return value


def a_number(logits, labels):
    return 1.0


def per_class(logits, labels):
    return logits.softmax(1).mean(0)


def detached(logits, labels):
    return F.cross_entropy(logits, labels).detach()


def elsewhere(logits, labels):
    return torch.ones(3, requires_grad=True).sum()


def leaves(logits, labels):
    raise SystemExit(3)


CONSTANT = 3


def noisy(logits, labels, amount=0.5):
    """Draws from all three generators that Python code draws from."""
    noise = torch.randn_like(logits) * amount + np.random.standard_normal() + random.random()
    return F.cross_entropy(logits + noise, labels) * (1 + random.random())


class RandomWeights(nn.Module):
    """Draws when it is built."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weights", torch.rand(10) + np.random.random() + random.random())

    def forward(self, logits, labels):
        return F.cross_entropy(logits, labels, weight=self.weights)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, logits, labels):
        return F.cross_entropy(logits * self.scale, labels)


class Frozen(Scaled):
    def __init__(self):
        super().__init__()
        self.scale.requires_grad_(False)


class ScaledByTensor:
    def __init__(self):
        self.scale = torch.ones((), requires_grad=True)

    def __call__(self, logits, labels):
        return F.cross_entropy(logits * self.scale, labels)


OF_THE_MODULE = torch.ones((), requires_grad=True)


def scaled_by_module(logits, labels):
    return F.cross_entropy(logits * OF_THE_MODULE, labels)


def gradient_penalty(logits, labels):
    """Makes a tensor that requires a gradient in the call."""
    value = F.cross_entropy(logits, labels, reduction="none")
    inner = logits.detach().requires_grad_()
    with torch.enable_grad():
        slope = torch.autograd.grad(F.cross_entropy(inner, labels), inner, create_graph=True)[0]
    return value + slope.pow(2).sum()


class Averaging(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, logits, labels):
        value = F.cross_entropy(logits, labels)
        self.mean.mul_(0.9).add_(0.1 * value.detach())
        return value / (1 + self.mean)


class RememberingTheFirst(nn.Module):
    """Keeps what its first batch said, and nothing later."""

    def __init__(self):
        super().__init__()
        self.first = None

    def forward(self, logits, labels):
        value = F.cross_entropy(logits, labels)
        if self.first is None:
            self.first = float(value)
        return value / self.first


class Caching(nn.Module):
    """Keeps what depends on no batch."""

    def forward(self, logits, labels):
        if not hasattr(self, "eye"):
            self.eye = torch.eye(logits.shape[1])
        return (logits.softmax(1) - self.eye[labels]).pow(2).sum(1)


class CountingInAList(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, logits, labels):
        self.seen.append(len(labels))
        return F.cross_entropy(logits, labels)


class CountingInItsClass:
    n_calls = 0

    def __call__(self, logits, labels):
        CountingInItsClass.n_calls += 1
        return F.cross_entropy(logits, labels)


N_CALLS = 0


def counting_in_its_module(logits, labels):
    global N_CALLS  # noqa: PLW0603
    N_CALLS += 1
    return F.cross_entropy(logits, labels)


def counting_on_itself(logits, labels):
    counting_on_itself.n_calls = getattr(counting_on_itself, "n_calls", 0) + 1
    return F.cross_entropy(logits, labels)


class OwnGenerator(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(1)

    def forward(self, logits, labels):
        return F.cross_entropy(logits + torch.randn(logits.shape, generator=self.generator), labels)


_DRAW = np.random.default_rng(1).random


def hidden_generator(logits, labels):
    return F.cross_entropy(logits, labels) * (1 + _DRAW())


def column(logits, labels):
    return F.cross_entropy(logits, labels, reduction="none")[:, None]


def whole_numbers(logits, labels):
    return (logits.argmax(1) != labels).sum()


def in_double(logits, labels):
    return F.cross_entropy(logits.double(), labels)


def nan_at_the_start(logits, labels):
    return F.cross_entropy(logits, labels) * float("nan")


def infinite_slope(logits, labels):
    return (logits - logits.detach()).abs().sqrt().sum() + F.cross_entropy(logits, labels)


def in_place(logits, labels):
    logits.clamp_(-1, 1)
    return F.cross_entropy(logits, labels)


def needs_one_hot(logits, labels):
    return -(labels * logits.log_softmax(1)).sum(1)


def other_way_round(a, b):
    return F.cross_entropy(b, a)


def on_the_gpu(logits, labels):
    return F.cross_entropy(logits.cuda(), labels.cuda())


def prints(logits, labels):
    print("a loss")  # noqa: T201
    return F.cross_entropy(logits, labels)


class Unbuildable(nn.Module):
    def __init__(self, q=1.0):
        raise ValueError(f"q must be < 1, got {q}")

    def forward(self, logits, labels):
        return F.cross_entropy(logits, labels)


partly = functools.partial(smoothed, smoothing=0.1)
bound = Focal(2.0).forward
anonymous = lambda logits, labels: F.cross_entropy(logits, labels)  # noqa: E731, PLW0108


TOLD = []


def telling(logits, labels):
    """Tells what it draws."""
    TOLD.append(float(torch.rand(())))
    return F.cross_entropy(logits, labels)
