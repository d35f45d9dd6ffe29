"""The parts of the U-Net 2D that the pretexts train, under the U-Net's own parameter names, and the transfer of weights."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from ...datasets.volume import DataError
from ..paper import Network
from ...product.unet import UNet


def unet(cfg: Network, dropout: float) -> UNet:
    return UNet(1, 1, cfg.base, cfg.factor, dropout)


def encode(net: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Bottleneck (B, 16 base, H / 16, W / 16) and the four skips of any net that has the U-Net's encoder."""
    skips = []
    for block in net.down_block:
        x = block(x)
        skips.append(x)
        x = torch.max_pool2d(x, 2)
    return net.bottleneck_block(x), skips


def pooled(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The bottleneck's average over the slice (B, 16 base): 512 numbers at the paper's width (Figure 5)."""
    return encode(net, x)[0].mean((2, 3))


class EncoderMLP(nn.Module):
    """Encoder, average pooling, MLP with ReLU between its layers: (B, 1, H, W) -> (B, head[-1])."""

    def __init__(self, cfg: Network, dropout: float, head: tuple[int, ...]):
        super().__init__()
        whole = unet(cfg, dropout)
        self.down_block, self.bottleneck_block = whole.down_block, whole.bottleneck_block
        layers: list[nn.Module] = []
        for i, o in pairwise((16 * cfg.base, *head)):
            layers += [nn.Linear(i, o), nn.ReLU()]
        self.mlp_head = nn.Sequential(*layers[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mlp_head(pooled(self, x))


class PartialUNet(nn.Module):
    """Frozen encoder, the first decoding blocks, 1x1 head with ReLU between: (B, 1, H, W) -> (B, head[-1], H / 2, W / 2) for 3 blocks.

    Frozen means weights and running statistics: the encoder comes out as it went in.
    """

    def __init__(self, cfg: Network, dropout: float, blocks: int, head: tuple[int, ...]):
        super().__init__()
        whole = unet(cfg, dropout)
        self.down_block, self.bottleneck_block = whole.down_block, whole.bottleneck_block
        self.up_samp, self.up_block = whole.up_samp[:blocks], whole.up_block[:blocks]
        layers: list[nn.Module] = []
        for i, o in pairwise((cfg.base * 2 ** (4 - blocks), *head)):
            layers += [nn.Conv2d(i, o, 1), nn.ReLU()]
        self.conv_head = nn.Sequential(*layers[:-1])
        for p in (*self.down_block.parameters(), *self.bottleneck_block.parameters()):
            p.requires_grad_(False)

    def train(self, mode: bool = True) -> PartialUNet:
        super().train(mode)
        self.down_block.eval()
        self.bottleneck_block.eval()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            x, skips = encode(self, x)
        for up, block in zip(self.up_samp, self.up_block):
            x = block(torch.cat([skips.pop(), up(x)], 1))
        return self.conv_head(x)


def transfer(source: dict[str, torch.Tensor], net: nn.Module) -> list[str]:
    """Copies all that both have by name (2.6; heads have no namesake) and freezes nothing. Returns the names.

    Raises DataError when a shape differs, for the two were not made with the same width or factor, and when nothing is shared.
    """
    target = net.state_dict()
    names = [k for k in target if k in source]
    if source and not names:
        raise DataError("pretrained net", "has no layer of the U-Net 2D", "give the net.pt that `ich pretrain --out` wrote")
    for k in names:
        if source[k].shape != target[k].shape:
            raise DataError("pretrained net", f"{k} is {tuple(source[k].shape)} there and {tuple(target[k].shape)} here", "use the same --scale, base and factor")
    net.load_state_dict({k: source[k] for k in names}, strict=False)
    return names
