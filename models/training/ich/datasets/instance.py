"""INSTANCE 2022: 100 training heads of about 5 mm with binary masks; the 100 others have no public labels.

    train_2/data/001.nii.gz  train_2/label/001.nii.gz      (or train/)
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from . import nifti
from .about import About
from .volume import BLOOD, DataError, Scan, Volume, labels_of

NAME = "instance"
AGAIN = "unzip the archive of INSTANCE 2022 again"

ABOUT = About(
    title="INSTANCE 2022, Intracranial Hemorrhage Segmentation Challenge", source="instance.grand-challenge.org (signed agreement)",
    licence="CC BY-NC-ND: no commercial use, no modified copies; use beyond the challenge needs the organisers' consent",
    use="segmentation on other scanners", layout="train_2/data/, train_2/label/ (or train/)", volumes=100, bleeding=100)


def find(folder: Path) -> Path | None:
    """The folder with data/ and label/."""
    for p in (folder / "train_2", folder / "train"):
        if (p / "data").is_dir() or (p / "label").is_dir():
            return p
    return folder if nifti.listing(folder / "data") and (folder / "label").is_dir() else None


def volumes(root: Path, cache: Path | None, notes: list[DataError]) -> list[Volume]:
    scans, masks = nifti.listing(root / "data"), nifti.listing(root / "label")
    if not scans:
        raise DataError(root / "data", "holds no NNN.nii.gz", AGAIN)
    for name in sorted(set(masks) - set(scans)):
        notes.append(DataError(masks[name], "a mask without a scan", "ignored; " + AGAIN))
    out = []
    for name, ct in scans.items():
        mask = masks.get(name, root / "label" / f"{name}.nii.gz")
        out.append(Volume(NAME, name, name, frozenset(), True, partial(_load, ct, mask), (ct, mask)))
    return out


def _load(ct_path: Path, mask_path: Path) -> Scan:
    ct = nifti.read(ct_path, AGAIN)
    mask = np.where(nifti.read_mask(mask_path, ct, AGAIN) > 0, BLOOD, 0).astype(np.uint8)
    return Scan(ct.hu(), mask, None, labels_of(mask), ct.frame.spacing, ct.positions())
