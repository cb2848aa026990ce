"""A custom model, named by import path: built, checked, and called with the weights passed to it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.parameter import is_lazy

from sweeper.catalogue import MODEL_ARGUMENTS
from sweeper.custom_code import UnsuitableModuleError, import_custom
from sweeper.errors import ModelError
from sweeper.training.model import split_rows

N_PROBES = 3
"""Images on which a model is tried out."""

RELATIVE, ABSOLUTE = 1e-3, 1e-4
"""What the order of sums may change in logits."""


class CustomModel:
    """The ``nn.Module`` that ``package.module:Name`` builds, with those of :data:`MODEL_ARGUMENTS` that its signature names.

    Its weights come from outside, so that one module serves every member. It may keep no state besides them, draw no random numbers
    when it is called, and must judge each image by itself: a trial's curve must follow from its seed, and its accuracy from its weights.

    Raises :class:`ModelError` where it cannot be built, does not turn images into logits, or breaks one of these rules.
    """

    def __init__(self, path: str, height: int, width: int, n_classes: int) -> None:
        self._path = path
        self.n_classes = n_classes
        self._images = torch.randn(N_PROBES, 3, height, width, generator=torch.Generator().manual_seed(0))
        self._build = self._builder(dict(zip(MODEL_ARGUMENTS, (n_classes, n_classes, height, width), strict=True)))
        self._module = self._built(seed=0)
        trained = {name: each for name, each in self._module.named_parameters() if each.requires_grad}
        self.shapes: Mapping[str, tuple[int, ...]] = {name: tuple(each.shape) for name, each in trained.items()}
        self._check_layers(trained)
        self._check_seeds()
        self._check_calls()
        self.activation_bytes = self._saved_bytes()

    @property
    def n_weights(self) -> int:
        """Trained weights of one member."""
        return sum(parameter.numel() for name, parameter in self._module.named_parameters() if name in self.shapes)

    def initial_weights(self, seed: int) -> Float[Tensor, " weight"]:
        """Flat initial weights: those of a module built after ``torch.manual_seed(seed)``. Leaves the global generator as it was."""
        return self._row(self._built(seed))

    def split(self, weights: Float[Tensor, "member weight"]) -> dict[str, Tensor]:
        """Views of the flat rows: each weight tensor by name, with the member axis first."""
        return split_rows(weights, self.shapes)

    def to(self, device: torch.device) -> None:
        """Move what the module holds besides its weights."""
        self._module.to(device)

    def __call__(self, tensors: Mapping[str, Tensor], images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch cls"]:
        """Raw logits of one member with these weights."""
        logits: Tensor = functional_call(self._module, dict(tensors), (images,))
        return logits

    def packed(
        self, tensors: Mapping[str, Tensor], images: Float[Tensor, "*member batch channel height width"], *, shared: bool
    ) -> Float[Tensor, "member batch cls"]:
        """Raw logits of all members in one call; ``shared``: they read the same images, which then have no member axis."""
        logits: Tensor = vmap(self.__call__, in_dims=(0, None if shared else 0))(dict(tensors), images)
        return logits

    def can_be_packed(self) -> bool:
        """Whether ``torch.func.vmap`` runs two members in one call, forward and backward, and gives what each gives alone."""
        weights = torch.stack([self.initial_weights(seed) for seed in (0, 1)])
        tensors = {name: each.requires_grad_() for name, each in self.split(weights).items()}
        try:
            logits = self.packed(tensors, self._images, shared=True)
            torch.autograd.grad(logits.sum(), list(tensors.values()), allow_unused=True)
        except Exception:  # vmap refuses in many ways what it cannot do: then members run one after the other
            return False
        alone = torch.stack([self({name: each[row] for name, each in tensors.items()}, self._images) for row in range(2)])
        return _close(logits, alone)

    def _builder(self, known: Mapping[str, int]) -> Callable[[], Any]:
        try:
            target: Any = import_custom(self._path)
            accepted = inspect.signature(target).parameters
        except UnsuitableModuleError as error:
            raise self._refusal(str(error)) from None
        except (Exception, SystemExit) as error:  # a user's module may raise anything while it is imported
            raise self._refusal(f"cannot be imported: {_said(error)}") from error
        return lambda: target(**{key: value for key, value in known.items() if key in accepted})

    def _built(self, seed: int) -> nn.Module:
        """A module as the user's code builds it after ``torch.manual_seed(seed)``."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                module = self._build()
                if isinstance(module, nn.Module) and any(map(is_lazy, module.parameters())):
                    module(self._images)
            except (Exception, SystemExit) as error:  # the user's code may raise anything
                raise self._refusal(f"cannot be built: {_said(error)}") from error
        if not isinstance(module, nn.Module):
            raise self._refusal(f"built a {type(module).__name__}; it must build a torch.nn.Module")
        return module

    def _check_layers(self, trained: Mapping[str, nn.Parameter]) -> None:
        for name, layer in self._module.named_modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm):
                raise self._refusal(
                    f"its layer '{name}' is a {type(layer).__name__}, which keeps running statistics beside the weights "
                    "and judges an image by the others of its batch; use torch.nn.GroupNorm"
                )
        if not trained:
            raise self._refusal("has no parameters to train")
        for name, parameter in trained.items():
            if parameter.dtype != torch.float32:
                raise self._refusal(f"its parameter '{name}' is {parameter.dtype}; it must be torch.float32")

    def _check_seeds(self) -> None:
        """The seed alone decides the weights, and nothing else that the module holds."""
        again, other = self._built(seed=0), self._built(seed=1)
        if other is again or again is self._module:
            raise self._refusal("returns the same module each time; each trial needs a new one")
        if self._shapes_of(again) != self.shapes or self._shapes_of(other) != self.shapes:
            raise self._refusal("has other parameters each time it is built; all trials must train one architecture")
        if not torch.equal(self._row(again), self._row(self._module)):
            raise self._refusal("has initial weights that do not follow from torch.manual_seed, so no trial could be repeated")
        held = dict(self._held(other))
        for name, tensor in self._held(self._module):
            if not torch.equal(tensor, held[name]):
                raise self._refusal(f"draws '{name}', which is not trained, anew each time; all trials must share it, or train it")

    def _check_calls(self) -> None:
        """Calls give float32 logits that depend on the image and the weights alone."""
        before = {name: tensor.clone() for name, tensor in self._held(self._module)}
        with torch.random.fork_rng(devices=[]):
            generator = torch.get_rng_state()
            logits = self._try(self._images)
            draws = not torch.equal(generator, torch.get_rng_state())
        wanted = [N_PROBES, self.n_classes]
        if not isinstance(logits, Tensor) or list(logits.shape) != wanted or logits.dtype != torch.float32:
            got = f"{logits.dtype} of shape {list(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
            raise self._refusal(f"must return torch.float32 logits of shape {wanted} for {N_PROBES} images, got {got}{self._way_out()}")
        if not logits.requires_grad:
            raise self._refusal("returns logits that autograd cannot follow back to its parameters")
        if draws:
            raise self._refusal("draws random numbers when it is called (dropout?), which no trial's seed decides; leave that out")
        for name, tensor in self._held(self._module):
            if not torch.equal(tensor, before[name]):
                raise self._refusal(f"changes its buffer '{name}' when it is called; a trial keeps nothing but its weights")
        if not _close(self._try(self._images[:1]), logits[:1]):
            raise self._refusal("gives an image other logits in other company: it must judge each image of a batch by itself")
        self._module.eval()
        evaluated = self._try(self._images)
        self._module.train()
        if not _close(evaluated, logits):
            raise self._refusal("gives other logits after .eval() than after .train(); it must do the same in both")

    def _saved_bytes(self) -> int:
        """Bytes of an image and of all that autograd keeps of it, but the weights."""
        weights = {each.untyped_storage().data_ptr() for each in self._module.parameters()}
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            logits = self._try(self._images)  # lives until the sum is taken, and with it all that it keeps
        activations = sum(n_bytes for pointer, n_bytes in kept.items() if pointer not in weights)
        return int(self._images.nbytes + logits.nbytes + activations) // N_PROBES

    def _try(self, images: Float[Tensor, "batch channel height width"]) -> Any:
        try:
            return self._module(images)
        except Exception as error:  # the user's forward may raise anything
            raise self._refusal(f"fails on images of shape {list(images.shape)}: {_said(error)}") from error

    def _way_out(self) -> str:
        named = inspect.signature(import_custom(self._path)).parameters.keys()  # type: ignore[arg-type]
        return "" if {"n_classes", "num_classes"} & named else "; let it take n_classes"

    def _row(self, module: nn.Module) -> Float[Tensor, " weight"]:
        parameters = dict(module.named_parameters())
        return torch.cat([parameters[name].detach().flatten() for name in self.shapes])

    def _shapes_of(self, module: nn.Module) -> dict[str, tuple[int, ...]]:
        return {name: tuple(each.shape) for name, each in module.named_parameters() if each.requires_grad}

    def _held(self, module: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """What a module holds besides the weights that are trained: buffers and frozen parameters."""
        yield from module.named_buffers()
        yield from ((name, each.detach()) for name, each in module.named_parameters() if name not in self.shapes)

    def _refusal(self, what: str) -> ModelError:
        return ModelError(f"training.model '{self._path}': {what}")


def _close(found: Any, logits: Tensor) -> bool:
    return isinstance(found, Tensor) and found.shape == logits.shape and torch.allclose(found, logits, rtol=RELATIVE, atol=ABSOLUTE)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
