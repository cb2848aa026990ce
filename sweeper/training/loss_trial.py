"""Tries a custom loss on a few logits before any trial is trained with it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sweeper.errors import TrainingError
from sweeper.records import Value
from sweeper.training.custom_loss import UNTRAINED, CustomLoss, MemberFailure, generators_kept

N_PROBES = 6
"""Images of each of two batches on which a loss is tried; one more where there are as many classes, so that shapes tell them apart."""

SCALE = 0.1
"""Standard deviation of the logits: about that of a network that has learnt nothing yet."""

DEEPEST = 6
"""Containers within containers in which the state of a loss is looked for."""


def loss_problem(path: str, parameters: Mapping[str, Value], n_classes: int, device: str) -> str | None:
    """What is wrong with a loss with these parameters of a trial, or ``None``. What it prints goes to stderr.

    It must return a finite scalar or one loss per image, with a finite gradient, and no trial may find in it what another has left there:
    called again with the same seed it must say the same, and hold what it held before.
    """
    with generators_kept(torch.device(device)), contextlib.redirect_stdout(sys.stderr):
        try:
            _try(path, parameters, n_classes, torch.device(device))
        except TrainingError as error:
            return str(error)
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            return f"loss {path!r} fails: {MemberFailure.of(error).error}"
    return None


def _try(path: str, parameters: Mapping[str, Value], n_classes: int, device: torch.device) -> None:
    loss, fresh = (CustomLoss(path, parameters, device, seed=0) for _ in range(2))
    n_images = min(int(parameters["batch_size"]), N_PROBES + (n_classes == N_PROBES))
    first, second = (_batch(n_images, n_classes, seed, device) for seed in (0, 1))
    leaves, others = _leaves(loss, *first), _leaves(loss, *second)
    for trained in leaves:
        if any(trained is other for other in others):  # one that is made in the call, for a penalty on gradients, is another each time
            raise TrainingError(f"loss {path!r} depends on a tensor of shape {list(trained.shape)} that requires a gradient, {UNTRAINED}")
    said = [_said(path, loss, *batch) for batch in (first, second)]
    held = dict(_held(loss.target, set()))
    again = [_said(path, loss, *batch) for batch in (first, second)]
    now = dict(_held(loss.target, set()))
    if changed := next((name for name in {**held, **now} if not _same(held.get(name), now.get(name))), None):
        raise TrainingError(f"loss {path!r} changes its {changed} when it is called; a loss keeps nothing from one batch to the next")
    if not _equal(said, again) or not _equal(said[1:], [_said(path, fresh, *second)]):
        raise TrainingError(
            f"loss {path!r} gives the same batch another loss when it is called again: it may depend on its arguments alone, "
            "and on what torch, numpy.random and random draw, which are seeded for it"
        )
    with torch.no_grad():
        loss.mean_over(*first, n_images, "tried")


def _batch(n_images: int, n_classes: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = SCALE * torch.randn(n_images, n_classes, generator=generator)
    labels = torch.randint(n_classes, (n_images,), generator=generator)
    return logits.to(device), labels.to(device)


def _said(path: str, loss: CustomLoss, logits: Float[Tensor, "batch cls"], labels: Int[Tensor, " batch"]) -> tuple[Tensor, Tensor]:
    """Loss and gradient, both finite."""
    value, gradient = loss.with_gradient(logits, labels, "tried")
    if not value.isfinite():
        raise TrainingError(f"loss {path!r} is {value.item()} on small logits, where training begins")
    if not gradient.isfinite().all():
        raise TrainingError(f"loss {path!r} has a gradient that is not finite on small logits, where training begins")
    return value, gradient


def _equal(some: list[tuple[Tensor, Tensor]], others: list[tuple[Tensor, Tensor]]) -> bool:
    """Equal to the last bit; on a GPU, whose sums have no fixed order, nearly so."""
    pairs = [(a, b) for one, other in zip(some, others, strict=True) for a, b in zip(one, other, strict=True)]
    return all(torch.allclose(a, b) if a.is_cuda else torch.equal(a, b) for a, b in pairs)


def _leaves(loss: CustomLoss, logits: Float[Tensor, "batch cls"], labels: Int[Tensor, " batch"]) -> list[Tensor]:
    """The tensors besides the logits that the loss depends on and that want a gradient."""
    with torch.enable_grad():
        leaf = logits.clone().requires_grad_()
        nodes = [loss(leaf, labels, "tried").grad_fn]
    leaves, seen = [], set()
    while nodes:
        node: Any = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found = getattr(node, "variable", None)
        if isinstance(found, Tensor) and found is not leaf:
            leaves.append(found)
        nodes += [following for following, _ in node.next_functions]
    return leaves


def _held(found: Any, seen: set[int], name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """What an object holds between two calls, by name: values that can be compared, copied where they could change."""
    if isinstance(found, Tensor):
        yield f"tensor '{name}'", found.detach().clone()
    elif isinstance(found, np.ndarray):
        yield f"array '{name}'", found.copy()
    elif isinstance(found, torch.Generator):
        yield f"generator '{name}'", found.get_state()
    elif isinstance(found, bool | int | float | complex | str | bytes | None):
        yield f"attribute '{name}'", found
    elif depth < DEEPEST and id(found) not in seen:
        seen.add(id(found))
        for key, value in (*_parts(found), *(_shared(found) if depth == 0 else ())):
            yield from _held(value, seen, f"{name}.{key}" if name else f"{key}", depth + 1)


def _parts(found: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(found, Mapping):
        yield from found.items()
    elif isinstance(found, list | tuple | set | frozenset | deque):
        yield from enumerate(found)
    elif isinstance(found, nn.Module):
        yield from (*found.named_buffers(recurse=False), *found.named_children())
        yield from ((key, value) for key, value in vars(found).items() if key not in _OF_MODULES)
    elif isinstance(found, functools.partial):
        yield from (("function", found.func), ("arguments", found.args), ("keywords", found.keywords))
    elif inspect.ismethod(found):
        yield from (("object", found.__self__), ("function", found.__func__))
    elif inspect.isfunction(found):
        yield from _shared(found)
        yield from (("default", found.__defaults__), *vars(found).items())
    elif not _is_code(found) and hasattr(found, "__dict__"):
        yield from vars(found).items()


def _shared(found: Any) -> Iterator[tuple[Any, Any]]:
    """Data outside a loss that its code names: variables of its module, and attributes of its class."""
    if inspect.isfunction(found):
        variables = inspect.getclosurevars(found)
        named = {**variables.nonlocals, **variables.globals}
    elif isinstance(found, type) or inspect.isroutine(found) or isinstance(found, functools.partial):
        return
    else:
        bases = [base for base in type(found).__mro__ if base not in nn.Module.__mro__]
        named = {key: value for base in bases for key, value in vars(base).items() if not key.startswith("__")}
        method = getattr(type(found), "forward" if isinstance(found, nn.Module) else "__call__", None)
        named |= dict(_shared(method)) if inspect.isfunction(method) else {}
    yield from ((key, value) for key, value in named.items() if not _is_code(value))


_OF_MODULES = frozenset(vars(nn.Module()))
"""Attributes of every ``nn.Module``, PyTorch's own."""


def _is_code(found: Any) -> bool:
    """Whether it is what a module consists of, and not data: modules, classes, and functions other than the loss itself."""
    return inspect.ismodule(found) or isinstance(found, type) or inspect.isroutine(found)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and bool(((one == other) | one.isnan() & other.isnan()).all())
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return type(one) is type(other) and repr(one) == repr(other)  # NaN is the same as NaN
