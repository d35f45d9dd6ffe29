"""The sample studies the product ships: whole heads at scanner resolution, with their truth.

Their seeds lie in the held-out range, so no net has seen them. A zip holds study.json, ct/NNN.png (16 bit, HU + 1024)
and labels/NNN.png (0 outside, 1 cavity, 2 IPH, 3 IVH, 4 SAH, 5 SDH, 6 EDH), inferior to superior.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ...files import whole
from .scanner import Quality, Series, render
from .study import Phantom, Plan, make_head, top_of

SLICES, SIDE, PIXEL, SPACING = 32, 512, 0.47, 5.0
EPOCH = (2026, 1, 1, 0, 0, 0)  # fixed time stamps: the same seed gives the same bytes


@dataclass(frozen=True)
class Sample:
    name: str
    description: str
    seed: int
    plan: Plan
    sex: str


def _plan(*bleeds, age: float, pitch: float) -> Plan:
    traits = {"age": age, "pitch": pitch, "yaw": 1.5, "roll": -1.0, "size_x": 1.0, "size_y": 1.0, "size_z": 1.0}
    return Plan(bleeds, traits, several=False)


SAMPLES = (
    Sample("normal", "Head without hemorrhage.", 9_100_001, _plan(age=54, pitch=2.0), "F"),
    Sample("mixed", "Intraparenchymal hemorrhage, blood in the ventricles and a subdural hematoma.",
           9_100_008, _plan(("IPH", 24.0, 68.0), ("IVH", 11.0, 66.0), ("SDH", 48.0, 70.0), age=67, pitch=3.0), "M"),
    Sample("epidural", "Epidural hematoma with subarachnoid blood.",
           9_100_003, _plan(("EDH", 38.0, 72.0), ("SAH", 16.0, 66.0), age=31, pitch=1.0), "M"),
)


def make(sample: Sample) -> Phantom:
    """Render one sample study."""
    rng = np.random.default_rng(sample.seed)
    head, lesions = make_head(rng, sample.plan)
    first = -(SIDE - 1) / 2 * PIXEL
    positions = top_of(head) + 6.0 - SPACING * np.arange(SLICES)[::-1]
    series = Series(positions, SPACING, SIDE, SIDE, PIXEL, (first, first), sub=5)
    r = render(rng, head, lesions, series, Quality.good(rng))
    return Phantom(np.clip(np.round(r.hu), -1024, 3071), r.label, positions, PIXEL, (first, first), SPACING, head.traits, sample.plan)


def write(path: Path, sample: Sample, p: Phantom) -> None:
    study = {
        "name": sample.name, "description": sample.description, "seed": sample.seed, "rows": SIDE, "columns": SIDE,
        "pixel_spacing_mm": [PIXEL, PIXEL], "slice_thickness_mm": SPACING, "orientation": [1, 0, 0, 0, 1, 0],
        "positions_mm": [[round(p.first[0], 3), round(p.first[1], 3), round(float(z), 3)] for z in p.positions],
        "age_years": int(p.traits["age"]), "sex": sample.sex, "kvp": 120,
        "truth_ml": {k: round(v, 3) for k, v in p.truth_ml().items()}, "cavity_ml": round(p.cavity_ml(), 2),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as z:
        _add(z, "study.json", (json.dumps(study, indent=1) + "\n").encode())
        for i in range(len(p.hu)):
            _add(z, f"ct/{i:03d}.png", _png((p.hu[i] + 1024).astype(np.uint16)))
            _add(z, f"labels/{i:03d}.png", _png(p.label[i]))


def _add(z: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, EPOCH)
    info.external_attr = 0o644 << 16
    z.writestr(info, data)


def _png(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", optimize=True)
    return out.getvalue()


def read(path: Path) -> tuple[dict, np.ndarray, np.ndarray]:
    """study.json, HU (S, rows, columns) float32, label uint8."""
    with zipfile.ZipFile(path) as z:
        study = json.loads(z.read("study.json"))
        count = len(study["positions_mm"])
        load = lambda n: np.asarray(Image.open(io.BytesIO(z.read(n))))  # noqa: E731
        hu = np.stack([load(f"ct/{i:03d}.png") for i in range(count)]).astype(np.float32) - 1024
        label = np.stack([load(f"labels/{i:03d}.png") for i in range(count)]).astype(np.uint8)
    return study, hu, label


def write_samples(out: Path, names: list[str] | None = None) -> None:
    for sample in SAMPLES:
        if not names or sample.name in names:
            p = make(sample)
            write(Path(out) / f"{sample.name}.zip", sample, p)
            print(sample.name, {k: round(v, 1) for k, v in p.truth_ml().items()}, f"cavity {p.cavity_ml():.0f} mL")
