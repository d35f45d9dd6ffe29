"""BHSD, also MBH-Seg: 192 heads of RSNA 2019 with the subtype of every voxel, the only public set that has it.

    label_192/images/ID_<patient>_ID_<study>.nii.gz  label_192/ground truths/<same name>       (a space in the name)

Labels 1 EDH, 2 IPH, 3 IVH, 4 SAH, 5 SDH. Which subtypes a head has is in its mask alone, so listing reads all masks once
and remembers what it found. The group is the PatientID of RSNA 2019: who pre-trains there must leave these patients out.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np

from ..files import whole
from . import nifti
from .about import About
from .places import digest, user_cache
from .volume import SUBTYPES, DataError, Scan, Volume, labels_of, types_of

NAME = "bhsd"
TO_OURS = np.array([0, 6, 2, 3, 4, 5], np.uint8)  # EDH is their first subtype and our last
TRUTH = "ground truths"
AGAIN = "unzip label_192.zip again"

ABOUT = About(
    title="BHSD (MBH-Seg), Brain Hemorrhage Segmentation Dataset", source="the authors' repository and the MBH-Seg challenge, label_192.zip",
    licence="no commercial use, no derivatives, scans under the terms of RSNA 2019: not to be passed on",
    use="segmentation and volumes by subtype", layout=f"label_192/images/, label_192/{TRUTH}/", volumes=192, bleeding=192)


def find(folder: Path) -> Path | None:
    """The folder with images/ and ground truths/."""
    if (folder / "label_192").is_dir():
        return folder / "label_192"
    return folder if (folder / TRUTH).is_dir() or folder.name == "label_192" else None


def volumes(root: Path, cache: Path | None, notes: list[DataError]) -> list[Volume]:
    scans, masks = nifti.listing(root / "images"), nifti.listing(root / TRUTH)
    if not scans:
        raise DataError(root / "images", "holds no .nii.gz", AGAIN)
    for name in sorted(set(masks) - set(scans)):
        notes.append(DataError(masks[name], "a mask without a scan", "ignored; " + AGAIN))
    types = _types(root, {n: masks[n] for n in scans if n in masks}, cache)
    out = []
    for name, ct in scans.items():
        mask = masks.get(name, root / TRUTH / f"{name}.nii.gz")
        kinds = types.get(name)
        group = name.split("_ID_")[0]  # ID_<patient>
        out.append(Volume(NAME, name, group, kinds or frozenset(), None if kinds is None else bool(kinds), partial(_load, ct, mask), (ct, mask)))
    return out


def _types(root: Path, masks: dict[str, Path], cache: Path | None) -> dict[str, frozenset[str]]:
    """Subtypes by volume; masks that cannot be read are left out, reading the volume says why."""
    stamps = {n: [p.stat().st_size, p.stat().st_mtime_ns] for n, p in masks.items()}
    file = (cache or user_cache()) / f"{NAME}-{digest(root)}.json"
    try:
        known = json.loads(file.read_text())
        known = {n: k for n, (stamp, k) in known.items() if stamp == stamps.get(n)}
    except (OSError, ValueError, TypeError, AttributeError):
        known = {}
    fresh = [n for n in masks if n not in known]
    if fresh:
        from tqdm import tqdm

        for n in tqdm(fresh, desc="subtypes of the masks", unit="mask", disable=None, delay=1):
            try:
                image = nifti.read(masks[n], AGAIN)
                known[n] = sorted(types_of(_ours(masks[n], image.stored)))
            except DataError:
                continue
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole(file) as part:
            part.write_text(json.dumps({n: [stamps[n], k] for n, k in known.items()}))
    return {n: frozenset(k) & frozenset(SUBTYPES) for n, k in known.items()}


def _ours(path: Path, values: np.ndarray) -> np.ndarray:
    values = np.rint(values).astype(np.int64)
    if values.size and (values.min() < 0 or values.max() >= len(TO_OURS)):
        raise DataError(path, f"has label {int(values.max() if values.max() > 5 else values.min())}, known are 0 to 5", AGAIN)
    return TO_OURS[values]


def _load(ct_path: Path, mask_path: Path) -> Scan:
    ct = nifti.read(ct_path, AGAIN)
    mask = _ours(mask_path, nifti.read_mask(mask_path, ct, AGAIN))
    return Scan(ct.hu(), mask, None, labels_of(mask), ct.frame.spacing, ct.positions())
