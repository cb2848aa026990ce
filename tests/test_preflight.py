"""What ``run`` refuses, ``check`` and ``--dry-run`` refuse too, in the same words, and none of them leaves anything behind."""

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from sweeper.cli import cli
from sweeper.errors import ClusterError
from sweeper.preflight import load_data, preflight
from sweeper.space import load_space

QUICKSTART = Path(__file__).parents[1] / "search_spaces" / "quickstart.yaml"

MODELS = """
from torch import nn

class Normalised(nn.Sequential):
    def __init__(self, n_classes, height, width):
        super().__init__(nn.Flatten(), nn.Linear(3 * height * width, 8), Whitened(), nn.Linear(8, n_classes))

class Whitened(nn.BatchNorm1d):
    def __init__(self):
        super().__init__(8, track_running_stats=False)

class Dropping(nn.Sequential):
    def __init__(self, n_classes, height, width):
        super().__init__(nn.Flatten(), nn.Linear(3 * height * width, n_classes))

    def forward(self, x):
        return super().forward(nn.functional.dropout(x, 0.5, training=True))

class ForLargeImages(nn.Sequential):
    def __init__(self, n_classes):
        super().__init__(nn.Flatten(), nn.Linear(3 * 64 * 64, n_classes))

class Sound(nn.Sequential):
    def __init__(self, n_classes, height, width):
        super().__init__(nn.Flatten(), nn.Linear(3 * height * width, n_classes))
"""

WANDB = """
class api:
    api_key = None

def ensure_configured():
    pass
"""


def image(side=16):
    stream = io.BytesIO()
    Image.fromarray(np.zeros((side, side, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def write_split(path, labels, *, images=None, name="label"):
    encoded = [image()] * len(labels) if images is None else images
    pq.write_table(pa.table({"img": [{"bytes": each} for each in encoded], name: labels}), path)


def parquet(folder, **changes):
    """Ten training images and four test images of two classes."""
    folder.mkdir()
    write_split(folder / "train.parquet", **{"labels": [0, 1] * 5} | changes)
    write_split(folder / "test.parquet", labels=[0, 1, 0, 1])
    return ["--dataset", "parquet", "--data-dir", folder, "--set", "dataset.validation=4"]


def folders(folder, *splits, side=16):
    for split in splits:
        for name in ("cat", "dog"):
            (folder / split / name).mkdir(parents=True)
            for number in range(5):
                (folder / split / name / f"{number}.png").write_bytes(image(side))
    return ["--dataset", "imagefolder", "--data-dir", folder, "--set", "dataset.validation=4"]


def a_file(tmp_path):
    (tmp_path / "file").write_text("")
    return tmp_path / "file"


def lone_parquet(tmp_path):
    options = parquet(tmp_path / "data")
    (tmp_path / "data" / "test.parquet").unlink()
    return options


FAULTS = {
    "results are a file": lambda tmp: (["--results", a_file(tmp)], "file: is a file, and no folder can be made in it"),
    "results lie in a file": lambda tmp: (["--results", a_file(tmp) / "x"], f"{tmp}/file is no folder; give another --results"),
    "results nowhere": lambda _: (["--results", "/proc/1/x"], "/proc/1/x: cannot be written to: /proc/1: "),
    "results in the clouds": lambda _: (["--results", "foo://x/y"], "foo://x/y: cannot open this storage: Unrecognized filesystem type"),
    "more cores than there are": lambda _: (["--cpus-per-trial", 4096], "it wants 4096 CPU and 0 GPU of "),
    "GPUs where there are none": lambda _: (["--gpus-per-trial", 1], "it wants 1 CPU and 1 GPU of "),
    "shares of a GPU": lambda _: (["--gpus-per-trial", 0.25], "it wants 1 CPU and 0.25 GPU of "),
    "an unknown logger": lambda _: (["--log-to", "mlflw"], "--log-to: unknown logger 'mlflw'; did you mean 'mlflow'?"),
    "a stranger's logger": lambda _: (["--log-to", "wandb"], "--log-to wandb: not logged in: run `wandb login`"),
    "a log of a bucket": lambda _: (["--log-to", "tensorboard", "--results", "s3://b/x"], "results on object storage cannot be logged"),
    "statistics of the batch": lambda _: (
        ["--set", "training.model=preflight_models:Normalised"],
        "gives an image other logits in other company: in eval mode it must judge each image of a batch by itself",
    ),
    "dropout in eval mode": lambda _: (["--set", "training.model=preflight_models:Dropping"], "draws random numbers in eval mode too"),
    "images of another size": lambda _: (
        ["--set", "training.model=preflight_models:ForLargeImages"],
        "fails on images of shape [3, 3, 32, 32]",
    ),
    "images too small": lambda tmp: (folders(tmp / "data", "train", "test", side=8), "needs images of at least 10 x 10 pixels, got 8 x 8"),
    "no such folder": lambda tmp: (["--dataset", "parquet", "--data-dir", tmp / "gone"], "gone: no such folder"),
    "no test split": lambda tmp: (lone_parquet(tmp), "must hold test.parquet or test-*.parquet, found train.parquet"),
    "no label": lambda tmp: (parquet(tmp / "data", labels=[0] * 10, name="y"), "must have one column label or labels, found img, y"),
    "words in one split": lambda tmp: (parquet(tmp / "data", labels=["a", "b"] * 5), "column label: must be text as in train.parquet"),
    "a null label": lambda tmp: (parquet(tmp / "data", labels=[0, None, 1]), "row 1: column label: must not be null (1 such rows)"),
    "a gap in the labels": lambda tmp: (parquet(tmp / "data", labels=[0, 2] * 5), "must be numbered from 0 without gaps"),
    "no images": lambda tmp: (
        parquet(tmp / "data", labels=[0, 1] * 5, images=[b"text"] * 10),
        "train.parquet: row 0: must be an image",
    ),
    "no test folder": lambda tmp: (folders(tmp / "data", "train"), "data/test: must be a folder with one folder of images per class"),
    "all images held out": lambda tmp: (
        [*parquet(tmp / "data"), "--set", "dataset.validation=10"],
        "dataset.validation: must lie in 1..9, since train has 10 images, got 10",
    ),
    "a class held out": lambda _: (["--set", "dataset.validation=9999"], "leaves class 0 (1000 images) without a training image"),
    "a metric of more classes": lambda tmp: (
        [*parquet(tmp / "data"), "--set", "search.metric=val_top5_accuracy"],
        "data: search.metric val_top5_accuracy needs at least 6 classes, got 2; take val_accuracy",
    ),
    "Parquet for CIFAR-10": lambda tmp: (["--dataset", "cifar10", *parquet(tmp / "data")[2:4]], "holds no CIFAR-10 archive, but Parquet"),
    "a download to nowhere": lambda _: (["--dataset", "cifar10", "--data-dir", "/proc/1/x"], "/proc/1/x: cannot be written: /proc/1: "),
}


@pytest.fixture(autouse=True)
def _own_modules(tmp_path, monkeypatch):
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "preflight_models.py").write_text(MODELS)
    (modules / "wandb.py").write_text(WANDB)  # Ray asks it for a key in this way
    monkeypatch.syspath_prepend(modules)
    for name in ("RAY_ADDRESS", "WANDB_MODE", "WANDB_API_KEY", "SWEEPER_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def told(command, *arguments):
    """Exit code, and what stands on stderr besides warnings."""
    done = CliRunner().invoke(cli, [command, str(QUICKSTART), *map(str, arguments)])
    return done.exit_code, "\n".join(line for line in done.stderr.splitlines() if not line.startswith("warning: "))


@pytest.mark.parametrize("fault", FAULTS)
def test_what_run_refuses_check_and_the_dry_run_refuse_in_the_same_words(fault, tmp_path):
    arguments, message = FAULTS[fault](tmp_path)
    answers = [told("check", *arguments), told("run", *arguments, "--dry-run"), told("run", *arguments)]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 2
    assert message in answers[0][1]
    assert list((tmp_path / "here").iterdir()) == []


def test_every_mistake_is_told_at_once(tmp_path):
    arguments = ["--results", a_file(tmp_path), "--cpus-per-trial", 4096, "--log-to", "mlflw", "--dataset", "parquet", "--data-dir", "gone"]
    code, text = told("run", *arguments)
    assert code == 2
    assert [line.split(":")[0] for line in text.splitlines()] == [
        "4 problems",
        "  --log-to",
        f"  {tmp_path}/file",
        "  no trial can run on this machine",
        "  dataset.data_dir",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_to_write_is_refused(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    assert told("check", "--results", tmp_path / "locked")[0] == 2


def test_a_sound_space_passes_and_what_cannot_be_known_is_named(tmp_path):
    sound = ["--set", "training.model=preflight_models:Sound"]
    assert told("check", *sound, "--results", tmp_path / "a" / "b") == (0, "")
    assert not (tmp_path / "a").exists()
    code, text = told("check", *parquet(tmp_path / "data"), *sound, "--address", "ray://10.0.0.1:1", "--results", "s3://bucket/x")
    assert code == 0
    assert text.splitlines() == [
        "not checked: s3://bucket/x: `run` is the first to reach and to write it",
        "not checked: the cluster at ray://10.0.0.1:1: whether it is there, has the CPUs and GPUs of a trial, and can write to the results",
        f"not checked: the images of {tmp_path}/data but the first of each split: `run` decodes them",
    ]


def test_a_data_set_that_is_not_there_yet_is_named(tmp_path):
    assert told("check", "--dataset", "cifar10", "--data-dir", tmp_path / "cifar")[1] == (
        f"not checked: the data set: `run` downloads CIFAR-10 into {tmp_path}/cifar"
    )
    assert not (tmp_path / "cifar").exists()


@pytest.mark.parametrize("make", [parquet, lambda folder: folders(folder, "train", "test"), lambda _: []])
def test_a_glance_knows_what_is_read_later(make, tmp_path):
    options = [str(option) for option in make(tmp_path / "data")]
    named = dict(zip(options[::2], options[1::2], strict=True))
    overrides = [f"dataset.{key}={named[flag]}" for key, flag in (("name", "--dataset"), ("data_dir", "--data-dir")) if flag in named]
    space = load_space(str(QUICKSTART), [*overrides, "dataset.validation=4"] if overrides else [])
    glance, whole = load_data(space, None, glance=True), load_data(space, None)
    assert glance.train_images.shape == whole.train_images.shape
    assert glance.test_images.shape == whole.test_images.shape
    assert glance.classes == whole.classes
    np.testing.assert_array_equal(glance.train_labels, whole.train_labels)
    np.testing.assert_array_equal(glance.test_labels, whole.test_labels)


def test_a_glance_reads_no_image_but_the_first(tmp_path):
    options = parquet(tmp_path / "data", labels=[0, 1] * 5, images=[image(), *[b"damaged"] * 9])
    assert told("check", *options)[0] == 0
    assert "row 1: must be an image" in told("run", *options)[1]


def test_trying_the_results_folder_leaves_nothing_in_it(tmp_path):
    assert preflight(load_space(str(QUICKSTART)), results=str(tmp_path)) == ()
    assert {path.name for path in tmp_path.iterdir()} == {"modules", "here"}


IN_HALF = (
    "training.precision: bfloat16 is of no use for the convnet on a CPU, which computes in float32 alone, and faster; take float32, or GPUs"
)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        (["training.precision=float32"], None),
        (["training.precision=bfloat16"], IN_HALF),
        (["parameters.precision={choices: [float32, bfloat16]}"], IN_HALF),
        (["training.precision=bfloat16", "resources.backend=operators"], None),
        (["training.precision=bfloat16", "training.model=torchvision.models:squeezenet1_1"], None),
    ],
)
def test_the_convnet_is_not_trained_in_bfloat16_on_a_cpu(tmp_path, changes, refusal):
    space = load_space(str(QUICKSTART), overrides=["resources.gpus_per_trial=0", *changes])
    if refusal is None:
        preflight(space, results=str(tmp_path))
        return
    with pytest.raises(ClusterError) as caught:
        preflight(space, results=str(tmp_path))
    assert str(caught.value) == refusal
