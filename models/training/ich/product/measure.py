"""One scan against its truth, in numbers a clinician reads: millilitres, Dice, what each hemorrhage was called."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from .config import SUBTYPES
from .reader import CORNERS, box_of
from .scan import Scan, volumes

RIM_MM = 5.0  # false blood this close to the inner table is what beam hardening paints
FOUND_SHARE = 0.1  # of a hemorrhage's voxels that must be marked for it to count as found
NONE = "none"


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Paper, Eq. 1, over a volume; empty against empty is 1."""
    return float((2 * (a & b).sum() + 1) / (a.sum() + b.sum() + 1))


def measure(scan: Scan, cavity: np.ndarray, found: np.ndarray) -> dict:
    """Everything about one scan; found (S, rows, columns) as Scan.label. Blood that no reader would have labelled counts neither way."""
    found = scan.counted(found)
    row = {"name": scan.name, "kind": scan.kind, "slices": len(scan.hu), "cavity_ml": scan.ml(cavity), "found_ml": volumes(found, scan)}
    box = (slice(None), *box_of(cavity if scan.label is None else cavity | (scan.label > 0))[1:])
    scan = replace(scan, hu=scan.hu[box], label=None if scan.label is None else scan.label[box], unseen=None)
    cavity, found = cavity[box], found[box]
    if scan.label is None:
        return row | false_blood(scan, cavity, found > 1)
    truth, own = scan.label, {}
    row["truth_ml"] = volumes(truth, scan)
    row["cavity_dice"] = dice(cavity, truth > 0)
    row["dice"] = {"any": dice(found > 1, truth > 1)}
    row["marked_ml"] = scan.ml((found > 1) & (truth > 1))
    for i, k in enumerate(SUBTYPES, 2):
        if (truth == i).any():
            own[k] = dice(found == i, truth == i)
    row["dice"] |= own
    row["bleeds"] = [one_bleed(scan, b, found) for b in scan.bleeds]
    row["confusion_ml"] = confusion(scan, truth, found)
    row |= false_blood(scan, truth > 0, (found > 1) & (truth <= 1))
    return row


def one_bleed(scan: Scan, bleed, found: np.ndarray) -> dict:
    """What became of one hemorrhage: how much is visible, how much was marked, what it was called."""
    k = SUBTYPES.index(bleed.subtype) + 2
    body = scan.label == k
    inside = np.bincount(found[body], minlength=7)[2:] if body.any() else np.zeros(5, int)
    share = float(inside.sum() / body.sum()) if body.any() else 0.0
    called = SUBTYPES[int(inside.argmax())] if share >= FOUND_SHARE else NONE
    return {"subtype": bleed.subtype, "hu": bleed.hu, "acute": bleed.acute, "truth_ml": scan.ml(body), "marked": share,
            "called": called, "dice": dice(found == k, body)}


def confusion(scan: Scan, truth: np.ndarray, found: np.ndarray) -> list[list[float]]:
    """Millilitres by truth (rows) and by what was found (columns): no blood, then the subtypes. No blood as no blood is 0."""
    out = np.zeros((6, 6))
    for z, ml in enumerate(scan.slice_ml()):
        a, b = np.maximum(truth[z].astype(int) - 1, 0), np.maximum(found[z].astype(int) - 1, 0)
        out += np.bincount((6 * a + b).ravel(), minlength=36).reshape(6, 6) * ml
    out[0, 0] = 0
    return out.tolist()


def false_blood(scan: Scan, cavity: np.ndarray, false: np.ndarray) -> dict:
    """Blood where there is none: in total, within RIM_MM of the inner table, the slices with such a rim, the largest component."""
    near = np.zeros_like(false)
    for z in np.flatnonzero(false.any(axis=(1, 2))):
        near[z] = false[z] & (ndimage.distance_transform_edt(cavity[z], sampling=scan.spacing) <= RIM_MM)
    parts, n = ndimage.label(false, CORNERS)
    weight = np.broadcast_to(scan.slice_ml()[:, None, None], parts.shape)
    largest = np.bincount(parts.ravel(), weights=weight.ravel(), minlength=n + 1)[1:].max() if n else 0.0
    rim = near.sum(axis=(1, 2)) * scan.slice_ml()
    return {"false_ml": scan.ml(false), "false_largest_ml": float(largest), "rim_ml": float(rim.sum()),
            "rim_slices_ml": {str(z): float(rim[z]) for z in np.flatnonzero(rim)}}
