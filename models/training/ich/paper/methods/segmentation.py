"""The U-Net 2D on labelled slices (2.5.2, 2.5.3): with slices of hemorrhage only, or mixed with others that weigh less."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..paper import Network, Segmentation
from .augment import augment
from .fit import Task
from .losses import dice
from .nets import transfer, unet
from .slices import Batch, seed_of


def task(cfg: Segmentation, network: Network, init: dict[str, torch.Tensor] | None = None, name: str = "segmentation") -> Task:
    """init: state of a pretext's net; all that it shares with the U-Net is copied, nothing frozen."""
    net = unet(network, network.dropout)
    copied = transfer(init, net) if init is not None else []

    def loss(net: nn.Module, batch: Batch, gen: torch.Generator, epoch: int) -> torch.Tensor:
        x, mask = augment(batch.x, batch.mask, cfg.augment, gen)
        logits = net(x).float()
        value = dice(torch.sigmoid(logits), mask, cfg.alpha, cfg.smoothing)  # Eq. 4 and 5
        if epoch < cfg.bce_epochs:
            value = value + F.binary_cross_entropy_with_logits(logits, mask.float())
        return value

    return Task(name, net, loss, cfg.epochs, cfg.batch, "segmentation", ("images", "masks"), facts={"transferred": copied})


def training_rows(ich: np.ndarray, rows: np.ndarray, normal_per_ich: float, seed: int) -> np.ndarray:
    """Rows with hemorrhage and, drawn once, so many without. ich: bool of every row of the store; rows: those of the training volumes."""
    positive, normal = rows[ich[rows]], rows[~ich[rows]]
    rng = np.random.default_rng(seed_of(seed, "normal slices"))
    return np.sort(np.concatenate([positive, rng.permutation(normal)[: round(normal_per_ich * len(positive))]]))
