"""The random choices of an epoch as a pure function of (seed, epoch): order of the images, crop offsets and flips.

Members with the same seed, epoch and batch size read the same stream, so its images are cropped and normalised once for all of them.
The draws are made on the CPU whatever the device, so that a trial sees the same batches everywhere, and none depends on an earlier one,
so that a trial continues from a checkpoint without any random state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

PADDING = 4
"""Black pixels around an image before it is cropped back to its own size."""


@dataclass(frozen=True, slots=True)
class Draws:
    """One epoch's random choices in the order of its batches: position in the training split, crop offset (row, column), flip or not."""

    order: Int[Tensor, " image"]
    offsets: Int[Tensor, "image 2"]
    flips: Bool[Tensor, " image"]


def draw_epoch(seed: int, epoch: int, n_images: int) -> Draws:
    """The draws of one epoch (counted from 1), on the CPU; equal arguments give equal draws, whatever was drawn before."""
    digest = hashlib.blake2b(f"{seed}/{epoch}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little", signed=True))
    order = torch.randperm(n_images, generator=generator)
    offsets = torch.randint(0, 2 * PADDING + 1, (n_images, 2), generator=generator)
    return Draws(order, offsets, torch.rand(n_images, generator=generator) < 0.5)


def normalised_levels(mean: Sequence[float], std: Sequence[float]) -> Float[Tensor, "channel 256"]:
    """What each byte of each channel becomes: (byte / 255 - mean) / std, by torchvision's own operations."""
    levels = torch.arange(256).float().div(255)
    return (levels - torch.tensor(mean)[:, None]) / torch.tensor(std)[:, None]
