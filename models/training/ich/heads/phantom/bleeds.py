"""Hemorrhages of known volume, and things that look like them but are not.

Every lesion is a field whose low values are filled first, and the level that encloses the wanted millilitres
(`weighted_threshold`). The result is a region, a signed distance in mm at the cavity's nodes, plus the carrier it may
occupy: any place in the cavity, the ventricles (IVH) or the liquor around the brain (SAH).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .anatomy import Head
from .fields import FAR, noise, weighted_threshold
from .table import draw_hu

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


def blood_hu(rng: np.random.Generator) -> float:
    """Three quarters acute and clearly bright; the rest subacute or anaemic, close to cortex."""
    return float(rng.uniform(56, 82) if rng.random() < 0.75 else rng.uniform(44, 57))


def draw_ml(rng: np.random.Generator, subtype: str) -> float:
    """Log-uniform; a fifth of the bleeds may be of any size, down to what a reader would just see."""
    low, high = (EXTREMES_ML if rng.random() < 0.2 else RANGES_ML)[subtype]
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def liquor(head: Head, fields: dict[str, np.ndarray], depth: np.ndarray, widen: float = 0.0) -> np.ndarray:
    """Signed distance of sulci, fissure and cisterns, from interpolated fields or at the nodes alike."""
    t = head.traits
    width = (t["sulcus_mm"] + widen) * np.clip(1.15 - depth / t["sulcus_depth"], -1.0, 1.0)
    width = np.where(fields["tent"] > 0, width, 0.45 * width - 0.2)
    sulcus = np.abs(fields["sulc"]) - width
    fissure = np.maximum(np.abs(fields["xm"]) - (0.8 + 0.7 * t["sulcus_mm"] + widen), fields["falx_ext"] - 3.0)
    return np.minimum(np.minimum(sulcus, fissure), fields["cist"] - widen)


def place_solid(rng: np.random.Generator, head: Head, subtype: str, ml: float, hu: float | None = None) -> tuple[Lesion, np.ndarray]:
    """IPH, SDH or EDH, and the displacement (n, 3) mm it causes."""
    x, y, z, d = head.x, head.y, head.z, head.depth
    weight = np.clip((d - 0.6) / head.grid.step + 0.5, 0, 1) * head.grid.voxel_ml()  # the outermost 0.6 mm look like bone
    tent = z - (16.0 - 0.0085 * x * x - 0.0045 * (y - 20.0) ** 2)
    side = float(rng.choice([-1, 1]))
    rough = noise(rng, head.grid, 18.0).ravel()[head.index]
    push = np.zeros((len(x), 3), np.float32)
    if subtype == "IPH":
        field, centre = _iph(rng, head, side, rough, tent)
        level = weighted_threshold(field, weight, ml)
        region = field - level
        r = (3 * ml * 1000 / (4 * np.pi)) ** (1 / 3)
        away = np.stack([x, y, z], 1) - centre
        dist = np.linalg.norm(away, axis=1, keepdims=True) + 1e-3
        push = away / dist * 0.3 * r * np.exp(-((dist / (2.6 * r)) ** 2))
    elif subtype == "SDH":
        region, thickness = _sdh(rng, head, side, ml, rough, tent, weight)
        push[:, 0] = -side * min(0.5 * thickness, 9.0) * np.clip((x * side + 15) / 75, 0, 1)
    elif subtype == "EDH":
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
        push -= (out / np.linalg.norm(out))[None] * (0.4 * min(thickness, 25) * np.exp(-((dist / 55) ** 2)))[:, None]
    else:
        raise ValueError(f"{subtype} is not a solid bleed")
    lesion = Lesion(subtype, region.astype(np.float32), "cavity", hu or draw_hu(rng, subtype), float(rng.uniform(1, 5)), ml)
    return lesion, push.astype(np.float32)


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


def _sdh(rng, head: Head, side, ml, rough, tent, weight):
    x, y, z, d = head.x, head.y, head.z, head.depth
    kind = rng.random()
    if kind < 0.82:  # convexity: a crescent that thins out to all sides but stops at falx and tentorium
        y0, z0 = rng.uniform(-40, 45), rng.uniform(18, 50)
        w = np.exp(-(((y - y0) / rng.uniform(32, 66)) ** 2) - ((z - z0) / rng.uniform(20, 38)) ** 2)
        w *= np.clip(x * side / 12, 0, 1) * (tent > 2)
        along = d
    elif kind < 0.93:  # along the falx
        y0 = rng.uniform(-30, 45)
        w = np.exp(-(((y - y0) / rng.uniform(25, 45)) ** 2)) * (x * side > 0) * (head.z > 8) * (d < 42) * (tent > 0)
        along = np.abs(x) - 0.5
        ml = min(ml, 18.0)
    else:  # on the tentorium
        w = np.exp(-(((y - 38) / 26) ** 2)) * (x * side > 0) * (tent > 0) * (np.hypot(x, y - 8) > 19)
        along = tent
        ml = min(ml, 15.0)
    w = w * np.exp(0.12 * rough)
    field = np.where((w > 0.06) & (d > -2), (along + 0.2) / np.maximum(w, 1e-3), FAR * 20)
    level = weighted_threshold(field, weight, ml)
    region = np.where(w > 0.06, along - level * w, FAR)
    return np.minimum(region, FAR), float(level)


def place_fluid(rng: np.random.Generator, head: Head, subtype: str, ml: float, hu: float | None = None) -> Lesion:
    """IVH or SAH; needs the filled anatomy."""
    x, y, z, d = head.x, head.y, head.z, head.depth
    step, vol = head.grid.step, head.grid.voxel_ml()
    b = head.brain
    rough = noise(rng, head.grid, 20.0).ravel()[head.index]
    if subtype == "IVH":
        w = np.clip(0.5 - b["vent"] / step, 0, 1) * vol
        if rng.random() < 0.6:  # lies in the dependent part: the occipital horns of a supine patient
            field = -y + 0.3 * z + 2.5 * rough + (0 if rng.random() < 0.5 else 14 * np.sign(x) * rng.choice([-1, 1]))
        else:  # cast around a point
            c = (rng.uniform(-20, 20), rng.uniform(-20, 30), rng.uniform(15, 38))
            field = np.sqrt((x - c[0]) ** 2 + (y - c[1]) ** 2 + (z - c[2]) ** 2) + 3 * rough
        ml = min(ml, 0.95 * float(w.sum()))
        region = field - weighted_threshold(field, w, ml)
        region = np.clip(region, -FAR, FAR).astype(np.float32)
        return Lesion("IVH", region, "ventricle", hu or draw_hu(rng, subtype), float(rng.uniform(1, 5)), ml, 0.4)
    widen = float(rng.uniform(0.5, 1.3))
    sdf = liquor(head, b, d, widen)
    w = np.clip(0.5 - sdf / step, 0, 1) * (d > 0) * vol
    kind = rng.random()
    if kind < 0.5:  # aneurysm: basal cisterns and fissures
        c = (rng.uniform(-12, 12), rng.uniform(-20, 0), rng.uniform(-6, 6))
    else:  # trauma: sulci of one region
        ok = np.flatnonzero((d > 2) & (d < 12) & (z > 5))
        i = int(rng.choice(ok))
        c = (x[i], y[i], z[i])
    field = np.sqrt((x - c[0]) ** 2 + (y - c[1]) ** 2 + (1.2 * (z - c[2])) ** 2) + 3 * rough
    ml = min(ml, 0.7 * float(w.sum()))
    region = field - weighted_threshold(field, w, ml)
    region = np.clip(region, -FAR, FAR).astype(np.float32)
    return Lesion("SAH", region, "liquor", hu or draw_hu(rng, subtype), float(rng.uniform(1, 4)), ml, widen)


def distractors(rng: np.random.Generator, head: Head) -> list[Lesion]:
    """Unlabelled: calcifications, old infarct, hygroma or chronic subdural, small bright specks."""
    x, y, z, d = head.x, head.y, head.z, head.depth
    out: list[Lesion] = []
    ball = lambda c, r: np.sqrt((x - c[0]) ** 2 + (y - c[1]) ** 2 + (z - c[2]) ** 2) - r  # noqa: E731
    if rng.random() < 0.7:
        out.append(Lesion("", ball((rng.normal(0, 1), 26, 16), rng.uniform(1, 3)), "cavity", rng.uniform(70, 350), 20, 0))  # pineal
    for side in (-1, 1):
        if rng.random() < 0.6:  # choroid plexus
            out.append(Lesion("", ball((23 * side, 35, 27), rng.uniform(1.5, 3.5)), "cavity", rng.uniform(60, 320), 30, 0))
    if rng.random() < 0.25:
        r = rng.uniform(1.5, 4)
        both = np.minimum(ball((19, -4, 16), r), ball((-19, -4, 16), r * rng.uniform(0.6, 1)))
        out.append(Lesion("", both, "cavity", rng.uniform(50, 160), 15, 0))  # basal ganglia
    if rng.random() < 0.3:  # falx plaque
        c = (0, rng.uniform(-60, 30), rng.uniform(30, 70))
        plaque = np.maximum(np.abs(x) - rng.uniform(0.8, 2), ball(c, rng.uniform(4, 11)))
        out.append(Lesion("", plaque, "cavity", rng.uniform(90, 500), 30, 0))
    for _ in range(rng.integers(0, 4)):  # specks: vessels end on, partial volume of sulcal dura
        ok = np.flatnonzero(d > 2)
        i = int(rng.choice(ok))
        out.append(Lesion("", ball((x[i], y[i], z[i]), rng.uniform(0.8, 2.2)), "cavity", rng.uniform(55, 180), 5, 0))
    if rng.random() < 0.15:  # infarct
        ok = np.flatnonzero(d > 5)
        i = int(rng.choice(ok))
        rough = noise(rng, head.grid, 18.0).ravel()[head.index]
        out.append(Lesion("", ball((x[i], y[i], z[i]), rng.uniform(8, 28)) + 3 * rough, "cavity", rng.uniform(10, 26), 2, 0))
    if rng.random() < 0.08:  # hygroma, chronic subdural: dark, not acute, reported by nobody as such
        les, _ = place_solid(rng, head, "SDH", draw_ml(rng, "SDH") * 0.6, hu=rng.uniform(8, 28))
        les.subtype = ""
        out.insert(0, les)
    for les in out:
        les.region = np.minimum(les.region, FAR).astype(np.float32)
    return out
