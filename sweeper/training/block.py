"""Members fused into one model for one epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sweeper.records import TrialConfig
from sweeper.training.backend import Backend
from sweeper.training.criterion import Criterion, MemberLoss
from sweeper.training.custom_loss import MemberFailure
from sweeper.training.device_data import Batch
from sweeper.training.evaluate import score
from sweeper.training.model import Model
from sweeper.training.optimizer import sgd_step_, step_learning_rate


@dataclass(slots=True)
class Member:
    """A trial in training: its configuration, flat weights and velocity, and the epochs it has behind it."""

    config: TrialConfig
    loss: MemberLoss
    weights: Float[Tensor, " weight"]
    velocity: Float[Tensor, " weight"]
    epochs: int = 0
    failure: MemberFailure | None = None

    @property
    def next_learning_rate(self) -> float:
        """Learning rate of the next epoch."""
        chosen = self.config.parameters
        return step_learning_rate(float(chosen["learning_rate"]), int(chosen["step_size"]), float(chosen["step_gamma"]), self.epochs + 1)

    @property
    def next_stream(self) -> tuple[int, int]:
        """Seed and number of the next epoch, which fix its batches."""
        return self.config.seed, self.epochs + 1


class Block:
    """One fused model of several members, sorted by the names of their losses; it learns on copies of their weights.

    ``streams[i]`` is the row of each batch that member i reads. ``activation_bytes``: those of an image, see :class:`.model.Model`.
    """

    def __init__(
        self,
        members: Sequence[Member],
        streams: Sequence[int],
        net: Model,
        backend: Backend,
        reduction: Literal["batch", "elements"],
    ) -> None:
        self.members = members
        self.activation_bytes = len(members) * net.activation_bytes
        self._weights = torch.stack([member.weights for member in members])
        self._device = self._weights.device
        self._streams = torch.tensor(streams, device=self._device) if len(set(streams)) > 1 else None
        self._network = backend.network(self._weights, streams)
        losses, seeds = [member.loss for member in members], [member.next_stream for member in members]
        self._criterion = Criterion(losses, seeds, reduction, net.n_classes, self._device)

    def begin(self, n_images: int) -> None:
        """Get ready to train an epoch of so many images."""
        self._n_images = n_images
        self._velocity = torch.stack([member.velocity for member in self.members])
        self._rates = {
            "learning_rate": self._column([member.next_learning_rate for member in self.members]),
            "momentum": self._column([float(member.config.parameters["momentum"]) for member in self.members]),
            "weight_decay": self._column([float(member.config.parameters["weight_decay"]) for member in self.members]),
        }
        self._loss = self._weights.new_zeros(len(self.members), dtype=torch.float64)
        self._n_right = torch.zeros(len(self.members), dtype=torch.int64, device=self._device)

    @torch.no_grad()
    def step(self, batch: Batch) -> None:
        """One optimiser step of every member. But for losses of the user's own, all that it changes is on the device."""
        labels = self._rows(batch.labels)
        logits = self._network.forward(batch.images, labels.shape[1])
        losses, gradient = self._criterion.loss_and_gradient(logits, labels)
        sgd_step_(self._weights, self._velocity, self._network.backward(gradient), **self._rates)
        # step by step: a sum over an axis of steps adds up in an order that depends, on a GPU, on how many members there are
        self._loss += losses.double() * (labels.shape[1] / self._n_images)
        self._n_right += (logits.contiguous().argmax(-1) == labels).sum(1)

    def finish(self) -> dict[str, Float[Tensor, " 2"]]:
        """Loss and accuracy over the epoch by trial; each member gets its trained weights back, or its failure."""
        for row, member in enumerate(self.members):
            member.failure = self._criterion.failures.get(row)
            member.weights, member.velocity = self._weights[row].clone(), self._velocity[row].clone()
            member.epochs += 1
        return self._by_trial(torch.stack([self._loss, self._n_right / self._n_images], 1))

    @property
    def calls_own_losses(self) -> bool:
        """Whether a member's loss is code of the user's, which is called anew in each step."""
        return any(member.loss.custom is not None for member in self.members)

    @torch.no_grad()
    def logits(self, batch: Batch) -> Float[Tensor, "member batch cls"]:
        """Raw logits of every member."""
        return self._network.logits(batch.images, batch.labels.shape[1])

    @torch.no_grad()
    def evaluate(self, logits: Float[Tensor, "member image cls"], labels: Int[Tensor, "stream image"]) -> dict[str, Float[Tensor, " 5"]]:
        """Own loss, accuracy, NLL, Brier score and calibration error on a whole split by trial; members whose own loss fails say so."""
        rows = self._rows(labels)
        losses = self._criterion.loss(logits, rows).double()
        for row, member in enumerate(self.members):
            member.failure = self._criterion.failures.get(row)
        return self._by_trial(torch.cat([losses[:, None], score(logits, rows)], 1))

    def _by_trial(self, figures: Float[Tensor, "member figure"]) -> dict[str, Float[Tensor, " figure"]]:
        """The figures of each member under its trial's id."""
        return {member.config.trial_id: row for member, row in zip(self.members, figures, strict=True)}

    def _rows(self, labels: Int[Tensor, "stream image"]) -> Int[Tensor, "member image"]:
        """The labels that each member reads."""
        return labels.expand(len(self.members), -1) if self._streams is None else labels[self._streams]

    def _column(self, values: Sequence[float]) -> Float[Tensor, "member 1"]:
        """A number of each member, to be spread over its weights."""
        return torch.tensor(values, device=self._device)[:, None]
