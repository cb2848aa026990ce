"""Losses as a user would write them, sound and broken, for the tests of import paths."""

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
