"""Labels for a site's own scans from a network: confident parts only, each scan for a person to accept, then training data.

    label    a bundle reads the scans, or results of `ichor analyze --all` are taken; <name>.npz and <name>.png in a folder
    review   a local page shows each picture with yes and no (review.py); answers.json
    write    accepted scans become a cache for `ich train` and a data set for nnU-Net

A part is confident if the mean probability of its voxels reaches `sure` and its volume `least_ml`. The others are doubtful: they
count neither as blood nor as brain; losses leave them out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from ..datasets.volume import DataError
from ..files import whole
from . import results as results_
from .config import SUBTYPES
from .montage import compare, save
from .scan import Scan, volumes

ANSWERS = "answers.json"
CORNERS = np.ones((3, 3, 3), bool)
IGNORE = len(SUBTYPES) + 1  # label of doubtful voxels in nnU-Net's data set


@dataclass
class Labelled:
    """A scan with its label (Scan.label) and what is doubtful, bool (S, rows, columns)."""

    scan: Scan
    doubtful: np.ndarray


def label(scan: Scan, reader, sure: float, least_ml: float) -> Labelled:
    """What the networks of a bundle are confident of. reader: product.reader.Reader."""
    reading = reader.read(scan)
    if reading.any is None:
        raise DataError(scan.name, "the bundle finds no hemorrhage", "give a bundle with a bleed network")
    return confident(scan, reading.label, reading.any, sure, least_ml, reader.post.threshold)


def confident(scan: Scan, found: np.ndarray, probability: np.ndarray, sure: float, least_ml: float, threshold: float) -> Labelled:
    """Keeps the confident parts of found (S, rows, columns); what else reaches half of the threshold is doubtful."""
    parts, n = ndimage.label(found > 1, CORNERS)
    ml = np.broadcast_to(scan.slice_ml()[:, None, None], parts.shape)
    volume = np.bincount(parts.ravel(), weights=ml.ravel(), minlength=n + 1)
    mass = np.bincount(parts.ravel(), weights=(ml * probability).ravel(), minlength=n + 1)
    keep = (mass >= sure * volume) & (volume >= least_ml)
    keep[0] = False
    kept = keep[parts]
    out = Scan(scan.hu, scan.spacing, scan.positions, np.where(kept, found, np.minimum(found, 1)).astype(np.uint8), scan.name, "scan")
    return Labelled(out, ~kept & (found > 0) & ((found > 1) | (probability >= threshold / 2)))


def of_results(results: Path, root: Path, least_ml: float) -> Iterator[tuple[str, Labelled | str]]:
    """Labels of `ichor analyze --all root --out results`, which runs every bundle, those of nnU-Net too: path of the scan, and its
    label, or why it is left out. Parts below least_ml are doubtful; choose a strict operating point, or --sure for the bundle, to
    have confident parts only."""
    some = False
    for name, scan in results_.read(results, root):
        if isinstance(scan, str):
            yield name, scan
            continue
        some = True
        found = scan.label
        cavity = ndimage.binary_dilation(found > 0, iterations=1)
        yield name, confident(scan, np.maximum(found, cavity).astype(np.uint8), (found > 1).astype(np.float32), 0.5, least_ml, 0.5)
    if not some:
        raise DataError(results, "no scan that was analyzed", f"run ichor analyze --all {root} --out {results}")


def keep(folder: Path, item: Labelled) -> dict[str, float]:
    """Writes <name>.npz and <name>.png; returns the millilitres."""
    folder.mkdir(parents=True, exist_ok=True)
    s = item.scan
    with whole(folder / f"{s.name}.npz") as part, part.open("wb") as f:
        np.savez_compressed(f, hu=s.hu.astype(np.int16), label=s.label, doubtful=item.doubtful, spacing=s.spacing, positions=s.positions)
    shown = Scan(s.hu, s.spacing, s.positions, None, s.name, s.kind)
    save(folder / f"{s.name}.png", compare(shown, s.label))
    return volumes(s.label, s)


def load(path: Path) -> Labelled:
    try:
        with np.load(path) as f:
            scan = Scan(f["hu"].astype(np.float32), tuple(float(v) for v in f["spacing"]), f["positions"], f["label"], path.stem, "scan")
            return Labelled(scan, f["doubtful"])
    except (OSError, ValueError, KeyError) as err:
        raise DataError(path, f"not a labelled scan ({type(err).__name__})", "label it again") from None


def names(folder: Path) -> list[str]:
    found = sorted(p.stem for p in Path(folder).glob("*.npz"))
    if not found:
        raise DataError(folder, "no labelled scan", "run ich pseudo label first")
    return found


def answers(folder: Path) -> dict[str, bool]:
    """Name -> accepted."""
    path = Path(folder) / ANSWERS
    try:
        found = json.loads(path.read_text())
        return {str(k): bool(v) for k, v in found.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError):
        raise DataError(path, "cannot be read as JSON", "remove it and review again") from None


def answer(folder: Path, name: str, yes: bool) -> None:
    found = answers(folder) | {name: yes}
    with whole(Path(folder) / ANSWERS) as part:
        part.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def write(folder: Path, cache: Path | None, dataset: Path | None) -> list[str]:
    """Training data of the accepted scans; returns their names."""
    from ..heads.paint import write_cache

    said = answers(folder)
    accepted = [n for n in names(folder) if said.get(n)]
    if not accepted:
        raise DataError(folder, "no scan was accepted", "run ich pseudo review and say yes to those that are right")
    for name in accepted:
        item = load(Path(folder) / f"{name}.npz")
        if cache:
            write_cache(cache, item.scan, item.doubtful, "pseudo")
        if dataset:
            _nnunet_case(dataset, item)
    if dataset:
        labels = {"background": 0, **{k: i + 1 for i, k in enumerate(SUBTYPES)}, "ignore": IGNORE}
        (dataset / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}, "labels": labels, "numTraining": len(list((dataset / "labelsTr").glob("*.nii.gz"))),
                                                          "file_ending": ".nii.gz"}, indent=1) + "\n")
    return accepted


def _nnunet_case(dataset: Path, item: Labelled) -> None:
    """imagesTr/<name>_0000.nii.gz and labelsTr/<name>.nii.gz, in the orientation of DICOM: LPS."""
    import nibabel as nib

    s = item.scan
    gap = float(np.median(np.diff(s.positions))) if len(s.positions) > 1 else 5.0
    affine = np.diag([-s.spacing[1], -s.spacing[0], gap, 1.0])  # nibabel counts towards the right, the front and the head
    values = np.where(s.label > 1, s.label - 1, 0).astype(np.uint8)
    values[item.doubtful] = IGNORE
    for sub, name, data in (("imagesTr", f"{s.name}_0000", s.hu.astype(np.int16)), ("labelsTr", s.name, values)):
        (dataset / sub).mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.ascontiguousarray(data.transpose(2, 1, 0)), affine), dataset / sub / f"{name}.nii.gz")
