"""One random head as fields: skin, bone, air, cavity, and what lies in the cavity.

Written in head coordinates (mm; x left, y posterior, z superior; the origin a little above the sella) for an average
adult; pose, size and a smooth warp are applied to the coordinates first, so the structures stay simple and no two
heads are alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from .fields import FAR, Grid, capsule, ellipsoid, noise, rotation, smax, smin, wider
from .vessels import lakes, vessels


@dataclass
class Head:
    """Fields of one head. `full` live on the whole grid, `brain` on the nodes `index` within and just around the cavity."""

    grid: Grid
    full: dict[str, np.ndarray]
    index: np.ndarray  # flat grid indices of the cavity and 5 mm around it
    x: np.ndarray  # head coordinates at `index`, before mass effect
    y: np.ndarray
    z: np.ndarray
    depth: np.ndarray  # mm below the inner table at `index`, negative in bone
    brain: dict[str, np.ndarray] = field(default_factory=dict)
    traits: dict[str, float] = field(default_factory=dict)
    to_head: np.ndarray | None = None  # rotation, scanner -> head
    offset: np.ndarray | None = None  # scanner position of the head's origin


def draw_traits(rng: np.random.Generator, widen: float = 0.0) -> dict[str, float]:
    """Numbers that make a person: sizes, age, densities. widen: share by which every range grows at both ends."""
    u, spread = wider(rng, widen), 1 + widen
    age = max(u(18, 92), 18.0)
    old = (age - 18) / 74
    return {
        "age": age,
        "size_x": u(0.93, 1.07), "size_y": u(0.93, 1.06),
        "size_z": u(0.92, 1.07),
        "pitch": float(np.clip(rng.normal(6, 11 * spread), -18, 32)),  # chin up is positive; gantries and necks differ a lot
        "yaw": float(rng.normal(0, 4 * spread)), "roll": float(rng.normal(0, 3.5 * spread)),
        "vault_mm": u(3.5, 7.5), "scalp_mm": u(4, 9),
        "sulcus_mm": u(0.3, 0.8) + 1.3 * old * u(0.3, 1),  # half width at the surface
        "sulcus_depth": u(12, 22),
        "layer_mm": u(0.3, 1.5) + 2.5 * old * u(0, 1) ** 2,
        "ventricle": u(0.65, 1.15) + 0.8 * old * u(0, 1),
        **_brain_hu(u), "csf_hu": u(3, 12),
        **_hematocrit(u),
        "bone_hu": u(1000, 1700), "diploe_hu": u(350, 900),
        "fat": u(-1.7, -0.2),
    }


def _brain_hu(u) -> dict[str, float]:
    """Gray matter, the nuclei within, which may be denser, and white matter, which is 3 HU darker or more."""
    gray = u(34, 41)
    return {"gray_hu": gray, "nuclei_hu": gray + u(-1, 5), "white_hu": min(u(25, 33), gray - 3)}


TURNED = 0.25  # share of heads


def turned(rng: np.random.Generator) -> dict[str, float]:
    """Traits of a head that was scanned as it lay, turned to a side and tilted: the sinuses lie where others have convexity."""
    return {"yaw": rng.uniform(-45, 45), "roll": rng.uniform(-14, 14)}


SQUEEZED = 0.2  # share of heads


def squeezed(rng: np.random.Generator) -> dict[str, float]:
    """Traits of a brain that wide ventricles press against the skull: no sulci, and a cortex as dense as faint blood."""
    u = rng.uniform
    gray = u(39, 45)
    return {"ventricle": u(1.4, 3.4), "sulcus_mm": u(0.05, 0.25), "layer_mm": u(0.1, 0.5),
            "gray_hu": gray, "nuclei_hu": gray + u(-1, 3), "white_hu": u(31, 36)}


def _hematocrit(u) -> dict[str, float]:
    """Blood in dural sinuses and arteries, and the dura that blood fills, grow dense together; half widths in mm."""
    share = u(0, 1)
    return {"blood_hu": 44 + 28 * share + u(-3, 3), "dura_hu": 46 + 16 * share + u(-2, 6), "falx_mm": u(0.6, 2.0)}


class _Sculptor:
    """Adds bodies to fields within their own bounding box only, which is what keeps a head at about a second."""

    def __init__(self, grid: Grid, x, y, z, to_head, offset, scale):
        self.grid, self.x, self.y, self.z = grid, x, y, z
        self.back, self.offset, self.scale = to_head.T, offset, scale

    def box(self, points, reach: float):
        """Grid slices that surely hold all points (head mm) and reach mm around them."""
        p = (np.asarray(points, np.float32).reshape(-1, 3) * self.scale) @ self.back.T + self.offset  # scanner x, y, z
        lo, hi = p.min(0) - reach - 12, p.max(0) + reach + 12  # 12: warp and the field's own margin
        out = []
        for axis, c in ((0, 2), (1, 1), (2, 0)):
            i = int(np.clip(np.floor((lo[c] - self.grid.low[axis]) / self.grid.step), 0, self.grid.shape[axis]))
            j = int(np.clip(np.ceil((hi[c] - self.grid.low[axis]) / self.grid.step) + 1, 0, self.grid.shape[axis]))
            out.append(slice(i, max(i, j)))
        return tuple(out)

    def ell(self, target, centre, radii, power=2.0, k=0.0):
        s = self.box([centre], max(radii))
        d = ellipsoid(self.x[s], self.y[s], self.z[s], centre, radii, power)
        target[s] = smin(target[s], d, k) if k else np.minimum(target[s], d)

    def rod(self, target, a, b, ra, rb=None, k=0.0):
        s = self.box([a, b], max(ra, rb or 0))
        d = capsule(self.x[s], self.y[s], self.z[s], a, b, ra, rb)
        target[s] = smin(target[s], d, k) if k else np.minimum(target[s], d)


def build(rng: np.random.Generator, traits: dict[str, float], grid: Grid = Grid()) -> Head:
    """Pose, skull, face and soft tissue. The cavity's inside comes from `fill`, after the lesions are placed."""
    t = traits
    to_head = rotation(t["pitch"], t["yaw"], t["roll"])
    offset = np.array([rng.normal(0, 3), rng.normal(0, 4) + 0.1 * t["pitch"], rng.normal(-2, 2)], np.float32)
    scale = np.array([t["size_x"], t["size_y"], t["size_z"]], np.float32)
    zz, yy, xx = np.meshgrid(grid.axis(0) - offset[2], grid.axis(1) - offset[1], grid.axis(2) - offset[0], indexing="ij")
    head = []
    for i in range(3):
        h = (to_head[i, 0] * xx + to_head[i, 1] * yy + to_head[i, 2] * zz) / scale[i]
        h += noise(rng, grid, 120.0) * np.float32(1.6) + noise(rng, grid, 45.0) * np.float32(0.45)
        head.append(h.astype(np.float32))
    x, y, z = head
    del xx, yy, zz
    s = _Sculptor(grid, x, y, z, to_head, offset, scale)
    n_mid, n_fine = noise(rng, grid, 60.0), noise(rng, grid, 22.0)

    # Cavity: dome, middle fossae, posterior fossa; then the ridges that divide them are taken out again.
    egg = x / (1.0 + np.float32(0.0009 * rng.uniform(0.4, 1.4)) * y)  # parietal bones bulge, the forehead is narrower
    cav = ellipsoid(egg, y, z, (0, 0, 18), (66, 84, 77, 27), 2.35)
    for side in (-1, 1):
        s.ell(cav, (35 * side, -13, -4), (25, 33, 20), 2.3, k=5.0)
    s.ell(cav, (0, 38, -14), (54, 42, rng.uniform(28, 33)), 2.2, k=6.0)
    ridge = np.full(grid.shape, FAR, np.float32)
    for side in (-1, 1):
        s.rod(ridge, (13 * side, 2, -17), (56 * side, 27, -14), 5.5, 10.0)
        s.rod(ridge, (9 * side, -24, -5), (43 * side, -34, -3), 2.5, 3.0)  # lesser wing of the sphenoid
    s.rod(ridge, (0, -2, -8), (0, 15, -44), 6.0, 6.5)  # clivus
    s.ell(ridge, (0, -14, -14), (10, 9, 7))  # sphenoid body under the sella
    cav = smax(cav, -ridge, 2.5)

    # Skull: a shell of varying thickness around the cavity, thin over orbit and temple, and the base.
    thick = np.float32(t["vault_mm"]) * (1 + 0.14 * n_mid) + 2.5 * np.exp(-(((y - 82) / 14) ** 2) - ((z + 2) / 16) ** 2)
    thick -= (t["vault_mm"] - 2.4) * np.exp(-(((np.abs(x) - 62) / 14) ** 2) - ((y + 18) / 30) ** 2 - ((z - 4) / 22) ** 2)
    thick -= (t["vault_mm"] - 2.2) * np.exp(-(((np.abs(x) - 30) / 16) ** 2) - ((y + 55) / 22) ** 2 - ((z + 6) / 10) ** 2)
    bone = cav - np.maximum(thick, 1.8)
    shell = bone.copy()
    bone = np.minimum(bone, ridge)
    air = np.full(grid.shape, FAR, np.float32)
    orbit, eye = air.copy(), air.copy()
    cells = noise(rng, grid, 9.0)
    _face(s, rng, bone, air, orbit, eye)
    _neck(s, rng, bone, air)
    for side in (-1, 1):  # mastoid and its cells
        s.ell(bone, (57 * side, 35, -27), (13, 17, 19), k=3.0)
        if rng.random() < 0.85:
            b = s.box([(57 * side, 34, -24)], 16)
            m = ellipsoid(x[b], y[b], z[b], (57 * side, 34, -24), (9, 13, 13))
            air[b] = np.minimum(air[b], np.maximum(m, (0.1 - cells[b]) * 3))
    hole = np.maximum(np.sqrt(x * x + (y - 21) ** 2) - (15 + np.clip((z + 44) * 0.05, -4, 2)), z + 34)  # foramen magnum, canal
    bone = np.maximum(bone, -hole)

    # Skin: around the skull, face, neck.
    scalp = np.float32(t["scalp_mm"]) * (1 + 0.15 * n_mid)
    skin = shell - scalp
    s.ell(skin, (0, -46, -52), (60 * rng.uniform(0.92, 1.08), 50 * rng.uniform(0.94, 1.05), 66), 2.4, k=14.0)
    s.ell(skin, (0, -97, -36), (11, 14, 17), k=6.0)
    neck = np.sqrt((x / rng.uniform(54, 66)) ** 2 + ((y - 12) / rng.uniform(56, 70)) ** 2) * 60 - 60
    skin = smin(skin, smax(neck, z + 22, 10.0), 16.0).astype(np.float32)
    for side in (-1, 1):
        if rng.random() < 0.85:
            s.ell(skin, (rng.uniform(74, 80) * side, 14, -18), (4, rng.uniform(12, 17), 26), k=4.0)
        s.rod(air, (50 * side, 12, -18), (86 * side, 10, -19), 2.2, 3.5)  # ear canal

    soft = n_fine + np.float32(0.8) * noise(rng, grid, 40.0)
    full = {"skin": skin, "cav": cav, "bone": bone.astype(np.float32), "air": air, "orbit": orbit, "eye": eye, "soft": soft,
            "mid": n_mid, "fine": n_fine, "canal": hole.astype(np.float32)}
    index = np.flatnonzero((cav < 5.0).ravel())
    take = lambda a: np.ascontiguousarray(a.ravel()[index])  # noqa: E731
    head_ = Head(grid, full, index, take(x), take(y), take(z), -take(cav), traits=t, to_head=to_head, offset=offset)
    head_.brain["lateral"] = take(n_mid)
    return head_


def _face(s: _Sculptor, rng, bone, air, orbit, eye) -> None:
    """Orbits, sinuses, nose, jaws. Shapes are crude; their job is to be everything a cavity net must not fill."""
    for side in (-1, 1):
        s.ell(orbit, (31 * side, -60, -21), (18, 25, 17))
        s.ell(eye, (32 * side, -69, -21), (12, 12, 12))
        s.rod(bone, (47 * side, -66, -24), (30 * side, -36, -18), 1.8, 1.5)  # lateral wall
        s.rod(bone, (47 * side, -68, -8), (47 * side, -66, -38), 4.0)
        s.rod(bone, (12 * side, -84, -5), (46 * side, -70, -5), 3.5)  # upper rim
        s.rod(bone, (14 * side, -76, -36), (46 * side, -68, -38), 3.0)  # lower rim
        s.rod(bone, (64 * side, -4, -30), (61 * side, -48, -36), 2.5, 3.5)  # zygomatic arch
        s.rod(bone, (61 * side, -48, -36), (40 * side, -72, -42), 4.0, 4.0)
        r = (14 * rng.uniform(0.7, 1.15), 17 * rng.uniform(0.8, 1.1), 16 * rng.uniform(0.8, 1.1))
        s.ell(bone, (29 * side, -58, -52), tuple(v + 2.0 for v in r))
        if rng.random() < 0.85:  # else opacified
            s.ell(air, (29 * side, -58, -52), r)
        s.rod(bone, (47 * side, -10, -38), (45 * side, -18, -84), 4.5, 6.0)  # mandible
        s.rod(bone, (45 * side, -18, -84), (9 * side, -80, -102), 6.5, 7.0)
        s.rod(bone, (36 * side, -42, -70), (10 * side, -82, -70), 5.0)  # alveolar arch with teeth
        s.rod(bone, (34 * side, -44, -82), (9 * side, -80, -84), 4.0)
        s.rod(bone, (20 * side, -22, -30), (24 * side, -28, -62), 2.5)  # pterygoid
        if rng.random() < 0.7:
            s.ell(bone, (rng.uniform(8, 14) * side, -83, 6), (12, 7, 15))
            s.ell(air, (rng.uniform(8, 14) * side, -83, 6), (rng.uniform(6, 11), rng.uniform(3, 5.5), rng.uniform(6, 14)))
        for i in range(3):  # ethmoid cells
            s.ell(bone, (7.5 * side, -72 + 15 * i, -22), (6.5, 8.5, 13))
            s.ell(air, (7.5 * side, -72 + 15 * i, -22), (5.3, 7.2, 11.5))
        s.ell(air, (7 * side, -58, -46), (5.5, 28, 13))  # nasal cavity
    s.rod(bone, (0, -86, -30), (0, -50, -30), 1.0)
    s.rod(bone, (0, -86, -46), (0, -30, -46), 1.0)
    s.ell(bone, (0, -56, -60), (24, 28, 3))  # palate
    s.ell(bone, (0, -20, -20), (13, 14, 11))
    if rng.random() < 0.85:
        s.ell(air, (rng.normal(0, 2), -21, -20), (rng.uniform(6, 11), rng.uniform(7, 11.5), rng.uniform(5, 8)))


def _neck(s: _Sculptor, rng, bone, air) -> None:
    """Airway, first vertebrae, condyles."""
    s.rod(air, (0, -26, -48), (0, -14, -130), rng.uniform(6, 10), rng.uniform(5, 9))
    if rng.random() < 0.5:
        s.ell(air, (0, -50, -66), (15, 18, 4))  # mouth
    for side in (-1, 1):
        s.rod(bone, (19 * side, 14, -46), (22 * side, 20, -56), 6.0, 7.0)
        s.rod(bone, (22 * side, 22, -58), (8 * side, 44, -60), 4.0, 3.5)  # atlas
        s.rod(bone, (20 * side, 16, -72), (20 * side, 20, -120), 6.5)
        s.rod(bone, (18 * side, 28, -84), (3 * side, 46, -88), 3.5)
    s.rod(bone, (-16, 4, -58), (16, 4, -58), 3.5)
    s.rod(bone, (0, 7, -52), (0, 9, -72), 5.5)  # dens
    s.rod(bone, (0, 8, -76), (0, 10, -132), 10.0)
    s.rod(bone, (0, 46, -88), (0, 58, -94), 4.0)


def tentorium(x, y):
    """Height of the tentorium, mm."""
    return 16.0 - 0.0085 * x * x - 0.0045 * (y - 20.0) ** 2


def ventricles(x, y, z, size: float, left=1.0) -> tuple[np.ndarray, np.ndarray]:
    """Distance (mm) to all ventricles and to the lateral ones, in head coordinates; left: factor on the distance, for asymmetry."""
    v, ax = size, np.abs(x + 0.02 * y)
    parts = [((7.5, -31, 30), (8.5, -12, 38), 3.2, 4.3), ((8.5, -12, 38), (12, 16, 41), 4.3, 4.5),
             ((12, 16, 41), (24, 33, 30), 4.5, 6.5), ((24, 33, 30), (19, 56, 26), 6.0, 2.0),
             ((24, 33, 30), (33, 14, 6), 4.0, 2.0), ((33, 14, 6), (31, -6, -2), 2.0, 1.2)]
    vent = np.full(len(x), FAR, np.float32)
    for a, c, ra, rb in parts:
        vent = smin(vent, capsule(ax, y, z, a, c, ra * v, rb * v) * left, 2.0)
    third = ellipsoid(x, y, z, (0, -1, 20), (1.6 * v, 13, 10))
    fourth = ellipsoid(x, y, z, (0, 34, -18), (5.0 * v, 5.0 * v, 9))
    aqueduct = capsule(x, y, z, (0, 12, 14), (0, 30, -10), 0.9)
    return np.minimum(np.minimum(vent, third), np.minimum(fourth, aqueduct)).astype(np.float32), vent


def fill(rng: np.random.Generator, head: Head, push: np.ndarray | None = None) -> None:
    """Brain, liquor, dura and vessels at the nodes of the cavity; push (n, 3) is the mass effect in mm."""
    t, b = head.traits, head.brain
    x, y, z, d = head.x, head.y, head.z, head.depth
    if push is not None:
        x, y, z = x - push[:, 0], y - push[:, 1], z - push[:, 2]
    grid = head.grid
    small = lambda: noise(rng, grid, 30.0).ravel()[head.index]  # noqa: E731
    b["xm"] = x
    tent = z - tentorium(x, y)
    b["tent"] = tent
    r_inc = np.sqrt(x * x + (y - 8) ** 2)
    b["tent_ext"] = np.maximum(19 - r_inc, 6 + 0.25 * np.abs(x) - y)
    reach = 40 - 0.1 * np.abs(y) + 12 * np.clip(y / 80, 0, 1)
    b["falx_ext"] = np.maximum(np.maximum(d - reach, 6 - z), -tent - 1.0)

    # Sulci: zero set of a field that hardly changes along the radius, hence perpendicular to the skull.
    r = np.sqrt(x * x + (0.85 * y) ** 2 + (z - 12) ** 2) + 1e-3
    squeeze = (60.0 / r) ** 0.75
    warp = small() * 3.0
    field = ndimage.gaussian_filter(rng.standard_normal((64, 64, 64)).astype(np.float32), 1.5)
    field -= ndimage.gaussian_filter(field, 3.0)
    pitch_mm = rng.uniform(4.0, 5.2)  # grid of the noise: about 11 mm between sulci
    at = np.stack([(v * squeeze + o) / pitch_mm + 32 for v, o in ((z - 12 + warp, 3.1), (y, 0.0), (x + warp, 0.5 + 60 * (x > 0)))])
    n = ndimage.map_coordinates(field, at, order=1, mode="grid-wrap")
    b["sulc"] = (n / n.std() * 3.0).astype(np.float32)  # about mm: the slope at the zero set is near 1 / 3 per mm

    # Ventricles: rods along |x|; asymmetry comes from the warp.
    left = 1 + 0.12 * np.tanh(x / 4) * rng.normal(0, 1)
    b["vent"], b["lateral_vent"] = ventricles(x, y, z, t["ventricle"], left)

    # Cisterns and the sylvian fissures (near-coronal sheets).
    stem = smin(capsule(x, y, z, (0, 11, 8), (0, 16, -18), 13, 14), capsule(x, y, z, (0, 16, -18), (0, 21, -50), 14, 8), 6.0)
    cist = np.maximum(np.abs(stem) - rng.uniform(1.0, 2.6), np.where(z < 0, y - 16, z - 16))
    cist = smin(cist, ellipsoid(x, y, z, (0, -11, -1), (13, 11, 6)), 3.0)  # suprasellar
    cist = smin(cist, ellipsoid(x, y, z, (0, 27, 12), (8, 4.5, 7)), 2.0)  # quadrigeminal
    cist = smin(cist, ellipsoid(x, y, z, (0, 54, -44), (14, 13, rng.uniform(3, 9))), 2.0)  # cisterna magna
    ax0 = np.abs(x)
    sheet = np.abs(y + 13 + 2.0 * small() - 0.45 * (ax0 - 42) - 0.35 * (z - 10)) - (0.8 + t["sulcus_mm"] * 1.1)
    sheet = np.maximum(np.maximum(sheet, 26 - ax0), np.maximum(-6 - z, z - 30))
    cist = np.minimum(cist, sheet)
    b["cist"] = np.where(tent < 0, np.minimum(cist, d - 0.4 * t["layer_mm"] - 0.6), np.minimum(cist, d - t["layer_mm"])).astype(np.float32)

    gray = smin(ellipsoid(ax0, y, z, (12, 10, 22), (9, 14, 10)), ellipsoid(ax0, y, z, (24, -6, 18), (8, 18, 11)), 2.0)
    gray = np.minimum(gray, ellipsoid(ax0, y, z, (12, -24, 28), (5, 9, 9)))  # thalamus, lentiform, caudate
    b["gray"] = np.minimum(gray, np.maximum(tent, -(stem - 1.0))).astype(np.float32)

    # Falx, thicker at the back and top; its half width in mm. Dural sinuses and arteries: bright without being a bleed.
    b["falx_half"] = (t["falx_mm"] * (0.55 + 0.35 * np.clip((y + 40) / 80, 0, 1) + 0.2 * np.clip(z / 70, 0, 1))).astype(np.float32)
    wide, beside = rng.uniform(0.7, 1.3), rng.spawn(1)[0]  # a stream of its own: what follows stays as it was without lakes
    sag = np.maximum(np.maximum(np.abs(x - beside.normal(0, 2)) - (7.0 * wide - d) * 0.75, d - 7.5 * wide), np.where(y < 0, 40 - z, -2 - z))
    tube = np.sqrt((d - 2.5) ** 2 + (tent + 1.5) ** 2) - rng.uniform(2.0, 4.2)
    trans = np.maximum(tube, np.maximum(28 - y, -x * rng.choice([0.0, 1.0])))  # the right one is often missing
    straight = np.sqrt(x * x + tent**2) - rng.uniform(1.2, 2.4)
    straight = np.maximum(straight, np.maximum(30 - y, 1 - d))
    back = np.flatnonzero((np.abs(x) < 4) & (np.abs(tent) < 4) & (np.abs(d - 3) < 2) & (y > 40))
    sinus = np.minimum(np.minimum(sag, trans), straight)
    if len(back):  # where they meet
        i = int(rng.choice(back))
        sinus = smin(sinus, ellipsoid(x, y, z, (x[i], y[i], z[i]), rng.uniform(3, 6, 3)), 2.0)
    b["sinus"] = lakes(beside, sinus, x, y, z, d).astype(np.float32)
    b["artery"] = vessels(rng, x, y, z, d, tent)
    b["gyri"] = small().astype(np.float32)
