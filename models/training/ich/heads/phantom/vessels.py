"""Arteries of the base and veins of the brain: as bright as a bleed on an unenhanced CT, and none."""

from __future__ import annotations

import numpy as np

from .fields import FAR, capsule


def vessels(rng: np.random.Generator, x, y, z, depth, tent) -> np.ndarray:
    """Signed distance (mm) to all of them at the nodes with these head coordinates, depth below the inner table and height above
    the tentorium."""
    out = np.full(len(x), FAR, np.float32)
    for a, b, radius in [*_arteries(rng), *_deep_veins(rng), *_surface_veins(rng, x, y, z, depth, tent)]:
        low, high = np.minimum(a, b) - 6, np.maximum(a, b) + 6
        near = np.flatnonzero((x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1]) & (z > low[2]) & (z < high[2]))
        out[near] = np.minimum(out[near], capsule(x[near], y[near], z[near], a, b, radius))
    return out


def _arteries(rng):
    yield (rng.normal(0, 1.5), 1, -26), (0, -3, -4), rng.uniform(1.2, 2.0)  # basilar
    for side in (-1, 1):
        yield (4 * side, -10, -2), (36 * side, -15, 3), rng.uniform(0.9, 1.8)  # middle cerebral
        yield (10 * side, -8, -9), (8 * side, -10, -1), rng.uniform(1.4, 2.2)  # internal carotid
        yield (5 * side, 4, 1), (20 * side, 22, 8), rng.uniform(0.6, 1.2)  # posterior cerebral
        yield (1.5 * side, -13, 0), (1.5 * side, -30, 26), rng.uniform(0.5, 1.1)  # anterior cerebral


def _deep_veins(rng):
    for side in (-1, 1):
        yield (2 * side, -4, 27), (1.5 * side, 21, 24), rng.uniform(0.6, 1.2)  # internal cerebral
    yield (0, 20, 24), (0, 32, 15), rng.uniform(1.2, 2.2)  # Galen


def _surface_veins(rng, x, y, z, depth, tent):
    """Bridging veins to the sagittal sinus, veins of the convexity, veins to the transverse sinus."""
    skin = np.flatnonzero((depth > 1.5) & (depth < 4.5))
    sx, sy, sz = x[skin], y[skin], z[skin]
    top, side = skin[(np.abs(sx) > 8) & (np.abs(sx) < 32) & (sz > 55)], skin[(np.abs(sx) > 45) & (np.abs(sz - 20) < 22)]
    middle = skin[(np.abs(sx) < 5) & (sz > 50)]
    low = skin[(np.abs(sx) > 25) & (np.abs(tent[skin]) < 4) & (sy > 15)]
    point = lambda i: np.array([x[i], y[i], z[i]])  # noqa: E731
    for starts, ends, count in ((top, middle, rng.integers(4, 11)), (side, side, rng.integers(1, 5)), (side, low, rng.integers(0, 3))):
        for _ in range(int(count)):
            if len(starts) == 0 or len(ends) == 0:
                break
            i = int(rng.choice(starts))
            away = np.hypot(np.hypot(x[ends] - x[i], y[ends] - y[i]), z[ends] - z[i])
            near = ends[(away < 40) & (away > 6)]
            if len(near):
                yield point(i), point(int(rng.choice(near))), rng.uniform(0.6, 1.5)


def lakes(rng: np.random.Generator, sinus, x, y, z, depth):
    """Signed distance (mm) to the sinuses with the venous lakes that lie beside the sagittal one under the vertex, as dense as a thin
    subdural, and with the holes that granulations leave in both."""
    top = np.flatnonzero((depth > 0) & (depth < 3) & (np.abs(x) > 4) & (np.abs(x) < 22) & (z > 55))
    for _ in range(int(rng.integers(0, 6)) if len(top) else 0):
        i = int(rng.choice(top))
        across, thick = rng.uniform(6, 16), rng.uniform(1.5, 5)
        away = np.sqrt((x - x[i]) ** 2 + (0.6 * (y - y[i])) ** 2 + (z - z[i]) ** 2)  # longer from front to back
        sinus = np.minimum(sinus, np.maximum(depth - thick * (1 - (away / across) ** 2), away - across))
    filled = np.flatnonzero((sinus < -0.5) & (z > 30))
    for _ in range(int(rng.integers(0, 5)) if len(filled) else 0):
        i = int(rng.choice(filled))
        hole = np.sqrt((x - x[i]) ** 2 + (y - y[i]) ** 2 + (z - z[i]) ** 2) - rng.uniform(1, 3)
        sinus = np.maximum(sinus, -hole)
    return sinus
