"""Paints hemorrhages into real heads without labels: a site's own normal scans become labelled ones.

Where a lesion lies and what shape it has comes from the generator (phantom/bleeds.py), which is given the real head's
cavity, ventricles and liquor (room.py). What it looks like comes from the scan: blood takes the place of liquor in the
sulci and ventricles that are there, edges are as blurred as the scan, and noise and streaks stay. The brain moves aside
within the slice. The label is what is visible: at least half a pixel of blood.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from ..product.config import SUBTYPES
from ..datasets.volume import DataError
from ..files import whole
from .phantom import table
from .phantom.bleeds import Lesion
from .phantom.fields import noise
from .phantom.fluid import place_fluid
from .phantom.scanner import occupancy
from .phantom.solid import place_solid
from .phantom.study import one_thread
from .phantom.visible import BONE_HU
from .room import Room, with_liquor, with_ventricles
from ..product.scan import Bleed, Scan

SIZES_ML = (0.3, 100.0)  # that can be painted
SOLID = ("IPH", "SDH", "EDH")
SUB_MM = 1.5  # a slice is the mean of planes this far apart
TRIES = 4  # until what is visible is close to what was asked for
CLOSE = 0.3  # of the volume asked for
CLOSE_HU, OFF_HU = 1.5, 30.0  # of the density asked for; and how far that of the blood itself may be from it
SPECK_ML = 0.1
APART_MM = 4.0  # subarachnoid blood keeps from where ventricles may be, seen or not
MARGIN_HU = 3.0  # by which a mask with raters' margin is darker than a tight one (24 real hematomas)
BRIGHTER_HU = 8.0  # than brain: thin blood in dark liquor that is not, cannot be seen
ATTEMPTS = 8  # draws before a head is given up
RIM_BINS = np.arange(2.0, 14.0, 1.5)  # mm


@dataclass(frozen=True)
class Wish:
    """A hemorrhage to paint: millilitres and median density of what is visible of it, as one measures them in its label."""

    subtype: str
    ml: float
    hu: float


def draw(rng: np.random.Generator) -> tuple[Wish, ...]:
    """Subtypes, sizes and densities from the table of real hemorrhages (phantom/table.py)."""
    return tuple(wish(rng, k) for k in table.draw_company(rng))


def wish(rng: np.random.Generator, subtype: str, ml: float | None = None) -> Wish:
    drawn = float(np.clip(table.ml_at(subtype, rng.random()), *SIZES_ML))
    return Wish(subtype, drawn if ml is None else ml, _draw_hu(rng, subtype))


def _draw_hu(rng: np.random.Generator, subtype: str) -> float:
    """Median density of what is visible of a hemorrhage: the table's, without the margin of raters."""
    return float(np.interp(rng.random(), table.LEVELS[1:-1], table.HU[subtype]) + MARGIN_HU)


@one_thread
def paint(room: Room, wishes: tuple[Wish, ...], seed: int) -> Scan:
    """The scan with its hemorrhages and label. Raises DataError when there is no place for one in this head.

    Solid ones first, for they push the brain aside; blood in the liquor spaces after them, in what is left of these.
    """
    original = room
    solid = [(w, k) for k, w in enumerate(wishes) if w.subtype in SOLID]
    fluid = [(w, k) for k, w in enumerate(wishes) if w.subtype not in SOLID]
    done: list[_Painted] = []
    rim = _rim(room)
    for w, k in solid:
        done.append(_fit(room, w, (seed, k), rim, _solid))
    push = sum((p.push for p in done), np.zeros((len(room.head.index), 3), np.float32))
    if push.any():
        room = with_liquor(replace(room, head=replace(room.head)), _moved(room, push))
        room = with_ventricles(room) if fluid else room
        rim = _rim(room)
    for w, k in fluid:
        done.append(_fit(room, w, (seed, k), rim, partial(_fluid, rim=rim)))
    hu, label = _compose(room, done, rim)
    out, marks = original.scan.hu.copy(), np.zeros(original.scan.hu.shape, np.uint8)
    out[room.box] = np.where(room.cavity, np.round(hu), out[room.box])
    marks[room.box] = label
    bleeds = tuple(Bleed(p.wish.subtype, p.wish.hu, p.wish.ml) for p in done)
    return Scan(out, original.scan.spacing, original.scan.positions, marks, f"{original.scan.name}-{seed}", "painted", bleeds)


@dataclass
class _Painted:
    """hu: density of the blood itself; share (S, rows, columns): of each voxel that is this blood; visible: what is labelled; push at the
    head's nodes, mm."""

    wish: Wish
    hu: float
    lesion: Lesion
    share: np.ndarray
    visible: np.ndarray
    push: np.ndarray
    seed: tuple[int, int]


def _fit(room: Room, w: Wish, seed: tuple[int, int], rim: np.ndarray, place) -> _Painted:
    """Places until volume and density of what is visible are near the wanted ones; the same place every time, another level."""
    w = replace(w, hu=max(w.hu, room.brain_hu + BRIGHTER_HU))
    ask, blood, best = w.ml, w.hu, None
    for _ in range(TRIES):
        painted = place(room, replace(w, hu=blood), ask, seed)
        visible = float(painted.visible.sum(axis=(1, 2)) @ room.scan.slice_ml()[room.box[0]])
        error, off = abs(visible / w.ml - 1), w.hu - _seen_hu(room, painted, rim)
        if best is None or error + abs(off) / OFF_HU < best[0]:
            best = (error + abs(off) / OFF_HU, error, visible, replace(painted, wish=w))
        if error <= CLOSE / 2 and abs(off) <= CLOSE_HU:
            break
        ask = float(np.clip(ask * w.ml / max(visible, 0.1 * ask), 0.2 * w.ml, 8 * w.ml))
        blood = float(np.clip(blood + off, w.hu - OFF_HU, w.hu + OFF_HU))
    _, error, visible, painted = best
    if error > CLOSE and visible < max(0.5 * w.ml, 0.3):
        raise DataError(room.scan.name, f"holds {visible:.1f} mL of {w.ml:.0f} mL {w.subtype}", "ask for less, or for another subtype")
    return painted


def _seen_hu(room: Room, p: _Painted, rim: np.ndarray) -> float:
    """Median density of what is visible: the scan's rim lifts it, what it is mixed with at its edges takes from it."""
    seen = p.visible
    if not seen.any():
        return p.hu
    under = room.smooth if p.wish.subtype in SOLID else np.minimum(room.smooth, room.level[:, None, None])
    soft = _blurred(room, p.share)
    return float(np.median((under + soft * (p.hu + rim - under))[seen]))


def _solid(room: Room, w: Wish, ml: float, seed) -> _Painted:
    for k in range(ATTEMPTS):
        lesion, push = place_solid(np.random.default_rng((*seed, k)), room.head, w.subtype, ml, w.hu, several=False)
        if w.subtype != "SDH" or not _on_the_tentorium(room, lesion):
            break
    fade = np.clip(room.head.depth / 10.0, 0, 1)[:, None]  # the brain slides along the skull, it does not leave it
    share = _share(room, lesion.region)
    return _Painted(w, w.hu, lesion, share, room.cavity & (share > 0.5), (push * fade).astype(np.float32), seed)


def _on_the_tentorium(room: Room, lesion: Lesion) -> bool:
    """Whether a subdural lies deep and off the midline: the tentorium of a real head is not known well enough for that."""
    inside = lesion.region < 0
    return bool(inside.any()) and float(np.mean((room.head.depth[inside] > 14) & (np.abs(room.head.x[inside]) > 10))) > 0.2


def _fluid(room: Room, w: Wish, ml: float, seed, rim: np.ndarray) -> _Painted:
    lesion = place_fluid(np.random.default_rng(seed), room.head, w.subtype, ml, w.hu, several=False)
    near = ndimage.binary_dilation(room.vent, np.ones((1, 3, 3), bool), iterations=max(1, round(1.5 / float(np.mean(room.scan.spacing)))))
    if w.subtype == "IVH":
        carrier = np.where(near, room.csf, 0)
    else:  # blood distends sulci: what is half liquor fills up
        carrier = np.clip((room.csf - 0.25) * (1.3 + lesion.widen_mm), 0, 1) * np.clip(room.depth, 0, 1)
        carrier = np.where(near | (room.to_vent < APART_MM), 0, carrier)
        carrier = carrier * _without_specks(room, carrier > 0.3)
    share = (_share(room, lesion.region) * carrier).astype(np.float32)
    level = room.level[:, None, None]
    liquor = np.minimum(room.smooth, level)
    bright = liquor + _blurred(room, share) * (w.hu + rim - liquor) > level + BRIGHTER_HU
    visible = room.cavity & (share > 0.5) & bright
    return _Painted(w, w.hu, lesion, share, visible, np.zeros((len(room.head.index), 3), np.float32), seed)


def _blurred(room: Room, share: np.ndarray) -> np.ndarray:
    """With the scan's point spread."""
    return ndimage.gaussian_filter(share, (0, *(room.psf_mm / s for s in room.scan.spacing)))


def _without_specks(room: Room, mask: np.ndarray) -> np.ndarray:
    """A mask without its parts below SPECK_ML: noise that looks like liquor."""
    parts, n = ndimage.label(mask, np.ones((3, 3, 3), bool))
    ml = np.broadcast_to(room.scan.slice_ml()[room.box[0]][:, None, None], parts.shape)
    keep = np.bincount(parts.ravel(), weights=ml.ravel(), minlength=n + 1) >= SPECK_ML
    keep[0] = False
    return keep[parts]


def _share(room: Room, region: np.ndarray) -> np.ndarray:
    """Share of each voxel within a region of the head's nodes: a slice is the mean of thin planes."""
    out = np.zeros(room.hu.shape, np.float32)
    volume = _volume(room, region)
    reach = volume.min(axis=(1, 2)) < 2.0
    pixel = float(np.mean(room.scan.spacing))
    for k, gap in enumerate(room.support_mm()):
        near = int(round(room.at[0][k]))
        span = int(np.ceil(gap / room.head.grid.step)) + 1
        if not reach[max(near - span, 0) : near + span + 1].any():
            continue
        n = max(int(round(gap / SUB_MM)), 1)
        offsets = ((np.arange(n) + 0.5) / n - 0.5) * gap
        out[k] = np.mean([occupancy(room.read(volume, k, o), pixel) for o in offsets], axis=0)
    return out


def _volume(room: Room, nodes: np.ndarray, outside: float = 60.0) -> np.ndarray:
    g = room.head.grid
    volume = np.full(int(np.prod(g.shape)), outside, np.float32)
    volume[room.head.index] = nodes
    return volume.reshape(g.shape)


def _moved(room: Room, push: np.ndarray) -> np.ndarray:
    """HU after the brain has moved by push (mm, head coordinates) within the slices; cubic, so that noise stays noise."""
    h, t = room.head, room.head.traits
    dx, dy = (_volume(room, push[:, i] * t[s], 0.0) for i, s in ((0, "size_x"), (1, "size_y")))
    out = room.hu.copy()
    rows, columns = np.meshgrid(*(np.arange(n) for n in room.hu.shape[1:]), indexing="ij")
    for k in range(len(out)):
        ax, ay = room.read(dx, k), room.read(dy, k)
        if max(np.abs(ax).max(), np.abs(ay).max()) < 0.2:
            continue
        source = np.clip(room.hu[k], -100, 200)  # bone would ring
        at = rows - ay / room.scan.spacing[0], columns - ax / room.scan.spacing[1]
        moved = ndimage.map_coordinates(source, at, order=3, mode="nearest")
        out[k] = np.where(room.cavity[k] & (room.hu[k] < 120), moved, room.hu[k])
    return out


def _compose(room: Room, done: list[_Painted], rim: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """HU and label of the crop."""
    hu, clean = room.hu.copy(), room.smooth.copy()
    grain = np.clip(room.hu - room.smooth, -3.5 * room.noise_hu, 3.5 * room.noise_hu)
    taken = np.zeros_like(hu)
    shares = np.zeros((len(SUBTYPES), *hu.shape), np.float32)
    for p in done:
        rng = np.random.default_rng((*p.seed, 1))
        mottle = _field(room, noise(rng, room.head.grid, 7.0)) * p.lesion.spread_hu
        share = p.share * (1 - taken)
        taken = np.maximum(taken, p.share)
        shares[SUBTYPES.index(p.wish.subtype)] += share * p.visible
        soft = _blurred(room, share)
        if p.wish.subtype == "IPH":  # oedema: a darker rim
            width, dark = rng.uniform(2, 7), rng.uniform(18, 26) - 30
            halo = _blurred(room, _share(room, p.lesion.region - width)) * (1 - room.csf)
            hu, clean = hu + halo * dark, clean + halo * dark
        blood = p.hu + mottle + rim
        if p.wish.subtype in SOLID:
            value = blood + grain
            keep_bone = (hu > value) & (room.depth < 3)  # voxels that are partly bone stay so
            hu = np.where(keep_bone, hu, hu + soft * (value - hu))
            clean = np.where(keep_bone, clean, clean + soft * (blood - clean))
        else:
            gain = soft * (blood - np.minimum(clean, room.level[:, None, None]))  # what was liquor is blood; its noise stays
            hu, clean = hu + gain, clean + gain
    visible = room.cavity & (shares.sum(0) > 0.5) & (clean < BONE_HU)
    label = np.where(visible, shares.argmax(0) + 2, room.cavity.astype(np.uint8)).astype(np.uint8)
    return hu, label


def _field(room: Room, grid: np.ndarray) -> np.ndarray:
    return np.stack([room.read(grid, k) for k in range(len(room.hu))])


def _rim(room: Room) -> np.ndarray:
    """HU by which this scan is brighter near the skull, and on this slice, than brain usually is: beam hardening lifts blood too."""
    over = room.smooth - room.level[:, None, None]
    tissue = room.cavity & (room.csf < 0.3) & (room.smooth < 90)
    excess = []
    for low, high in zip(RIM_BINS[:-1], RIM_BINS[1:]):
        ring = tissue & (room.depth >= low) & (room.depth < high)
        excess.append(float(np.median(over[ring])) if ring.sum() > 200 else 0.0)
    slices = np.clip(room.level - room.brain_hu, -5, 25)[:, None, None]
    return (np.clip(np.interp(room.depth, (RIM_BINS[:-1] + RIM_BINS[1:]) / 2, excess), 0, 25) + slices).astype(np.float32)


def painting(room: Room, seed: int, wishes: tuple[Wish, ...] | None = None) -> Scan:
    """What was asked for, or what the seed draws; a draw that has no place in this head is drawn anew."""
    if wishes:
        return paint(room, wishes, seed)
    rng = np.random.default_rng((seed, 0))
    return _first_that_fits(room, lambda: draw(rng), seed)


def write_cache(folder: Path, scan: Scan, unseen: np.ndarray | None = None, prefix: str = "painted") -> Path:
    """Adds a painted scan to a training cache: two stretches of seven slices with most blood (data.py). Losses leave out voxels of
    `unseen`, bool (S, rows, columns)."""
    from ..product.config import settings_for
    from ..product.data import RUN, RUNS, encode
    from .phantom.study import Phantom, Plan
    from ..product.window import slabs

    if abs(scan.spacing[0] / scan.spacing[1] - 1) > 0.01:
        raise DataError(scan.name, "pixels are not square", "resample the scan")
    cfg = settings_for("bleed")
    hu, of = slabs(scan.hu, scan.positions, cfg.slab_mm)
    label = _slab_labels(scan.label, of)
    if len(hu) < RUN:
        raise DataError(scan.name, f"{len(hu)} slices", f"training needs {RUN} or more of about {cfg.slab_mm:g} mm")
    doubt = None if unseen is None else np.stack([unseen[of == t].any(0) for t in range(len(hu))])
    starts = _stretches((label > 1).sum(axis=(1, 2)), RUN, RUNS)
    parts = [encode(Phantom(hu[s : s + RUN], label[s : s + RUN], np.arange(RUN) * cfg.slab_mm, scan.spacing[0], (0.0, 0.0),
                            cfg.slab_mm, {}, Plan(), None if doubt is None else doubt[s : s + RUN])) for s in starts]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{prefix}-{scan.name}.npy"
    with whole(path) as part, part.open("wb") as f:
        np.save(f, np.concatenate(parts))
    return path


def _slab_labels(label: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The label most of a slab's slices give to a pixel; blood needs half of them."""
    out = np.zeros((of[-1] + 1, *label.shape[1:]), np.uint8)
    for t in range(len(out)):
        part = label[of == t]
        counts = np.stack([(part == k).sum(0) for k in range(7)])
        out[t] = np.where(2 * counts[2:].sum(0) > len(part), counts[2:].argmax(0) + 2, 2 * counts[1:].sum(0) > len(part))
    return out


def _stretches(blood: np.ndarray, run: int, runs: int) -> list[int]:
    """First slices of `runs` stretches with most blood, overlapping as little as the scan's length allows."""
    room = len(blood) - run
    amount = np.convolve(blood.astype(float), np.ones(run), "valid") if room >= 0 else np.zeros(1)
    first = int(amount.argmax())
    far = np.abs(np.arange(room + 1) - first) >= min(run, max(first, room - first))
    second = int(np.where(far, amount, -1).argmax())
    return [first, second][:runs]


def painted(scan: str, i: int, cache: Path | None, room_of) -> Scan:
    """The i-th painting of a scan of this name for measurement, each subtype in turn, kept in the cache folder if there is one.

    room_of: () -> Room, asked only when the painting is not there yet.
    """
    from . import heads

    name = f"{scan}-table{i}"  # volumes and densities are those of the table; former paintings were smaller
    rng = np.random.default_rng((i, zlib.crc32(scan.encode())))  # other hemorrhages in each head
    wishes = lambda: (wish(rng, SUBTYPES[i % len(SUBTYPES)]),)  # noqa: E731
    return heads.kept(cache, name, lambda: replace(_first_that_fits(room_of(), wishes, i), name=name))


def _first_that_fits(room: Room, wishes, seed: int) -> Scan:
    """Draws until there is a place for what was drawn. Raises the last DataError."""
    for _ in range(ATTEMPTS - 1):
        try:
            return paint(room, wishes(), seed)
        except DataError:
            continue
    return paint(room, wishes(), seed)
