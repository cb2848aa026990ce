"""The embedded data set is the same everywhere, quick to make, and shaped like CIFAR-10."""

import time

import numpy as np

from sweeper.data import load_dataset
from sweeper.data.synthetic import KINDS, SINE


def test_the_default_set_never_changes():
    dataset = load_dataset("synthetic")
    assert dataset.train_images.shape == (10_000, 32, 32, 3)
    assert dataset.test_images.shape == (2_000, 32, 32, 3)
    assert dataset.train_images.dtype == np.uint8
    assert dataset.train_labels.dtype == np.int64
    assert dataset.classes == tuple(kind.name for kind in KINDS)
    assert dataset.fingerprint == "8eb8f9a0d2ddc950eac171f864b4f32abf89f0b6471f03c2af9288f978e8c440"


def test_no_entry_of_the_sine_table_hangs_on_the_last_digit_of_a_platforms_sine():
    exact = 127 * np.sin(2 * np.pi * np.arange(256) / 256)
    assert np.abs(np.abs(exact % 1) - 0.5).min() > 1e-3
    np.testing.assert_array_equal(SINE, np.rint(exact))


def test_the_default_set_is_made_in_seconds():
    start = time.perf_counter()
    load_dataset("synthetic")
    assert time.perf_counter() - start < 5  # 0.7 s on one busy core


def test_a_larger_set_begins_with_the_smaller_one():
    small, large = (load_dataset("synthetic", train_images=n, test_images=20) for n in (123, 1000))
    np.testing.assert_array_equal(small.train_images, large.train_images[:123])
    np.testing.assert_array_equal(small.train_labels, large.train_labels[:123])
    np.testing.assert_array_equal(small.test_images, large.test_images)


def test_every_ten_images_hold_each_class_once():
    labels = load_dataset("synthetic", train_images=500, test_images=10).train_labels
    assert (np.sort(labels.reshape(-1, 10), axis=1) == np.arange(10)).all()


def test_splits_and_seeds_share_no_image():
    first, second = (load_dataset("synthetic", train_images=300, test_images=300, seed=seed) for seed in (0, 1))
    images = [first.train_images, first.test_images, second.train_images, second.test_images]
    assert len({image.tobytes() for split in images for image in split}) == 1200


def test_pixels_are_spread_like_those_of_photographs():
    dataset = load_dataset("synthetic", train_images=1000, test_images=10)
    assert all(0.45 < mean < 0.55 for mean in dataset.mean)
    assert all(0.15 < std < 0.25 for std in dataset.std)
    assert ((dataset.train_images == 0) | (dataset.train_images == 255)).mean() < 0.01
