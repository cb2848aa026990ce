"""Figures of many networks on one scale, on the device: accuracy, NLL, Brier score and calibration error from raw logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

N_BINS = 15
"""Equal-width bins of the top probability behind the expected calibration error (Guo 2017, 1706.04599, eq. 3)."""


def score(logits: Float[Tensor, "member image cls"], labels: Int[Tensor, "member image"]) -> Float[Tensor, "member 4"]:
    """Accuracy, NLL in nats, Brier score (0 to 2) and expected calibration error of each member, in float64.

    A member with NaN logits has NaN figures but for its accuracy, and no influence on the others.
    """
    log_p = F.log_softmax(logits.double(), -1)
    p = log_p.exp()
    confidence, predicted = p.max(-1)
    is_right = (predicted == labels).double()
    nll = -log_p.gather(-1, labels[..., None]).squeeze(-1)
    brier = (p - F.one_hot(labels, logits.shape[-1])).square().sum(-1)
    bins = (torch.ceil(confidence.nan_to_num() * N_BINS) - 1).clamp(0, N_BINS - 1).long()
    gaps = torch.zeros(len(logits), N_BINS, dtype=torch.float64, device=logits.device).scatter_add_(1, bins, is_right - confidence)
    ece = gaps.abs().sum(1) / logits.shape[1]
    return torch.stack([is_right.mean(1), nll.mean(1), brier.mean(1), ece], 1)
