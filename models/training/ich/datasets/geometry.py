"""Canonical orientation from an affine, by turning and mirroring axes only.

World coordinates here are DICOM's LPS in mm; a NIfTI affine is RAS and is converted. A sheared affine (gantry tilt: slices
are not stacked along their normal) is as good as any: spacing is the length of the in-plane steps, slice positions are
measured along the normal of the planes, so that area times position difference is the true volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Frame:
    """How a stored array (a, b, c) becomes (S, H, W), and where its slices lie then."""

    axes: tuple[int, int, int]  # stored axis that becomes slice, row, column
    flips: tuple[bool, bool, bool]  # of slice, row, column
    row: np.ndarray  # LPS step of one row, of one column, of one slice, after flips
    column: np.ndarray
    slice: np.ndarray
    corner: np.ndarray  # LPS of stored voxel (0, 0, 0)

    @staticmethod
    def of(affine: np.ndarray) -> "Frame":
        """From an LPS affine (4, 4) of stored indices. ValueError: it maps no volume."""
        m = np.asarray(affine, float)
        steps = m[:3, :3]
        length = np.linalg.norm(steps, axis=0)
        if not np.isfinite(m).all() or (length < 1e-6).any() or abs(np.linalg.det(steps / np.maximum(length, 1e-6))) < 1e-3:
            raise ValueError("the affine is singular")
        unit = np.abs(steps / length)
        # world axes 0 L, 1 P, 2 S; the assignment with the largest sum of cosines
        column, row, slice_ = max(permutations(range(3)), key=lambda p: sum(unit[w, a] for w, a in enumerate(p)))
        axes = (slice_, row, column)
        flips = tuple(bool(steps[w, a] < 0) for w, a in ((2, slice_), (1, row), (0, column)))
        s, r, c = (steps[:, a] * (-1 if f else 1) for a, f in zip(axes, flips))
        return Frame(axes, flips, r, c, s, m[:3, 3])

    @property
    def spacing(self) -> tuple[float, float]:
        """Row and column spacing, mm."""
        return float(np.linalg.norm(self.row)), float(np.linalg.norm(self.column))

    @property
    def normal(self) -> np.ndarray:
        """Unit normal of the slices, towards superior."""
        n = np.cross(self.column, self.row)
        return n / np.linalg.norm(n)

    def positions(self, count: int) -> np.ndarray:
        """Slice positions along the normal, mm, rising. ValueError: slices do not advance."""
        step = float(self.slice @ self.normal)
        if step < 1e-3:
            raise ValueError("slices do not advance along their normal")
        first = float(self.corner @ self.normal) - (step * (count - 1) if self.flips[0] else 0.0)
        return first + step * np.arange(count)

    def turn(self, stored: np.ndarray) -> np.ndarray:
        """Stored array to (S, H, W), contiguous."""
        out = stored.transpose(self.axes)
        return np.ascontiguousarray(out[tuple(slice(None, None, -1 if f else 1) for f in self.flips)])

    def same_axes(self, other: "Frame") -> bool:
        return self.axes == other.axes and self.flips == other.flips
