"""Image folders, one per class, and everything that can be wrong with them."""

import os

import numpy as np
import pytest
from encoded_images import encode, pixels, refusal

from sweeper.data import load_dataset


@pytest.fixture
def folder(tmp_path):
    for split, n in (("train", 3), ("test", 2)):
        for label, name in enumerate(("ant", "bee")):
            (tmp_path / split / name).mkdir(parents=True)
            for i, array in enumerate(pixels(n, seed=label)):
                (tmp_path / split / name / f"{i}.png").write_bytes(encode(array))
    return tmp_path


def load(folder, **options):
    return load_dataset("imagefolder", str(folder), **options)


def refused(folder, **options):
    return refusal(lambda: load(folder, **options))


def test_folders_in_order_of_name_are_the_classes_and_files_in_order_of_name_the_images(folder):
    dataset = load(folder)
    assert dataset.classes == ("ant", "bee")
    assert dataset.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.test_labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(dataset.train_images, np.concatenate([pixels(3, seed=0), pixels(3, seed=1)]))
    np.testing.assert_allclose(dataset.mean, (dataset.train_images / 255).mean((0, 1, 2)))


def test_the_folder_may_come_from_the_environment(folder, monkeypatch):
    monkeypatch.setenv("SWEEPER_DATA_DIR", str(folder))
    assert load_dataset("imagefolder").fingerprint == load(folder).fingerprint


def test_images_of_several_formats_and_in_subfolders_are_found_and_other_files_passed_over(folder):
    (folder / "train" / "ant" / "more").mkdir()
    (folder / "train" / "ant" / "more" / "x.BMP").write_bytes(encode(pixels(1, seed=7)[0], "BMP"))
    for name in ("Thumbs.db", ".hidden.png", "notes.txt"):
        (folder / "train" / "ant" / name).touch()
    (folder / "train" / ".cache").mkdir()
    (folder / "train" / "README.md").touch()
    dataset = load(folder)
    assert dataset.train_labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(dataset.train_images[3], pixels(1, seed=7)[0])


def test_images_of_many_sizes_are_resized_when_a_size_is_set(folder):
    (folder / "test" / "bee" / "0.png").write_bytes(encode(pixels(1, side=30)[0]))
    message = refused(folder)
    assert message == (
        f"{folder}/test/bee/0.png: is 30×30 pixels, but {folder}/test/ant/0.png is 8×8; all images must have one size: set "
        "dataset.image_size (for example 32) to have them resized"
    )
    assert load(folder, image_size=16).test_images.shape == (4, 16, 16, 3)


def test_a_missing_test_folder_is_refused_with_what_is_there(folder):
    (folder / "test").rename(folder / "val")
    assert refused(folder) == (
        f"{folder}/test: must be a folder with one folder of images per class: No such file or directory; {folder} holds train/, val/"
    )


@pytest.mark.parametrize(("split", "other"), [("test", "train"), ("train", "test")])
def test_a_class_that_one_split_lacks_is_refused(folder, split, other):
    (folder / split / "bee").rename(folder / "bee")
    assert refused(folder) == f"{folder}/{split}: must have the same class folders as {other}/, lacks bee"


def test_a_folder_without_classes_and_a_class_without_images_are_refused(folder):
    for path in (folder / "test" / "bee").iterdir():
        path.unlink()
    assert refused(folder) == f"{folder}/test/bee: must hold images (.bmp, .gif, .jpeg, .jpg, .png, .ppm, .tif, .tiff, .webp), found none"
    for name in ("ant", "bee"):
        (folder / "train" / name).rename(folder / name)
    assert refused(folder) == f"{folder}/train: must hold one folder of images per class, found no folder"


def test_a_single_class_is_refused(folder):
    for split in ("train", "test"):
        (folder / split / "bee").rename(folder / f"{split}-bee")
    assert refused(folder) == f"{folder}/train: must hold at least two class folders, found ant alone"


def test_a_damaged_image_is_named(folder):
    path = folder / "test" / "ant" / "1.png"
    path.write_bytes(path.read_bytes()[:-50])
    assert refused(folder).startswith(f"{path}: cannot be decoded: ")
    path.write_bytes(b"GIF89a")
    assert refused(folder).startswith(f"{path}: ")


def test_a_pipe_named_like_an_image_does_not_block(folder):
    os.mkfifo(folder / "train" / "ant" / "pipe.png")
    assert len(load(folder).train_labels) == 6


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(folder):
    path = folder / "train" / "ant" / "1.png"
    path.chmod(0)
    assert refused(folder) == f"{path}: cannot be read: Permission denied"
    path.parent.chmod(0)
    message = refused(folder)
    path.parent.chmod(0o700)
    assert message == f"{path.parent}: cannot be listed: Permission denied"


@pytest.mark.parametrize("name", ["new\nline", "\x1b[2J", b"\xff".decode("utf-8", "surrogateescape")])
def test_a_class_that_cannot_be_printed_is_refused(folder, name):
    for split in ("train", "test"):
        (folder / split / "bee").rename(folder / split / name)
    assert refused(folder) == f"{folder}: names of classes must be distinct, printable text, got {name!r}; rename it"
