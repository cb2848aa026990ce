"""Every metric of many networks from their raw logits, computed on the device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sweeper.metrics import METRICS, N_BINS, TOP5_CLASSES
from sweeper.training.threads import on_one_thread

EVALUATION_BYTES = 2**30
"""What evaluation may hold on a device other than the CPU, besides weights and images: half of what is left to each of four processes on a
card of 8 GB, and enough to fill any card. A pack of more members than that holds is evaluated a part of them at a time."""

BYTES_AN_IMAGE, BYTES_A_LOGIT = 480, 48
"""What an image and each of its logits hold, at most, while figures are made of them: counted under PyTorch's fake tensors."""


def members_at_once(n_images: int, n_classes: int) -> int:
    """Members, at least one, whose figures on so many images are computed within :data:`EVALUATION_BYTES`."""
    return max(1, EVALUATION_BYTES // (n_images * (BYTES_AN_IMAGE + BYTES_A_LOGIT * n_classes)))


def row_sums(values: Float[Tensor, "*n column"]) -> Float[Tensor, "*n"]:
    """Sum over the last axis, in an order that depends on nothing but its length: not on how many rows there are, nor on the run.

    On the CPU PyTorch's own sum is of that kind, but that several threads share a row of 32,768 numbers or more where it is the only one;
    on a GPU neither it nor a cumulative sum is.
    """
    if not _adds_in_order(values.device):
        return folded_sums(values)
    is_only_row = values.numel() == values.shape[-1]
    return on_one_thread(torch.sum, values, -1) if is_only_row else values.sum(-1)


def _adds_in_order(device: torch.device) -> bool:
    """Whether PyTorch's own sums over a row have an order that its length decides."""
    return device.type == "cpu"


def folded_sums(values: Float[Tensor, "*n column"]) -> Float[Tensor, "*n"]:
    """Sum over the last axis, filled up to a power of two: its second half is added to its first until one number is left."""
    width = values.shape[-1]
    values = F.pad(values, (0, (1 << (width - 1).bit_length()) - width))
    while values.shape[-1] > 1:
        first, second = values.chunk(2, -1)
        values = first + second
    return values.squeeze(-1)


def bin_sums(values: Float[Tensor, "member image"], bins: Int[Tensor, "member image"]) -> Float[Tensor, "member bin"]:
    """Sum of the values in each of :data:`sweeper.metrics.N_BINS` bins, in an order of which the same holds as of :func:`row_sums`."""
    if _adds_in_order(values.device):  # adds one after the other, which on a GPU it does in the order in which its threads arrive
        return values.new_zeros(len(values), N_BINS).scatter_add_(1, bins, values)
    return row_sums(values[:, None].where(bins[:, None] == torch.arange(N_BINS, device=values.device)[:, None], 0.0))


def class_sums(values: Float[Tensor, "member image"], classes: Int[Tensor, "member image"], n_classes: int) -> Float[Tensor, "member cls"]:
    """Sum over the images of each class of values that are zero or one: exact in double precision, and so the same in any order."""
    return values.new_zeros(len(values), n_classes).scatter_add_(1, classes, values)


def is_among_five(logits: Float[Tensor, "member image cls"], labels: Int[Tensor, "member image"]) -> Bool[Tensor, "member image"]:
    """Whether fewer than five classes come before the label: those of a higher logit, and lower classes of the same."""
    own, classes = logits.gather(-1, labels[..., None]), torch.arange(logits.shape[-1], device=logits.device)
    is_before = (logits > own) | ((logits == own) & (classes < labels[..., None]))
    return is_before.sum(-1, dtype=torch.int32) < TOP5_CLASSES - 1  # half the time of 64 bits


def score(logits: Float[Tensor, "member image cls"], labels: Int[Tensor, "member image"]) -> Float[Tensor, "member metric"]:
    """Each metric that has a ``compute`` of each member, in the order of :data:`sweeper.metrics.METRICS`, in float64.

    An image whose logits are not all finite is a miss, and makes the figures of its member that count no hits NaN; no other member's.
    """
    n_images, n_classes = logits.shape[1:]
    finite = logits.isfinite().all(-1, keepdim=True)
    measured = finite.squeeze(-1)
    log_p = F.log_softmax(logits.double().where(finite, torch.nan), -1)
    p = log_p.exp()
    confidence, predicted = p.max(-1)
    is_right = ((predicted == labels) & measured).double()
    nll = -log_p.gather(-1, labels[..., None]).squeeze(-1)
    brier = row_sums((p - F.one_hot(labels, n_classes)).square())
    bins = (torch.ceil(confidence.nan_to_num() * N_BINS) - 1).clamp(0, N_BINS - 1).long()
    accuracy, nll, brier = row_sums(torch.stack([is_right, nll, brier])) / n_images
    ece = row_sums(bin_sums(is_right - confidence, bins).abs()) / n_images
    figures = {"accuracy": accuracy, "nll": nll, "brier": brier, "ece": ece}
    figures |= _by_class(is_right, measured.double(), predicted, labels, n_classes)
    is_top5 = (is_among_five(logits, labels) & measured).double() if n_classes >= TOP5_CLASSES else torch.full_like(is_right, torch.nan)
    figures["top5_accuracy"] = row_sums(is_top5) / n_images
    return torch.stack([figures[metric.name] for metric in METRICS.values() if metric.compute], 1)


def _by_class(
    is_right: Float[Tensor, "member image"],
    measured: Float[Tensor, "member image"],
    predicted: Int[Tensor, "member image"],
    labels: Int[Tensor, "member image"],
    n_classes: int,
) -> dict[str, Float[Tensor, " member"]]:
    """The metrics that are means over classes or the least of them; ``measured``: 1 for each image that is given a class, else 0."""
    right, occurs = class_sums(is_right, labels, n_classes), class_sums(torch.ones_like(is_right), labels, n_classes)
    total = occurs + class_sums(measured, predicted, n_classes)
    recalls, f1 = right / occurs.clamp(min=1), 2 * right / total.clamp(min=1)
    return {
        "balanced_accuracy": row_sums(recalls) / (occurs > 0).sum(-1),
        "macro_f1": row_sums(f1) / (total > 0).sum(-1),
        "worst_class_accuracy": recalls.where(occurs > 0, 1.0).amin(-1),
    }
