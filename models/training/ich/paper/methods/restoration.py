"""Context restoration (2.6.1.1): patches of a slice are swapped, the whole U-Net puts them back. All of it is transferred."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..paper import Network, Restoration
from .augment import augment
from .fit import Task
from .nets import unet
from .slices import Batch

TRIES = 8  # places drawn for the second patch until one does not overlap the first


def task(cfg: Restoration, network: Network, size: int) -> Task:
    patch = max(round(cfg.patch * size / 256), 2)

    def loss(net: nn.Module, batch: Batch, gen: torch.Generator, epoch: int) -> torch.Tensor:
        x, _ = augment(batch.x, None, cfg.augment, gen)
        return F.mse_loss(net(swap_patches(x, cfg.swaps, patch, gen)).float(), x)

    return Task("context-restoration", unet(network, cfg.dropout), loss, cfg.epochs, cfg.batch)


def swap_patches(x: torch.Tensor, swaps: int, patch: int, gen: torch.Generator) -> torch.Tensor:
    """x (B, 1, H, W) with `swaps` pairs of square patches exchanged, one pair after the other, other places on every slice.

    The swaps act on a map of where each pixel comes from, for all slices at once; the slices are then read once.
    """
    b, _, h, w = x.shape
    if 2 * patch > max(h, w):
        raise ValueError(f"patches of {patch} pixels do not fit twice into {h} x {w}")
    source = torch.arange(h * w).repeat(b, 1)
    within = (torch.arange(patch)[:, None] * w + torch.arange(patch)).flatten()
    for _ in range(swaps):
        first = _corners(b, 1, h, w, patch, gen)
        others = _corners(b, TRIES, h, w, patch, gen)
        apart = ((others - first).abs() >= patch).any(-1)  # (B, TRIES)
        second = others[torch.arange(b), apart.int().argmax(1)]
        second = torch.where(apart.any(1, keepdim=True), second, first[:, 0])  # none fits: this slice keeps its patch
        here = (first[:, 0] @ torch.tensor([[w], [1]])) + within  # (B, patch * patch)
        there = (second @ torch.tensor([[w], [1]])) + within
        a, c = source.gather(1, here), source.gather(1, there)
        source.scatter_(1, here, c)
        source.scatter_(1, there, a)
    return x.flatten(1).gather(1, source.to(x.device)).view_as(x)


def _corners(b: int, n: int, h: int, w: int, patch: int, gen: torch.Generator) -> torch.Tensor:
    """Upper left corners (B, n, 2) as row, column."""
    return (torch.rand(b, n, 2, generator=gen) * torch.tensor([h - patch + 1, w - patch + 1])).long()
