"""Whether the fused kernels may be trusted on the device at hand: a few steps are compared with PyTorch's operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sweeper.data.dataset import make_dataset
from sweeper.records import Phase, TrainingSettings, TrialConfig
from sweeper.training.gpu.geometry import FUSED_LOSSES
from sweeper.training.gpu.nvrtc import KernelError
from sweeper.training.model import ConvNet

IMAGES, BATCH_SIZES = 60, (24, 17)
"""Noise to train on: three and four steps, whose last batches are odd ends of tiles."""

FARTHEST = 0.02
"""How far a layer may end from where the operators take it, in parts of the way it went. Rounding makes 1e-6, and more where it decides
which of two pixels is the greater; what is wrong with a kernel makes 0.1 and more."""


def problem_with(pack_of: Callable[..., Any], kernels: Any, net: ConvNet) -> str | None:
    """Why these kernels cannot be trusted with this network, in words; ``None`` where they can.

    A member with each loss trains for an epoch by the kernels and by operators: losses and weights must be the same within rounding. A
    member alone must be the same to the bit as in company, which it is not where threads race. ``pack_of``: makes a
    :class:`~sweeper.training.engine.Pack` of a data set, settings, members and a backend.
    """
    draw, labels = np.random.default_rng(0), np.arange(IMAGES) % net.n_classes
    noise = draw.integers(0, 256, (IMAGES, net.height, net.width, 3), dtype=np.uint8), labels
    dataset = make_dataset("noise", noise, noise, [str(number) for number in range(net.n_classes)], (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    settings = TrainingSettings("convnet", 1, "batch", augment=True, validation=None, evaluate_on="test")
    shared = {"learning_rate": 0.02, "momentum": 0.9, "weight_decay": 0.01, "step_size": 1, "step_gamma": 1.0}
    members = [
        TrialConfig("proof", Phase.SEARCH, number, 1 + number // 4, {**shared, "loss": loss, "batch_size": BATCH_SIZES[number % 2]})
        for number, loss in enumerate(FUSED_LOSSES)
    ]
    try:
        packs = [pack_of(dataset, settings, *rest) for rest in ((members, kernels), (members[-1:], kernels), (members, "operators"))]
        found, _, expected = (pack.train_epoch() for pack in packs)
    except (KernelError, RuntimeError) as error:  # whatever CUDA says
        return " ".join(f"{type(error).__name__}: {error}".split())
    fused, alone, operators = packs
    if refused := fused.notice or alone.notice:
        return str(refused)
    for member in members:
        trial_id, loss = member.trial_id, member.parameters["loss"]
        begun = net.split(net.initial_weights(member.seed)[None])
        ours, theirs = fused.state(trial_id), operators.state(trial_id)
        for name, before in begun.items():
            key = f"weights/{name}"
            away, far = (float(np.linalg.norm(theirs[key] - other)) for other in (ours[key], before[0].numpy()))
            if not away <= FARTHEST * far:
                return f"{name} of a network with loss {loss} ends {away / far:.0%} of its way from where PyTorch's operators take it"
        for figure in ("train_loss", "val_loss", "val_nll"):
            ours_is, theirs_is = getattr(found[trial_id], figure), getattr(expected[trial_id], figure)
            if not abs(ours_is - theirs_is) <= FARTHEST * abs(theirs_is):
                return f"{figure} of a network with loss {loss} is {ours_is:.4g}, and {theirs_is:.4g} by PyTorch's operators"
    last = members[-1].trial_id
    if any((array != alone.state(last)[name]).any() for name, array in fused.state(last).items()):
        return "a network learns other bits in company than alone"
    return None
