"""The paper's U-Net 2D (section 2.5.1).

Five encoding blocks and four decoding blocks of two 3x3 convolutions, each with batch normalisation and ReLU; widths
base, 2 base, .. 16 base; max pooling down, 2x2 transposed convolution up, skip connections concatenated as [skip, up].
Parameter names follow the authors' first release, so that their weights and ours can be exchanged. With base 32, one
channel in and one out it has 7,765,409 parameters.
"""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):
    """conv - norm - relu, twice: (B, i, H, W) -> (B, o, H, W). `factor` narrows the middle; dropout follows the second ReLU."""

    def __init__(self, i: int, o: int, factor: int = 1, dropout: float = 0.0):
        super().__init__()
        mid = o // factor
        self.conv1, self.bn1 = nn.Conv2d(i, mid, 3, padding=1), nn.BatchNorm2d(mid)
        self.conv2, self.bn2 = nn.Conv2d(mid, o, 3, padding=1), nn.BatchNorm2d(o)
        self.dropout = nn.Dropout(dropout) if dropout else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu_(self.bn1(self.conv1(x)))
        x = torch.relu_(self.bn2(self.conv2(x)))
        return self.dropout(x) if self.dropout is not None else x


class UNet(nn.Module):
    """Logits (B, outputs, H, W) of windowed slices (B, channels, H, W); H and W divisible by 16."""

    def __init__(self, channels: int = 1, outputs: int = 1, base: int = 32, factor: int = 1, dropout: float = 0.0):
        super().__init__()
        width = [base * 2**k for k in range(5)]
        self.down_block = nn.ModuleList(Block(channels if k == 0 else width[k - 1], width[k], factor, dropout) for k in range(4))
        self.bottleneck_block = Block(width[3], width[4], factor, dropout)
        self.up_samp = nn.ModuleList(nn.ConvTranspose2d(width[4 - k], width[3 - k], 2, stride=2) for k in range(4))
        self.up_block = nn.ModuleList(Block(width[4 - k], width[3 - k]) for k in range(4))
        self.final_conv = nn.Conv2d(base, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for block in self.down_block:
            x = block(x)
            skips.append(x)
            x = torch.max_pool2d(x, 2)
        x = self.bottleneck_block(x)
        for up, block in zip(self.up_samp, self.up_block):
            x = block(torch.cat([skips.pop(), up(x)], 1))
        return self.final_conv(x)


class Probabilities(nn.Module):
    """What is exported: sigmoid for the cavity; for the bleed, any (sigmoid) and the five subtypes of a softmax with background."""

    def __init__(self, net: UNet, role: str):
        super().__init__()
        self.net, self.bleed = net, role == "bleed"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.net(x)
        if not self.bleed:
            return torch.sigmoid(logits)
        return torch.cat([torch.sigmoid(logits[:, :1]), torch.softmax(logits[:, 1:], 1)[:, 1:]], 1)


def logits_of(outputs: tuple[str, ...]) -> int:
    """Final channels: the bleed net has one more than it reports, the background of its softmax."""
    return len(outputs) + (1 if len(outputs) > 1 else 0)


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())
