"""Hemorrhages that take up room: in the brain, under and over the dura. They push the brain aside before it is filled."""

from __future__ import annotations

import numpy as np

from .anatomy import Head, tentorium
from .bleeds import Lesion, ball_level, shade, shares
from .fields import FAR, noise, weighted_threshold
from .table import draw_hu


def place_solid(rng: np.random.Generator, head: Head, subtype: str, ml: float, hu: float | None = None,
                trauma: bool | None = None, several: bool = True) -> tuple[Lesion, np.ndarray]:
    """IPH, SDH or EDH of ml, and the displacement (n, 3) mm it causes. several: in one or more parts, with levels and layers; otherwise
    an even clot in one piece.

    trauma: contusions rather than one hematoma; None draws it.
    """
    d = head.depth
    weight = np.clip((d - 0.6) / head.grid.step + 0.5, 0, 1) * head.grid.voxel_ml()  # the outermost 0.6 mm look like bone
    tent = head.z - tentorium(head.x, head.y)
    side = float(rng.choice([-1, 1]))
    rough = noise(rng, head.grid, 18.0).ravel()[head.index]
    if subtype == "IPH":
        if several and (rng.random() < 0.25 if trauma is None else trauma):
            region, push = _contusions(rng, head, ml, tent, weight)
        else:
            region, push = _hematomas(rng, head, side, ml, rough, tent, weight, several)
    elif subtype == "SDH":
        region, push = _subdural(rng, head, side, ml, rough, tent, weight, several)
    elif subtype == "EDH":
        region, push = _epidural(rng, head, side, ml, rough, tent, weight)
    else:
        raise ValueError(f"{subtype} is not a solid bleed")
    clot = None if not several else shade(rng, head, rough, *{"IPH": (0.1, 0.1), "SDH": (0.15, 0.25), "EDH": (0.03, 0.2)}[subtype])
    drawn = draw_hu(rng, subtype) if hu is None else hu
    lesion = Lesion(subtype, np.clip(region, -FAR, FAR).astype(np.float32), "cavity", drawn, float(rng.uniform(1, 5)), ml, shade=clot)
    return lesion, push.astype(np.float32)


def _hematomas(rng, head: Head, side, ml, rough, tent, weight, several: bool):
    """One hematoma, sometimes a second or third, smaller one."""
    count = int(rng.choice([1, 2, 3], p=[0.72, 0.2, 0.08])) if several else 1
    region, push = np.full(len(head.x), FAR, np.float32), np.zeros((len(head.x), 3), np.float32)
    for part in shares(rng, count, 1.6) * ml:
        field, centre = _iph(rng, head, side, rough, tent)
        field = np.where(region < 3, FAR * 4, field)
        region = np.minimum(region, field - ball_level(field, weight, part))
        push += _away(head, centre, part)
    return region, push


def _away(head: Head, centre: np.ndarray, ml: float) -> np.ndarray:
    """Displacement by a ball of ml at centre."""
    r = (3 * ml * 1000 / (4 * np.pi)) ** (1 / 3)
    away = np.stack([head.x, head.y, head.z], 1) - centre
    dist = np.linalg.norm(away, axis=1, keepdims=True) + 1e-3
    return away / dist * 0.3 * r * np.exp(-((dist / (2.6 * r)) ** 2))


def _iph(rng, head: Head, side, rough, tent):
    kind = rng.random()
    x, y, z, d = head.x, head.y, head.z, head.depth
    if kind < 0.45:  # basal ganglia, thalamus
        centre = np.array([side * rng.uniform(12, 32), rng.uniform(-16, 16), rng.uniform(10, 30)])
    elif kind < 0.85:  # lobar
        ok = np.flatnonzero((d > 10) & (d < 30) & (tent > 6) & (np.abs(x) > 10))
        i = int(rng.choice(ok))
        centre = np.array([x[i], y[i], z[i]])
    elif kind < 0.95:
        centre = np.array([side * rng.uniform(12, 32), rng.uniform(42, 62), rng.uniform(-26, -12)])
    else:
        centre = np.array([rng.normal(0, 2), rng.uniform(10, 18), rng.uniform(-24, -10)])
    shape = np.exp(rng.normal(0, 0.25, 3))
    a = rng.uniform(0, np.pi)
    dx, dy, dz = x - centre[0], y - centre[1], z - centre[2]
    u, v = np.cos(a) * dx + np.sin(a) * dy, -np.sin(a) * dx + np.cos(a) * dy
    field = np.sqrt((u / shape[0]) ** 2 + (v / shape[1]) ** 2 + (dz / shape[2]) ** 2) + rough * rng.uniform(0.5, 3.0)
    blocked = (d < 2.0) | (np.abs(x) < 1.0) & (tent > 0) & (z > 30)
    return np.where(blocked, FAR * 4, field), centre.astype(np.float32)


def _contusions(rng, head: Head, ml, tent, weight):
    """Bruises of cortex where the brain hits bone: frontal, mostly on both sides, temporal, anywhere at the vault; patchy."""
    x, y, z, d = head.x, head.y, head.z, head.depth
    patches = noise(rng, head.grid, 10.0).ravel()[head.index] * rng.uniform(1.0, 3.5)
    frontal = (np.abs(x) > 4) & (np.abs(x) < 38) & (y < -38) & (z < 26)
    temporal = (np.abs(x) > 24) & (y < 12) & (y > -36) & (z < 14)
    cortex = (d > 3) & (d < 13) & (tent > 2)
    places = [cortex & frontal & (x < 0), cortex & frontal & (x > 0), cortex & temporal & (x < 0), cortex & temporal & (x > 0), cortex]
    count = int(rng.choice([1, 2, 3, 4, 6], p=[0.3, 0.3, 0.2, 0.12, 0.08]))
    first = int(rng.choice(5, p=[0.27, 0.27, 0.16, 0.16, 0.14]))
    then = {0: 1, 1: 0, 2: 3, 3: 2, 4: 4}[first]  # the other side next
    order = [first, then, *rng.choice(5, count)][:count]
    region, push = np.full(len(x), FAR, np.float32), np.zeros((len(x), 3), np.float32)
    for part, place in zip(shares(rng, count, 1.2) * ml, order):
        ok = np.flatnonzero(places[place])
        if len(ok) == 0:
            ok = np.flatnonzero(cortex)
        i = int(rng.choice(ok))
        centre = np.array([x[i], y[i], z[i]], np.float32)
        flat = np.exp(rng.normal(0, 0.25, 3))
        field = np.sqrt(sum(((a - c) / s) ** 2 for a, c, s in zip((x, y, z), centre, flat))) + patches
        field = np.where((d < 1.5) | (np.abs(x) < 1.5) & (z > 5), FAR * 4, field)
        region = np.minimum(region, field - ball_level(field, weight, part))
        push += 0.5 * _away(head, centre, part)
    return region, push


def _subdural(rng, head: Head, side, ml, rough, tent, weight, several: bool):
    """A crescent, and smaller collections beside it, along the falx, on the tentorium, on the other side."""
    count = int(rng.choice([1, 2, 3, 5], p=[0.58, 0.24, 0.12, 0.06])) if several else 1
    region, push = np.full(len(head.x), FAR, np.float32), np.zeros((len(head.x), 3), np.float32)
    for k, part in enumerate(shares(rng, count, 1.4) * ml):
        where = side if k == 0 or rng.random() < 0.6 else -side
        one, thickness = _sdh(rng, head, where, part, rough, tent, weight, small=k > 0)
        region = np.minimum(region, one)
        push[:, 0] -= where * min(0.5 * thickness, 9.0) * np.clip((head.x * where + 15) / 75, 0, 1)
    return region, push


def _sdh(rng, head: Head, side, ml, rough, tent, weight, small: bool):
    x, y, z, d = head.x, head.y, head.z, head.depth
    kind = rng.random() * (1.0 if not small else 0.999) + (0.12 if small else 0.0)
    if kind < 0.80:  # convexity: a crescent that thins out to all sides but stops at falx and tentorium
        y0, z0 = rng.uniform(-40, 45), rng.uniform(14, 55)
        long, high = (rng.uniform(12, 30), rng.uniform(10, 22)) if small else (rng.uniform(38, 72), rng.uniform(24, 44))
        if not small and rng.random() < 0.35:  # over the whole hemisphere
            long, high = rng.uniform(60, 110), rng.uniform(38, 70)
        wide = float(np.clip((ml / 25) ** 0.35, 0.35, 1.2))  # little blood is a short crescent, not a film that none would see
        w = np.exp(-((((y - y0) / long) ** 2 + ((z - z0) / high) ** 2) / wide**2) ** 1.5)
        w *= np.clip(x * side / 12, 0, 1) * (tent > 2)
        along = d
    elif kind < 0.93:  # along the falx
        y0 = rng.uniform(-40, 55)
        w = np.exp(-(((y - y0) / rng.uniform(15, 50)) ** 2)) * (x * side > 0) * (head.z > 8) * (d < 42) * (tent > 0)
        along = np.abs(x) - head.traits["falx_mm"] * 0.8
        ml = min(ml, 18.0)
    else:  # on the tentorium
        w = np.exp(-(((y - 38) / 26) ** 2)) * (x * side > 0) * (tent > 0) * (np.hypot(x, y - 8) > 19)
        along = tent - 0.8 * head.traits["falx_mm"]
        ml = min(ml, 15.0)
    w = w * np.exp(rng.uniform(0.05, 0.18) * rough)
    field = np.where((w > 0.1) & (d > -2), (along + 0.2) / np.maximum(w, 1e-3), FAR * 20)
    level = weighted_threshold(field, weight, ml)
    region = np.where(w > 0.1, along - level * w, FAR)
    return np.minimum(region, FAR), float(level)


def _epidural(rng, head: Head, side, ml, rough, tent, weight):
    x, y, z, d = head.x, head.y, head.z, head.depth
    wall = np.flatnonzero((np.abs(d) < 2.0) & (z > -2) & (z < 62) & (x * side > 18) & (y > -70))
    i = int(rng.choice(wall))
    p = np.array([x[i], y[i], z[i]])
    out = np.array([p[0], p[1] * 0.8, (p[2] - 15) * 0.8])
    q = p + out / np.linalg.norm(out) * rng.uniform(8, 38)
    field = np.sqrt((x - q[0]) ** 2 + (y - q[1]) ** 2 + (z - q[2]) ** 2) + 0.7 * rough
    field = np.where((d > -2) & (tent > -1), field, FAR * 4)
    region = field - weighted_threshold(field, weight, ml)
    thickness = max(float(d[region < 0].max()) if (region < 0).any() else 0.0, 0.0)
    dist = np.sqrt((x - p[0]) ** 2 + (y - p[1]) ** 2 + (z - p[2]) ** 2)
    return region, -(out / np.linalg.norm(out))[None] * (0.4 * min(thickness, 25) * np.exp(-((dist / 55) ** 2)))[:, None]
