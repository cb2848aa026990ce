"""A custom model, named by import path: checked, and called with the weights and buffers passed to it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from sweeper.errors import ModelError
from sweeper.records import Value
from sweeper.training.custom_loss import generators_kept, seed_generators
from sweeper.training.custom_module import N_PROBES, ModuleBuilder, said
from sweeper.training.model import split_rows

RELATIVE, ABSOLUTE = 1e-3, 1e-4
"""What the order of sums may change in logits."""

CPU = torch.device("cpu")


class CustomModel:
    """The ``nn.Module`` of an import path, built by a :class:`.custom_module.ModuleBuilder`.

    Its weights, and the buffers that training changes, come from outside, so that one module serves every member. ``draws``: it draws
    random numbers in train mode. A trial's curve must follow from its seed, and its logits of an image in eval mode from the image alone.

    Raises :class:`ModelError` where it cannot be built, does not turn images into logits, or breaks one of these rules.
    """

    def __init__(self, path: str, height: int, width: int, n_classes: int, arguments: Mapping[str, Value | None] | None = None) -> None:
        self.n_classes = n_classes
        self._build = ModuleBuilder(path, height, width, n_classes, arguments or {})
        self._images = self._build.images
        self._module = self._build(seed=0).train()
        trained = {name: each for name, each in self._module.named_parameters() if each.requires_grad}
        self.shapes: Mapping[str, tuple[int, ...]] = {name: tuple(each.shape) for name, each in trained.items()}
        self._check_weights(trained)
        again, other = self._build(seed=0), self._build(seed=1)
        self._check_weights_of_seeds(again, other)
        self.draws = self._check_calls()
        self._buffers = self._changed_by_training()
        self.buffer_shapes: Mapping[str, tuple[int, ...]] = {name: tuple(each.shape) for name, each in self._buffers.items()}
        self._check_held(again, other)
        self._check_evaluation()
        self.activation_bytes = self._saved_bytes()

    @property
    def arguments(self) -> dict[str, Value | None]:
        """What it takes to build a module of it."""
        return dict(self._build.arguments)

    @property
    def n_weights(self) -> int:
        """Trained weights of one member."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @cached_property
    def learns_from_one_image(self) -> bool:
        """Whether a batch may have a single image: normalisation over a batch has nothing to go by then, where maps are one pixel large."""
        try:
            with generators_kept(CPU):
                self._module.train()
                self._try(self._images[:1].to(next(self._module.parameters()).device))
        except ModelError:
            return False
        return True

    def initial_weights(self, seed: int) -> Float[Tensor, " weight"]:
        """Flat initial weights: those of a module built after ``torch.manual_seed(seed)``. Leaves the global generator as it was."""
        return _row(self._build(seed).named_parameters(), self.shapes)

    def initial_buffers(self, seed: int) -> Float[Tensor, " buffer"]:
        """Flat initial values of the buffers that training changes, of the module that :meth:`initial_weights` are from."""
        return _row(self._build(seed).named_buffers(), self.buffer_shapes) if self.buffer_shapes else torch.empty(0)

    def split(self, weights: Float[Tensor, "member weight"]) -> dict[str, Tensor]:
        """Views of the flat rows: each weight tensor by name, with the member axis first."""
        return split_rows(weights, self.shapes)

    def split_buffers(self, buffers: Float[Tensor, "member buffer"]) -> dict[str, Tensor]:
        """Copies of the flat rows: each buffer that training changes by name, in its own type, with the member axis first."""
        pieces = split_rows(buffers, self.buffer_shapes)
        return {name: piece.to(self._buffers[name].dtype, copy=True) for name, piece in pieces.items()}

    def to(self, device: torch.device) -> None:
        """Move what the module holds besides its weights."""
        self._module.to(device)

    def __call__(
        self, tensors: Mapping[str, Tensor], images: Float[Tensor, "batch channel height width"], *, training: bool
    ) -> tuple[Float[Tensor, "batch cls"], dict[str, Tensor]]:
        """Raw logits of one member with these weights and buffers, in train or in eval mode, and its buffers afterwards."""
        if self._module.training is not training:
            self._module.train(training)
        state = dict(tensors)
        logits: Tensor = functional_call(self._module, state, (images,))  # what the module puts in a buffer's place is in there then
        return logits, {name: state[name] for name in self.buffer_shapes}

    def packed(
        self, tensors: Mapping[str, Tensor], images: Float[Tensor, "*member batch channel height width"], *, training: bool, shared: bool
    ) -> tuple[Float[Tensor, "member batch cls"], dict[str, Tensor]]:
        """As a call, of all members in one; ``shared``: they read the same images, which then have no member axis."""

        def call(tensors: Mapping[str, Tensor], images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            return self(tensors, images, training=training)

        found: tuple[Tensor, dict[str, Tensor]] = vmap(call, in_dims=(0, None if shared else 0))(dict(tensors), images)
        return found

    def reason_against_packing(self) -> str | None:
        """Why ``torch.func.vmap`` cannot train two members in one call as each would be alone, in words; ``None`` where it can."""
        if self.draws:
            return "it draws random numbers"
        weights = torch.stack([self.initial_weights(seed) for seed in (0, 1)])
        buffers = torch.stack([self.initial_buffers(seed) for seed in (0, 1)])
        trained = {name: each.requires_grad_() for name, each in self.split(weights).items()}
        for training in (True, False):
            try:
                logits, after = self.packed(trained | self.split_buffers(buffers), self._images, training=training, shared=True)
                torch.autograd.grad(logits.sum(), list(trained.values()), allow_unused=True)
            except Exception as error:  # vmap refuses in many ways what it cannot do
                return f"torch.func.vmap fails on it ({type(error).__name__})"
            for row in range(2):
                member = {name: each[row] for name, each in (trained | self.split_buffers(buffers)).items()}
                alone, of_its_own = self(member, self._images, training=training)
                if not (_close(logits[row], alone) and all(_close(after[name][row], each) for name, each in of_its_own.items())):
                    return "torch.func.vmap gives it other logits"
        return None

    def trained_module(self, weights: Float[Tensor, " weight"], buffers: Float[Tensor, " buffer"] | None) -> nn.Module:
        """A module of its own with these weights and buffers, in eval mode, on the CPU."""
        module = self._build(seed=0)
        own = {} if buffers is None else self.split_buffers(buffers[None].cpu())
        state = {name: each[0] for name, each in (self.split(weights[None].cpu()) | own).items()}
        with torch.no_grad():
            for name, tensor in (*module.named_parameters(), *module.named_buffers()):
                if name in state:
                    tensor.copy_(state[name])
        return module.eval()

    def _check_weights(self, trained: Mapping[str, nn.Parameter]) -> None:
        if not trained:
            raise self._refusal("has no parameters to train")
        for name, parameter in trained.items():
            if parameter.dtype != torch.float32:
                raise self._refusal(f"its parameter '{name}' is {parameter.dtype}; it must be torch.float32")

    def _check_weights_of_seeds(self, again: nn.Module, other: nn.Module) -> None:
        if other is again or again is self._module:
            raise self._refusal("returns the same module each time; each trial needs a new one")
        if any(_trained_shapes(module) != self.shapes for module in (again, other)):
            raise self._refusal("has other parameters each time it is built; all trials must train one architecture")
        if not torch.equal(_row(again.named_parameters(), self.shapes), _row(self._module.named_parameters(), self.shapes)):
            raise self._refusal("has initial weights that do not follow from torch.manual_seed, so no trial could be repeated")

    def _check_calls(self) -> bool:
        """Whether training calls draw random numbers; they must give float32 logits that follow from weights, buffers, images and seed."""
        with generators_kept(CPU):
            seed_generators("probe", CPU)
            before = _generators()
            logits = self._try(self._images)
            draws = _generators() != before
            seed_generators("probe", CPU)
            again = self._try(self._images)
        wanted = [N_PROBES, self.n_classes]
        if not isinstance(logits, Tensor) or list(logits.shape) != wanted or logits.dtype != torch.float32:
            got = f"{logits.dtype} of shape {list(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
            raise self._refusal(f"must return torch.float32 logits of shape {wanted} for {N_PROBES} images, got {got}{self._build.way_out}")
        if not logits.requires_grad:
            raise self._refusal("returns logits that autograd cannot follow back to its parameters")
        if not _close(again, logits):
            raise self._refusal(
                "gives other logits when it is called again with the same weights, buffers and seed; "
                "what it draws or counts must come from torch's generator or lie in a buffer"
            )
        return draws

    def _changed_by_training(self) -> dict[str, Tensor]:
        """The buffers that a training call changes, as they are at first."""
        held = dict(self._module.named_buffers())
        after = self._held_after(training=True)
        changed = {name: each for name, each in held.items() if not _same(each, after[name])}
        for name, each in changed.items():
            if after[name].shape != each.shape or after[name].dtype != each.dtype:
                raise self._refusal(f"its buffer '{name}' is of another shape or type after a call; it must keep both")
            if each.dtype == torch.float64 or each.is_complex():
                raise self._refusal(
                    f"changes its buffer '{name}', which is {each.dtype}; a trial keeps it as torch.float32, so make it that"
                )
        return changed

    def _check_held(self, again: nn.Module, other: nn.Module) -> None:
        """What a module holds besides the weights is the same for each seed, or a member's own and from its seed."""
        theirs, anew = dict(self._held(other)), dict(self._held(again))
        for name, tensor in self._held(self._module):
            if name in self._buffers:
                if not _same(tensor, anew[name]):
                    raise self._refusal(f"its buffer '{name}' does not follow from torch.manual_seed, so no trial could be repeated")
            elif not _same(tensor, theirs[name]):
                raise self._refusal(f"draws '{name}', which is not trained, anew each time; all trials must share it, or train it")

    def _check_evaluation(self) -> None:
        """In eval mode an image's logits are its own, and nothing changes."""
        self._module.eval()
        with generators_kept(CPU):
            seed_generators("probe", CPU)
            before = _generators()
            logits = self._try(self._images)
            draws = _generators() != before
            fewer = self._try(self._images[:-1])
        if draws:
            raise self._refusal("draws random numbers in eval mode too; draw them only where self.training is true")
        if not isinstance(logits, Tensor) or list(logits.shape) != [N_PROBES, self.n_classes] or logits.dtype != torch.float32:
            raise self._refusal("returns something else after .eval() than after .train(); it must return logits in both")
        if not _close(fewer, logits[:-1]):
            raise self._refusal("gives an image other logits in other company: in eval mode it must judge each image of a batch by itself")
        held, after = dict(self._module.named_buffers()), self._held_after(training=False)
        if changed := next((name for name, each in held.items() if not _same(each, after[name])), None):
            raise self._refusal(f"changes its buffer '{changed}' in eval mode too; change it only where self.training is true")
        self._module.train()

    def _held_after(self, *, training: bool) -> dict[str, Tensor]:
        """All buffers of the module after a call."""
        state = {name: each.clone() for name, each in self._module.named_buffers()}
        with generators_kept(CPU):
            seed_generators("probe", CPU)
            self._module.train(training)
            functional_call(self._module, state, (self._images,))
        return state

    def _saved_bytes(self) -> int:
        """Bytes of an image and of all that autograd keeps of it, but the weights."""
        weights = {each.untyped_storage().data_ptr() for each in self._module.parameters()}
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with generators_kept(CPU), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            logits = self._try(self._images)  # lives until the sum is taken, and with it all that it keeps
        activations = sum(n_bytes for pointer, n_bytes in kept.items() if pointer not in weights)
        return int(self._images.nbytes + logits.nbytes + activations) // N_PROBES

    def _try(self, images: Float[Tensor, "batch channel height width"]) -> Any:
        """What the module returns as it is, in the mode that it is in; its buffers stay as they were."""
        try:
            return functional_call(self._module, {name: each.clone() for name, each in self._module.named_buffers()}, (images,))
        except Exception as error:  # the user's forward may raise anything
            raise self._refusal(f"fails on images of shape {list(images.shape)}: {said(error)}") from error

    def _held(self, module: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """What a module holds besides the weights that are trained: buffers and frozen parameters."""
        yield from module.named_buffers()
        yield from ((name, each.detach()) for name, each in module.named_parameters() if name not in self.shapes)

    def _refusal(self, what: str) -> ModelError:
        return self._build.refusal(what)


def _trained_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(each.shape) for name, each in module.named_parameters() if each.requires_grad}


def _row(named: Iterator[tuple[str, Tensor]], names: Mapping[str, Any]) -> Float[Tensor, " value"]:
    """Those of these tensors that have one of the names, flat, in the names' order."""
    tensors = dict(named)
    return torch.cat([tensors[name].detach().flatten().float() for name in names])


def _generators() -> tuple[object, ...]:
    """The states of the generators of torch, NumPy and Python, to be compared."""
    of_numpy: Any = np.random.get_state(legacy=True)
    return torch.get_rng_state().numpy().tobytes(), np.asarray(of_numpy[1]).tobytes(), of_numpy[2:], random.getstate()


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one.nan_to_num(), other.nan_to_num())


def _close(found: Any, wanted: Tensor) -> bool:
    return isinstance(found, Tensor) and found.shape == wanted.shape and torch.allclose(found, wanted, rtol=RELATIVE, atol=ABSOLUTE)
