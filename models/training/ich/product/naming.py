"""One name a clot, unless two parts of it are clear; and no name against anatomy.

Every voxel has the subtype that the network holds most likely. Voxels of one name that touch are a part. A part is clear
when it is large enough and lies where its subtype lies; what is not clear takes the name of the clear part that it touches
most, of the largest where it touches none. A clot without a clear part is named as a whole: by the name with most volume among
those its place allows. The Go program does the same (pipeline/subtype).
"""

from __future__ import annotations

import numpy as np

from .config import SUBTYPES
from .signs import Signs

IPH, IVH, SAH, SDH, EDH = range(len(SUBTYPES))
BALL_MM = 10.0  # times the cube root of mL: four fifths of the diameter of a ball
CLEAR_ML, CLEAR_SHARE, CLEAR_MOST_ML = 1.0, 0.1, 2.0  # a clear part has so much, and this share of its clot, but from 2 mL on it is large enough


def possible(s: Signs, share: np.ndarray) -> np.ndarray:
    """(parts, 5) bool: which subtypes a part's place allows. share: of its clot; what is most of it, or large, needs less to lie in a ventricle."""
    out = np.ones((len(s.ml), len(SUBTYPES)), bool)
    out[:, IPH] = s.table < 0.6
    both = (s.opposite >= 0.4) & (s.liquor >= 0.1)
    out[:, IVH] = (s.depth_mm >= 12) & ((s.opposite >= np.where((share >= 0.5) | (s.ml >= 5), 0.5, 0.7)) | (s.liquor >= 0.2) | both)
    out[:, SAH] = s.thickness_mm < BALL_MM * np.cbrt(s.ml)
    out[:, EDH] = s.table >= 0.1
    out[:, SDH] = (s.table >= 0.05) | (s.falx >= 0.05)
    return out


def names_of(kind: np.ndarray, clot: np.ndarray, parts: Signs, clots: Signs, contact: np.ndarray) -> np.ndarray:
    """The name of each part, 0 .. 4.

    kind, clot (parts,): name by the network, clot from 0; contact (parts, parts): how much they touch.
    """
    ml = parts.ml
    enough = np.minimum(np.maximum(CLEAR_ML, CLEAR_SHARE * clots.ml), CLEAR_MOST_ML)[clot]
    clear = (ml >= enough) & possible(parts, ml / clots.ml[clot])[np.arange(len(ml)), kind]
    allowed = possible(clots, np.ones(len(clots.ml)))
    out = kind.copy()
    for k in range(len(clots.ml)):
        own = np.flatnonzero(clot == k)
        sure = own[clear[own]]
        if not len(sure):
            votes = np.bincount(kind[own], weights=ml[own], minlength=len(SUBTYPES))
            best = np.where(allowed[k] & (votes > 0), votes, -1.0)
            out[own] = best.argmax() if best.max() > 0 else IPH if clots.depth_mm[k] >= 10 else SDH
            continue
        largest = sure[ml[sure].argmax()]
        for i in own[~clear[own]]:
            touching = contact[i, sure]
            out[i] = kind[sure[touching.argmax()]] if touching.max() > 0 else kind[largest]
    return out


def contacts(parts: np.ndarray, count: int) -> np.ndarray:
    """(count, count): faces that voxels of two parts share; parts 1 .. count, 0 is nobody."""
    out = np.zeros((count + 1) ** 2)
    for axis in range(3):
        a, b = (np.moveaxis(parts, axis, 0)[s] for s in (slice(None, -1), slice(1, None)))
        on = (a > 0) & (b > 0) & (a != b)
        out += np.bincount(a[on].astype(np.int64) * (count + 1) + b[on], minlength=len(out))
    out = out.reshape(count + 1, count + 1)[1:, 1:]
    return out + out.T
