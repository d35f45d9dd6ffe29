"""Augmentation of a batch (2.3.2; views of the contrastive tasks 2.6.1), on whatever device the batch is.

The geometric steps are composed into one affine map a slice, so that slice and mask are interpolated once and alike. All
random numbers come from the generator that is handed in, on the CPU: a GPU run draws the same ones. All of it is in float32:
the coordinates of an autocast grid would be pixels off.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from ...warp import warp
from ..paper import NO_AUGMENTATION, Augmentation


def augment(x: torch.Tensor, mask: torch.Tensor | None, a: Augmentation, gen: torch.Generator) -> tuple[torch.Tensor, torch.Tensor | None]:
    """x (B, 1, H, W) in [0, 1], bilinear; mask (B, 1, H, W) bool or None, nearest. Outside the slice both are 0."""
    if a == NO_AUGMENTATION:
        return x, mask
    with torch.autocast(x.device.type, enabled=False):
        x, moved = warp(x, mask, affine(len(x), a, gen), x.shape[-2:])
        return intensity(x, a, gen), None if moved is None else moved > 0.5


def affine(n: int, a: Augmentation, gen: torch.Generator) -> torch.Tensor:
    """Maps (n, 2, 3) from places in the result to places in the slice, both in [-1, 1]: what `affine_grid` takes.

    The slice is moved, turned, scaled, mirrored, cropped; so the way back undoes these from the last to the first.
    """
    move = 2 * uniform(n, 2, low=-a.translate, high=a.translate, gen=gen)  # the side is 2 long
    angle = torch.deg2rad(uniform(n, low=-a.rotate, high=a.rotate, gen=gen))
    scale = uniform(n, low=a.scale[0], high=a.scale[1], gen=gen)
    mirror = 1 - 2 * (torch.rand(n, generator=gen) < a.flip).float()
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    back = torch.stack([torch.stack([cos * mirror, sin], 1), torch.stack([-sin * mirror, cos], 1)], 1)
    size, centre = _crop(n, a, gen)
    theta = torch.empty(n, 2, 3)
    theta[:, :, :2] = back * size[:, None, :]
    theta[:, :, 2] = (back @ centre[:, :, None])[:, :, 0] - move
    return theta


def _crop(n: int, a: Augmentation, gen: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Random crop that is resized to the whole: half sides (n, 2) and centres (n, 2) as x, y in [-1, 1]."""
    if a.crop is None:
        return torch.ones(n, 2), torch.zeros(n, 2)
    area = uniform(n, low=a.crop[0], high=a.crop[1], gen=gen)
    ratio = torch.exp(uniform(n, low=math.log(a.ratio[0]), high=math.log(a.ratio[1]), gen=gen))
    size = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1)
    return size, (1 - size) * uniform(n, 2, low=-1.0, high=1.0, gen=gen)


def intensity(x: torch.Tensor, a: Augmentation, gen: torch.Generator) -> torch.Tensor:
    """Contrast about the slice's mean, brightness, blur; each on its share of the slices (2.6.1.2)."""
    n = len(x)

    def some(low: float, high: float, otherwise: float) -> torch.Tensor:
        value = uniform(n, low=low, high=high, gen=gen)
        return torch.where(torch.rand(n, generator=gen) < a.chance, value, otherwise).to(x.device).view(n, 1, 1, 1)

    if a.contrast is not None:
        mean = x.mean((2, 3), keepdim=True)
        x = mean + (x - mean) * some(*a.contrast, 1.0)
    if a.brightness is not None:
        x = x * some(*a.brightness, 1.0)
    if a.contrast is not None or a.brightness is not None:
        x = x.clamp(0, 1)
    if a.blur is not None:
        per_pixel = x.shape[-1] / 256  # sigma is given at 256 x 256
        x = blur(x, some(*a.blur, 0.0) * per_pixel, math.ceil(3 * a.blur[1] * per_pixel))
    return x


def blur(x: torch.Tensor, sigma: torch.Tensor, radius: int) -> torch.Tensor:
    """Gaussian with a sigma for each slice; 0 leaves a slice as it is."""
    n, _, h, w = x.shape
    at = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (at / sigma.view(n, 1).clamp(min=1e-3)) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    x = F.pad(x.transpose(0, 1), (radius,) * 4, mode="replicate")  # slices as channels, each with its own kernel
    x = F.conv2d(x, kernel.view(n, 1, 1, -1), groups=n)
    return F.conv2d(x, kernel.view(n, 1, -1, 1), groups=n).transpose(0, 1)


def uniform(*shape: int, low: float, high: float, gen: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(*shape, generator=gen)
