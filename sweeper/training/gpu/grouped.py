"""The fused model made of PyTorch's operators: grouped convolutions and batched matrix products under autograd. Runs on any device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from sweeper.training.augment import cut_bytes
from sweeper.training.model import POOL, ConvNet

DETERMINISTIC = True
"""Whether cuDNN may only use algorithms whose sums are the same on every run. What that costs grouped convolutions was never measured."""

_BACKENDS: Any = torch.backends  # which is typed in parts

_EXACT: tuple[tuple[Any, str, object], ...] = (
    (_BACKENDS.cudnn, "enabled", True),
    (_BACKENDS.cudnn, "benchmark", False),  # it may choose another algorithm on every run
    (_BACKENDS.cudnn, "deterministic", DETERMINISTIC),
    (_BACKENDS.cudnn.conv, "fp32_precision", "ieee"),
    (_BACKENDS.cudnn.rnn, "fp32_precision", "ieee"),
    (_BACKENDS.cuda.matmul, "fp32_precision", "ieee"),
    (_BACKENDS.mkldnn.matmul, "fp32_precision", "ieee"),
)
"""What PyTorch is told while a model runs: where, what, and the value."""


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
        cut = cut_bytes(images, chosen, offsets, flips)
        return torch.addcmul(self._shift, cut.float(), self._scale).movedim(-1, -3)


class Grouped(DeviceCut):
    """All members that take equal steps in one block, on streams of their own."""

    max_members: int | None = None
    mixes_streams = True

    def __init__(self, net: ConvNet, levels: Float[Tensor, "channel 256"], device: torch.device) -> None:
        super().__init__(levels, device)
        self._net = net

    def network(
        self, weights: Float[Tensor, "member weight"], streams: Sequence[int], precision: str = "float32", *_: object
    ) -> GroupedNetwork:
        """A fused model of these weights, whose member i reads row ``streams[i]`` of the batches."""
        rows = torch.tensor(streams, device=self._shift.device) if len(set(streams)) > 1 else None
        return GroupedNetwork(self._net, weights, rows, precision)


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Convolutions and matrix products in full float32, with the same sums on every run: a trial learns on a GPU what it learns on a CPU.

    Whatever a module of the user's has set is as it was behind the block. PyTorch has an old and a new way to set the same, and refuses
    to read, or to multiply, where they disagree; so both are set.
    """
    before = [getattr(room, name) for room, name, _ in _EXACT]
    _set_all([value for *_, value in _EXACT])
    # from here on the new way says "ieee" everywhere, so that of the old one only a contradiction is refused
    matmul_precision = torch.get_float32_matmul_precision()
    try:
        allow_tf32 = torch.backends.cudnn.allow_tf32
    except RuntimeError:
        allow_tf32 = True
    try:
        _set_old_way("highest", allow_tf32=False)
        _set_all([value for *_, value in _EXACT])
        yield
    finally:
        _set_old_way(matmul_precision, allow_tf32=allow_tf32)
        _set_all(before)


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """A block in which operators compute in this precision, as far as PyTorch thinks that they can.

    Without a cache of the weights that it converts: each is used once, and a graph of a step may hold none.
    """
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def _set_all(values: Sequence[object]) -> None:
    for (room, name, _), value in zip(_EXACT, values, strict=True):
        setattr(room, name, value)


def _set_old_way(matmul_precision: str, *, allow_tf32: bool) -> None:
    """The older settings, which overwrite some of :data:`_EXACT`."""
    torch.set_float32_matmul_precision(matmul_precision)
    torch.backends.cudnn.allow_tf32 = allow_tf32


class GroupedNetwork:
    """Members as groups of one convolution; ``streams`` is ``None`` when all of them read the only row of each batch."""

    def __init__(
        self, net: ConvNet, weights: Float[Tensor, "member weight"], streams: Int[Tensor, " member"] | None, precision: str
    ) -> None:
        self._tensors = {name: tensor.requires_grad_() for name, tensor in net.split(weights.detach()).items()}
        self._streams = streams
        self._precision = precision
        self._logits = torch.empty(0)

    def forward(self, images: Float[Tensor, "stream batch channel height width"], n_images: int) -> Float[Tensor, "member batch cls"]:
        """Raw logits of every member.

        On one stream the first convolution of all members is one ordinary convolution with 4K output channels.
        """
        with torch.enable_grad(), autocast(self._precision, images.device):
            self._logits = self._run(images, n_images).float()
        return self._logits.detach()

    def logits(self, images: Float[Tensor, "stream batch channel height width"], n_images: int) -> Float[Tensor, "member batch cls"]:
        """As :meth:`forward`, without a graph."""
        with torch.no_grad(), autocast(self._precision, images.device):
            return self._run(images, n_images).float()

    def backward(self, gradient: Float[Tensor, "member batch cls"]) -> Float[Tensor, "member weight"]:
        """Gradient of every weight, from that of the logits."""
        pieces = torch.autograd.grad(self._logits, list(self._tensors.values()), gradient)
        return torch.cat([piece.flatten(1) for piece in pieces], 1)

    def _run(self, images: Float[Tensor, "stream batch channel height width"], n_images: int) -> Float[Tensor, "member batch cls"]:
        """Raw logits of every member, under autograd where it is enabled."""
        tensors = self._tensors
        n_members = len(tensors["fc1.bias"])
        if self._streams is None:
            x, groups = images[0], 1
        else:  # the members' channels side by side: the only copy of the images that a step makes
            by_member = images.permute(1, 3, 4, 0, 2).index_select(3, self._streams)
            x, groups = by_member.flatten(3).permute(0, 3, 1, 2), n_members
        x = x.contiguous(memory_format=torch.channels_last)
        x = F.conv2d(x, tensors["conv1.weight"].flatten(0, 1), tensors["conv1.bias"].flatten(), groups=groups)
        x = F.relu(F.max_pool2d(x, POOL))
        x = F.conv2d(x, tensors["conv2.weight"].flatten(0, 1), tensors["conv2.bias"].flatten(), groups=n_members)
        x = F.relu(F.max_pool2d(x, POOL))
        rows = x.reshape(n_images, n_members, -1).transpose(0, 1)
        hidden = F.relu(torch.baddbmm(tensors["fc1.bias"][:, None], rows, tensors["fc1.weight"].transpose(1, 2)))
        return torch.baddbmm(tensors["fc2.bias"][:, None], hidden, tensors["fc2.weight"].transpose(1, 2))
