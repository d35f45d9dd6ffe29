"""Makes experiment folders with seeded random results in the layout that `ich reproduce` writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from ich.product.config import SUBTYPES
from ich.paper.paper import METHODS, PRETEXTS
from ich.paper.report.experiment import COLUMNS

SKILL = dict(zip(METHODS, (-1.0, -0.8, 0.0, 0.02, 0.1, 0.3, 0.25, 0.6, 0.7, 0.9)))  # of each method, on the logit scale of recall
FALSE = dict(zip(METHODS, (900, 600, 250, 248, 230, 120, 110, 150, 100, 90)))  # voxels in the mean


def volume_rows(dataset="synthetic", methods=METHODS, volumes=75, normal=30, seeds=1, folds=3, seed=0) -> list[dict]:
    """Rows of volumes.csv: a volume has its own difficulty, which all methods meet."""
    rng = np.random.default_rng(seed)
    rows = []
    for v in range(volumes):
        bleeds = v >= normal
        truth = int(rng.lognormal(6.5, 1.2)) + 5 if bleeds else 0
        types = sorted(rng.choice(SUBTYPES, 1 + int(rng.random() < 0.3), replace=False, p=(0.35, 0.15, 0.2, 0.2, 0.1)), key=SUBTYPES.index) if bleeds else []
        hard = rng.normal(0, 1.5)
        for m in methods:
            for s in range(seeds):
                share = 1 / (1 + np.exp(-(SKILL[m] + 0.6 - hard + rng.normal(0, 0.5))))
                tp = int(round(truth * share))
                fp = int(rng.exponential(FALSE[m])) if rng.random() < 0.8 else 0
                rows.append({"dataset": dataset, "method": m, "seed": s, "fold": v % folds, "volume": f"{v:03d}", "bleeding": int(bleeds),
                             "types": "+".join(types), "voxel_ml": 0.05, "tp": tp, "fp": fp, "fn": truth - tp,
                             "truth_ml": 0.05 * truth, "found_ml": 0.05 * (tp + fp)})
    return rows


def log_rows(method: str, datasets: list[str], seeds: int, folds: int, epochs: int = 24) -> list[dict]:
    """Rows of <method>/log.csv: falling losses, rising Dice, one curve a fold."""
    rng, rows = np.random.default_rng(METHODS.index(method)), []
    for s in range(seeds):
        if method in PRETEXTS:
            for k in range(10):
                loss = 0.3 + 0.5 * 0.7**k + rng.normal(0, 0.01)
                rows.append({"epoch": k + 1, "phase": "pretext", "loss": loss, "lr": 1e-3 * 0.96**k, "seconds": 3.0, "val_loss": loss + 0.05, "seed": s})
        for d in datasets:
            for f in range(folds):
                for k in range(epochs):
                    row = {"epoch": k + 1, "phase": "segmentation", "loss": 0.9 * 0.93**k + rng.normal(0, 0.02), "lr": 1e-3 * 0.96**k, "seconds": 2.0,
                           "dataset": d, "seed": s, "fold": f}
                    if (k + 1) % 3 == 0:
                        row["test_dice"] = 0.5 + 0.05 * SKILL[method] - 0.5 * 0.85**k + rng.normal(0, 0.02)
                    rows.append(row)
    return rows


def embedding(method: str, slices: int = 300, width: int = 128) -> dict[str, np.ndarray]:
    """Vectors in which hemorrhage and subtypes lie apart, the more the better the method."""
    rng = np.random.default_rng(METHODS.index(method))
    bleeding = (rng.random(slices) < 0.5).astype(np.uint8)
    types = ((rng.random((slices, 5)) < 0.3) & (bleeding[:, None] == 1)).astype(np.uint8)
    apart = 1.5 * max(SKILL[method], 0.1)
    vectors = rng.normal(0, 1, (slices, width)) + apart * bleeding[:, None] * (np.arange(width) < 20) + 0.5 * types @ rng.normal(0, apart, (5, width))
    return {"vectors": vectors.astype(np.float32), "bleeding": bleeding, "types": types}


def about(datasets: dict[str, int], methods=METHODS, seeds=1, scale="small") -> dict:
    """methods.json; datasets: folds of each."""
    return {"scale": scale, "methods": list(methods), "seeds": seeds,
            "sets": {d: {"volumes": 75, "bleeding": 45, "slices": 1050, "ich_slices": 400, "left_out": []} for d in datasets},
            "cavity_dice": {d: 0.951 for d in datasets},
            "deviations": ([{"setting": "size", "here": 64, "paper": 256}, {"setting": "network.base", "here": 8, "paper": 32}] if scale != "paper" else [])
            + [{"setting": "metrics.grid", "here": "the network's", "paper": "not said", "by": "ours"}],
            "settings": {"scale": scale, "size": 64, "network": {"base": 8}}, "segmentation": {d: {"epochs": 24, "folds": k} for d, k in datasets.items()},
            "machine": {"device": "cpu", "precision": "float32", "torch": "2"}, "seconds": {"mixed, synthetic, seed 0, fold 0": 60.0}}


def write(folder: Path, datasets: dict[str, dict] | None = None, methods=METHODS, seeds=1, scale="small", slices=300) -> Path:
    """A whole folder. datasets: arguments of volume_rows by data set."""
    datasets = datasets or {"synthetic": {}}
    rows = [r for i, (d, kw) in enumerate(datasets.items()) for r in volume_rows(d, methods, seeds=seeds, seed=i, **kw)]
    folds = {d: kw.get("folds", 3) for d, kw in datasets.items()}
    write_csv(folder / "volumes.csv", rows, COLUMNS)
    (folder / "methods.json").write_text(json.dumps(about(folds, methods, seeds, scale)))
    for m in methods:
        columns = ("epoch", "phase", "loss", "lr", "seconds", "val_loss", "test_dice", "dataset", "seed", "fold")
        write_csv(folder / m / "log.csv", log_rows(m, list(datasets), seeds, 3), columns)
        if m in PRETEXTS:
            np.savez_compressed(folder / m / "embedding.npz", **embedding(m, slices))
    return folder


def write_csv(path: Path, rows: list[dict], columns: tuple[str, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as f:
        table = csv.DictWriter(f, columns, restval="")
        table.writeheader()
        table.writerows(rows)
