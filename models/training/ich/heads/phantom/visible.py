"""What of rendered blood a reader would label: a clot is seen as a whole or not at all, by its contrast to what is around it.

Bone has no part in the contrast. Its partial volume lifts the outermost pixels of a dark subdural, and a label of these alone
would teach that the inner table is blood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

BONE_HU = 140.0  # above this a pixel looks like bone whatever lies in it; it carries no label
CONTRAST_HU = 8.0  # the seen part of a clot is brighter than its surroundings by this much,
FAINT_HU = 4.0  # and what hangs together with it by this much
SURE_SHARE = 1 / 3  # of a clot that has to be seen for the rest to be labelled with it
NEAR_MM, CLOT_MM = 6.0, 2.0
EDGES = np.ones((3, 3), bool)


@dataclass
class Seen:
    """label, uint8: 0 outside, 1 cavity, 2.. the subtypes. unseen, bool: blood that hardly differs from its surroundings, which label
    calls cavity."""

    label: np.ndarray
    unseen: np.ndarray


def seen(occ: np.ndarray, clean: np.ndarray, inner: np.ndarray, bare: np.ndarray, pixel: float, gray_hu: float) -> Seen:
    """Of one slice. occ (6, rows, columns): shares of the cavity and of each subtype; clean: HU without look-alikes; inner: the same
    of what lies in the cavity alone, times the cavity's share; bare: as inner, without blood. At least half a pixel of cavity and of
    blood is needed for a label."""
    cavity = (occ[0] > 0.5) & (clean < BONE_HU)
    blood = occ[1:].sum(0)
    bleeding = cavity & (blood > 0.5 * np.maximum(occ[0], 0.5))
    if not bleeding.any():
        return Seen(cavity.astype(np.uint8), bleeding)
    contrast = _mean(inner / np.maximum(occ[0], 1e-3), blood, CLOT_MM / pixel) - _around(bare, occ, pixel, gray_hu)
    parts, count = ndimage.label(bleeding & (contrast > FAINT_HU), EDGES)
    sure = ndimage.mean(contrast > CONTRAST_HU, parts, np.arange(count + 1)) >= SURE_SHARE
    sure[0] = False
    visible = sure[parts]
    return Seen(np.where(visible, occ[1:].argmax(0) + 2, cavity).astype(np.uint8), bleeding & ~visible)


def _around(bare: np.ndarray, occ: np.ndarray, pixel: float, gray_hu: float) -> np.ndarray:
    """HU of what lies around each pixel in the cavity, blood not counted; at least that of gray matter, which blood must
    not be mistaken for."""
    free = np.clip(occ[0] - occ[1:].sum(0), 0, 1)
    return np.maximum(_mean(bare / np.maximum(occ[0], 1e-3), free, NEAR_MM / pixel), gray_hu)


def _mean(hu: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """Local weighted mean; of nothing it is 0."""
    return ndimage.gaussian_filter(hu * weight, sigma) / (ndimage.gaussian_filter(weight, sigma) + 1e-6)
