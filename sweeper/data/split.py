"""The validation split: images held out of the training split, class-balanced, determined by a seed."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from sweeper.errors import DataError


def split(
    labels: Int64[np.ndarray, " n"], n_validation: int, seed: int
) -> tuple[Int64[np.ndarray, " train"], Int64[np.ndarray, " validation"]]:
    """Indices of the training and of the validation images, both ascending, together every image once.

    Each class gives its share of ``n_validation``, rounded by largest remainder (ties: the lower class first). Which images a class
    gives depends on the labels and the seed alone: the raw stream of PCG64, which numpy keeps the same on every platform and in every
    version, gives each image a key, and the lowest keys are held out. A larger ``n_validation`` therefore holds out the same images
    and more, as long as the shares grow.

    Raises:
        DataError: ``n_validation`` is not between 1 and n - 1, ``seed`` is negative, or a class would keep no training image.
    """
    if seed < 0:
        raise DataError(f"seed of the validation split: must be >= 0, got {seed}")
    if not 1 <= n_validation < labels.size:
        raise DataError(f"dataset.validation: must lie in 1..{labels.size - 1}, since train has {labels.size} images, got {n_validation}")
    counts = np.bincount(labels)
    held_out = _shares(counts, n_validation)
    spent = np.flatnonzero((held_out >= counts) & (counts > 0))
    if spent.size:
        raise DataError(
            f"dataset.validation: {n_validation} of {labels.size} images leaves class {spent[0]} ({counts[spent[0]]} images) without a "
            f"training image; lower it"
        )
    keys = np.random.PCG64(seed).random_raw(labels.size)
    order = np.lexsort((keys, labels))
    rank_in_class = np.arange(labels.size) - np.repeat(np.cumsum(counts) - counts, counts)
    is_validation = np.empty(labels.size, dtype=bool)
    is_validation[order] = rank_in_class < np.repeat(held_out, counts)
    return np.flatnonzero(~is_validation).astype(np.int64), np.flatnonzero(is_validation).astype(np.int64)


def _shares(counts: Int64[np.ndarray, " cls"], total: int) -> Int64[np.ndarray, " cls"]:
    """``total`` divided in proportion to ``counts`` by largest remainder, in exact integers."""
    quotas = counts * total
    shares, remainders = quotas // counts.sum(), quotas % counts.sum()
    short = total - int(shares.sum())
    shares[np.argsort(-remainders, kind="stable")[:short]] += 1
    return np.asarray(shares, dtype=np.int64)
