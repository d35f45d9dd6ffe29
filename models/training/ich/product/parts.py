"""What a network marked, in clots and their parts, with the signs of each.

A clot is a connected part of what is marked (26 neighbours), whatever its subtypes; a part is a stretch of one subtype in it.
The Go program does the same (pipeline/bleed/parts.go).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .config import SUBTYPES
from .naming import EDH, SDH, contacts
from .signs import Signs, signs_of, sums_of

CORNERS = ndimage.generate_binary_structure(3, 3)


@dataclass(frozen=True)
class Parts:
    """parts (S, rows, columns): number of the part from 1, 0 is none. kind, clot (parts,): name by the network, 0 .. 4, and clot,
    from 0. contact (parts, parts): faces that two share."""

    parts: np.ndarray
    kind: np.ndarray
    clot: np.ndarray
    signs: Signs
    clots: Signs
    contact: np.ndarray


def parts_of(mask: np.ndarray, kind: np.ndarray, any_: np.ndarray, hu: np.ndarray, cavity: np.ndarray, spacing: tuple[float, float],
             positions: np.ndarray, slice_ml: np.ndarray, least_ml: float) -> Parts:
    """mask: what reaches the threshold; kind (S, rows, columns): likeliest subtype, 0 .. 4; any_: probability of hemorrhage. Clots below
    least_ml are left out."""
    weight = np.broadcast_to(slice_ml[:, None, None], mask.shape)
    clots, n = ndimage.label(mask, CORNERS)
    keep = np.bincount(clots.ravel(), weights=weight.ravel(), minlength=n + 1) >= least_ml
    keep[0] = False
    clots = (np.cumsum(keep) * keep)[clots]
    kind = pooled(kind, clots > 0, weight)
    parts, names, count = np.zeros(mask.shape, np.int32), [], 0
    for k in range(len(SUBTYPES)):
        own, n = ndimage.label((clots > 0) & (kind == k), CORNERS)
        parts[own > 0] = own[own > 0] + count
        names += [k] * n
        count += n
    clot = np.zeros(count + 1, int)
    clot[parts.ravel()] = clots.ravel()
    clot[0] = 0
    certain = np.floor(np.clip(any_, 0, 1) * np.float32(255) + np.float32(0.5)) / 255
    sums = sums_of(parts, count, certain, hu, cavity, spacing, positions, slice_ml)
    return Parts(parts, np.array(names, int), clot[1:] - 1, signs_of(sums), signs_of(sums.grouped(clot, int(keep.sum()))), contacts(parts, count))


def pooled(kind: np.ndarray, mask: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Each connected collection of SDH and EDH is the one of the two that has most volume in it."""
    collections, n = ndimage.label(mask & (kind >= SDH), CORNERS)
    if not n:
        return kind
    inside = collections > 0
    lead = np.bincount(collections[inside], weights=weight[inside] * np.where(kind[inside] == SDH, 1, -1), minlength=n + 1)
    out = kind.copy()
    out[inside] = np.where(lead[collections[inside]] < 0, EDH, SDH)
    return out
