"""Metrics of many networks from their raw logits, computed on the device: accuracy, NLL, Brier score and calibration error."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sweeper.metrics import METRICS, N_BINS


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
    brier = (p - F.one_hot(labels, logits.shape[-1])).square().sum(-1)
    bins = (torch.ceil(confidence.nan_to_num() * N_BINS) - 1).clamp(0, N_BINS - 1).long()
    gaps = torch.zeros(len(logits), N_BINS, dtype=torch.float64, device=logits.device).scatter_add_(1, bins, is_right - confidence)
    ece = gaps.abs().sum(1) / logits.shape[1]
    figures = {"accuracy": is_right.mean(1), "nll": nll.mean(1), "brier": brier.mean(1), "ece": ece}
    return torch.stack([figures[metric.name] for metric in METRICS.values() if metric.compute], 1)
