"""Scans and masks of a folder of results that `ichor analyze --all` wrote, for DICOM and NIfTI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom

from .config import SUBTYPES
from .scan import Scan, name_of
from ..datasets import dicom, nifti
from ..datasets.volume import DataError

SEGS = ("seg.dcm", "seg-labelmap.dcm")
AGAIN = "analyse the folder again"


def read(results: Path, root: Path) -> Iterator[tuple[str, Scan | str]]:
    """For each result, the path of its scan below root, and the scan, or why it is left out. root is the folder that was analysed.

    The label of a scan is 0 where the analysis found no blood, 2.. of SUBTYPES elsewhere; the cavity is not marked.
    """
    used: set[str] = set()
    for file in sorted(Path(results).rglob("input.json")):
        name, finding = _json(file)["input"], _json(file.parent / "finding.json")
        if finding.get("status") != "analyzed":
            yield name, f"the analysis refused it ({finding.get('code') or 'no reason is known'})"
            continue
        path = Path(root) if name == "." else Path(root) / name
        try:
            hu, spacing, positions, values = _of_file(path, file.parent) if path.is_file() and nifti_name(path) else _of_series(path, file.parent, finding)
        except DataError as err:
            yield name, str(err)
            continue
        if (values > len(SUBTYPES)).any():
            raise DataError(file.parent, "blood of unknown subtype", "analyse with a bundle that names subtypes, as ich bundle --nnunet --subtypes-from makes")
        short = name_of(path.resolve())
        if short in used:  # as head.nii.gz in two folders
            short = "-".join((*Path(name).parts[:-1], name_of(path)))
        used.add(short)
        yield name, Scan(hu, spacing, np.asarray(positions, float), np.where(values > 0, values + 1, 0).astype(np.uint8), short, "scan")


def nifti_name(path: Path) -> bool:
    return path.name.endswith((".nii", ".nii.gz"))


def _json(path: Path) -> dict:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(path, "missing", AGAIN) from None
    except (OSError, ValueError) as err:
        raise DataError(path, f"cannot be read as JSON ({type(err).__name__})", AGAIN) from None
    if not isinstance(found, dict):
        raise DataError(path, "not a JSON object", AGAIN)
    return found


def _of_file(path: Path, folder: Path) -> tuple:
    image = nifti.read(path)
    return image.hu(), image.frame.spacing, image.positions(), nifti.read_mask(folder / "mask.nii.gz", image)


def _of_series(path: Path, folder: Path, finding: dict) -> tuple:
    """The series that the analysis chose, and its segmentation; without a segmentation there is no blood."""
    uid = (finding.get("series") or {}).get("series_instance_uid")
    files, names = [], []
    for f in sorted([path] if path.is_file() else path.rglob("*")):
        if not f.is_file() or f.name == "DICOMDIR":
            continue
        try:
            head = dicom.header(f)
        except DataError:
            continue  # damaged files beside the series
        if uid and head.get("SeriesInstanceUID") == uid:
            files.append(f)
            names.append(str(head.get("SOPInstanceUID")))
    if not files:
        raise DataError(path, "the files of the series that was analysed are not there", "give the folder that was analysed with --scans")
    series = dicom.read(tuple(files))
    masks = _segmentation(next((folder / n for n in SEGS if (folder / n).is_file()), None))
    if lost := set(masks) - set(names):
        raise DataError(folder, f"its segmentation marks {len(lost)} images that are not in {path}", AGAIN)
    empty = np.zeros(series.shape, np.uint8)
    planes = [masks.get(n, empty) for n in names]
    if any(p.shape != series.shape for p in planes):
        raise DataError(folder, f"its segmentation has other rows or columns than {path}", AGAIN)
    return series.hu, series.spacing, series.positions, series.turned(planes)


def _segmentation(path: Path | None) -> dict[str, np.ndarray]:
    """SOP Instance UID of an image -> number of the subtype of each pixel (1 IPH .., one more than the last: unknown), uint8."""
    out: dict[str, np.ndarray] = {}
    if path is None:
        return out
    try:
        ds = pydicom.dcmread(path)
        words = {int(s.SegmentNumber): str(s.SegmentDescription).partition(",")[0] for s in ds.SegmentSequence}
        number = np.zeros(256, np.uint8)
        for segment, word in words.items():
            number[segment] = SUBTYPES.index(word) + 1 if word in SUBTYPES else len(SUBTYPES) + 1
        frames = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
        for frame, group in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
            image = str(group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)
            if ds.SegmentationType == "BINARY":
                frame = frame * np.uint8(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            out[image] = np.maximum(out.get(image, 0), number[frame])
    except (OSError, ValueError, AttributeError, KeyError, IndexError, TypeError, pydicom.errors.InvalidDicomError) as err:
        raise DataError(path, f"not a segmentation of ichor ({type(err).__name__})", AGAIN) from None
    return out
