"""Members fused into one model for one epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sweeper.records import TrialConfig, Value
from sweeper.training.backend import Backend
from sweeper.training.criterion import Criterion, MemberLoss
from sweeper.training.custom_loss import MemberFailure
from sweeper.training.device_data import Batch, Stream
from sweeper.training.evaluate import score
from sweeper.training.model import Model
from sweeper.training.optimizer import adamw_step_, clip_, decaying, learning_rate, setting, sgd_step_


@dataclass(frozen=True, slots=True)
class Kind:
    """What the members of one block have in common besides their batches: the formulas of their steps."""

    optimizer: str = "sgd"
    nesterov: bool = False
    precision: str = "float32"


@dataclass(slots=True)
class Member:
    """A trial in training: its configuration, flat weights and velocity, and the epochs it has behind it, of all that it is to train.

    ``velocity``: the optimiser's mean of gradients, by whatever name it goes. ``extra``: flat rows of what only some members have, by kind:
    ``second_moment`` of AdamW; ``best_weights`` and ``best_value`` where the best epoch is selected; ``buffers`` that
    training changes, of a model of the user's own, and ``best_buffers``. ``augment``: how its training images are varied, see
    :mod:`.augment`.
    """

    config: TrialConfig
    loss: MemberLoss
    weights: Float[Tensor, " weight"]
    velocity: Float[Tensor, " weight"]
    n_epochs: int
    augment: str
    extra: dict[str, Tensor] = field(default_factory=dict)
    epochs: int = 0
    failure: MemberFailure | None = None

    @property
    def next_learning_rate(self) -> float:
        """Learning rate of the next epoch."""
        return learning_rate(self.config.parameters, self.epochs + 1, self.n_epochs)

    @property
    def kind(self) -> Kind:
        """The formulas by which it is trained."""
        return Kind(str(self.setting("optimizer")), bool(self.setting("nesterov")), str(self.setting("precision")))

    def setting(self, name: str) -> Value:
        """A parameter of training: as recorded, or its default."""
        return setting(self.config.parameters, name)

    @property
    def next_stream(self) -> Stream:
        """What fixes the images of the next epoch, and their order."""
        return self.config.seed, self.epochs + 1, self.augment


class Block:
    """One fused model of several members, sorted by the kinds of their losses; it learns on copies of their weights.

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
        self._shapes: Mapping[str, tuple[int, ...]] = net.shapes
        self._weights = torch.stack([member.weights for member in members])
        self._device = self._weights.device
        self._streams = torch.tensor(streams, device=self._device) if len(set(streams)) > 1 else None
        self._buffers = torch.stack([member.extra["buffers"] for member in members]) if "buffers" in members[0].extra else None
        losses, epochs = [member.loss for member in members], [member.next_stream[:2] for member in members]
        self._network = backend.network(self._weights, streams, members[0].kind.precision, self._buffers, epochs)
        self._criterion = Criterion(losses, epochs, reduction, net.n_classes, self._device)

    def begin(self, n_images: int) -> None:
        """Get ready to train an epoch of so many images."""
        self._n_images = n_images
        self._velocity = torch.stack([member.velocity for member in self.members])
        self._extra: dict[str, Tensor] = {} if self._buffers is None else {"buffers": self._buffers}
        self._n_steps: Tensor | None = None
        limits = self._settings("gradient_clip")
        self._longest = self._column([limit or math.inf for limit in limits]) if any(limits) else None
        rates, decays = self._column([member.next_learning_rate for member in self.members]), self._column(self._settings("weight_decay"))
        if self.members[0].setting("optimizer") == "adamw":
            behind = [member.epochs * math.ceil(n_images / member.loss.batch_size) for member in self.members]
            self._n_steps = self._column(behind).double()
            self._extra["second_moment"] = torch.stack([member.extra["second_moment"] for member in self.members])
            self._update = partial(
                adamw_step_,
                self._weights,
                self._velocity,
                self._extra["second_moment"],
                n_steps=self._n_steps,
                learning_rate=rates,
                beta1=self._column(self._settings("beta1"), torch.float64),
                beta2=self._column(self._settings("beta2"), torch.float64),
                decay=rates * decays * decaying(self._shapes, self._device),
            )
        else:
            self._update = partial(
                sgd_step_,
                self._weights,
                self._velocity,
                learning_rate=rates,
                momentum=self._column(self._settings("momentum")),
                weight_decay=decays,
                nesterov=bool(self.members[0].setting("nesterov")),
            )
        self._loss = self._weights.new_zeros(len(self.members), dtype=torch.float64)
        self._n_right = torch.zeros(len(self.members), dtype=torch.int64, device=self._device)

    @torch.no_grad()
    def step(self, batch: Batch) -> None:
        """One optimiser step of every member. But for losses of the user's own, all that it changes is on the device."""
        labels = self._rows(batch.labels)
        logits = self._network.forward(batch.images, labels.shape[1])
        losses, gradient = self._criterion.loss_and_gradient(logits, labels)
        gradient = self._network.backward(gradient)
        if self._longest is not None:
            clip_(gradient, self._longest)
        if self._n_steps is not None:
            self._n_steps += 1
        self._update(gradient)
        # step by step: a sum over an axis of steps adds up in an order that depends, on a GPU, on how many members there are
        self._loss += losses.double() * (labels.shape[1] / self._n_images)
        self._n_right += (logits.contiguous().argmax(-1) == labels).sum(1)

    def finish(self) -> dict[str, Float[Tensor, " 2"]]:
        """Loss and accuracy over the epoch by trial; each member gets its trained weights back, or its failure."""
        for row, member in enumerate(self.members):
            member.failure = self._criterion.failures.get(row)
            member.weights, member.velocity = self._weights[row].clone(), self._velocity[row].clone()
            member.extra |= {kind: rows[row].clone() for kind, rows in self._extra.items()}
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
    def evaluate(
        self, logits: Float[Tensor, "member image cls"], labels: Int[Tensor, "stream image"]
    ) -> dict[str, Float[Tensor, " metric"]]:
        """Each metric, the own loss first, on a whole split by trial; members whose own loss fails say so."""
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

    def _settings(self, name: str) -> list[float]:
        """A numeric parameter of training of each member."""
        return [float(member.setting(name)) for member in self.members]

    def _column(self, values: Sequence[float], dtype: torch.dtype = torch.float32) -> Float[Tensor, "member 1"]:
        """A number of each member, to be spread over its weights."""
        return torch.tensor(values, dtype=dtype, device=self._device)[:, None]
