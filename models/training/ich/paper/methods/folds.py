"""Cross-validation by volume (2.5.2): patients stay whole, and every fold has volumes with hemorrhage."""

from __future__ import annotations

import numpy as np

from ...datasets.volume import DataError
from .slices import seed_of


def folds(groups: list[str], bleeding: np.ndarray, k: int, seed: int, where: str = "data") -> np.ndarray:
    """Test fold of each volume (V,). Patients with and without hemorrhage are shuffled and dealt out like cards, so that
    both kinds differ by one patient at most between folds, and their sum too. Raises DataError when fewer than k bleed."""
    names, of = np.unique(groups, return_inverse=True)
    bleeds = np.zeros(len(names), bool)
    np.logical_or.at(bleeds, of, bleeding)
    if k < 2:
        raise DataError(where, f"{k} folds", "cross-validation takes 2 or more")
    if bleeds.sum() < k:
        raise DataError(where, f"{bleeds.sum()} patients with hemorrhage, fewer than the {k} folds", "give more volumes or --folds")
    rng = np.random.default_rng(seed_of(seed, "folds"))
    cards = np.concatenate([rng.permutation(np.flatnonzero(kind)) for kind in (bleeds, ~bleeds)])
    fold = np.empty(len(names), int)
    fold[cards] = np.arange(len(cards)) % k
    return fold[of]
