"""Synthetic heads as a data set: rendered once into a folder, then read like any other.

    synthetic.json   settings, one entry a head: name, file, types
    s<seed>-....npz  hu float16, label uint8 (0 outside, 1 cavity, 2.. subtypes), spacing, positions

Small heads (size 64, a few slices) serve the tests and `ich reproduce --scale small`. Seeds lie in ranges of their own, so
that no head of a study was seen by the shipped networks or is one of their held-out heads.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ..files import whole
from ..heads.phantom.study import Plan, generate, one_thread
from ..product.window import Resampler
from .about import About
from .volume import AIR_HU, SUBTYPES, DataError, Scan, Volume, labels_of, types_of

NAME = "synthetic"
INDEX = "synthetic.json"
FIRST_SEED = 5_000_000  # the shipped networks train below 1,000,000 and are measured from 9,000,000 on

ABOUT = About(
    title="Synthetic heads of ich.phantom", source="python -m ich data synthetic --out DIR", licence="Apache-2.0, as this program",
    use="tests, and `ich reproduce --scale small` as a proof from end to end", layout=f"{INDEX}, s*.npz")


@dataclass(frozen=True)
class Settings:
    """What `write` renders."""

    count: int = 24
    first_seed: int = FIRST_SEED
    size: int = 256  # pixels a side; the field of view stays about 240 mm
    slices: int = 0  # consecutive slices, at the blood where there is any; 0: the whole head
    normal: float = 0.25  # share of heads without blood


@one_thread
def render(seed: int, settings: Settings) -> Scan:
    """One head from its seed alone."""
    plan = Plan.draw(np.random.default_rng((seed, 1)), settings.normal)
    if settings.slices:
        stretches = generate(seed, plan, slices=settings.slices, runs=2 if plan.bleeds else 1)
        head = max(stretches, key=lambda p: int((p.label > 1).sum()))  # one stretch in three misses the blood
    else:
        head = generate(seed, plan)
    hu, label, pixel = head.hu, head.label, head.pixel
    if settings.size != hu.shape[1]:
        to = Resampler(hu, (pixel, pixel), settings.size, 0.0)
        share = np.stack([to.down((label == k).astype(np.float32)) for k in range(7)])
        hu, label, pixel = to.down(hu), share.argmax(0).astype(np.uint8), pixel * hu.shape[1] / settings.size
    return _scan(hu, label, (pixel, pixel), np.asarray(head.positions, float))


def _scan(hu: np.ndarray, label: np.ndarray, spacing: tuple[float, float], positions: np.ndarray) -> Scan:
    mask = np.where(label > 1, label, 0).astype(np.uint8)  # phantom and mask number the subtypes alike, from 2
    return Scan(np.maximum(hu.astype(np.float32), AIR_HU), mask, label > 0, labels_of(mask), spacing, positions)


def write(folder: Path, settings: Settings, progress=iter, workers: int = 1) -> None:
    """Renders what is not there yet. A file appears whole or not at all, the index last. progress wraps the seeds."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(settings.first_seed, settings.first_seed + settings.count)
    one = partial(_head, folder, settings)
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            heads = [h for _, h in zip(progress(seeds), pool.map(one, seeds))]
    else:
        heads = [one(seed) for seed in progress(seeds)]
    with whole(folder / INDEX) as part:
        part.write_text(json.dumps({"settings": asdict(settings), "heads": heads}, indent=1) + "\n")


def _head(folder: Path, settings: Settings, seed: int) -> dict:
    """Entry of the index; renders the file if it is not there."""
    path = folder / f"s{seed}-{settings.size}-{settings.slices}-{round(settings.normal * 100)}.npz"
    if not path.exists():
        scan = render(seed, settings)
        label = np.maximum(scan.mask, scan.cavity.astype(np.uint8))
        with whole(path) as part, part.open("wb") as f:
            np.savez_compressed(f, hu=scan.hu.astype(np.float16), label=label, spacing=scan.spacing, positions=scan.positions)
    types = types_of(_load(path).mask)
    return {"name": f"s{seed}", "file": path.name, "types": [k for k in SUBTYPES if k in types]}


def _load(path: Path) -> Scan:
    try:
        with np.load(path) as z:
            hu, label, spacing, positions = z["hu"], z["label"], z["spacing"], z["positions"]
    except FileNotFoundError:
        raise DataError(path, "missing", "run `ich data synthetic` again with the same settings") from None
    except Exception as err:  # numpy and zipfile raise many kinds on damaged archives
        raise DataError(path, f"unreadable ({type(err).__name__})", "delete it and run `ich data synthetic` again") from None
    return _scan(hu, label, (float(spacing[0]), float(spacing[1])), positions)


def find(folder: Path) -> Path | None:
    return folder if (folder / INDEX).is_file() else None


def volumes(root: Path, cache: Path | None, notes: list[DataError]) -> list[Volume]:
    path = root / INDEX
    try:
        heads = json.loads(path.read_text())["heads"]
        rows = [(str(h["name"]), root / Path(h["file"]).name, frozenset(h["types"]) & set(SUBTYPES)) for h in heads]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(path, "not an index of synthetic heads", "delete it and run `ich data synthetic` again") from None
    if not rows:
        raise DataError(path, "lists no heads", "run `ich data synthetic` with --count of 1 or more")
    return [Volume(NAME, name, name, types, bool(types), partial(_load, file), (file,)) for name, file, types in rows]
