"""Smooth fields on a coarse grid: the material phantoms are made of.

Every structure is a signed distance in mm, negative inside, sampled on a 2 mm grid. A distance is smooth, so
interpolating it and thresholding afterwards places a surface far more exactly than the grid it is stored on: a
3 mm orbital roof survives a 2 mm grid. Sheets thinner than the grid (falx, sulci) are stored as signed coordinates
whose zero set is the sheet; their absolute value is taken after interpolation.

Axes of every array are (z, y, x): z to superior, y to posterior, x to left, so that +x and +y are the directions of
rising column and row of an axial slice read head first supine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FAR = np.float32(60.0)  # mm; "nowhere near": where a field was not evaluated


@dataclass(frozen=True)
class Grid:
    """Regular grid in scanner coordinates, mm. The default holds a head with its neck to the lower jaw."""

    low: tuple[float, float, float] = (-134.0, -126.0, -104.0)  # z, y, x of the first node
    shape: tuple[int, int, int] = (124, 127, 105)
    step: float = 2.0

    def axis(self, i: int) -> np.ndarray:
        return (self.low[i] + self.step * np.arange(self.shape[i])).astype(np.float32)

    def voxel_ml(self) -> float:
        return self.step**3 / 1000.0


def wider(rng: np.random.Generator, widen: float):
    """Uniform draws from [low, high] made longer by `widen` of its width at both ends: heads to measure on lie partly outside
    what was trained on. 0 changes nothing."""
    return lambda low, high: float(rng.uniform(low - widen * (high - low), high + widen * (high - low)))


def spline_matrix(targets: int, nodes: int) -> np.ndarray:
    """Uniform cubic B-spline weights (targets, nodes) of targets spread evenly over the inner nodes."""
    at = np.linspace(1.0, nodes - 2.001, targets)
    base = np.floor(at).astype(int)
    u = at - base
    weights = np.stack([(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3], 1) / 6.0
    out = np.zeros((targets, nodes), np.float32)
    for k in range(4):
        out[np.arange(targets), np.clip(base - 1 + k, 0, nodes - 1)] += weights[:, k]
    return out


def spread(coarse: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Cubic B-spline through random coefficients, axis by axis: smooth noise for the price of small matrix products."""
    out = coarse.astype(np.float32)
    for axis, n in enumerate(shape):
        m = spline_matrix(n, out.shape[axis])
        out = np.moveaxis(np.tensordot(m, out, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(out)


def noise(rng: np.random.Generator, grid: Grid, wavelength_mm: float) -> np.ndarray:
    """Smooth random field on the grid, mean 0, standard deviation 1."""
    nodes = [int(np.ceil(n * grid.step / wavelength_mm * 2)) + 3 for n in grid.shape]
    field = spread(rng.standard_normal(nodes), grid.shape)
    field -= field.mean()
    return field / (field.std() + 1e-6)


def ellipsoid(x, y, z, centre, radii, power: float = 2.0):
    """Radial distance to a (super)ellipsoid, mm; radii are (x, y, z) or (x, y, z up, z down)."""
    dx, dy, dz = x - centre[0], y - centre[1], z - centre[2]
    rz = radii[2] if len(radii) == 3 else np.where(dz > 0, np.float32(radii[2]), np.float32(radii[3]))
    if power == 2.0:
        k = np.sqrt((dx / radii[0]) ** 2 + (dy / radii[1]) ** 2 + (dz / rz) ** 2)
    else:
        k = (np.abs(dx / radii[0]) ** power + np.abs(dy / radii[1]) ** power + np.abs(dz / rz) ** power) ** (1 / power)
    r = np.sqrt(dx * dx + dy * dy + dz * dz)
    k = np.maximum(k, 1e-3)
    return (r - r / k).astype(np.float32)


def capsule(x, y, z, a, b, ra: float, rb: float | None = None):
    """Distance to a rod from a to b whose radius runs from ra to rb."""
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    ab = b - a
    t = ((x - a[0]) * ab[0] + (y - a[1]) * ab[1] + (z - a[2]) * ab[2]) / np.float32(ab @ ab)
    t = np.clip(t, 0.0, 1.0)
    d = np.sqrt((x - a[0] - t * ab[0]) ** 2 + (y - a[1] - t * ab[1]) ** 2 + (z - a[2] - t * ab[2]) ** 2)
    return (d - (ra + (ra if rb is None else rb - ra) * (t if rb is not None else 0.0))).astype(np.float32)


def smin(a, b, k: float):
    """Union of two bodies with a fillet of about k mm."""
    h = np.clip(0.5 + 0.5 * (b - a) / k, 0.0, 1.0)
    return b + (a - b) * h - k * h * (1.0 - h)


def smax(a, b, k: float):
    """Intersection of two bodies with a rounded edge of about k mm."""
    return -smin(-a, -b, k)


def weighted_threshold(field: np.ndarray, weight: np.ndarray, total: float) -> float:
    """The level below which the weights add up to total: how a lesion gets its volume without iteration."""
    order = np.argsort(field, kind="stable")
    cum = np.cumsum(weight[order])
    if len(order) == 0 or cum[-1] <= 0:
        return float(-FAR)
    i = min(int(np.searchsorted(cum, total)), len(order) - 1)
    return float(field[order[i]])


def rotation(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """Rotation matrix for (x, y, z) vectors; degrees: nodding, turning, tilting the head."""
    p, w, r = np.deg2rad([pitch, yaw, roll])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(w), -np.sin(w), 0], [np.sin(w), np.cos(w), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(r), 0, np.sin(r)], [0, 1, 0], [-np.sin(r), 0, np.cos(r)]])
    return (about_x @ about_y @ about_z).astype(np.float32)
