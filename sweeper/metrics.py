"""The table of metrics, from which columns, reports and documentation are made, and how each is computed from stored logits.

``logits`` are raw outputs (n, classes) of any floating type, ``labels`` the true classes (n,). Everything is computed in float64.
Logits that are not finite give NaN (for figures that count hits: a miss). Every function on them raises ``DataError`` for no images, shapes
that do not match, and labels that are no class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from sweeper.errors import DataError

if TYPE_CHECKING:  # it imports unittest and asyncio, a twentieth of a report's time
    from jaxtyping import Float, Float64, Int, Int64

N_BINS = 15
"""Equal-width bins of the top probability behind the expected calibration error."""

TOP5_CLASSES = 6
"""Classes from which on there is a top-5 accuracy: among five every label would be."""

TEMPERATURE_RANGE = (1e-2, 1e2)
"""Lowest and highest temperature that is fitted; one of them is stored where the NLL is least beyond it."""

Compute: TypeAlias = Callable[[np.ndarray[Any, Any], np.ndarray[Any, Any]], float]
Candidate = TypeVar("Candidate")


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of a network on a split: on validation after every epoch, on test at the end.

    ``label``: as a sentence has it. ``doc``: what it is, for either ``{split}``; ``val_note``: what is said besides of that on validation.
    ``least`` and ``most``: the values it can have. ``scaled``: whether it is taken after temperature scaling, too. ``compute``: from logits
    and labels; ``None`` for the trial's own loss, which training alone knows.

    ``least_classes``: data of fewer have no such figure. ``is_later``: files of earlier versions have no column of it. What is not there is
    NaN in Python and null in files. A figure that ``counts_hits`` is a number for any logits, so that its NaN says nothing else.
    """

    name: str
    label: str
    unit: str
    doc: str
    val_note: str = ""
    least: float = -math.inf
    most: float = math.inf
    maximize: bool = False
    scaled: bool = False
    compute: Compute | None = None
    least_classes: int = 1
    counts_hits: bool = False
    is_later: bool = False

    @property
    def val_column(self) -> str:
        return f"val_{self.name}"

    @property
    def test_column(self) -> str:
        return f"test_{self.name}"

    @property
    def scaled_column(self) -> str:
        return f"test_{self.name}_scaled"

    @property
    def val_doc(self) -> str:
        return self.doc.format(split="validation") + self.val_note

    @property
    def test_doc(self) -> str:
        return self.doc.format(split="test")

    @property
    def is_fraction(self) -> bool:
        return self.unit == "fraction"

    def rank(self, value: float) -> float:
        """Larger is better."""
        return value if self.maximize else -value


def metric_of(column: str) -> Metric:
    """The metric that a column holds: ``val_nll``, ``test_nll_scaled`` or ``train_loss``; also one that was :func:`declare`-d."""
    name = column.partition("_")[2]
    return _DECLARED.get(name) or METRICS[name.removesuffix("_scaled")]


def declare(metrics: Iterable[Metric]) -> None:
    """Make metrics of the user's own known to :func:`metric_of`; of two of one name the last one counts: a notebook may change its mind."""
    _DECLARED.update({metric.name: metric for metric in metrics})


def declared() -> Mapping[str, Metric]:
    """The metrics of the user's own that the spaces read so far declare, by name."""
    return MappingProxyType(_DECLARED)


def best_of(column: str, candidates: Iterable[Candidate], value: Callable[[Candidate], float | None]) -> Candidate | None:
    """The candidate whose finite value of a metric is the best, the first of equals; ``None`` where none has one."""
    metric = metric_of(column)
    valued = [(metric.rank(found), each) for each in candidates if (found := value(each)) is not None and math.isfinite(found)]
    return max(valued, key=lambda entry: entry[0])[1] if valued else None


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Images grouped by the probability of their top class; ``confidence`` and ``accuracy`` are means of a bin, NaN where it is empty."""

    edges: Float64[np.ndarray, " bins+1"]
    counts: Int64[np.ndarray, " bins"]
    confidence: Float64[np.ndarray, " bins"]
    accuracy: Float64[np.ndarray, " bins"]


def log_softmax(logits: Float[np.ndarray, "*n cls"]) -> Float64[np.ndarray, "*n cls"]:
    """Logarithm (nats) of the softmax over the last axis; finite for all finite float32 logits, NaN in a row with others."""
    centred = _centred(logits)
    return np.asarray(centred - np.log(np.exp(centred).sum(axis=-1, keepdims=True)))


def accuracy(logits: Float[np.ndarray, "n cls"], labels: Int[np.ndarray, " n"]) -> float:
    """Fraction of images whose highest logit is their label's; among equal logits the lowest class counts."""
    _check(logits, labels)
    return float(_hits(logits, labels).mean())


def balanced_accuracy(logits: Float[np.ndarray, "n cls"], labels: Int[np.ndarray, " n"]) -> float:
    """Mean recall over the classes that occur among the labels, a fraction: accuracy, were they equally frequent."""
    return float(np.nanmean(recalls(logits, labels)))


def worst_class_accuracy(logits: Float[np.ndarray, "n cls"], labels: Int[np.ndarray, " n"]) -> float:
    """The lowest recall of the classes that occur among the labels, a fraction."""
    return float(np.nanmin(recalls(logits, labels)))


def recalls(logits: Float[np.ndarray, "n cls"], labels: Int[np.ndarray, " n"]) -> Float64[np.ndarray, " cls"]:
    """Share of the images of each class that are classified right; NaN for a class that does not occur."""
    _check(logits, labels)
    n_images = np.bincount(labels, minlength=logits.shape[1])
    n_right = np.bincount(labels, weights=_hits(logits, labels), minlength=logits.shape[1])
    with np.errstate(invalid="ignore"):
        return np.asarray(n_right / n_images)


def macro_f1(logits: Float[np.ndarray, "n cls"], labels: Int[np.ndarray, " n"]) -> float:
    """Mean F1, a fraction, over the classes that occur among the labels or are given to an image.

    The F1 of a class is 2 x right / (images of it + images given it): 0 where it is never given, or given but does not occur. These are
    scikit-learn's classes and values (``f1_score(average="macro", zero_division=0)``).
    """
    matrix = confusion_matrix(logits, labels)
    total = np.bincount(labels, minlength=len(matrix)) + matrix.sum(axis=0)
    return float((2 * matrix.diagonal()[total > 0] / total[total > 0]).mean())


def top5_accuracy(logits: Float[np.ndarray, "n cls"], labels: Int[np.ndarray, " n"]) -> float:
    """Fraction of images whose label is among their five highest logits; NaN for fewer than six classes.

    Among equal logits the lower classes count.
    """
    _check(logits, labels)
    if logits.shape[1] < TOP5_CLASSES:
        return math.nan
    own, classes = logits[np.arange(len(labels)), labels][:, None], np.arange(logits.shape[1])
    is_before = (logits > own) | ((logits == own) & (classes < labels[:, None]))
    return float(((is_before.sum(axis=1) < TOP5_CLASSES - 1) & np.isfinite(logits).all(axis=1)).mean())


def nll(logits: Float[np.ndarray, "n cls"], labels: Int[np.ndarray, " n"]) -> float:
    """Mean negative log-likelihood of the labels under the softmax, in nats."""
    _check(logits, labels)
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def brier(logits: Float[np.ndarray, "n cls"], labels: Int[np.ndarray, " n"]) -> float:
    """Mean over images of the squared distance between softmax and one-hot label, summed over classes: 0 (sure, right) to 2 (sure, wrong).

    Brier 1950, Verification of forecasts expressed in terms of probability, eq. 2.
    """
    _check(logits, labels)
    distance = np.exp(log_softmax(logits))
    distance[np.arange(len(labels)), labels] -= 1
    return float((distance**2).sum(axis=-1).mean())


def ece(logits: Float[np.ndarray, "n cls"], labels: Int[np.ndarray, " n"], n_bins: int = N_BINS) -> float:
    """Expected calibration error, a fraction: the mean over images of |accuracy - confidence| of their bin.

    Bins of equal width as in ``reliability``. Guo 2017 (1706.04599), eq. 3.
    """
    bins = reliability(logits, labels, n_bins)
    if not np.isfinite(logits).all():
        return float("nan")
    filled = bins.counts > 0
    gaps = np.abs(bins.accuracy[filled] - bins.confidence[filled])
    return float((bins.counts[filled] * gaps).sum() / len(labels))


def reliability(logits: Float[np.ndarray, "n cls"], labels: Int[np.ndarray, " n"], n_bins: int = N_BINS) -> Reliability:
    """Count, mean confidence and accuracy of the images in each of ``n_bins`` bins of equal width over the top class's probability.

    Bin i (from 0) holds i / n_bins < p <= (i + 1) / n_bins: an edge belongs to the bin below it, so p = 1 lies in the last bin
    (Guo 2017, 1706.04599, section 2). Images with logits that are not finite are in no bin.
    """
    _check(logits, labels)
    if n_bins < 1:
        raise DataError(f"n_bins: must be >= 1, got {n_bins}")
    confidence = np.exp(log_softmax(logits)).max(axis=-1)
    measured = np.isfinite(confidence)
    confidence, hits = confidence[measured], _hits(logits, labels)[measured]
    bins = np.ceil(confidence * n_bins).astype(np.int64) - 1  # the engine's formula, so that both put an edge into the same bin
    counts = np.bincount(bins, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            edges=np.linspace(0.0, 1.0, n_bins + 1),
            counts=counts,
            confidence=np.bincount(bins, weights=confidence, minlength=n_bins) / counts,
            accuracy=np.bincount(bins, weights=hits, minlength=n_bins) / counts,
        )


def confusion_matrix(logits: Float[np.ndarray, "n cls"], labels: Int[np.ndarray, " n"]) -> Int64[np.ndarray, "cls cls"]:
    """Number of images of each true class (row) that were given each class (column); images without finite logits are left out."""
    _check(logits, labels)
    measured = np.isfinite(logits).all(axis=-1)
    n_classes = logits.shape[1]
    cells = labels[measured].astype(np.int64) * n_classes + np.argmax(logits[measured], axis=-1)
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


def fit_temperature(logits: Float[np.ndarray, "n cls"], labels: Int[np.ndarray, " n"]) -> float:
    """The T in 0.01 … 100 for which ``nll(logits / T, labels)`` is least (Guo 2017, 1706.04599, section 4.2); fit it on validation.

    The NLL is convex in 1 / T, so the sign of its slope tells on which side the minimum lies, and a bound is returned where it lies
    beyond. Where the NLL does not depend on T (all logits equal, one class, slope lost to underflow at T = 1) the answer is 1: nothing
    is scaled. NaN when a logit is not finite.
    """
    _check(logits, labels)
    if not np.isfinite(logits).all():
        return float("nan")
    centred = _centred(logits)
    target = centred[np.arange(len(labels)), labels]

    def slope(log_temperature: float) -> float:
        """Derivative of the NLL by 1 / T: the mean logit under the softmax less the label's own."""
        weights = np.exp(centred * np.exp(-log_temperature))
        return float(((weights * centred).sum(axis=-1) / weights.sum(axis=-1) - target).mean())

    at_one = slope(0.0)
    if at_one == 0:
        return 1.0
    bound = TEMPERATURE_RANGE[0] if at_one < 0 else TEMPERATURE_RANGE[1]
    if slope(np.log(bound)) * at_one >= 0:
        return bound
    from scipy.optimize import brentq  # a seventh of the time of a page, which fits nothing

    return float(np.exp(brentq(slope, min(0.0, np.log(bound)), max(0.0, np.log(bound)), xtol=1e-10)))


def _of_hits(name: str, label: str, doc: str, compute: Compute, *, least_classes: int = 1, is_later: bool = True) -> Metric:
    """A fraction that counts images which are classified right."""
    return Metric(
        name=name,
        label=label,
        unit="fraction",
        doc=doc,
        least=0.0,
        most=1.0,
        maximize=True,
        compute=compute,
        least_classes=least_classes,
        counts_hits=True,
        is_later=is_later,
    )


_ECE_DOC = f"expected calibration error on the {{split}} split, {N_BINS} equal-width bins"
_TOP5_DOC = "share of the {split} images whose label is among their five highest logits; null for fewer than six classes"
_TABLE = (
    Metric("loss", "loss", "", "the trial's own loss on the {split} split", "; not comparable between losses"),
    _of_hits("accuracy", "accuracy", "accuracy on the {split} split", accuracy, is_later=False),
    Metric("nll", "NLL", "nats", "negative log-likelihood on the {split} split", least=0.0, scaled=True, compute=nll),
    Metric("brier", "Brier score", "", "Brier score on the {split} split", ", 0 to 2", least=0.0, most=2.0, scaled=True, compute=brier),
    Metric("ece", "ECE", "fraction", _ECE_DOC, least=0.0, most=1.0, scaled=True, compute=ece),
    _of_hits("balanced_accuracy", "balanced accuracy", "mean over the classes of their recall on the {split} split", balanced_accuracy),
    _of_hits("macro_f1", "macro-F1", "mean over the classes of their F1 on the {split} split", macro_f1),
    _of_hits("top5_accuracy", "top-5 accuracy", _TOP5_DOC, top5_accuracy, least_classes=TOP5_CLASSES),
    _of_hits("worst_class_accuracy", "worst-class accuracy", "lowest recall of a class on the {split} split", worst_class_accuracy),
)
METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _TABLE})
"""Every metric by name, in the order of the columns. A new one is an entry here, its fields in ``records``, and a line in the engine's
``score``.
"""


_DECLARED: dict[str, Metric] = {}


def _centred(logits: Float[np.ndarray, "*n cls"]) -> Float64[np.ndarray, "*n cls"]:
    """Logits less the highest of their image; NaN for an image with a logit that is not finite."""
    wide = np.asarray(logits, dtype=np.float64)
    finite = np.where(np.isfinite(wide).all(axis=-1, keepdims=True), wide, np.nan)
    return np.asarray(finite - finite.max(axis=-1, keepdims=True))


def _hits(logits: Float[np.ndarray, "n cls"], labels: Int[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """1 for each image that is classified right, else 0."""
    return np.asarray((np.argmax(logits, axis=-1) == labels) & np.isfinite(logits).all(axis=-1), dtype=np.float64)


def _check(logits: Float[np.ndarray, "n cls"], labels: Int[np.ndarray, " n"]) -> None:
    if logits.ndim != 2 or labels.ndim != 1 or len(logits) != len(labels) or 0 in logits.shape:
        raise DataError(f"logits and labels: must have shapes (n, classes) and (n,) with n >= 1, got {logits.shape} and {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"labels: must be integers, got {labels.dtype}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        worst = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(f"labels: must lie in 0..{logits.shape[1] - 1}, the classes of the logits, got {worst}")
