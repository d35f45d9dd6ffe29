"""Classification pretexts on slice labels (2.6.2): hemorrhage or not, or seven classes with cross-entropy or Dice loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ...datasets.volume import UNKNOWN
from ..paper import Classification, Network
from .augment import augment
from .fit import Task
from .losses import dice
from .nets import EncoderMLP
from .slices import Batch

CLASSES = ("no ICH", "any", "IPH", "IVH", "SAH", "SDH", "EDH")  # [2.6.2.2]


def task(name: str, cfg: Classification, network: Network, labels) -> Task:
    """name: binary, multilabel-ce or multilabel-dl. labels (N, 6): those that are trained on, for the class weights."""
    outputs = 2 if name == "binary" else len(CLASSES)
    net = EncoderMLP(network, cfg.dropout, (*cfg.head, outputs))
    of = {"binary": _binary, "multilabel-ce": _cross_entropy(class_weights(torch.as_tensor(labels))), "multilabel-dl": _dice}[name]

    def loss(net: nn.Module, batch: Batch, gen: torch.Generator, epoch: int) -> torch.Tensor:
        x, _ = augment(batch.x, None, cfg.augment, gen)
        return of(net(x).float(), batch.labels)

    return Task(name, net, loss, cfg.epochs, cfg.batch, needs=("images", "labels"))


def _binary(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of a softmax (2.6.2.1); slices are balanced, so no weights."""
    return F.cross_entropy(logits, labels[:, 0].long())


def targets(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Targets (B, 7) of CLASSES, and where they are known."""
    known = labels != UNKNOWN
    seven = torch.cat([1 - labels[:, :1].float(), labels.float()], 1)
    known = torch.cat([known[:, :1], known], 1)
    return seven * known, known


def class_weights(labels: torch.Tensor) -> torch.Tensor:
    """Weight of a positive (7,): negatives over positives of the class (code)."""
    t, known = targets(labels)
    positive = t.sum(0)
    return (known.sum(0) - positive) / positive.clamp(min=1)


def _cross_entropy(weights: torch.Tensor):
    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        t, known = targets(labels)
        each = F.binary_cross_entropy_with_logits(logits, t, pos_weight=weights.to(logits.device), reduction="none")
        return (each * known).sum() / known.sum().clamp(min=1)

    return loss


def _dice(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Eq. 4 over the seven outputs of a slice. Always one class is present, so nothing has to be smoothed."""
    t, known = targets(labels)
    return dice(torch.sigmoid(logits) * known, t, alpha=1.0, smoothing=0.0)
