"""nnU-Net's plain-convolution U-Net and its residual-encoder U-Net, with the parameter names of its checkpoints.

Equal to PlainConvUNet and ResidualEncoderUNet of dynamic_network_architectures 0.4 (Apache-2.0) as nnU-Net uses them:
instance normalisation, leaky ReLU, strided convolutions, transposed convolutions, no dropout. `keep` takes from a checkpoint
what is not a duplicate, and leaves out the outputs of deep supervision, which inference does not use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
UP = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOL = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
SLOPE = 0.01
LONG = 1 << 18  # values of a channel from which ONNX Runtime's InstanceNormalization is not exact enough


@dataclass(frozen=True)
class Arch:
    """Per stage: features, kernel sizes, strides, convolutions or residual blocks; per decoder stage: convolutions."""

    residual: bool
    features: tuple[int, ...]
    kernels: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    blocks: tuple[int, ...]
    decoder: tuple[int, ...]
    bias: bool
    eps: float
    slope: float = SLOPE

    @property
    def dim(self) -> int:
        return len(self.strides[0])


class Norm(nn.Module):
    """Instance normalisation. ONNX Runtime adds up a channel in float32, one value after the other: of 128 x 128 x 128 values the
    variance is off by 6e-5, and after a few layers a logit by 0.02. With `long` the exported network adds up row by row."""

    def __init__(self, features: int, eps: float):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.eps, self.long = eps, False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.long or not torch.onnx.is_in_onnx_export():
            return nn.functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        rest = tuple(range(2, x.ndim))
        each = lambda v: v.reshape(-1, *(1 for _ in rest))  # noqa: E731
        x = x - x.mean(-1, keepdim=True).mean(rest, keepdim=True)
        variance = (x * x).mean(-1, keepdim=True).mean(rest, keepdim=True)
        return x * (each(self.weight) / torch.sqrt(variance + self.eps)) + each(self.bias)


class Block(nn.Module):
    """Convolution, normalisation, activation."""

    def __init__(self, a: Arch, given: int, made: int, kernel, stride, bias: bool, active: bool = True):
        super().__init__()
        self.conv = CONV[a.dim](given, made, kernel, stride, padding=tuple((k - 1) // 2 for k in kernel), bias=bias)
        self.norm = Norm(made, a.eps)
        self.nonlin = nn.LeakyReLU(a.slope) if active else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.nonlin(self.norm(self.conv(x)))

    def joined(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """forward of x and y, as many channels each, without the tensor of both: a convolution is the sum of those of the parts."""
        c, n = self.conv, self.conv.in_channels // 2
        run = {2: nn.functional.conv2d, 3: nn.functional.conv3d}[len(c.stride)]
        x = run(x, c.weight[:, :n], None, c.stride, c.padding)
        return self.nonlin(self.norm(x + run(y, c.weight[:, n:], c.bias, c.stride, c.padding)))


class Stack(nn.Module):
    def __init__(self, a: Arch, count: int, given: int, made: int, kernel, stride):
        super().__init__()
        one = (1,) * a.dim
        self.convs = nn.Sequential(*(Block(a, given if i == 0 else made, made, kernel, stride if i == 0 else one, a.bias) for i in range(count)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convs(x)

    def joined(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.convs[1:](self.convs[0].joined(x, y))


class Residual(nn.Module):
    """ResNet-D: the way around pools where there is a stride, and projects where the number of features changes."""

    def __init__(self, a: Arch, given: int, made: int, kernel, stride):
        super().__init__()
        one = (1,) * a.dim
        self.conv1 = Block(a, given, made, kernel, stride, a.bias)
        self.conv2 = Block(a, made, made, kernel, one, a.bias, active=False)
        around = [POOL[a.dim](stride, stride)] if any(s != 1 for s in stride) else []
        if given != made:
            around.append(Block(a, given, made, one, one, False, active=False))
        self.skip = nn.Sequential(*around)
        self.nonlin = nn.LeakyReLU(a.slope)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.nonlin(self.conv2(self.conv1(x)) + self.skip(x))


class ResidualStack(nn.Module):
    def __init__(self, a: Arch, count: int, given: int, made: int, kernel, stride):
        super().__init__()
        one = (1,) * a.dim
        self.blocks = nn.Sequential(*(Residual(a, given if i == 0 else made, made, kernel, stride if i == 0 else one) for i in range(count)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x)


class Encoder(nn.Module):
    def __init__(self, a: Arch):
        super().__init__()
        given = 1
        if a.residual:
            self.stem = Stack(a, 1, 1, a.features[0], a.kernels[0], (1,) * a.dim)
            given = a.features[0]
        stages = []
        for made, kernel, stride, count in zip(a.features, a.kernels, a.strides, a.blocks):
            if a.residual:
                stages.append(ResidualStack(a, count, given, made, kernel, stride))
            else:
                stages.append(nn.Sequential(Stack(a, count, given, made, kernel, stride)))
            given = made
        self.stages = nn.Sequential(*stages)
        self.residual, self.features = a.residual, a.features[0]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        if self.residual:
            x = self.stem(x)
        out = []
        for stage in self.stages:
            x = stage(x)
            out.append(x)
        return out


class Decoder(nn.Module):
    def __init__(self, a: Arch, classes: int):
        super().__init__()
        below = list(a.features)
        self.transpconvs, self.stages, self.seg_layers = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        last = len(below) - 1
        for s in range(1, len(below)):
            skip = below[-(s + 1)]
            self.transpconvs.append(UP[a.dim](below[-s], skip, a.strides[-s], a.strides[-s], bias=a.bias))
            self.stages.append(Stack(a, a.decoder[s - 1], 2 * skip, skip, a.kernels[-(s + 1)], (1,) * a.dim))
            self.seg_layers.append(CONV[a.dim](skip, classes, 1) if s == last else nn.Identity())

    def forward(self, skips: list[torch.Tensor]) -> torch.Tensor:
        x = skips[-1]
        for up, stage in zip(self.transpconvs, self.stages):
            x = stage.joined(up(x), skips.pop(-2))
        return self.seg_layers[-1](x)


class NNUNet(nn.Module):
    """(B, 1, [D,] H, W) normalised HU -> (B, classes, [D,] H, W) logits. turn: plans' axes of the patch, as of ours."""

    def __init__(self, a: Arch, classes: int, turn: tuple[int, ...] | None = None):
        super().__init__()
        self.encoder, self.decoder = Encoder(a), Decoder(a, classes)
        self.strides = a.strides
        self.turn = turn if turn is not None and tuple(turn) != tuple(range(a.dim)) else None

    def fit(self, patch: tuple[int, ...]) -> None:
        """Says for each normalisation whether its channels are long. patch: of nnU-Net's own axes."""
        sizes, size = [], math.prod(patch)
        for strides in self.strides:
            size //= math.prod(strides)
            sizes.append(size)
        parts = [*zip(self.encoder.stages, sizes), *zip(self.decoder.stages, sizes[-2::-1])]
        if self.encoder.residual:
            parts.append((self.encoder.stem, sizes[0]))
        for part, size in parts:
            for m in part.modules():
                if isinstance(m, Norm):
                    m.long = size > LONG

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.turn is None:
            return self.decoder(self.encoder(x))
        there = (0, 1, *(t + 2 for t in self.turn))
        back = [there.index(i) for i in range(len(there))]
        return self.decoder(self.encoder(x.permute(there))).permute(back)


def keep(weights: dict, stages: int) -> dict:
    """The parameters of NNUNet in a checkpoint: each once, without the outputs of deep supervision."""
    last = f"decoder.seg_layers.{stages - 2}."
    out = {}
    for name, value in weights.items():
        name = name.removeprefix("module.").removeprefix("_orig_mod.")
        if name.startswith("decoder.encoder.") or ".all_modules." in name:
            continue
        if name.startswith("decoder.seg_layers.") and not name.startswith(last):
            continue
        out[name] = value
    return out
