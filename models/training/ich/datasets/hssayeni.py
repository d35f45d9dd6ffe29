"""Hssayeni et al. 2020, PhysioNet ct-ich 1.3.1: 75 head CTs of about 5 mm, binary masks, subtypes by slice in a CSV.

    ct_scans/049.nii  masks/049.nii  hemorrhage_diagnosis_raw_ct.csv      (049-058 and 066-130)

Ages and sexes of patient_demographics.csv are not read: nothing needs them.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np

from . import nifti
from .about import About
from .tables import flag, number, rows
from .volume import BLOOD, LABELS, UNKNOWN, DataError, Scan, Volume

NAME = "hssayeni"
CSV = "hemorrhage_diagnosis_raw_ct.csv"
COLUMNS = {"IPH": "Intraparenchymal", "IVH": "Intraventricular", "SAH": "Subarachnoid", "SDH": "Subdural", "EDH": "Epidural"}
AGAIN = "download ct-ich 1.3.1 from PhysioNet again"

ABOUT = About(
    title="Hssayeni et al. 2020, Computed Tomography Images for Intracranial Hemorrhage Detection and Segmentation 1.3.1",
    source="physionet.org/content/ct-ich/1.3.1 (account and data use agreement)",
    licence="PhysioNet Restricted Health Data License 1.5.0: not to be passed on, no attempt to identify anyone",
    use="segmentation, 10-fold cross-validation (Table 3 of the paper)", layout=f"ct_scans/, masks/, {CSV}", volumes=75, bleeding=36)


def find(folder: Path) -> Path | None:
    return folder if (folder / "ct_scans").is_dir() and ((folder / "masks").is_dir() or (folder / CSV).exists()) else None


def volumes(root: Path, cache: Path | None, notes: list[DataError]) -> list[Volume]:
    table = _labels(root / CSV)
    scans = {int(k): p for k, p in nifti.listing(root / "ct_scans").items() if k.isdigit()}
    if not scans:
        raise DataError(root / "ct_scans", "holds no NNN.nii", AGAIN)
    for n in sorted(set(table) - set(scans)):
        if not 59 <= n <= 65:  # never published
            notes.append(DataError(root / "ct_scans" / f"{n:03d}.nii", f"missing, though {CSV} lists it", AGAIN))
    for name, path in nifti.listing(root / "masks").items():
        if not name.isdigit() or int(name) not in scans:
            notes.append(DataError(path, "a mask without a scan", "ignored; " + AGAIN))
    out = []
    for n, ct in sorted(scans.items()):
        labels = table.get(n, {})
        if not labels:
            notes.append(DataError(root / CSV, f"no rows for scan {n:03d}", "its subtypes stay unknown; " + AGAIN))
        types = frozenset(k for k, _ in COLUMNS.items() if any(row[LABELS.index(k)] for row in labels.values()))
        bleeding = any(row[0] for row in labels.values()) if labels else None
        mask = nifti.either(root / "masks", f"{n:03d}")
        out.append(Volume(NAME, f"{n:03d}", f"{n:03d}", types, bleeding, partial(_load, ct, mask, labels), (ct, mask)))
    return out


def _labels(path: Path) -> dict[int, dict[int, tuple[int, ...]]]:
    """Patient -> slice number (from 1) -> labels in the order of LABELS."""
    table: dict[int, dict[int, tuple[int, ...]]] = defaultdict(dict)
    for line, row in rows(path, ("PatientNumber", "SliceNumber", *COLUMNS.values(), "No_Hemorrhage"), AGAIN):
        one = tuple(int(flag(path, line, row, c)) for c in COLUMNS.values())
        bleeding = int(not flag(path, line, row, "No_Hemorrhage"))
        table[number(path, line, row, "PatientNumber")][number(path, line, row, "SliceNumber")] = (max(bleeding, *one), *one)
    return dict(table)


def _load(ct_path: Path, mask_path: Path, labels: dict[int, tuple[int, ...]]) -> Scan:
    ct = nifti.read(ct_path, AGAIN, trust_identity=False)
    if ct.frame.axes[0] != 2:
        raise DataError(ct_path, "its slices do not lie along the third axis", AGAIN)
    values = nifti.read_mask(mask_path, ct, AGAIN + "; scans without hemorrhage have an empty mask, not none")
    mask = np.where(values > 0, BLOOD, 0).astype(np.uint8)  # some masks are 0/255
    count = len(mask)
    if labels and max(labels) > count:
        raise DataError(ct_path, f"has {count} slices, but {CSV} labels slice {max(labels)}", AGAIN)
    table = np.full((count, len(LABELS)), UNKNOWN, np.uint8)
    for number_, row in labels.items():
        if number_ >= 1:
            table[count - number_ if ct.frame.flips[0] else number_ - 1] = row  # numbers count in the order of the file
    return Scan(ct.hu(), mask, None, table, ct.frame.spacing, ct.positions())
