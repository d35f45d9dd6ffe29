"""Reads a whole set and says what is there, what is wrong and what to do: `ich data check`."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from . import LOADERS, detect, locate
from .volume import SUBTYPES, UNKNOWN, DataError, Volume

GREY = (-200.0, 260.0)  # a head CT reaches below and above; a picture of one does not
PIXEL_MM = (0.15, 2.0)
GAP_MM = (0.2, 15.0)
BLOOD_HU = (25.0, 150.0)  # median under a mask that lies on its scan


@dataclass
class Report:
    """Facts of one folder. A problem is a volume that cannot be used; a note is odd but stops nobody."""

    folder: str
    dataset: str = ""
    title: str = ""
    licence: str = ""
    published: int = 0  # volumes in the whole set; 0: no fixed number
    volumes: int = 0
    patients: int = 0
    readable: int = 0
    slices: int = 0
    bleeding: int = 0  # volumes with hemorrhage, without, unknown
    not_bleeding: int = 0
    unknown: int = 0
    types: dict[str, int] = field(default_factory=dict)  # volumes by subtype
    bleeding_slices: int = 0
    masks: int = 0
    cavities: int = 0
    blood_ml: list[float] = field(default_factory=list)  # least, median, most of the masks with blood
    gap_mm: list[float] = field(default_factory=list)  # least, most
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    usable: bool = False
    seconds: float = 0.0

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Look:
    """What reading one volume tells."""

    slices: int = 0
    bleeding_slices: int = 0
    mask: bool = False
    cavity: bool = False
    blood_ml: float = 0.0
    gaps: tuple[float, float] | None = None
    problem: str = ""
    notes: tuple[str, ...] = ()


def check(folder: Path, name: str | None = None, cache: Path | None = None, quick: bool = False, workers: int = 1, progress: bool = True) -> Report:
    """Reads every volume, or with quick only lists them. What is wrong ends in the report, never in an exception."""
    start = time.monotonic()
    report = Report(str(folder))
    try:
        report.dataset = name = name or detect(folder)
        notes: list[DataError] = []
        volumes = LOADERS[name].volumes(locate(name, folder), cache, notes)
        report.notes = [str(n) for n in notes]
    except DataError as err:
        report.problems = [str(err)]
        report.seconds = round(time.monotonic() - start, 1)
        return report
    about = LOADERS[name].ABOUT
    report.title, report.licence, report.published = about.title, about.licence, about.volumes
    report.volumes, report.patients = len(volumes), len({v.group for v in volumes})
    report.bleeding = sum(v.bleeding is True for v in volumes)
    report.not_bleeding = sum(v.bleeding is False for v in volumes)
    report.unknown = sum(v.bleeding is None for v in volumes)
    report.types = {k: sum(k in v.types for v in volumes) for k in SUBTYPES}
    if about.volumes and len(volumes) != about.volumes:
        report.notes.append(str(DataError(folder, f"{len(volumes)} of the {about.volumes} volumes of the set", "download the rest if you want the whole set")))
    for double, n in Counter(v.name for v in volumes).items():
        if n > 1:
            report.problems.append(str(DataError(folder, f"{n} volumes are called {double}", "keep one")))
    if not quick:
        _summarise(report, _looks(volumes, workers, progress))
    report.usable = not report.problems and bool(volumes)
    report.seconds = round(time.monotonic() - start, 1)
    return report


def _looks(volumes: list[Volume], workers: int, progress: bool) -> list[Look]:
    from tqdm import tqdm

    bar = {"total": len(volumes), "desc": "reading", "unit": "volume", "disable": None if progress else True}
    if workers <= 1:
        return list(tqdm(map(look, volumes), **bar))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(tqdm(pool.map(look, volumes, chunksize=4), **bar))


def _summarise(report: Report, looks: list[Look]) -> None:
    good = [k for k in looks if not k.problem]
    report.readable, report.slices = len(good), sum(k.slices for k in good)
    report.bleeding_slices = sum(k.bleeding_slices for k in good)
    report.masks, report.cavities = sum(k.mask for k in good), sum(k.cavity for k in good)
    blood = sorted(k.blood_ml for k in good if k.blood_ml > 0)
    report.blood_ml = [round(v, 2) for v in (blood[0], float(np.median(blood)), blood[-1])] if blood else []
    gaps = [g for k in good if k.gaps for g in k.gaps]
    report.gap_mm = [round(min(gaps), 3), round(max(gaps), 3)] if gaps else []
    report.problems += [k.problem for k in looks if k.problem]
    report.notes += [n for k in good for n in k.notes]


def look(volume: Volume) -> Look:
    """Reads one volume and judges it."""
    try:
        scan = volume.read()
    except DataError as err:
        return Look(problem=str(err))
    except MemoryError:
        return Look(problem=str(DataError(_file(volume), "does not fit into memory", "read it on a larger machine, or leave it out")))
    notes = []
    note = lambda what, remedy: notes.append(str(DataError(_file(volume), what, remedy)))  # noqa: E731
    low, high = float(scan.hu.min()), float(scan.hu.max())
    if low > GREY[0] or high < GREY[1]:
        note(f"values from {low:.0f} to {high:.0f} are not in Hounsfield units of a head", "give the CT, not a windowed or normalised copy")
    if volume.dataset != "synthetic" and not all(PIXEL_MM[0] <= s <= PIXEL_MM[1] for s in scan.spacing):
        note(f"pixels of {scan.spacing[0]:.3g} x {scan.spacing[1]:.3g} mm", "millilitres will be wrong if the header is; compare with the source")
    gaps = np.diff(scan.positions)
    if len(gaps) and not GAP_MM[0] <= float(np.median(gaps)) <= GAP_MM[1]:
        note(f"slices {float(np.median(gaps)):.3g} mm apart", "millilitres will be wrong if the header is; compare with the source")
    if len(gaps) and gaps.max() > 1.5 * np.median(gaps):
        note(f"slices {gaps.min():.2f} to {gaps.max():.2f} mm apart, some may be missing", "each slice counts with its own support; compare with the source")
    ml, bleeding_slices = 0.0, 0
    labelled = scan.labels is not None
    if labelled:
        bleeding_slices = int((scan.labels[:, 0] == 1).sum())
    if scan.mask is not None:
        blood = (scan.mask > 0).sum(axis=(1, 2))
        ml, bleeding_slices = float((blood * scan.voxel_ml()).sum()), int((blood > 0).sum())
        if volume.bleeding and not blood.any():
            note("labelled with hemorrhage, but its mask is empty", "it counts as a miss in every score; check the download")
        elif volume.bleeding is False and blood.any():
            note("labelled without hemorrhage, but its mask is not empty", "the mask is used for segmentation, the label for strata")
        elif labelled:
            differ = int(((scan.labels[:, 0] != UNKNOWN) & ((scan.labels[:, 0] == 1) != (blood > 0))).sum())
            if differ:
                note(f"label and mask disagree on {differ} slices", "the mask is used for segmentation, the labels for classification")
        if blood.any() and not BLOOD_HU[0] <= (middle := float(np.median(scan.hu[scan.mask > 0]))) <= BLOOD_HU[1]:
            note(f"its mask covers tissue of {middle:.0f} HU in the median, not blood", "mask and scan may be turned differently or be of different scans")
        if scan.cavity is not None and ((scan.mask > 0) & ~scan.cavity).sum() > 0.5 * max(int(blood.sum()), 1):
            note("more than half of the hemorrhage lies outside the cavity mask", "the two may be of different scans; check the download")
    span = (float(gaps.min()), float(gaps.max())) if len(gaps) else None
    return Look(len(scan.hu), bleeding_slices, scan.mask is not None, scan.cavity is not None, ml, span, "", tuple(notes))


def _file(volume: Volume) -> Path | str:
    return volume.files[0] if len(volume.files) < 4 and volume.files else (volume.files[0].parent if volume.files else volume.name)
