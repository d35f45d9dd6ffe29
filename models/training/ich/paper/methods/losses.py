"""The Dice loss of the paper."""

from __future__ import annotations

import torch


def dice(p: torch.Tensor, t: torch.Tensor, alpha: float, smoothing: float) -> torch.Tensor:
    """Mean over the samples of a batch of the Dice loss (Eq. 4), in which samples without a positive weigh alpha (Eq. 5).

    p: probabilities (B, ...), t: targets of the same shape. smoothing (code) is added to numerator and denominator.
    """
    p, t = p.flatten(1), t.flatten(1).to(p.dtype)
    loss = 1 - (2 * (p * t).sum(1) + smoothing) / (p.square().sum(1) + t.square().sum(1) + smoothing)  # Eq. 4
    return (loss * torch.where(t.sum(1) > 0, 1.0, alpha)).mean()  # Eq. 5
