"""What a space file may name: losses with their parameters, models, data sets. Does not import torch, so that checking a file is quick.

``training/losses.py``, ``training/model.py`` and ``data/`` implement each entry; a test compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["float", "int", "text", "bool", "any"]
"""What kind of value a parameter takes."""


@dataclass(frozen=True, slots=True)
class Domain:
    """What a parameter may hold: values of a kind, numbers from ``low`` (itself excluded where ``low_open``) to ``high``.

    ``default``: its value where a space file is silent. ``None`` where it must be given (``is_required``), and where a loss of the
    user's own has a default that is no plain value (a tensor, ``None``): that stays out of the records. ``options``: the texts that it may
    be. ``when``: the value of another parameter of the training beside which alone it exists.
    """

    kind: Kind
    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    default: float | int | str | bool | None = None
    is_required: bool = False
    doc: str = ""
    options: tuple[str, ...] = ()
    when: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LossEntry:
    """A built-in loss. ``elementwise``: its mean under ``reduction: elements`` runs over batch × classes, as in the notebook.

    ``cross_entropy_at``: the value of its own parameter at which it is cross-entropy.
    """

    doc: str
    elementwise: bool
    parameters: Mapping[str, Domain] = field(default_factory=dict)
    cross_entropy_at: Mapping[str, float] = field(default_factory=dict)

    @property
    def defaults(self) -> dict[str, float]:
        """The value of each of its own parameters where a space file is silent."""
        return {name: float(entry.default) for name, entry in self.parameters.items() if entry.default is not None}


LOSSES: Mapping[str, LossEntry] = MappingProxyType(
    {
        "l1": LossEntry("absolute error of the raw outputs against one-hot targets (nn.L1Loss)", elementwise=True),
        "cross_entropy": LossEntry("negative log-likelihood of the softmax, in nats", elementwise=False),
        "focal": LossEntry(
            "cross-entropy weighted by (1 - p)^gamma (Lin 2017, 1708.02002, eq. 4)",
            elementwise=True,
            parameters={"gamma": Domain("float", 0.0, 20.0, default=2.0, doc="focusing parameter; 0 is cross-entropy")},
            cross_entropy_at={"gamma": 0.0},
        ),
        "mae": LossEntry("absolute error of the softmax against one-hot targets (Ghosh 2017, 1712.09482)", elementwise=True),
        "mse": LossEntry("squared error of the softmax against one-hot targets, the Brier score", elementwise=True),
        "label_smoothing": LossEntry(
            "cross-entropy against smoothed targets (Szegedy 2016, 1512.00567, section 7)",
            elementwise=False,
            parameters={"smoothing": Domain("float", 0.0, 1.0, default=0.1, doc="share of the target spread over all classes")},
            cross_entropy_at={"smoothing": 0.0},
        ),
        "generalized_cross_entropy": LossEntry(
            "(1 - p^q) / q, between cross-entropy (q -> 0) and MAE (q = 1) (Zhang & Sabuncu 2018, 1805.07836, eq. 6)",
            elementwise=False,
            parameters={"q": Domain("float", 0.0, 1.0, default=0.7, doc="0 is cross-entropy, 1 is the unhinged loss")},
            cross_entropy_at={"q": 0.0},
        ),
        "poly1": LossEntry(
            "cross-entropy plus epsilon * (1 - p) (Leng 2022, 2204.12511, eq. 6)",
            elementwise=False,
            parameters={"epsilon": Domain("float", -1.0, 100.0, default=2.0, doc="weight of the first polynomial term")},
            cross_entropy_at={"epsilon": 0.0},
        ),
    }
)

MODELS: Mapping[str, str] = MappingProxyType(
    {"convnet": "conv 3-4 k3, ReLU, max-pool 2; conv 4-8 k3, ReLU, max-pool 2; linear 288-32, ReLU; linear 32-10 (9,986 weights)"}
)

MODEL_ARGUMENTS = ("n_classes", "num_classes", "height", "width")
"""What a model of the user's own is built with, as far as it names them: the classes, by either name, and the size of the images."""


def model_arguments(names: Collection[str]) -> tuple[str, ...]:
    """Those of :data:`MODEL_ARGUMENTS` that a model with parameters of these names is told; a ``width`` without ``height`` is its own."""
    return tuple(name for name in MODEL_ARGUMENTS if name in names and (name != "width" or "height" in names))


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """A data set, and what a space file may say of it.

    ``validation``: images held out where a file is silent, ``None`` where it must say. ``n_train``: training images, where they are known
    beforehand. ``is_of_the_user``: it is read from a folder that the file names, and its images can have any size. ``keys``: keys of the
    section ``dataset`` that this one alone has, with their defaults.
    """

    doc: str
    validation: int | None = 5_000
    n_train: int | None = None
    is_of_the_user: bool = False
    keys: Mapping[str, int | None] = field(default_factory=dict)


DATASETS: Mapping[str, DatasetEntry] = MappingProxyType(
    {
        "cifar10": DatasetEntry("CIFAR-10 by torchvision, downloaded once and checksummed", n_train=50_000),
        "parquet": DatasetEntry(
            "train and test Parquet files with a column of encoded images and one of labels, as data set hubs publish them",
            is_of_the_user=True,
            keys={"image": None, "label": None},
        ),
        "imagefolder": DatasetEntry("train/ and test/ with one folder per class", validation=None, is_of_the_user=True),
        "synthetic": DatasetEntry(
            "generated, deterministic, 32x32x3, ten classes; needs no download",
            validation=1_000,
            keys={"train_images": 10_000, "test_images": 2_000},
        ),
    }
)

TRAINING_PARAMETERS: Mapping[str, Domain] = MappingProxyType(
    {
        "learning_rate": Domain("float", 0.0, 1e6, low_open=True, is_required=True, doc="step length at the first epoch after warm-up"),
        "momentum": Domain("float", 0.0, 1.0, default=0.9, doc="momentum of SGD", when={"optimizer": "sgd"}),
        "weight_decay": Domain(
            "float",
            0.0,
            1e3,
            default=0.0,
            doc="sgd: L2 penalty added to the gradient of every weight, as in torch.optim.SGD; "
            "adamw: decoupled decay, of weights of two and more dimensions alone (no biases, no scales of normalisation)",
        ),
        "step_size": Domain("int", 1, 10**6, default=1, doc="epochs between drops of the rate (StepLR)", when={"schedule": "step"}),
        "step_gamma": Domain(
            "float", 0.0, 1e3, low_open=True, default=1.0, doc="factor of each drop (StepLR's gamma)", when={"schedule": "step"}
        ),
        "batch_size": Domain("int", 1, 10**6, default=128, doc="images per optimiser step"),
        "optimizer": Domain("text", default="sgd", options=("sgd", "adamw"), doc="torch.optim.SGD or torch.optim.AdamW"),
        "nesterov": Domain("bool", default=False, doc="Nesterov's momentum", when={"optimizer": "sgd"}),
        "beta1": Domain("float", 0.0, 0.999_999, default=0.9, doc="decay of AdamW's mean of gradients", when={"optimizer": "adamw"}),
        "beta2": Domain("float", 0.0, 0.999_999, default=0.999, doc="decay of AdamW's mean of squares", when={"optimizer": "adamw"}),
        "schedule": Domain(
            "text",
            default="step",
            options=("step", "cosine", "constant", "linear"),
            doc="the learning rate from epoch to epoch after warm-up: StepLR, CosineAnnealingLR or LinearLR down to 0, or constant",
        ),
        "warmup_epochs": Domain("int", 0, 10**6, default=0, doc="epochs n over which the learning rate rises: 1/(n+1) of it, 2/(n+1), ..."),
        "gradient_clip": Domain(
            "float", 0.0, 1e6, default=0.0, doc="longest gradient of a step (L2 norm over all weights, clip_grad_norm_); 0 is no limit"
        ),
        "label_smoothing": Domain("float", 0.0, 1.0, default=0.0, doc="share of each target spread over all classes"),
        "precision": Domain("text", default="float32", options=("float32", "bfloat16"), doc="bfloat16: the network runs under autocast"),
        "augment": Domain(
            "text",
            default="crop_flip",
            options=("none", "flip", "crop_flip", "cutout", "randaugment"),
            doc="what is done to training images: random flips, crops and flips, those with a square cut out, those with RandAugment; "
            "true is crop_flip, false is none",
        ),
    }
)
"""The parameters of training. A factor of 1 at every epoch is a constant learning rate."""

ALWAYS_RECORDED = ("learning_rate", "momentum", "weight_decay", "step_size", "step_gamma", "batch_size")
"""Parameters of training that each trial holds, as far as its optimiser and schedule have them, also where a space file is silent. The
others are held by the trials of spaces that name them.
"""

SHORTHANDS: Mapping[str, str] = MappingProxyType(
    {
        "trials_per_arm": "compare.trials_per_arm",
        "searches": "compare.searches",
        "epochs": "training.epochs",
        "seeds": "compare.seeds",
        "dataset": "dataset.name",
        "data_dir": "dataset.data_dir",
        "gpus_per_trial": "resources.gpus_per_trial",
        "cpus_per_trial": "resources.cpus_per_trial",
        "pack": "resources.pack",
        "backend": "resources.backend",
        "seed": "seed",
        "name": "name",
    }
)
"""Fields of a space file that are changed so often that the command line has a flag for each, and ``sweeper.run`` a keyword."""
