"""What every data set is made of: volumes that are listed cheaply and read on demand as scans in one orientation.

Canonical orientation, whatever the file: columns run from the patient's right to the left (+x = L), rows from anterior to
posterior (+y = P), slices from inferior to superior. It follows from the affine or from ImageOrientationPatient, and no
voxel is resampled: a tilted stack stays tilted, and only the positions along its normal say where its slices lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..product.config import SUBTYPES

LABELS = ("any", *SUBTYPES)  # columns of Scan.labels
UNKNOWN = 255  # a label nobody gave
BLOOD = 1  # mask value: hemorrhage of a subtype nobody gave
FIRST_SUBTYPE = 2  # mask value of SUBTYPES[0]
AIR_HU = -1024.0  # paddings of -1500 and -3024 HU occur; nothing below air means anything
LONE_SLICE_MM = 5.0  # support of a slice without neighbours: the usual thickness of a head CT


class DataError(Exception):
    """What is wrong with which file, and what to do, in one line. Volumes are named by file, never by patient."""

    def __init__(self, file: Path | str, what: str, remedy: str):
        self.file, self.what, self.remedy = str(file), what, remedy
        super().__init__(" ".join(f"{self.file}: {what}; {remedy}".split()))

    def __reduce__(self):  # worker processes send it back
        return type(self), (self.file, self.what, self.remedy)


@dataclass
class Scan:
    """One volume in memory, canonical orientation."""

    hu: np.ndarray  # float32 (S, H, W), at least AIR_HU
    mask: np.ndarray | None  # uint8 (S, H, W): 0 none, 1 subtype unknown, 2..6 IPH IVH SAH SDH EDH; None: no voxel labels
    cavity: np.ndarray | None  # bool (S, H, W)
    labels: np.ndarray | None  # uint8 (S, 6), columns LABELS, 255 unknown
    spacing: tuple[float, float]  # row, column, mm
    positions: np.ndarray  # float64 (S,), mm along the normal, rising

    def voxel_ml(self) -> np.ndarray:
        """Millilitres of a voxel on each slice (S,): pixel area times the slice's own support, so uneven stacks measure right."""
        return self.spacing[0] * self.spacing[1] * support_mm(self.positions) / 1000


@dataclass(frozen=True)
class Volume:
    """A volume that `read` loads. Equal when data set and name are."""

    dataset: str
    name: str  # unique in the set
    group: str = field(compare=False)  # patient: all its volumes stay in one fold
    types: frozenset[str] = field(compare=False)  # subtypes known to occur; empty: none, or unknown
    bleeding: bool | None = field(compare=False)  # any hemorrhage; None: unknown
    load: Callable[[], Scan] = field(compare=False, repr=False)  # picklable, for worker processes
    files: tuple[Path, ...] = field(default=(), compare=False, repr=False)  # what load reads, for caches

    def read(self) -> Scan:
        """The scan. Raises DataError when a file is missing, damaged or does not fit the others."""
        return self.load()


def support_mm(positions: np.ndarray) -> np.ndarray:
    """Millimetres along the normal that each slice stands for: half way to each neighbour; at the ends the one gap counts whole."""
    z = np.asarray(positions, float)
    if len(z) < 2:
        return np.full(len(z), LONE_SLICE_MM)
    gaps = np.abs(np.diff(z))
    return (np.concatenate([gaps[:1], gaps]) + np.concatenate([gaps, gaps[-1:]])) / 2


def labels_of(mask: np.ndarray, types: frozenset[str] = frozenset()) -> np.ndarray:
    """Slice labels (S, 6) that a voxel mask implies.

    Slices without blood have no subtype. Where the mask does not name the subtype, the volume's types do: the only one
    that occurs is it, types that do not occur are 0, and the rest is unknown. Empty types: all unknown.
    """
    out = np.zeros((len(mask), len(LABELS)), np.uint8)
    for s, plane in enumerate(mask):
        counts = np.bincount(plane.ravel(), minlength=FIRST_SUBTYPE + len(SUBTYPES))
        out[s, 0] = counts[1:].any()
        out[s, 1:] = counts[FIRST_SUBTYPE:] > 0
        if counts[BLOOD]:
            for k, name in enumerate(SUBTYPES, 1):
                if not types or name in types:
                    out[s, k] = 1 if len(types) == 1 else int(out[s, k]) or UNKNOWN
    return out


def types_of(mask: np.ndarray) -> frozenset[str]:
    """Subtypes that a mask names."""
    counts = np.bincount(mask.ravel(), minlength=FIRST_SUBTYPE + len(SUBTYPES))
    return frozenset(name for k, name in enumerate(SUBTYPES) if counts[FIRST_SUBTYPE + k])
