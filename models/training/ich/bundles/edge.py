"""Fits where a clot ends: the share of the probability in its core that its voxels must reach (post.edge of the manifest).

A network that learnt from rendered heads marks a voxel from half of it being blood on. Readers draw a clot tighter, and how much tighter
is a custom of theirs. So the edge comes from a few real heads with masks, which are named in the manifest, and whose figures speak no
more for the bundle (product/judge.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..datasets.volume import DataError
from ..heads import bleeding
from ..product.measure import dice
from ..product.reader import Reader, apply_post
from . import card, manifest

EDGES = (0.0, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)  # 0: the threshold alone
LEAST_HEADS = 2
CHOSEN_ON = "edge_chosen_on"  # of training.settings


def chosen_on(m: dict) -> frozenset[str]:
    """SET/NAME of each head that the edge of a bundle was chosen on."""
    return frozenset((m["training"].get("settings") or {}).get(CHOSEN_ON) or ())


def key(name_of_set: str, name: str) -> str:
    return f"{name_of_set}/{name}"


def fit(bundle: Path, folder: Path, names: list[str], report: Callable[[str], None] = print) -> float:
    """Writes the edge with the best mean Dice on the named heads of a folder into the manifest of a bundle, and its card anew."""
    known = {c.name: c for c in bleeding.cases(folder)}
    if missing := [n for n in names if n not in known]:
        raise DataError(folder, f"holds no {', '.join(missing)}", f"it has {', '.join(known)}")
    if len(set(names)) < LEAST_HEADS:
        raise DataError(folder, f"{len(set(names))} head named", f"choose on {LEAST_HEADS} or more, and leave some to judge by")
    m = manifest.read(bundle)
    reader, scores = Reader.of_bundle(bundle), []
    for name in sorted(set(names)):
        scan, mask = bleeding.read(known[name])
        cavity, prob = reader.cavity(scan), reader.probabilities(scan, "bleed")
        scores.append([dice(apply_post(scan, cavity, prob, replace(reader.post, edge=e)) > 1, mask > 0) for e in EDGES])
        report(f"{name}: " + ", ".join(f"{e:g} {d:.3f}" for e, d in zip(EDGES, scores[-1])))
    mean = np.mean(scores, 0)
    best = float(EDGES[int(mean.argmax())])
    report(f"edge {best:g}: any Dice {mean.max():.3f}, {mean[0]:.3f} without")
    post = manifest.network(m, "bleed")["post"]
    post.pop("edge", None)
    if best:
        post["edge"] = best
    m["training"].setdefault("settings", {})[CHOSEN_ON] = [key(Path(folder).name, n) for n in sorted(set(names))]
    manifest.write(bundle, m)
    card.write(bundle)
    return best
