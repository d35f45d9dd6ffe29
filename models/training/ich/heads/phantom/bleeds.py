"""A hemorrhage as a field and the level that encloses the wanted millilitres (`weighted_threshold`).

The result is a region, a signed distance in mm at the cavity's nodes, plus the carrier it may occupy: any place in the
cavity, the ventricles (IVH) or the liquor around the brain (SAH). A region may have several parts: contusions, blood in
many sulci. Here is what all of them share; `solid.py` and `fluid.py` place them, `lookalikes.py` what only looks like them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .anatomy import Head
from .fields import weighted_threshold

SUBTYPES = ("IPH", "IVH", "SAH", "SDH", "EDH")  # label value = 2 + position; 1 is cavity without blood
RANGES_ML = {"IPH": (2.0, 60.0), "IVH": (2.0, 35.0), "SAH": (4.0, 45.0), "SDH": (8.0, 110.0), "EDH": (6.0, 90.0)}
EXTREMES_ML = {"IPH": (0.3, 100.0), "IVH": (0.3, 60.0), "SAH": (0.5, 80.0), "SDH": (1.0, 130.0), "EDH": (0.5, 100.0)}


@dataclass
class Lesion:
    """region: signed distance at the head's cavity nodes. subtype "" is an unlabelled look-alike."""

    subtype: str
    region: np.ndarray
    carrier: str  # "cavity" | "ventricle" | "liquor"
    hu: float
    spread_hu: float  # mottling
    target_ml: float
    widen_mm: float = 0.0  # blood distends sulci
    shade: np.ndarray | None = None  # HU to add at the nodes: levels, layers of another age


def blood_hu(rng: np.random.Generator) -> float:
    """Three quarters acute and clearly bright; the rest subacute or anaemic, close to cortex."""
    return float(rng.uniform(56, 82) if rng.random() < 0.75 else rng.uniform(44, 57))


def liquor(head: Head, fields: dict[str, np.ndarray], depth: np.ndarray, widen: float = 0.0) -> np.ndarray:
    """Signed distance of sulci, fissure and cisterns, from interpolated fields or at the nodes alike."""
    t = head.traits
    width = (t["sulcus_mm"] + widen) * np.clip(1.15 - depth / t["sulcus_depth"], -1.0, 1.0)
    width = np.where(fields["tent"] > 0, width, 0.45 * width - 0.2)
    sulcus = np.abs(fields["sulc"]) - width
    fissure = np.maximum(np.abs(fields["xm"]) - (0.8 + 0.7 * t["sulcus_mm"] + widen), fields["falx_ext"] - 3.0)
    return np.minimum(np.minimum(sulcus, fissure), fields["cist"] - widen)


def shares(rng: np.random.Generator, count: int, uneven: float = 1.3) -> np.ndarray:
    """How a volume is divided among `count` parts, the largest first."""
    parts = np.exp(rng.normal(0, uneven, count))
    return np.sort(parts / parts.sum())[::-1]


def ball_level(field: np.ndarray, weight: np.ndarray, ml: float) -> float:
    """`weighted_threshold` of a field that grows from a point, in the neighbourhood that can hold ml."""
    near = field < 3 * (3 * ml * 1000 / (4 * np.pi)) ** (1 / 3) + 15
    if weight[near].sum() < 1.2 * ml:
        near = slice(None)
    return weighted_threshold(field[near], weight[near], ml)


def shade(rng: np.random.Generator, head: Head, rough: np.ndarray, level: float = 0.15, mixed: float = 0.15) -> np.ndarray | None:
    """Darker parts of a clot, HU at the nodes: plasma above a level of settled cells, or older and unclotted blood in swirls.

    level, mixed: how often either is drawn; None is an even clot.
    """
    draw = rng.random()
    if draw < level:
        surface = head.y + 0.2 * head.z - rng.uniform(-30, 45)
        return (-rng.uniform(10, 30) * np.clip(0.5 - surface / rng.uniform(3, 14), 0, 1)).astype(np.float32)
    if draw < level + mixed:
        return (-rng.uniform(8, 28) * np.clip(0.3 + rough - rng.normal(0, 0.6), 0, 1)).astype(np.float32)
    return None
