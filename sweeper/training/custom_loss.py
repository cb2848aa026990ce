"""A loss of the user's own, named by import path: found, given its parameters, and called for one member at a time.

Whatever it does wrong ends its own trial with the error and its traceback; the members beside it go on.
"""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sweeper.catalogue import TRAINING_PARAMETERS
from sweeper.errors import TrainingError
from sweeper.records import Value


@dataclass(frozen=True, slots=True)
class MemberFailure:
    """Why a member cannot go on: the error in one line, and the traceback."""

    error: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> MemberFailure:
        """The failure that ``error`` is for the member it was raised for."""
        line = " ".join(str(error).split())
        said = line if isinstance(error, TrainingError) else f"{type(error).__name__}: {line}"
        return cls(said, "".join(traceback.format_exception(error)))


class CustomLoss:
    """The loss that ``package.module:Name`` names, with the parameters that its signature accepts.

    A class is built, a function called, with every parameter that its signature names; where it takes ``**``, with all that are not
    the optimiser's or the schedule's. Raises :class:`TrainingError` where the name does not exist or a required parameter is missing,
    and whatever importing or building raises.
    """

    def __init__(self, path: str, parameters: Mapping[str, Value], device: torch.device) -> None:
        self._path = path
        module_name, _, name = path.partition(":")
        target = getattr(importlib.import_module(module_name), name, None)
        if not callable(target):
            what = "has no such name" if target is None else f"holds a {type(target).__name__} under it, neither class nor function"
            raise TrainingError(f"loss {path!r}: module {module_name} {what}; a loss is given as package.module:Name")
        self._function: Callable[..., Any] = target
        self._arguments = self._accepted(parameters, inspect.signature(target), n_given=0 if inspect.isclass(target) else 2)
        if inspect.isclass(target):
            built = target(**self._arguments)
            if not callable(built):
                raise TrainingError(f"loss {path!r}: a {name} cannot be called with (logits, labels); derive it from nn.Module")
            self._function = built.to(device) if isinstance(built, nn.Module) else built
            self._arguments = {}

    def _accepted(self, parameters: Mapping[str, Value], signature: inspect.Signature, n_given: int) -> dict[str, Value]:
        """The parameters that a call is given by name, after ``n_given`` leading arguments."""
        own = {key: value for key, value in parameters.items() if key != "loss"}
        arguments = list(signature.parameters.values())[n_given:]
        named = {
            argument.name: argument for argument in arguments if argument.kind in {argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY}
        }
        if missing := [name for name, argument in named.items() if argument.default is argument.empty and name not in own]:
            them = "it" if len(missing) == 1 else "them"
            raise TrainingError(f"loss {self._path!r} needs {', '.join(missing)}; add {them} to the parameters of the space")
        takes_any = any(argument.kind is argument.VAR_KEYWORD for argument in arguments)
        return {key: value for key, value in own.items() if key in named or (takes_any and key not in TRAINING_PARAMETERS)}

    def __call__(self, logits: Float[Tensor, "batch cls"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """What the loss says of a batch: its scalar, or the mean of its losses per image.

        Raises :class:`TrainingError` for anything but a scalar or one loss per image, and whatever the loss raises.
        """
        rule = "it must return a tensor, either a scalar or one loss per image"
        value = self._function(logits, labels.clone(), **self._arguments)  # a copy, since other members read the same labels
        if not isinstance(value, Tensor):
            raise TrainingError(f"loss {self._path!r} returned a {type(value).__name__}; {rule}")
        if value.shape not in {torch.Size([]), torch.Size([1]), labels.shape}:
            raise TrainingError(f"loss {self._path!r} returned shape {list(value.shape)} for {len(labels)} images; {rule}")
        return value.mean()

    def with_gradient(
        self, logits: Float[Tensor, "batch cls"], labels: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "batch cls"]]:
        """Loss of a batch and its gradient; raises :class:`TrainingError` where autograd cannot follow it down to the logits."""
        with torch.enable_grad():
            leaf = logits.detach().clone().requires_grad_()
            value = self(leaf, labels)
            gradient = torch.autograd.grad(value, leaf, allow_unused=True)[0] if value.requires_grad else None
        if gradient is None:
            raise TrainingError(f"loss {self._path!r} does not depend on the logits in a way that autograd can follow")
        return value.detach(), gradient

    def mean_over(self, logits: Float[Tensor, "image cls"], labels: Int[Tensor, " image"], batch_size: int) -> Float[Tensor, ""]:
        """Mean over all images, seen in batches of ``batch_size`` as in training."""
        batches = zip(torch.split(logits, batch_size), torch.split(labels, batch_size), strict=True)
        return torch.stack([self(part.clone(), part_labels) * len(part) for part, part_labels in batches]).sum() / len(logits)
