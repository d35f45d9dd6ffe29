"""A scan on its way through evaluation: voxels, geometry, what is known about its blood; and how scans come from disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .config import SUBTYPES
from ..datasets.volume import DataError, support_mm

ACUTE_HU = 55.0  # drawn density from which blood counts as acute; below it is isodense with cortex


@dataclass(frozen=True)
class Bleed:
    """A hemorrhage that was put into a scan; a scan holds at most one of each subtype."""

    subtype: str
    hu: float  # mean density of the blood itself, before partial volume and noise
    target_ml: float  # asked for; what is visible is in the label

    @property
    def acute(self) -> bool:
        return self.hu >= ACUTE_HU


@dataclass
class Scan:
    """hu (S, rows, columns) canonical; spacing (row, column) mm; positions mm.

    label (S, rows, columns): 0 outside, 1 cavity, 2.. subtypes; None: unknown. `kind` says where it comes from:
    "phantom", "sample", "scan" (real, no acute blood), "painted" (real, with painted blood). unseen, bool of the same shape: blood without
    contrast, which the label calls cavity; None: there is none.
    """

    hu: np.ndarray
    spacing: tuple[float, float]
    positions: np.ndarray
    label: np.ndarray | None = None
    name: str = ""
    kind: str = ""
    bleeds: tuple[Bleed, ...] = field(default=())
    unseen: np.ndarray | None = None

    def counted(self, found: np.ndarray, none: int = 1) -> np.ndarray:
        """What was found, without what lies in blood that no reader would have labelled: that is neither right nor wrong. none: the value
        that means no blood."""
        return found if self.unseen is None else np.where(self.unseen, found.dtype.type(none), found)

    def slice_ml(self) -> np.ndarray:
        """Millilitres of a voxel on each slice (S,): pixel area times the slice's own support."""
        return self.spacing[0] * self.spacing[1] * support_mm(self.positions) / 1000

    def ml(self, mask: np.ndarray) -> float:
        """Millilitres of a mask (S, rows, columns)."""
        return float(mask.sum(axis=(1, 2)) @ self.slice_ml())


def volumes(label: np.ndarray, scan: Scan) -> dict[str, float]:
    """Millilitres of each subtype and in total."""
    out = {k: scan.ml(label == i + 2) for i, k in enumerate(SUBTYPES)}
    return {"total": sum(out.values()), **out}


def read_sample(path: Path) -> Scan:
    """A sample study of the product."""
    from ..heads.phantom.sample import SAMPLES, read

    study, hu, label = read(path)
    plan = next((s.plan for s in SAMPLES if s.name == path.stem), None)
    bleeds = tuple(Bleed(k, hu_, ml) for k, ml, hu_ in plan.bleeds) if plan else ()
    positions = np.array([p[2] for p in study["positions_mm"]])
    return Scan(hu, tuple(study["pixel_spacing_mm"]), positions, label, path.stem, "sample", bleeds)


def read_scan(path: Path) -> Scan:
    """A real head: the folder of one axial CT series, or a NIfTI file."""
    from ..datasets import dicom, nifti

    path = Path(path)
    if path.is_dir():
        files = tuple(sorted(f for f in path.iterdir() if f.is_file() and not f.name.startswith(".") and f.name != "DICOMDIR"))
        if len(files) < 2:
            raise DataError(path, f"{len(files)} files", "give the folder of one axial CT series, or a NIfTI file")
        hu, spacing, positions = (s := dicom.read(files)).hu, s.spacing, s.positions
    else:
        image = nifti.read(path)
        hu, spacing, positions = image.hu(), image.frame.spacing, image.positions()
    return Scan(hu, spacing, np.asarray(positions, float), None, name_of(path), "scan")


def name_of(path: Path) -> str:
    """Name of a real head: of its folder or file. Paintings are kept under it."""
    return Path(path).name.split(".")[0]
