"""Slices with their labels as one picture, for looking at phantoms and at what a net does to a scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from .window import centre_of

# cavity green; IPH red, IVH blue, SAH yellow, SDH magenta, EDH cyan
COLOURS = np.array([[0, 0, 0], [0, 170, 0], [255, 40, 40], [40, 110, 255], [255, 255, 0], [255, 0, 255], [0, 255, 255]], float)


def montage(hu: np.ndarray, label: np.ndarray, columns: int = 8, limit: int = 40, window=(-20.0, 100.0), side: int = 230) -> np.ndarray:
    """RGB picture of at most `limit` slices (S, H, W), outlines of the label on top."""
    step = max(1, int(np.ceil(len(hu) / limit)))
    tiles = []
    for i in range(0, len(hu), step):
        gray = np.clip((hu[i] - window[0]) / (window[1] - window[0]), 0, 1) * 255
        rgb = np.repeat(gray[..., None], 3, -1)
        for k in range(1, 7):
            body = label[i] >= 1 if k == 1 else label[i] == k
            rgb[body & ~ndimage.binary_erosion(body)] = COLOURS[k]
        r, c = max((hu.shape[1] - side) // 2, 0), max((hu.shape[2] - side) // 2, 0)
        tiles.append(rgb[r : r + side, c : c + side].astype(np.uint8))
    while len(tiles) % columns:
        tiles.append(np.zeros_like(tiles[0]))
    return np.concatenate([np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)], 0)


def compare(scan, found: np.ndarray, columns: int = 10, side: int = 190, pixel_mm: float = 1.15) -> np.ndarray:
    """RGB picture of the slices with most to see: the image, the truth (if known) and what was found, one below the other.

    found (S, rows, columns) as Scan.label. Slices without blood in either are spread over the head.
    """
    labels = [found] if scan.label is None else [scan.label, found]
    brain = np.argwhere(labels[0] > 0)
    cy, cx = brain[:, 1:].mean(0) if len(brain) else centre_of(scan.hu)
    at = np.arange(side) - (side - 1) / 2
    rows, cols = (np.round(c + at * pixel_mm / s).astype(int) for c, s in zip((cy, cx), scan.spacing))
    inside = ((rows >= 0) & (rows < scan.hu.shape[1]))[:, None] & ((cols >= 0) & (cols < scan.hu.shape[2]))[None]
    grid = np.ix_(rows.clip(0, scan.hu.shape[1] - 1), cols.clip(0, scan.hu.shape[2] - 1))
    pick = _slices_to_show(labels, columns)
    strips = []
    for label in (None, *labels):
        tiles = []
        for z in pick:
            gray = np.where(inside, np.clip((scan.hu[z][grid] + 10) / 90, 0, 1) * 255, 0)
            rgb = np.repeat(gray[..., None], 3, -1)
            if label is not None:
                part = np.where(inside, label[z][grid], 0)
                for k in range(1, 7):
                    body = part >= 1 if k == 1 else part == k
                    rgb[body & ~ndimage.binary_erosion(body)] = COLOURS[k]
            tiles.append(rgb.astype(np.uint8))
        strips.append(np.concatenate(tiles, 1))
    return np.concatenate(strips, 0)


def _slices_to_show(labels: list[np.ndarray], count: int) -> list[int]:
    """Slices with most blood in any label, then others with brain, evenly spread."""
    blood = sum((x > 1).sum(axis=(1, 2)) for x in labels)
    pick = np.argsort(-blood, kind="stable")[: min(count, int((blood > 0).sum()))].tolist()
    rest = [z for z in np.flatnonzero((labels[0] > 0).any(axis=(1, 2))).tolist() if z not in pick]
    spread = np.linspace(0, len(rest) - 1, min(count - len(pick), len(rest))).round().astype(int)
    return sorted(pick + [rest[i] for i in spread]) or list(range(min(count, len(blood))))


def save(path: Path, picture: np.ndarray) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, "PNG")
