"""Volume Dice, precision and recall (2.4, Eqs. 1 to 3), over all volumes and over those with hemorrhage.

A volume is one sample, whatever its slices. With several seeds a volume's value is its mean over the seeds, so that n stays
the number of volumes: runs on the same volumes are not further volumes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EPSILON = 1.0  # Eqs. 1 to 3: an empty volume that is found empty scores 1
NAMES = {"dice": "Dice", "precision": "Precision", "recall": "Recall"}


def dice(tp, fp, fn):
    """Eq. 1. tp, fp, fn: voxels, numbers or arrays."""
    tp, fp, fn = (np.asarray(v, float) for v in (tp, fp, fn))
    return (2 * tp + EPSILON) / (2 * tp + fp + fn + EPSILON)


def precision(tp, fp, fn):
    """Eq. 2."""
    tp, fp = np.asarray(tp, float), np.asarray(fp, float)
    return (tp + EPSILON) / (tp + fp + EPSILON)


def recall(tp, fp, fn):
    """Eq. 3."""
    tp, fn = np.asarray(tp, float), np.asarray(fn, float)
    return (tp + EPSILON) / (tp + fn + EPSILON)


METRIC = {"dice": dice, "precision": precision, "recall": recall}


@dataclass(frozen=True)
class Mean:
    """Mean and sample SD (n - 1) over volumes; spread: SD of the mean between seeds, None for one seed."""

    n: int
    mean: float
    sd: float
    spread: float | None = None

    def percent(self) -> str:
        return f"{100 * self.mean:.2f} ± {100 * self.sd:.2f}"


def mean_of(values: np.ndarray) -> Mean:
    """values (seeds, volumes), NaN where a seed lacks a volume. SD over volumes of their mean over the seeds; 0 for a single volume."""
    values = np.atleast_2d(np.asarray(values, float))
    each = np.nanmean(values, axis=0)
    spread = float(np.nanmean(values, axis=1).std(ddof=1)) if len(values) > 1 else None
    return Mean(len(each), float(each.mean()), float(each.std(ddof=1)) if len(each) > 1 else 0.0, spread)
