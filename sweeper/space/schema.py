"""The sections of a space file as frozen models: which keys exist, with their types, defaults and individual limits."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic_core import ValidationError

from sweeper.catalogue import ALWAYS_RECORDED, DATASETS, MODELS, TRAINING_PARAMETERS, DatasetEntry
from sweeper.custom_code import is_import_path
from sweeper.metrics import METRICS, Metric
from sweeper.records import VAL_METRICS, Value
from sweeper.space.elsewhere import suggestion
from sweeper.space.wording import rule, unquoted
from sweeper.text import nearest, shown

LOOP_KEYS = frozenset({"loop", "metrics", "epochs", "keep"})
"""Keys of ``training`` that mean something beside a training loop of the user's own; ``parameters`` holds what it is given."""

MAX_NAME_LENGTH = 64
SWEEP_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
WINDOWS_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)


def one_of(known: Mapping[str, object], what: Literal["data set"]) -> AfterValidator:
    """Accepts the names in ``known``; refuses others with the nearest one."""

    def check(name: str) -> str:
        if name not in known:
            raise rule(f"unknown {what} {shown(name)}; {suggestion(name, known, what)}")
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


def model_name(name: str) -> str:
    """``name``, if a model can have it."""
    if name in MODELS or is_import_path(name):
        return name
    if ":" in name or "." in name:
        raise rule(f"a model of your own is written my_package.my_module:MyNet, got {shown(name)}")
    raise rule(f"unknown model {shown(name)}; {nearest(name, MODELS)}; one of your own is written my_package.my_module:MyNet")


class NamedModel(BaseModel):
    """A network by name, and the arguments that one of the user's own is built with."""

    model_config = ConfigDict(frozen=True)
    path: str
    arguments: dict[str, Value | None] = {}

    def as_written(self) -> Any:
        """The model as a file has it."""
        return {"path": self.path, **self.arguments} if self.arguments else self.path


def _named_model(raw: object) -> object:
    """A model as written: its name, or ``{path: its name, argument: value, ...}``."""
    if isinstance(raw, NamedModel):
        return raw
    parts = raw if isinstance(raw, dict) else {"path": raw}
    path = parts.get("path")
    if not isinstance(path, str):
        raise rule(f"must be a name, or {{path: my_package.my_module:MyNet, its arguments: their values}}, got {shown(raw)}")
    arguments = {name: value for name, value in parts.items() if name != "path"}
    if arguments and not is_import_path(model_name(path)):
        raise rule(f"{path} takes no arguments, got {', '.join(map(str, arguments))}; a model of your own may")
    for name, value in arguments.items():
        if not isinstance(value, bool | int | float | str | None) or (isinstance(value, float) and not math.isfinite(value)):
            raise rule(f"argument {name} must be a number, text, true, false or null, got {shown(value)}")
    return NamedModel(path=model_name(path), arguments=arguments)


def _augment_name(policy: str | bool) -> str:
    known = TRAINING_PARAMETERS["augment"].options
    if isinstance(policy, bool):
        return "crop_flip" if policy else "none"
    if policy not in known:
        raise rule(f"must be one of {', '.join(known)}, got {shown(policy)}{unquoted(policy)}")
    return policy


def _loop_path(path: str | None) -> str | None:
    if path is not None and not is_import_path(path):
        raise rule(f"a training loop of your own is written my_package.my_module:train, got {shown(path)}")
    return path


def _sweep_name(name: str) -> str:
    if not re.fullmatch(SWEEP_NAME, name):
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

Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**32)]  # what numpy's generators take
SweepName: TypeAlias = Annotated[str, AfterValidator(_sweep_name), WithJsonSchema({"type": "string", "pattern": f"^{SWEEP_NAME}$"})]
ArmName: TypeAlias = Annotated[str, AfterValidator(_arm_name)]


class Section(BaseModel):
    """Base of every part: frozen, without unknown keys, without silent conversions, finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Dataset(Section):
    """Which images."""

    name: Annotated[str, one_of(DATASETS, "data set"), WithJsonSchema({"enum": list(DATASETS)}), Field(description="The data set.")]
    validation: Annotated[
        int | Literal["test"],
        expecting("a whole number of images or 'test'"),
        Field(description="Images held out of train for pruning and choosing; 'test' measures every epoch on the test split."),
    ]
    data_dir: Annotated[str | None, Field(min_length=1, description="Folder of the data set's files.")] = None
    train_images: Annotated[int | None, Field(ge=1, le=1_000_000, description="Training images to generate (synthetic).")] = None
    test_images: Annotated[int | None, Field(ge=1, le=1_000_000, description="Test images to generate (synthetic).")] = None
    image: Annotated[
        str | None,
        Field(min_length=1, description="Column of the encoded images (parquet); img or image where it is not named."),
    ] = None
    label: Annotated[
        str | None,
        Field(
            min_length=1,
            description="Column of the labels (parquet): numbers from 0, text, or true and false; label or labels where it is not named.",
        ),
    ] = None
    image_size: Annotated[int | None, Field(ge=1, le=4096, description="Side in pixels to which images are resized.")] = None
    mean: Annotated[
        ChannelMeans | None,
        Field(
            description="Mean per channel for normalising, of pixels from 0 to 1; by default CIFAR-10's usual figures for its images, "
            "and those of the training images for others."
        ),
    ] = None
    std: Annotated[
        ChannelDeviations | None,
        Field(description="Standard deviation per channel for normalising, of pixels from 0 to 1; by default as for the mean."),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_data_set(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(name := data.get("name"), str):
            return data
        entry = DATASETS.get(name, DatasetEntry(""))  # an unknown name is refused by the check of `name`
        own = {key: default for key, default in entry.keys.items() if default is not None and data.get(key) is None}
        validation = {"validation": entry.validation} if entry.validation is not None else {}
        return {**validation, **data, **own}


OWN_METRIC = "[a-z][a-z0-9_]{0,39}"


def _metric_name(name: str) -> str:
    if not re.fullmatch(OWN_METRIC, name):
        raise rule(f"a metric's name is 1 to 40 small letters, digits and '_', the first a letter, got {shown(name)}")
    if name in METRICS or name.endswith("_scaled"):
        taken = f"{name} is computed anyway, or taken from what the loop gives under this name" if name in METRICS else "the end is taken"
        raise rule(f"is no name for a metric of your own: {taken}; leave it out, or choose another name")
    return name


class OwnMetric(Section):
    """A metric that a training loop of the user's own gives, beside those that are built in."""

    unit: Annotated[str, Field(max_length=20, description="Its unit; fraction is shown in percent.")] = ""
    maximize: Annotated[bool, Field(description="Whether more is better.")]
    doc: Annotated[str, Field(max_length=200, description="What it is, for reports and for the descriptions of columns.")] = ""


class Training(Section):
    """What all trials share. Optimiser parameters that are not tuned are set here."""

    loop: Annotated[
        str | None,
        AfterValidator(_loop_path),
        Field(description="package.module:name of a training loop of your own; everything under parameters is then handed to it."),
    ] = None
    metrics: Annotated[
        dict[Annotated[str, AfterValidator(_metric_name)], OwnMetric] | None,
        Field(description="Metrics that the loop gives beside the built-in ones: {f1: {unit: fraction, maximize: true, doc: ...}}."),
    ] = None
    model: Annotated[
        NamedModel | None,
        BeforeValidator(_named_model),
        Field(description="The network, or {path: its name, argument: value} for one of your own."),
    ] = NamedModel(path="convnet")
    epochs: Annotated[int, Field(ge=1, le=100_000, description="Epochs of a trial that is not pruned.")] = 30
    reduction: Annotated[
        Literal["batch", "elements"],
        Field(description="batch: mean over images. elements: mean over images x classes for elementwise losses."),
    ] = "batch"
    augment: Annotated[str | bool, AfterValidator(_augment_name)] = "crop_flip"
    batch_size: int | None = None
    learning_rate: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    step_size: int | None = None
    step_gamma: float | None = None
    optimizer: Value | None = None
    nesterov: bool | None = None
    beta1: float | None = None
    beta2: float | None = None
    schedule: Value | None = None
    warmup_epochs: int | None = None
    gradient_clip: float | None = None
    label_smoothing: float | None = None
    precision: Value | None = None
    select: Annotated[
        Literal["last", "best"],
        Field(description="The epoch whose weights are judged and tested: the last, or the best by the metric of the search."),
    ] = "last"
    keep: Annotated[
        Literal["nothing", "weights"],
        Field(description="weights: the weights of each confirm trial stay in the sweep's folder, as safetensors. nothing: none do."),
    ] = "nothing"

    @property
    def own_metrics(self) -> tuple[Metric, ...]:
        """The metrics that the space declares."""
        return tuple(
            Metric(
                name,
                name,
                entry.unit,
                f"{(entry.doc or name).replace('{', '{{').replace('}', '}}')} on the {{split}} split",
                maximize=entry.maximize,
                least=0.0 if entry.unit == "fraction" else -math.inf,
                most=1.0 if entry.unit == "fraction" else math.inf,
            )
            for name, entry in (self.metrics or {}).items()
        )

    @property
    def constants(self) -> dict[str, Value]:
        """The training parameters that are constant, by name; ``augment``, unless it is tuned, is a setting of the whole sweep."""
        values: dict[str, Any] = {name: getattr(self, name) for name in TRAINING_PARAMETERS if name != "augment"}
        return {name: value for name, value in values.items() if value is not None}

    def completed(self, tuned: Collection[str]) -> Training:
        """With the default of every training parameter that is recorded, and neither a constant here nor ``tuned``."""
        silent = {name: TRAINING_PARAMETERS[name].default for name in ALWAYS_RECORDED if getattr(self, name) is None and name not in tuned}
        return self.model_copy(update=silent | ({"model": None} if "model" in tuned else {}))

    @property
    def default_model(self) -> NamedModel:
        """The model of every trial whose parameters name none."""
        return self.model or NamedModel(path="convnet")


Scalar: TypeAlias = Annotated[Value, expecting("a number, text, true or false")]
Condition: TypeAlias = dict[str, tuple[Scalar, ...]]


When: TypeAlias = Annotated[Condition, Field(description="The parameter exists only where another has this value, or one of these.")]


class Constant(Section):
    """A parameter with one value; written plainly where it has no condition."""

    value: Annotated[Scalar, Field(description="The constant.")]
    when: When = {}

    @property
    def values(self) -> tuple[Value, ...]:
        """The one value."""
        return (self.value,)


class FloatRange(Section):
    """A range of real numbers."""

    type: Literal["float"] = "float"
    low: Annotated[float, Field(description="Lowest value, included.")]
    high: Annotated[float, Field(description="Highest value, included.")]
    log: Annotated[bool, Field(description="Uniform in the logarithm.")] = False
    step: Annotated[float | None, Field(gt=0, description="Only low, low + step, ...")] = None
    when: When = {}


class IntRange(Section):
    """A range of whole numbers."""

    type: Literal["int"] = "int"
    low: Annotated[int, Field(ge=-(2**53), le=2**53, description="Lowest value, included.")]
    high: Annotated[int, Field(ge=-(2**53), le=2**53, description="Highest value, included.")]
    log: Annotated[bool, Field(description="Uniform in the logarithm.")] = False
    step: Annotated[int, Field(ge=1, description="Only low, low + step, ...")] = 1
    when: When = {}


class ArmChoice(Section):
    """An arm with a name and settings of its own: constants, or ranges."""

    name: ArmName
    settings: dict[str, Constant | FloatRange | IntRange]


class Choices(Section):
    """One of several values."""

    choices: Annotated[tuple[ArmChoice | Value, ...], Field(min_length=1, description="One of several values.")]
    when: When = {}

    @property
    def values(self) -> tuple[Value, ...]:
        """The choices that are values, without arms."""
        return tuple(choice for choice in self.choices if not isinstance(choice, ArmChoice))


Parameter: TypeAlias = Constant | FloatRange | IntRange | Choices


class Reference(Section):
    """Published figures that a report shows beside ours."""

    source: Annotated[str, Field(min_length=1, description="Where the figures were published.")]
    test_accuracy: Annotated[dict[str, Annotated[float, Field(ge=0, le=1)]], Field(min_length=1, description="Test accuracy per arm.")]


MANY_SEARCHES = 5
"""With two arms 5 searches each reach p = 0.008 by permutation; 4 are the fewest that reach 0.05."""
SEEDS_OF_ONE_SEARCH = 8


class Compare(Section):
    """The compared parameter, how often each arm is searched, with what budget, and how often the best of each search is confirmed."""

    arms: Annotated[str | None, Field(description="The compared parameter: one study, one pruner and one budget per choice of it.")] = None
    searches: Annotated[
        int,
        Field(
            ge=1,
            le=1_000,
            description="Independent searches of each arm. 5; 1 with a single arm, and where no arm has anything to tune.",
        ),
    ] = MANY_SEARCHES
    trials_per_arm: Annotated[int, Field(ge=1, le=1_000_000, description="Trials that each search of an arm may use.")] = 32
    seeds: Annotated[
        int,
        Field(
            ge=0,
            le=10_000,
            description="Fresh seeds on which the best of each search is confirmed; 0 skips the confirm phase. 2, or 8 with one search.",
        ),
    ] = 2
    margin: Annotated[
        float, Field(gt=0, le=100, description="Points of accuracy; arms whose difference surely lies within are called equal.")
    ] = 0.5
    reference: Annotated[Reference | None, Field(description="Published test accuracies that a report shows beside ours.")] = None

    def completed(self, searches: int) -> Compare:
        """With ``searches`` where the file does not say how many, and with as many seeds as those need where it does not say that."""
        if "searches" in self.model_fields_set:
            searches = self.searches
        seeds = self.seeds if "seeds" in self.model_fields_set or searches > 1 else SEEDS_OF_ONE_SEARCH
        return self.model_copy(update={"searches": searches, "seeds": seeds})


class Algorithm(Section):
    """A sampler or pruner by name, with the options of Optuna's class; ``wrapped``: what the patient pruner wraps."""

    name: str
    options: dict[str, Value] = {}
    wrapped: Algorithm | None = None

    @classmethod
    def in_parts(cls, raw: object) -> object:
        """An algorithm as a file has it, ``{name, option: value, ..., wrapped}``, with the options under a key of their own."""
        if not isinstance(raw, dict):
            return {"name": raw}
        parts = {key: cls.in_parts(raw[key]) if key == "wrapped" else raw[key] for key in ("name", "wrapped") if key in raw}
        return {**parts, "options": {key: value for key, value in raw.items() if key not in parts}}

    def as_written(self) -> dict[str, Any]:
        """The algorithm as a file has it."""
        return {"name": self.name, **self.options, **({"wrapped": self.wrapped.as_written()} if self.wrapped else {})}


class Search(Section):
    """The metric, the sampler and the pruner."""

    metric: Annotated[
        str,
        WithJsonSchema({"anyOf": [{"enum": list(VAL_METRICS)}, {"type": "string", "pattern": f"^val_{OWN_METRIC}$"}]}),
        Field(description="What is optimised and pruned by: a built-in metric, or one of training.metrics."),
    ] = "val_accuracy"
    sampler: Annotated[Algorithm, Field(description="Optuna's sampler and its options.")] = Algorithm(name="tpe")
    pruner: Annotated[Algorithm, Field(description="Optuna's pruner and its options.")] = Algorithm(name="median")


SMALLEST_SHARE = 0.01
"""Of a core or a GPU: Ray rounds what is much smaller to nothing."""


def _whole_devices(devices: float | str) -> float | str:
    if isinstance(devices, float) and 0 < devices < SMALLEST_SHARE:
        raise rule(f"must be 0 or >= {SMALLEST_SHARE}, got {devices}")
    if isinstance(devices, float) and devices > 1 and not devices.is_integer():
        raise rule(f"must be a share of one GPU or a whole number of GPUs, got {devices}")
    return devices


class Resources(Section):
    """What one trial occupies."""

    cpus_per_trial: Annotated[float, Field(ge=SMALLEST_SHARE, le=10_000, description="CPU cores of a trial.")] = 1.0
    gpus_per_trial: Annotated[
        Annotated[float, Field(ge=0, le=1_000)] | Literal["auto"],
        expecting("a number >= 0 or 'auto'"),
        AfterValidator(_whole_devices),
        Field(description="GPUs of a trial; fractions share one; auto: one where there is any."),
    ] = "auto"
    pack: Annotated[
        Annotated[int, Field(ge=1, le=100_000)] | Literal["auto"],
        expecting("an integer >= 1 or 'auto'"),
        Field(description="Trials that one device trains together as one fused model; auto: as many as suit it."),
    ] = "auto"
    backend: Annotated[
        Literal["auto", "fused", "operators"],
        Field(
            description="What trains on a GPU: kernels for the convnet (fused) or PyTorch's operators; "
            "auto: fused where they have proved themselves at the start of the worker."
        ),
    ] = "auto"
    max_failures: Annotated[int, Field(ge=0, le=1_000, description="How often a failed trial is tried again.")] = 2

    @property
    def threads(self) -> int:
        """Threads that a pack on the CPU computes with: the whole cores that it is given, at least one."""
        return max(1, math.floor(self.cpus_per_trial))
