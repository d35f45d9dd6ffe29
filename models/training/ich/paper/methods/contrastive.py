"""Contrastive pretexts: global (2.6.1.2, Eq. 6) trains the encoder, local (2.6.1.3, Eq. 7) then a decoder on top of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..paper import GlobalContrastive, LocalContrastive, Network
from .augment import augment
from .fit import Task
from .nets import EncoderMLP, PartialUNet, transfer
from .slices import Batch


def global_task(cfg: GlobalContrastive, network: Network) -> Task:
    """Two views of every slice of the batch; only the encoder is transferred, as the head has no place in the U-Net."""

    def loss(net: nn.Module, batch: Batch, gen: torch.Generator, epoch: int) -> torch.Tensor:
        views, _ = augment(torch.cat([batch.x, batch.x]), None, cfg.augment, gen)
        return info_nce(*net(views).float().chunk(2), cfg.temperature)

    return Task("global-contrastive", EncoderMLP(network, cfg.dropout, cfg.head), loss, cfg.epochs, cfg.batch, drop_last=True)


def local_task(cfg: LocalContrastive, network: Network, encoder: dict[str, torch.Tensor]) -> Task:
    """`encoder`: state of the global task. Encoder and three decoding blocks are transferred."""
    net = PartialUNet(network, cfg.dropout, cfg.blocks, cfg.head)
    transfer(encoder, net)

    def loss(net: nn.Module, batch: Batch, gen: torch.Generator, epoch: int) -> torch.Tensor:
        views, _ = augment(torch.cat([batch.x, batch.x]), None, cfg.augment, gen)
        return info_nce(*regions(net(views).float(), cfg.regions, cfg.region, gen), cfg.temperature)

    return Task("local-contrastive", net, loss, cfg.epochs, cfg.batch, drop_last=True)


def info_nce(a: torch.Tensor, b: torch.Tensor, temperature: float) -> torch.Tensor:
    """Each of the 2 N vectors a, b (..., N, D) is to be nearest to its partner by cosine, among the 2 N - 1 others.

    Mean over the vectors, where Eq. 6 and 7 sum: with Adam the factor does not matter. Leading axes are sets of their own:
    the local loss compares the regions of a slice with each other, not with other slices. Cosines are float32 under autocast
    too: divided by the temperature, those of bfloat16 would be off by 0.04.
    """
    z = F.normalize(torch.cat([a, b], -2), dim=-1)
    with torch.autocast(z.device.type, enabled=False):
        similarity = z @ z.transpose(-1, -2) / temperature
    n = a.shape[-2]
    itself = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    similarity = similarity.masked_fill(itself, -torch.inf)
    partner = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(similarity.flatten(0, -2), partner.expand(similarity.shape[:-1]).flatten())


def regions(f: torch.Tensor, count: int, side: int, gen: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` squares of side x side cells that do not overlap, at the same places of both views' maps f (2 B, C, H, W).

    Returns (B, count, C * side * side) twice. As the paper writes it, the places are those of the maps, not of the anatomy:
    the views were moved and turned apart by some degrees, which the features must bear.
    """
    tiles = F.unfold(f, side, stride=side).transpose(1, 2)  # (2 B, places, C * side * side)
    b, places = len(f) // 2, tiles.shape[1]
    if places < count:
        raise ValueError(f"a feature map of {f.shape[2]} x {f.shape[3]} has {places} regions of {side} x {side}, {count} are wanted")
    chosen = torch.rand(b, places, generator=gen).argsort(1)[:, :count].to(f.device)
    index = chosen[:, :, None].expand(-1, -1, tiles.shape[2])
    return tiles[:b].gather(1, index), tiles[b:].gather(1, index)
