"""Batches of an epoch as a pure function of (seed, epoch): order, crop offsets and flips, and the images they pick, on the device.

Members with the same seed, epoch and batch size read the same stream, so its images are cropped and normalised once for all of them.
The draws are made on the CPU whatever the device, so that a trial sees the same batches everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
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


def crop_and_flip(
    images: UInt8[Tensor, "batch height width channel"], offsets: Int[Tensor, "batch 2"], flips: Bool[Tensor, " batch"]
) -> UInt8[Tensor, "batch height width channel"]:
    """Each image padded with black, cut at its offset, and mirrored where its flip says so."""
    n_images, height, width, n_channels = images.shape
    padded = images.new_zeros(n_images, height + 2 * PADDING, width + 2 * PADDING, n_channels)
    padded[:, PADDING : PADDING + height, PADDING : PADDING + width] = images
    rows = offsets[:, :1] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    columns = offsets[:, 1:] + torch.where(flips[:, None], width - 1 - columns, columns)
    numbers = torch.arange(n_images, device=images.device)
    return padded[numbers[:, None, None], rows[:, :, None], columns[:, None, :]]


class Normalizer:
    """Bytes to the network's input: (x / 255 - mean) / std per channel, channels first."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        means, stds = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        self.scale = (1 / (255 * stds)).float().to(device)
        self.shift = (-means / stds).float().to(device)

    def __call__(self, images: UInt8[Tensor, "*batch height width channel"]) -> Float[Tensor, "*batch channel height width"]:
        """Normalised images; the memory stays channels-last."""
        return torch.addcmul(self.shift, images.float(), self.scale).movedim(-1, -3)
