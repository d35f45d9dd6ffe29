"""Uncertainty of a measured volume V' by split conformal prediction (Vovk; Lei et al., JASA 2018): |V - V'| <= k sqrt(V' + 1).

k is the ceil((n + 1) level)-th smallest score |V - V'| / sqrt(V' + 1) of n heads that the net was not trained on. The interval
then holds the true volume of a further head with at least that probability, whatever the net does, as long as that head comes
from the same source as the n: synthetic heads say nothing about a hospital's. There k is to be measured anew on labelled scans.

Heads in which nothing was found are kept apart, because they would make k small where a subtype is rare: the interval is
given when V' > 0, and promises to hold among such heads. For V' = 0 there is a bound on what may have been missed, which
depends on how often the subtype occurs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEVELS = (0.8, 0.9)
SPLITS = 200  # random halves for the coverage; seeded
SPLIT_SEED = 0


def score(truth_ml: np.ndarray, found_ml: np.ndarray) -> np.ndarray:
    """|V - V'| / sqrt(V' + 1), mL^0.5."""
    t, f = np.asarray(truth_ml, float), np.asarray(found_ml, float)
    return np.abs(t - f) / np.sqrt(f + 1)


def quantile(scores: np.ndarray, level: float) -> float | None:
    """The ceil((n + 1) level)-th smallest; None when there are too few scores to promise that."""
    rank = int(np.ceil((len(scores) + 1) * level - 1e-9))
    return float(np.sort(scores)[rank - 1]) if 1 <= rank <= len(scores) else None


def interval(found_ml: float, k: float) -> tuple[float, float]:
    """Millilitres within which the true volume lies; volumes are not negative."""
    half = k * np.sqrt(found_ml + 1)
    return max(found_ml - half, 0.0), found_ml + half


def coverage(scores: np.ndarray, level: float, seed: int = SPLIT_SEED) -> dict | None:
    """What k of a random half covers in the other half: mean and 5th percentile over SPLITS halvings."""
    half = len(scores) // 2
    if quantile(scores[:half], level) is None or half == len(scores):
        return None
    rng = np.random.default_rng(seed)
    held = []
    for _ in range(SPLITS):
        order = rng.permutation(len(scores))
        held.append(float((scores[order[half:]] <= quantile(scores[order[:half]], level)).mean()))
    return {"mean": float(np.mean(held)), "p5": float(np.percentile(held, 5)), "splits": SPLITS, "n_calibration": half, "n_test": len(scores) - half}


def summary(truth_ml: Sequence[float], found_ml: Sequence[float]) -> dict:
    """By level: k from all heads with V' > 0 and its coverage in halves; the bound on V where V' = 0."""
    t, f = np.asarray(truth_ml, float), np.asarray(found_ml, float)
    scores, missed = score(t, f)[f > 0], t[f == 0]
    levels = {}
    for level in LEVELS:
        levels[f"{level:.0%}"] = {"k": quantile(scores, level), "coverage": coverage(scores, level), "missed_below_ml": quantile(missed, level)}
    return {"n_found": len(scores), "n_not_found": len(missed), "levels": levels}
