"""The losses of the catalogue with a member axis: value and gradient of every image for every member, each with its own parameters.

Gradients are explicit formulas, since autograd's bookkeeping costs more than they do on a batch of logits. Most losses are a function
of u = -log p of the true class; their gradient with respect to the logits is their slope in u times softmax - onehot. Written in u,
value and gradient stay finite in float32 for logits of ±1e4. Members never mix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

ImageLosses: TypeAlias = Float[Tensor, "member batch"]
LogitGradient: TypeAlias = Float[Tensor, "member batch cls"]
Parameter: TypeAlias = Float[Tensor, " member"]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Logits of some members with what the losses share; ``error`` is p - onehot, ``nll`` -log p of the true class in nats."""

    logits: Float[Tensor, "member batch cls"]
    onehot: Float[Tensor, "member batch cls"]
    log_p: Float[Tensor, "member batch cls"]
    p: Float[Tensor, "member batch cls"]
    error: Float[Tensor, "member batch cls"]
    nll: Float[Tensor, "member batch"]

    @classmethod
    def of(cls, logits: Float[Tensor, "member batch cls"], labels: Int[Tensor, "member batch"]) -> Outputs:
        """The outputs that these logits are."""
        # the softmax of a short last axis is ten times slower than that of a middle one
        log_p = F.log_softmax(logits.transpose(1, 2).contiguous(), 1).transpose(1, 2)
        p = log_p.exp()
        at = labels[..., None]
        onehot = torch.zeros_like(p).scatter_(-1, at, 1)
        return cls(logits, onehot, log_p, p, p - onehot, -log_p.gather(-1, at).squeeze(-1))

    def __getitem__(self, members: slice) -> Outputs:
        """The outputs of these members."""
        if members == slice(0, len(self.logits)):
            return self
        return Outputs(*(getattr(self, name)[members] for name in self.__slots__))


LossFunction: TypeAlias = Callable[..., tuple[ImageLosses, LogitGradient]]
"""``f(outputs, **parameters)``, each parameter a tensor [member]: loss of each image, and its gradient with respect to its logits."""


def l1(outputs: Outputs) -> tuple[ImageLosses, LogitGradient]:
    """|logits - onehot| summed over the classes: raw outputs, as in the notebook's ``nn.L1Loss``."""
    distance = outputs.logits - outputs.onehot
    return distance.abs().sum(-1), distance.sign()


def cross_entropy(outputs: Outputs) -> tuple[ImageLosses, LogitGradient]:
    """-log p of the true class, in nats."""
    return outputs.nll, outputs.error


def focal(outputs: Outputs, gamma: Parameter) -> tuple[ImageLosses, LogitGradient]:
    """(1 - p)^gamma · -log p (Lin 2017, 1708.02002, eq. 4); gamma 0 is cross-entropy.

    Its slope is w^gamma · (1 + gamma · p · u / w) with w = 1 - p; u / w tends to 1 as p does, where w^(gamma - 1) has no limit.
    """
    nll, power = outputs.nll, gamma[:, None]
    p = torch.exp(-nll)
    complement = -torch.expm1(-nll)
    weight = complement**power
    ratio = torch.where(complement > 0, nll / complement, 1.0)
    return weight * nll, (weight * (1 + power * p * ratio))[..., None] * outputs.error


def mae(outputs: Outputs) -> tuple[ImageLosses, LogitGradient]:
    """|softmax - onehot| summed over the classes, which is 2 (1 - p) (Ghosh 2017, 1712.09482)."""
    return -2 * torch.expm1(-outputs.nll), 2 * torch.exp(-outputs.nll)[..., None] * outputs.error


def mse(outputs: Outputs) -> tuple[ImageLosses, LogitGradient]:
    """(softmax - onehot)² summed over the classes: the Brier score."""
    mean_error = (outputs.error * outputs.p).sum(-1, keepdim=True)
    return outputs.error.square().sum(-1), 2 * outputs.p * (outputs.error - mean_error)


def label_smoothing(outputs: Outputs, smoothing: Parameter) -> tuple[ImageLosses, LogitGradient]:
    """Cross-entropy against (1 - smoothing) · onehot + smoothing / classes (Szegedy 2016, 1512.00567, section 7), in nats."""
    share = smoothing[:, None]
    loss = (1 - share) * outputs.nll - share * outputs.log_p.mean(-1)
    return loss, outputs.error + share[..., None] * (outputs.onehot - 1 / outputs.logits.shape[-1])


def generalized_cross_entropy(outputs: Outputs, q: Parameter) -> tuple[ImageLosses, LogitGradient]:
    """(1 - p^q) / q (Zhang & Sabuncu 2018, 1805.07836, eq. 6); below q = 1e-30 its limit, cross-entropy."""
    power = q[:, None]
    is_limit = power < 1e-30
    loss = torch.where(is_limit, outputs.nll, -torch.expm1(-power * outputs.nll) / torch.where(is_limit, 1.0, power))
    return loss, torch.exp(-power * outputs.nll)[..., None] * outputs.error


def poly1(outputs: Outputs, epsilon: Parameter) -> tuple[ImageLosses, LogitGradient]:
    """-log p + epsilon · (1 - p) (Leng 2022, 2204.12511, eq. 6); epsilon 0 is cross-entropy."""
    weight = epsilon[:, None]
    loss = outputs.nll - weight * torch.expm1(-outputs.nll)
    return loss, (1 + weight * torch.exp(-outputs.nll))[..., None] * outputs.error


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
