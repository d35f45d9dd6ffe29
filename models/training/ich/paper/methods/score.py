"""What a net finds in whole volumes, voxel by voxel on the network's grid (2.4), and the rows of volumes.csv."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...datasets.volume import SUBTYPES
from ...files import whole
from ...loop import Machine
from .fit import iterate
from .nets import pooled
from .slices import Slices

COLUMNS = ("dataset", "method", "seed", "fold", "volume", "bleeding", "types", "voxel_ml", "tp", "fp", "fn", "truth_ml", "found_ml")
AT_ONCE = 32  # slices


def predict(net: nn.Module, data: Slices, rows: np.ndarray, on: Machine, threshold: float = 0.5) -> np.ndarray:
    """bool (N, H, W): probability of at least the threshold."""
    logit = float(np.log(threshold / (1 - threshold)))
    out = []
    with torch.inference_mode(), on.autocast():
        for part in iterate(rows, AT_ONCE):
            out.append((net(data.images(part, on.device))[:, 0].float() >= logit).cpu().numpy())
    return np.concatenate(out)


def volume_rows(net: nn.Module, data: Slices, volumes: np.ndarray, bleeding: np.ndarray, on: Machine, threshold: float,
                cavity: np.ndarray | None, about: dict[str, dict]) -> list[dict]:
    """One row a volume and a method. about: method id -> its other columns; ids ending in -icm are scored within the cavity."""
    store, rows = data.store, []
    for v in volumes:
        at = data.rows_of(np.array([v]))
        found, truth, ml = predict(net, data, at, on, threshold), np.asarray(store.masks[at]) > 0, store.voxel_ml[at]
        for method, columns in about.items():
            kept = found & (np.asarray(cavity[at]) > 0) if method.endswith("-icm") else found
            per_slice = lambda a: a.sum((1, 2))  # noqa: E731
            volume = store.volumes[v]
            rows.append({
                **columns, "method": method, "volume": volume.name, "bleeding": int(bleeding[v]),
                "types": "+".join(k for k in SUBTYPES if k in volume.types), "voxel_ml": float(ml.mean()),
                "tp": int((kept & truth).sum()), "fp": int((kept & ~truth).sum()), "fn": int((~kept & truth).sum()),
                "truth_ml": float(per_slice(truth) @ ml), "found_ml": float(per_slice(kept) @ ml)})
    return rows


def fold_dice(data: Slices, rows: np.ndarray, on: Machine, threshold: float):
    """Measure for the log: Dice over all voxels of the test fold together."""

    def measure(net: nn.Module) -> dict[str, float]:
        tp = found = truth = 0
        for part in iterate(rows, 8 * AT_ONCE):
            p, t = predict(net, data, part, on, threshold), np.asarray(data.store.masks[part]) > 0
            tp, found, truth = tp + int((p & t).sum()), found + int(p.sum()), truth + int(t.sum())
        return {"test_dice": (2 * tp + 1) / (found + truth + 1)}

    return measure


def embedding(net: nn.Module, data: Slices, rows: np.ndarray, on: Machine) -> np.ndarray:
    """float32 (N, 16 base): pooled bottleneck of slices (Figure 5)."""
    out = []
    with torch.inference_mode(), on.autocast():
        for part in iterate(rows, AT_ONCE):
            out.append(pooled(net, data.images(part, on.device)).float().cpu().numpy())
    return np.concatenate(out)


def write_rows(path: Path, rows: list[dict], columns: tuple[str, ...] = COLUMNS) -> None:
    with whole(path) as part, part.open("w", newline="") as f:
        table = csv.DictWriter(f, columns, restval="")
        table.writeheader()
        table.writerows({k: f"{v:.8g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def read_rows(path: Path) -> list[dict]:
    with path.open(newline="") as f:
        return list(csv.DictReader(f))
