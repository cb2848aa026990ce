"""Optimisers and schedules with a member axis: every member has its own learning rate, momentum, weight decay and schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from sweeper.catalogue import TRAINING_PARAMETERS
from sweeper.records import Value
from sweeper.training.evaluate import row_sums

ADAMW_EPS = 1e-8
"""Added to the root of AdamW's mean of squares; PyTorch's default."""

CLIP_EPS = 1e-6
"""Added to the norm of a gradient before its limit is divided by it, as ``torch.nn.utils.clip_grad_norm_`` does."""


def setting(parameters: Mapping[str, Value], name: str) -> Value:
    """A parameter of training of a trial: as recorded, or its default."""
    default = TRAINING_PARAMETERS[name].default
    return parameters[name] if default is None else parameters.get(name, default)


def learning_rate(parameters: Mapping[str, Value], epoch: int, n_epochs: int) -> float:
    """Learning rate of ``epoch`` (counted from 1) of ``n_epochs``, as PyTorch's schedulers stepped once an epoch give it.

    ``LinearLR`` from 1 / (n + 1) over n epochs of warm-up, then ``StepLR``, ``CosineAnnealingLR`` or ``LinearLR`` down to 0 over the rest.
    """
    rate, warmup = float(setting(parameters, "learning_rate")), int(setting(parameters, "warmup_epochs"))
    if epoch <= warmup:
        return rate * epoch / (warmup + 1)
    schedule, epoch, n_epochs = setting(parameters, "schedule"), epoch - warmup, n_epochs - warmup
    if schedule == "step":
        return step_learning_rate(rate, int(setting(parameters, "step_size")), float(setting(parameters, "step_gamma")), epoch)
    behind = (epoch - 1) / n_epochs
    if schedule == "cosine":
        return rate * (1 + math.cos(math.pi * behind)) / 2
    return rate * (1 - behind) if schedule == "linear" else rate


def step_learning_rate(learning_rate: float, step_size: int, step_gamma: float, epoch: int) -> float:
    """Learning rate of ``epoch`` (counted from 1), as ``torch.optim.lr_scheduler.StepLR`` stepped once an epoch gives it."""
    return float(learning_rate * step_gamma ** ((epoch - 1) // step_size))


def clip_(gradient: Float[Tensor, "member weight"], longest: Float[Tensor, "member 1"]) -> None:
    """Shorten the gradient of every member to a norm of at most ``longest``, in place, as ``clip_grad_norm_`` does."""
    norm = row_sums(gradient.square()).sqrt()[:, None]
    gradient.mul_((longest / (norm + CLIP_EPS)).clamp(max=1.0))


def sgd_step_(
    weights: Float[Tensor, "member weight"],
    velocity: Float[Tensor, "member weight"],
    gradient: Float[Tensor, "member weight"],
    *,
    learning_rate: Float[Tensor, "member 1"],
    momentum: Float[Tensor, "member 1"],
    weight_decay: Float[Tensor, "member 1"],
    nesterov: bool = False,
) -> None:
    """Take one step of ``torch.optim.SGD`` for every member, in place.

    A velocity of zeros stands for "no step yet": momentum × 0 + gradient is the gradient, which is what PyTorch starts from.
    """
    if nesterov:
        gradient = gradient.addcmul(weights, weight_decay)
        velocity.mul_(momentum).add_(gradient)
        weights.addcmul_(gradient.addcmul(velocity, momentum), learning_rate, value=-1)
        return
    velocity.mul_(momentum).add_(gradient).addcmul_(weights, weight_decay)
    weights.addcmul_(velocity, learning_rate, value=-1)


def adamw_step_(
    weights: Float[Tensor, "member weight"],
    velocity: Float[Tensor, "member weight"],
    second_moment: Float[Tensor, "member weight"],
    gradient: Float[Tensor, "member weight"],
    *,
    n_steps: Float64[Tensor, "member 1"],
    learning_rate: Float[Tensor, "member 1"],
    beta1: Float64[Tensor, "member 1"],
    beta2: Float64[Tensor, "member 1"],
    decay: Float[Tensor, "member weight"],
) -> None:
    """Take one step of ``torch.optim.AdamW`` for every member, in place (Loshchilov & Hutter 2019, 1711.05101, algorithm 2).

    ``velocity``: the mean of gradients. ``n_steps``: steps of each member, this one among them. ``decay``: learning rate times weight
    decay, 0 for weights that do not decay.
    """
    weights.mul_(1 - decay)
    velocity.lerp_(gradient, (1 - beta1).float())
    second_moment.mul_(beta2.float()).addcmul_(gradient.square(), (1 - beta2).float())
    corrections = 1 - beta1**n_steps, (1 - beta2**n_steps).sqrt()
    divisor = second_moment.sqrt().div_(corrections[1].float()).add_(ADAMW_EPS)
    weights.sub_(velocity.div(divisor).mul_((learning_rate / corrections[0]).float()))


def decaying(shapes: Mapping[str, tuple[int, ...]], device: torch.device) -> Float[Tensor, " weight"]:
    """1 for the weights of tensors of two and more dimensions, 0 for biases and scales, in the order of a member's row."""
    return torch.cat([torch.full((math.prod(shape),), float(len(shape) > 1), device=device) for shape in shapes.values()])
