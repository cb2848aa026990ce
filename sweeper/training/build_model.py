"""Builds the model that a space names: one of the catalogue, or a custom one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sweeper.catalogue import MODELS
from sweeper.custom_code import is_import_path
from sweeper.data import Dataset
from sweeper.errors import TrainingError
from sweeper.records import Architecture, Network
from sweeper.training.model import ConvNet

if TYPE_CHECKING:
    from torch import nn

    from sweeper.training.custom_model import CustomModel


def build_model(architecture: Architecture, dataset: Dataset) -> ConvNet | CustomModel:
    """The model for the images and classes of a data set.

    Raises :class:`TrainingError` where it is unknown or does not fit them.
    """
    name = architecture.name
    height, width = dataset.train_images.shape[1:3]
    if is_import_path(name):
        from sweeper.training.custom_model import CustomModel
        from sweeper.training.threads import on_one_thread  # three images: more threads would wait for each other on a busy machine

        return on_one_thread(CustomModel, name, height, width, len(dataset.classes), dict(architecture.arguments))
    if name not in MODELS:
        raise TrainingError(f"unknown model {name!r}; known are {', '.join(MODELS)}, or package.module:Name for one of your own")
    return ConvNet(height, width, len(dataset.classes))


def build_module(network: Network) -> nn.Module:
    """The network as a plain module of PyTorch, with weights of its own; raises as :func:`build_model`."""
    if is_import_path(network.model):
        from sweeper.training.custom_module import ModuleBuilder

        height, width = network.image_size
        return ModuleBuilder(network.model, height, width, len(network.classes), network.arguments)(seed=0)
    return ConvNet(**network.arguments).module()  # type: ignore[arg-type]  # numbers, as ConvNet.arguments gave them


def most_weights(described: object) -> int:
    """Weights of the largest of the models that :func:`describe_models` has described; 0 where that is not known, as beside a loop."""
    models = described if isinstance(described, list) else [described]
    return max((int(each.get("weights", 0)) for each in models if isinstance(each, dict)), default=0)


def describe_models(architectures: Sequence[Architecture], dataset: Dataset) -> dict[str, Any] | list[dict[str, Any]]:
    """Name, arguments and number of weights of the model that a sweep trains, or of each, for its provenance; raises as
    :func:`build_model`.
    """
    found = [
        {
            "name": each.name,
            **({"arguments": dict(each.arguments)} if each.arguments else {}),
            "weights": build_model(each, dataset).n_weights,
        }
        for each in architectures
    ]
    return found[0] if len(found) == 1 else found
