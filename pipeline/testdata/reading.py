"""Writes reading.json: what a network answers on small heads, and what the product makes of it. Run in models/training:

    python ../../pipeline/testdata/reading.py

pipeline/reading_test.go and tests/test_reading.py read it.
"""

import base64
import json
import sys
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models" / "training"))

from ich.product.config import Post  # noqa: E402
from ich.product.evidence import POINTS, Evidence, Point  # noqa: E402
from ich.product.reader import apply_post, marked  # noqa: E402
from ich.product.scan import Scan  # noqa: E402
from ich.product.signs import NAMES  # noqa: E402

N, SPACING = 64, (2.2, 2.0)
SIGNS = ("ml", "mass", "mean", "peak", "contrast", "thickness_mm", "depth_mm", "table", "falx", "asymmetry", "liquor", "opposite")
WEIGHTS = dict(zip(NAMES, (0.5, 3.0, 1.0, 1.5, 0.5, 0.0, -0.4, -0.5, 0.3, 0.2)))


def packed(x: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(x).tobytes(), 9)).decode()


def scene(name: str, seed: int, positions, turn: float) -> tuple[Scan, np.ndarray, np.ndarray]:
    """A head as ovals, and probabilities in whole 255ths."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(np.asarray(positions, float), (np.arange(N) - 32) * SPACING[0], (np.arange(N) - 31.3) * SPACING[1], indexing="ij")
    x = x + turn * y
    oval = lambda c, r: ((x - c[0]) / r[0]) ** 2 + ((y - c[1]) / r[1]) ** 2 + ((z - c[2]) / r[2]) ** 2  # noqa: E731
    mid = positions[len(positions) // 2]
    wall = oval((0, 0, mid), (54, 62, 70))
    cavity = wall < 1
    hu = np.where(cavity, 32.0, 900.0)
    prob = np.zeros((6, *x.shape))

    def blood(where, value, chance, *kinds):
        """kinds: (where, subtype), the later ones over the earlier."""
        hu[where & cavity] = value
        prob[0][where] = chance
        for part, k in kinds:
            for c in range(1, 6):
                prob[c][where & part] = 0.9 * chance if c == k else 0.02

    everywhere = np.ones(x.shape, bool)
    for side in (-1, 1):
        hu[oval((12 * side, 0, mid), (6, 20, 12)) < 1] = 6
    blood(oval((-12, 8, mid), (6, 12, 9)) < 1, 55, 0.95, (everywhere, 2))  # in a ventricle
    prob[0][oval((26, 4, mid), (12, 12, 11)) < 1] = 0.42  # doubtful around it: a lower threshold sees more
    thalamus = oval((26, 4, mid), (9, 9, 11)) < 1
    blood(thalamus, 62, 0.97, (everywhere, 1), (x > 25, 2))  # half of it called ventricular, which its place does not allow
    crescent = cavity & (wall > 0.8) & (x > 20) & (np.abs(y) < 40)
    blood(crescent, 58, 0.8, (everywhere, 4), (y > 25, 5))
    blood(cavity & (np.abs(x) < 2.5) & (y > 30) & (y < 55), 40, 0.6, (everywhere, 4))  # the normal falx
    blood(oval((-34, -20, mid), (7, 7, 6)) < 1, 38, 0.55, (everywhere, 3), (y < -20, 1))  # hardly any evidence
    for _ in range(5):
        c = (rng.uniform(-30, 0), rng.uniform(-50, -35), mid)
        blood((oval(c, (3, 3, 5)) < 1) & cavity, 47, rng.uniform(0.5, 0.9), (everywhere, 3))
    blood(oval((-38, 25, mid), (13, 14, 13)) < 1, 41, 0.56, (everywhere, 1))  # faint, but too large to be dropped
    hu = np.round(hu + rng.normal(0, 3, hu.shape))
    prob = np.round(np.clip(prob + (prob > 0) * rng.normal(0, 0.02, prob.shape), 0, 1) * 255)
    return Scan(hu.astype(np.float32), SPACING, np.asarray(positions, float), None, name), cavity, prob.astype(np.uint8)


def case(name: str, seed: int, positions, turn: float, edge: float = 0.0, sure: float = 0.0) -> dict:
    scan, cavity, prob = scene(name, seed, positions, turn)
    points = {k: Point(c) for k, c in zip(POINTS, (0.7, 0.9, 0.99))}
    evidence = Evidence(-3.0, tuple(WEIGHTS.values()), points)
    post = Post(0.5, 0.1, sure, edge=edge, subtype_per="anatomy", evidence=None if sure else evidence)
    p = prob.astype(np.float32) / np.float32(255)
    _, parts = marked(scan, cavity, p, post)
    order = np.argsort(-parts.clots.ml, kind="stable")
    labels = {}
    for k in ("balanced",) if sure else POINTS:
        label = apply_post(scan, cavity, p, Post(**{**vars(post), "operating_point": k}))
        labels[k] = packed(np.maximum(label.astype(int) - 1, 0).astype(np.uint8))
    return {"name": name, "edge": edge, "shape": list(cavity.shape), "spacing_mm": list(SPACING), "positions_mm": [float(v) for v in positions],
            "threshold": 0.5, "min_component_ml": 0.1, "sure_threshold": sure, "hu": packed(scan.hu.astype("<i2")), "cavity": packed(cavity.astype(np.uint8)),
            "probabilities": packed(prob), "evidence": post.evidence and post.evidence.entry(),
            "clots": [{k: round(float(getattr(parts.clots, k)[i]), 9) for k in SIGNS} | {"chance": round(float(evidence.chance(parts.clots)[i]), 9)}
                      for i in order], "labels": labels}


if __name__ == "__main__":
    cases = [case("even", 1, np.arange(7) * 5.0, 0.0), case("uneven and turned", 2, [0, 5, 9, 12.5, 18, 23, 24.5, 30], 0.12),
             case("thin", 3, np.arange(12) * 2.5, -0.08), case("edge", 5, np.arange(7) * 5.0, 0.05, 0.98),
             case("sure", 7, np.arange(7) * 5.0, 0.0, sure=0.75)]
    path = Path(__file__).with_name("reading.json")
    path.write_text(json.dumps(cases, indent=0) + "\n")
    for c in cases:
        print(c["name"], path.stat().st_size, len(c["clots"]))
        for k in c["clots"]:
            print("  ", {n: round(v, 2) for n, v in k.items()})
