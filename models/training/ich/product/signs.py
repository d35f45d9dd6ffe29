"""What is known about each connected part of what a network marked: the evidence that it is blood, and where it lies.

The Go program computes the same numbers (pipeline/bleed/signs.go); both are tested with pipeline/testdata/reading.json.
All distances are within the slice. Arrays are (S, rows, columns), canonical orientation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

RING_MM = (2.0, 6.0)  # surroundings of a part: beyond its blurred edge
BESIDE_MM = 3.0  # this near is beside
TABLE_MM = 4.0  # this near to the border of the cavity is at the inner table
FALX_MM = 5.0  # this near to the middle is at the falx
LIQUOR_HU = 18  # at most: liquor, smoothed by nothing
HU_RANGE = (0, 100)  # HU are clipped to it: bone and air beside a part say nothing about it
MOST_MM = 100.0  # distances end here
NO_RING_HU = 30  # of surroundings that nothing shows: brain

NAMES = ("mass", "mean", "peak", "contrast", "thickness", "depth", "table", "falx", "asymmetry", "other")


SUMS = ("ml", "mass", "hu", "depth", "table", "falx", "mirror", "mirror_ml", "opposite", "beside", "liquor")


@dataclass(frozen=True)
class Sums:
    """What was added up over each part (0 is nobody), in mL where nothing else is said: see `signs_of` for what it means."""

    of: dict[str, np.ndarray]  # SUMS
    peak: np.ndarray
    deepest: np.ndarray
    ring: np.ndarray  # (parts, HU)

    def grouped(self, group: np.ndarray, count: int) -> "Sums":
        """The same for groups of parts; group[part] is 0 (none) or 1 .. count."""
        def added(v):
            out = np.zeros((count + 1, *v.shape[1:]))
            np.add.at(out, group, v)
            return out

        def most(v):
            out = np.zeros(count + 1)
            np.maximum.at(out, group, v)
            return out

        return Sums({k: added(v) for k, v in self.of.items()}, most(self.peak), most(self.deepest), added(self.ring))


@dataclass(frozen=True)
class Signs:
    """One value a part, in the order of the parts, from 1 on.

    ml; mass: mL times probability; mean and peak probability; contrast: mean HU less the median of the surroundings;
    thickness_mm: twice the deepest point of the part; depth_mm: mean distance to the inner table; table, falx: share at
    the inner table, at the middle; asymmetry: mean HU less that of the mirrored place; liquor: share of what is beside
    that is liquor; opposite: share of the mirrored place that is liquor or blood.
    """

    ml: np.ndarray
    mass: np.ndarray
    mean: np.ndarray
    peak: np.ndarray
    contrast: np.ndarray
    thickness_mm: np.ndarray
    depth_mm: np.ndarray
    table: np.ndarray
    falx: np.ndarray
    asymmetry: np.ndarray
    liquor: np.ndarray
    opposite: np.ndarray

    def features(self) -> np.ndarray:
        """(parts, NAMES): the numbers that the evidence is made of."""
        return np.stack([
            np.log10(self.mass + 0.01), self.mean, self.peak, self.contrast / 10, np.minimum(self.thickness_mm, 20) / 10,
            np.minimum(self.depth_mm, 40) / 10, self.table, self.falx, self.asymmetry / 10,
            np.log10(self.mass.sum() - self.mass + 0.1)], axis=1)


def signs_of(s: Sums) -> Signs:
    own = {k: v[1:] for k, v in s.of.items()}
    ml, other, beside = (np.maximum(own[k], 1e-9) for k in ("ml", "mirror_ml", "beside"))
    inside = own["hu"] / ml
    mirrored = np.where(own["mirror_ml"] > 0, own["mirror"] / other, inside)
    return Signs(own["ml"], own["mass"], own["mass"] / ml, s.peak[1:], inside - _medians(s.ring[1:]), 2 * s.deepest[1:], own["depth"] / ml,
                 own["table"] / ml, own["falx"] / ml, inside - mirrored, own["liquor"] / beside, own["opposite"] / other)


@dataclass(frozen=True)
class Middle:
    """The sagittal plane: column = a + b row + c z, in mm from the first column, row and slice."""

    a: float
    b: float
    c: float

    def columns(self, rows: np.ndarray, z: np.ndarray) -> np.ndarray:
        return self.a + self.b * rows + self.c * z


def middle_of(cavity: np.ndarray, spacing: tuple[float, float], positions: np.ndarray) -> Middle:
    """Half way between the left and the right wall, over the slices whose cavity is half as large as the largest and more:
    least squares in three rounds, each without the points that the last one left far off."""
    area = cavity.sum(axis=(1, 2))
    points = []
    for k in np.flatnonzero((2 * area >= area.max()) & (area > 0)):
        for r in np.flatnonzero(cavity[k].any(axis=1)):
            f = np.flatnonzero(cavity[k, r])
            if (f[-1] - f[0]) * spacing[1] > 60:
                points.append((r * spacing[0], positions[k] - positions[0], (f[0] + f[-1]) / 2 * spacing[1]))
    if len(points) < 20:
        columns = np.flatnonzero(cavity.any(axis=(0, 1)))
        at = (columns[0] + columns[-1]) / 2 if len(columns) else (cavity.shape[2] - 1) / 2
        return Middle(at * spacing[1], 0.0, 0.0)
    p = np.array(points)
    p0 = p[:, :2].mean(axis=0)
    design = np.column_stack([np.ones(len(p)), p[:, :2] - p0])
    keep = np.ones(len(p), bool)
    for _ in range(3):
        d = design[keep]
        a, b, c = np.linalg.solve(d.T @ d + np.diag([0, 1e-6, 1e-6]), d.T @ p[keep, 2])
        off = np.abs(design @ np.array([a, b, c]) - p[:, 2])
        keep = off <= max(2.5 * float(np.sort(off)[len(off) // 2]), 0.5)
    return Middle(float(a - b * p0[0] - c * p0[1]), float(b), float(c))


def sums_of(parts: np.ndarray, count: int, any_: np.ndarray, hu: np.ndarray, cavity: np.ndarray, spacing: tuple[float, float],
            positions: np.ndarray, slice_ml: np.ndarray) -> Sums:
    """parts: 1 .. count, 0 is no blood; any_: probability of hemorrhage; the cavity may be cropped, but not closer than a pixel."""
    of = {k: np.zeros(count + 1) for k in SUMS}
    peak, deepest, ring = np.zeros(count + 1), np.zeros(count + 1), np.zeros((count + 1, HU_RANGE[1] + 1))
    middle = middle_of(cavity, spacing, positions) if count else None
    y, x = (np.arange(n) * s for n, s in zip(parts.shape[1:], spacing))
    for z in np.flatnonzero(parts.any(axis=(1, 2))):
        blood, ml = parts[z] > 0, slice_ml[z]
        r, c = np.nonzero(blood)
        p = parts[z][r, c]
        clipped = np.clip(hu[z], *HU_RANGE)
        depth = np.minimum(_distance(cavity[z], spacing)[r, c], MOST_MM)
        at = middle.columns(y[r], positions[z] - positions[0])
        for key, v in (("ml", 1.0), ("mass", any_[z][r, c]), ("hu", clipped[r, c]), ("depth", depth), ("table", depth <= TABLE_MM),
                       ("falx", np.abs(x[c] - at) <= FALX_MM)):
            np.add.at(of[key], p, v * ml)
        np.maximum.at(peak, p, any_[z][r, c])
        np.maximum.at(deepest, p, np.minimum(_distance(blood, spacing)[r, c], MOST_MM))
        other = np.floor((2 * at - x[c]) / spacing[1] + 0.5 + 1e-9).astype(int)
        seen = (other >= 0) & (other < len(x))
        seen[seen] = cavity[z][r[seen], other[seen]]
        to, of_whom = (r[seen], other[seen]), p[seen]
        for key, v in (("mirror", clipped[to]), ("mirror_ml", 1.0), ("opposite", (clipped[to] <= LIQUOR_HU) | blood[to])):
            np.add.at(of[key], of_whom, v * ml)
        away = _distance(~blood, spacing)
        around = cavity[z] & (away > RING_MM[0]) & (away <= RING_MM[1])
        near = cavity[z] & ~blood & (away <= BESIDE_MM)
        whole = np.floor(clipped + 0.5).astype(int)
        for k, box in _boxes(p, r, c, spacing):
            ring[k] += np.bincount(whole[box][around[box]], minlength=ring.shape[1]) * ml
            of["beside"][k] += near[box].sum() * ml
            of["liquor"][k] += (near[box] & (clipped[box] <= LIQUOR_HU)).sum() * ml
    return Sums(of, peak, deepest, ring)


def _distance(mask: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """mm from each pixel of a mask to the nearest one outside, by centres."""
    return np.full(mask.shape, np.inf) if mask.all() else ndimage.distance_transform_edt(mask, sampling=spacing)


def _boxes(p: np.ndarray, r: np.ndarray, c: np.ndarray, spacing: tuple[float, float]):
    """Each part of a slice with the box around it that holds its surroundings."""
    order = np.argsort(p, kind="stable")
    p, r, c = p[order], r[order], c[order]
    starts = np.flatnonzero(np.r_[True, p[1:] != p[:-1]])
    up, side = (int(RING_MM[1] / s) + 1 for s in spacing)
    low, high = np.minimum.reduceat, np.maximum.reduceat
    for k, r0, r1, c0, c1 in zip(p[starts], low(r, starts), high(r, starts), low(c, starts), high(c, starts)):
        yield k, (slice(max(r0 - up, 0), r1 + up + 1), slice(max(c0 - side, 0), c1 + side + 1))


def _medians(histograms: np.ndarray) -> np.ndarray:
    """Least HU that half of each histogram reaches; NO_RING_HU where it is empty."""
    total = histograms.sum(axis=1, keepdims=True)
    half = (np.cumsum(histograms, axis=1) >= total / 2 - 1e-9).argmax(axis=1)
    return np.where(total[:, 0] > 0, half, NO_RING_HU).astype(float)
