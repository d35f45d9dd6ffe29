"""Losses of the shipped nets: Dice over what is present plus cross-entropy. The paper's is in paper/methods/losses.py.

Pure Dice on few positive pixels sits at "blood everywhere" for hundreds of steps, and averaged over absent classes at
"no blood"; both were seen. Cross-entropy starts the net, Dice then shapes it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..heads.phantom.scanner import NO_TISSUE
from .data import UNSEEN

BLEED_LOGITS = 7  # any, background, five subtypes
TISSUE_WEIGHT, TISSUE_WEIGHTS = 0.5, (0.3, 0.5, 1.0, 1.0, 3.0, 3.0, 0.5)  # of all of them; of each: sheets and vessels are thin


def present_dice(p: torch.Tensor, t: torch.Tensor, eps: float = 1.0, axes: tuple[int, ...] = (0, 2, 3)) -> torch.Tensor:
    """1 - Dice per class over the whole batch, mean over the classes that occur in it. p, t: (B, K, H, W).

    With axes (2, 3) per class and slice, mean over those where it occurs.
    """
    t = t.to(p.dtype)
    score = (2 * (p * t).sum(axes) + eps) / (p.square().sum(axes) + t.square().sum(axes) + eps)
    present = (t.sum(axes) > 0).to(p.dtype)
    return 1 - (score * present).sum() / present.sum().clamp(min=1) if present.any() else p.sum() * 0.0


def _overlap(p: torch.Tensor, t: torch.Tensor, eps: float = 1.0) -> torch.Tensor:
    """`present_dice` over the batch and by slice, added; both in one pass. p, t: (B, K, H, W) float."""
    sums = [v.sum((2, 3)) for v in (p * t, p.square(), t)]
    out = p.sum() * 0.0
    for both, here, truth in (sums, [v.sum(0) for v in sums]):
        present = (truth > 0).to(p.dtype)
        if present.any():
            out = out + 1 - ((2 * both + eps) / (here + truth + eps) * present).sum() / present.sum()
    return out


def cavity_loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """logits (B, 1, H, W); label (B, H, W) with 0 outside."""
    target = (label > 0)[:, None].float()
    return present_dice(torch.sigmoid(logits), target) + F.binary_cross_entropy_with_logits(logits, target)


def bleed_loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """logits (B, 7, H, W): any, then background and five subtypes; label as `data.py` stores it. What is UNSEEN counts nowhere.

    Further logits are of healthy tissues, whose label is then the second of (B, 2, H, W)."""
    if label.dim() == 4:
        tissue = F.cross_entropy(logits[:, BLEED_LOGITS:], label[:, 1], torch.tensor(TISSUE_WEIGHTS), ignore_index=NO_TISSUE)
        return bleed_loss(logits[:, :BLEED_LOGITS], label[:, 0]) + TISSUE_WEIGHT * tissue
    seen = (label != UNSEEN)[:, None].float()
    kind = torch.where(label == UNSEEN, 0, (label - 1).clamp(min=0))  # 0 no blood, 1.. subtypes
    any_target = (kind > 0)[:, None].float()
    bce = F.binary_cross_entropy_with_logits(logits[:, :1], any_target, seen)
    ce = F.cross_entropy(logits[:, 1:], torch.where(label == UNSEEN, -100, kind))
    prob = torch.softmax(logits[:, 1:], 1)[:, 1:] * seen
    each = torch.stack([kind == k for k in range(1, 6)], 1).float()
    both = ((torch.sigmoid(logits[:, :1]) * seen, any_target), (prob, each))
    # Over the batch a thin layer hardly counts beside a large hematoma; by slice it counts as much, as it does for who reads it.
    overlap = sum(_overlap(p, t) for p, t in both) / 2
    return overlap + 2 * bce + 2 * ce
