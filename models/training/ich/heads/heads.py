"""Held-out synthetic heads to measure on: known bleeds of known density, rendered once into a folder.

    heads.json       version of the generator that rendered them
    <name>.npz       hu int16, label uint8, spacing, positions, bleeds

Every third head is normal; the others have each subtype in turn, alone or with one or two more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..files import whole
from ..product.config import SUBTYPES
from ..product.data import HELD_OUT
from .phantom.bleeds import EXTREMES_ML, RANGES_ML, blood_hu
from .phantom.fields import wider
from .phantom.study import Phantom, Plan, generate
from ..product.scan import Bleed, Scan

WIDEN = 0.12  # of each range at both ends: how far beyond the training ranges `--wide` heads may lie
FIRST_SEED = HELD_OUT + 200_000  # apart from the sample studies


def plan_of(i: int, widen: float) -> Plan:
    """Bleeds of the i-th head, densities included."""
    if i % 3 == 0:
        return Plan()
    rng = np.random.default_rng((FIRST_SEED + i, 7))
    u = wider(rng, widen)
    first = SUBTYPES[(i - i // 3 - 1) % len(SUBTYPES)]
    others = [str(k) for k in rng.permutation([k for k in SUBTYPES if k != first])]
    kinds = [first, *others[: int(rng.choice([0, 1, 2], p=[0.5, 0.38, 0.12]))]]
    bleeds = []
    for k in kinds:
        low, high = (EXTREMES_ML if rng.random() < 0.2 else RANGES_ML)[k]
        hu = blood_hu(rng)
        hu += widen * (26 if hu > 57 else 13) * rng.uniform(-1, 1)  # the widths of its two ranges
        bleeds.append((k, float(np.exp(u(np.log(low), np.log(high)))), float(hu)))
    return Plan(tuple(bleeds))


def render(i: int, widen: float) -> Scan:
    """The i-th head; HU are whole numbers, as in a CT image."""
    plan = plan_of(i, widen)
    p = generate(FIRST_SEED + i, plan, widen=widen)
    bleeds = tuple(Bleed(k, hu, ml) for k, ml, hu in plan.bleeds)
    return scan_of(p, name_of(i, widen), "phantom", bleeds)


def scan_of(p: Phantom, name: str, kind: str, bleeds: tuple[Bleed, ...]) -> Scan:
    """A rendered head as a scan."""
    return Scan(np.round(p.hu), (p.pixel, p.pixel), np.asarray(p.positions, float), p.label, name, kind, bleeds, p.unseen)


def name_of(i: int, widen: float) -> str:
    return f"head{i:03d}" + ("w" if widen else "")


def held_out(i: int, widen: float, folder: Path | None) -> Scan:
    """The i-th head, from the folder if it is there, else rendered and kept."""
    return kept(folder, name_of(i, widen), lambda: render(i, widen))


def kept(folder: Path | None, name: str, make: Callable[[], Scan]) -> Scan:
    """The scan of this name from the folder if it is there, else made, and kept if there is a folder."""
    path = Path(folder) / f"{name}.npz" if folder else None
    if path and path.exists():
        return load(path)
    scan = make()
    if path:
        save(path, scan)
    return scan


def save(path: Path, scan: Scan) -> None:
    """A file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bleeds = json.dumps([[b.subtype, b.hu, b.target_ml] for b in scan.bleeds])
    more = {} if scan.unseen is None else {"unseen": np.packbits(scan.unseen)}
    with whole(path) as part, part.open("wb") as f:
        np.savez_compressed(f, hu=np.clip(scan.hu, -1024, 3071).astype(np.int16), label=scan.label, spacing=scan.spacing,
                            positions=scan.positions, bleeds=bleeds, kind=scan.kind, **more)


def load(path: Path) -> Scan:
    with np.load(path) as z:
        bleeds = tuple(Bleed(str(k), float(hu), float(ml)) for k, hu, ml in json.loads(str(z["bleeds"])))
        spacing = tuple(float(v) for v in z["spacing"])
        label = z["label"]
        unseen = np.unpackbits(z["unseen"])[: label.size].reshape(label.shape) > 0 if "unseen" in z else None
        return Scan(z["hu"].astype(np.float32), spacing, z["positions"], label, path.stem, str(z["kind"]), bleeds, unseen)


def generator_version() -> str:
    """Digest of the sources that draw a head."""
    h = hashlib.sha256()
    for f in sorted([*Path(__file__).parent.glob("phantom/*.py"), Path(__file__)]):
        h.update(f.read_bytes())
    return h.hexdigest()[:12]


def version_of(folder: Path | None) -> str:
    """Version of the generator that rendered the heads of a folder; notes the present one in a new folder.

    Heads stay when the generator changes, so that one network can be compared with the next on the same heads.
    """
    if folder is None:
        return generator_version()
    path = Path(folder) / "heads.json"
    if path.exists():
        return str(json.loads(path.read_text())["generator"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"generator": generator_version()}) + "\n")
    return generator_version()
