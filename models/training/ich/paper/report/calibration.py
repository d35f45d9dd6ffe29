"""Do probabilities mean what they say: reliability diagram, expected calibration error, Brier score.

Counted head by head into equal bins, so that no more than one head is in memory. The measures are over voxels; voxels of one
head are not independent, and nearly all of them lie far from blood, where every net is right. So the error is told twice:
over all voxels, and over those whose probability is not next to zero.
"""

from __future__ import annotations

import numpy as np

BINS = 20  # of 0.05; the first holds nearly every voxel


def counts(probability: np.ndarray, positive: np.ndarray) -> dict:
    """What a set of voxels adds to the bins: number, sum of probabilities, positives; and the sum of squared errors.

    probability, positive: of the same shape, 0 to 1 and bool. A probability of 1 belongs to the last bin.
    """
    p, y = np.asarray(probability, np.float64).ravel(), np.asarray(positive, bool).ravel()
    at = np.clip((p * BINS).astype(int), 0, BINS - 1)
    total = lambda w: np.bincount(at, weights=w, minlength=BINS)  # noqa: E731
    return {"n": np.bincount(at, minlength=BINS).tolist(), "probability": total(p).tolist(), "positive": total(y.astype(float)).astype(int).tolist(),
            "squared": float(((p - y) ** 2).sum())}


def summary(parts: list[dict]) -> dict:
    """Reliability by bin and the scores of all parts together.

    ece: mean distance of probability and frequency, weighted by the voxels of a bin; mce: the largest. brier_skill: 1 is
    perfect, 0 as good as always telling the base rate. ece_above: without the first bin.
    """
    n, p, y = (np.sum([c[k] for c in parts], axis=0).astype(float) for k in ("n", "probability", "positive"))
    total = n.sum()
    if total == 0:
        return {"voxels": 0, "bins": [], "ece": None, "ece_above": None, "above": 1 / BINS, "mce": None, "brier": None, "brier_skill": None,
                "base_rate": None}
    gap = np.abs(p - y) / np.maximum(n, 1)
    base = float(y.sum() / total)
    brier = float(sum(c["squared"] for c in parts) / total)
    bins = [{"from": i / BINS, "n": int(n[i]), "probability": float(p[i] / n[i]), "frequency": float(y[i] / n[i])} for i in range(BINS) if n[i]]
    return {"voxels": int(total), "base_rate": base, "bins": bins, "ece": float((gap * n).sum() / total),
            "ece_above": float((gap * n)[1:].sum() / n[1:].sum()) if n[1:].any() else None, "above": 1 / BINS,
            "mce": float(gap[n > 0].max()), "brier": brier, "brier_skill": 1 - brier / (base * (1 - base)) if 0 < base < 1 else None}
