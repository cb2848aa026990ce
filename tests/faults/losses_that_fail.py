"""Losses of a user's own that go wrong in every way that one process can, in training; on the few logits of a trial they are sound."""

import os

import torch
from torch.nn import functional

TRIED_ON = 7
"""Images at most on which a loss is tried before a sweep."""


def good(logits, labels):
    return functional.cross_entropy(logits, labels)


def raises(logits, labels):
    if len(labels) > TRIED_ON:
        raise ValueError("the user's mistake")
    return good(logits, labels)


def dies(logits, labels):
    if len(labels) > TRIED_ON:
        os._exit(17)
    return good(logits, labels)


def runs_out_of_memory(logits, labels):
    if len(labels) > TRIED_ON:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return good(logits, labels)


def is_not_finite(logits, labels):
    return logits.sum() * float("nan") if len(labels) > TRIED_ON else good(logits, labels)
