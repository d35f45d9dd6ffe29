"""Tiny sets in the layout of synthetic heads, made in no time: discs of brain with blocks of blood, no phantom is rendered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ich.datasets import synthetic
from ich.datasets.volume import SUBTYPES
from trees import head

KINDS = ((2,), (), (3, 6), (4,), (2, 5), ())  # mask values of one head after the other


def heads(folder: Path, count: int = 6, kinds: tuple[tuple[int, ...], ...] = KINDS) -> Path:
    """Folder that `open_dataset("synthetic", folder)` reads: six slices of 32 x 32 pixels a head."""
    folder.mkdir(parents=True)
    listed = []
    for i in range(count):
        of, file = kinds[i % len(kinds)], f"s{i}.npz"
        h = head(of, 6, 32, 32, seed=i)
        label = np.maximum(h.mask, h.cavity.astype(np.uint8))
        np.savez_compressed(folder / file, hu=h.hu.astype(np.float16), label=label, spacing=(5.0, 5.0), positions=np.arange(6) * 5.0)
        listed.append({"name": f"s{i}", "file": file, "types": [SUBTYPES[k - 2] for k in of]})
    (folder / synthetic.INDEX).write_text(json.dumps({"heads": listed}))
    return folder
