"""Loads any data set by its name and folder as a checked ``Dataset``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8

from sweeper.catalogue import DATASETS
from sweeper.data import cifar10, imagefolder, images, parquet, synthetic
from sweeper.data.dataset import ChannelStats, Dataset, channel_stats, check_class_names, make_dataset
from sweeper.data.folder import data_folder
from sweeper.errors import DataError

Progress: TypeAlias = Callable[[str], None]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# What everyone normalises CIFAR-10 by, the notebook too. The deviations are not those of the pixels (0.2470, 0.2435, 0.2616) but means
# over images of each image's own, which is why a data set is recognised by its means alone.
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2023, 0.1994, 0.2010)
CIFAR10_MEAN_TOLERANCE = 0.005


def load_dataset(
    name: str,
    data_dir: str | None = None,
    *,
    train_images: int | None = None,
    test_images: int | None = None,
    seed: int | None = None,
    image: str | None = None,
    label: str | None = None,
    image_size: int | None = None,
    mean: ChannelStats | None = None,
    std: ChannelStats | None = None,
    progress: Progress | None = None,
    glance: bool = False,
) -> Dataset:
    """The data set of this name: ``cifar10``, ``parquet``, ``imagefolder`` (both need ``data_dir``) or ``synthetic``.

    ``train_images``, ``test_images`` and ``seed`` are for ``synthetic`` alone, ``image`` and ``label`` (names of columns) for ``parquet``,
    ``image_size`` (side in pixels after resizing) for ``parquet`` and ``imagefolder``. ``mean`` and ``std`` of the normalisation default to
    CIFAR-10's usual constants where the images are CIFAR-10's, whatever they are read from (32×32, ten classes, means within 0.005), and
    else to those of the training images. ``progress`` is told in words how far a download or decoding has come. ``glance``: what can be
    known of the data set in a moment, to find mistakes: sizes, classes and labels are right, at most one image of a split is read, and
    nothing is downloaded.

    Raises:
        DataError: an unknown name, an option of another data set, or files that cannot be had or are not what they should be.
    """
    if name not in DATASETS:
        raise DataError(f"dataset.name: must be one of {', '.join(DATASETS)}, got {name!r}")
    only: Mapping[str, Mapping[str, int | str | None]] = {
        "synthetic": {"train_images": train_images, "test_images": test_images, "seed": seed},
        "parquet": {"image": image, "label": label},
    }
    _check_options(name, data_dir, only, image_size)
    _check_normalisation(mean, std)
    tell = progress or (lambda _: None)
    if name == "synthetic":
        train, test, classes = (synthetic.glance if glance else synthetic.generate)(
            synthetic.DEFAULT_TRAIN_IMAGES if train_images is None else train_images,
            synthetic.DEFAULT_TEST_IMAGES if test_images is None else test_images,
            synthetic.DEFAULT_SEED if seed is None else seed,
        )
    else:
        folder = data_folder(name, data_dir)
        if name == "cifar10":
            train, test, classes = cifar10.glance(folder) if glance else cifar10.read_cifar10(folder, progress=tell)
        elif name == "parquet":
            train, test, classes = parquet.read_parquet(
                folder, image=image, label=label, image_size=image_size, progress=tell, glance=glance
            )
        else:
            train, test, classes = imagefolder.read_imagefolder(folder, image_size=image_size, progress=tell, glance=glance)
        check_class_names(str(folder), classes)
        _check_sizes(str(folder), train[0], test[0])
    if glance:
        return Dataset(name, *train, *test, classes, CIFAR10_MEAN, CIFAR10_STD, fingerprint="")
    found_mean, found_std = channel_stats(train[0])
    if _is_cifar10(train[0], len(classes), found_mean):
        found_mean, found_std = CIFAR10_MEAN, CIFAR10_STD
        classes = CIFAR10_CLASSES if classes == _numbers(len(classes)) else classes
    return make_dataset(name, train, test, classes, mean or found_mean, std or found_std)


def _numbers(n_classes: int) -> tuple[str, ...]:
    """Names of classes that have none."""
    return tuple(map(str, range(n_classes)))


def _is_cifar10(pixels: UInt8[np.ndarray, "n h w 3"], n_classes: int, mean: ChannelStats) -> bool:
    near = all(abs(ours - theirs) <= CIFAR10_MEAN_TOLERANCE for ours, theirs in zip(mean, CIFAR10_MEAN, strict=True))
    return pixels.shape[1:] == (32, 32, 3) and n_classes == len(CIFAR10_CLASSES) and near


def _check_sizes(place: str, train: UInt8[np.ndarray, "train h w 3"], test: UInt8[np.ndarray, "test h w 3"]) -> None:
    """Raises ``DataError`` unless the test images have the size of the training images."""
    if train.shape[1:] != test.shape[1:]:
        sizes = [f"{pixels.shape[2]}×{pixels.shape[1]}" for pixels in (train, test)]
        raise DataError(
            f"{place}: train and test images must have one size, got {sizes[0]} and {sizes[1]} pixels; set dataset.image_size (for example "
            "32) to have them resized"
        )


def _check_options(name: str, data_dir: str | None, only: Mapping[str, Mapping[str, int | str | None]], image_size: int | None) -> None:
    if name == "synthetic" and data_dir is not None:
        raise DataError(f"dataset.data_dir: the synthetic data set is generated and reads no folder, got {data_dir!r}; leave it out")
    for owner, options in only.items():
        for key, value in options.items():
            if value is not None and name != owner:
                raise DataError(f"dataset.{key}: is an option of the {owner} data set alone, got {value} for {name}; leave it out")
    if image_size is not None and name not in {"parquet", "imagefolder"}:
        raise DataError(f"dataset.image_size: is an option of parquet and imagefolder, got {image_size} for {name}; leave it out")
    if image_size is not None and not 1 <= image_size <= images.MAX_SIDE:
        raise DataError(f"dataset.image_size: must lie in 1..{images.MAX_SIDE}, got {image_size}")


def _check_normalisation(mean: ChannelStats | None, std: ChannelStats | None) -> None:
    for key, values, rule in (("mean", mean, "three numbers of 0..1"), ("std", std, "three numbers > 0 and <= 1")):
        if values is not None and not (
            len(values) == 3 and all(math.isfinite(value) and 0 <= value <= 1 and (value > 0 or key == "mean") for value in values)
        ):
            raise DataError(f"dataset.{key}: must be {rule}, one for red, green and blue of pixels scaled to 0..1, got {values}")
