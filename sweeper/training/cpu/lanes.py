"""The fused model of the CPU: compiled convolutions (:mod:`.kernels`), and the linear layers as batched matrix products.

A batch is held as blocks of 16 images side by side. Members share the batch, but not the operators of the convolutions: one member's
kernels already run near the core's peak, and one after the other they find their activations in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from sweeper.training.augment import PADDING
from sweeper.training.cpu.cut import compile_cut
from sweeper.training.cpu.jit import LANES, Floats
from sweeper.training.cpu.kernels import N_CONV_WEIGHTS, SUMS_ORDER, Kernels, compile_kernels
from sweeper.training.model import ConvNet
from sweeper.training.threads import on_one_thread


class Lanes:
    """Blocks of at most four members on one stream."""

    max_members: int | None = 4
    """Enough to share the losses' operators, few enough to keep the activations in the cache: a step takes 1.34 ms a member with four,
    1.42 ms with eight."""

    mixes_streams = False

    def __init__(self, net: ConvNet, levels: Float[Tensor, "channel 256"]) -> None:
        self._net = net
        self._kernels = compile_kernels(net.height, net.width)
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
        in_threads(lambda start, stop: self._cut(start, stop, height, width, pixels, index, corners, mirrored, self._levels, out), n_blocks)
        return torch.from_numpy(out)

    def network(self, weights: Float[Tensor, "member weight"], streams: Sequence[int], *_: object) -> LaneNetwork:  # noqa: ARG002
        """A fused model of these weights, all of whose members read the only row of the batches; ``streams`` are all 0.

        It computes in float32 alone: the engine lets no other precision come here.
        """
        return LaneNetwork(self._net, self._kernels, weights)


class _Memory:
    """Activations and gradients for batches of ``n_blocks`` blocks, laid out as the kernels want them."""

    def __init__(self, net: ConvNet, n_members: int, n_blocks: int) -> None:
        (h1, w1), (h2, w2) = net.pooled_sizes
        n_hidden, n_features, n_images = 4 * h1 * w1, 8 * h2 * w2, n_blocks * LANES
        n_units = n_blocks * n_members
        self.hidden = np.empty(n_units * n_hidden * LANES, np.float32)
        self.which1 = np.empty(n_units * n_hidden * LANES, np.uint8)
        self.features = torch.empty(n_members, n_features, n_images)
        self.which2 = np.empty(n_units * n_features * LANES, np.uint8)
        self.feature_gradients = torch.empty(n_members, n_features, n_images)
        self.logit_gradients = torch.empty(n_members, net.n_classes, n_images)
        self.n_slots = 1 if torch.get_num_threads() == 1 else n_blocks
        self.sums = torch.empty(n_members, self.n_slots, N_CONV_WEIGHTS, LANES)
        # the same memory, flat, for the kernels: made once, as each view costs as much as a small operator
        self.flat_features, self.flat_feature_gradients, self.flat_sums = (
            tensor.view(-1).numpy() for tensor in (self.features, self.feature_gradients, self.sums)
        )


class LaneNetwork:
    """Members one after the other through the convolutions, together through the linear layers."""

    def __init__(self, net: ConvNet, kernels: Kernels, weights: Float[Tensor, "member weight"]) -> None:
        self._net = net
        self._kernels = kernels
        self._n_members = len(weights)
        self._order = torch.from_numpy(SUMS_ORDER)
        self._rows: Floats = weights.numpy()
        self._fc1, self._fc1_bias, self._fc2, self._fc2_bias = list(net.split(weights).values())[4:]
        self._gradient = torch.empty_like(weights)
        self._of_fc1, self._of_fc1_bias, self._of_fc2, self._of_fc2_bias = list(net.split(self._gradient).values())[4:]
        self._memories: dict[int, _Memory] = {}

    @torch.no_grad()
    def forward(self, images: Float[Tensor, " flat"], n_images: int) -> Float[Tensor, "member batch cls"]:
        """Raw logits of every member; in memory the images come last."""
        n_blocks = math.ceil(n_images / LANES)
        if n_blocks not in self._memories:
            self._memories[n_blocks] = _Memory(self._net, self._n_members, n_blocks)
        memory = self._memories[n_blocks]
        arrays = (images.numpy(), self._rows, memory.hidden, memory.which1, memory.flat_features, memory.which2)
        in_threads(lambda start, stop: self._kernels.forward(start, stop, n_blocks, *arrays), n_blocks * self._n_members)
        self._active = torch.baddbmm(self._fc1_bias[..., None], self._fc1, memory.features).relu_()
        # Several threads share out a product as narrow as the logits in ways that change its last bits, and for one member in another
        # way than for several. The products with 32 rows come out the same on 1 to 16 threads.
        logits = on_one_thread(torch.baddbmm, self._fc2_bias[..., None], self._fc2, self._active)
        self._seen = (images, n_images, n_blocks)
        return logits[..., :n_images].transpose(1, 2)

    def logits(self, images: Float[Tensor, " flat"], n_images: int) -> Float[Tensor, "member batch cls"]:
        """As :meth:`forward`, whose memory is there anyway."""
        return self.forward(images, n_images)

    @torch.no_grad()
    def backward(self, gradient: Float[Tensor, "member batch cls"]) -> Float[Tensor, "member weight"]:
        """Gradient of every weight, from that of the logits; good until the next call."""
        images, n_images, n_blocks = self._seen
        memory, active = self._memories[n_blocks], self._active
        of_logits = memory.logit_gradients
        of_logits[..., :n_images] = gradient.transpose(1, 2)
        if n_images < n_blocks * LANES:
            of_logits[..., n_images:] = 0  # what is in left-over lanes must teach nothing
        on_one_thread(torch.bmm, of_logits, active.transpose(1, 2), out=self._of_fc2)  # as narrow as the logits
        torch.sum(of_logits, 2, out=self._of_fc2_bias)
        of_active = torch.ops.aten.threshold_backward(torch.bmm(self._fc2.transpose(1, 2), of_logits), active, 0)
        torch.bmm(of_active, memory.features.transpose(1, 2), out=self._of_fc1)
        torch.sum(of_active, 2, out=self._of_fc1_bias)
        torch.bmm(self._fc1.transpose(1, 2), of_active, out=memory.feature_gradients)
        gradients, sums = memory.flat_feature_gradients, memory.flat_sums
        arrays = (images.numpy(), self._rows, memory.hidden, memory.which1, gradients, memory.which2, memory.n_slots, sums)
        in_threads(lambda start, stop: self._kernels.backward(start, stop, n_blocks, *arrays), n_blocks * self._n_members)
        torch.index_select(memory.sums.sum((1, 3)), 1, self._order, out=self._gradient[:, :N_CONV_WEIGHTS])
        return self._gradient


def in_threads(work: Callable[[int, int], None], n_units: int) -> None:
    """Call ``work(first, last)`` on even shares of ``n_units`` units, on as many threads as PyTorch may use."""
    n_threads = min(torch.get_num_threads(), n_units)
    if n_threads == 1:
        work(0, n_units)
        return
    bounds = [n_units * thread // n_threads for thread in range(n_threads + 1)]
    for _ in _pool(n_threads).map(work, bounds[:-1], bounds[1:]):
        pass


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    """Threads that wait for kernels, which run without the GIL."""
    return ThreadPoolExecutor(n_threads, thread_name_prefix="sweeper-lanes")
