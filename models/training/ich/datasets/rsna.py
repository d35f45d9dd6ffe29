"""RSNA 2019: 752,803 loose slices with weak labels, grouped into series by their headers.

    stage_2_train.csv      ID,Label, six rows a slice: ID_12cadc6af_epidural,0 ... ID_12cadc6af_any,0; duplicates: the larger
    stage_2_train/ID_12cadc6af.dcm

Reading all headers takes minutes to an hour; the index (file, patient, study, series) is written once to the cache folder
and continues where it was interrupted. `draw` takes the slices that a pre-training wants without reading the rest.
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from . import dicom
from .about import About
from .places import digest, user_cache
from .tables import flag, rows
from .volume import LABELS, SUBTYPES, DataError, Scan, Volume

NAME = "rsna"
CSV = "stage_2_train.csv"
SLICES = "stage_2_train"
COLUMNS = ("any", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "epidural")  # in the order of LABELS
CORRUPT = frozenset({"ID_6431af929"})  # published with its pixels cut short
SEEN = len(COLUMNS)  # bits from here on: which labels a slice has
FIELDS = ("file", "patient", "study", "series")
AGAIN = "download rsna-intracranial-hemorrhage-detection again"
PARALLEL = 2000  # headers from which worker processes pay

ABOUT = About(
    title="RSNA Intracranial Hemorrhage Detection 2019 (Flanders et al. 2020)", source="kaggle.com/c/rsna-intracranial-hemorrhage-detection, 180 GB",
    licence="non-commercial use only (competition rules and RSNA terms)", use="pre-training: context, contrastive, binary, multi-label",
    layout=f"{CSV}, {SLICES}/ID_*.dcm")


def find(folder: Path) -> Path | None:
    return folder if (folder / SLICES).is_dir() or (folder / CSV).is_file() else None


def volumes(root: Path, cache: Path | None, notes: list[DataError]) -> list[Volume]:
    """One volume a series."""
    labels = read_labels(root / CSV, notes)
    if not (root / SLICES).is_dir():
        raise DataError(root / SLICES, "missing", "unzip the slices beside " + CSV)
    with os.scandir(root / SLICES) as entries:
        there = {e.name[:-4] for e in entries if e.name.endswith(".dcm") and not e.name.startswith(".")}
    wanted = sorted((there & set(labels)) - CORRUPT)
    if not wanted:
        raise DataError(root / SLICES, f"holds none of the {len(labels)} slices of {CSV}", "unzip the slices of the training set there")
    if len(there & set(labels)) < len(labels):
        notes.append(DataError(root / SLICES, f"{len(labels) - len(there & set(labels))} of {len(labels)} labelled slices are missing",
                               "what is there is used; download the rest if you want it"))
    if there - set(labels):
        notes.append(DataError(root / SLICES, f"{len(there - set(labels))} slices are not in {CSV}", "ignored"))
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    unreadable = []
    for name, patient, _, series in index(root, wanted, cache):
        if series:
            groups[patient, series].append(name)
        else:
            unreadable.append(name)
    if unreadable:
        notes.append(DataError(root / SLICES / f"{unreadable[0]}.dcm", f"unreadable header ({len(unreadable)} such files)", "left out; " + AGAIN))
    out = []
    for (patient, series), names in sorted(groups.items()):
        out.append(_volume(series, patient, tuple((root / SLICES / f"{n}.dcm", labels[n]) for n in sorted(names))))
    return out


def _volume(name: str, patient: str, slices: tuple[tuple[Path, int], ...]) -> Volume:
    bits = 0
    for _, b in slices:
        bits |= b
    types = frozenset(k for i, k in enumerate(SUBTYPES, 1) if bits >> i & 1)
    return Volume(NAME, name, patient, types, bool(bits & 1), partial(_load, slices), tuple(p for p, _ in slices))


def draw(volumes: list[Volume], bleeding: int, other: int, seed: int) -> list[Volume]:
    """The volumes with only the slices of a random draw: at most so many with hemorrhage and so many without.

    The paper pre-trains on such draws. Volumes without a drawn slice are gone; a lone slice has no neighbours to measure
    against, so these volumes are for 2D training only.
    """
    pool = [(v, i) for v in volumes for i in range(len(v.load.args[0]))]
    positive = np.array([bool(v.load.args[0][i][1] & 1) for v, i in pool], bool)
    rng = np.random.default_rng(seed)
    chosen: dict[int, list[int]] = defaultdict(list)
    where = {id(v): n for n, v in enumerate(volumes)}
    for kind, limit in ((positive, bleeding), (~positive, other)):
        for p in sorted(rng.permutation(np.flatnonzero(kind))[:limit]):
            v, i = pool[p]
            chosen[where[id(v)]].append(i)
    return [_volume(volumes[n].name, volumes[n].group, tuple(volumes[n].load.args[0][i] for i in sorted(picks)))
            for n, picks in sorted(chosen.items())]


def balanced(volumes: list[Volume], seed: int = 0) -> list[Volume]:
    """Every slice with hemorrhage and as many drawn without, which is what the paper pre-trains on: a third of the set."""
    bleeding = sum(bits & 1 for v in volumes for _, bits in v.load.args[0])
    return draw(volumes, bleeding, bleeding, seed) if bleeding else volumes


def read_labels(path: Path, notes: list[DataError]) -> dict[str, int]:
    """Slice -> bits in the order of COLUMNS (and, from SEEN on, which rows there were)."""
    bit = {c: i for i, c in enumerate(COLUMNS)}
    out: dict[str, int] = defaultdict(int)
    for line, row in rows(path, ("ID", "Label"), AGAIN):
        name, _, kind = row["ID"].rpartition("_")
        if kind not in bit or not name.startswith("ID_"):
            raise DataError(path, f"line {line}: ID is {row['ID']!r}, not ID_<slice>_<subtype>", AGAIN)
        out[name] |= int(flag(path, line, row, "Label")) << bit[kind] | 1 << SEEN + bit[kind]
    partly = [n for n, b in out.items() if b >> SEEN != (1 << len(COLUMNS)) - 1]
    if partly:
        notes.append(DataError(path, f"{len(partly)} slices lack some of their six rows, first {partly[0]}", "missing labels count as 0; " + AGAIN))
    return {n: b & (1 << SEEN) - 1 for n, b in out.items()}


def index(root: Path, names: list[str], cache: Path | None, workers: int = 0) -> list[tuple[str, str, str, str]]:
    """(slice, patient, study, series) of every name; empty strings where the header cannot be read."""
    file = (cache or user_cache()) / f"{NAME}-{digest(root)}.csv"
    known = _known(file)
    fresh = [n for n in names if n not in known]
    if fresh:
        from tqdm import tqdm

        file.parent.mkdir(parents=True, exist_ok=True)
        workers = workers or (min(8, os.cpu_count() or 1) if len(fresh) > PARALLEL else 1)
        torn = file.exists() and not file.read_bytes().endswith(b"\n")
        with file.open("a", newline="", encoding="utf-8") as f:
            f.write("\n" if torn else "")  # the interrupted line is unreadable, not merged with the next
            out = csv.writer(f, lineterminator="\n")
            if not known and f.tell() == 0:
                out.writerow(FIELDS)
            for row in tqdm(_headers(root / SLICES, fresh, workers), total=len(fresh), desc="RSNA headers", unit="slice", disable=None, delay=1):
                out.writerow(row)
                known[row[0]] = row
    return [known[n] for n in names]


def _known(file: Path) -> dict[str, tuple[str, str, str, str]]:
    """Whole rows of the index."""
    try:
        with file.open(newline="", encoding="utf-8") as f:
            return {row[0]: tuple(row) for row in csv.reader(f) if len(row) == len(FIELDS) and row[0] != FIELDS[0] and row[3] != ""}
    except (OSError, csv.Error, UnicodeDecodeError):
        return {}


def _headers(folder: Path, names: list[str], workers: int):
    one = partial(_header, folder)
    if workers <= 1:
        yield from map(one, names)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(one, names, chunksize=256)


def _header(folder: Path, name: str) -> tuple[str, str, str, str]:
    try:
        ds = dicom.header(folder / f"{name}.dcm")
        return name, str(ds.PatientID), str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID)
    except (DataError, AttributeError):
        return name, "", "", ""


def _load(slices: tuple[tuple[Path, int], ...]) -> Scan:
    series = dicom.read(tuple(p for p, _ in slices), mend_unsigned=True)
    bits = np.array([b for _, b in slices])[series.order]
    labels = (bits[:, None] >> np.arange(len(LABELS)) & 1).astype(np.uint8)
    return Scan(series.hu, None, None, labels, series.spacing, series.positions)
