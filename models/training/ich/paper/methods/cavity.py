"""The intracranial cavity (2.3.3): a U-Net on a tissue window and one on a bone window, and the union of what they find."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ...datasets.volume import DataError
from ...loop import Machine
from ..paper import CavityNet, Network
from .augment import augment
from .fit import Task
from .losses import dice
from .nets import unet
from .score import AT_ONCE, predict
from .slices import Batch, Slices, seed_of


def task(name: str, cfg: CavityNet, network: Network) -> Task:
    def loss(net: nn.Module, batch: Batch, gen: torch.Generator, epoch: int) -> torch.Tensor:
        x, mask = augment(batch.x, batch.cavity, cfg.augment, gen)
        return dice(torch.sigmoid(net(x).float()), mask, alpha=1.0, smoothing=cfg.smoothing)

    return Task(name, unet(network, cfg.dropout), loss, cfg.epochs, cfg.batch, "cavity", ("images", "cavities"))


def choose(has_cavity: np.ndarray, bleeding: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Volumes to train on, half of them with hemorrhage as far as there are such; by index."""
    rng = np.random.default_rng(seed_of(seed, "cavity"))
    ich, normal = (rng.permutation(np.flatnonzero(has_cavity & kind)) for kind in (bleeding, ~bleeding))
    n = max(count // 2, count - len(normal))
    return np.sort(np.concatenate([ich[:n], normal[: count - min(n, len(ich))]]))


def union(nets: list[nn.Module], windows: list[Slices], on: Machine, block: int = 16 * AT_ONCE) -> np.ndarray:
    """uint8 (N, H, W), 1 where either net sees cavity. windows: the same slices in each net's window."""
    first = windows[0].store
    out = np.zeros((len(first), first.size, first.size), np.uint8)
    for i in range(0, len(first), block):
        rows = np.arange(i, min(i + block, len(first)))
        for net, data in zip(nets, windows):
            out[rows] |= predict(net, data, rows, on)
    if not out.any():
        raise DataError(windows[0].folder, "the cavity nets found no cavity on any slice", "train them longer, or give a set with cavity masks")
    return out
