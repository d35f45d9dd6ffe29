"""Blood in the liquor: in the ventricles and in cisterns and sulci. Placed when the anatomy is filled."""

from __future__ import annotations

import numpy as np

from .anatomy import Head
from .bleeds import Lesion, ball_level, liquor, shade, shares
from .fields import FAR, noise, weighted_threshold
from .table import draw_hu

UNEVEN = 0.35  # of the places of subarachnoid blood: they are more alike than the parts of other blood


def place_fluid(rng: np.random.Generator, head: Head, subtype: str, ml: float, hu: float | None = None,
                trauma: bool | None = None, several: bool = True) -> Lesion:
    """IVH or SAH of ml. several: in one or more places; otherwise in one, and even. trauma: sulci rather than basal cisterns; None draws it."""
    if subtype == "IVH":
        return _ventricular(rng, head, ml, hu, several)
    return _subarachnoid(rng, head, ml, hu, trauma, several)


def _ventricular(rng, head: Head, ml: float, hu: float | None, several: bool) -> Lesion:
    x, y, z = head.x, head.y, head.z
    rough = noise(rng, head.grid, 20.0).ravel()[head.index]
    w = np.clip(0.5 - head.brain["vent"] / head.grid.step, 0, 1) * head.grid.voxel_ml()
    kind = rng.random()
    if kind < 0.6:  # lies in the dependent part: the occipital horns of a supine patient
        field = -y + 0.3 * z + 2.5 * rough + (0 if rng.random() < 0.5 else 14 * np.sign(x) * rng.choice([-1, 1]))
    else:  # cast around a point
        field = _around(rng, head, rough)
    ml = min(ml, 0.95 * float(w.sum()))
    count = 1 if not several or kind < 0.3 else int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))
    parts = shares(rng, count) * ml
    region = field - weighted_threshold(field, w, parts[0])
    for part in parts[1:]:
        other = np.where(region < 0, FAR * 4, _around(rng, head, rough))
        region = np.minimum(region, other - weighted_threshold(other, w, part))
    drawn = draw_hu(rng, "IVH") if hu is None else hu
    settled = shade(rng, head, rough, 0.15, 0.1) if several else None
    return Lesion("IVH", np.clip(region, -FAR, FAR).astype(np.float32), "ventricle", drawn, float(rng.uniform(1, 5)), ml, 0.4, settled)


def _around(rng, head: Head, rough: np.ndarray) -> np.ndarray:
    """Distance to a point of the lateral, third or fourth ventricle."""
    c = (rng.uniform(-2, 2), rng.uniform(30, 38), rng.uniform(-22, -12)) if rng.random() < 0.15 else \
        (rng.uniform(-20, 20), rng.uniform(-20, 30), rng.uniform(15, 38))
    return np.sqrt((head.x - c[0]) ** 2 + (head.y - c[1]) ** 2 + (head.z - c[2]) ** 2) + 3 * rough


def _subarachnoid(rng, head: Head, ml: float, hu: float | None, trauma: bool | None, several: bool) -> Lesion:
    """Blood of an aneurysm around the basal cisterns, or of trauma in the sulci of some regions; both with thin parts apart."""
    x, y, z, d = head.x, head.y, head.z, head.depth
    rough = noise(rng, head.grid, 20.0).ravel()[head.index]
    widen = float(rng.uniform(0.5, 1.3))
    sdf = liquor(head, head.brain, d, widen)
    w = np.clip(0.5 - sdf / head.grid.step, 0, 1) * (d > 0) * head.grid.voxel_ml()
    sulci = np.flatnonzero((d > 2) & (d < 12) & (sdf < 0.5) & (head.brain["tent"] > 0))
    if len(sulci) == 0:
        sulci = np.flatnonzero((d > 2) & (d < 12))
    basal = rng.random() < 0.5 if trauma is None else not trauma
    count = 1 if not several else int(rng.choice([3, 6, 9, 14, 20, 28], p=[0.03, 0.05, 0.12, 0.25, 0.3, 0.25]))
    ml = min(ml, 0.7 * float(w.sum()))
    home = int(rng.choice(sulci))  # much of it lies near here, in a head seen from the side
    reach_mm, within = (60.0, 0.4) if several else (45.0, 0.7)
    region = np.full(len(x), FAR, np.float32)
    for k, part in enumerate(shares(rng, count, UNEVEN) * ml):
        if basal and k == 0:
            c = (rng.uniform(-12, 12), rng.uniform(-20, 0), rng.uniform(-6, 6))
        elif basal and rng.random() < 0.4:  # sylvian and interhemispheric fissures, around the brainstem
            c = ((rng.choice([-1, 1]) * rng.uniform(26, 50), rng.uniform(-22, 0), rng.uniform(0, 22)), (0, rng.uniform(-60, 20), rng.uniform(20, 60)),
                 (rng.uniform(-14, 14), rng.uniform(4, 28), rng.uniform(-10, 12)))[int(rng.integers(3))]
        else:
            near = sulci[np.hypot(y[sulci] - y[home], z[sulci] - z[home]) < reach_mm] if rng.random() < within else sulci
            i = int(rng.choice(near))
            c = (x[i], y[i], z[i])
        field = np.sqrt((x - c[0]) ** 2 + (y - c[1]) ** 2 + (1.2 * (z - c[2])) ** 2) + 3 * rough
        field = np.where(region < 1, FAR * 4, field)
        region = np.minimum(region, field - ball_level(field, w, part))
    drawn = draw_hu(rng, "SAH") if hu is None else hu
    return Lesion("SAH", np.clip(region, -FAR, FAR).astype(np.float32), "liquor", drawn, float(rng.uniform(1, 4)), ml, widen)
