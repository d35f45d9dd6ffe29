"""The geometric half of every augmentation: images and labels, moved alike."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def warp(x: torch.Tensor, labels: torch.Tensor | None, theta: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """x (B, C, H, W), bilinear, and labels (B, K, H, W) or None, nearest, read on `size` pixels where theta (B, 2, 3) says: it maps places
    in the result to places in x, both in [-1, 1]. Outside both are 0. Labels come back as floats.
    """
    grid = F.affine_grid(theta.to(x.device), [len(x), 1, *size], align_corners=False)
    x = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if labels is not None:
        labels = F.grid_sample(labels.to(x.dtype), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return x, labels
