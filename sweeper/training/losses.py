"""The losses of the catalogue with a member axis: value and gradient of every image for every member, each with its own parameters.

Gradients are explicit formulas, since autograd's bookkeeping costs more than they do on a batch of logits. Most losses are a function
of u = -log p of the true class; their gradient with respect to the logits is their slope in u times softmax - onehot. Written in u,
value and gradient stay finite in float32 for logits of ±1e4. Members never mix.

Any of them can be had against smoothed targets, (1 - s) · onehot + s / classes (Szegedy 2016, 1512.00567, section 7): a function of u is
then its mean over the classes, weighted by their targets; the others are distances from the targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
    """Logits of some members with what the losses share: ``error`` is p - target, ``nll`` the cross-entropy with the target in nats.

    The target is the one-hot label, or ``is_smoothed``.
    """

    logits: Float[Tensor, "member batch cls"]
    target: Float[Tensor, "member batch cls"]
    log_p: Float[Tensor, "member batch cls"]
    p: Float[Tensor, "member batch cls"]
    error: Float[Tensor, "member batch cls"]
    nll: Float[Tensor, "member batch"]
    is_smoothed: bool = False

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
        logits, target, log_p, p, error, nll = (getattr(self, name)[members] for name in self.__slots__[:-1])
        return Outputs(logits, target, log_p, p, error, nll, self.is_smoothed)

    def smoothed(self, smoothing: Parameter) -> Outputs:
        """The same outputs against targets of which each member spreads its share over all classes."""
        share = smoothing[:, None, None]
        target = self.target * (1 - share) + share / self.logits.shape[-1]
        nll = -(target * self.log_p).sum(-1)
        return replace(self, target=target, error=self.p - target, nll=nll, is_smoothed=True)

    def mean_of(self, curve: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[ImageLosses, LogitGradient]:
        """Loss and gradient where ``curve`` gives the loss of a class and its slope from u = -log p: their mean over the target."""
        if not self.is_smoothed:
            value, slope = curve(self.nll[..., None])
            return value[..., 0], slope * self.error
        value, slope = curve(-self.log_p)
        weighted = self.target * slope
        return (self.target * value).sum(-1), self.p * weighted.sum(-1, keepdim=True) - weighted


LossFunction: TypeAlias = Callable[..., tuple[ImageLosses, LogitGradient]]
"""``f(outputs, **parameters)``, each parameter a tensor [member]: loss of each image, and its gradient with respect to its logits."""


def l1(outputs: Outputs) -> tuple[ImageLosses, LogitGradient]:
    """|logits - target| summed over the classes: raw outputs, as in the notebook's ``nn.L1Loss``."""
    distance = outputs.logits - outputs.target
    return distance.abs().sum(-1), distance.sign()


def cross_entropy(outputs: Outputs) -> tuple[ImageLosses, LogitGradient]:
    """-log p of the true class, in nats."""
    return outputs.nll, outputs.error


def focal(outputs: Outputs, gamma: Parameter) -> tuple[ImageLosses, LogitGradient]:
    """(1 - p)^gamma · -log p (Lin 2017, 1708.02002, eq. 4); gamma 0 is cross-entropy.

    Its slope is w^gamma · (1 + gamma · p · u / w) with w = 1 - p; u / w tends to 1 as p does, where w^(gamma - 1) has no limit.
    """
    power = gamma[:, None, None]

    def curve(u: Tensor) -> tuple[Tensor, Tensor]:
        complement = -torch.expm1(-u)
        weight = complement**power
        ratio = torch.where(complement > 0, u / complement, 1.0)
        return weight * u, weight * (1 + power * torch.exp(-u) * ratio)

    return outputs.mean_of(curve)


def mae(outputs: Outputs) -> tuple[ImageLosses, LogitGradient]:
    """|softmax - target| summed over the classes, which is 2 (1 - p) where the target is one-hot (Ghosh 2017, 1712.09482)."""
    if outputs.is_smoothed:
        side = outputs.error.sign()
        return outputs.error.abs().sum(-1), outputs.p * (side - (side * outputs.p).sum(-1, keepdim=True))
    return -2 * torch.expm1(-outputs.nll), 2 * torch.exp(-outputs.nll)[..., None] * outputs.error


def mse(outputs: Outputs) -> tuple[ImageLosses, LogitGradient]:
    """(softmax - target)² summed over the classes: the Brier score."""
    mean_error = (outputs.error * outputs.p).sum(-1, keepdim=True)
    return outputs.error.square().sum(-1), 2 * outputs.p * (outputs.error - mean_error)


def label_smoothing(outputs: Outputs, smoothing: Parameter) -> tuple[ImageLosses, LogitGradient]:
    """Cross-entropy against (1 - smoothing) · onehot + smoothing / classes (Szegedy 2016, 1512.00567, section 7), in nats."""
    share = smoothing[:, None]
    loss = (1 - share) * outputs.nll - share * outputs.log_p.mean(-1)
    return loss, outputs.error + share[..., None] * (outputs.target - 1 / outputs.logits.shape[-1])


def generalized_cross_entropy(outputs: Outputs, q: Parameter) -> tuple[ImageLosses, LogitGradient]:
    """(1 - p^q) / q (Zhang & Sabuncu 2018, 1805.07836, eq. 6); below q = 1e-30 its limit, cross-entropy."""
    power = q[:, None, None]
    is_limit = power < 1e-30
    divisor = torch.where(is_limit, 1.0, power)
    return outputs.mean_of(lambda u: (torch.where(is_limit, u, -torch.expm1(-power * u) / divisor), torch.exp(-power * u)))


def poly1(outputs: Outputs, epsilon: Parameter) -> tuple[ImageLosses, LogitGradient]:
    """-log p + epsilon · (1 - p) (Leng 2022, 2204.12511, eq. 6); epsilon 0 is cross-entropy."""
    weight = epsilon[:, None, None]
    return outputs.mean_of(lambda u: (u - weight * torch.expm1(-u), 1 + weight * torch.exp(-u)))


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
