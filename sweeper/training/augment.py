"""How training images are varied: the policies, and the random choices of an epoch as a pure function of (seed, epoch, policy).

Members with the same seed, epoch, policy and batch size read the same stream, so its images are cut and normalised once for all of them.
The draws are made on the CPU whatever the device, so that a trial sees the same batches everywhere, and none depends on an earlier one,
so that a trial continues from a checkpoint without any random state.

``none`` takes images as they are; ``flip`` mirrors them or not; ``crop_flip`` crops them out of a black border before. Two policies
change the bytes of what ``crop_flip`` has made: ``cutout`` (DeVries 2017, 1708.04552) covers a square, ``randaugment`` (Cubuk 2019,
1909.13719) applies two of torchvision's operations, each at its magnitude 9 of 0 to 30.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

PADDING = 4
"""Black pixels around an image before it is cropped back to its own size."""

N_OPERATIONS, MAGNITUDE, LAST_MAGNITUDE = 2, 9, 30
"""What torchvision's ``RandAugment`` does by default: operations on an image, and their magnitude."""

Images: TypeAlias = UInt8[Tensor, "image height width channel"]


@dataclass(frozen=True, slots=True)
class Draws:
    """One epoch's random choices in the order of its batches: position in the training split, crop offset (row, column), flip or not.

    ``edits``: of a policy that changes bytes, two numbers for each image: the centre (row, column) of the square, or which operations.
    They stay on the CPU, where they decide what is launched.
    """

    order: Int[Tensor, " image"]
    offsets: Int[Tensor, "image 2"]
    flips: Bool[Tensor, " image"]
    edits: npt.NDArray[np.int64] | None = None


def draw_epoch(seed: int, epoch: int, n_images: int, policy: str = "crop_flip", shape: tuple[int, int] = (0, 0)) -> Draws:
    """The draws of one epoch (counted from 1), on the CPU; equal arguments give equal draws, whatever was drawn before.

    ``shape``: height and width of the images. Neither it nor the policy changes what is drawn first: order, offsets and flips.
    """
    digest = hashlib.blake2b(f"{seed}/{epoch}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little", signed=True))
    order = torch.randperm(n_images, generator=generator)
    offsets = torch.randint(0, 2 * PADDING + 1, (n_images, 2), generator=generator)
    flips = torch.rand(n_images, generator=generator) < 0.5
    if policy in {"none", "flip"}:
        offsets = torch.full_like(offsets, PADDING)
    if policy == "none":
        flips = torch.zeros_like(flips)
    edits = None
    if policy == "cutout":
        edits = torch.stack([torch.randint(0, side, (n_images,), generator=generator) for side in shape], 1).numpy()
    elif policy == "randaugment":
        which = torch.randint(0, len(OPERATIONS), (n_images, N_OPERATIONS), generator=generator)
        is_negative = torch.rand(n_images, N_OPERATIONS, generator=generator) < 0.5
        edits = (2 * which + is_negative).numpy()
    return Draws(order, offsets, flips, edits)


def cut_bytes(
    images: Images,
    chosen: Int[Tensor, "stream batch"],
    offsets: Int[Tensor, "stream batch 2"] | None,
    flips: Bool[Tensor, "stream batch"] | None,
) -> UInt8[Tensor, "stream batch height width channel"]:
    """The chosen images, cropped and flipped where draws are given."""
    cut: Tensor = images[chosen]
    if offsets is not None and flips is not None:
        cut = crop_and_flip(cut.flatten(0, 1), offsets.flatten(0, 1), flips.flatten()).view(cut.shape)
    return cut


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


def edited(policy: str, images: Images, edits: npt.NDArray[np.int64], fill: UInt8[Tensor, " channel"]) -> Images:
    """The images as ``cutout``, which covers with ``fill``, or ``randaugment`` changes them; each by its own row of ``edits``."""
    return cut_out(images, edits, fill) if policy == "cutout" else rand_augmented(images, edits)


def cut_out(images: Images, centres: npt.NDArray[np.int64], fill: UInt8[Tensor, " channel"]) -> Images:
    """The images with a square around each centre covered, half as wide as the shorter side: 16 x 16 pixels of 32 x 32.

    As in the paper, every pixel may be the centre, and what lies outside of the image is not there to be covered.
    """
    height, width = images.shape[1:3]
    side = min(height, width) // 2
    first = torch.from_numpy(centres).to(images.device) - side // 2
    rows, columns = (
        (torch.arange(n, device=images.device) >= start[:, None]) & (torch.arange(n, device=images.device) < start[:, None] + side)
        for n, start in zip((height, width), first.unbind(1), strict=True)
    )
    return torch.where((rows[:, :, None] & columns[:, None, :])[..., None], fill, images)


def rand_augmented(images: Images, codes: npt.NDArray[np.int64]) -> Images:
    """The images after their operations, one after the other; those of the same operation are changed in one call."""
    import torchvision.transforms.v2.functional as F  # takes a second, which only this policy is to pay

    height, width = images.shape[1:3]
    planes = images.movedim(-1, 1).contiguous()
    for of_round in codes.T:
        for code in np.unique(of_round):
            operation = OPERATIONS[code // 2]
            amount = operation.amount(height, width) * (-1 if operation.is_signed and code % 2 else 1)
            chosen = torch.from_numpy(np.flatnonzero(of_round == code)).to(images.device)
            planes[chosen] = operation.apply(F, planes[chosen], amount)
    return planes.movedim(1, -1).contiguous()


@dataclass(frozen=True, slots=True)
class Operation:
    """One of torchvision's: ``apply(functional, images, amount)``, what it does by at most for an image, and whether to either side."""

    name: str
    apply: Callable[[Any, UInt8[Tensor, "image channel height width"], float], UInt8[Tensor, "image channel height width"]]
    most: Callable[[int, int], float] = lambda *_: 0.0
    is_signed: bool = False
    least: float = 0.0

    def amount(self, height: int, width: int) -> float:
        """What it does at :data:`MAGNITUDE`, in its own unit; rounded as by ``torch.linspace``, from which torchvision takes it."""
        step = np.float32(self.most(height, width) - self.least) / np.float32(LAST_MAGNITUDE)
        return float(np.float32(self.least) + np.float32(MAGNITUDE) * step)


def _moved(F: Any, images: Tensor, *, shear: tuple[float, float] = (0.0, 0.0), translate: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """Sheared by these slopes around the first pixel, or shifted by whole pixels; what comes in is black."""
    slopes = [math.degrees(math.atan(slope)) for slope in shear]
    shift = [int(pixels) for pixels in translate]
    moved: Tensor = F.affine(images, angle=0.0, translate=shift, scale=1.0, shear=slopes, center=[0, 0] if any(shear) else None)
    return moved


OPERATIONS: Sequence[Operation] = (
    Operation("Identity", lambda _F, images, _: images),
    Operation("ShearX", lambda F, images, amount: _moved(F, images, shear=(amount, 0.0)), lambda *_: 0.3, is_signed=True),
    Operation("ShearY", lambda F, images, amount: _moved(F, images, shear=(0.0, amount)), lambda *_: 0.3, is_signed=True),
    Operation(
        "TranslateX",
        lambda F, images, amount: _moved(F, images, translate=(amount, 0.0)),
        lambda _, width: 150 / 331 * width,
        is_signed=True,
    ),
    Operation(
        "TranslateY",
        lambda F, images, amount: _moved(F, images, translate=(0.0, amount)),
        lambda height, _: 150 / 331 * height,
        is_signed=True,
    ),
    Operation("Rotate", lambda F, images, amount: F.rotate(images, angle=amount), lambda *_: 30.0, is_signed=True),
    Operation("Brightness", lambda F, images, amount: F.adjust_brightness(images, 1 + amount), lambda *_: 0.9, is_signed=True),
    Operation("Color", lambda F, images, amount: F.adjust_saturation(images, 1 + amount), lambda *_: 0.9, is_signed=True),
    Operation("Contrast", lambda F, images, amount: F.adjust_contrast(images, 1 + amount), lambda *_: 0.9, is_signed=True),
    Operation("Sharpness", lambda F, images, amount: F.adjust_sharpness(images, 1 + amount), lambda *_: 0.9, is_signed=True),
    Operation("Posterize", lambda F, images, amount: F.posterize(images, bits=round(amount)), lambda *_: 4.0, least=8.0),
    Operation("Solarize", lambda F, images, amount: F.solarize(images, threshold=255 * amount), lambda *_: 0.0, least=1.0),
    Operation("AutoContrast", lambda F, images, _: F.autocontrast(images)),
    Operation("Equalize", lambda F, images, _: F.equalize(images)),
)
"""Those of torchvision's ``RandAugment``, in its order."""


def normalised_levels(mean: Sequence[float], std: Sequence[float]) -> Float[Tensor, "channel 256"]:
    """What each byte of each channel becomes: (byte / 255 - mean) / std, by torchvision's own operations."""
    levels = torch.arange(256).float().div(255)
    return (levels - torch.tensor(mean)[:, None]) / torch.tensor(std)[:, None]
