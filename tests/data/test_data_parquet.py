"""Parquet files as data set hubs publish them, and everything that can be wrong with them."""

import contextlib
import io
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from encoded_images import IMAGE_TYPE, encode, pixels, refusal, write_parquet
from finished_sweep import sweep
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sweeper.data import load_dataset
from sweeper.errors import DataError

CIFAR10 = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "cifar10"
LABELS = [0, 1, 2, 0, 1, 2]
PNGS = [encode(array) for array in pixels(6)]
GAPS = "classes must be numbered from 0 without gaps"
ANEW = "number them anew, or save the column as text"
TEXT_RULE = "column label: must be printable text, for it names a class"


@pytest.fixture
def folder(tmp_path):
    write_parquet(tmp_path / "train.parquet", PNGS, LABELS)
    write_parquet(tmp_path / "test.parquet", PNGS[:3], LABELS[:3])
    return tmp_path


def load(folder, **options):
    return load_dataset("parquet", str(folder), **options)


def refused(folder, **options):
    return refusal(lambda: load(folder, **options))


def test_images_and_labels_are_read_in_file_order(folder):
    dataset = load(folder)
    np.testing.assert_array_equal(dataset.train_images, pixels(6))
    np.testing.assert_array_equal(dataset.test_images, pixels(6)[:3])
    assert dataset.train_labels.tolist() == LABELS
    assert dataset.train_labels.dtype == np.int64
    assert dataset.classes == ("0", "1", "2")
    np.testing.assert_allclose(dataset.mean, (pixels(6) / 255).mean((0, 1, 2)))
    np.testing.assert_allclose(dataset.std, (pixels(6) / 255).std((0, 1, 2)))


def test_real_cifar10_is_recognised_and_normalised_as_everyone_does():
    if not CIFAR10.is_dir():
        pytest.skip(f"needs CIFAR-10 as Parquet in {CIFAR10}")
    told = []
    dataset = load(CIFAR10, progress=told.append)
    assert dataset.train_images.shape == (50_000, 32, 32, 3)
    assert dataset.test_images.shape == (10_000, 32, 32, 3)
    assert np.bincount(dataset.train_labels).tolist() == [5000] * 10
    assert (dataset.mean, dataset.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    assert dataset.classes[:3] == ("airplane", "automobile", "bird")
    assert told[-1] == "test: 10,000 of 10,000 images decoded"
    first = pq.read_table(CIFAR10 / "train.parquet").slice(49_999).to_pylist()[0]
    with Image.open(io.BytesIO(first["img"]["bytes"])) as image:
        np.testing.assert_array_equal(dataset.train_images[-1], np.asarray(image))
    assert dataset.train_labels[-1] == first["label"]


def test_mean_and_deviation_can_be_set(folder):
    dataset = load(folder, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    assert (dataset.mean, dataset.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert load(folder, std=(0.4, 0.5, 0.6)).mean == load(folder).mean


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("label_type", [pa.int8(), pa.uint16(), pa.int32(), pa.uint64()])
def test_the_other_common_layouts_are_read_too(folder, plain, label_type):
    before = load(folder)
    for name, n in (("train", 6), ("test", 3)):
        write_parquet(folder / f"{name}.parquet", PNGS[:n], LABELS[:n], column="image", plain=plain, label_type=label_type)
    assert load(folder).fingerprint == before.fingerprint


def test_shards_are_read_in_the_order_of_their_names(folder):
    before = load(folder)
    (folder / "train.parquet").unlink()
    write_parquet(folder / "train-00001-of-00003.parquet", PNGS[4:], LABELS[4:])
    write_parquet(folder / "train-00000-of-00003.parquet", PNGS[:4], LABELS[:4])
    write_parquet(folder / "train-00002-of-00003.parquet", [], [])
    assert load(folder).fingerprint == before.fingerprint


def test_a_missing_shard_is_noticed(folder):
    (folder / "train.parquet").unlink()
    write_parquet(folder / "train-00000-of-00002-0a1b2c.parquet", PNGS, LABELS)
    assert refused(folder) == (
        f"{folder}: train-00000-of-00002-0a1b2c.parquet belongs to 2 files, found 1; copy the missing ones, or move the surplus ones away"
    )


def test_a_whole_file_beside_shards_is_ambiguous(folder):
    write_parquet(folder / "train-00000-of-00001.parquet", PNGS, LABELS)
    assert refused(folder) == (
        f"{folder}: holds both train.parquet and train-00000-of-00001.parquet: which is the train split? Move one of them away"
    )


def test_names_of_classes_come_from_the_metadata_of_the_hub(folder):
    metadata = {"huggingface": json.dumps({"info": {"features": {"label": {"names": ["ant", "bee", "cow"], "_type": "ClassLabel"}}}})}
    write_parquet(folder / "train.parquet", PNGS, LABELS, metadata=metadata)
    assert load(folder).classes == ("ant", "bee", "cow")


@pytest.mark.parametrize(
    "metadata", ["", "{", "[]", '{"info": 3}', '{"info": {"features": {"label": {"names": [1, 2, 3]}}}}', "[" * 100_000]
)
def test_metadata_that_say_nothing_of_classes_are_passed_over(folder, metadata):
    write_parquet(folder / "train.parquet", PNGS, LABELS, metadata={"huggingface": metadata})
    assert load(folder).classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b"], "{folder}/train.parquet: row 2: column label: the file's metadata names 2 classes, but the highest label is 2"),
        (list("abcd"), "{folder}/train.parquet: row 2: column label: the file's metadata names 4 classes, but the highest label is 2"),
        (["a", "b", "a"], "{folder}: names of classes must be distinct, printable text, got 'a'; rename it"),
        (["a", "b", "\x1b[2J"], "{folder}: names of classes must be distinct, printable text, got '\\x1b[2J'; rename it"),
    ],
)
def test_names_that_do_not_fit_are_refused(folder, names, message):
    metadata = {"huggingface": json.dumps({"info": {"features": {"label": {"names": names}}}})}
    write_parquet(folder / "train.parquet", PNGS, LABELS, metadata=metadata)
    assert refused(folder) == message.format(folder=folder)


def test_images_are_resized_when_a_size_is_set(folder):
    write_parquet(folder / "train.parquet", [*PNGS[:5], encode(pixels(1, side=20)[0])], LABELS)
    dataset = load(folder, image_size=4)
    assert dataset.train_images.shape == (6, 4, 4, 3)
    expected = Image.fromarray(pixels(6)[0]).resize((4, 4), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(dataset.train_images[0], np.asarray(expected))


def test_grey_palette_and_transparent_images_become_colour(folder):
    grey = Image.fromarray(pixels(1)[0]).convert("L")
    images = [encode(np.asarray(grey)), encode(np.asarray(grey.convert("RGBA"))), encode(np.asarray(grey), "GIF"), *PNGS[:3]]
    write_parquet(folder / "train.parquet", images, LABELS)
    loaded = load(folder).train_images
    np.testing.assert_array_equal(loaded[:3], np.repeat(np.asarray(grey)[None, ..., None], 3, axis=0).repeat(3, axis=-1))


def test_large_images_are_decoded_by_several_threads_to_the_same_pixels(folder):
    arrays = pixels(600, side=130)
    encoded = [encode(array, "BMP") for array in arrays]
    write_parquet(folder / "train.parquet", encoded, [i % 3 for i in range(600)])
    write_parquet(folder / "test.parquet", encoded[:3], LABELS[:3])
    np.testing.assert_array_equal(load(folder).train_images, arrays)


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (b"", "must be an image (BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP), got 0 bytes that begin with b''"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "got 24 bytes that begin with b'%!PS-Ado'"),
        (encode(pixels(1)[0], "JPEG")[:-40], "cannot be decoded: image file is truncated"),
        (PNGS[0][:-60], "cannot be decoded: "),
        (encode(pixels(1, side=9)[0]), "is 9×9 pixels, but {folder}/train.parquet: row 0 is 8×8; all images must have one size: set "),
        (encode(np.zeros((8, 8), np.uint16)), "must have 8 bits a channel, got an image of Pillow's mode I;16; convert it to 8-bit RGB"),
        (encode(np.zeros((5000, 1), np.uint8)), "must have at most 4096×4096 pixels, got 1×5000"),
        (encode(np.zeros((20_000, 20_000), np.uint8)), "cannot be decoded: Image size (400000000 pixels) exceeds limit"),
    ],
    ids=["empty", "postscript", "truncated-jpeg", "truncated-png", "odd-size", "16-bit", "too-long", "bomb"],
)
def test_an_image_that_will_not_do_is_named_by_its_row(folder, image, problem):
    write_parquet(folder / "train.parquet", [*PNGS[:4], image, PNGS[5]], LABELS)
    message = refused(folder)
    assert message.startswith(f"{folder}/train.parquet: row 4: ")
    assert problem.format(folder=folder) in message


def test_the_row_is_counted_within_its_own_shard(folder):
    (folder / "test.parquet").unlink()
    write_parquet(folder / "test-0.parquet", PNGS[:2], LABELS[:2])
    write_parquet(folder / "test-1.parquet", [PNGS[2], b"no"], LABELS[2:4])
    assert refused(folder).startswith(f"{folder}/test-1.parquet: row 1: must be an image")


def test_more_pixels_than_memory_should_hold_are_refused_before_they_are_decoded(folder):
    large = encode(np.zeros((4096, 4096, 3), np.uint8))
    write_parquet(folder / "train.parquet", [large] * 400, [0, 1, 2, 1] * 100)
    assert refused(folder) == (
        f"{folder}/train.parquet: row 0: 400 images of 4096×4096 pixels take 18.8 GiB, more than memory or the limit of 16 GiB for a data "
        "set allows; set dataset.image_size (for example 32) to have them resized"
    )


@pytest.mark.parametrize(
    ("images", "labels", "problem"),
    [
        ([*PNGS[:5], None], LABELS, "/train.parquet: row 5: column img: must not be null (1 such rows); leave the row out"),
        (PNGS, [0, None, 2, None, 1, 2], "/train.parquet: row 1: column label: must not be null (2 such rows); leave the row out"),
        (PNGS, [0, 1, 2, -1, 1, 2], "/train.parquet: row 3: column label: must be >= 0, got -1"),
        (PNGS, [0, 1, -2, -1, 1, 2], "/train.parquet: row 2: column label: must be >= 0, got -2 (2 such rows)"),
        (PNGS, [0, 1, 3, 0, 1, 3], f"/train.parquet: row 2: column label: {GAPS}, got 3 but no row has 2; {ANEW}"),
        (PNGS, [1, 2, 3, 1, 2, 3], f"/train.parquet: row 0: column label: {GAPS}, got 1 but no row has 0; {ANEW}"),
        (PNGS, [0, 1, 10**15, 0, 1, 2], f"/train.parquet: row 2: column label: {GAPS}, got 1000000000000000 but no row has 3; {ANEW}"),
        (PNGS, [0] * 6, "/train.parquet: row 0: column label: must name at least two classes, every row has 0"),
        ([], [], ": the train split must hold images, found no row in train.parquet"),
    ],
)
def test_rows_that_will_not_do_are_refused(folder, images, labels, problem):
    write_parquet(folder / "train.parquet", images, labels)
    assert refused(folder) == f"{folder}{problem}"


def test_an_image_whose_bytes_are_null_is_refused(folder):
    rows = pa.array([{"bytes": None, "path": "only/a/path.png"}] * 6, IMAGE_TYPE)
    pq.write_table(pa.table({"img": rows, "label": LABELS}), folder / "train.parquet")
    assert refused(folder) == f"{folder}/train.parquet: row 0: column img: must not be null (6 such rows); leave the row out"


@pytest.mark.parametrize(
    ("label", "end"),
    [(3, "got 3"), (-1, "got -1, which hubs write where a split has no labels: take a split that has them"), (-7, "got -7")],
)
def test_a_test_label_that_is_no_class_of_train_is_refused(folder, label, end):
    write_parquet(folder / "test.parquet", PNGS[:3], [0, label, 1])
    assert refused(folder) == f"{folder}/test.parquet: row 1: column label: must lie in 0..2, the classes of train, {end}"


def test_test_images_of_another_size_are_refused(folder):
    write_parquet(folder / "test.parquet", [encode(array) for array in pixels(3, side=9)], LABELS[:3])
    assert refused(folder).startswith(f"{folder}: train and test images must have one size, got 8×8 and 9×9 pixels; set dataset.image_size")


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (
            {"picture": ["a"], "label": [0]},
            "must have one column img or image, found picture, label; where another column is the image, name it: dataset.image: COLUMN",
        ),
        (
            {"img": pa.array([b""]), "caption": ["a"]},
            "must have one column label or labels, found img, caption; where another column is the label, name it: dataset.label: COLUMN",
        ),
        ({"img": ["text"], "label": [0]}, "column img: must be binary, or a struct with a binary field bytes, got string"),
        (
            {"img": [{"path": "x"}], "label": [0]},
            "column img: must be binary, or a struct with a binary field bytes, got struct<path: string>",
        ),
        ({"img": pa.array([b""]), "label": [0.5]}, "column label: must be integers, text, or true and false, got double, in row 0 0.5"),
        (
            {"img": pa.array([b""]), "label": [[3]]},
            "column label: must be integers, text, or true and false, got list<element: int64>, in row 0 [3]",
        ),
        ({"img": pa.array([b""]), "label": pa.nulls(1)}, "row 0: column label: must not be null (1 such rows); leave the row out"),
        (
            {},
            "must have one column img or image, found no column; where another column is the image, name it: dataset.image: COLUMN",
        ),
    ],
)
def test_foreign_columns_are_refused_with_what_was_found(folder, table, problem):
    pq.write_table(pa.table(table), folder / "train.parquet")
    assert refused(folder) == f"{folder}/train.parquet: {problem}"


def test_two_columns_of_one_name_are_refused(folder):
    columns = [pa.array(PNGS, pa.binary()), pa.array(LABELS), pa.array(LABELS)]
    pq.write_table(pa.Table.from_arrays(columns, names=["img", "label", "label"]), folder / "train.parquet")
    assert refused(folder) == f"{folder}/train.parquet: must have one column label, found img, label, label; rename the others"


IMAGES = pa.array([{"bytes": image, "path": None} for image in PNGS], IMAGE_TYPE)
NUMBERS = pa.array(LABELS, pa.int64())
OTHERS = pa.array([1, 0, 1, 0, 1, 0], pa.int64())


def hub(**names):
    """The metadata with which a hub names the classes of some columns."""
    features = {column: {"names": list(classes), "_type": "ClassLabel"} for column, classes in names.items()}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def write_both(folder, columns, metadata=None):
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, folder / "train.parquet")
    pq.write_table(table.slice(0, 3), folder / "test.parquet")


@pytest.mark.parametrize(
    ("columns", "options", "labels", "classes"),
    [
        ({"image": IMAGES, "labels": NUMBERS}, {}, LABELS, ("0", "1", "2")),
        ({"img": IMAGES, "id": OTHERS, "label": NUMBERS}, {}, LABELS, ("0", "1", "2")),
        ({"img": IMAGES, "target": NUMBERS}, {}, LABELS, ("0", "1", "2")),
        ({"image": IMAGES, "mask": IMAGES, "label": NUMBERS}, {}, LABELS, ("0", "1", "2")),
        ({"image": ["a.png"] * 6, "img": IMAGES, "label": NUMBERS}, {}, LABELS, ("0", "1", "2")),
        ({"label": NUMBERS, "picture": IMAGES}, {}, LABELS, ("0", "1", "2")),
        ({"image.bytes": pa.array(PNGS), "image.path": ["a.png"] * 6, "label": NUMBERS}, {}, LABELS, ("0", "1", "2")),
        ({"image.bytes": pa.array(PNGS), "label": NUMBERS}, {"image": "image.bytes"}, LABELS, ("0", "1", "2")),
        ({"img": IMAGES, "mask": IMAGES, "label": NUMBERS}, {"image": "mask"}, LABELS, ("0", "1", "2")),
        ({"img": IMAGES, "fine_label": NUMBERS, "coarse_label": OTHERS}, {"label": "fine_label"}, LABELS, ("0", "1", "2")),
        ({"img": IMAGES, "fine_label": NUMBERS, "coarse_label": OTHERS}, {"label": "coarse_label"}, [1, 0, 1, 0, 1, 0], ("0", "1")),
        ({"img": IMAGES, "label": NUMBERS, "breed": OTHERS}, {"label": "breed"}, [1, 0, 1, 0, 1, 0], ("0", "1")),
        ({"img": IMAGES, "label": ["cat", "ant", "bee", "cat", "ant", "bee"]}, {}, [2, 0, 1, 2, 0, 1], ("ant", "bee", "cat")),
        ({"img": IMAGES, "label": ["10", "2", "1", "10", "2", "1"]}, {}, [1, 2, 0, 1, 2, 0], ("1", "10", "2")),
        ({"img": IMAGES, "label": [True, False, True, True, False, False]}, {}, [1, 0, 1, 1, 0, 0], ("false", "true")),
        ({"img": IMAGES, "label": pa.array(["b", "a", "b", "a", "b", "a"]).dictionary_encode()}, {}, [1, 0, 1, 0, 1, 0], ("a", "b")),
        ({"img": IMAGES, "label": pa.array(["b", "a", "b", "a", "b", "a"], pa.large_string())}, {}, [1, 0, 1, 0, 1, 0], ("a", "b")),
        ({"img": IMAGES, "label": NUMBERS.dictionary_encode()}, {}, LABELS, ("0", "1", "2")),
    ],
)
def test_columns_of_any_name_and_labels_of_any_plain_kind_are_read(folder, columns, options, labels, classes):
    write_both(folder, columns)
    dataset = load(folder, **options)
    assert (dataset.train_labels.tolist(), dataset.test_labels.tolist(), dataset.classes) == (labels, labels[:3], classes)
    assert (dataset.train_labels.dtype, dataset.test_labels.dtype) == (np.int64, np.int64)
    np.testing.assert_array_equal(dataset.train_images, pixels(6))


def test_a_column_whose_classes_the_hub_names_is_the_label(folder):
    write_both(folder, {"img": IMAGES, "id": OTHERS, "species": NUMBERS}, hub(species=["ant", "bee", "cow"]))
    assert load(folder).classes == ("ant", "bee", "cow")


def test_the_names_are_those_of_the_column_that_is_named(folder):
    names = hub(fine_label=["ant", "bee", "cow"], coarse_label=["insect", "mammal"])
    write_both(folder, {"img": IMAGES, "fine_label": NUMBERS, "coarse_label": OTHERS}, names)
    assert load(folder, label="fine_label").classes == ("ant", "bee", "cow")
    assert load(folder, label="coarse_label").classes == ("insect", "mammal")


@pytest.mark.parametrize(
    ("columns", "options", "problem"),
    [
        (
            {"img": IMAGES, "fine_label": NUMBERS, "coarse_label": OTHERS},
            {},
            "which column is the label, fine_label or coarse_label? Name it: dataset.label: fine_label (or --set dataset.label=fine_label)",
        ),
        (
            {"img": IMAGES, "label": NUMBERS, "labels": OTHERS},
            {},
            "which column is the label, label or labels? Name it: dataset.label: label (or --set dataset.label=label)",
        ),
        (
            {"img": IMAGES, "image": IMAGES, "label": NUMBERS},
            {},
            "which column is the image, img or image? Name it: dataset.image: img (or --set dataset.image=img)",
        ),
        (
            {"left": IMAGES, "right": IMAGES, "label": NUMBERS},
            {},
            "which column is the image, left or right? Name it: dataset.image: left (or --set dataset.image=left)",
        ),
        (
            {"img": IMAGES, "label": NUMBERS},
            {"label": "fine_lable"},
            "must have the column fine_lable, found img, label; name another one as dataset.label",
        ),
        (
            {"img": IMAGES, "label": NUMBERS},
            {"image": "image.bytes"},
            "must have the column image.bytes, found img, label; name another one as dataset.image",
        ),
        ({"img": IMAGES, "label": NUMBERS}, {"image": "label"}, "column label: must be binary, or a struct with a binary field bytes"),
        ({"img": IMAGES, "label": ["a"] * 6}, {}, "row 0: column label: must name at least two classes, every row has 'a'"),
        (
            {"img": IMAGES, "label": ["a", "b", "", "a", "", "b"]},
            {},
            f"row 2: {TEXT_RULE}, got '' (2 such rows)",
        ),
        ({"img": IMAGES, "label": ["a", "b", "c\x1b[2J"] * 2}, {}, f"row 2: {TEXT_RULE}, got 'c\\x1b[2J' (2 such rows)"),
        ({"img": IMAGES, "label": ["a", None, "b"] * 2}, {}, "row 1: column label: must not be null (2 such rows); leave the row out"),
        ({"img": IMAGES, "label": [True, False, None] * 2}, {}, "row 2: column label: must not be null (2 such rows); leave the row out"),
        ({"img": IMAGES, "label": [0.0, None, 1.0] * 2}, {}, "row 1: column label: must not be null (2 such rows); leave the row out"),
    ],
)  # fmt: skip
def test_columns_that_are_ambiguous_or_will_not_do_are_refused_with_the_names_to_choose_from(folder, columns, options, problem):
    write_both(folder, columns)
    assert refused(folder, **options).startswith(f"{folder}/train.parquet: {problem}")


def test_a_class_of_test_that_train_does_not_have_is_refused_with_its_row(folder):
    write_both(folder, {"img": IMAGES, "label": ["ant", "bee", "cow"] * 2})
    pq.write_table(pa.table({"img": IMAGES[:3], "label": ["ant", "gnu", "elk"]}), folder / "test.parquet")
    assert refused(folder) == (
        f"{folder}/test.parquet: row 1: column label: must be a class of train (ant, bee, cow), got 'gnu' (2 such rows)"
    )


@pytest.mark.parametrize(("labels", "kind"), [(["0", "1", "2"], "text"), ([True, False, True], "text")])
def test_a_split_whose_labels_are_of_another_kind_is_refused(folder, labels, kind):
    pq.write_table(pa.table({"img": IMAGES[:3], "label": labels}), folder / "test.parquet")
    assert refused(folder) == f"{folder}/test.parquet: column label: must be whole numbers as in train.parquet, got {kind}"


def test_a_file_of_another_layout_than_the_first_is_refused(folder):
    pq.write_table(pa.table({"image": IMAGES[:3], "label": NUMBERS[:3]}), folder / "test.parquet")
    assert refused(folder) == f"{folder}/test.parquet: must have the column img, found image, label; name another one as dataset.image"


def test_labels_are_looked_at_before_any_image_is_decoded(folder):
    write_both(folder, {"img": pa.array([b"no image"] * 6), "label": [0, 2] * 3})
    assert "without gaps" in refused(folder)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"img,label\n1,2\n", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_file_that_is_no_parquet_is_named(folder, content):
    (folder / "test.parquet").write_bytes(content)
    assert refused(folder).startswith(f"{folder}/test.parquet: cannot be read as Parquet: ")


def test_an_empty_folder_and_a_folder_of_something_else_are_told_apart(tmp_path):
    assert refused(tmp_path) == f"{tmp_path}: must hold train.parquet or train-*.parquet, found nothing"
    (tmp_path / "notes.txt").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-00000-of-00001.parquet").touch()
    assert refused(tmp_path) == (
        f"{tmp_path}: must hold train.parquet or train-*.parquet, found data/, notes.txt; did you mean --data-dir {tmp_path}/data?"
    )


SPACE = """
name: cifar100
dataset: {name: parquet, data_dir: data, validation: 3}
training: {epochs: 1, batch_size: 2, learning_rate: 0.1}
parameters: {loss: {choices: [l1, cross_entropy]}}
compare: {arms: loss, searches: 1, trials_per_arm: 1, seeds: 0}
"""


def test_an_ambiguous_column_ends_a_run_before_it_starts_and_naming_it_is_enough(folder):
    large = pa.array([{"bytes": encode(array), "path": None} for array in pixels(6, side=32)], IMAGE_TYPE)
    (folder / "data").mkdir()
    write_both(folder / "data", {"img": large, "fine_label": ["ant", "bee", "cow"] * 2, "coarse_label": OTHERS})
    (folder / "space.yaml").write_text(SPACE)
    refused = sweep("run", "space.yaml", cwd=folder)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.endswith(
        "data/train.parquet: which column is the label, fine_label or coarse_label? "
        "Name it: dataset.label: fine_label (or --set dataset.label=fine_label)\n"
    )
    assert not (folder / "results").exists()
    planned = sweep("run", "space.yaml", "--set", "dataset.label=fine_label", "--dry-run", cwd=folder)
    assert (planned.returncode, planned.stdout.splitlines()[0]) == (0, "cifar100: 2 trials, at most 2 epochs; nothing was created")


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_no_damage_to_a_file_ends_in_anything_but_a_data_error(tmp_path_factory, random, truncate):
    folder = tmp_path_factory.mktemp("damaged")
    write_parquet(folder / "test.parquet", PNGS[:3], LABELS[:3])
    write_parquet(folder / "train.parquet", PNGS, LABELS, metadata={"huggingface": "{}"})
    damage(folder / "train.parquet", random, truncate)
    with contextlib.suppress(DataError):
        dataset = load(folder)
        assert len(dataset.train_labels) == len(dataset.train_images)


def damage(path: Path, random: random.Random, truncate: bool) -> None:
    content = bytearray(path.read_bytes())
    if truncate:
        del content[random.randrange(len(content)) :]
    else:
        for _ in range(random.randint(1, 8)):
            content[random.randrange(len(content))] = random.randrange(256)
    path.write_bytes(content)
