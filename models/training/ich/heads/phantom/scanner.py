"""From fields to CT slices: partial volume, point spread, beam hardening, noise, streaks, table.

Each slice is the mean of sub-slices, so a slice of 5 mm shows partial volume as a scanner does. Beam hardening follows
the physics (`hardening.py`) on most series; on some a rim inside the skull is drawn besides, of any strength and width,
whether or not there is blood: on real heads a rim of 45 to 88 HU is what a net trained without it calls a subdural.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from .anatomy import Head
from .bleeds import SUBTYPES, Lesion, liquor
from .fields import FAR, spread, wider
from .hardening import Tube

CONTRAST_HU = 8.0  # labelled blood is brighter than its surroundings by this much
NEAR_MM = 6.0
VISIBLE_HU = 140.0  # above this a pixel looks like bone whatever lies in it; it carries no label


@dataclass(frozen=True)
class Series:
    """Geometry of the slices to render."""

    positions: np.ndarray  # z of slice centres, mm, rising
    thickness: float
    rows: int
    columns: int
    pixel: float  # mm
    first: tuple[float, float]  # x, y of the centre of pixel (0, 0), mm
    sub: int = 3


@dataclass(frozen=True)
class Quality:
    """How the scanner falls short; drawn once per series."""

    psf_mm: float
    noise_hu: float
    grain_mm: float  # correlation of the noise
    glow_hu: float
    glow_mm: float
    cup_hu: float
    offset_hu: float
    streak_hu: float
    motion: float
    table: bool
    holder: bool
    metal: int
    quiet_air: bool = False  # air without noise: the file compresses
    hardening: float = 0.0  # 1: a scanner corrected for water alone; 0: none left; below: overcorrected
    hardness: float = 0.5  # of the spectrum: 0 about 100 kV, 1 about 140 kV
    starved_hu: float = 0.0  # streaks that noise leaves behind the longest ways through bone

    @staticmethod
    def draw(rng: np.random.Generator, widen: float = 0.0) -> "Quality":
        """widen: share by which every range grows at both ends."""
        r, u = rng.random, wider(rng, widen)
        return Quality(
            psf_mm=u(0.35, 0.9), noise_hu=u(1.5, 6.5), grain_mm=u(0.4, 0.9),
            glow_hu=float(u(0, 60) if r() < 0.5 else u(0, 8)), glow_mm=u(1.5, 7.0),
            cup_hu=u(-3, 14), offset_hu=float(rng.normal(0, 3)),
            streak_hu=float(u(2, 14) if r() < 0.45 else u(0, 2)), motion=float(u(1, 4) if r() < 0.06 else 0),
            table=bool(r() < 0.7), holder=bool(r() < 0.6), metal=int(rng.integers(1, 4) if r() < 0.08 else 0),
            hardening=float(u(0, 1.2) if r() < 0.85 else u(-0.4, 0.1)), hardness=float(r()),
            starved_hu=float(u(0, 6) ** 2 / 6 if r() < 0.6 else 0))

    def without(self, parts: tuple[str, ...]) -> "Quality":
        """The same scanner with some faults left out, to see what each does to a network: "hardening", "rim"."""
        changes = {}
        if "hardening" in parts:
            changes |= {"hardening": 0.0, "starved_hu": 0.0}
        if "rim" in parts:
            changes |= {"glow_hu": 0.0}
        return replace(self, **changes)

    @staticmethod
    def good(rng: np.random.Generator) -> "Quality":
        """A clean modern scanner, for the sample studies."""
        return Quality(0.6, 3.2, 0.75, 9.0, 3.0, 3.0, 0.0, 1.0, 0.0, False, True, 0, True)


def occupancy(distance: np.ndarray, width: float) -> np.ndarray:
    """Share of a pixel of this width inside a body, from the signed distance at its centre."""
    return np.clip(0.5 - distance / np.float32(width), 0.0, 1.0)


class Camera:
    """Interpolates all fields of a head at the pixel centres of one plane: two small matrix products per field."""

    BRAIN = ("xm", "tent", "tent_ext", "falx_ext", "sulc", "vent", "cist", "gray", "sinus", "artery", "gyri")
    FULL = ("skin", "cav", "bone", "air", "orbit", "eye", "soft", "mid", "fine", "canal")

    def __init__(self, head: Head, lesions: list[Lesion], series: Series):
        grid = head.grid
        names = list(self.FULL) + list(self.BRAIN) + [f"lesion{i}" for i in range(len(lesions))]
        self.names, self.grid = names, grid
        self.stack = np.full((grid.shape[0], len(names), *grid.shape[1:]), FAR, np.float32)
        flat = np.empty(int(np.prod(grid.shape)), np.float32)
        for i, name in enumerate(names):
            if name in head.full:
                self.stack[:, i] = head.full[name]
                continue
            values = head.brain[name] if name in head.brain else lesions[int(name[6:])].region
            flat[:] = FAR
            flat[head.index] = values
            self.stack[:, i] = flat.reshape(grid.shape)
        self.to_rows = self._matrix(series.first[1] + series.pixel * np.arange(series.rows), 1)
        self.to_cols = self._matrix(series.first[0] + series.pixel * np.arange(series.columns), 2)

    def _matrix(self, at: np.ndarray, axis: int) -> np.ndarray:
        n = self.grid.shape[axis]
        f = np.clip((at - self.grid.low[axis]) / self.grid.step, 0, n - 1.001)
        i = f.astype(int)
        m = np.zeros((len(at), n), np.float32)
        m[np.arange(len(at)), i] = 1 - (f - i)
        m[np.arange(len(at)), i + 1] = f - i
        return m

    def plane(self, z: float) -> dict[str, np.ndarray]:
        f = float(np.clip((z - self.grid.low[0]) / self.grid.step, 0, self.grid.shape[0] - 1.001))
        i = int(f)
        flat = self.stack[i] * np.float32(1 - f + i) + self.stack[i + 1] * np.float32(f - i)
        # The sheets are cut where the plane leaves the cavity's nodes (FAR); elsewhere fields are smooth.
        out = np.matmul(np.matmul(self.to_rows, flat), self.to_cols.T)
        return dict(zip(self.names, out))


def render(rng: np.random.Generator, head: Head, lesions: list[Lesion], series: Series, quality: Quality):
    """HU (S, rows, columns) float32 and label (S, rows, columns) uint8: 0 outside, 1 cavity, 2.. the subtypes; where blood is that
    hardly differs from its surroundings, bool: the label calls it cavity."""
    camera = Camera(head, lesions, series)
    n, shape = len(series.positions), (series.rows, series.columns)
    hu, label, unseen = np.empty((n, *shape), np.float32), np.zeros((n, *shape), np.uint8), np.zeros((n, *shape), bool)
    mottle = spread(rng.standard_normal((2, int(shape[0] * series.pixel / 4) + 4, int(shape[1] * series.pixel / 4) + 4)), (2, *shape))
    scene = _outside_scene(rng, series, quality)
    scalp = _scalp_swelling(rng)
    tube = Tube(quality.hardness) if quality.hardening or quality.starved_hu else None
    glow_wave = spread(rng.standard_normal((n // 2 + 3, 6, 6)), (n, *shape))
    for i, z in enumerate(series.positions):
        total = np.zeros(shape, np.float32)
        clean, bare = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        occ = np.zeros((1 + len(SUBTYPES), *shape), np.float32)
        depth = np.zeros(shape, np.float32)
        for k in range(series.sub):
            at = z + ((k + 0.5) / series.sub - 0.5) * series.thickness
            a, b, c = _compose(head, lesions, camera.plane(at), series.pixel, mottle, scalp, occ, depth)
            total += a
            clean += b
            bare += c
        total, clean, occ, depth = total / series.sub, clean / series.sub, occ / series.sub, depth / series.sub
        sigma = quality.psf_mm / series.pixel
        clean = ndimage.gaussian_filter(clean, sigma)
        label[i], unseen[i] = _label(occ, clean, _surroundings(bare / series.sub, occ, series.pixel, head.traits["gray_hu"]))
        if tube is not None:
            total += tube.artefact(rng, total, series.pixel, quality.hardening * rng.uniform(0.85, 1.15), quality.starved_hu)
        hu[i] = _degrade(rng, total, depth, scene, glow_wave[i], series, quality, sigma)
    return hu, label, unseen


def _compose(head: Head, lesions, f, pixel, mottle, scalp, occ, depth):
    """One infinitely thin plane; adds shares to occ and depth. Returns HU, HU without unlabelled look-alikes, HU without blood."""
    t = head.traits
    w = pixel
    mix = lambda base, value, share: base + share * (value - base)  # noqa: E731
    cav, skin, bone = f["cav"], f["skin"], f["bone"]
    # Outside the cavity.
    fat = occupancy(f["soft"] - t["fat"], 0.8)
    tissue = 55 - 145 * fat
    under = np.clip((skin + 1.8) / 1.2, 0, 1)  # skin itself
    subcut = np.clip((skin + 6.5) / 1.5, 0, 1)
    tissue = mix(tissue, -95.0, subcut * (cav > 0))
    tissue = mix(tissue, 40.0, under)
    tissue = mix(tissue, -85.0, occupancy(f["orbit"], w))
    tissue = mix(tissue, 12.0, occupancy(f["eye"], w))
    tissue = mix(tissue, 45.0, occupancy(np.abs(f["orbit"] + 5) - 1.6, 1.5) * (f["eye"] > 0) * (f["fine"] > 0))  # muscles, nerve
    tissue = mix(tissue, 28.0, occupancy(f["canal"], w))
    if scalp is not None:
        reach, blood = scalp
        swollen = occupancy(np.maximum(-cav, skin + 1.5), w) * occupancy(f["mid"] - reach, 0.3) * (bone > 0)
        tissue = mix(tissue, blood, swollen)
    out = mix(np.full_like(skin, -1000.0), tissue, occupancy(skin, w))
    out = mix(out, -980.0, occupancy(f["air"], w))
    inside_bone = np.minimum(np.maximum(cav, 0), -bone)
    dense = t["diploe_hu"] + (t["bone_hu"] - t["diploe_hu"]) * np.clip(1.9 - inside_bone * 0.9, 0, 1)
    dense = dense * (1 + 0.08 * f["fine"])
    out = mix(out, np.clip(dense, 250, 1900), occupancy(bone, w) * (1 - occupancy(f["air"], w)))
    inside = occupancy(cav, w)
    depth += np.maximum(-cav, 0)
    if not (inside > 0).any():
        return out, out, out
    # Inside: brain, liquor, blood, dura, vessels.
    csf = liquor(head, f, -cav)
    gray = np.clip((3.6 - csf) / 1.6, 0, 1)
    gray = np.maximum(gray, occupancy(f["gray"], 2.0) * 0.85)
    brain = t["white_hu"] + (t["gray_hu"] - t["white_hu"]) * gray + 0.7 * f["gyri"]
    brain = mix(brain, t["csf_hu"], occupancy(csf, w))
    vent = occupancy(f["vent"], w)
    brain = mix(brain, t["csf_hu"], vent)
    clean = bare = brain
    occ[0] += inside
    taken = np.zeros_like(inside)
    for i in sorted(range(len(lesions)), key=lambda j: lesions[j].subtype != ""):  # look-alikes first, blood over them
        les = lesions[i]
        share = occupancy(f[f"lesion{i}"], w)
        if les.carrier == "ventricle":
            share = share * occupancy(f["vent"] - les.widen_mm, w)
        elif les.carrier == "liquor":
            share = share * occupancy(liquor(head, f, -cav, les.widen_mm), w) * (1 - vent)
        value = les.hu + les.spread_hu * mottle[i % 2]
        brain = mix(brain, value, share)
        if les.subtype:
            clean = mix(clean, value, share)
            k = 1 + SUBTYPES.index(les.subtype)
            share = share * inside
            occ[k] += share * (1 - taken)
            taken = np.maximum(taken, share)
    free = 1 - taken
    falx = occupancy(np.maximum(np.abs(f["xm"]) - t["falx_mm"], f["falx_ext"]), w) * free
    tent = occupancy(np.maximum(np.abs(f["tent"]) - 0.8 * t["falx_mm"], f["tent_ext"]), w) * free
    brain = mix(brain, t["dura_hu"], np.maximum(falx, tent))
    brain = mix(brain, t["blood_hu"], np.maximum(occupancy(f["sinus"], w), occupancy(f["artery"], w)) * free)
    return mix(out, brain, inside), mix(out, clean, inside), mix(out, bare, inside)


def _scalp_swelling(rng) -> tuple[float, float] | None:
    """Extracranial hematoma where a smooth field is low: that level and its HU. Bright, not intracranial, not labelled."""
    if rng.random() > 0.2:
        return None
    return rng.uniform(-1.6, -0.8), rng.uniform(50, 75)


def _surroundings(bare: np.ndarray, occ: np.ndarray, pixel: float, gray_hu: float) -> np.ndarray:
    """HU of what lies around each pixel in the cavity, blood not counted; at least that of gray matter, which blood must not be
    mistaken for."""
    weight = np.clip(occ[0] - occ[1:].sum(0), 0, 1) * (bare < VISIBLE_HU) + 1e-4
    near = [ndimage.gaussian_filter(v, NEAR_MM / pixel) for v in (bare * weight, weight)]
    return np.maximum(near[0] / near[1], gray_hu)


def _label(occ: np.ndarray, clean: np.ndarray, around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is visible: at least half a pixel of cavity, of blood, and no pixel as bright as bone; and where blood hardly differs
    from what is around it."""
    cavity = (occ[0] > 0.5) & (clean < VISIBLE_HU)
    blood = occ[1:]
    kind = blood.argmax(0)
    bleeding = cavity & (blood.sum(0) > 0.5 * np.maximum(occ[0], 0.5))
    seen = bleeding & (clean > around + CONTRAST_HU)
    return np.where(seen, kind + 2, cavity.astype(np.uint8)).astype(np.uint8), bleeding & ~seen


def _outside_scene(rng, series: Series, quality: Quality):
    """Table and head holder: (mask-like share, HU) painted where there is air."""
    x = series.first[0] + series.pixel * np.arange(series.columns)[None, :]
    y = series.first[1] + series.pixel * np.arange(series.rows)[:, None]
    layers = []
    if quality.table:
        level = rng.uniform(112, 150)
        bend = rng.uniform(0, 0.0025)
        layers.append((occupancy(np.abs(y - level + bend * x * x) - rng.uniform(0.8, 2.5), 1.5), rng.uniform(-700, 500)))
    if quality.holder:
        r = np.sqrt((x / 1.05) ** 2 + (y - 5) ** 2)
        arc = np.maximum(np.abs(r - rng.uniform(106, 118)) - rng.uniform(0.6, 2.5), rng.uniform(20, 60) - y)
        layers.append((occupancy(arc, 1.5), rng.uniform(-850, 120)))
        if rng.random() < 0.4:
            across = np.abs(np.abs(x) - rng.uniform(60, 95)) - rng.uniform(4, 14)
            pad = np.maximum(across, np.abs(y - rng.uniform(85, 110)) - rng.uniform(2, 8))
            layers.append((occupancy(pad, 1.5), rng.uniform(-900, 300)))
    return layers


def _degrade(rng, hu, depth, scene, wave, series: Series, q: Quality, sigma: float):
    """Everything that is the scanner's fault, on one slice."""
    empty = np.clip((-hu - 900) / 90, 0, 1)
    for share, value in scene:
        hu = hu + share * empty * (value + 1000)
    hu = ndimage.gaussian_filter(hu, sigma)
    if q.motion:
        a = ndimage.shift(hu, (rng.normal(0, q.motion / series.pixel), rng.normal(0, q.motion / series.pixel)), order=1, mode="nearest")
        hu = 0.6 * hu + 0.4 * a
    inside = depth > 0.05
    if inside.any():
        # Rim: exponential below the inner table, uneven along the skull, another strength on every slice.
        gain = q.glow_hu * rng.uniform(0.4, 1.25) * np.clip(0.65 + 0.55 * wave, 0, 1.8)
        rim = gain * np.exp(-depth / (q.glow_mm * rng.uniform(0.7, 1.4)))
        cup = -q.cup_hu * (1 - np.exp(-depth / 25.0)) + 0.6 * q.cup_hu
        hu = hu + ndimage.gaussian_filter(np.where(inside, rim + cup, 0).astype(np.float32), 0.8)
    x = series.first[0] + series.pixel * np.arange(series.columns)[None, :]
    y = series.first[1] + series.pixel * np.arange(series.rows)[:, None]
    if q.streak_hu > 0.5:
        dense = float((hu > 500).mean())
        a = rng.normal(0, 0.35) + (np.pi / 2 if rng.random() < 0.3 else 0)
        across = -np.sin(a) * x + np.cos(a) * y
        lines = ndimage.gaussian_filter1d(rng.standard_normal(512), rng.uniform(0.7, 2.0))
        lines = np.interp((across + 130) / 260 * 511, np.arange(512), lines / (lines.std() + 1e-6))
        hu = hu + (hu > -500) * lines * q.streak_hu * min(1.0, 8 * dense) * rng.uniform(0.1, 1.0)
    for _ in range(q.metal):
        c = (rng.uniform(-60, 60), rng.uniform(-90, -30))
        r, th = np.hypot(x - c[0], y - c[1]), np.arctan2(y - c[1], x - c[0])
        hu = hu + 120 * np.cos(th * rng.integers(4, 11) + rng.uniform(0, 6)) * np.exp(-r / 40) * (hu > -600) * (rng.random() < 0.4)
    grain = rng.standard_normal(hu.shape).astype(np.float32)
    grain = ndimage.gaussian_filter(grain, q.grain_mm / series.pixel)
    grain *= q.noise_hu / (grain.std() + 1e-6)
    level = 1 + 0.5 * np.clip(depth / 60, 0, 1)  # noisiest in the middle
    out = hu + q.offset_hu + grain * level
    return np.where(hu < -985, -1000.0, out).astype(np.float32) if q.quiet_air else out.astype(np.float32)
