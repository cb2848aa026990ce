"""Compiled CPU kernels of both convolutions with their ReLUs and poolings, forward and backward, for blocks of 16 images.

Images lie side by side in the last axis, one lane each, so that every tap of a convolution is one multiply-add of a whole vector
register whatever the number of channels: with three or four of them a BLAS or a convolution library cannot fill its registers. The four
outputs of a pooling window never leave the registers. On one core of an AMD EPYC (Zen 4) a member takes 7.3 µs per image, forward and
backward, 43 of the core's 54 billion multiply-adds a second. PyTorch's operators (channels-last, grouped convolution, without a gradient
for the images) took 43 µs for a member alone, 21 in a pack of eight and 35 in one of 32, whose activations leave the cache.

Members are never summed, and lanes only at the end, so that a member's numbers do not depend on the others in its pack, to the bit.

Sizes are compile-time constants, without which LLVM does not vectorise; Numba keeps the machine code on disk, per size and processor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np

from sweeper.training.cpu.jit import LANES, Bytes, Floats, compiled, inlined

N_CONV_WEIGHTS = 4 * 27 + 4 + 8 * 36 + 8
"""Weights of both convolutions: the first columns of the flat row."""

CONV1_BIAS, CONV2_WEIGHT, CONV2_BIAS = 108, 112, 400
CONV2_SUMS = 4 * 28

SUMS_ORDER = np.array(
    [c * 28 + k for c in range(4) for k in range(27)]
    + [c * 28 + 27 for c in range(4)]
    + [CONV2_SUMS + c * 37 + k for c in range(8) for k in range(36)]
    + [CONV2_SUMS + c * 37 + 36 for c in range(8)]
)
"""Position of each weight's gradient in ``sums``, where each channel's bias follows its weights: only then can LLVM tell that the stores
of one loop do not overlap."""

Quad: TypeAlias = tuple[np.float32, np.float32, np.float32, np.float32]
"""Something of each of the 2 × 2 outputs of a pooling window: top left, top right, bottom left, bottom right."""


@inlined
def convolved(x: Floats, at: int, row: int, w: Floats, tap: int) -> Quad:
    """The four outputs of a 2 × 2 window of one input channel: ``x[at]`` is the first of 4 × 4 pixels, ``w[tap]`` of 3 × 3 weights.

    Row by row: LLVM keeps this order, and so needs four pixels and three weights at a time beside the sums. With all loaded first, the
    16 registers of AVX2 do not suffice, and the forward kernel takes twice as long.
    """
    w0, w1, w2 = w[tap], w[tap + 1], w[tap + 2]
    x0, x1, x2, x3 = x[at], x[at + LANES], x[at + 2 * LANES], x[at + 3 * LANES]
    a = w0 * x0 + w1 * x1 + w2 * x2
    b = w0 * x1 + w1 * x2 + w2 * x3
    at += row
    x0, x1, x2, x3 = x[at], x[at + LANES], x[at + 2 * LANES], x[at + 3 * LANES]
    c = w0 * x0 + w1 * x1 + w2 * x2
    d = w0 * x1 + w1 * x2 + w2 * x3
    w0, w1, w2 = w[tap + 3], w[tap + 4], w[tap + 5]
    a = a + w0 * x0 + w1 * x1 + w2 * x2
    b = b + w0 * x1 + w1 * x2 + w2 * x3
    at += row
    x0, x1, x2, x3 = x[at], x[at + LANES], x[at + 2 * LANES], x[at + 3 * LANES]
    c = c + w0 * x0 + w1 * x1 + w2 * x2
    d = d + w0 * x1 + w1 * x2 + w2 * x3
    w0, w1, w2 = w[tap + 6], w[tap + 7], w[tap + 8]
    a = a + w0 * x0 + w1 * x1 + w2 * x2
    b = b + w0 * x1 + w1 * x2 + w2 * x3
    at += row
    x0, x1, x2, x3 = x[at], x[at + LANES], x[at + 2 * LANES], x[at + 3 * LANES]
    c = c + w0 * x0 + w1 * x1 + w2 * x2
    d = d + w0 * x1 + w1 * x2 + w2 * x3
    return a, b, c, d


@inlined
def pooled(a: np.float32, b: np.float32, c: np.float32, d: np.float32) -> tuple[np.float32, np.uint8]:
    """ReLU of the largest of a window's outputs, and which it was: 0 to 3, or 4 where ReLU is closed.

    As in PyTorch the first of equals counts, and NaN is larger than all.
    """
    best, which = a, np.uint8(0)
    if b > best or b != b:  # noqa: PLR0124 - the test for NaN that vectorises
        best, which = b, np.uint8(1)
    if c > best or c != c:  # noqa: PLR0124
        best, which = c, np.uint8(2)
    if d > best or d != d:  # noqa: PLR0124
        best, which = d, np.uint8(3)
    if best <= 0:
        best, which = np.float32(0), np.uint8(4)
    return best, which


@inlined
def unpooled(gradient: np.float32, which: np.uint8) -> Quad:
    """The gradients of a window's four outputs."""
    none = np.float32(0)
    return (
        gradient if which == 0 else none,
        gradient if which == 1 else none,
        gradient if which == 2 else none,
        gradient if which == 3 else none,
    )


@inlined
def correlate(x: Floats, at: int, row: int, gradients: Quad, sums: Floats, to: int) -> None:
    """Add the gradients of 3 × 3 weights, from a window's 4 × 4 pixels and the gradients of its outputs, to ``sums[to]`` and on."""
    a, b, c, d = gradients
    top0, top1, top2, top3 = x[at], x[at + LANES], x[at + 2 * LANES], x[at + 3 * LANES]
    at += row
    mid0, mid1, mid2, mid3 = x[at], x[at + LANES], x[at + 2 * LANES], x[at + 3 * LANES]
    sums[to] += a * top0 + b * top1 + c * mid0 + d * mid1
    sums[to + LANES] += a * top1 + b * top2 + c * mid1 + d * mid2
    sums[to + 2 * LANES] += a * top2 + b * top3 + c * mid2 + d * mid3
    at += row
    low0, low1, low2, low3 = x[at], x[at + LANES], x[at + 2 * LANES], x[at + 3 * LANES]
    sums[to + 3 * LANES] += a * mid0 + b * mid1 + c * low0 + d * low1
    sums[to + 4 * LANES] += a * mid1 + b * mid2 + c * low1 + d * low2
    sums[to + 5 * LANES] += a * mid2 + b * mid3 + c * low2 + d * low3
    at += row
    end0, end1, end2, end3 = x[at], x[at + LANES], x[at + 2 * LANES], x[at + 3 * LANES]
    sums[to + 6 * LANES] += a * low0 + b * low1 + c * end0 + d * end1
    sums[to + 7 * LANES] += a * low1 + b * low2 + c * end1 + d * end2
    sums[to + 8 * LANES] += a * low2 + b * low3 + c * end2 + d * end3


@dataclass(frozen=True, slots=True)
class Kernels:
    """Both convolutions for one image size, on the units ``start`` to ``stop`` - 1: block × members + member.

    A block's members come one after the other, while its images are in the cache. ``images`` [block, 3, height, width, lane],
    ``hidden`` and ``which1`` [block, member, 4, h1, w1, lane], ``which2`` [block, member, 8, h2, w2, lane] and ``sums`` [member, slot,
    N_CONV_WEIGHTS, lane] are flat, as are ``features`` and their gradient [member, 8 · h2 · w2, block, lane]: a matrix for each member,
    with a column for each image. ``rows`` [member, weight] are the weights. ``sums`` are the weights' gradients, to be summed over
    slots and lanes and put into ``SUMS_ORDER``; one slot gathers all blocks when one thread does them in order, else each has its own.
    """

    forward: Callable[..., None]
    """``(start, stop, n_blocks, images, rows, hidden, which1, features, which2)``: sets the last four"""
    backward: Callable[..., None]
    """``(start, stop, n_blocks, images, rows, hidden, which1, feature_gradient, which2, n_slots, sums)``: sets the last"""


@cache
def compile_kernels(height: int, width: int) -> Kernels:  # noqa: PLR0915 - four closures over the same sizes
    """The kernels for images of this size. The first call on a machine compiles for some seconds, later ones load in a fraction of one."""
    h1, w1 = (height - 2) // 2, (width - 2) // 2
    h2, w2 = (h1 - 2) // 2, (w1 - 2) // 2
    row0, row1, row2 = width * LANES, w1 * LANES, (2 * w2 + 4) * LANES
    plane0, plane1 = height * row0, h1 * row1
    n_images, n_hidden, n_sums = 3 * plane0, 4 * plane1, N_CONV_WEIGHTS * LANES
    n_features, n_which = 8 * h2 * w2, 8 * h2 * w2 * LANES

    def forward(
        start: int,
        stop: int,
        n_blocks: int,
        images: Floats,
        rows: Floats,
        hidden: Floats,
        which1: Bytes,
        features: Floats,
        which2: Bytes,
    ) -> None:
        stride = n_blocks * LANES
        for unit in range(start, stop):
            block, member = unit // len(rows), unit % len(rows)
            weights = rows[member]
            x = images[block * n_images : (block + 1) * n_images]
            out = hidden[unit * n_hidden : (unit + 1) * n_hidden]
            which = which1[unit * n_hidden : (unit + 1) * n_hidden]
            for i in range(h1):
                for c in range(4):
                    bias = weights[CONV1_BIAS + c]
                    for j in range(w1):
                        corner = 2 * i * row0 + 2 * j * LANES
                        to = c * plane1 + i * row1 + j * LANES
                        for lane in range(LANES):
                            at = corner + lane
                            a0, b0, c0, d0 = convolved(x, at, row0, weights, c * 27)
                            a1, b1, c1, d1 = convolved(x, at + plane0, row0, weights, c * 27 + 9)
                            a2, b2, c2, d2 = convolved(x, at + 2 * plane0, row0, weights, c * 27 + 18)
                            out[to + lane], which[to + lane] = pooled(
                                a0 + a1 + a2 + bias, b0 + b1 + b2 + bias, c0 + c1 + c2 + bias, d0 + d1 + d2 + bias
                            )

            x = out
            out = features[member * n_features * stride + block * LANES :]
            which = which2[unit * n_which : (unit + 1) * n_which]
            for i in range(h2):  # outside of the channels, so that the rows of x that they share stay in the cache
                for c in range(8):
                    bias = weights[CONV2_BIAS + c]
                    tap = CONV2_WEIGHT + c * 36
                    for j in range(w2):
                        corner = 2 * i * row1 + 2 * j * LANES
                        feature = (c * h2 + i) * w2 + j
                        for lane in range(LANES):
                            at = corner + lane
                            a0, b0, c0, d0 = convolved(x, at, row1, weights, tap)
                            a1, b1, c1, d1 = convolved(x, at + plane1, row1, weights, tap + 9)
                            a2, b2, c2, d2 = convolved(x, at + 2 * plane1, row1, weights, tap + 18)
                            a3, b3, c3, d3 = convolved(x, at + 3 * plane1, row1, weights, tap + 27)
                            out[feature * stride + lane], which[feature * LANES + lane] = pooled(
                                (a0 + a1) + (a2 + a3) + bias,
                                (b0 + b1) + (b2 + b3) + bias,
                                (c0 + c1) + (c2 + c3) + bias,
                                (d0 + d1) + (d2 + d3) + bias,
                            )

    def backward(
        start: int,
        stop: int,
        n_blocks: int,
        images: Floats,
        rows: Floats,
        hidden: Floats,
        which1: Bytes,
        feature_gradient: Floats,
        which2: Bytes,
        n_slots: int,
        sums: Floats,
    ) -> None:
        stride = n_blocks * LANES
        # gradients of one channel's outputs with a border of two zeros, over which the kernel turned around gives those of the input
        outputs = np.zeros((2 * h2 + 4) * row2, np.float32)
        turned = np.empty(8 * 36, np.float32)
        hidden_gradient = np.empty(n_hidden, np.float32)
        for unit in range(start, stop):
            block, member = unit // len(rows), unit % len(rows)
            for tap in range(8 * 36):
                turned[tap] = rows[member, CONV2_WEIGHT + tap + 8 - 2 * (tap % 9)]
            x = hidden[unit * n_hidden : (unit + 1) * n_hidden]
            gradient = feature_gradient[member * n_features * stride + block * LANES :]
            which = which2[unit * n_which : (unit + 1) * n_which]
            slot = member * n_slots + block % n_slots
            own = sums[slot * n_sums : (slot + 1) * n_sums]
            if block < n_slots:
                own[:] = 0
            hidden_gradient[:] = 0
            for c in range(8):
                for i in range(h2):
                    for j in range(w2):
                        feature = (c * h2 + i) * w2 + j
                        at = (2 * i + 2) * row2 + (2 * j + 2) * LANES
                        for lane in range(LANES):
                            a, b, d, e = unpooled(gradient[feature * stride + lane], which[feature * LANES + lane])
                            outputs[at + lane] = a
                            outputs[at + LANES + lane] = b
                            outputs[at + row2 + lane] = d
                            outputs[at + row2 + LANES + lane] = e
                to = (CONV2_SUMS + c * 37) * LANES
                for i in range(h2):
                    for j in range(w2):
                        corner = 2 * i * row1 + 2 * j * LANES
                        at = (2 * i + 2) * row2 + (2 * j + 2) * LANES
                        for lane in range(LANES):
                            g = outputs[at + lane], outputs[at + LANES + lane], outputs[at + row2 + lane], outputs[at + row2 + LANES + lane]
                            correlate(x, corner + lane, row1, g, own, to + lane)
                            correlate(x, corner + plane1 + lane, row1, g, own, to + 9 * LANES + lane)
                            correlate(x, corner + 2 * plane1 + lane, row1, g, own, to + 18 * LANES + lane)
                            correlate(x, corner + 3 * plane1 + lane, row1, g, own, to + 27 * LANES + lane)
                            own[to + 36 * LANES + lane] += (g[0] + g[1]) + (g[2] + g[3])
                for c_in in range(4):
                    for i in range(h2 + 1):
                        for j in range(w2 + 1):
                            corner = 2 * i * row2 + 2 * j * LANES
                            at = c_in * plane1 + 2 * i * row1 + 2 * j * LANES
                            for lane in range(LANES):
                                a, b, d, e = convolved(outputs, corner + lane, row2, turned, c * 36 + c_in * 9)
                                hidden_gradient[at + lane] += a
                                hidden_gradient[at + LANES + lane] += b
                                hidden_gradient[at + row1 + lane] += d
                                hidden_gradient[at + row1 + LANES + lane] += e

            x = images[block * n_images : (block + 1) * n_images]
            which = which1[unit * n_hidden : (unit + 1) * n_hidden]
            for c in range(4):
                to = c * 28 * LANES
                for i in range(h1):
                    for j in range(w1):
                        corner = 2 * i * row0 + 2 * j * LANES
                        at = c * plane1 + i * row1 + j * LANES
                        for lane in range(LANES):
                            g = unpooled(hidden_gradient[at + lane], which[at + lane])
                            correlate(x, corner + lane, row0, g, own, to + lane)
                            correlate(x, corner + plane0 + lane, row0, g, own, to + 9 * LANES + lane)
                            correlate(x, corner + 2 * plane0 + lane, row0, g, own, to + 18 * LANES + lane)
                            own[to + 27 * LANES + lane] += (g[0] + g[1]) + (g[2] + g[3])

    arrays = "f4[::1], f4[:, ::1], f4[::1], u1[::1], f4[::1], u1[::1]"
    return Kernels(compiled(forward, f"void(i8, i8, i8, {arrays})"), compiled(backward, f"void(i8, i8, i8, {arrays}, i8, f4[::1])"))
