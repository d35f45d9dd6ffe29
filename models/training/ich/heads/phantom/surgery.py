"""What surgeons and accidents leave behind: drains, bone flaps, burr holes, clips, fractures, air. None of it is blood.

Drawn from a random stream of its own, so that a head without any is the same head as before.
"""

from __future__ import annotations

import numpy as np

from .anatomy import Head
from .bleeds import Lesion
from .fields import FAR, capsule


def alter(rng: np.random.Generator, head: Head) -> list[Lesion]:
    """Changes the skull in place; returns what lies inside the cavity, as unlabelled look-alikes."""
    found: list[Lesion] = []
    side = float(rng.choice([-1, 1]))
    if rng.random() < 0.08:
        _flap(rng, head, side)
        if rng.random() < 0.6:
            found.append(_air(rng, head))
    elif rng.random() < 0.06:
        _holes(rng, head, side)
    elif rng.random() < 0.06:
        _fracture(rng, head, side)
        if rng.random() < 0.3:
            found.append(_air(rng, head))
    if rng.random() < 0.09:
        found.append(_drain(rng, head, side))
    if rng.random() < 0.03:
        found.append(_clip(rng, head))
    for lesion in found:
        lesion.region = np.minimum(lesion.region, FAR).astype(np.float32)
    return found


def _skull_axes(head: Head) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Head coordinates of every grid node, without the warp: shapes cut into bone need no better."""
    g = head.grid
    z, y, x = np.meshgrid(*(g.axis(i) - head.offset[2 - i] for i in range(3)), indexing="ij")
    scale = (head.traits["size_x"], head.traits["size_y"], head.traits["size_z"])
    r = head.to_head
    return tuple((r[i, 0] * x + r[i, 1] * y + r[i, 2] * z) / scale[i] for i in range(3))


def _flap(rng, head: Head, side: float) -> None:
    """Craniotomy: a round piece of bone sawn out and put back, its cut 2 to 4 mm wide."""
    x, y, z = _skull_axes(head)
    r = np.hypot(y - rng.uniform(-40, 30), z - rng.uniform(25, 50))
    cut = rng.uniform(1.0, 2.0) - np.abs(r - rng.uniform(18, 38))
    _remove(head, np.minimum(cut, x * side - 15))


def _holes(rng, head: Head, side: float) -> None:
    x, y, z = _skull_axes(head)
    for _ in range(int(rng.integers(1, 3))):
        r = np.hypot(y - rng.uniform(-45, 40), z - rng.uniform(30, 60))
        _remove(head, np.minimum(rng.uniform(5, 8) - r, x * side - 10))


def _fracture(rng, head: Head, side: float) -> None:
    """A line through the vault, a little open."""
    x, y, z = _skull_axes(head)
    a = rng.uniform(0, np.pi)
    sheet = rng.uniform(0.4, 1.1) - np.abs(np.cos(a) * (y - rng.uniform(-30, 40)) + np.sin(a) * (z - rng.uniform(15, 55)))
    _remove(head, np.minimum(np.minimum(sheet, x * side - 10), z + 5))


def _remove(head: Head, region: np.ndarray) -> None:
    """Takes bone out where region is positive (mm inside); soft tissue fills the gap."""
    head.full["bone"] = np.maximum(head.full["bone"], region).astype(np.float32)


def _drain(rng, head: Head, side: float) -> Lesion:
    """Shunt or external drain: a catheter from the vault to the frontal horn."""
    tip = (side * rng.uniform(2, 9), rng.uniform(-25, 0), rng.uniform(22, 36))
    entry = (side * rng.uniform(20, 45), rng.uniform(-60, -30), 85.0) if rng.random() < 0.7 else (side * 45, 75.0, rng.uniform(35, 60))
    region = capsule(head.x, head.y, head.z, tip, entry, rng.uniform(1.0, 1.6))
    return Lesion("", region, "cavity", float(rng.uniform(90, 420)), 10, 0)


def _clip(rng, head: Head) -> Lesion:
    """Aneurysm clip or coil at the skull base."""
    centre = np.array([rng.uniform(-25, 25), rng.uniform(-22, 2), rng.uniform(-6, 6)])
    region = capsule(head.x, head.y, head.z, centre, centre + rng.normal(0, 4, 3), rng.uniform(1.2, 3.5))
    return Lesion("", region, "cavity", float(rng.uniform(1500, 3000)), 50, 0)


def _air(rng, head: Head) -> Lesion:
    """Air under the frontal vault, where it rises to in a supine patient."""
    thick = rng.uniform(2, 12)
    region = np.maximum(head.depth - thick * np.exp(-((head.x / rng.uniform(18, 40)) ** 2)), head.y + rng.uniform(45, 70))
    return Lesion("", region, "cavity", -950.0, 5, 0)
