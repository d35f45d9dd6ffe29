"""Seg-CQ500, the paper's own set: 51 CQ500 heads with hemorrhage, ICH masks and brain masks; 41 of them thin, some tilted.

    data/volumes/info.csv
    data/volumes/CQ500-CT-243/CT.nii  ICH_mask.nii.gz  brain.nii.gz

Tilted scans have a sheared affine. info.csv gives the readers' mean probability of each finding; a subtype occurs at 0.5.
The scans are part of CQ500 under the same names.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from . import nifti
from .about import About
from .tables import rows
from .volume import BLOOD, SUBTYPES, DataError, Scan, Volume, labels_of

NAME = "seg-cq500"
INFO = "info.csv"
CASE = re.compile(r"CQ500-CT-\d+$")
AGAIN = "unzip Seg-CQ500.zip again"

ABOUT = About(
    title="Seg-CQ500, ICH and brain masks for 51 scans of CQ500 (Spahr et al. 2023)",
    source="Zenodo record 8063221, Seg-CQ500.zip, 2.5 GB",
    licence="CC BY 4.0 as published; the scans come from CQ500, which is CC BY-NC-SA 4.0: do not sell what you train on it",
    use="segmentation, 5-fold cross-validation (Table 3 of the paper); cavity masks", layout="data/volumes/info.csv, data/volumes/CQ500-CT-*/",
    volumes=51, bleeding=51)


def find(folder: Path) -> Path | None:
    """The folder of the volumes."""
    for p in (folder / "data" / "volumes", folder / "volumes", folder):
        if p.is_dir() and any(CASE.match(c.name) and any(c.glob("CT.nii*")) for c in p.glob("CQ500-CT-*")):
            return p
    return None


def volumes(root: Path, cache: Path | None, notes: list[DataError]) -> list[Volume]:
    path = root / INFO
    listed: dict[str, tuple[Path | None, Path | None, frozenset[str]]] = {}
    for line, row in rows(path, ("name", "CT_fn", "mask_fn"), AGAIN):
        name = row["name"]
        if CASE.match(name) is None:
            raise DataError(path, f"line {line}: name is {name!r}, not CQ500-CT-n", AGAIN)
        types = frozenset(k for k in SUBTYPES if _probability(path, line, row, k) >= 0.5)
        listed[name] = (_inside(root, row.get("CT_fn")), _inside(root, row.get("mask_fn")), types)
    folders = {p.name for p in root.glob("CQ500-CT-*") if p.is_dir() and CASE.match(p.name)}
    for name in sorted(folders - set(listed)):
        notes.append(DataError(root / name, f"not in {INFO}, ignored", AGAIN))
    out = []
    for name, (ct, mask, types) in sorted(listed.items(), key=lambda item: int(item[0].rsplit("-", 1)[1])):
        ct = ct if ct and ct.exists() else nifti.either(root / name, "CT")
        mask = mask if mask and mask.exists() else nifti.either(root / name, "ICH_mask")
        brain = nifti.either(root / name, "brain")
        if not brain.exists():
            notes.append(DataError(brain, "missing", "the scan is used without a cavity mask; " + AGAIN))
        if not types:
            notes.append(DataError(path, f"no subtype of {name} reaches 0.5", "its type counts as unknown"))
        files = tuple(f for f in (ct, mask, brain) if f != brain or brain.exists())
        out.append(Volume(NAME, name, name, types, True, partial(_load, ct, mask, brain if brain.exists() else None, types), files))
    return out


def _inside(root: Path, relative: str | None) -> Path | None:
    """File that info.csv names, unless it points out of the set."""
    if not relative:
        return None
    p = (root / relative.replace("\\", "/")).resolve()
    return p if p.is_relative_to(root.resolve()) else None


def _probability(path: Path, line: int, row: dict[str, str], subtype: str) -> float:
    """Readers' mean of a subtype; the column is looked up by the subtype as a word in its name, in any case."""
    for column, value in row.items():
        if subtype.lower() in re.split(r"[^a-z0-9]+", column.lower()):
            try:
                return float(value)
            except ValueError:
                raise DataError(path, f"line {line}: {column} is {value!r}, not a number", AGAIN) from None
    raise DataError(path, f"has no column for {subtype}", AGAIN)


def _load(ct_path: Path, mask_path: Path, brain_path: Path | None, types: frozenset[str]) -> Scan:
    ct = nifti.read(ct_path, AGAIN)
    mask = np.where(nifti.read_mask(mask_path, ct, AGAIN) > 0, BLOOD, 0).astype(np.uint8)
    cavity = nifti.read_mask(brain_path, ct, AGAIN) > 0 if brain_path else None
    return Scan(ct.hu(), mask, cavity, labels_of(mask, types), ct.frame.spacing, ct.positions())
