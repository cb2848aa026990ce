"""Losses of a user's own, as space files name them."""


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


def positional(logits, labels, scale, /):
    raise NotImplementedError


def other_gamma(logits, labels, gamma=1.5):
    raise NotImplementedError


NOT_A_LOSS = 3
