"""Metrics of many networks from their raw logits, computed on the device: accuracy, NLL, Brier score and calibration error."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sweeper.metrics import METRICS, N_BINS
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


def score(logits: Float[Tensor, "member image cls"], labels: Int[Tensor, "member image"]) -> Float[Tensor, "member 4"]:
    """Each metric that has a ``compute`` of each member, in the order of :data:`sweeper.metrics.METRICS`, in float64.

    An image whose logits are not all finite is a miss, and makes the other figures of its member NaN; no other member's.
    """
    finite = logits.isfinite().all(-1, keepdim=True)
    log_p = F.log_softmax(logits.double().where(finite, torch.nan), -1)
    p = log_p.exp()
    confidence, predicted = p.max(-1)
    is_right = ((predicted == labels) & finite.squeeze(-1)).double()
    nll = -log_p.gather(-1, labels[..., None]).squeeze(-1)
    brier = row_sums((p - F.one_hot(labels, logits.shape[-1])).square())
    bins = (torch.ceil(confidence.nan_to_num() * N_BINS) - 1).clamp(0, N_BINS - 1).long()
    accuracy, nll, brier = row_sums(torch.stack([is_right, nll, brier])) / logits.shape[1]
    ece = row_sums(bin_sums(is_right - confidence, bins).abs()) / logits.shape[1]
    figures = {"accuracy": accuracy, "nll": nll, "brier": brier, "ece": ece}
    return torch.stack([figures[metric.name] for metric in METRICS.values() if metric.compute], 1)
