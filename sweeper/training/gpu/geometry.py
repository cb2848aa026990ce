"""How the fused kernels divide a network among blocks of threads, and the counterparts of their structures in Python."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass

from sweeper.training.augment import PADDING
from sweeper.training.model import HIDDEN, ConvNet

THREADS = 288
"""Of a block of ``train`` and ``evaluate``: on 32 x 32 images one for each feature, and for each weight of the second convolution."""

UPDATE_THREADS = 256
UPDATE_SHARED_BYTES = HIDDEN * 9 * 4

TILES = (8, 4, 2, 1)
"""Images of a block, the preferred first: more share the reading of weights and the writing of gradients."""

RESERVED_BYTES = 1024
"""Shared memory that CUDA itself takes from every block."""

FUSED_LOSSES = ("l1", "cross_entropy", "focal", "mae", "mse", "label_smoothing", "generalized_cross_entropy", "poly1")
"""The losses that the kernels know; a loss is known to them by its place here."""

MOST_CLASSES_SHARED = 64


class MemberRow(ctypes.Structure):
    """``Member`` of convnet.cu."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("stream", "batch_size", "loss")),
        *((name, ctypes.c_float) for name in ("parameter", "divisor", "learning_rate", "momentum", "weight_decay")),
    )


class Arguments(ctypes.Structure):
    """``Arguments`` of convnet.cu."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weights", "velocity", "fc1_turned", "partial", "tile_figures", "figures", "logits")),
        *((name, ctypes.c_void_p) for name in ("scratch", "members", "pixels", "labels", "order", "corners")),
        ("scale", ctypes.c_float * 3),
        ("shift", ctypes.c_float * 3),
        ("n_images", ctypes.c_int),
        ("n_tiles", ctypes.c_int),
    )


@dataclass(frozen=True, slots=True)
class Geometry:
    """``tile`` images of one member for each block, in ``shared_bytes`` of shared memory.

    ``scratch_bytes``: of device memory besides, for each block, where a tile's images are too large for shared memory; else 0.
    """

    net: ConvNet
    tile: int
    shared_bytes: int
    scratch_bytes: int

    @classmethod
    def fitting(cls, net: ConvNet, most_bytes: int, multiprocessor_bytes: int) -> Geometry:
        """The largest tile of which two fit on a multiprocessor at once; else one; else with the images in device memory.

        ``most_bytes``: shared memory that one block may have. ``multiprocessor_bytes``: that all blocks on a multiprocessor share.
        """
        both = {tile: _aligned(_shared_bytes(net, tile), _images_bytes(net, tile)) for tile in TILES}
        for n_blocks in (2, 1):
            for tile, size in both.items():
                if size <= most_bytes and n_blocks * (size + RESERVED_BYTES) <= multiprocessor_bytes:
                    return cls(net, tile, size, 0)
        tile = next(tile for tile in TILES if _shared_bytes(net, tile) <= most_bytes or tile == TILES[-1])
        return cls(net, tile, _shared_bytes(net, tile), _aligned(_images_bytes(net, tile)))

    @property
    def defines(self) -> tuple[str, ...]:
        """The constants that convnet.cu is compiled with, as options of the compiler."""
        net = self.net
        constants = {
            "HEIGHT": net.height,
            "WIDTH": net.width,
            "CLASSES": net.n_classes,
            "WEIGHTS": net.n_weights,
            "THREADS": THREADS,
            "TILE": self.tile,
            "SHARED_BYTES": self.shared_bytes,
            "SCRATCH_BYTES": self.scratch_bytes,
            "PADDING": PADDING,
            "MOST_CLASSES_SHARED": MOST_CLASSES_SHARED,
            **{f"LOSS_{name}": number for number, name in enumerate(FUSED_LOSSES)},
        }
        return tuple(f"-D{name}={value}" for name, value in constants.items())

    @property
    def n_features(self) -> int:
        """Inputs of the first linear layer."""
        return self.net.shapes["fc1.weight"][1]

    @property
    def update_pieces(self) -> int:
        """Blocks of ``update`` for each member: eight features of all hidden units each, then the other weights."""
        return self.n_features // 8 + math.ceil((self.net.n_weights - HIDDEN * self.n_features) / UPDATE_THREADS)

    def tiles(self, n_images: int) -> int:
        """Blocks that so many images of a member take."""
        return math.ceil(n_images / self.tile)

    def block(self, kernel: str) -> tuple[int, int]:
        """Threads of a block of this kernel, and its bytes of shared memory."""
        return (UPDATE_THREADS, UPDATE_SHARED_BYTES) if kernel == "update" else (THREADS, self.shared_bytes)


def _shared_bytes(net: ConvNet, tile: int) -> int:
    """Size of ``Shared`` in convnet.cu."""
    parts = max(THREADS // 32 * tile * HIDDEN, 864)
    classes = net.n_classes
    floats = 27 * 4 + 36 * 8 + 72 * 4 + 4 + 8 + HIDDEN + 2 * tile * HIDDEN + parts + 2 * tile * classes + 2 * tile + classes
    if classes <= MOST_CLASSES_SHARED:
        floats += classes * (HIDDEN + 1)
    return _aligned(4 * floats)


def _images_bytes(net: ConvNet, tile: int) -> int:
    """Size of ``Images`` in convnet.cu."""
    (high, wide), _ = net.pooled_sizes
    n_features = net.shapes["fc1.weight"][1]
    pixels = net.height * (net.width + net.width % 2)
    activations = max(tile * (4 * high * wide + n_features + pixels), 4 * 28 * THREADS // 4)
    place_bytes = 4 if max(net.height, net.width) > 512 else 2
    rest = tile * n_features * place_bytes + tile * high * wide * 2
    return math.ceil((4 * (activations + n_features) + rest) / 4) * 4


def _aligned(*sizes: int) -> int:
    """The sum, rounded up to 16."""
    return math.ceil(sum(sizes) / 16) * 16
