"""From CT slices to network input and back. The Go program implements this file exactly; change both or neither.

A stack is float32 HU (S, rows, columns) in canonical orientation: columns run right to left of the patient (+x = L),
rows anterior to posterior (+y = P), slices inferior to superior; with the pixel spacing (row, column) and slice
positions in mm.

1. Slabs. Each slice stands for half the distance to either neighbour. Consecutive slices, from the first on, are averaged to slabs
   of about slab_mm: one more is taken where that brings the slab nearer to it. A slice of 0.6 * slab_mm or more is a slab of
   its own. Of evenly spaced thin slices round(slab_mm / spacing) make a slab; the last may be thinner. Every source slice
   takes its slab's result.
2. Window, on the source pixels (paper, section 2.3.1): v = clip((HU - low) / (high - low), 0, 1).
3. Resample to N x N of pixel_mm, centred on the mean row and column of all voxels above 150 HU of the stack (none: the
   image centre). Target t lies at c = centre + (t - (N - 1) / 2) * p / spacing; with s = max(1, p / spacing) source
   index i has weight max(0, 1 - |i - c| / s), divided by the sum over all integers i; outside the image the value is 0.
   pixel_mm = 0 is a plain resize: p / spacing = n / N and centre = (n - 1) / 2 on each axis.
4. Channels: slabs z - n .. z + n, the edge slab repeated.

Back: probabilities are read at source pixel centres by bilinear interpolation, 0 outside the grid, and thresholded there.
"""

from __future__ import annotations

import numpy as np

BONE_HU = 150.0


def slab_of(positions: np.ndarray, slab_mm: float) -> np.ndarray:
    """The slab of every slice."""
    thick, near = 0.594, 1.01  # of slab_mm; 3 mm of 5 mm are thick, whatever positions are rounded to
    gaps = np.abs(np.diff(np.asarray(positions, float)))
    if len(gaps) == 0:
        return np.zeros(len(positions), int)
    support = np.concatenate([gaps[:1], (gaps[:-1] + gaps[1:]) / 2, gaps[-1:]])
    of, held, alone = [], 0.0, True
    for k, mm in enumerate(support):
        own = bool(mm >= thick * slab_mm)
        begins = k > 0 and (alone or own or held + mm / 2 > near * slab_mm)
        of.append(of[-1] + begins if k else 0)
        held, alone = (0.0 if begins else held) + mm, own
    return np.array(of)


def slabs(hu: np.ndarray, positions: np.ndarray, slab_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Slab means (T, rows, columns) and, for every source slice, its slab."""
    of = slab_of(positions, slab_mm)
    if len(of) == 0 or of[-1] == len(of) - 1:
        return hu, of
    return np.stack([hu[of == z].mean(0) for z in range(of[-1] + 1)]), of


def window(hu: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((hu - low) / (high - low), 0.0, 1.0).astype(np.float32)


def centre_of(hu: np.ndarray) -> tuple[float, float]:
    """Mean row and column of bone, in source index coordinates."""
    bone = hu > BONE_HU
    total = int(bone.sum())
    if total == 0:
        return (hu.shape[1] - 1) / 2, (hu.shape[2] - 1) / 2
    rows = bone.sum(axis=(0, 2)) @ np.arange(hu.shape[1])
    cols = bone.sum(axis=(0, 1)) @ np.arange(hu.shape[2])
    return float(rows) / total, float(cols) / total


def geometry(n_source: int, spacing: float, centre: float, size: int, pixel_mm: float) -> tuple[float, float]:
    """Step in source pixels and the centre, for one axis."""
    if pixel_mm <= 0:
        return n_source / size, (n_source - 1) / 2
    return pixel_mm / spacing, centre


def down_matrix(n_source: int, spacing: float, centre: float, size: int, pixel_mm: float) -> np.ndarray:
    """Weights (size, n_source) of the antialiased triangle filter; rows sum to less than 1 where the image ends."""
    step, centre = geometry(n_source, spacing, centre, size, pixel_mm)
    at = centre + (np.arange(size) - (size - 1) / 2) * step
    s = max(1.0, step)
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(n_source)[None, :] - at[:, None]) / s)
    reach = int(np.ceil(s)) + 1
    near = np.floor(at)[:, None] + np.arange(-reach, reach + 1)[None, :]
    whole = np.maximum(0.0, 1.0 - np.abs(near - at[:, None]) / s).sum(1)
    return (weights / whole[:, None]).astype(np.float32)


def up_matrix(n_source: int, spacing: float, centre: float, size: int, pixel_mm: float) -> np.ndarray:
    """Weights (n_source, size) that read the network grid at source pixel centres, bilinear, 0 outside."""
    step, centre = geometry(n_source, spacing, centre, size, pixel_mm)
    at = (np.arange(n_source) - centre) / step + (size - 1) / 2
    return np.maximum(0.0, 1.0 - np.abs(np.arange(size)[None, :] - at[:, None])).astype(np.float32)


class Resampler:
    """Both directions for one stack and one network."""

    def __init__(self, hu: np.ndarray, spacing: tuple[float, float], size: int, pixel_mm: float, centre: tuple[float, float] | None = None):
        cy, cx = centre or centre_of(hu)
        args = (size, pixel_mm)
        self.rows = down_matrix(hu.shape[1], spacing[0], cy, *args)
        self.cols = down_matrix(hu.shape[2], spacing[1], cx, *args)
        self.back_rows = up_matrix(hu.shape[1], spacing[0], cy, *args)
        self.back_cols = up_matrix(hu.shape[2], spacing[1], cx, *args)

    def down(self, image: np.ndarray) -> np.ndarray:
        """(..., rows, columns) -> (..., N, N)"""
        return np.matmul(np.matmul(self.rows, image), self.cols.T)

    def up(self, grid: np.ndarray) -> np.ndarray:
        """(..., N, N) -> (..., rows, columns)"""
        return np.matmul(np.matmul(self.back_rows, grid), self.back_cols.T)


def channels(stack: np.ndarray, neighbours: int) -> np.ndarray:
    """(T, N, N) -> (T, 2 * neighbours + 1, N, N), inferior first."""
    t = np.arange(len(stack))
    return np.stack([stack[np.clip(t + o, 0, len(stack) - 1)] for o in range(-neighbours, neighbours + 1)], 1)
