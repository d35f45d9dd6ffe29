"""Heads without blood whose pineal gland, choroid plexus, falx and basal ganglia are heavily calcified: none of it may be called a bleed.

Rendered as the held-out heads are (heads.py), from seeds of their own, without surgery. The calcifications are as large and
dense as training draws them and larger: a pineal gland of up to 1 cm, plaques of the falx of up to 3 cm.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..files import whole
from ..product.data import HELD_OUT
from ..product.measure import FOUND_SHARE
from .phantom.anatomy import Head
from .phantom.bleeds import Lesion
from .phantom.fields import FAR, ellipsoid, noise, wider
from .phantom.scanner import Camera, Quality, Series, render
from .phantom.study import Plan, make_head, one_thread, top_of
from ..product.scan import Scan

KIND = "calcified"  # of a scan
FIRST_SEED = HELD_OUT + 400_000  # apart from the held-out heads
LEAST_ML = 0.05  # a piece that this slice spacing shows less of is no calcification to judge by
NEAR_MM = 1.5  # partial volume around a calcification is as bright as blood: what is marked there counts


@dataclass
class Calcified(Scan):
    """near (S, rows, columns): number of the piece, from 1, that a voxel lies in or beside. pieces: their kinds and mL."""

    near: np.ndarray | None = None
    pieces: tuple[tuple[str, float], ...] = field(default=())


def calcifications(rng: np.random.Generator, head: Head) -> list[tuple[str, Lesion]]:
    """One or two of each kind."""
    x, y, z = head.x, head.y, head.z
    rough = 0.5 * noise(rng, head.grid, 9.0).ravel()[head.index]
    out = []

    def add(kind: str, centre, radii, low: float, high: float, within: np.ndarray | float = -FAR) -> None:
        region = np.maximum(ellipsoid(x, y, z, centre, radii) + rough, within)
        region = np.maximum(region, 1.0 - head.depth)  # inside the skull
        out.append((kind, Lesion("", np.minimum(region, FAR).astype(np.float32), "cavity", rng.uniform(low, high), 30, 0)))

    r = rng.uniform(2.5, 5.0)
    add("pineal", (rng.normal(0, 1), 26, 16), (r, 1.2 * r, r), 80, 400)
    for side in (-1, 1):
        r = rng.uniform(2.5, 5.0)
        add("choroid", (23 * side, 35, 27), (r, 1.6 * r, r), 70, 350)
    for _ in range(2):
        r = rng.uniform(8, 16)
        falx = np.maximum(np.abs(head.brain["xm"]) - rng.uniform(1.2, 3.0), head.brain["falx_ext"])
        add("falx", (0, rng.uniform(-60, 30), rng.uniform(45, 75)), (r, r, r), 90, 600, falx)
    for side in (-1, 1):
        r = rng.uniform(2.5, 5.0)
        add("basal ganglia", (19 * side, -4, 16), (r, 1.6 * r, r), 60, 200)
    return out


@one_thread
def make(i: int, widen: float) -> Calcified:
    """The i-th head, from its number alone; HU are whole numbers, as in a CT image."""
    rng = np.random.default_rng(FIRST_SEED + i)
    head, others = make_head(rng, Plan(), widen=widen)
    own = calcifications(rng, head)
    u = wider(rng, widen)
    quality, thickness, pixel, side = Quality.draw(rng, widen), u(3.0, 6.0), u(0.86, 1.05), 256
    first = (-side / 2 * pixel + rng.normal(0, 4), -side / 2 * pixel + rng.normal(0, 6))
    top = top_of(head) + rng.uniform(-4, 10)
    positions = top - thickness * np.arange(int(rng.uniform(150, 200) / thickness))[::-1]
    lesions = others + [lesion for _, lesion in own]
    series = Series(positions, thickness, side, side, pixel, first)
    made = render(rng, head, lesions, series, quality)
    near, inside = _where(Camera(head, lesions, series), series, len(others), len(own))
    near[made.label == 0] = 0
    ml = pixel**2 * thickness / 1000
    pieces = tuple((kind, float(inside[k] * ml)) for k, (kind, _) in enumerate(own))
    return Calcified(np.round(made.hu), (pixel, pixel), positions, made.label, name_of(i, widen), KIND, near=near, pieces=pieces)


def _where(camera: Camera, series: Series, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of the nearest piece within NEAR_MM of each voxel, 0 elsewhere; voxels within each, from the planes of the slices."""
    near = np.zeros((len(series.positions), series.rows, series.columns), np.uint8)
    inside = np.zeros(count)
    for z, at in enumerate(series.positions):
        away = np.full((count, series.rows, series.columns), FAR, np.float32)
        for k in range(series.sub):
            _, plane = camera.plane(at + ((k + 0.5) / series.sub - 0.5) * series.thickness)
            part = np.full((count, series.rows, series.columns), FAR, np.float32)
            for j in range(count):
                if (name := f"lesion{first + j}") in plane:
                    part[(j, *camera.box)] = plane[name]
            inside += (part < 0).sum(axis=(1, 2)) / series.sub
            away = np.minimum(away, part)
        near[z] = np.where(away.min(0) < NEAR_MM, away.argmin(0) + 1, 0)
    return near, inside


def name_of(i: int, widen: float) -> str:
    return f"calcified{i:03d}" + ("w" if widen else "")


def held_out(i: int, widen: float, folder: Path | None) -> Calcified:
    """The i-th head, from the folder if it is there, else rendered and kept."""
    path = Path(folder) / f"{name_of(i, widen)}.npz" if folder else None
    if path and path.exists():
        return load(path)
    scan = make(i, widen)
    if path:
        save(path, scan)
    return scan


def save(path: Path, scan: Calcified) -> None:
    """A file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part, part.open("wb") as f:
        np.savez_compressed(f, hu=np.clip(scan.hu, -1024, 3071).astype(np.int16), label=scan.label, near=scan.near, spacing=scan.spacing,
                            positions=scan.positions, pieces=json.dumps(scan.pieces))


def load(path: Path) -> Calcified:
    with np.load(path) as z:
        pieces = tuple((str(kind), float(ml)) for kind, ml in json.loads(str(z["pieces"])))
        spacing = tuple(float(v) for v in z["spacing"])
        return Calcified(z["hu"].astype(np.float32), spacing, z["positions"], z["label"], path.stem, KIND, near=z["near"], pieces=pieces)


def called(scan: Calcified, found: np.ndarray) -> list[dict]:
    """What became of each calcification; found as Scan.label. It is called a bleed as a hemorrhage counts as found: when
    what is marked in it or beside it makes a tenth of it."""
    out = []
    for k, (kind, ml) in enumerate(scan.pieces, 1):
        if ml < LEAST_ML:
            continue
        marked = scan.ml((scan.near == k) & (found > 1))
        out.append({"kind": kind, "ml": ml, "marked_ml": marked, "called": bool(marked > 0 and marked >= FOUND_SHARE * ml)})
    return out
