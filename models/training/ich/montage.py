"""Slices with their labels as one picture, for looking at phantoms and at what a net does to a scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

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


def save(path: Path, picture: np.ndarray) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
