"""A real head as the generator sees one: its cavity, depth, midline, ventricles and liquor, on the grid lesions are placed on.

Head coordinates (phantom/anatomy.py) are fitted to the cavity: its midline plane, its width, length and top, and the
nodding angle at which the liquor lies where the ventricles should be. Nothing of this needs to be exact: what a lesion
touches (inner table, ventricles, sulci) is taken from the scan itself, only where it may lie comes from the fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..datasets.volume import DataError, support_mm
from .phantom.anatomy import Head, draw_traits, tentorium, ventricles
from .phantom.fields import FAR, Grid
from ..product.scan import Scan
from ..product.window import BONE_HU

HALF_WIDTH, HALF_LENGTH, TOP = 66.0, 84.0, 95.0  # mm, of the generator's average cavity in head coordinates
LEAST_ML = 600.0  # of a cavity worth painting into
SOFT_HU = (-20.0, 100.0)  # neither bone nor air
EDGE_MM = 6.0  # nodes this far outside the cavity are kept, so that surfaces interpolate


@dataclass(frozen=True)
class Room:
    """The part of a scan around its cavity, ready to be painted into.

    hu, smooth (without noise), cavity, csf (share of liquor, 0 to 1) and vent (bool) are (S, rows, columns) of the crop
    `box`, so are depth (mm below the inner table) and to_vent (mm to where the fit has ventricles). level (S,): HU of brain
    on each slice; near the vertex beam hardening lifts it. at: grid position (z, y, x), in nodes, of every slice, row, column.
    """

    scan: Scan
    box: tuple[slice, slice, slice]
    hu: np.ndarray
    cavity: np.ndarray
    depth: np.ndarray
    head: Head
    at: tuple[np.ndarray, np.ndarray, np.ndarray]
    brain_hu: float
    csf_hu: float
    level: np.ndarray
    smooth: np.ndarray
    csf: np.ndarray
    vent: np.ndarray
    to_vent: np.ndarray
    psf_mm: float
    noise_hu: float

    def planes(self, nodes: np.ndarray, z: int, offset_mm: float = 0.0, outside: float = float(FAR)) -> np.ndarray:
        """A field of the head's nodes at the pixels of slice z, offset_mm above its centre."""
        g = self.head.grid
        volume = np.full(int(np.prod(g.shape)), outside, np.float32)
        volume[self.head.index] = nodes
        return self.read(volume.reshape(g.shape), z, offset_mm)

    def read(self, volume: np.ndarray, z: int, offset_mm: float = 0.0) -> np.ndarray:
        """The same for a field on the whole grid."""
        f = float(np.clip(self.at[0][z] + offset_mm / self.head.grid.step, 0, volume.shape[0] - 1.001))
        k = int(f)
        plane = volume[k] * (1 - f + k) + volume[k + 1] * (f - k)
        rows, columns = np.meshgrid(self.at[1], self.at[2], indexing="ij")
        return ndimage.map_coordinates(plane, [rows, columns], order=1, mode="nearest").astype(np.float32)

    def support_mm(self) -> np.ndarray:
        return support_mm(self.scan.positions)[self.box[0]]


def bone_cavity(scan: Scan, gap_mm: float = 10.0) -> np.ndarray:
    """What bone encloses, without networks: soft tissue in the skull of each slice, gaps of the bone closed, largest part.
    Loses some of the skull base."""
    out = np.zeros(scan.hu.shape, bool)
    for z, plane in enumerate(scan.hu):
        bone = plane > BONE_HU
        if not bone.any():
            continue
        near = ndimage.distance_transform_edt(~bone, sampling=scan.spacing) <= gap_mm
        ring = ndimage.distance_transform_edt(np.pad(near, 1), sampling=scan.spacing)[1:-1, 1:-1] > gap_mm  # closing with a disc
        inside = ndimage.binary_fill_holes(ring | bone) & ~ring & (plane > SOFT_HU[0]) & (plane < BONE_HU)
        out[z] = _opened(inside, 2.5, scan.spacing)
    parts, n = ndimage.label(out)
    return parts == np.bincount(parts.ravel())[1:].argmax() + 1 if n else out


def _opened(mask: np.ndarray, radius_mm: float, spacing) -> np.ndarray:
    """Opening of a slice with a disc."""
    core = ndimage.distance_transform_edt(mask, sampling=spacing) > radius_mm
    return mask & (ndimage.distance_transform_edt(~core, sampling=spacing) <= radius_mm + 0.5) if core.any() else core


def enter(scan: Scan, cavity: np.ndarray) -> Room:
    """The room of a scan. Raises DataError when the scan shows no head that could be painted into."""
    if scan.ml(cavity) < LEAST_ML:
        raise DataError(scan.name, f"an intracranial cavity of {scan.ml(cavity):.0f} mL", "give a whole, non-contrast head CT")
    box = _box(cavity, [12 / s for s in scan.spacing])
    hu, inside = scan.hu[box].astype(np.float32), cavity[box]
    depth = _depth(inside, scan, box)
    x, y, z = _axes(scan, box, inside)
    grid = Grid()
    to_nodes = lambda mm, axis: (mm - grid.low[axis]) / grid.step  # noqa: E731
    at = to_nodes(z, 0), to_nodes(y, 1), to_nodes(x, 2)
    soft = inside & (depth > 6) & (hu > 10) & (hu < 60)
    brain_hu = float(np.median(hu[soft])) if soft.any() else 30.0
    room = Room(scan, box, hu, inside, depth, _bare_head(grid, depth, at, inside, x, y, z), at, brain_hu, csf_hu=0.0, noise_hu=0.0,
                level=np.full(len(hu), brain_hu), smooth=hu, csf=hu, vent=inside, to_vent=depth, psf_mm=_point_spread(scan))
    room = with_liquor(room, hu)
    _nod(room)
    return with_ventricles(room)


def _box(cavity: np.ndarray, margin: list[float]) -> tuple[slice, slice, slice]:
    zs = np.flatnonzero(cavity.any(axis=(1, 2)))
    rows, columns = (np.flatnonzero(cavity.any(axis=(0, a))) for a in (2, 1))
    m = [int(np.ceil(v)) for v in margin]
    clip = lambda f, k, n: slice(max(int(f[0]) - k, 0), min(int(f[-1]) + k + 1, n))  # noqa: E731
    return slice(int(zs[0]), int(zs[-1]) + 1), clip(rows, m[0], cavity.shape[1]), clip(columns, m[1], cavity.shape[2])


def _depth(inside: np.ndarray, scan: Scan, box) -> np.ndarray:
    """mm below the border of the cavity, negative outside; the scan's first and last slice are no border."""
    gap = float(np.median(np.diff(scan.positions))) if len(scan.positions) > 1 else 5.0
    pad = max(int(np.ceil(60 / gap)), 1)
    low = pad if box[0].start == 0 else 1
    high = pad if box[0].stop == len(scan.hu) else 1
    solid = np.pad(inside, ((low, high), (0, 0), (0, 0)), mode="edge")
    if low == 1:
        solid[0] = False
    if high == 1:
        solid[-1] = False
    sampling = (gap, *scan.spacing)
    d = ndimage.distance_transform_edt(solid, sampling=sampling) - ndimage.distance_transform_edt(~solid, sampling=sampling)
    half = 0.5 * float(np.mean(scan.spacing))
    return (d - np.sign(d) * half)[low : len(d) - high].astype(np.float32)


def _axes(scan: Scan, box, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x of columns, y of rows, z of slices in mm: the cavity's middle is x = y = 0, its top z = TOP."""
    rows, columns = np.flatnonzero(inside.any(axis=(0, 2))), np.flatnonzero(inside.any(axis=(0, 1)))
    x = (np.arange(inside.shape[2]) - (columns[0] + columns[-1]) / 2) * scan.spacing[1]
    y = (np.arange(inside.shape[1]) - (rows[0] + rows[-1]) / 2) * scan.spacing[0]
    z = np.asarray(scan.positions, float)[box[0]]
    return x, y, z - z[-1] + TOP


def _bare_head(grid: Grid, depth, at, inside, x, y, z) -> Head:
    """Head whose nodes know how deep they lie and, without nodding yet, where they are."""
    low = [float(a[0]) for a in at]
    step = [float(a[1] - a[0]) if len(a) > 1 else 1.0 for a in at]
    kz = np.interp(np.arange(grid.shape[0]), at[0], np.arange(len(at[0])), left=-9, right=len(at[0]) + 9)  # gaps may differ
    ky, kx = ((np.arange(grid.shape[i]) - low[i]) / step[i] for i in (1, 2))
    mesh = np.meshgrid(kz, ky, kx, indexing="ij")
    on_grid = ndimage.map_coordinates(depth, mesh, order=1, mode="constant", cval=-float(FAR))
    index = np.flatnonzero(on_grid.ravel() > -EDGE_MM)
    gz, gy, gx = (m.ravel()[index].astype(np.float32) for m in np.meshgrid(*(grid.axis(i) for i in range(3)), indexing="ij"))
    a, b, c = _midline(inside, x, y, z)
    widths = [np.ptp(np.flatnonzero(p.any(0))) for p in inside if p.any()]
    lengths = [np.ptp(np.flatnonzero(p.any(1))) for p in inside if p.any()]
    scale_x = max(widths) * (x[1] - x[0]) / (2 * HALF_WIDTH)
    scale_y = max(lengths) * (y[1] - y[0]) / (2 * HALF_LENGTH)
    scale_z = float(np.sqrt(scale_x * scale_y))
    head_x = (gx - (a + b * gy + c * gz)) / scale_x
    traits = draw_traits(np.random.default_rng(0)) | {"size_x": scale_x, "size_y": scale_y, "size_z": scale_z}
    return Head(grid, {}, index, head_x.astype(np.float32), (gy / scale_y).astype(np.float32), (TOP - (TOP - gz) / scale_z).astype(np.float32),
                on_grid.ravel()[index].astype(np.float32), traits=traits)


def _midline(inside: np.ndarray, x, y, z) -> tuple[float, float, float]:
    """Plane x = a + b y + c z half way between the left and right wall of the upper cavity, outliers left out."""
    points = []
    for k in np.flatnonzero((z > TOP - 75) & inside.any(axis=(1, 2))):
        for r in range(0, inside.shape[1], 3):
            f = np.flatnonzero(inside[k, r])
            if len(f) and (f[-1] - f[0]) * (x[1] - x[0]) > 60:
                points.append((y[r], z[k], (x[f[0]] + x[f[-1]]) / 2))
    if len(points) < 20:
        return 0.0, 0.0, 0.0
    p = np.array(points)
    design = np.column_stack([np.ones(len(p)), p[:, 0], p[:, 1]])
    keep = np.ones(len(p), bool)
    for _ in range(3):
        fit, *_ = np.linalg.lstsq(design[keep], p[keep, 2], rcond=None)
        off = np.abs(design @ fit - p[:, 2])
        keep = off <= max(2.5 * float(np.median(off)), 0.5)
    return float(fit[0]), float(fit[1]), float(fit[2])


def _point_spread(scan: Scan) -> float:
    """Sigma of the in-plane point spread, mm, from how steeply skin rises out of air on the middle slices."""
    found = []
    for z in range(len(scan.hu) // 3, len(scan.hu), max(len(scan.hu) // 12, 1)):
        plane = np.clip(scan.hu[z], -1000, 50)
        steep = np.hypot(*np.gradient(plane, *scan.spacing))
        step = ndimage.maximum_filter(plane, 7) - ndimage.minimum_filter(plane, 7)
        edge = (np.abs(plane + 500) < 250) & (step > 850) & (steep >= ndimage.maximum_filter(steep, 3))
        found.extend((step[edge] / (steep[edge] * np.sqrt(2 * np.pi))).tolist())
    if len(found) < 30:
        return 0.6
    box = float(np.mean(scan.spacing)) / np.sqrt(6)  # the pixel itself and the central difference widen the edge
    return float(np.clip(np.sqrt(max(np.percentile(found, 30) ** 2 - box**2, 0.0)), 0.3, 1.2))


def with_liquor(room: Room, hu: np.ndarray) -> Room:
    """Smoothed HU, the share of liquor in each voxel and the noise, from these HU."""
    sigma = [0.8 / s for s in room.scan.spacing]
    soft = (room.cavity & (hu > SOFT_HU[0]) & (hu < SOFT_HU[1])).astype(np.float32)
    smooth = np.empty_like(hu)
    for k in range(len(hu)):
        weight = ndimage.gaussian_filter(soft[k], sigma)
        smooth[k] = np.where(weight > 0.05, ndimage.gaussian_filter(hu[k] * soft[k], sigma) / np.maximum(weight, 0.05), hu[k])
    deep = room.cavity & (room.depth > 15)
    dark = float(np.percentile(smooth[deep], 1)) if deep.any() else room.brain_hu - 24
    csf_hu = float(np.clip(dark, room.brain_hu - 32, room.brain_hu - 16))
    level = _levels(room, smooth)
    base = level[:, None, None] - 3.0  # white matter is darker than the median
    csf = np.where(room.cavity, np.clip((base - smooth) / (base - csf_hu), 0, 1), 0).astype(np.float32)
    csf[_streaky(room, smooth)] = 0  # dark streaks are no liquor
    rough = (hu - smooth)[deep & (np.abs(smooth - base - 3.0) < 12)]
    noise = float(1.48 * np.median(np.abs(rough))) if rough.size else 3.0
    return replace(room, hu=hu, level=level, smooth=smooth, csf=csf, csf_hu=csf_hu, noise_hu=noise)


def _levels(room: Room, smooth: np.ndarray) -> np.ndarray:
    """HU of brain on each slice (S,); where there is hardly any, that of the head."""
    out = np.full(len(smooth), room.brain_hu, np.float32)
    for k in range(len(smooth)):
        brain = room.cavity[k] & (room.depth[k] > 4) & (smooth[k] > 5) & (smooth[k] < 70)
        if brain.sum() * np.prod(room.scan.spacing) > 400:
            out[k] = np.median(smooth[k][brain])
    return out


def _streaky(room: Room, smooth: np.ndarray) -> np.ndarray:
    """Slices (S,) bool whose brain varies twice as much as the scan's usual slice: metal, starved beams."""
    spread = np.zeros(len(smooth))
    for k in range(len(smooth)):
        brain = smooth[k][room.cavity[k] & (room.depth[k] > 5)]
        spread[k] = np.subtract(*np.percentile(brain, [75, 25])) if brain.size > 200 else 0.0
    return spread > 2 * np.median(spread[spread > 0]) if spread.any() else spread > 0


def _nod(room: Room) -> None:
    """Turns and lifts the head coordinates so that deep liquor falls on the ventricles. Changes room.head."""
    h = room.head
    csf = _on_nodes(room, room.csf)
    use = np.flatnonzero((h.depth > 18) & (np.abs(h.x) < 42))[::3]
    liquor = csf[use] > 0.5
    best = (-1.0, 0.0, 0.0)
    for pitch in range(-24, 29, 4):
        for lift in range(-20, 21, 4):
            y, z = _turned(h.y[use], h.z[use], pitch, lift)
            vent = ventricles(h.x[use], y, z, 1.2)[1] < 1
            score = 2 * (vent & liquor).sum() / max(vent.sum() + liquor.sum(), 1) - 0.002 * abs(pitch - 4) - 0.003 * abs(lift)
            best = max(best, (float(score), float(pitch), float(lift)))
    h.y, h.z = (v.astype(np.float32) for v in _turned(h.y, h.z, *best[1:]))


def _turned(y, z, pitch: float, lift: float):
    """Nodding about the middle of the cavity, then a shift upwards."""
    c, s = np.cos(np.deg2rad(pitch)), np.sin(np.deg2rad(pitch))
    return c * y - s * (z - 25), 25 + s * y + c * (z - 25) + lift


def with_ventricles(room: Room) -> Room:
    """Marks the ventricles and gives the head's nodes the carriers that place_fluid reads: real ventricles, real liquor."""
    h = room.head
    prior = ventricles(h.x, h.y, h.z, 1.3)[0]
    near = np.stack([room.planes(prior, k) for k in range(len(room.hu))])
    dark = ndimage.binary_opening(room.cavity & (room.csf > 0.5) & (room.depth > 15), np.ones((1, 2, 2), bool))
    apart = np.stack([np.abs(room.planes(h.x, k)) for k in range(len(room.hu))]) > 4  # the fissure between the hemispheres is no ventricle
    parts, n = ndimage.label(dark & (near < np.where(apart, 16.0, 5.0)), np.ones((3, 3, 3), bool))
    vent = np.zeros_like(dark)
    if n:  # what has its core where ventricles should be, as far as it reaches from there
        ml = np.broadcast_to(room.scan.slice_ml()[room.box[0]][:, None, None], parts.shape)
        size = np.bincount(parts.ravel(), weights=ml.ravel(), minlength=n + 1)
        core = np.bincount(parts[near < 3.0], weights=ml[near < 3.0], minlength=n + 1)
        keep = (size >= 0.4) & (core > 0.3 * size)
        keep[0] = False
        vent = keep[parts]
    liquor = room.cavity & (room.csf > 0.4) & ~vent
    h.brain = {"vent": _distance_at_nodes(room, vent), "cist": _distance_at_nodes(room, liquor),
               "tent": h.z - tentorium(h.x, h.y)} | {k: np.full(len(h.x), FAR) for k in ("sulc", "xm", "falx_ext")}
    return replace(room, vent=vent, to_vent=near)


def _distance_at_nodes(room: Room, mask: np.ndarray) -> np.ndarray:
    gap = float(np.median(np.diff(room.scan.positions)))
    sampling = (gap, *room.scan.spacing)
    d = ndimage.distance_transform_edt(~mask, sampling=sampling) - ndimage.distance_transform_edt(mask, sampling=sampling)
    return np.clip(_on_nodes(room, d.astype(np.float32)), -FAR, FAR)


def _on_nodes(room: Room, voxels: np.ndarray) -> np.ndarray:
    """A field of the crop's voxels at the head's nodes."""
    g = room.head.grid
    iz, iy, ix = np.unravel_index(room.head.index, g.shape)
    kz = np.interp(iz, room.at[0], np.arange(len(room.at[0])))
    ky, kx = (np.interp(i, a, np.arange(len(a))) for i, a in ((iy, room.at[1]), (ix, room.at[2])))
    return ndimage.map_coordinates(voxels, [kz, ky, kx], order=1, mode="nearest").astype(np.float32)
