"""Training samples: phantoms rendered once into a cache folder, augmented anew at every visit.

A cache file `p<seed>.npy` is uint8 (S, 5, 288, 288): tissue, bone and bleed window on the 1 mm grid of `window.py`,
the label (0 outside, 1 cavity, 2.. subtypes, 255 blood that nobody could see) and the healthy tissue (`scanner.TISSUES`, 255 none). S is made of stretches of RUN consecutive slices. The grid is larger
than the network's so that turning and shifting uncovers no black corners; a network of coarser pixels samples it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from .config import Settings
from ..datasets.volume import DataError
from ..files import whole
from ..heads.phantom.scanner import NO_TISSUE
from ..heads.phantom.study import Phantom, generate, one_thread
from ..warp import warp
from .window import Resampler, window

WINDOWS = {"cavity-tissue": (0.0, 600.0), "cavity-bone": (150.0, 650.0), "bleed": (-50.0, 150.0)}
PLANE = {"cavity-tissue": 0, "cavity-bone": 1, "bleed": 2}
PLANES = 5
FACE_EVERY = 4  # of slices below the brain, which teach little, one in so many is used
RUN, RUNS, MARGIN_SIZE, PIXEL_MM = 7, 2, 288, 1.0
REACH_MM, SHIFT_MM = 105.0, 13.0  # crops reach the edge of a long head; whole heads still move
UNSEEN, UNSEEN_SHARE = 255, 0.3  # label of blood without contrast, which losses leave out; from this share of a pixel
CURVE_HU, CURVE_MOVES = (-20.0, 8.0, 28.0, 38.0, 60.0), (0.0, 4.0, 2.5, 2.0, 0.0)  # where tissues lie; how far each may move
HELD_OUT = 9_000_000  # seeds from here on never enter a training cache


def encode(p: Phantom, size: int = MARGIN_SIZE, pixel_mm: float = PIXEL_MM) -> np.ndarray:
    """Windows, label and tissue of a phantom on the network grid, uint8 (S, 5, size, size)."""
    to = Resampler(p.hu, (p.pixel, p.pixel), size, pixel_mm)
    out = np.empty((len(p.hu), PLANES, size, size), np.uint8)
    for role, plane in PLANE.items():
        out[:, plane] = np.round(to.down(window(p.hu, *WINDOWS[role])) * 255)
    share = np.stack([to.down((p.label == k).astype(np.float32)) for k in range(1, 7)])  # areas, so volumes survive
    cavity, blood = share.sum(0) > 0.5, share[1:]
    bleeding = cavity & (blood.sum(0) > 0.5 * share.sum(0))
    label = np.where(bleeding, blood.argmax(0) + 2, cavity.astype(np.uint8))
    if p.unseen is not None:
        label[cavity & (to.down(p.unseen.astype(np.float32)) > UNSEEN_SHARE)] = UNSEEN
    out[:, 3], out[:, 4] = label, NO_TISSUE
    if p.tissue is not None:  # the nearest pixel; outside the image nothing is known
        rows, cols = to.rows.argmax(1), to.cols.argmax(1)
        known = (to.rows.sum(1) > 0.5)[:, None] & (to.cols.sum(1) > 0.5)
        out[:, 4] = np.where(known, p.tissue[:, rows][:, :, cols], NO_TISSUE)
    return out


@one_thread
def write_phantoms(folder: Path, seeds: Iterable[int], without: tuple[str, ...] = ()) -> None:
    """Render phantoms that are not there yet; a file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = folder / f"p{seed}.npy"
        if path.exists():
            continue
        data = np.concatenate([encode(p) for p in generate(seed, runs=RUNS, slices=RUN, without=without)])
        with whole(path) as part, part.open("wb") as f:
            np.save(f, data)


class Cache:
    """All phantoms of a folder in memory; `refresh` picks up what the generator has written since."""

    def __init__(self, folder: Path, settings: Settings):
        self.folder, self.settings = Path(folder), settings
        self.images: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []
        self.tissues: list[np.ndarray | None] = []
        self.seen: set[str] = set()
        self.bleeding: list[tuple[int, int]] = []  # (phantom, slice) whose label has blood
        self.other: list[tuple[int, int]] = []
        self.by_subtype: list[list[tuple[int, int]]] = [[] for _ in range(5)]

    def refresh(self) -> int:
        """Number of phantoms known after the scan."""
        for path in sorted(self.folder.glob("p*.npy")):
            if path.name in self.seen:
                continue
            self.seen.add(path.name)
            data = np.load(path)
            if data.shape[1:] != (PLANES, MARGIN_SIZE, MARGIN_SIZE):
                raise DataError(path, f"not slices of {MARGIN_SIZE} pixels of {PIXEL_MM:g} mm", "rendered by another version: render into an empty folder")
            i = len(self.images)
            self.images.append(np.ascontiguousarray(data[:, PLANE[self.settings.role]]))
            self.labels.append(np.ascontiguousarray(data[:, 3]))
            self.tissues.append(np.ascontiguousarray(data[:, 4]) if self.settings.tissues else None)
            n = self.settings.neighbours
            for s in range(len(data)):
                if not n <= s % RUN < RUN - n:
                    continue
                counts = np.bincount(self.labels[i][s].ravel(), minlength=7)[2:7]
                if counts.sum() > 12:
                    self.bleeding.append((i, s))
                elif (self.labels[i][s] == 1).any() or s % FACE_EVERY == 0:
                    self.other.append((i, s))
                for k in np.flatnonzero(counts > 12):
                    self.by_subtype[k].append((i, s))
        return len(self.images)

    def batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (B, C, 288, 288) in [0, 1] and labels (B, 288, 288), before augmentation. With `tissues`, the labels are (B, 2, 288, 288),
        blood and healthy tissue."""
        cfg = self.settings
        picks = []
        for _ in range(cfg.batch):
            if rng.random() < cfg.positive_share and self.bleeding:
                share = np.array([w if k else 0.0 for w, k in zip(cfg.subtype_share, self.by_subtype)])
                even = share.any() and rng.random() < 0.6  # rare subtypes as often as common ones, thin ones more often
                pool = self.by_subtype[rng.choice(5, p=share / share.sum())] if even else self.bleeding
            elif cfg.positive_share == 0:
                pool = self.bleeding if rng.random() < len(self.bleeding) / (len(self.bleeding) + len(self.other)) else self.other
            else:
                pool = self.other
            picks.append(pool[rng.integers(len(pool))])
        n = cfg.neighbours
        x = np.stack([self.images[i][s - n : s + n + 1] for i, s in picks])
        y = np.stack([self.labels[i][s] for i, s in picks])
        if cfg.tissues:
            y = np.stack([y, np.stack([self.tissues[i][s] for i, s in picks])], 1)
        return torch.from_numpy(x).float() / 255, torch.from_numpy(y).long()


def sample(x: torch.Tensor, y: torch.Tensor, theta: torch.Tensor, size: int, pixel_mm: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels on `size` pixels of pixel_mm, read from cached grids where theta (B, 2, 3) says; its shifts are in mm."""
    half = x.shape[-1] * PIXEL_MM / 2
    theta = torch.cat([theta[:, :, :2] * (size * pixel_mm / 2), theta[:, :, 2:]], 2) / half
    many = y if y.dim() == 4 else y[:, None]
    x, many = warp(x, many, theta, (size, size))
    return x, many.long() if y.dim() == 4 else many[:, 0].long()


def augment(x: torch.Tensor, y: torch.Tensor, cfg: Settings, gen: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn, scale, shift, mirror (paper 2.3.2, wider), then intensity: a curve of its own for the tissues, offset, gain, glow along
    bone, grain."""
    b = len(x)
    rand = lambda *s: torch.rand(*s, generator=gen)  # noqa: E731
    most = torch.where(rand(b) < 0.4, 60.0, 25.0)  # some heads lie turned: then the sinus at the midline lies where a subdural would
    angle = torch.deg2rad((rand(b) * 2 - 1) * most)
    zoom = 0.87 + 0.3 * rand(b)
    stretch = 1 + 0.08 * (rand(b) * 2 - 1)
    mirror = torch.where(rand(b) < 0.5, -1.0, 1.0)
    theta = torch.zeros(b, 2, 3)
    theta[:, 0, 0] = torch.cos(angle) * mirror * zoom * stretch
    theta[:, 0, 1] = -torch.sin(angle) * zoom
    theta[:, 1, 0] = torch.sin(angle) * mirror * zoom
    theta[:, 1, 1] = torch.cos(angle) * zoom / stretch
    shift = max(SHIFT_MM, REACH_MM - cfg.train_size * cfg.pixel_mm / 2)
    theta[:, :, 2] = (rand(b, 2) * 2 - 1) * shift
    x, y = sample(x, y, theta, cfg.train_size, cfg.pixel_mm)
    hu = 1.0 / (cfg.window_hu[1] - cfg.window_hu[0])  # one HU in window units
    if cfg.role == "bleed":
        x = _curve(x, cfg.window_hu, rand)
        if cfg.rim:
            x = _glow(x, y if y.dim() == 3 else y[:, 0], hu, cfg.pixel_mm, rand)
        dim = (b, 1, 1, 1)
        offset = (rand(*dim) * 2 - 1) * (8 + 16 * (rand(*dim) < 0.2))  # vertex slices of real heads lie 15 HU too high
        x = x + offset * hu * (x > 0.02)
        x = (x - 0.4) * (1 + 0.12 * (rand(*dim) * 2 - 1)) + 0.4
        blur = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
        mix = rand(*dim) * (rand(*dim) < 0.35)
        x = x + mix * (blur - x)
        grain = torch.randn(x.shape, generator=gen)
        x = x + grain * (rand(*dim) * 4 * hu) * (x > 0.02)
    else:
        x = x * (1 + 0.2 * (rand(b, 1, 1, 1) * 2 - 1)) + (rand(b, 1, 1, 1) * 2 - 1) * 12 * hu * (x > 0.01)
    return x.clamp(0, 1), y


def _curve(x: torch.Tensor, window_hu: tuple[float, float], rand) -> torch.Tensor:
    """Liquor, white and gray matter of each sample darker or brighter by a few HU each, what lies between them in between: the contrast
    of tissues differs from scanner to scanner. Blood from 60 HU on keeps its density."""
    low, high = window_hu
    knots = torch.tensor(CURVE_HU)
    moved = (rand(len(x), len(CURVE_HU)) * 2 - 1) * torch.tensor(CURVE_MOVES)
    out = x
    for k in range(1, len(CURVE_HU) - 1):  # a tent around each knot
        at = x * (high - low) + low
        left, right = (at - knots[k - 1]) / (knots[k] - knots[k - 1]), (knots[k + 1] - at) / (knots[k + 1] - knots[k])
        out = out + torch.minimum(left, right).clamp(0, 1) * (moved[:, k] / (high - low))[:, None, None, None]
    return out


def _glow(x: torch.Tensor, y: torch.Tensor, hu: float, pixel_mm: float, rand) -> torch.Tensor:
    """Bright rim that follows the bone, on half of the slices, independent of blood: the enemy on real heads."""
    b = len(x)
    bone = (x > 0.98).float().flatten(0, 1)[:, None]
    wide = bone
    radius = round((3 + 4.5 * rand(1).item()) / pixel_mm)
    for k, pad in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))) * 2:
        wide = F.avg_pool2d(wide, k, 1, pad, count_include_pad=True)
    wide = wide.view_as(x)
    patch = F.interpolate(rand(b, 1, 5, 5) * 1.6 - 0.3, size=x.shape[-2:], mode="bicubic", align_corners=False)
    sign = torch.where(rand(b, 1, 1, 1) < 0.2, -0.5, 1.0)  # overcorrected scanners leave a dark rim instead
    gain = sign * rand(b, 1, 1, 1) ** 1.5 * 90 * (rand(b, 1, 1, 1) < 0.5) * patch.clamp(0, 1.5)
    gain = gain * (0.6 + 0.8 * rand(b, x.shape[1], 1, 1))  # another strength on each neighbouring slice
    brain = (y[:, None] > 0) & (x < 0.98)
    return x + wide * gain * hu * brain
