"""Builds the ``nn.Module`` that an import path names, with the arguments that it takes, after a seed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sweeper.catalogue import MODEL_ARGUMENTS, model_arguments
from sweeper.custom_code import UnsuitableModuleError, import_custom
from sweeper.errors import ModelError
from sweeper.records import Value

N_PROBES = 3
"""Images on which a model is tried out."""

CLASSES = ("num_classes", "n_classes")
"""What builders call the number of classes, in the order in which one that takes ``**`` is tried."""


class ModuleBuilder:
    """Builds modules of ``package.module:Name`` with ``arguments``, and with what it is told of the data set (:func:`model_arguments`).

    One that takes ``**`` and names no number of classes, as torchvision's do, is given it by the name that leads to logits of that width,
    or not at all. ``arguments``: all that it is given. Raises :class:`ModelError` where it cannot be imported or built.
    """

    def __init__(self, path: str, height: int, width: int, n_classes: int, arguments: Mapping[str, Value | None]) -> None:
        self._path = path
        self.images: Float[Tensor, "batch 3 height width"] = torch.randn(
            N_PROBES, 3, height, width, generator=torch.Generator().manual_seed(0)
        )
        try:
            target: Any = import_custom(path)
            accepted = inspect.signature(target).parameters
        except UnsuitableModuleError as error:
            raise self.refusal(str(error)) from None
        except (Exception, SystemExit) as error:  # a user's module may raise anything while it is imported
            raise self.refusal(f"cannot be imported: {said(error)}") from error
        self._target = target
        known = dict(zip(MODEL_ARGUMENTS, (n_classes, n_classes, height, width), strict=True))
        self.arguments = {key: known[key] for key in model_arguments(accepted)} | dict(arguments)
        is_told = bool(self.arguments.keys() & set(CLASSES))
        takes_any = any(each.kind is each.VAR_KEYWORD for each in accepted.values())
        self.way_out = "" if is_told else "; let it take n_classes"
        if takes_any and not is_told:
            self._find_name_of_classes(n_classes)

    def __call__(self, seed: int) -> nn.Module:
        """A module as the user's code builds it after ``torch.manual_seed(seed)``. Leaves the global generator as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                module = self._target(**self.arguments)
                if isinstance(module, nn.Module) and any(map(is_lazy, (*module.parameters(), *module.buffers()))):
                    module.eval()(self.images)  # gives layers their sizes; statistics of such images are not kept
                    module.train()
            except (Exception, SystemExit) as error:  # the user's code may raise anything
                raise self.refusal(f"cannot be built: {said(error)}") from error
        if not isinstance(module, nn.Module):
            raise self.refusal(f"built a {type(module).__name__}; it must build a torch.nn.Module")
        return module

    def refusal(self, what: str) -> ModelError:
        """The error for what is wrong with the model."""
        return ModelError(f"model '{self._path}': {what}")

    def _find_name_of_classes(self, n_classes: int) -> None:
        ways = [{**self.arguments, name: n_classes} for name in CLASSES] + [self.arguments]
        built: list[Mapping[str, Value | None]] = []
        refusals: list[ModelError] = []
        for self.arguments in ways:
            try:
                module = self(seed=0)
            except ModelError as refusal:
                refusals.append(refusal)
                continue
            if self._width(module) == n_classes:
                return
            built.append(self.arguments)
        if not built:
            raise refusals[0]
        self.arguments = dict(built[0])

    def _width(self, module: nn.Module) -> int | None:
        """Width of the logits; ``None`` where there are none."""
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                return int(module.eval()(self.images).shape[1])
        except Exception:  # what is wrong is told by the check of the model
            return None


def said(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
