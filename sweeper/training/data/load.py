"""One door to every data set: a name and a folder in, a checked ``Dataset`` out."""

from __future__ import annotations

from collections.abc import Callable

from sweeper.errors import DataError

from . import synthetic
from .dataset import ChannelStats, Dataset


def load_dataset(
    name: str,
    data_dir: str | None = None,
    *,
    train_images: int | None = None,
    test_images: int | None = None,
    seed: int | None = None,
    image_size: int | None = None,
    mean: ChannelStats | None = None,
    std: ChannelStats | None = None,
    progress: Callable[[str], None] | None = None,
) -> Dataset:
    """The data set of this name.

    Raises:
        DataError: an unknown name, or files that cannot be had or are not what they should be.
    """
    if name == "synthetic":
        return synthetic.load_synthetic(
            synthetic.DEFAULT_TRAIN_IMAGES if train_images is None else train_images,
            synthetic.DEFAULT_TEST_IMAGES if test_images is None else test_images,
            0 if seed is None else seed,
        )
    raise DataError(f"dataset.name: must be synthetic, got {name!r}")
