"""Real heads with labelled blood, to measure on: any folder of scans and masks.

    <dir>/<name>.nii.gz       with <dir>/<name>_mask.nii.gz beside it, or
    <dir>/<name>/mask.nii.gz  with <dir>/<name>/ct.nii.gz or a DICOM series in <dir>/<name>/ct/

Values of a mask: 0 no blood, 1 blood of a subtype that nobody told, 2 to 6 IPH IVH SAH SDH EDH. A mask has the voxels of its
scan. The folder's name is that of the set, which the model card tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from ..datasets import nifti
from ..datasets.volume import FIRST_SUBTYPE, DataError
from ..product.config import SUBTYPES
from ..product.measure import dice, false_blood
from ..product.scan import Scan, read_scan, volumes

KIND = "bleeding"  # of a scan
MASK = "_mask"
AWAY_MM = 5.0
EXTRA_AXIAL = [SUBTYPES.index(k) + 2 for k in ("SAH", "SDH", "EDH")]


@dataclass(frozen=True)
class Case:
    """A scan (series folder or NIfTI file) and its mask."""

    set: str
    name: str
    scan: Path
    mask: Path


def cases(folder: Path) -> list[Case]:
    """All cases of a folder, by name."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(folder, "missing", "give a folder of scans and masks")
    files = nifti.listing(folder)
    out = [Case(folder.name, name, path, files[name + MASK]) for name, path in files.items() if name + MASK in files]
    for sub in sorted(p for p in folder.iterdir() if p.is_dir()):
        own = nifti.listing(sub)
        scan = own.get("ct") or (sub / "ct" if (sub / "ct").is_dir() else None)
        if "mask" in own and scan:
            out.append(Case(folder.name, sub.name, scan, own["mask"]))
    if not out:
        raise DataError(folder, "holds no scan with a mask", f"put NAME.nii.gz and NAME{MASK}.nii.gz into it, or NAME/ct and NAME/mask.nii.gz")
    return out


def read(case: Case) -> tuple[Scan, np.ndarray]:
    """The scan and its mask (S, rows, columns), canonical."""
    scan = read_scan(case.scan)
    image = nifti.read(case.mask)
    mask = np.rint(np.nan_to_num(image.frame.turn(image.stored))).astype(int)
    if mask.shape != scan.hu.shape:
        raise DataError(case.mask, f"mask has {nifti.shown(mask.shape)} (slices x rows x columns), the scan {nifti.shown(scan.hu.shape)}",
                        "give a mask on the voxels of its scan")
    if mask.min() < 0 or mask.max() >= FIRST_SUBTYPE + len(SUBTYPES):
        raise DataError(case.mask, f"mask holds values {mask.min()} to {mask.max()}", "use 0 none, 1 blood, 2 to 6 the subtypes")
    return Scan(scan.hu, scan.spacing, scan.positions, None, case.name, KIND), mask.astype(np.uint8)


def measure(scan: Scan, mask: np.ndarray, cavity: np.ndarray, found: np.ndarray, name_of_set: str) -> dict:
    """Row of a head: as measure.measure, as far as such a mask tells; Dice by subtype only where the mask has subtypes."""
    blood, marked = mask > 0, found > 1
    told = bool((mask >= FIRST_SUBTYPE).any())
    row = {"name": scan.name, "set": name_of_set, "kind": KIND, "slices": len(scan.hu), "cavity_ml": scan.ml(cavity), "found_ml": volumes(found, scan),
           "truth_ml": {**(volumes(mask, scan) if told else {}), "total": scan.ml(blood)}, "marked_ml": scan.ml(marked & blood),
           "dice": {"any": dice(marked, blood)}}
    if told:
        row["dice"] |= {k: dice(found == i, mask == i) for i, k in enumerate(SUBTYPES, FIRST_SUBTYPE) if (mask == i).any()}
    row["extra_axial_away_ml"] = scan.ml(np.isin(found, EXTRA_AXIAL) & ~near(blood, scan.spacing))
    return row | false_blood(scan, cavity, marked & ~blood)


def near(blood: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Within AWAY_MM of blood on the slice or the ones beside it: raters' margins and partial volume."""
    around = blood.copy()
    around[1:] |= blood[:-1]
    around[:-1] |= blood[1:]
    return np.stack([ndimage.distance_transform_edt(~m, sampling=spacing) <= AWAY_MM if m.any() else m for m in around])
