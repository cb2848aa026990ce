"""Frozen records that are passed between layers, and the columns they are stored in: the source of the Parquet schema."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from sweeper.metrics import METRICS, Metric

Value: TypeAlias = float | int | str | bool
"""What a parameter can be once it is drawn."""

SCHEMA_VERSION = 1
"""Written into the metadata of every Parquet file and into ``provenance.json``; raised when a column changes its meaning."""


ONLY_SEARCH = 1
"""The search of every row of a sweep that an earlier version began: it searched each arm once, and wrote no column ``search``."""


class Phase(StrEnum):
    """``search``: tuned and pruned. ``confirm``: the best configuration of a search on a fresh seed, never pruned."""

    SEARCH = "search"
    CONFIRM = "confirm"


Planned: TypeAlias = Mapping[tuple[str, int, Phase], int]
"""Planned trials by arm, search and phase, repetitions of failed ones among them."""


class TrialState(StrEnum):
    """How a trial ended. ``diverged``: a loss or the search metric was not finite, at the epoch in ``diverged_epoch``."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model by name, and what one of the user's own is built with besides the classes and the size of the images."""

    name: str
    arguments: tuple[tuple[str, Value | None], ...] = ()

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in self.arguments)
        return f"{self.name} ({given})" if given else self.name


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What all trials of a sweep share. ``evaluate_on``: the split behind every ``val_*`` figure.

    ``validation``: images held out of the training split, class-balanced, by seed. ``None`` with ``evaluate_on="test"`` is the notebook's
    way: all training images train, and every epoch is measured on the test split. ``backend``: as :class:`sweeper.training.engine.Pack`'s.
    ``model_arguments``: what ``model`` is built with; ``model_parameters``: those parameters of trials that decide about it,
    ``model`` and its arguments.
    ``best_by``: the metric by which the best epoch is found whose weights are tested; ``None`` for the last epoch.
    ``keep``: ``weights`` stores those of every confirm trial.

    ``loop``: the import path of a training loop of the user's own, which then does what ``model``, ``reduction`` and ``augment`` say
    otherwise. ``metric``: what the search goes by; ``own_metrics``: names of the metrics that the space declares.
    """

    model: str
    epochs: int
    reduction: Literal["batch", "elements"]
    augment: str | bool
    validation: int | None
    evaluate_on: Literal["validation", "test"]
    backend: Literal["auto", "fused", "operators"] = "auto"
    best_by: str | None = None
    model_arguments: Mapping[str, Value | None] = field(default_factory=dict)
    model_parameters: tuple[str, ...] = ()
    keep: Literal["nothing", "weights"] = "nothing"
    loop: str | None = None
    metric: str = "val_accuracy"
    own_metrics: tuple[str, ...] = ()

    def architecture(self, parameters: Mapping[str, Value]) -> Architecture:
        """The model of a trial with these parameters, which may name another than the sweep's."""
        name = str(parameters.get("model", self.model))
        given = dict(self.model_arguments) if name == self.model else {}
        given |= {key: parameters[key] for key in self.model_parameters if key in parameters and key != "model"}
        return Architecture(name, tuple(sorted(given.items())))

    @property
    def names_models(self) -> bool:
        """Whether trials may differ in their models."""
        return bool(self.model_parameters)

    def of_loss(self, parameters: Mapping[str, Value]) -> dict[str, Value]:
        """Those parameters of a trial that are not about its model."""
        return {name: value for name, value in parameters.items() if name not in self.model_parameters}

    @property
    def policy(self) -> str:
        """How training images are varied at random, by name: ``true`` is ``crop_flip``, ``false`` is ``none``."""
        return ("crop_flip" if self.augment else "none") if isinstance(self.augment, bool) else self.augment


@dataclass(frozen=True, slots=True)
class TrialConfig:
    """One configuration to be trained once.

    ``parameters`` holds every parameter, drawn or constant: ``loss``, the loss's own, and those of
    :data:`sweeper.catalogue.TRAINING_PARAMETERS` that the space names or that are always recorded; the others have their defaults.
    ``number`` is Optuna's trial number in the study of this arm, search and phase.
    ``seed`` alone fixes initial weights, validation split, batch order and augmentation. ``search``: which of the arm's independent
    searches, from 1.
    """

    arm: str
    phase: Phase
    number: int
    seed: int
    parameters: Mapping[str, Value]
    search: int = ONLY_SEARCH

    @property
    def trial_id(self) -> str:
        """The name of this trial within its sweep."""
        return trial_name(self.arm, self.search, self.phase, self.number)


@dataclass(frozen=True, slots=True)
class Network:
    """What it takes, besides its weights, to build a trained network again and to show it images.

    ``model`` is built with the ``arguments``; it is empty where a training loop of the user's own has built the network. Images have
    ``image_size`` (height, width) pixels; channels of pixels from 0 to 1 are normalised by ``mean`` and ``std``.
    """

    model: str
    arguments: Mapping[str, Value | None]
    image_size: Sequence[int]
    classes: Sequence[str]
    mean: Sequence[float]
    std: Sequence[float]


def study_name(arm: str, search: int, phase: Phase) -> str:
    """The Optuna study of a search of an arm: ``<arm>`` for the first, ``<arm>/s2`` for the second; with ``/confirm`` of that phase."""
    return "/".join([arm, *([f"s{search}"] if search > 1 else []), *([str(phase)] if phase is Phase.CONFIRM else [])])


def trial_name(arm: str, search: int, phase: Phase, number: int) -> str:
    """The name of a trial within its sweep: ``focal-3``, ``focal-confirm-0``; of search 2 ``focal-s2-3``, ``focal-s2-confirm-0``."""
    return f"{study_name(arm, search, phase)}-{number}".replace("/", "-")


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """One epoch of one trial. ``epoch`` counts from 1 and is Optuna's step.

    ``epoch_seconds`` is this trial's share of the device: the wall seconds of its pack's epoch divided by the live members. ``own``: the
    metrics that the space declares, by column. What a training loop of the user's own does not give is ``None``. NaN in a field that
    defaults to it: there is no such figure (see :class:`sweeper.metrics.Metric`).
    """

    epoch: int
    train_loss: float | None
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    val_nll: float | None
    val_brier: float | None
    val_ece: float | None
    learning_rate: float | None
    epoch_seconds: float
    val_balanced_accuracy: float | None = math.nan
    val_macro_f1: float | None = math.nan
    val_top5_accuracy: float | None = math.nan
    val_worst_class_accuracy: float | None = math.nan
    own: Mapping[str, float | None] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> EpochMetrics:
        """The epoch that a row of figures by column holds; one of an earlier version lacks some."""
        own = {name: value for name, value in row.items() if name.startswith("val_") and name not in VAL_METRICS}
        return cls(**{name: row[name] for name in EPOCH_FIGURES if name in row} | {"epoch": int(row["epoch"]), "own": own})

    @property
    def figures(self) -> dict[str, Any]:
        """Every figure by its column: what :meth:`of` is made from."""
        return {name: getattr(self, name) for name in EPOCH_FIGURES} | dict(self.own)

    def __getitem__(self, column: str) -> float:
        """The figure of a column; not a number where there is none."""
        value = self.own.get(column) if column in self.own else getattr(self, column)
        return math.nan if value is None else float(value)


EPOCH_FIGURES = tuple(each.name for each in fields(EpochMetrics) if each.name != "own")
"""Columns of an epoch's figures that every sweep has."""


@dataclass(frozen=True, slots=True)
class TestMetrics:
    """Figures of a trained network on the test split, read once, for reports alone: nothing is chosen by them.

    ``*_scaled``: after temperature scaling fitted on validation. ``own``: as of :class:`EpochMetrics`.
    """

    __test__ = False  # not a test class, whatever pytest reads into the name

    test_loss: float | None = None
    test_accuracy: float | None = None
    test_nll: float | None = None
    test_brier: float | None = None
    test_ece: float | None = None
    test_balanced_accuracy: float | None = None
    test_macro_f1: float | None = None
    test_top5_accuracy: float | None = None
    test_worst_class_accuracy: float | None = None
    temperature: float | None = None
    test_nll_scaled: float | None = None
    test_brier_scaled: float | None = None
    test_ece_scaled: float | None = None
    own: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def figures(self) -> dict[str, float | None]:
        """Every figure by its column."""
        return {name: value for name, value in asdict(self).items() if name != "own"} | dict(self.own)


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """The end of a trial, whatever it was: one row of ``trials/``."""

    config: TrialConfig
    state: TrialState
    value: float | None
    epochs: tuple[EpochMetrics, ...]
    test: TestMetrics | None = None
    pack: str | None = None
    device: str | None = None
    error: str | None = None
    traceback: str | None = None
    diverged_epoch: int | None = None
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Column:
    """A column as stored: its Arrow type by name, its unit ("" for none), and what it holds.

    ``is_later``: files of earlier versions lack it.
    """

    name: str
    type: Literal["string", "int64", "float64", "bool"]
    unit: str
    doc: str
    is_later: bool = False


VAL_METRICS: Mapping[str, Metric] = {metric.val_column: metric for metric in METRICS.values()}
"""Metrics of an epoch by column; any of them may be ``search.metric``."""

_NULL_IF_NAN = frozenset(
    f"{prefix}{metric.name}" for metric in METRICS.values() if metric.counts_hits for prefix in ("val_", "test_", "best_val_", "last_val_")
)


def as_stored(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures by column, ``None`` for each that there is not: where a NaN can mean nothing else."""
    return {name: None if is_absent(name, value) else value for name, value in figures.items()}


def is_absent(column: str, value: float | None) -> bool:
    """Whether the value of a column of a metric says that there is none."""
    return column in _NULL_IF_NAN and (value is None or math.isnan(value))


def trial_columns(metric: Metric) -> tuple[str, ...]:
    """The columns of ``trials/`` that a metric of the user's own has."""
    return f"best_{metric.val_column}", f"last_{metric.val_column}", metric.test_column


IDENTITY_COLUMNS = (
    Column("sweep", "string", "", "id of the sweep, the name of its folder"),
    Column("arm", "string", "", "value of the compared parameter"),
    Column(
        "search",
        "int64",
        "",
        "which of the arm's independent searches, from 1; files of earlier versions, which had one, lack it",
        is_later=True,
    ),
    Column("phase", "string", "", "search or confirm"),
    Column("trial", "string", "", "name of the trial, unique within the sweep"),
    Column("number", "int64", "", "Optuna's trial number in its study"),
)

TRIAL_COLUMNS = (
    *IDENTITY_COLUMNS,
    Column("study", "string", "", "Optuna study in studies.journal that owns the trial"),
    Column("pack", "string", "", "Ray Tune trial that trained it, alone or together with others"),
    Column("seed", "int64", "", "fixes initial weights, split, batch order and augmentation"),
    Column("state", "string", "", "complete, pruned, failed or diverged"),
    Column("value", "float64", "", "what Optuna was told: the search metric after the last epoch; null unless complete"),
    Column("best_epoch", "int64", "", "epoch with the best search metric"),
    *(
        Column(f"{when}_{name}", "float64", metric.unit, f"{metric.val_doc}, at {epoch}", metric.is_later)
        for when, epoch in (("best", "best_epoch"), ("last", "the last epoch"))
        for name, metric in VAL_METRICS.items()
    ),
    *(Column(metric.test_column, "float64", metric.unit, metric.test_doc, metric.is_later) for metric in METRICS.values()),
    Column("temperature", "float64", "", "divisor of the logits that minimises the NLL on the validation split"),
    *(
        Column(metric.scaled_column, "float64", metric.unit, f"{metric.test_column} after temperature scaling")
        for metric in METRICS.values()
        if metric.scaled
    ),
    Column("epochs", "int64", "", "epochs trained"),
    Column("train_seconds", "float64", "s", "sum of epoch_seconds: this trial's share of the device"),
    Column("device", "string", "", "device that trained it"),
    Column("attempts", "int64", "", "how often it was tried; a try that a lost node or other members of its pack ended is not counted"),
    Column("diverged_epoch", "int64", "", "epoch at which a loss or the search metric was not finite"),
    Column("error", "string", "", "first line of the error of a failed trial"),
    Column("traceback", "string", "", "traceback of a failed trial"),
)
"""Columns of ``trials/``; those of metrics that the space declares follow, and one ``param_<name>`` per parameter, typed by the space."""

EPOCH_COLUMNS = (
    *IDENTITY_COLUMNS,
    Column("epoch", "int64", "", "counts from 1; Optuna's step"),
    Column("train_loss", "float64", "", "the trial's own loss, mean over the epoch's batches in training mode"),
    Column("train_accuracy", "float64", "fraction", "accuracy on augmented training batches while the weights change"),
    *(Column(name, "float64", metric.unit, metric.val_doc, metric.is_later) for name, metric in VAL_METRICS.items()),
    Column("learning_rate", "float64", "", "learning rate of this epoch"),
    Column("epoch_seconds", "float64", "s", "wall seconds of the pack's epoch divided by its live members"),
)
"""Columns of ``epochs/``, one row per trial and epoch; a column ``val_<name>`` per metric that the space declares follows."""

PREDICTION_COLUMNS = (
    *IDENTITY_COLUMNS,
    Column("seed", "int64", "", "seed of the trial"),
    Column("split", "string", "", "validation or test"),
    Column("image", "int64", "", "index of the image in the file order of its source split (train for validation)"),
    Column("label", "int64", "", "true class"),
)
"""Columns of ``predictions/``; ``logit_0`` … (float16, one per class) follow."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Logits of one trained network on one split: ``images`` (n,), ``labels`` (n,), ``logits`` (n, classes) in float32."""

    split: Literal["validation", "test"]
    images: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
