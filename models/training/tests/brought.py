"""Tiny networks and heads for the tests of bundles: real enough to be examined, small enough to be fast."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from ich.bundles import bring, export

SIZE = 32
torch.set_num_threads(1)  # so small that threads would only wait for each other


class Bright(nn.Module):
    """Blood is what is bright: logits (B, outputs, H, W) from the middle channel, through two convolutions as real ones have."""

    def __init__(self, channels: int = 1, outputs: int = 1, sigmoid: bool = False):
        super().__init__()
        self.blur, self.out, self.sigmoid = nn.Conv2d(channels, 4, 3, padding=1), nn.Conv2d(4, outputs, 1), sigmoid
        with torch.no_grad():
            self.blur.weight.zero_()
            self.blur.bias.zero_()
            self.blur.weight[:, channels // 2, 1, 1] = torch.tensor([1.0, 0.9, 0.8, 0.7])
            self.out.weight.copy_(torch.linspace(8, 4, outputs)[:, None, None, None].expand_as(self.out.weight))
            self.out.bias.fill_(-14.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.out(torch.relu(self.blur(x)))
        return torch.sigmoid(y) if self.sigmoid else y


def head(blood: bool) -> SimpleNamespace:
    """Seven slices of 64 x 64 pixels of 3.5 mm: skull, brain of 35 HU with noise, a ball of 75 HU."""
    z, y, x = np.mgrid[-3:4, -31.5:32, -31.5:32].astype(np.float32)
    r = np.hypot(y, x)
    hu = np.where(r < 26, np.float32(35), np.float32(-1000)) + np.random.default_rng(3).normal(0, 3, r.shape).astype(np.float32)
    hu[(r >= 24) & (r < 26)] = 900
    label = (r < 24).astype(np.uint8)
    if blood:
        ball = (y - 6) ** 2 + x**2 + (2 * z) ** 2 < 60
        hu[ball], label[ball] = 75, 2
    return SimpleNamespace(hu=hu, label=label, pixel=3.5, positions=np.arange(7) * 5.0)


def heads() -> list[SimpleNamespace]:
    return [head(True), head(False)]


def to_onnx(net: nn.Module, path, channels: int = 1, size: int = SIZE):
    export.torch_to_onnx(net.eval(), channels, size, path)
    return path


def wish(net, **changes) -> bring.Wish:
    return bring.Wish(**{"net": net, "name": "tiny", "data": "nothing", "size": SIZE, "pixel_mm": 7.0, **changes})
