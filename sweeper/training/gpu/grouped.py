"""The fused model made of PyTorch's operators: grouped convolutions and batched matrix products under autograd. Runs on any device."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from sweeper.training.augment import PADDING
from sweeper.training.model import POOL, ConvNet


class DeviceCut:
    """Cuts batches with PyTorch's own operators, on any device."""

    def __init__(self, levels: Float[Tensor, "channel 256"], device: torch.device) -> None:
        self._shift = levels[:, 0].to(device)
        self._scale = ((levels[:, 255] - levels[:, 0]) / 255).to(device)

    def cut(
        self,
        images: UInt8[Tensor, "image height width channel"],
        chosen: Int[Tensor, "stream batch"],
        offsets: Int[Tensor, "stream batch 2"] | None,
        flips: Bool[Tensor, "stream batch"] | None,
    ) -> Float[Tensor, "stream batch channel height width"]:
        """The chosen images, cropped, flipped and normalised; in memory the channels come last."""
        cut = images[chosen]
        if offsets is not None and flips is not None:
            cut = crop_and_flip(cut.flatten(0, 1), offsets.flatten(0, 1), flips.flatten()).view(cut.shape)
        return torch.addcmul(self._shift, cut.float(), self._scale).movedim(-1, -3)


class Grouped(DeviceCut):
    """All members that take equal steps in one block, on streams of their own."""

    max_members: int | None = None
    mixes_streams = True

    def __init__(self, net: ConvNet, levels: Float[Tensor, "channel 256"], device: torch.device) -> None:
        super().__init__(levels, device)
        self._net = net

    def network(self, weights: Float[Tensor, "member weight"], streams: Sequence[int]) -> GroupedNetwork:
        """A fused model of these weights, whose member i reads row ``streams[i]`` of the batches."""
        rows = torch.tensor(streams, device=self._shift.device) if len(set(streams)) > 1 else None
        return GroupedNetwork(self._net, weights, rows)


def exact_convolutions() -> AbstractContextManager[None]:
    """Convolutions in full float32 whose sums are the same on every run: a trial must learn on a GPU what it learns on a CPU."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False, fp32_precision="ieee")


class GroupedNetwork:
    """Members as groups of one convolution; ``streams`` is ``None`` when all of them read the only row of each batch."""

    def __init__(self, net: ConvNet, weights: Float[Tensor, "member weight"], streams: Int[Tensor, " member"] | None) -> None:
        self._tensors = {name: tensor.requires_grad_() for name, tensor in net.split(weights.detach()).items()}
        self._streams = streams
        self._logits = torch.empty(0)

    def forward(self, images: Float[Tensor, "stream batch channel height width"], n_images: int) -> Float[Tensor, "member batch cls"]:
        """Raw logits of every member.

        On one stream the first convolution of all members is one ordinary convolution with 4K output channels.
        """
        with torch.enable_grad(), exact_convolutions():
            self._logits = self._run(images, n_images)
        return self._logits.detach()

    def backward(self, gradient: Float[Tensor, "member batch cls"]) -> Float[Tensor, "member weight"]:
        """Gradient of every weight, from that of the logits."""
        with exact_convolutions():
            pieces = torch.autograd.grad(self._logits, list(self._tensors.values()), gradient)
        return torch.cat([piece.flatten(1) for piece in pieces], 1)

    def _run(self, images: Float[Tensor, "stream batch channel height width"], n_images: int) -> Float[Tensor, "member batch cls"]:
        """Raw logits of every member, under autograd."""
        tensors = self._tensors
        n_members = len(tensors["fc1.bias"])
        if self._streams is None:
            x, groups = images[0], 1
        else:
            x, groups = images[self._streams].transpose(0, 1).flatten(1, 2), n_members
        x = x.contiguous(memory_format=torch.channels_last)
        x = F.conv2d(x, tensors["conv1.weight"].flatten(0, 1), tensors["conv1.bias"].flatten(), groups=groups)
        x = F.relu(F.max_pool2d(x, POOL))
        x = F.conv2d(x, tensors["conv2.weight"].flatten(0, 1), tensors["conv2.bias"].flatten(), groups=n_members)
        x = F.relu(F.max_pool2d(x, POOL))
        rows = x.reshape(n_images, n_members, -1).transpose(0, 1)
        hidden = F.relu(torch.baddbmm(tensors["fc1.bias"][:, None], rows, tensors["fc1.weight"].transpose(1, 2)))
        return torch.baddbmm(tensors["fc2.bias"][:, None], hidden, tensors["fc2.weight"].transpose(1, 2))


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
