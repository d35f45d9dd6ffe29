"""Writes six scans with masks and results, and prints what scikit-learn and numpy make of them."""
import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from sklearn.metrics import f1_score, precision_score, recall_score

results, truth = map(Path, sys.argv[1:])
rng = np.random.default_rng(7)
rows, volumes = [], []
for n in range(6):
    want = np.zeros((60, 50, 20), np.uint8)
    want[10 : 30 + n, 10:40, 5:15] = 1
    found = np.roll(want, int(rng.integers(0, 6)), 0) * (rng.random(want.shape) < 0.9).astype(np.uint8)
    affine = np.diag([0.5, 0.5, 5.0, 1])
    (results / f"{n}.nii").mkdir()
    nib.save(nib.Nifti1Image(want, affine), truth / f"{n}.nii.gz")
    nib.save(nib.Nifti1Image(found, affine), results / f"{n}.nii/mask.nii.gz")
    (results / f"{n}.nii/input.json").write_text(json.dumps({"input": f"{n}.nii"}))
    a, b = want.ravel() > 0, found.ravel() > 0
    rows.append((f1_score(a, b), precision_score(a, b), recall_score(a, b)))
    volumes.append((want.sum() * 0.00125, found.sum() * 0.00125))
rows, (t, f) = np.array(rows), np.array(volumes).T
d = f - t
print(json.dumps({
    "Dice": rows[:, 0].mean(), "DiceSD": rows[:, 0].std(), "Precision": rows[:, 1].mean(), "Recall": rows[:, 2].mean(), "Bias": d.mean(),
    "Low": d.mean() - 1.96 * d.std(ddof=1), "High": d.mean() + 1.96 * d.std(ddof=1), "R": np.corrcoef(t, f)[0, 1]}))
