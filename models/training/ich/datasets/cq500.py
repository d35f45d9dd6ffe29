"""CQ500: 491 head CTs in DICOM with three radiologists' reads, no masks. Truth is what two of the three say.

    reads.csv
    CQ500CT0 CQ500CT0/Unknown Study/CT PLAIN THIN/CT000000.dcm       (mirrors: qct01/... or CQ500-CT-0/... above it)

A study holds several series; one is chosen: axial, without contrast, not a bone kernel, thin before thick.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

import numpy as np

from . import dicom
from .about import About
from .places import subfolders
from .tables import flag, rows
from .volume import LABELS, SUBTYPES, UNKNOWN, DataError, Scan, Volume

NAME = "cq500"
READS = "reads.csv"
FINDINGS = ("ICH", "IPH", "IVH", "SDH", "EDH", "SAH", "BleedLocation-Left", "BleedLocation-Right", "ChronicBleed", "Fracture",
            "CalvarialFracture", "OtherFracture", "MassEffect", "MidlineShift")
HEADER = ("name", "Category", *(f"R{r}:{f}" for r in (1, 2, 3) for f in FINDINGS))
CASE = re.compile(r"CQ500[- ]?CT[- ]?(\d+)(?!\d)", re.IGNORECASE)
AGAIN = "unzip the archive of that scan again"
MIN_SLICES = 8  # fewer are localizers and dose sheets

ABOUT = About(
    title="CQ500 (Chilamkurthy et al. 2018)", source="headctstudy.qure.ai, one zip a scan, and reads.csv",
    licence="CC BY-NC-SA 4.0: no commercial use, what is made of it under the same terms",
    use="pre-training, cavity masks, volume-level truth; no voxel labels", layout=f"{READS}, CQ500CT0 CQ500CT0/, CQ500CT1 CQ500CT1/, ...",
    volumes=491, bleeding=0)

# Names met: CT PLAIN THIN, CT Plain, CT Thin Plain, CT PRE CONTRAST THIN, CT 0.625mm, CT 2.55mm, CT 5mm, CT Thin Details,
# CT 4cc sec 150cc D3D on (an injection), each also with -2, -3.
INJECTED = re.compile(r"\d+\s*cc|angio|cta\b|perf|post|(?<!pre )(?<!non )(?<!pre-)(?<!non-)contrast", re.IGNORECASE)
RESHAPED = re.compile(r"\bmpr|\bmip|\bcor(onal)?\b|\bsag(ittal)?\b|\b3d\b|scout|topo|locali|dose|bone", re.IGNORECASE)
BONE_KERNEL = re.compile(r"bone|edge|sharp|^[HBJ]r?[6-9]\d", re.IGNORECASE)
PLAIN = re.compile(r"plain|pre contrast|non.?contrast|unenh", re.IGNORECASE)
THIN_MM = 1.5


def find(folder: Path) -> Path | None:
    """The folder that holds the patients or their batches."""
    return folder if any(next(p.rglob("*.dcm"), None) for p in _patients(folder).values()) else None


def volumes(root: Path, cache: Path | None, notes: list[DataError]) -> list[Volume]:
    patients = _patients(root)
    reads = _reads(root, notes)
    lost = sorted(set(reads) - set(patients), key=_number)
    if lost:
        notes.append(DataError(root / READS, f"lists {len(lost)} scans that are not in the folder, first {lost[0]}", "unzip their archives if you want them"))
    packed = [p for p in sorted(root.glob("*.zip")) if (m := CASE.match(p.name)) and f"CQ500-CT-{int(m[1])}" not in patients]
    if packed:
        notes.append(DataError(packed[0], f"not unzipped, as {len(packed)} archives in all", "unzip them there if you want them"))
    out = []
    for name, folder in sorted(patients.items(), key=lambda item: _number(item[0])):
        truth = reads.get(name)
        if reads and truth is None:
            notes.append(DataError(folder, f"not in {READS}", "its labels stay unknown"))
        series = _choose(folder)
        files = series or ()
        types = frozenset(k for k in SUBTYPES if truth and truth[k])
        out.append(Volume(NAME, name, name, types, truth["ICH"] if truth else None, partial(_load, folder, files, truth), tuple(files)))
    return out


def _number(name: str) -> int:
    return int(name.rsplit("-", 1)[1])


def _patients(root: Path) -> dict[str, Path]:
    """CQ500-CT-n -> folder; Seg-CQ500, whose folders hold CT.nii, is another set."""
    out: dict[str, Path] = {}
    for base in (root, *(p for p in subfolders(root) if re.fullmatch(r"qct\d+", p.name, re.IGNORECASE))):
        for p in subfolders(base):
            match = CASE.match(p.name)
            if match and not any(p.glob("*.nii*")):
                out.setdefault(f"CQ500-CT-{int(match[1])}", p)
    return out


def _reads(root: Path, notes: list[DataError]) -> dict[str, dict[str, bool]]:
    """CQ500-CT-n -> majority of three for ICH and the subtypes; empty when there is no file."""
    path = next((p for p in (root / READS, root.parent / READS) if p.exists()), None)
    if path is None:
        notes.append(DataError(root / READS, "missing", "every label stays unknown; download it beside the archives"))
        return {}
    out = {}
    for line, row in rows(path, HEADER, "download reads.csv again"):
        match = CASE.fullmatch(row["name"])
        if match is None:
            raise DataError(path, f"line {line}: name is {row['name']!r}, not CQ500-CT-n", "download reads.csv again")
        out[f"CQ500-CT-{int(match[1])}"] = {f: sum(flag(path, line, row, f"R{r}:{f}") for r in (1, 2, 3)) >= 2 for f in ("ICH", *SUBTYPES)}
    return out


def _choose(patient: Path) -> tuple[Path, ...] | None:
    """Files of the series to read; None when no folder holds one."""
    ranked = []
    for folder, folders, names in os.walk(patient):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
        files = tuple(Path(folder) / n for n in sorted(names) if n.lower().endswith(".dcm") and not n.startswith("."))
        if len(files) < MIN_SLICES or RESHAPED.search(Path(folder).name):
            continue
        try:
            ds = dicom.header(files[len(files) // 2])
            if ds.get("Modality", "CT") != "CT" or not dicom.axial(ds, files[0]):
                continue
        except DataError:
            continue
        ranked.append((*_rank(Path(folder).name, ds, len(files)), files))
    return min(ranked)[-1] if ranked else None


def _rank(name: str, ds, count: int) -> tuple:
    """Smaller is better; the order of the reasons is the order of the tuple."""
    kernel = ds.get("ConvolutionKernel") or ""
    kernel = kernel if isinstance(kernel, str) else "".join(map(str, kernel[:1]))
    try:
        thickness = float(ds.get("SliceThickness") or 99)
    except ValueError:
        thickness = 99.0
    injected = bool(INJECTED.search(name)) or bool(str(ds.get("ContrastBolusAgent") or "").strip())
    thin = "thin" in name.lower() or thickness <= THIN_MM
    return injected, bool(BONE_KERNEL.search(kernel)), not thin, not PLAIN.search(name), -count, name


def _load(folder: Path, files: tuple[Path, ...], truth: dict[str, bool] | None) -> Scan:
    if not files:
        raise DataError(folder, f"holds no axial CT series of at least {MIN_SLICES} .dcm files", AGAIN)
    series = dicom.read(files)
    labels = np.full((len(series.hu), len(LABELS)), UNKNOWN, np.uint8)
    if truth:  # what a volume does not have, none of its slices has
        for k, name in enumerate(("ICH", *SUBTYPES)):
            if not truth[name] or not truth["ICH"]:
                labels[:, k] = 0
    return Scan(series.hu, None, None, labels, series.spacing, series.positions)
