"""Computes the losses of a pack's members: one call for all members of a built-in loss, one call per member for a custom loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sweeper.catalogue import LOSSES
from sweeper.custom_code import is_import_path
from sweeper.errors import TrainingError
from sweeper.records import Value
from sweeper.training.custom_loss import CustomLoss, MemberFailure
from sweeper.training.evaluate import row_sums
from sweeper.training.losses import LOSS_FUNCTIONS, LossFunction, Outputs


@dataclass(frozen=True, slots=True)
class MemberLoss:
    """The loss of one member: its name, the trial's parameters, its batch size, and the callable behind it when it is the user's own.

    Raises :class:`TrainingError` for a name that the catalogue does not know, and for smoothed targets where the loss takes none.
    """

    name: str
    parameters: Mapping[str, Value]
    batch_size: int
    custom: CustomLoss | None = None

    def __post_init__(self) -> None:
        if not is_import_path(self.name) and self.name not in LOSSES:
            raise TrainingError(f"unknown loss {self.name!r}; known are {', '.join(LOSSES)}, or package.module:Name for one of your own")
        if self.name == "label_smoothing" and self.smoothing:
            raise TrainingError(
                "label_smoothing beside the loss label_smoothing, which smooths by its own parameter smoothing; leave one out"
            )

    @property
    def smoothing(self) -> float:
        """Share of each target that is spread over all classes; a loss of the user's own smooths by itself, if it does."""
        return 0.0 if is_import_path(self.name) else float(self.parameters.get("label_smoothing", 0.0))

    @property
    def kind(self) -> tuple[str, bool]:
        """What members that are computed together share: the name, and whether targets are smoothed, which has formulas of its own."""
        return self.name, self.smoothing > 0


@dataclass(frozen=True, slots=True)
class _Builtin:
    """Members ``rows`` that share a loss of the catalogue; ``parameters`` hold a value for each of them, ``smoothing`` if there is any."""

    rows: slice
    function: LossFunction
    parameters: Mapping[str, Float[Tensor, " member"]]
    divisor: int
    smoothing: Float[Tensor, " member"] | None

    def __call__(
        self, outputs: Outputs, add: Callable[[Tensor], Tensor]
    ) -> tuple[Float[Tensor, " member"], Float[Tensor, "member batch cls"]]:
        """Mean loss of these members over the batch, whose images ``add`` adds up, and its gradient with respect to their logits."""
        outputs = outputs[self.rows] if self.smoothing is None else outputs[self.rows].smoothed(self.smoothing)
        losses, gradients = self.function(outputs, **self.parameters)
        count = losses.shape[1] * self.divisor
        return add(losses) / count, gradients / count


class Criterion:
    """Loss and gradient of each member on its own logits. Members must come sorted by the kinds of their losses.

    ``streams``: seed and epoch of each member, from which follows what its own loss draws at random.
    ``failures``: by row, the members whose own loss failed; their gradient is zero from then on.
    """

    def __init__(
        self,
        members: Sequence[MemberLoss],
        streams: Sequence[tuple[int, int]],
        reduction: Literal["batch", "elements"],
        n_classes: int,
        device: torch.device,
    ) -> None:
        self.failures: dict[int, MemberFailure] = {}
        self._builtins: list[_Builtin] = []
        self._customs = {row: (member.custom, member.batch_size) for row, member in enumerate(members) if member.custom is not None}
        self._draws = [f"{seed}/{epoch}" for seed, epoch in streams] if self._customs else []
        self._step = 0
        start = 0
        for (name, is_smoothed), group in groupby(members, key=lambda member: member.kind):
            same = list(group)
            rows = slice(start, start + len(same))
            start = rows.stop
            if name not in LOSSES:
                continue
            entry = LOSSES[name]
            parameters = {
                key: torch.tensor([float(member.parameters.get(key, default)) for member in same], device=device)
                for key, default in entry.defaults.items()
            }
            divisor = n_classes if entry.elementwise and reduction == "elements" else 1
            smoothing = torch.tensor([member.smoothing for member in same], device=device) if is_smoothed else None
            self._builtins.append(_Builtin(rows, LOSS_FUNCTIONS[name], parameters, divisor, smoothing))

    def loss(self, logits: Float[Tensor, "member image cls"], labels: Int[Tensor, "member image"]) -> Float[Tensor, " member"]:
        """Mean loss of each member over the images of a split; NaN where its own loss has failed."""
        means, _ = self._of_builtins(logits, labels, row_sums)
        for row, (custom, batch_size) in self._customs.items():
            if row not in self.failures:
                try:
                    means[row] = custom.mean_over(logits[row], labels[row], batch_size, f"{self._draws[row]}/evaluated")
                except (Exception, SystemExit) as error:  # whatever the user's code raises is this member's failure
                    self.failures[row] = MemberFailure.of(error)
        return means

    def loss_and_gradient(
        self, logits: Float[Tensor, "member batch cls"], labels: Int[Tensor, "member batch"]
    ) -> tuple[Float[Tensor, " member"], Float[Tensor, "member batch cls"]]:
        """Mean loss of each member over the batch, and its gradient with respect to the member's logits."""
        # on a GPU these sums depend on the company, as the network's own do there; others would take a dozen operators more in each step
        add = row_sums if logits.device.type == "cpu" else partial(torch.sum, dim=1)
        means, gradients = self._of_builtins(logits, labels, add)
        self._step += 1
        for row, (custom, _) in self._customs.items():
            if row not in self.failures:
                try:
                    means[row], gradients[row] = custom.with_gradient(logits[row], labels[row], f"{self._draws[row]}/{self._step}")
                except (Exception, SystemExit) as error:  # whatever the user's code raises is this member's failure
                    self.failures[row] = MemberFailure.of(error)
        return means, gradients

    def _of_builtins(
        self, logits: Float[Tensor, "member batch cls"], labels: Int[Tensor, "member batch"], add: Callable[[Tensor], Tensor]
    ) -> tuple[Float[Tensor, " member"], Float[Tensor, "member batch cls"]]:
        """Mean loss and gradient of the members whose losses are the catalogue's; NaN and zero for the others."""
        outputs = Outputs.of(logits, labels)
        if len(self._builtins) == 1 and not self._customs:
            return self._builtins[0](outputs, add)
        means = logits.new_full(logits.shape[:1], torch.nan)
        gradients = torch.zeros_like(logits)
        for builtin in self._builtins:
            means[builtin.rows], gradients[builtin.rows] = builtin(outputs, add)
        return means, gradients
