"""What every data set has in common: the options, the record, the statistics, and the validation split."""

import pickle
import re
from collections import Counter

import numpy as np
import pytest
import torch
from encoded_images import pixels, refusal
from hypothesis import given
from hypothesis import strategies as st

from sweeper.catalogue import DATASETS
from sweeper.data import load_dataset, split
from sweeper.data.dataset import channel_stats, fingerprint, make_dataset


def small(**changes):
    arrays = {"train": (pixels(20), np.arange(20) % 2), "test": (pixels(4, seed=1), np.arange(4) % 2)} | changes
    return make_dataset("small", arrays["train"], arrays["test"], ("a", "b"), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def test_the_arrays_are_read_only_and_leave_the_callers_own_writable():
    images = pixels(20)
    dataset = small(train=(images, np.arange(20) % 2))
    assert not any(
        array.flags.writeable for array in (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels)
    )
    assert images.flags.writeable


def test_a_data_set_out_of_a_pickle_is_the_same_and_its_buffers_travel_out_of_band():
    dataset = small()
    buffers = []
    data = pickle.dumps(dataset, protocol=5, buffer_callback=buffers.append)
    copy = pickle.loads(data, buffers=buffers)
    assert len(buffers) == 4
    np.testing.assert_array_equal(copy.train_images, dataset.train_images)
    assert (copy.fingerprint, copy.classes, copy.mean) == (dataset.fingerprint, dataset.classes, dataset.mean)


@pytest.mark.filterwarnings("error")
def test_read_only_arrays_become_tensors_without_a_warning():
    assert torch.tensor(small().train_images).shape == (20, 8, 8, 3)


@pytest.mark.parametrize(
    "changed",
    [
        {"train": (pixels(20, seed=9), np.arange(20) % 2)},
        {"train": (pixels(20), (np.arange(20) + 1) % 2)},
        {"test": (pixels(4, seed=9), np.arange(4) % 2)},
        {"test": (pixels(4, seed=1), (np.arange(4) + 1) % 2)},
        {"test": (pixels(4, seed=1).reshape(4, 4, 16, 3), np.arange(4) % 2)},
    ],
)
def test_the_fingerprint_changes_with_pixels_labels_and_shapes(changed):
    assert small(**changed).fingerprint != small().fingerprint


def test_the_fingerprint_is_the_same_for_any_byte_order_and_memory_layout():
    images, labels = pixels(20), np.arange(20)
    expected = fingerprint(images, labels)
    assert fingerprint(np.asfortranarray(images), labels.astype(">i8")) == expected
    assert re.fullmatch("[0-9a-f]{64}", expected)


def test_channel_statistics_are_those_of_the_pixels():
    images = pixels(250, side=5)
    mean, std = channel_stats(images)
    np.testing.assert_allclose(mean, (images / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std((0, 1, 2)), rtol=1e-12)


def test_channel_statistics_are_the_same_to_the_bit_in_any_order_of_the_images():
    images = pixels(1000, side=7)
    shuffled = images[np.random.default_rng(1).permutation(1000)]
    assert channel_stats(shuffled) == channel_stats(images)
    assert channel_stats(np.concatenate([images, images])) == channel_stats(images)


def test_a_channel_that_never_changes_can_still_be_divided_by():
    images = pixels(10)
    images[..., 1] = 7
    mean, std = channel_stats(images)
    assert mean[1] == pytest.approx(7 / 255)
    assert std[1] == 1.0
    assert std[0] < 1.0


def test_the_catalogue_names_the_data_sets_that_can_be_loaded():
    assert set(DATASETS) == {"cifar10", "parquet", "imagefolder", "synthetic"}


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    known = ", ".join(DATASETS)
    assert refusal(lambda: load_dataset("cifar100")) == f"dataset.name: must be one of {known}, got 'cifar100'"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("parquet", {"train_images": 5}, "dataset.train_images: is an option of the synthetic data set alone, got 5 for parquet"),
        ("cifar10", {"seed": 0}, "dataset.seed: is an option of the synthetic data set alone, got 0 for cifar10"),
        ("cifar10", {"label": "fine"}, "dataset.label: is an option of the parquet data set alone, got fine for cifar10; leave it out"),
        ("imagefolder", {"image": "x"}, "dataset.image: is an option of the parquet data set alone, got x for imagefolder; leave it out"),
        ("cifar10", {"image_size": 32}, "dataset.image_size: is an option of parquet and imagefolder, got 32 for cifar10"),
        ("imagefolder", {"image_size": 0}, "dataset.image_size: must lie in 1..4096, got 0"),
        ("synthetic", {"data_dir": "x"}, "dataset.data_dir: the synthetic data set is generated and reads no folder, got 'x'"),
        ("synthetic", {"train_images": 9}, "dataset.train_images: must lie in 10..1000000 for the synthetic data set, got 9"),
        ("synthetic", {"test_images": 10**9}, "dataset.test_images: must lie in 10..1000000"),
        ("synthetic", {"seed": -1}, "dataset.seed: must be >= 0, got -1"),
        ("synthetic", {"mean": (0.5, 0.5, 1.5)}, "dataset.mean: must be three numbers of 0..1"),
        ("synthetic", {"std": (0.5, 0.5, 0.0)}, "dataset.std: must be three numbers > 0 and <= 1"),
        ("synthetic", {"std": (0.5, 0.5)}, "dataset.std: must be three numbers"),
        ("synthetic", {"std": (0.5, 0.5, float("nan"))}, "dataset.std: must be three numbers"),
    ],
)
def test_options_that_do_not_belong_are_refused(name, options, message):
    assert refusal(lambda: load_dataset(name, **options)).startswith(message)


@pytest.mark.parametrize("name", ["parquet", "imagefolder"])
def test_a_data_set_in_files_needs_a_folder(name, monkeypatch, tmp_path):
    monkeypatch.delenv("SWEEPER_DATA_DIR", raising=False)
    assert refusal(lambda: load_dataset(name)) == (
        f"dataset.data_dir: must name the folder of the {name} data set; pass --data-dir DIR or set SWEEPER_DATA_DIR"
    )
    missing = tmp_path / "missing"
    expected = f"dataset.data_dir: {missing}: no such folder; pass the folder of the {name} data set as --data-dir DIR"
    assert refusal(lambda: load_dataset(name, str(missing))) == expected
    monkeypatch.setenv("SWEEPER_DATA_DIR", str(missing))
    assert refusal(lambda: load_dataset(name)) == expected


@pytest.mark.parametrize("hostile", ["a\0b", "~nobody_of_this_name/x", "x" * 5000])
@pytest.mark.parametrize("name", ["cifar10", "parquet", "imagefolder"])
def test_a_folder_name_that_no_system_takes_is_refused(name, hostile):
    assert "dataset.data_dir: " in refusal(lambda: load_dataset(name, hostile))


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "file"
    path.touch()
    assert refusal(lambda: load_dataset("parquet", str(path))) == f"dataset.data_dir: '{path}': cannot be listed: Not a directory"


def test_the_validation_split_is_balanced_and_holds_every_image_once():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 100))
    train, validation = split(labels, 200, seed=3)
    assert train.dtype == validation.dtype == np.int64
    assert np.bincount(labels[validation]).tolist() == [20] * 10
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(1000))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()


def test_the_validation_split_depends_on_the_seed_alone():
    labels = np.arange(1000) % 10
    first, again, other = (split(labels, 100, seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert len(np.intersect1d(first, other)) < 40


def test_the_validation_split_of_a_seed_never_changes():
    """A resumed sweep must hold out what it held out before, on any machine and with any numpy."""
    assert split(np.arange(30) % 3, 6, seed=1)[1].tolist() == [2, 9, 14, 16, 18, 28]


@pytest.mark.parametrize(
    ("counts", "n_validation", "expected"),
    [
        ([10, 10, 10], 4, [2, 1, 1]),  # equal remainders: the lower class first
        ([10, 10, 10], 5, [2, 2, 1]),
        ([60, 30, 10], 10, [6, 3, 1]),
        ([55, 34, 11], 10, [6, 3, 1]),  # quotas 5.5, 3.4, 1.1
        ([1, 99], 10, [0, 10]),
        ([0, 5, 5], 2, [0, 1, 1]),
    ],
)
def test_shares_are_rounded_by_largest_remainder(counts, n_validation, expected):
    labels = np.repeat(np.arange(len(counts)), counts)
    assert np.bincount(labels[split(labels, n_validation, 0)[1]], minlength=len(counts)).tolist() == expected


@given(st.lists(st.integers(0, 5), min_size=2, max_size=60), st.integers(1, 60), st.integers(0, 2**63))
def test_any_split_is_a_partition_near_its_shares_or_refused(labels, n_validation, seed):
    labels = np.array(labels)
    counts = Counter(labels.tolist())
    try:
        train, validation = split(labels, n_validation, seed)
    except Exception as error:
        assert type(error).__name__ == "DataError"  # noqa: PT017
        assert n_validation >= len(labels) or any(n_validation * count / len(labels) + 1 > count for count in counts.values())
        return
    assert len(validation) == n_validation
    assert sorted([*train, *validation]) == list(range(len(labels)))
    held_out = Counter(labels[validation].tolist())
    assert all(abs(held_out[c] - n_validation * n / len(labels)) < 1 and held_out[c] < n for c, n in counts.items())


@pytest.mark.parametrize(
    ("n_validation", "seed", "message"),
    [
        (0, 0, "dataset.validation: must lie in 1..29, since train has 30 images, got 0"),
        (30, 0, "dataset.validation: must lie in 1..29, since train has 30 images, got 30"),
        (28, 0, "dataset.validation: 28 of 30 images leaves class 0 (10 images) without a training image; lower it"),
        (5, -1, "seed of the validation split: must be >= 0, got -1"),
    ],
)
def test_a_split_that_cannot_be_is_refused(n_validation, seed, message):
    assert refusal(lambda: split(np.arange(30) % 3, n_validation, seed)) == message
