"""The sections of a space file as frozen models: which keys exist, their types, defaults and limits taken one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator
from pydantic_core import ValidationError

from sweeper.catalogue import DATASETS, MODELS
from sweeper.custom_code import is_import_path
from sweeper.records import VAL_METRICS, Value
from sweeper.space.elsewhere import nearest_here
from sweeper.space.wording import rule
from sweeper.text import nearest, shown

MAX_NAME_LENGTH = 64
WINDOWS_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)

CIFAR_VALIDATION = 5000
DEFAULT_VALIDATION: Mapping[str, int] = {"synthetic": 1000}
SYNTHETIC_IMAGES: Mapping[str, int] = {"train_images": 10_000, "test_images": 2_000}


def one_of(known: Mapping[str, object], what: Literal["data set", "metric"]) -> AfterValidator:
    """Accepts the names in ``known``; refuses others with the nearest one."""

    def check(name: str) -> str:
        if name not in known:
            raise rule(f"unknown {what} {shown(name)}; {nearest_here(name, known, what)}")
        return name

    return AfterValidator(check)


def expecting(what: str) -> WrapValidator:
    """Replaces pydantic's one message per branch of a union by ``must be <what>``."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise rule(f"must be {what}, got {shown(value)}") from None

    return WrapValidator(check)


def _model_name(name: str) -> str:
    if name in MODELS or is_import_path(name):
        return name
    if ":" in name or "." in name:
        raise rule(f"a model of your own is written my_package.my_module:MyNet, got {shown(name)}")
    raise rule(f"unknown model {shown(name)}; {nearest(name, MODELS)}; one of your own is written my_package.my_module:MyNet")


def _sweep_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise rule(f"must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit, got {shown(name)}")
    return _no_device(name)


def _arm_name(name: str) -> str:
    if not name.strip() or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise rule(f"an arm's name must be 1 to {MAX_NAME_LENGTH} printable characters, got {shown(name)}")
    if name != name.strip():
        raise rule(f"an arm's name must not begin or end with a space, got {shown(name)}")
    if name.strip(".") == "" or "/" in name or "\\" in name:
        raise rule(f"an arm's name must not be '.' or '..' nor hold '/' or '\\', got {shown(name)}")
    return _no_device(name)


def _no_device(name: str) -> str:
    if WINDOWS_RESERVED.fullmatch(name) or name.endswith("."):
        raise rule(f"cannot be a file name on Windows, got {shown(name)}")
    return name


_Mean: TypeAlias = Annotated[float, Field(ge=0, le=1)]
_Deviation: TypeAlias = Annotated[float, Field(ge=0.001, le=1)]
ChannelMeans: TypeAlias = Annotated[
    tuple[_Mean, _Mean, _Mean], Field(strict=False), expecting("three numbers from 0 to 1, one per channel of pixels from 0 to 1")
]
ChannelDeviations: TypeAlias = Annotated[
    tuple[_Deviation, _Deviation, _Deviation],
    Field(strict=False),
    expecting("three numbers from 0.001 to 1, one per channel of pixels from 0 to 1"),
]

SweepName: TypeAlias = Annotated[str, AfterValidator(_sweep_name)]
ArmName: TypeAlias = Annotated[str, AfterValidator(_arm_name)]


class Section(BaseModel):
    """Base of every part: frozen, without unknown keys, without silent conversions, finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Dataset(Section):
    """Which images. ``validation``: how many are held out of train for pruning and choosing, or ``test``, the notebook's way.

    ``image``, ``label``: columns of Parquet files. ``image_size``: images are resized to it. ``mean``, ``std``: for normalising, per
    channel, of pixels from 0 to 1.
    """

    name: Annotated[str, one_of(DATASETS, "data set")]
    validation: Annotated[int | Literal["test"], expecting("a whole number of images or 'test'")]
    data_dir: Annotated[str, Field(min_length=1)] | None = None
    train_images: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    test_images: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    image: Annotated[str, Field(min_length=1)] | None = None
    label: Annotated[str, Field(min_length=1)] | None = None
    image_size: Annotated[int, Field(ge=1, le=4096)] | None = None
    mean: ChannelMeans | None = None
    std: ChannelDeviations | None = None

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_data_set(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(name := data.get("name"), str):
            return data
        defaults: dict[str, Any] = {} if name == "imagefolder" else {"validation": DEFAULT_VALIDATION.get(name, CIFAR_VALIDATION)}
        images = {key: number for key, number in SYNTHETIC_IMAGES.items() if name == "synthetic" and data.get(key) is None}
        return {**defaults, **data, **images}


class Training(Section):
    """What all trials share; the six parameters of the optimiser stand here when they are constant, ``None`` when they are tuned."""

    model: Annotated[str, AfterValidator(_model_name)] = "convnet"
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 30
    reduction: Literal["batch", "elements"] = "batch"
    augment: bool = True
    batch_size: int | None = None
    learning_rate: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    step_size: int | None = None
    step_gamma: float | None = None


Scalar: TypeAlias = Annotated[Value, expecting("a number, text, true or false")]
Condition: TypeAlias = dict[str, tuple[Scalar, ...]]


class Constant(Section):
    """A parameter with one value; written plainly where it has no condition."""

    value: Scalar
    when: Condition = {}


class FloatRange(Section):
    """low to high, both included; ``log``: uniform in the logarithm; ``step``: only low, low + step, …"""

    type: Literal["float"] = "float"
    low: float
    high: float
    log: bool = False
    step: Annotated[float, Field(gt=0)] | None = None
    when: Condition = {}


class IntRange(Section):
    """low to high in whole numbers, both included."""

    type: Literal["int"] = "int"
    low: Annotated[int, Field(ge=-(2**53), le=2**53)]
    high: Annotated[int, Field(ge=-(2**53), le=2**53)]
    log: bool = False
    step: Annotated[int, Field(ge=1)] = 1
    when: Condition = {}


class ArmChoice(Section):
    """A choice with a name and settings of its own: constants, or ranges that this arm alone has."""

    name: ArmName
    settings: dict[str, Constant | FloatRange | IntRange]


class Choices(Section):
    """One of several values."""

    choices: Annotated[tuple[ArmChoice | Value, ...], Field(min_length=1)]
    when: Condition = {}


Parameter: TypeAlias = Constant | FloatRange | IntRange | Choices


class Reference(Section):
    """Published figures that a report shows beside ours."""

    source: Annotated[str, Field(min_length=1)]
    test_accuracy: Annotated[dict[str, Annotated[float, Field(ge=0, le=1)]], Field(min_length=1)]


class Compare(Section):
    """``arms``: the compared parameter, one study per choice. ``seeds``: fresh seeds of the confirm phase, 0 skips it."""

    arms: str | None = None
    trials_per_arm: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    seeds: Annotated[int, Field(ge=0, le=10_000)] = 8
    reference: Reference | None = None


class Algorithm(Section):
    """A sampler or pruner by name, with the options of Optuna's class; ``wrapped``: what the patient pruner wraps."""

    name: str
    options: dict[str, Value] = {}
    wrapped: Algorithm | None = None


class Search(Section):
    """What is optimised and how."""

    metric: Annotated[str, one_of(VAL_METRICS, "metric")] = "val_accuracy"
    sampler: Algorithm = Algorithm(name="tpe")
    pruner: Algorithm = Algorithm(name="median")


SMALLEST_SHARE = 0.01
"""Of a core or a GPU: Ray rounds what is much smaller to nothing."""


def _whole_devices(devices: float | str) -> float | str:
    if isinstance(devices, float) and 0 < devices < SMALLEST_SHARE:
        raise rule(f"must be 0 or >= {SMALLEST_SHARE}, got {devices}")
    if isinstance(devices, float) and devices > 1 and not devices.is_integer():
        raise rule(f"must be a share of one GPU or a whole number of GPUs, got {devices}")
    return devices


class Resources(Section):
    """What one Ray Tune trial occupies, how many members train together in it, how often it is tried again."""

    cpus_per_trial: Annotated[float, Field(ge=SMALLEST_SHARE, le=10_000)] = 1.0
    gpus_per_trial: Annotated[
        Annotated[float, Field(ge=0, le=1_000)] | Literal["auto"], expecting("a number >= 0 or 'auto'"), AfterValidator(_whole_devices)
    ] = "auto"
    pack: Annotated[Annotated[int, Field(ge=1, le=100_000)] | Literal["auto"], expecting("an integer >= 1 or 'auto'")] = 1
    max_failures: Annotated[int, Field(ge=0, le=1_000)] = 2
