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
from .visible import seen

NEAR_PLANE_MM = 4.0  # nearer than this a lesion may show in a plane
TISSUES = ("other", "brain", "ventricle", "liquor", "dura", "vessel", "bone")  # what a net may learn to name beside blood
NO_TISSUE, TISSUE_HIDDEN = 255, 0.3  # blood and look-alikes, from this share of a pixel


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
            glow_hu=float(u(0, 50) if r() < 0.12 else u(0, 5)), glow_mm=u(1.5, 7.0),
            cup_hu=u(-3, 5), offset_hu=float(rng.normal(0, 3)),
            streak_hu=float(u(2, 14) if r() < 0.45 else u(0, 2)), motion=float(u(1, 4) if r() < 0.06 else 0),
            table=bool(r() < 0.7), holder=bool(r() < 0.6), metal=int(rng.integers(1, 4) if r() < 0.08 else 0),
            hardening=float(u(0, 0.3) if (h := r()) < 0.65 else u(0.3, 1.2) if h < 0.9 else u(-0.4, 0.1)), hardness=float(r()),
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
    """Interpolates all fields of a head at the pixel centres of one plane: two small matrix products per field. Fields of the
    cavity are read in `box`, rows and columns of the image around it."""

    BRAIN = ("xm", "tent", "tent_ext", "falx_ext", "falx_half", "sulc", "vent", "cist", "gray", "sinus", "artery", "gyri")
    FULL = ("skin", "cav", "bone", "air", "orbit", "eye", "soft", "mid", "fine", "canal")

    def __init__(self, head: Head, lesions: list[Lesion], series: Series):
        self.grid = grid = head.grid
        self.full = [head.full[name] for name in self.FULL]
        at = np.unravel_index(head.index, grid.shape)
        low, high = [int(v.min()) for v in at], [int(v.max()) + 1 for v in at]
        fields = {name: head.brain[name] for name in self.BRAIN}
        fields |= {f"lesion{i}": les.region for i, les in enumerate(lesions)}
        fields |= {f"shade{i}": les.shade for i, les in enumerate(lesions) if les.shade is not None}
        self.names = list(fields)
        self.inner = np.full((grid.shape[0], len(fields), high[1] - low[1], high[2] - low[2]), FAR, np.float32)
        for k, values in enumerate(fields.values()):
            self.inner[at[0], k, at[1] - low[1], at[2] - low[2]] = values
        self.least = self.inner.min(axis=(2, 3))
        rows = self._matrix(series.first[1] + series.pixel * np.arange(series.rows), 1)
        cols = self._matrix(series.first[0] + series.pixel * np.arange(series.columns), 2)
        self.to_rows, self.to_cols = rows, cols
        self.box = tuple(_within(m[:, lo:hi]) for m, lo, hi in ((rows, low[1], high[1]), (cols, low[2], high[2])))
        self.in_rows = np.ascontiguousarray(rows[self.box[0], low[1] : high[1]])
        self.in_cols = np.ascontiguousarray(cols[self.box[1], low[2] : high[2]])

    def _matrix(self, at: np.ndarray, axis: int) -> np.ndarray:
        n = self.grid.shape[axis]
        f = np.clip((at - self.grid.low[axis]) / self.grid.step, 0, n - 1.001)
        i = f.astype(int)
        m = np.zeros((len(at), n), np.float32)
        m[np.arange(len(at)), i] = 1 - (f - i)
        m[np.arange(len(at)), i + 1] = f - i
        return m

    def plane(self, z: float) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Fields of the whole plane, and fields of the cavity in `box`; lesions that the plane does not meet are left out."""
        f = float(np.clip((z - self.grid.low[0]) / self.grid.step, 0, self.grid.shape[0] - 1.001))
        i = int(f)
        between = lambda a, b: a * np.float32(1 - f + i) + b * np.float32(f - i)  # noqa: E731
        whole = np.matmul(np.matmul(self.to_rows, np.stack([between(a[i], a[i + 1]) for a in self.full])), self.to_cols.T)
        met = self.least[i : i + 2].min(0) < NEAR_PLANE_MM
        met[: len(self.BRAIN)] = True
        # The sheets are cut where the plane leaves the cavity's nodes (FAR); elsewhere fields are smooth.
        inner = np.matmul(np.matmul(self.in_rows, between(self.inner[i][met], self.inner[i + 1][met])), self.in_cols.T)
        names = [name for name, m in zip(self.names, met) if m]
        return dict(zip(self.FULL, whole)), dict(zip(names, inner))


def _within(weights: np.ndarray) -> slice:
    """The pixels that lie wholly within the nodes of these columns."""
    hit = np.flatnonzero(weights.sum(1) > 0.999)
    return slice(int(hit[0]), int(hit[-1]) + 1) if len(hit) else slice(0, 0)


@dataclass
class Rendered:
    """hu float32, label uint8 (0 outside, 1 cavity, 2.. the subtypes), tissue uint8 (TISSUES), all (S, rows, columns). unseen, bool: blood
    that hardly differs from its surroundings; the label calls it cavity."""

    hu: np.ndarray
    label: np.ndarray
    unseen: np.ndarray
    tissue: np.ndarray


@dataclass
class _Sums:
    """What the sub-slices of a slice add up to: HU; HU outside the cavity and in it without unlabelled look-alikes, and in it without
    any lesion, each times its share of the pixel; shares of the cavity and the subtypes, of tissues, of look-alikes; depth below the
    inner table, mm."""

    total: np.ndarray
    outer: np.ndarray
    inner: np.ndarray
    bare: np.ndarray
    occ: np.ndarray
    tissue: np.ndarray
    other: np.ndarray
    depth: np.ndarray

    @staticmethod
    def zeros(shape: tuple[int, int]) -> "_Sums":
        flat = [np.zeros(shape, np.float32) for _ in range(6)]
        return _Sums(*flat[:4], np.zeros((1 + len(SUBTYPES), *shape), np.float32), np.zeros((len(TISSUES), *shape), np.float32), *flat[4:])


def render(rng: np.random.Generator, head: Head, lesions: list[Lesion], series: Series, quality: Quality) -> Rendered:
    """The slices of a series."""
    camera = Camera(head, lesions, series)
    n, shape = len(series.positions), (series.rows, series.columns)
    out = Rendered(np.empty((n, *shape), np.float32), *(np.zeros((n, *shape), t) for t in (np.uint8, bool, np.uint8)))
    mottle = spread(rng.standard_normal((2, int(shape[0] * series.pixel / 4) + 4, int(shape[1] * series.pixel / 4) + 4)), (2, *shape))
    scene = _outside_scene(rng, series, quality)
    scalp = _scalp_swelling(rng)
    tube = Tube(quality.hardness) if quality.hardening or quality.starved_hu else None
    glow_wave = spread(rng.standard_normal((n // 2 + 3, 6, 6)), (n, *shape))
    sigma = quality.psf_mm / series.pixel
    for i, z in enumerate(series.positions):
        sums = _Sums.zeros(shape)
        for k in range(series.sub):
            at = z + ((k + 0.5) / series.sub - 0.5) * series.thickness
            _compose(head, lesions, camera, at, series.pixel, mottle, scalp, sums)
        for name in vars(sums):
            getattr(sums, name)[...] /= series.sub
        clean = ndimage.gaussian_filter(sums.outer + sums.inner, sigma)
        blood = seen(sums.occ, clean, sums.inner, sums.bare, series.pixel, head.traits["gray_hu"])
        out.label[i], out.unseen[i] = blood.label, blood.unseen
        covered = np.maximum(sums.occ[1:].sum(0), sums.other) > TISSUE_HIDDEN
        out.tissue[i] = np.where(covered, NO_TISSUE, sums.tissue.argmax(0))
        total = sums.total
        if tube is not None:
            total += tube.artefact(rng, total, series.pixel, quality.hardening * rng.uniform(0.85, 1.15), quality.starved_hu)
        out.hu[i] = _degrade(rng, total, sums.depth, scene, glow_wave[i], series, quality, sigma)
    return out


def _mix(base: np.ndarray, value, share: np.ndarray) -> np.ndarray:
    return base + share * (value - base)


def _compose(head: Head, lesions: list[Lesion], camera: Camera, z: float, pixel: float, mottle, scalp, sums: _Sums) -> None:
    """One infinitely thin plane, added to the sums."""
    whole, f = camera.plane(z)
    cav, bone = whole["cav"], whole["bone"]
    out = _outside(head, whole, pixel, scalp)
    inside = occupancy(cav, pixel)
    hard = occupancy(bone, pixel) * (1 - inside)
    sums.depth += np.maximum(-cav, 0)
    sums.occ[0] += inside
    sums.tissue[TISSUES.index("bone")] += hard
    sums.tissue[0] += 1 - hard - inside * (1 - hard)
    box = camera.box
    sums.total += out * (1 - inside)
    sums.outer += out * (1 - inside)
    if not (inside[box] > 0).any():
        return
    sums_in = [v[(..., *box)] for v in (sums.total, sums.inner, sums.bare, sums.occ, sums.tissue, sums.other)]
    _brain(head, lesions, f, cav[box], inside[box], pixel, [m[box] for m in mottle], *sums_in)


def _outside(head: Head, f: dict[str, np.ndarray], w: float, scalp) -> np.ndarray:
    """HU outside the cavity: soft tissue, bone, air."""
    t = head.traits
    cav, skin, bone = f["cav"], f["skin"], f["bone"]
    fat = occupancy(f["soft"] - t["fat"], 0.8)
    tissue = 55 - 145 * fat
    under = np.clip((skin + 1.8) / 1.2, 0, 1)  # skin itself
    subcut = np.clip((skin + 6.5) / 1.5, 0, 1)
    tissue = _mix(tissue, -95.0, subcut * (cav > 0))
    tissue = _mix(tissue, 40.0, under)
    tissue = _mix(tissue, -85.0, occupancy(f["orbit"], w))
    tissue = _mix(tissue, 12.0, occupancy(f["eye"], w))
    tissue = _mix(tissue, 45.0, occupancy(np.abs(f["orbit"] + 5) - 1.6, 1.5) * (f["eye"] > 0) * (f["fine"] > 0))  # muscles, nerve
    tissue = _mix(tissue, 28.0, occupancy(f["canal"], w))
    if scalp is not None:
        reach, blood = scalp
        swollen = occupancy(np.maximum(-cav, skin + 1.5), w) * occupancy(f["mid"] - reach, 0.3) * (bone > 0)
        tissue = _mix(tissue, blood, swollen)
    out = _mix(np.full_like(skin, -1000.0), tissue, occupancy(skin, w))
    air = occupancy(f["air"], w)
    out = _mix(out, -980.0, air)
    inside_bone = np.minimum(np.maximum(cav, 0), -bone)
    dense = t["diploe_hu"] + (t["bone_hu"] - t["diploe_hu"]) * np.clip(1.9 - inside_bone * 0.9, 0, 1)
    dense = dense * (1 + 0.08 * f["fine"])
    return _mix(out, np.clip(dense, 250, 1900), occupancy(bone, w) * (1 - air))


def _brain(head: Head, lesions: list[Lesion], f, cav, inside, w: float, mottle, total, inner, bare, occ, tissue, other) -> None:
    """Inside the cavity: brain, liquor, blood, dura, vessels; adds to the sums, which are given as their parts in the camera's box."""
    t = head.traits
    csf = liquor(head, f, -cav)
    gray = np.clip((3.6 - csf) / 1.6, 0, 1)
    nuclei = occupancy(f["gray"], 2.0)
    gray = np.maximum(gray, nuclei * 0.85)
    value = t["white_hu"] + (t["gray_hu"] - t["white_hu"]) * gray + (t["nuclei_hu"] - t["gray_hu"]) * nuclei + 0.7 * f["gyri"]
    wet = occupancy(csf, w)
    value = _mix(value, t["csf_hu"], wet)
    vent = occupancy(f["vent"], w)
    value = _mix(value, t["csf_hu"], vent)
    bare += value * inside
    visible = value
    taken = np.zeros_like(inside)
    for i in sorted(range(len(lesions)), key=lambda j: lesions[j].subtype != ""):  # look-alikes first, blood over them
        les = lesions[i]
        if f"lesion{i}" not in f:
            continue
        share = occupancy(f[f"lesion{i}"], w)
        if les.carrier == "ventricle":
            share = share * occupancy(f["vent"] - les.widen_mm, w)
        elif les.carrier == "liquor":
            share = share * occupancy(liquor(head, f, -cav, les.widen_mm), w) * (1 - vent)
        hu = les.hu + les.spread_hu * mottle[i % 2] + f.get(f"shade{i}", 0.0)
        value = _mix(value, hu, share)
        if les.subtype:
            visible = _mix(visible, hu, share)
            k = 1 + SUBTYPES.index(les.subtype)
            share = share * inside
            occ[k] += share * (1 - taken)
            taken = np.maximum(taken, share)
        else:
            other += share * inside
    free = 1 - taken
    falx = occupancy(np.maximum(np.abs(f["xm"]) - f["falx_half"], f["falx_ext"]), w) * free
    tent = occupancy(np.maximum(np.abs(f["tent"]) - 0.8 * t["falx_mm"], f["tent_ext"]), w) * free
    dura = np.maximum(falx, tent)
    value = _mix(value, t["dura_hu"], dura)
    vessel = np.maximum(occupancy(f["sinus"], w), occupancy(f["artery"], w)) * free
    value = _mix(value, t["blood_hu"], vessel)
    total += value * inside
    inner += visible * inside
    left = inside.copy()  # each tissue takes its share of what those over it leave
    for name, share in (("vessel", vessel), ("dura", dura), ("ventricle", vent), ("liquor", wet), ("brain", 1.0)):
        tissue[TISSUES.index(name)] += left * share
        left = left * (1 - share)


def _scalp_swelling(rng) -> tuple[float, float] | None:
    """Extracranial hematoma where a smooth field is low: that level and its HU. Bright, not intracranial, not labelled."""
    if rng.random() > 0.2:
        return None
    return rng.uniform(-1.6, -0.8), rng.uniform(50, 75)


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
