"""The fused model of the CPU: compiled convolutions (:mod:`.kernels`), and the linear layers as batched matrix products.

A batch is held as blocks of 16 images side by side. Members share the batch, but not the operators of the convolutions: one member's
kernels already run near the core's peak, and one after the other they find their activations in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from sweeper.training.augment import PADDING
from sweeper.training.kernels import LANES, N_CONV_WEIGHTS, SUMS_ORDER, Floats, compile_cut, compile_kernels
from sweeper.training.model import ConvNet


class Lanes:
    """Blocks of at most eight members on one stream."""

    max_members: int | None = 8
    """Enough to share the cost of a batch and of the losses' operators, few enough to keep the activations in the cache."""

    mixes_streams = False

    def __init__(self, levels: Float[Tensor, "channel 256"]) -> None:
        self._levels: Floats = levels.flatten().numpy()
        self._memory: Floats = np.empty(0, np.float32)
        self._cut = compile_cut()

    def cut(
        self,
        images: UInt8[Tensor, "image height width channel"],
        chosen: Int[Tensor, "stream batch"],
        offsets: Int[Tensor, "stream batch 2"] | None,
        flips: Bool[Tensor, "stream batch"] | None,
    ) -> Float[Tensor, " flat"]:
        """The chosen images, cropped, flipped and normalised, as [block, channel, height, width, lane]; left-over lanes hold zeros."""
        _, height, width, n_channels = images.shape
        n_images = chosen.shape[1]
        n_blocks = math.ceil(n_images / LANES)
        if offsets is None or flips is None:
            offsets, flips = torch.full((1, n_images, 2), PADDING), torch.zeros(1, n_images, dtype=torch.bool)
        size = n_blocks * LANES * height * width * n_channels
        if len(self._memory) < size:
            self._memory = np.empty(size, np.float32)
        out = self._memory[:size]
        pixels, index, corners, mirrored = (array.contiguous().numpy() for array in (images.view(-1), chosen[0], offsets[0], flips[0]))
        in_threads(
            lambda _, start, stop: self._cut(start, stop, height, width, pixels, index, corners, mirrored, self._levels, out), n_blocks
        )
        return torch.from_numpy(out)

    def network(self, net: ConvNet, streams: Sequence[int]) -> LaneNetwork:
        """A fused model with a member for each entry of ``streams``, all of which read the only row of the batches."""
        return LaneNetwork(net, len(streams))


class _Memory:
    """Activations and gradients for batches of ``n_blocks`` blocks, laid out as the kernels want them."""

    def __init__(self, net: ConvNet, n_members: int, n_blocks: int) -> None:
        (h1, w1), (h2, w2) = net.pooled_sizes
        n_hidden, n_features, n_images = 4 * h1 * w1, 8 * h2 * w2, n_blocks * LANES
        self.hidden = np.empty((n_members, n_hidden * n_images), np.float32)
        self.which1 = np.empty((n_members, n_hidden * n_images), np.uint8)
        self.features = torch.empty(n_members, n_features, n_images)
        self.which2 = np.empty((n_members, n_features * n_images), np.uint8)
        self.sums = torch.empty(n_members, n_blocks, N_CONV_WEIGHTS, LANES)
        self.hidden_gradients = np.empty((torch.get_num_threads(), n_hidden * n_images), np.float32)


class LaneNetwork:
    """Members one after the other through the convolutions, together through the linear layers."""

    def __init__(self, net: ConvNet, n_members: int) -> None:
        self._net = net
        self._n_members = n_members
        self._kernels = compile_kernels(net.height, net.width)
        self._order = torch.from_numpy(SUMS_ORDER)
        self._memories: dict[int, _Memory] = {}

    @torch.no_grad()
    def forward(
        self, weights: Float[Tensor, "member weight"], images: Float[Tensor, " flat"], n_images: int
    ) -> Float[Tensor, "member batch cls"]:
        """Raw logits of every member."""
        n_blocks = math.ceil(n_images / LANES)
        if n_blocks not in self._memories:
            self._memories[n_blocks] = _Memory(self._net, self._n_members, n_blocks)
        memory = self._memories[n_blocks]
        pixels, rows, features = images.numpy(), weights.numpy(), memory.features.flatten(1).numpy()

        def convolve(_: int, first: int, last: int) -> None:
            for member, start, stop in by_member(first, last, n_blocks):
                hidden = memory.hidden[member]
                self._kernels.convolve1(start, stop, pixels, rows[member], hidden, memory.which1[member])
                self._kernels.convolve2(start, stop, n_blocks, hidden, rows[member], features[member], memory.which2[member])

        in_threads(convolve, self._n_members * n_blocks)
        tensors = self._net.split(weights)
        self._active = torch.baddbmm(tensors["fc1.bias"][..., None], tensors["fc1.weight"], memory.features).relu_()
        logits = torch.baddbmm(tensors["fc2.bias"][..., None], tensors["fc2.weight"], self._active)
        self._seen = (weights, pixels, n_images, n_blocks)
        return logits[..., :n_images].transpose(1, 2).contiguous()

    @torch.no_grad()
    def backward(self, gradient: Float[Tensor, "member batch cls"]) -> Float[Tensor, "member weight"]:
        """Gradient of every weight, from that of the logits."""
        weights, pixels, n_images, n_blocks = self._seen
        memory = self._memories[n_blocks]
        tensors = self._net.split(weights)
        flat = torch.empty_like(weights)
        gradients = self._net.split(flat)
        of_logits = gradient.new_zeros(self._n_members, self._net.n_classes, n_blocks * LANES)
        of_logits[..., :n_images] = gradient.transpose(1, 2)
        gradients["fc2.weight"].copy_(torch.bmm(of_logits, self._active.transpose(1, 2)))
        gradients["fc2.bias"].copy_(of_logits.sum(2))
        of_active = torch.bmm(tensors["fc2.weight"].transpose(1, 2), of_logits).masked_fill_(self._active <= 0, 0)
        gradients["fc1.weight"].copy_(torch.bmm(of_active, memory.features.transpose(1, 2)))
        gradients["fc1.bias"].copy_(of_active.sum(2))
        of_features = torch.bmm(tensors["fc1.weight"].transpose(1, 2), of_active).flatten(1).numpy()
        rows, sums = weights.numpy(), memory.sums.flatten(1).numpy()

        def convolve(thread: int, first: int, last: int) -> None:
            of_hidden = memory.hidden_gradients[thread]
            for member, start, stop in by_member(first, last, n_blocks):
                of_member = of_features[member]
                self._kernels.backward2(
                    start, stop, n_blocks, memory.hidden[member], rows[member], of_member, memory.which2[member], sums[member], of_hidden
                )
                self._kernels.backward1(start, stop, pixels, of_hidden, memory.which1[member], sums[member])

        in_threads(convolve, self._n_members * n_blocks)
        flat[:, :N_CONV_WEIGHTS] = memory.sums.sum((1, 3))[:, self._order]
        return flat


def by_member(first: int, last: int, n_blocks: int) -> Iterator[tuple[int, int, int]]:
    """The blocks ``first`` to ``last`` - 1, counted over all members, as (member, its first block, one after its last)."""
    while first < last:
        member, start = divmod(first, n_blocks)
        stop = min(n_blocks, start + last - first)
        yield member, start, stop
        first += stop - start


def in_threads(work: Callable[[int, int, int], None], n_units: int) -> None:
    """Call ``work(thread, first, last)`` on even shares of ``n_units`` units, on as many threads as PyTorch may use.

    Units are computed alike whichever thread has them, so that a curve does not depend on the number of threads.
    """
    n_threads = min(torch.get_num_threads(), n_units)
    if n_threads == 1:
        work(0, 0, n_units)
        return
    bounds = [n_units * thread // n_threads for thread in range(n_threads + 1)]
    for _ in _pool(n_threads).map(work, range(n_threads), bounds[:-1], bounds[1:]):
        pass


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    """Threads that wait for kernels, which run without the GIL."""
    return ThreadPoolExecutor(n_threads, thread_name_prefix="sweeper-lanes")
