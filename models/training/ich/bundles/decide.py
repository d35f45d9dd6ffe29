"""Fits what a bundle decides by: the evidence that a clot is blood, and its three operating points (product/evidence.py).

The network reads held-out heads with a real-like mix of hemorrhages and heads without any (heads/mix.py, seeds `fit`, which nothing
else uses). Each clot of what it marks is blood or not; a logistic model of its signs is fitted to that. The cuts come from
chances that models predict which were fitted without the head in question (ten folds). What the operating points then do is
measured in the same way and written beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..datasets.volume import DataError
from ..files import whole
from ..heads import mix
from ..product.config import Post
from ..product.evidence import POINTS, Evidence, Point
from ..product.measure import dice
from ..product.reader import Reader, marked
from ..product.scan import Scan
from ..product.signs import NAMES
from . import card, manifest

LEAST_ML = 0.1  # of a clot that is looked at, and of a lesion that is listed
BLOOD, NONE = 0.3, 0.1  # shares of true blood from which a clot is blood, and up to which it is none; between them it teaches nothing
BLEEDS_ML = 1.0  # of a head that must be found
THRESHOLDS = (0.3, 0.4, 0.5)
FOLDS = 10
RIDGE = 3.0  # of weights of signs with a standard deviation of one
SEEN_FROM = 0.2  # probabilities below are not kept
# Least cut at which this share of the heads, bleeding or not, has at most so many mL of false blood in clots that it may drop.
RULES = {"sensitive": (0.8, 0.5), "balanced": (0.95, 0.5), "specific": (0.99, 0.2)}
CUTS = np.round(np.concatenate([np.arange(0.02, 0.9, 0.02), np.arange(0.9, 0.996, 0.005)]), 4)


@dataclass(frozen=True)
class Head:
    """The clots of a head: signs (clots, NAMES), mL, share of true blood in each (nan: neither blood nor none), and what it truly holds."""

    name: str
    features: np.ndarray
    ml: np.ndarray
    share: np.ndarray
    truth_ml: float

    def blood(self) -> np.ndarray:
        return self.share >= BLOOD


def head_of(scan: Scan, cavity: np.ndarray, prob: np.ndarray, post: Post) -> Head:
    box, parts = marked(scan, cavity, prob, post)
    truth, hidden = scan.label[box] > 1, False if scan.unseen is None else scan.unseen[box]
    clot = np.append(0, parts.clot + 1)[parts.parts]
    count = len(parts.clots.ml)
    weight = np.broadcast_to(scan.slice_ml()[box[0]][:, None, None], clot.shape)
    total, true, lost = (np.bincount(clot.ravel(), weights=(weight * m).ravel(), minlength=count + 1)[1:] for m in (True, truth, hidden))
    share = true / np.maximum(total, 1e-9)
    share[(share < BLOOD) & ((share > NONE) | (lost > NONE * total))] = np.nan
    return Head(scan.name, parts.clots.features(), parts.clots.ml, share, scan.ml(scan.label > 1))


def fitted(x: np.ndarray, blood: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray]:
    """Intercept and weights of a logistic model with a ridge on standardised signs, by Newton's method."""
    middle, spread = np.average(x, axis=0, weights=weight), np.maximum(x.std(axis=0), 1e-3)
    z = np.column_stack([np.ones(len(x)), (x - middle) / spread])
    b, ridge = np.zeros(z.shape[1]), RIDGE * np.diag([0.01] + [1.0] * x.shape[1])
    for _ in range(60):
        p = 1 / (1 + np.exp(-np.clip(z @ b, -30, 30)))
        step = np.linalg.solve((z * (weight * p * (1 - p))[:, None]).T @ z + ridge, z.T @ (weight * (blood - p)) - ridge @ b)
        b = b + step * min(1.0, 3.0 / max(float(np.abs(step).max()), 1e-9))
        if np.abs(step).max() < 1e-9:
            break
    weights = b[1:] / spread
    return float(b[0] - weights @ middle), weights


def fit(heads: list[Head]) -> Evidence:
    """The model of all heads, with cuts chosen and measured on heads that each fold's model did not see."""
    groups = np.concatenate([np.full(len(h.ml), i) for i, h in enumerate(heads)])
    x, ml, share = (np.concatenate([getattr(h, k) for h in heads]) for k in ("features", "ml", "share"))
    use = ~np.isnan(share)
    blood, weight = (share >= BLOOD).astype(float), np.sqrt(np.minimum(ml, 5.0))
    if not (blood[use].any() and (blood[use] == 0).any()):
        raise DataError("decide", f"{int(use.sum())} clots, all blood or none of it", "take more heads (--heads)")
    unseen = np.zeros(len(x))
    for k in range(FOLDS):
        out = groups % FOLDS == k
        if out.any():
            a, w = fitted(x[use & ~out], blood[use & ~out], weight[use & ~out])
            unseen[out] = 1 / (1 + np.exp(-np.clip(a + x[out] @ w, -60, 60)))
    chances = [unseen[groups == i] for i in range(len(heads))]
    intercept, weights = fitted(x[use], blood[use], weight[use])
    points, last = {}, 0.0
    for name in POINTS:
        last = max(last, cut_of(heads, chances, *RULES[name]))
        points[name] = measured(heads, chances, last)
    return Evidence(round(intercept, 6), tuple(round(float(w), 6) for w in weights), points)


def kept(head: Head, chances: np.ndarray, cut: float) -> np.ndarray:
    return (head.ml >= Evidence.always_ml) | (chances >= cut)


def false_ml(head: Head, chances: np.ndarray, cut: float) -> float:
    return float(head.ml[kept(head, chances, cut) & (np.nan_to_num(head.share, nan=1.0) <= NONE)].sum())


def cut_of(heads: list[Head], chances: list[np.ndarray], share: float, most_ml: float) -> float:
    """The least cut at which this share of the heads has at most so much false blood; a clot that no cut may drop does not count."""
    for cut in CUTS:
        good = [h.ml[(c >= cut) & (h.ml < Evidence.always_ml) & (np.nan_to_num(h.share, nan=1.0) <= NONE)].sum() <= most_ml for h, c in zip(heads, chances)]
        if np.mean(good) >= share:
            return float(cut)
    return float(CUTS[-1])


def measured(heads: list[Head], chances: list[np.ndarray], cut: float) -> Point:
    bleeding = [bool((kept(h, c, cut) & h.blood()).any()) for h, c in zip(heads, chances) if h.truth_ml >= BLEEDS_ML]
    normal = [false_ml(h, c, cut) for h, c in zip(heads, chances) if h.truth_ml == 0]
    mean = lambda v: round(float(np.mean(v)), 4) if v else 0.0  # noqa: E731
    return Point(round(cut, 4), mean(bleeding), mean(normal), len(heads))


def read(reader: Reader, scan: Scan, file: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Cavity and probabilities of a scan; kept in the file, but only from SEEN_FROM on."""
    if file and file.exists():
        with np.load(file) as z:
            shape = scan.hu.shape
            prob = np.zeros((len(z["p"]), *shape), np.float32)
            prob.reshape(len(prob), -1)[:, z["at"]] = z["p"]
            return np.unpackbits(z["cavity"])[: scan.hu.size].reshape(shape) > 0, prob
    cavity, prob = reader.cavity(scan), reader.probabilities(scan, "bleed")
    if file:
        at = np.flatnonzero((prob[0] >= SEEN_FROM) & cavity).astype(np.int32)
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole(file) as part, part.open("wb") as f:
            np.savez(f, at=at, p=prob.reshape(len(prob), -1)[:, at], cavity=np.packbits(cavity))
    return cavity, prob


def decide(bundle: Path, cache: Path, count: int, threshold: float | None = None, report: Callable[[str], None] = print) -> Evidence:
    """Fits and writes evidence into the manifest of a bundle, and its card anew. cache keeps heads and what the network answered."""
    m = manifest.read(bundle)
    entry = manifest.network(m, "bleed")
    if len(entry["output"]["channels"]) == 1:
        raise DataError(Path(bundle) / manifest.FILE, "its network tells no subtypes", "evidence needs a network that does")
    reader = Reader.of_bundle(bundle)
    answers = Path(cache) / f"answers-{_nets(m)}"
    post = replace(reader.post, threshold=threshold or reader.post.threshold, min_component_ml=LEAST_ML, sure_threshold=0.0, opening_mm=0.0,
                   rim_mm=0.0, subtype_per="anatomy")
    heads, overlap = [], {t: [] for t in THRESHOLDS}
    for i in range(count):
        scan = mix.held_out("fit", i, cache)
        cavity, prob = read(reader, scan, answers / f"{scan.name}.npz")
        heads.append(head_of(scan, cavity, prob, post))
        for t in THRESHOLDS:
            if heads[-1].truth_ml >= BLEEDS_ML:
                overlap[t].append(dice(scan.counted((prob[0] >= t) & cavity, 0), scan.label > 1))
        report(f"{scan.name}: {len(heads[-1].ml)} clots, {int(heads[-1].blood().sum())} blood, {heads[-1].truth_ml:.1f} mL true")
    evidence = fit(heads)
    for k in POINTS:
        p = evidence.points[k]
        report(f"{k}: cut {p.cut:g}, {100 * p.sensitivity:.0f} % of bleeding heads found, {p.false_ml:.2f} mL false in a head without blood")
    report("weights: " + ", ".join(f"{k} {w:.2f}" for k, w in zip(NAMES, evidence.weights)))
    report("any Dice of what is marked, by threshold: " + ", ".join(f"{t:g} {np.mean(v):.3f}" for t, v in overlap.items() if v))
    entry["threshold"] = post.threshold
    entry["post"] = {"min_component_ml": LEAST_ML, "subtype_per": "anatomy", "evidence": evidence.entry(), **({"edge": post.edge} if post.edge else {})}
    manifest.write(bundle, m)
    card.write(bundle)
    return evidence


def _nets(m: dict) -> str:
    """Names the answers of these networks, whatever else the manifest says."""
    import hashlib

    return hashlib.sha256(" ".join(n["sha256"] for n in m["networks"]).encode()).hexdigest()[:12]
