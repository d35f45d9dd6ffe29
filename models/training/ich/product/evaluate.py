"""Measures three networks, from checkpoints or from a bundle, on held-out heads, the sample studies, real heads and painted ones.

    <out>/evaluate.json   generator, summary, judged, clinical, and the rows of scans, bleeding, painted, samples, calcified, mix, phantoms
    <out>/found/          what was found in each scan
    <out>/worst/, <out>/real/, <out>/bleeding/, <out>/painted/, <out>/samples/, <out>/calcified/   pictures: image, truth, found
    <out>/clinical/       agreement in mL, lesions found by size, uncertainty, calibration
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..bundles import edge, manifest
from ..heads import bleeding, calcified, heads, mix
from . import judge
from .measure import dice, measure
from .reader import Reader, apply_post, clean_cavity, prepare
from ..paper.report.clinical import HeadResult, clinical, head_row
from .scan import Scan, name_of, read_sample, read_scan, volumes

if TYPE_CHECKING:
    from ..heads.room import Room

__all__ = ["Scan", "Source", "apply_post", "clean_cavity", "dice", "evaluate", "prepare", "volumes"]

KINDS = {"scans": "scan", "bleeding": bleeding.KIND, "painted": "painted", "samples": "sample", "calcified": calcified.KIND, "mix": mix.KIND,
         "phantoms": "phantom"}  # keys of evaluate.json
CLINICAL = "head"  # key of a row's share in `clinical`, on its way to it
WORST = 6  # pictures of each way to fail


@dataclass(frozen=True)
class Source:
    """Where the networks come from: a folder of checkpoints or a bundle, at an operating point."""

    runs: Path | None = None
    bundle: Path | None = None
    point: str = "balanced"


@dataclass(frozen=True)
class Job:
    """One scan to measure. at: number of the head or of the painting; path: sample, scan, or the scan to paint into."""

    kind: str  # as Scan.kind
    at: int = 0
    path: Path | bleeding.Case | None = None


@dataclass(frozen=True)
class Wanted:
    """What to measure on."""

    phantoms: int = 0
    widen: float = 0.0
    samples: Path | None = None
    scans: tuple[Path, ...] = field(default=())
    painted: int = 0  # paintings of each scan
    calcified: int = 0  # heads without blood, with large calcifications
    mix: int = 0  # held-out heads with a real-like mix of hemorrhages
    bleeding: tuple[Path, ...] = field(default=())  # folders of real heads with labelled blood
    cache: Path | None = None  # of rendered heads and paintings


def evaluate(source: Source, wanted: Wanted, out: Path, processes: int = 2, progress: bool = True) -> dict:
    """Measures, prints and writes everything."""
    out = Path(out)
    cache = Path(wanted.cache) if wanted.cache else out / "heads"
    reader = reader_of(source)  # a wrong folder shows at once, not in a worker, and leaves nothing behind
    version = heads.version_of(cache)
    chose = edge.chosen_on(manifest.read(source.bundle)) if source.bundle else frozenset()
    rows = _measure_all(source, jobs_of(wanted), wanted.widen, cache, out, processes, progress)
    for row in judge.of_kind(rows, bleeding.KIND):
        row["chose_edge"] = edge.key(row["set"], row["name"]) in chose
    seen = {kind: [row[CLINICAL] for part in judge.sick_and_normal(judge.of_kind(rows, kind)) for row in part] for kind in ("phantom", mix.KIND)}
    for row in rows:
        row.pop(CLINICAL, None)
    heads_seen = seen[mix.KIND] or seen["phantom"]  # the real-like mix, where there is one
    agreed = clinical(heads_seen) if heads_seen else None
    result = {"networks": reader.counts, "generator": {"heads": version, "now": heads.generator_version(), "widen": wanted.widen},
              "summary": judge.summary(rows), "judged": judge.judged(rows),
              "clinical": agreed and {"of": mix.KIND if seen[mix.KIND] else "phantom", **agreed}}
    for key, kind in KINDS.items():
        result[key] = judge.of_kind(rows, kind)
    result = rounded(result)
    (out / "evaluate.json").write_text(json.dumps(result, indent=1) + "\n")
    _pictures(rows, source, wanted, cache, out)
    if agreed:
        from ..paper.report import clinical_figures  # not in the workers: it brings matplotlib

        clinical_figures.draw(heads_seen, agreed, out / "clinical")
    print(text(result))
    if version != heads.generator_version():
        print(f"heads were rendered by generator {version}, now {heads.generator_version()}: delete {cache} to render them anew")
    return result


def jobs_of(wanted: Wanted) -> list[Job]:
    jobs = [Job("scan", path=Path(p)) for p in wanted.scans]
    jobs += [Job("sample", path=p) for p in sorted(Path(wanted.samples).glob("*.zip"))] if wanted.samples else []
    jobs += [Job("painted", i, Path(p)) for p in wanted.scans for i in range(wanted.painted)]
    jobs += [Job(calcified.KIND, i) for i in range(wanted.calcified)]
    jobs += [Job(bleeding.KIND, path=case) for folder in wanted.bleeding for case in bleeding.cases(folder)]
    jobs += [Job(mix.KIND, i) for i in range(wanted.mix)]
    return jobs + [Job("phantom", i) for i in range(wanted.phantoms)]


def scan_of(job: Job, source: Source, widen: float, cache: Path) -> Scan:
    if job.kind == "phantom":
        return heads.held_out(job.at, widen, cache)
    if job.kind == calcified.KIND:
        return calcified.held_out(job.at, widen, cache)
    if job.kind == mix.KIND:
        return mix.held_out("judge", job.at, cache)
    if job.kind == bleeding.KIND:
        scan, mask = bleeding.read(job.path)
        return replace(scan, label=mask)
    if job.kind == "sample":
        return read_sample(job.path)
    if job.kind == "painted":
        from ..heads.paint import painted

        return painted(name_of(job.path), job.at, cache, lambda: _room(source, job.path))
    return read_scan(job.path)


@functools.cache
def reader_of(source: Source) -> Reader:
    """Loaded once a process."""
    return Reader.of_bundle(source.bundle, point=source.point) if source.bundle else Reader.of_runs(source.runs)


@functools.lru_cache(maxsize=1)
def _room(source: Source, path: Path) -> Room:
    """Of a real head, kept for its next painting."""
    from ..heads.room import enter

    scan = read_scan(path)
    return enter(scan, reader_of(source).cavity(scan))


def _one(source: Source, job: Job, widen: float, cache: Path, out: Path) -> dict:
    """Row of one scan; what was found is kept for the pictures."""
    scan = scan_of(job, source, widen, cache)
    reading = reader_of(source).read(scan)
    (out / "found").mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out / "found" / f"{scan.kind}-{scan.name}.npz", found=reading.label)
    if scan.kind == bleeding.KIND:
        return bleeding.measure(scan, scan.label, reading.cavity, reading.label, job.path.set)
    row = measure(scan, reading.cavity, reading.label)
    if isinstance(scan, calcified.Calcified):
        row["calcifications"] = calcified.called(scan, reading.label)
    if scan.kind in ("phantom", mix.KIND):
        row[CLINICAL] = head_row(HeadResult(scan.name, scan.label, scan.counted(reading.label), scan.slice_ml(), scan.counted(reading.any, 0)))
    return row


def _measure_all(source, jobs, widen, cache, out, processes, progress) -> list[dict]:
    """Rows in the order of the jobs."""
    from tqdm import tqdm

    rows: list[dict | None] = [None] * len(jobs)
    with tqdm(total=len(jobs), unit="scan", disable=not progress) as bar:
        if processes <= 1:
            for i, job in enumerate(jobs):
                rows[i] = _one(source, job, widen, cache, out)
                bar.update()
            return rows
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by the workers when they start
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            waiting = {pool.submit(_one, source, job, widen, cache, out): i for i, job in enumerate(jobs)}
            for done in as_completed(waiting):
                rows[waiting[done]] = done.result()
                bar.update()
    return rows


def _pictures(rows: list[dict], source: Source, wanted: Wanted, cache: Path, out: Path) -> None:
    """All real, painted and sample heads; of the held-out heads those that went worst."""
    from .montage import compare, save

    worst = set(judge.worst(rows, WORST))
    folder = {"scan": "real", bleeding.KIND: "bleeding", "painted": "painted", "sample": "samples", calcified.KIND: "calcified"}
    for job, row in zip(jobs_of(wanted), rows):
        if job.kind in folder or row["name"] in worst:
            scan = scan_of(job, source, wanted.widen, cache)
            with np.load(out / "found" / f"{scan.kind}-{scan.name}.npz") as z:
                save(out / folder.get(job.kind, "worst") / f"{scan.name}.png", compare(scan, z["found"]))


def rounded(x):
    """Four decimals everywhere: enough to read, and the same on every machine."""
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [rounded(v) for v in x]
    return x if x is None or isinstance(x, (str, int, bool)) else round(float(x), 4)


def text(result: dict) -> str:
    """A line per scan that is not a phantom, then the judged figures."""
    lines = [line(r) for key in KINDS for r in result[key]]
    for j in result["judged"]:
        mark = "met   " if j["met"] else "MISSED"
        lines.append(f"{mark} {j['what']:48s} {j['value']:7.3f}{_interval(j['ci']):16s}  target {j['target']:8s} n {j['n']:3d}  {j['detail']}")
    return "\n".join(lines)


def _interval(ci: list[float] | None) -> str:
    return f" [{ci[0]:.3f}, {ci[1]:.3f}]" if ci else ""


def line(row: dict) -> str:
    parts = [f"{row['name']:24s} cavity {row['cavity_ml']:5.0f} mL"]
    if "cavity_dice" in row:
        parts.append(f"{row['cavity_dice']:.3f}")
    truth = row.get("truth_ml")
    shown = [k for k, v in row["found_ml"].items() if v > 0.05 or (truth and truth.get(k, 0) > 0.05)]
    parts.append("found" + ("/true " if truth else " ") + " ".join(f"{k} {row['found_ml'][k]:.1f}" + (f"/{truth[k]:.1f}" if truth and k in truth else "") for k in shown))
    if "dice" in row:
        parts.append("dice " + " ".join(f"{k} {v:.2f}" for k, v in row["dice"].items()))
    if row["false_ml"] > 0.05:
        parts.append(f"false {row['false_ml']:.1f} rim {row['rim_ml']:.1f}")
    return "  ".join(parts)
