"""The embedded data set: ten kinds of coloured gratings under clutter, generated from integers alone, the same on every platform."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8, UInt64
from numpy.typing import NDArray

from sweeper.data.dataset import Labelled, Splits, black_images
from sweeper.errors import DataError

SIDE = 32
DEFAULT_TRAIN_IMAGES = 10_000
DEFAULT_TEST_IMAGES = 2_000
DEFAULT_SEED = 0
MAX_IMAGES = 1_000_000
CHUNK = 250  # images rendered together: 1.5 MB of 16-bit pixels stay in the cache


class Kind(NamedTuple):
    """A class: its wave in 1/256 turn per pixel across and down, its curvature (rings), and whether it is crossed by its mirror image."""

    name: str
    across: int
    down: int
    curvature: int
    crossed: bool


# Mirroring an image keeps its class: level and upright waves are their own mirror image, slanted ones lean either way at random.
KINDS = (
    Kind("level_coarse", 0, 20, 0, crossed=False),
    Kind("level_fine", 0, 36, 0, crossed=False),
    Kind("upright_coarse", 20, 0, 0, crossed=False),
    Kind("upright_fine", 36, 0, 0, crossed=False),
    Kind("slanted_coarse", 15, 15, 0, crossed=False),
    Kind("slanted_fine", 26, 26, 0, crossed=False),
    Kind("checked_coarse", 17, 17, 0, crossed=True),
    Kind("checked_fine", 30, 30, 0, crossed=True),
    Kind("ringed_coarse", 0, 0, 2, crossed=False),
    Kind("ringed_fine", 0, 0, 4, crossed=False),
)
N_KINDS = len(KINDS)
N_DRAWS = 32  # random numbers an image may use, besides its noise

SINE = np.rint(127 * np.sin(2 * np.pi * np.arange(256) / 256)).astype(np.int16)
ACROSS = np.arange(SIDE, dtype=np.int16)[None, None, :]
DOWN = np.arange(SIDE, dtype=np.int16)[None, :, None]


def generate(n_train: int, n_test: int, seed: int) -> Splits:
    """Train and test images of 32×32 pixels with their labels, and the names of the ten classes; 12,000 images take about 0.4 s.

    An image shows the grating of its class at a random place, slant, colour and contrast, over a background of any colour with uneven
    light and noise, and through it a grating of another class. Where that one is the stronger the class cannot be told, which holds
    every network below certainty. Every ten images in a row hold each class once. A larger set begins with the images of a smaller one.

    Test accuracy of the ConvNet (cross-entropy, SGD with momentum 0.9, batch 128, crops and flips, 9,000 images of the default set; range
    over three seeds): learning rate 0.01: 0.55-0.60 after 4 epochs, 0.65-0.68 after 6; 0.03: 0.66-0.70, 0.69-0.75; 0.1: 0.58-0.64,
    0.60-0.69. Learning rate 0.03, halved every 8 epochs: 0.76 after 30. L1 of the raw outputs stays at 0.10 for 6 epochs, as on CIFAR-10.

    Raises:
        DataError: a count is not between 10 and 1,000,000, or the seed is negative.
    """
    _check_counts(n_train, n_test, seed)
    return _split(n_train, (seed, 0)), _split(n_test, (seed, 1)), tuple(kind.name for kind in KINDS)


def glance(n_train: int, n_test: int, seed: int) -> Splits:
    """What :func:`generate` gives, with black images."""
    _check_counts(n_train, n_test, seed)
    return *black_images(_labels(n_train, (seed, 0)), _labels(n_test, (seed, 1)), SIDE), tuple(kind.name for kind in KINDS)


def _check_counts(n_train: int, n_test: int, seed: int) -> None:
    for key, count in (("train_images", n_train), ("test_images", n_test)):
        if not N_KINDS <= count <= MAX_IMAGES:
            raise DataError(f"dataset.{key}: must lie in {N_KINDS}..{MAX_IMAGES} for the synthetic data set, got {count}")
    if seed < 0:
        raise DataError(f"dataset.seed: must be >= 0, got {seed}")


def _labels(n_images: int, seed: tuple[int, int]) -> Int64[np.ndarray, " n"]:
    # Raw 64-bit words, not Generator's methods: numpy promises to keep only the former the same in every version.
    n_blocks = -(-n_images // N_KINDS)
    shuffle = np.random.PCG64((*seed, 0)).random_raw(n_blocks * N_KINDS).reshape(n_blocks, N_KINDS)
    return np.argsort(shuffle, axis=1, kind="stable").reshape(-1)[:n_images].astype(np.int64)


def _split(n_images: int, seed: tuple[int, int]) -> Labelled:
    labels = _labels(n_images, seed)
    draws, noise = np.random.PCG64((*seed, 1)), np.random.PCG64((*seed, 2))
    images = np.empty((n_images, SIDE, SIDE, 3), dtype=np.uint8)
    for start in range(0, n_images, CHUNK):
        chunk = slice(start, min(start + CHUNK, n_images))
        shape = images[chunk].shape
        grain = noise.random_raw(images[chunk].size // 8).astype("<u8").view(np.uint8).reshape(shape)
        images[chunk] = _render(labels[chunk], Draws(draws.random_raw(shape[0] * N_DRAWS).reshape(-1, N_DRAWS)), grain)
    return images, labels


class Draws:
    """Uniform integers, one per image and call, from a table of random words."""

    def __init__(self, words: UInt64[np.ndarray, "n draws"]) -> None:
        self._words = words
        self._used = 0

    def integers(self, low: int, high: int) -> NDArray[np.int16]:
        """One integer of ``low`` … ``high`` (both included) for each image, shaped to be combined with (n, h, w)."""
        words = self._words[:, self._used] >> np.uint64(11)
        self._used += 1
        return np.asarray(low + (words % np.uint64(high - low + 1)).astype(np.int16), dtype=np.int16)[:, None, None]


def _render(labels: Int64[np.ndarray, " n"], draws: Draws, grain: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n h w 3"]:
    """Images of these classes; sixteen bits hold every intermediate value."""
    other = (labels + draws.integers(1, N_KINDS - 1)[:, 0, 0]) % N_KINDS
    own_wave, other_wave = _wave(labels, draws), _wave(other, draws)
    own_contrast, other_contrast = draws.integers(44, 76), draws.integers(0, 72)
    light = draws.integers(-2, 2) * (ACROSS - SIDE // 2) + draws.integers(-2, 2) * (DOWN - SIDE // 2)
    pixels = (grain.astype(np.int16) - 128) >> 4
    for channel in range(3):
        own_colour, other_colour = draws.integers(32, 64), draws.integers(32, 64)
        background = draws.integers(88, 168)
        pixels[..., channel] += (own_wave * (own_contrast * own_colour >> 6)) >> 7
        pixels[..., channel] += (other_wave * (other_contrast * other_colour >> 6)) >> 7
        pixels[..., channel] += light + background
    return np.asarray(np.clip(pixels, 0, 255), dtype=np.uint8)


def _wave(kinds: Int64[np.ndarray, " n"], draws: Draws) -> NDArray[np.int16]:
    """Height (-127 … 127) of each image's grating at each pixel, its wave bent and placed at random."""
    across, down, curvature = (np.array([kind[field] for kind in KINDS], dtype=np.int16)[kinds][:, None, None] for field in (1, 2, 3))
    across = across * draws.integers(0, 1) * 2 - across + draws.integers(-3, 3)
    down = down + draws.integers(-3, 3)
    column, row = ACROSS - draws.integers(0, SIDE - 1), DOWN - draws.integers(0, SIDE - 1)
    bend = ((column * column + row * row) * curvature) >> 1
    start = draws.integers(0, 255)
    height = SINE[(across * ACROSS + down * DOWN + bend + start) & 255]
    crossed = np.array([kind.crossed for kind in KINDS])[kinds]
    mirrored = SINE[(across * ACROSS - down * DOWN + draws.integers(0, 255))[crossed] & 255]
    height[crossed] = (height[crossed] + mirrored) * 3 >> 2
    return np.asarray(height)
