"""An experiment's folder, read and checked: volumes.csv, methods.json, <method>/log.csv, <method>/embedding.npz."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...product.config import SUBTYPES
from ...datasets.volume import DataError
from ..paper import METHODS, TITLES
from .metrics import METRIC, Mean, mean_of

COLUMNS = ("dataset", "method", "seed", "fold", "volume", "bleeding", "types", "voxel_ml", "tp", "fp", "fn", "truth_ml", "found_ml")
DATASETS = {"hssayeni": "Hssayeni et al.", "seg-cq500": "Seg-CQ500", "synthetic": "Synthetic heads", "instance": "INSTANCE 2022", "bhsd": "BHSD"}
PRETEXT = "pretext"  # phase of a pretext's rows in a log
RERUN = "run `ich reproduce` again, which makes it anew"


@dataclass(frozen=True)
class Row:
    """One volume, as one method with one seed segmented it; voxels on the network's grid."""

    dataset: str
    method: str
    seed: int
    fold: int
    volume: str
    bleeding: bool
    types: frozenset[str]
    voxel_ml: float
    tp: int
    fp: int
    fn: int
    truth_ml: float
    found_ml: float


@dataclass(frozen=True)
class Part:
    """Volumes that are reported together: all of a data set, or those with hemorrhage (2.4)."""

    dataset: str
    ich: bool

    @property
    def title(self) -> str:
        return f"{DATASETS.get(self.dataset, self.dataset)}, {'ICH volumes' if self.ich else 'all volumes'}"

    @property
    def suffix(self) -> str:
        """Of the metric's name in paper.PAPER_TABLE3."""
        return "_ich" if self.ich else ""


@dataclass
class Experiment:
    """Everything in the folder. about: methods.json; logs, embeddings: by method."""

    folder: Path
    rows: list[Row]
    about: dict = field(default_factory=dict)
    logs: dict[str, list[dict]] = field(default_factory=dict)
    embeddings: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    def datasets(self) -> list[str]:
        return list(dict.fromkeys(r.dataset for r in self.rows))

    def methods(self, dataset: str | None = None) -> list[str]:
        """In the order of Table 3; others after them."""
        there = dict.fromkeys(r.method for r in self.rows if dataset in (None, r.dataset))
        return [m for m in METHODS if m in there] + [m for m in there if m not in METHODS]

    def parts(self, dataset: str) -> list[Part]:
        """All volumes and those with hemorrhage; only the latter where there are no others, as for Seg-CQ500 in the paper."""
        kinds = {r.bleeding for r in self.rows if r.dataset == dataset}
        return ([Part(dataset, False)] if False in kinds else []) + ([Part(dataset, True)] if True in kinds else [])

    def all_parts(self) -> list[Part]:
        return [p for d in self.datasets() for p in self.parts(d)]

    def select(self, part: Part, method: str | None = None) -> Iterator[Row]:
        for r in self.rows:
            if r.dataset == part.dataset and (r.bleeding or not part.ich) and method in (None, r.method):
                yield r

    def seeds(self) -> list[int]:
        return sorted({r.seed for r in self.rows})

    def folds(self, dataset: str) -> int:
        return len({r.fold for r in self.rows if r.dataset == dataset})

    def volumes(self, part: Part) -> list[str]:
        return sorted({r.volume for r in self.select(part)})

    def values(self, part: Part, metric: str) -> dict[str, dict[str, float]]:
        """[method][volume], mean over seeds."""
        out: dict[str, dict[str, float]] = {}
        for method in self.methods(part.dataset):
            each: dict[str, list[float]] = {}
            for r in self.select(part, method):
                each.setdefault(r.volume, []).append(float(METRIC[metric](r.tp, r.fp, r.fn)))
            out[method] = {v: float(np.mean(each[v])) for v in sorted(each)}
        return out

    def mean(self, part: Part, method: str, metric: str) -> Mean:
        """A cell of Table 3, 0 to 1."""
        rows = list(self.select(part, method))
        volumes, seeds = sorted({r.volume for r in rows}), sorted({r.seed for r in rows})
        table = np.full((len(seeds), len(volumes)), np.nan)
        for r in rows:
            table[seeds.index(r.seed), volumes.index(r.volume)] = METRIC[metric](r.tp, r.fp, r.fn)
        return mean_of(table)


def title(method: str) -> str:
    return TITLES.get(method, method)


def read(folder: Path) -> Experiment:
    """The experiment in a folder. Raises DataError for what is missing or damaged; logs and embeddings may be absent."""
    folder = Path(folder)
    e = Experiment(folder, read_rows(folder / "volumes.csv"), _read_json(folder / "methods.json"))
    for method in e.methods():
        if (log := folder / method / "log.csv").exists():
            e.logs[method] = _read_log(log)
        if (points := folder / method / "embedding.npz").exists():
            e.embeddings[method] = _read_embedding(points)
    return e


def read_rows(path: Path) -> list[Row]:
    """Rows of volumes.csv, every value checked."""
    rows, seen, bleeding = [], set(), {}
    for i, raw in _table(path, COLUMNS):
        try:
            r = Row(raw["dataset"], raw["method"], int(raw["seed"]), int(raw["fold"]), raw["volume"], {"0": False, "1": True}[raw["bleeding"]],
                    frozenset(filter(None, raw["types"].split("+"))), float(raw["voxel_ml"]), int(raw["tp"]), int(raw["fp"]), int(raw["fn"]),
                    float(raw["truth_ml"]), float(raw["found_ml"]))
        except (ValueError, KeyError):
            raise DataError(path, f"line {i} holds a value that cannot be read", RERUN) from None
        numbers = (r.voxel_ml, r.tp, r.fp, r.fn, r.truth_ml, r.found_ml)
        if not (np.isfinite(numbers).all() and min(numbers) >= 0 and r.types <= set(SUBTYPES)):
            raise DataError(path, f"line {i} holds a value out of range", RERUN)
        key = (r.dataset, r.method, r.seed, r.volume)
        if key in seen:
            raise DataError(path, f"line {i}: volume {r.volume} a second time for {r.method}, seed {r.seed}", RERUN)
        if bleeding.setdefault((r.dataset, r.volume), r.bleeding) != r.bleeding:
            raise DataError(path, f"line {i}: volume {r.volume} is once with and once without hemorrhage", RERUN)
        seen.add(key)
        rows.append(r)
    if not rows:
        raise DataError(path, "no rows", RERUN)
    return rows


def _table(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict]]:
    """Line numbers and rows of a CSV file that has at least these columns."""
    try:
        with path.open(newline="", encoding="utf-8") as f:
            table = csv.DictReader(f)
            missing = [c for c in columns if c not in (table.fieldnames or ())]
            if missing:
                raise DataError(path, f"no column {missing[0]}", RERUN)
            for raw in table:
                if any(raw[c] is None for c in columns):
                    raise DataError(path, f"line {table.line_num} ends early", RERUN)
                yield table.line_num, raw
    except FileNotFoundError:
        raise DataError(path, "no such file", "give the folder that `ich reproduce --out` wrote") from None
    except (UnicodeDecodeError, csv.Error):
        raise DataError(path, "not a CSV file", RERUN) from None


def _read_json(path: Path) -> dict:
    try:
        about = json.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(path, "no such file", "give the folder that `ich reproduce --out` wrote") from None
    except ValueError:
        raise DataError(path, "not JSON", RERUN) from None
    if not isinstance(about, dict):
        raise DataError(path, "not a JSON object", RERUN)
    return about


def pretext_rows(log: list[dict]) -> tuple[list[dict], list[dict]]:
    """A method's log as that of its pretext and that of the segmentation after it."""
    return [r for r in log if r["phase"] == PRETEXT], [r for r in log if r["phase"] != PRETEXT]


def _read_log(path: Path) -> list[dict]:
    """Rows with numbers where there are numbers; empty cells are left out."""
    out = []
    for i, raw in _table(path, ("epoch", "phase", "loss")):
        row = {k: v for k, v in raw.items() if k in ("phase", "dataset") and v}
        try:
            row |= {k: float(v) for k, v in raw.items() if k not in ("phase", "dataset", None) and v}
        except ValueError:
            raise DataError(path, f"line {i} holds a value that cannot be read", RERUN) from None
        out.append(row)
    return out


def _read_embedding(path: Path) -> dict[str, np.ndarray]:
    """vectors (N, C) float, bleeding (N,) bool, types (N, 5) bool; slices of unknown bleeding are left out, unknown types are False."""
    try:
        with np.load(path) as z:
            vectors, bleeding, types = z["vectors"].astype(float), np.asarray(z["bleeding"]), np.asarray(z["types"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise DataError(path, "not an embedding", RERUN) from None
    n = len(vectors)
    if vectors.ndim != 2 or bleeding.shape != (n,) or types.shape != (n, len(SUBTYPES)) or not np.isfinite(vectors).all():
        raise DataError(path, "vectors, bleeding and types do not fit each other", RERUN)
    known = (bleeding == 0) | (bleeding == 1)
    return {"vectors": vectors[known], "bleeding": bleeding[known] == 1, "types": types[known] == 1}
