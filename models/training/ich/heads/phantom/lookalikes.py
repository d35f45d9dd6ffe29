"""What looks like blood and is none: calcifications, choroid plexus, old infarct, hygroma or chronic subdural, bright specks."""

from __future__ import annotations

import numpy as np

from .anatomy import Head, tentorium
from .bleeds import Lesion
from .fields import FAR, noise
from .solid import place_solid
from .table import draw_ml


def distractors(rng: np.random.Generator, head: Head) -> list[Lesion]:
    """Of one head, unlabelled."""
    x, y, z, d = head.x, head.y, head.z, head.depth
    out: list[Lesion] = []
    ball = lambda c, r: np.sqrt((x - c[0]) ** 2 + (y - c[1]) ** 2 + (z - c[2]) ** 2) - r  # noqa: E731
    add = lambda region, low, high, spread: out.append(Lesion("", region, "cavity", rng.uniform(low, high), spread, 0))  # noqa: E731
    if rng.random() < 0.7:
        add(ball((rng.normal(0, 1), 26, 16), rng.uniform(1, 3)), 70, 350, 20)  # pineal
    for side in (-1, 1):
        if rng.random() < 0.9:  # choroid plexus: calcified, or as dense as the blood it holds
            add(ball((23 * side, 35, 27), rng.uniform(1.5, 4.5)), *((60, 320, 30) if rng.random() < 0.6 else (42, 68, 5)))
    if rng.random() < 0.25:
        r = rng.uniform(1.5, 4)
        both = np.minimum(ball((19, -4, 16), r), ball((-19, -4, 16), r * rng.uniform(0.6, 1)))
        add(both, 50, 160, 15)  # basal ganglia
    for _ in range(int(rng.choice([0, 1, 2], p=[0.6, 0.25, 0.15]))):  # falx plaque
        c = (0, rng.uniform(-70, 40), rng.uniform(20, 75))
        add(np.maximum(np.abs(x) - rng.uniform(0.8, 2.2), ball(c, rng.uniform(4, 14))), 90, 500, 30)
    if rng.random() < 0.15:  # calcified edge of the tentorium
        c = (rng.choice([-1, 1]) * rng.uniform(12, 30), rng.uniform(10, 40), 12)
        add(np.maximum(np.abs(z - tentorium(x, y)) - rng.uniform(0.8, 1.8), ball(c, rng.uniform(5, 14))), 80, 300, 30)
    for _ in range(rng.integers(0, 4)):  # specks: vessels end on, partial volume of sulcal dura
        i = int(rng.choice(np.flatnonzero(d > 2)))
        add(ball((x[i], y[i], z[i]), rng.uniform(0.8, 2.2)), 55, 180, 5)
    if rng.random() < 0.15:  # infarct
        i = int(rng.choice(np.flatnonzero(d > 5)))
        rough = noise(rng, head.grid, 18.0).ravel()[head.index]
        add(ball((x[i], y[i], z[i]), rng.uniform(8, 28)) + 3 * rough, 10, 26, 2)
    if rng.random() < 0.1:  # hygroma, chronic subdural: dark, not acute, reported by nobody as such
        les, _ = place_solid(rng, head, "SDH", draw_ml(rng, "SDH") + 4, hu=rng.uniform(8, 28))
        les.subtype = ""
        out.insert(0, les)
    for les in out:
        les.region = np.minimum(les.region, FAR).astype(np.float32)
    return out
