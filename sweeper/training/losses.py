"""The losses of the catalogue with a member axis: loss of every image for every member, each member with its own parameters.

All are written on log-softmax, so that value and gradient stay finite in float32 for logits of ±1e4. Members never mix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Logits: TypeAlias = Float[Tensor, "member batch cls"]
Labels: TypeAlias = Int[Tensor, "member batch"]
ImageLosses: TypeAlias = Float[Tensor, "member batch"]
LossFunction: TypeAlias = Callable[..., ImageLosses]
"""``f(logits, labels, **parameters)``, each parameter a tensor [member]."""


def _label_nll(logits: Logits, labels: Labels) -> ImageLosses:
    """-log p of the true class, in nats."""
    return -F.log_softmax(logits, -1).gather(-1, labels[..., None]).squeeze(-1)


def l1(logits: Logits, labels: Labels) -> ImageLosses:
    """|logits - onehot| summed over the classes: raw outputs, as in the notebook's ``nn.L1Loss``."""
    return (logits - F.one_hot(labels, logits.shape[-1])).abs().sum(-1)


def cross_entropy(logits: Logits, labels: Labels) -> ImageLosses:
    """-log p of the true class, in nats."""
    return _label_nll(logits, labels)


def focal(logits: Logits, labels: Labels, gamma: Float[Tensor, " member"]) -> ImageLosses:
    """(1 - p)^gamma · -log p (Lin 2017, 1708.02002, eq. 4); gamma 0 is cross-entropy.

    At p = 1 and 0 < gamma < 1 the power's slope is infinite while the loss's is 0: the clamp cuts the power's gradient there.
    """
    nll = _label_nll(logits, labels)
    complement = (-torch.expm1(-nll)).clamp_min(torch.finfo(logits.dtype).tiny)
    return complement ** gamma[:, None] * nll


def mae(logits: Logits, labels: Labels) -> ImageLosses:
    """|softmax - onehot| summed over the classes, which is 2 (1 - p) (Ghosh 2017, 1712.09482)."""
    return -2 * torch.expm1(-_label_nll(logits, labels))


def mse(logits: Logits, labels: Labels) -> ImageLosses:
    """(softmax - onehot)² summed over the classes: the Brier score."""
    return (F.softmax(logits, -1) - F.one_hot(labels, logits.shape[-1])).square().sum(-1)


def label_smoothing(logits: Logits, labels: Labels, smoothing: Float[Tensor, " member"]) -> ImageLosses:
    """Cross-entropy against (1 - smoothing) · onehot + smoothing / classes (Szegedy 2016, 1512.00567, section 7), in nats."""
    log_p = F.log_softmax(logits, -1)
    share = smoothing[:, None]
    return -(1 - share) * log_p.gather(-1, labels[..., None]).squeeze(-1) - share * log_p.mean(-1)


def generalized_cross_entropy(logits: Logits, labels: Labels, q: Float[Tensor, " member"]) -> ImageLosses:
    """(1 - p^q) / q (Zhang & Sabuncu 2018, 1805.07836, eq. 6); below q = 1e-30 its limit, cross-entropy."""
    nll = _label_nll(logits, labels)
    is_limit = q[:, None] < 1e-30
    divisor = torch.where(is_limit, 1.0, q[:, None])
    return torch.where(is_limit, nll, -torch.expm1(-divisor * nll) / divisor)


def poly1(logits: Logits, labels: Labels, epsilon: Float[Tensor, " member"]) -> ImageLosses:
    """-log p + epsilon · (1 - p) (Leng 2022, 2204.12511, eq. 6); epsilon 0 is cross-entropy."""
    nll = _label_nll(logits, labels)
    return nll - epsilon[:, None] * torch.expm1(-nll)


LOSS_FUNCTIONS: Mapping[str, LossFunction] = MappingProxyType(
    {
        "l1": l1,
        "cross_entropy": cross_entropy,
        "focal": focal,
        "mae": mae,
        "mse": mse,
        "label_smoothing": label_smoothing,
        "generalized_cross_entropy": generalized_cross_entropy,
        "poly1": poly1,
    }
)
