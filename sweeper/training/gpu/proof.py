"""Whether the fused kernels, or graphs of steps by operators, may be trusted on the device at hand: a few steps are compared.

``pack_of`` makes a :class:`~sweeper.training.engine.Pack` of a data set, settings, members, and what is in question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sweeper.data import Dataset
from sweeper.data.dataset import make_dataset
from sweeper.records import Phase, TrainingSettings, TrialConfig
from sweeper.training.gpu.geometry import FUSED_LOSSES
from sweeper.training.gpu.nvrtc import KernelError
from sweeper.training.model import ConvNet, Model

IMAGES, BATCH_SIZES = 67, (24, 17)
"""Noise to train on: three and four steps, whose last batches are odd ends of tiles."""

GRAPH_BATCH_SIZES = (2, 2)
"""Of them 33 batches make an epoch that is worth a graph, and one image is left over."""

FARTHEST = 0.02
"""How far a layer may end from where it should, in parts of the way it went. Rounding makes 1e-6, and more where it decides which of two
pixels is the greater; what is wrong with a kernel makes 0.1 and more."""


def problem_with_kernels(pack_of: Callable[..., Any], kernels: Any, net: ConvNet) -> str | None:
    """Why these kernels cannot be trusted with this network, in words; ``None`` where they can.

    A member with each loss trains for an epoch by the kernels and by operators: losses and weights must be the same within rounding. A
    member alone must be the same to the bit as in company, which it is not where threads race.
    """
    dataset, members = noise(net.height, net.width, net.n_classes), _members(BATCH_SIZES)
    last = members[-1:]
    found = _trained(pack_of, dataset, "convnet", (members, kernels), (last, kernels), (members, "operators"))
    if isinstance(found, str):
        return found
    fused, alone, operators = found
    if problem := _difference(net, members, (fused, operators), "by PyTorch's operators"):
        return problem
    together, by_itself = (pack.state(last[0].trial_id) for pack, _ in (fused, alone))
    if any((array != by_itself[name]).any() for name, array in together.items()):
        return "a network learns other bits in company than alone"
    return None


def problem_with_graphs(pack_of: Callable[..., Any], capture: Any, model: str, dataset: Dataset) -> str | None:
    """Why graphs of steps cannot be trusted with this model on this noise; ``None`` where they can.

    A member with each loss trains for an epoch with and without graphs: losses and weights must be the same within rounding.
    """
    members = _members(GRAPH_BATCH_SIZES)
    found = _trained(pack_of, dataset, model, (members, capture), (members, None))
    if isinstance(found, str):
        return found
    return _difference(found[0][0].net, members, found, "without a graph")


def noise(height: int, width: int, n_classes: int) -> Dataset:
    """Images to train on, and the same to be tested on."""
    draw, labels = np.random.default_rng(0), np.arange(IMAGES) % n_classes
    images = draw.integers(0, 256, (IMAGES, height, width, 3), dtype=np.uint8), labels
    return make_dataset("noise", images, images, [str(number) for number in range(n_classes)], (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def _members(batch_sizes: tuple[int, int]) -> list[TrialConfig]:
    """One with each loss, of two seeds."""
    shared = {"learning_rate": 0.02, "momentum": 0.9, "weight_decay": 0.01, "step_size": 1, "step_gamma": 1.0}
    return [
        TrialConfig("proof", Phase.SEARCH, number, 1 + number // 4, {**shared, "loss": loss, "batch_size": batch_sizes[number % 2]})
        for number, loss in enumerate(FUSED_LOSSES)
    ]


def _trained(pack_of: Callable[..., Any], dataset: Dataset, model: str, *sides: tuple[Sequence[TrialConfig], Any]) -> list[Any] | str:
    """A pack for each side after an epoch, with the figures of it; or why there is none."""
    settings = TrainingSettings(model, 1, "batch", augment=True, validation=None, evaluate_on="test")
    trained = []
    try:
        for members, way in sides:
            pack = pack_of(dataset, settings, members, way)
            trained.append((pack, pack.train_epoch()))
            if pack.notice:
                return str(pack.notice)
    except (KernelError, RuntimeError) as error:  # whatever CUDA says
        return " ".join(f"{type(error).__name__}: {error}".split())
    return trained


def _difference(net: Model, members: Sequence[TrialConfig], trained: Sequence[Any], how: str) -> str | None:
    """What differs by more than rounding between two packs of these members, with their figures; the second trained ``how``."""
    for member in members:
        trial_id, loss = member.trial_id, member.parameters["loss"]
        ours, theirs = (pack.state(trial_id) for pack, _ in trained)
        for name, before in net.split(net.initial_weights(member.seed)[None]).items():
            key = f"weights/{name}"
            away, far = (float(np.linalg.norm(theirs[key] - other)) for other in (ours[key], before[0].numpy()))
            if not away <= FARTHEST * far:
                return f"{name} of a network with loss {loss} ends {away / far:.0%} of its way from where it ends {how}"
        for figure in ("train_loss", "val_loss", "val_nll"):
            ours_is, theirs_is = (getattr(figures[trial_id], figure) for _, figures in trained)
            if not abs(ours_is - theirs_is) <= FARTHEST * abs(theirs_is):
                return f"{figure} of a network with loss {loss} is {ours_is:.4g}, and {theirs_is:.4g} {how}"
    return None
