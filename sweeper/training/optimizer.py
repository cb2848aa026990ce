"""SGD and StepLR with a member axis: every member has its own learning rate, momentum, weight decay and schedule."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def step_learning_rate(learning_rate: float, step_size: int, step_gamma: float, epoch: int) -> float:
    """Learning rate of ``epoch`` (counted from 1), as ``torch.optim.lr_scheduler.StepLR`` stepped once an epoch gives it."""
    return float(learning_rate * step_gamma ** ((epoch - 1) // step_size))


def sgd_step_(
    weights: Float[Tensor, "member weight"],
    velocity: Float[Tensor, "member weight"],
    gradient: Float[Tensor, "member weight"],
    *,
    learning_rate: Float[Tensor, "member 1"],
    momentum: Float[Tensor, "member 1"],
    weight_decay: Float[Tensor, "member 1"],
) -> None:
    """Take one step of ``torch.optim.SGD`` for every member, in place.

    A velocity of zeros stands for "no step yet": momentum × 0 + gradient is the gradient, which is what PyTorch starts from.
    """
    velocity.mul_(momentum).add_(gradient).addcmul_(weights, weight_decay)
    weights.addcmul_(velocity, learning_rate, value=-1)
