"""Losses of a user's own, as space files name them."""

import functools
import operator
import os
import shlex
from os.path import join
from subprocess import Popen

from torch import nn

__all__ = ["Popen", "join"]


class Tempered:
    def __init__(self, t1, t2: float = 1, smooth=False, weight=None, learning_rate=0.0):
        self.arguments = (t1, t2, smooth, weight, learning_rate)

    def __call__(self, logits, labels):
        raise NotImplementedError


def scaled(logits, labels, scale=2, kind="plain"):
    raise NotImplementedError


def anything(logits, labels, **options):
    raise NotImplementedError


def too_few(logits):
    raise NotImplementedError


class TakesLoss:
    def __init__(self, loss):
        self.loss = loss

    def __call__(self, logits, labels):
        raise NotImplementedError


def positional(logits, labels, scale, /):
    raise NotImplementedError


def other_gamma(logits, labels, gamma=1.5):
    raise NotImplementedError


NOT_A_LOSS = 3


def swapped(labels, logits):
    raise NotImplementedError


class Uncalled:
    def __init__(self, scale=1.0):
        raise NotImplementedError


class OfLogitsAlone(nn.Module):
    def forward(self, logits):
        raise NotImplementedError


class OfThree(nn.Module):
    def forward(self, anchor, positive, negative):
        raise NotImplementedError


class OfAnything(nn.Module):
    def forward(self, *arguments):
        raise NotImplementedError


class Sound(nn.Module):
    def forward(self, logits, labels, *, weight=None):
        raise NotImplementedError


READY_MADE = Sound()
run = functools.partial(os.system)
item = operator.itemgetter(0)
quoted = shlex.shlex("x").get_token
append = [].append
with_kind = functools.partial(scaled, kind="partial")
bound = Tempered(1).__call__
anonymous = lambda logits, labels: None  # noqa: E731
