"""The ConvNet trained by kernels of our own (``convnet.cu``): an epoch of all members of a pack is one CUDA graph of two kernels a step.

Members mix freely: streams of batches, their sizes, losses, rates. Other networks, and losses of the user's own, are :mod:`.grouped`'s.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float64, Int32, UInt8
from torch import Tensor

from sweeper.catalogue import LOSSES
from sweeper.records import TrainingSettings
from sweeper.training.block import Kind, Member
from sweeper.training.device_data import DeviceData, Split
from sweeper.training.gpu.geometry import FUSED_LOSSES, Arguments, Geometry, MemberRow
from sweeper.training.model import HIDDEN, ConvNet

FUSED_POLICIES = ("none", "flip", "crop_flip")

SCRATCH_TILES = 32
"""Tiles of a member that are evaluated at once where their images are too large for shared memory, which bounds what they take instead."""

Stream = TypeVar("Stream", bound=Hashable)


class Kernels(Protocol):
    """Compiled kernels and the way to launch them: on a GPU :class:`sweeper.training.gpu.nvrtc.DeviceKernels`."""

    geometry: Geometry

    def launch(self, kernel: str, grid: tuple[int, int], arguments: Arguments, step: int) -> None:
        """Queue ``train``, ``update`` or ``evaluate`` on a grid of (pieces, members)."""
        ...

    def captured(self, launches: Callable[[], None]) -> Callable[[], None]:
        """A function that does all of ``launches``, as cheaply as the device can. It may run them once before."""
        ...


@dataclass(frozen=True, slots=True)
class _Buffers:
    """Memory for an epoch of up to so many members, at addresses that stay, and the epoch as one call.

    Good for streams of ``n_images``, in at most ``n_steps`` batches of at most ``n_tiles`` tiles.
    """

    n_images: int
    n_steps: int
    n_tiles: int
    weights: Float[Tensor, "member weight"]
    velocity: Float[Tensor, "member weight"]
    fc1_turned: Float[Tensor, "member feature hidden"]
    figures: Float64[Tensor, "member 2"]
    members: UInt8[Tensor, "member byte"]
    order: Int32[Tensor, "stream image"]
    corners: Int32[Tensor, "stream image"]
    others: tuple[Tensor, ...]
    run: Callable[[], None]

    def suit(self, n_members: int, n_streams: int, n_images: int, n_steps: int, n_tiles: int, *, varied: bool) -> bool:
        """Whether they are large enough, and not more than twice as large as needed: empty places cost a little each."""
        same = (n_images, n_steps, n_tiles, varied) == (self.n_images, self.n_steps, self.n_tiles, len(self.corners) > 0)
        return same and n_members <= len(self.weights) < 2 * n_members and n_streams <= len(self.order)


class Fused:
    """Trains and evaluates members of one network on one device."""

    def __init__(
        self, net: ConvNet, levels: Float[Tensor, "channel 256"], settings: TrainingSettings, data: DeviceData, kernels: Kernels
    ) -> None:
        self._net = net
        self._settings = settings
        self._data = data
        self._kernels = kernels
        self._shift = levels[:, 0].tolist()
        self._scale = ((levels[:, 255] - levels[:, 0]) / 255).tolist()
        self._pixels: dict[str, Int32[Tensor, "image height width"]] = {}
        self._labels: dict[str, Int32[Tensor, " image"]] = {}
        self._buffers: _Buffers | None = None

    def takes(self, member: Member) -> bool:
        """Whether the kernels know the loss of a member, and what else it trains with."""
        plain = member.kind == Kind() and member.augment in FUSED_POLICIES
        return member.loss.name in FUSED_LOSSES and plain and not (member.setting("gradient_clip") or member.loss.smoothing)

    def train(self, members: Sequence[Member]) -> dict[str, Float64[Tensor, " 2"]]:
        """Train the next epoch of each member; its loss and accuracy on the way, by trial."""
        streams, rows = _distinct([member.next_stream for member in members])
        epoch = self._data.draw(streams)
        n_images = epoch.index.shape[1]
        sizes = [min(member.loss.batch_size, n_images) for member in members]
        wanted = (len(members), len(streams), n_images, math.ceil(n_images / min(sizes)), self._kernels.geometry.tiles(max(sizes)))
        varied = epoch.offsets is not None
        if self._buffers is None or not self._buffers.suit(*wanted, varied=varied):
            self._buffers = None  # frees the old ones before the new ones are made
            self._buffers = self._make_buffers(*wanted, varied=varied)
        buffers, n = self._buffers, len(members)
        torch.stack([member.weights for member in members], out=buffers.weights[:n])
        torch.stack([member.velocity for member in members], out=buffers.velocity[:n])
        buffers.fc1_turned.copy_(self._turned(buffers.weights))
        buffers.order[: len(streams)].copy_(epoch.index)
        if epoch.offsets is not None and epoch.flips is not None:
            corners = epoch.offsets[..., 0] | epoch.offsets[..., 1] << 4 | epoch.flips.long() << 8
            buffers.corners[: len(streams)].copy_(corners)
        table = [self._row(member, row) for member, row in zip(members, rows, strict=True)]
        buffers.members.copy_(_bytes(table + [MemberRow()] * (len(buffers.members) - n)))
        buffers.run()
        weights, velocity, figures = buffers.weights[:n].clone(), buffers.velocity[:n].clone(), buffers.figures[:n] / n_images
        for number, member in enumerate(members):
            member.weights, member.velocity = weights[number], velocity[number]
            member.epochs += 1
        return {member.config.trial_id: row for member, row in zip(members, figures, strict=True)}

    def logits(self, members: Sequence[Member], seeds: Sequence[int], split: Split) -> Float[Tensor, "member image cls"]:
        """Raw logits of each member on a split in file order; ``seeds[i]`` is that of member i's split."""
        geometry = self._kernels.geometry
        streams, rows = _distinct(seeds)
        order = torch.stack([self._data.index(seed, split) for seed in streams]).int()
        weights = torch.stack([member.weights for member in members])
        n_images = order.shape[1]
        logits = weights.new_empty(len(members), n_images, self._net.n_classes)
        n_tiles = geometry.tiles(n_images)
        at_once = min(n_tiles, SCRATCH_TILES) if geometry.scratch_bytes else n_tiles
        table = _bytes([MemberRow(stream=row, batch_size=1) for row in rows]).to(weights.device)
        tensors = {"weights": weights, "fc1_turned": self._turned(weights), "logits": logits, "members": table, "order": order}
        tensors |= {"scratch": self._scratch(len(members), at_once)}
        arguments = self._arguments("train" if split == "validation" else "test", n_images, at_once, tensors)
        for step in range(math.ceil(n_tiles / at_once)):
            self._kernels.launch("evaluate", (at_once, len(members)), arguments, step)
        return logits

    def _make_buffers(self, n_members: int, n_streams: int, n_images: int, n_steps: int, n_tiles: int, *, varied: bool) -> _Buffers:
        """Buffers with room for so many members; what they cost beside the weights is mostly ``partial``: their size times the tiles.

        ``varied``: whether images are cropped or flipped.
        """
        device, geometry = self._data.device, self._kernels.geometry
        n_weights = self._net.n_weights

        def floats(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(*shape, dtype=dtype, device=device)

        tensors = {
            "weights": floats(n_members, n_weights),
            "velocity": floats(n_members, n_weights),
            "fc1_turned": floats(n_members, geometry.n_features, HIDDEN),
            "partial": floats(n_members, n_tiles, n_weights),
            "tile_figures": floats(n_members, n_tiles, 2),
            "figures": floats(n_members, 2, dtype=torch.float64),
            "members": floats(n_members, ctypes.sizeof(MemberRow), dtype=torch.uint8),
            "order": floats(n_streams, n_images, dtype=torch.int32),
            "corners": floats(n_streams if varied else 0, n_images, dtype=torch.int32),
            "scratch": self._scratch(n_members, n_tiles),
        }
        arguments = self._arguments("train", n_images, n_tiles, tensors)

        def launches() -> None:
            for step in range(n_steps):
                self._kernels.launch("train", (n_tiles, n_members), arguments, step)
                self._kernels.launch("update", (geometry.update_pieces, n_members), arguments, step)

        others = tuple(tensors.pop(name) for name in ("partial", "tile_figures", "scratch"))
        return _Buffers(n_images, n_steps, n_tiles, **tensors, others=others, run=self._kernels.captured(launches))

    def _arguments(self, source: str, n_images: int, n_tiles: int, tensors: dict[str, Tensor]) -> Arguments:
        """Addresses of these tensors and of a source's images and labels, for a launch."""
        if source not in self._pixels:
            images = self._data.images(source)
            self._pixels[source] = images[..., 0].int() | images[..., 1].int() << 8 | images[..., 2].int() << 16
            self._labels[source] = self._data.source_labels(source).int()
        tensors = {**tensors, "pixels": self._pixels[source], "labels": self._labels[source]}
        pointers = {name: tensor.data_ptr() or None for name, tensor in tensors.items()}
        shift, scale = ((ctypes.c_float * 3)(*figures) for figures in (self._shift, self._scale))
        return Arguments(**pointers, shift=shift, scale=scale, n_images=n_images, n_tiles=n_tiles)

    def _row(self, member: Member, stream: int) -> MemberRow:
        chosen, entry = member.config.parameters, LOSSES[member.loss.name]
        return MemberRow(
            stream=stream,
            batch_size=member.loss.batch_size,
            loss=FUSED_LOSSES.index(member.loss.name),
            parameter=next((float(chosen.get(key, default)) for key, default in entry.defaults.items()), 0.0),
            divisor=self._net.n_classes if entry.elementwise and self._settings.reduction == "elements" else 1,
            learning_rate=member.next_learning_rate,
            momentum=float(chosen["momentum"]),
            weight_decay=float(chosen["weight_decay"]),
        )

    def _turned(self, weights: Float[Tensor, "member weight"]) -> Float[Tensor, "member feature hidden"]:
        return self._net.split(weights)["fc1.weight"].transpose(1, 2).contiguous()

    def _scratch(self, n_members: int, n_tiles: int) -> UInt8[Tensor, " byte"]:
        size = n_members * n_tiles * self._kernels.geometry.scratch_bytes
        return torch.empty(size, dtype=torch.uint8, device=self._data.device)


def _distinct(streams: Sequence[Stream]) -> tuple[list[Stream], list[int]]:
    """Each stream once, and for each place of the sequence which of them it is."""
    numbers = {stream: number for number, stream in enumerate(dict.fromkeys(streams))}
    return list(numbers), [numbers[stream] for stream in streams]


def _bytes(rows: Sequence[MemberRow]) -> UInt8[Tensor, "member byte"]:
    """The rows as the kernels read them, on the CPU."""
    size = ctypes.sizeof(MemberRow)
    return torch.from_numpy(np.frombuffer(bytearray(b"".join(map(bytes, rows))), dtype=np.uint8).reshape(-1, size))
