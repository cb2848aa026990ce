"""A custom loss, named by import path: imported, given its parameters, and called for one member at a time.

If it fails, only its own trial ends, with the error and its traceback; the other members continue.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import random
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sweeper.custom_code import UnsuitableModuleError, import_custom, read_signature
from sweeper.errors import TrainingError
from sweeper.records import Value
from sweeper.training.device import is_out_of_memory

UNTRAINED = "and only the network is trained: hold them as buffers, or let the space set them"


@dataclass(frozen=True, slots=True)
class MemberFailure:
    """Why a member cannot go on: the error in one line, the traceback, and whether there was too little memory."""

    error: str
    traceback: str
    out_of_memory: bool = False

    @classmethod
    def of(cls, error: BaseException) -> MemberFailure:
        """The failure that ``error`` is for the member it was raised for."""
        line = " ".join(str(error).split())
        said = line if isinstance(error, TrainingError) else f"{type(error).__name__}: {line}"
        return cls(said, "".join(traceback.format_exception(error)), is_out_of_memory(error))


@contextlib.contextmanager
def generators_kept(device: torch.device) -> Iterator[None]:
    """Leaves the generators of torch, NumPy and Python as they were before the block, in which :func:`seed_generators` may seed them."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)


def seed_generators(draws: str, device: torch.device) -> None:
    """Seed torch, NumPy and Python, so that what is drawn next follows from ``draws`` alone, whatever was drawn before.

    Torch's two generators are seeded without ``torch.manual_seed``, which takes longer than a small loss.
    """
    seed = int.from_bytes(hashlib.blake2b(draws.encode(), digest_size=4).digest(), "little")
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


class CustomLoss:
    """The loss that ``package.module:Name`` names, with the parameters that its signature accepts.

    A class is built, a function called, with every parameter that its signature names; where it takes ``**``, with all that are not
    the optimiser's or the schedule's. What it draws at random, built or called, follows from ``seed`` and from the ``draws`` of the call.

    Raises :class:`TrainingError` where the name does not exist, a required parameter is missing, or the loss has parameters to train,
    and whatever importing or building raises.
    """

    def __init__(self, path: str, parameters: Mapping[str, Value], device: torch.device, seed: int) -> None:
        self._path, self._device = path, device
        module_name, _, name = path.partition(":")
        try:
            target: Any = import_custom(path)
        except UnsuitableModuleError as error:
            raise TrainingError(f"loss {path!r} {error}") from None
        except AttributeError as error:
            if getattr(error, "name", None) != name:
                raise
            raise TrainingError(f"loss {path!r}: module {module_name} has no such name; a loss is given as package.module:Name") from None
        if not callable(target):
            what = f"holds a {type(target).__name__} under it, neither class nor function"
            raise TrainingError(f"loss {path!r}: module {module_name} {what}; a loss is given as package.module:Name")
        self._function: Callable[..., Any] = target
        signature = read_signature(target)
        if missing := [key for key, argument in signature.arguments.items() if argument.is_required and key not in parameters]:
            them = "it" if len(missing) == 1 else "them"
            raise TrainingError(f"loss {path!r} needs {', '.join(missing)}; add {them} to the parameters of the space")
        self._arguments = signature.accepted(parameters)
        if inspect.isclass(target):
            with generators_kept(device):
                seed_generators(f"{seed}/built", device)
                built = target(**self._arguments)
            if not callable(built):
                raise TrainingError(f"loss {path!r}: a {name} cannot be called with (logits, labels); derive it from nn.Module")
            if isinstance(built, nn.Module):
                built = built.to(device)
                if trained := [name for name, each in built.named_parameters() if each.requires_grad]:
                    raise TrainingError(f"loss {path!r} has parameters to train ({', '.join(trained)}), {UNTRAINED}")
            self._function = built
            self._arguments = {}

    @property
    def target(self) -> Callable[..., Any]:
        """What is called with logits and labels: the object that was built, or the function."""
        return self._function

    def __call__(self, logits: Float[Tensor, "batch cls"], labels: Int[Tensor, " batch"], draws: str) -> Float[Tensor, ""]:
        """What the loss says of a batch: its scalar, or the mean of its losses per image. Seeds the generators with ``draws``.

        Raises :class:`TrainingError` for anything but a scalar or one loss per image, and whatever the loss raises.
        """
        rule = "it must return a tensor, either a scalar or one loss per image"
        seed_generators(draws, self._device)
        value = self._function(logits, labels.clone(), **self._arguments)  # a copy, since other members read the same labels
        if not isinstance(value, Tensor):
            raise TrainingError(f"loss {self._path!r} returned a {type(value).__name__}; {rule}")
        if value.shape not in {torch.Size([]), torch.Size([1]), labels.shape}:
            raise TrainingError(f"loss {self._path!r} returned shape {list(value.shape)} for {len(labels)} images; {rule}")
        if not value.is_floating_point():
            raise TrainingError(f"loss {self._path!r} returned {value.dtype}; it must return floating-point numbers")
        return value.mean()

    def with_gradient(
        self, logits: Float[Tensor, "batch cls"], labels: Int[Tensor, " batch"], draws: str
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "batch cls"]]:
        """Loss of a batch and its gradient; raises :class:`TrainingError` where autograd cannot follow it down to the logits."""
        with torch.enable_grad():
            leaf = logits.detach().clone().requires_grad_()
            value = self(leaf, labels, draws)
            gradient = torch.autograd.grad(value, leaf, allow_unused=True)[0] if value.requires_grad else None
        if gradient is None:
            raise TrainingError(f"loss {self._path!r} does not depend on the logits in a way that autograd can follow")
        return value.detach(), gradient

    def mean_over(
        self, logits: Float[Tensor, "image cls"], labels: Int[Tensor, " image"], batch_size: int, draws: str
    ) -> Float[Tensor, ""]:
        """Mean over all images, seen in batches of ``batch_size`` as in training."""
        batches = zip(torch.split(logits, batch_size), torch.split(labels, batch_size), strict=True)
        sums = [self(part.clone(), part_labels, f"{draws}/{n}") * len(part) for n, (part, part_labels) in enumerate(batches)]
        return torch.stack(sums).sum() / len(logits)
