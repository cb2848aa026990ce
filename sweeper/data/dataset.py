"""The data set every reader returns: plain read-only numpy arrays, checked, with a fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray

from sweeper.errors import DataError

ChannelStats: TypeAlias = tuple[float, float, float]
"""One figure for each of red, green and blue, of pixels scaled to 0..1."""

Labelled: TypeAlias = tuple[UInt8[np.ndarray, "n h w 3"], Int64[np.ndarray, " n"]]
"""The images of a split, and their labels from 0."""

Splits: TypeAlias = tuple[Labelled, Labelled, tuple[str, ...]]
"""What every reader returns: train, test, and the names of the classes."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels of both splits, and what is needed to normalise and to name them.

    Plain numpy, so that the driver can put it into Ray's object store and every worker of a node maps the same memory. The arrays are
    read-only, as they are when they come out of that store: ``torch.from_numpy`` warns about them, ``torch.tensor`` copies.
    ``mean`` and ``std`` belong to pixels divided by 255. ``fingerprint``: SHA-256 over shapes, pixels and labels, in hexadecimal.
    """

    name: str
    train_images: UInt8[np.ndarray, "train h w 3"]
    train_labels: Int64[np.ndarray, " train"]
    test_images: UInt8[np.ndarray, "test h w 3"]
    test_labels: Int64[np.ndarray, " test"]
    classes: tuple[str, ...]
    mean: ChannelStats
    std: ChannelStats
    fingerprint: str

    @property
    def n_classes(self) -> int:
        """Number of classes; labels run from 0 to one less."""
        return len(self.classes)


def make_dataset(
    name: str,
    train: Labelled,
    test: Labelled,
    classes: Sequence[str],
    mean: ChannelStats,
    std: ChannelStats,
) -> Dataset:
    """A ``Dataset`` of these arrays, made contiguous and read-only, with its fingerprint."""
    train_images, train_labels, test_images, test_labels = (_frozen(array) for array in (*train, *test))
    digest = fingerprint(train_images, train_labels, test_images, test_labels)
    return Dataset(name, train_images, train_labels, test_images, test_labels, tuple(classes), mean, std, digest)


def fingerprint(*arrays: NDArray[np.generic]) -> str:
    """SHA-256, in hexadecimal, over the type, shape and content of each array; the same on every platform."""
    digest = hashlib.sha256()
    for array in arrays:
        little_endian = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        digest.update(f"{little_endian.dtype.str}{little_endian.shape}".encode())
        digest.update(little_endian.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def black_images(
    train_labels: Int64[np.ndarray, " train"], test_labels: Int64[np.ndarray, " test"], side: int
) -> tuple[Labelled, Labelled]:
    """Splits of these labels whose square images are all black and share their memory: what a glance at a data set gives."""
    black = np.zeros((1, side, side, 3), dtype=np.uint8)
    train, test = ((np.broadcast_to(black, (len(labels), side, side, 3)), labels) for labels in (train_labels, test_labels))
    return train, test


def channel_stats(images: UInt8[np.ndarray, "n h w 3"]) -> tuple[ChannelStats, ChannelStats]:
    """Mean and standard deviation of each channel over all images, of pixels divided by 255.

    Counted from the histogram of each channel, a few images at a time: ``bincount`` makes eight bytes of every pixel. A channel that
    never changes gets the standard deviation 1, so that it can be divided by.
    """
    counts = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(images), 100):
        for channel in range(3):
            counts[channel] += np.bincount(images[start : start + 100, ..., channel].reshape(-1), minlength=256)
    levels = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(3):
        share = counts[channel] / counts[channel].sum()
        mean = float(share @ levels)
        deviation = float(np.sqrt(share @ (levels - mean) ** 2))
        means.append(mean)
        deviations.append(deviation if share.max() < 1 else 1.0)
    return (means[0], means[1], means[2]), (deviations[0], deviations[1], deviations[2])


def check_class_names(place: str, classes: Sequence[str]) -> None:
    """Raises ``DataError`` unless all names are distinct and printable: they go into files, terminals and pages."""
    for name in classes:
        if not name or not name.isprintable() or classes.count(name) > 1:
            raise DataError(f"{place}: names of classes must be distinct, printable text, got {name!r:.100}; rename it")


def _frozen(array: NDArray[np.generic]) -> NDArray[np.generic]:
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
