"""Writes golden.json: what models/training/ich/product/window.py makes of a small stack. Run it there: PYTHONPATH=. python <this file>"""

import json
from pathlib import Path

import numpy as np
from ich.product import window as w

rng = np.random.default_rng(5)
SLICES, ROWS, COLUMNS = 5, 23, 19
hu = rng.integers(-1000, 500, (SLICES, ROWS, COLUMNS)).astype(np.float32)
hu[:, 5:16, 3:14] = rng.integers(0, 90, (SLICES, 11, 11))
positions = np.arange(SLICES) * 1.25 - 3
values = lambda a: [float(f"{v:.4f}") for v in a.ravel()]  # noqa: E731
cases = []
for size, pixel, slab, neighbours, window, spacing in (
    (16, 1.0, 0.0, 0, (-50, 150), (0.7, 0.9)),
    (16, 2.3, 5.0, 1, (0, 600), (0.7, 0.9)),
    (32, 0.5, 2.5, 0, (150, 650), (0.7, 0.9)),
    (16, 0.0, 5.0, 0, (-50, 150), (0.7, 0.9)),
    (16, 0.0, 0.0, 2, (-50, 150), (1.4, 0.4)),
):
    stack, of = w.slabs(hu, positions, slab)
    to = w.Resampler(hu, spacing, size, pixel)
    x = w.channels(to.down(w.window(stack, *window)), neighbours)
    p = ((np.arange(size * size).reshape(size, size) * 7919) % 101 / 100).astype(np.float32)
    cases.append({
        "size": size, "pixel_mm": pixel, "slab_mm": slab, "neighbours": neighbours, "window_hu": window, "spacing_mm": spacing,
        "slab_of": of.tolist(), "input": values(x), "back": values(to.up(p)),
    })
# Dense below and wide above, as protocols have it, and worse.
stacks = [{"positions_mm": [round(float(z), 4) for z in z], "slab_mm": slab, "slab_of": w.slab_of(np.asarray(z), slab).tolist()} for z, slab in (
    (np.concatenate([np.arange(12) * 1.25, 17.5 + np.arange(5) * 5.0]), 5.0),
    (np.concatenate([np.arange(9) * 2.5, 25 + np.arange(5) * 5.0]), 5.0),
    (np.cumsum([4, 1.08, 7, 4, 1.08, 7, 4, 1.08]), 5.0),
    (np.concatenate([np.arange(7) * 0.625, 5 + np.arange(7) * 0.625]), 5.0),
    (np.arange(30) * 0.7, 5.0),
)]
out = {"slices": SLICES, "rows": ROWS, "columns": COLUMNS, "positions_mm": positions.tolist(), "hu": hu.astype(int).ravel().tolist(),
       "centre": w.centre_of(hu), "cases": cases, "stacks": stacks}
Path(__file__).with_name("golden.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
