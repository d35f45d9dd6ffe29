"""Intensity curves of the tissues, one for each sample."""

import numpy as np
import pytest
import torch

from ich.product.data import CURVE_HU, CURVE_MOVES, _curve

WINDOW = (-50.0, 150.0)


def moved(draw) -> tuple[np.ndarray, np.ndarray]:
    """HU from -50 to 150 in tenths, and by how much each is moved; draw: shape -> numbers in [0, 1)."""
    hu = np.arange(-50, 150.05, 0.1)
    x = torch.from_numpy((hu - WINDOW[0]) / (WINDOW[1] - WINDOW[0]))[None, None, None]
    y = _curve(x, WINDOW, draw)[0, 0, 0].numpy() * (WINDOW[1] - WINDOW[0]) + WINDOW[0]
    return hu, y - hu


@pytest.mark.parametrize("at, bound", list(zip(CURVE_HU, CURVE_MOVES))[1:-1])
def test_each_tissue_moves_by_at_most_its_bound(at, bound):
    """And by all of it when that is drawn."""
    for share, sign in ((0.0, -1), (1.0, 1)):
        hu, by = moved(lambda *shape: torch.full(shape, share, dtype=torch.float64))
        assert by[np.abs(hu - at).argmin()] == pytest.approx(sign * bound, abs=1e-6)


def test_a_curve_keeps_bright_blood_and_the_order_of_tissues():
    gen = torch.Generator().manual_seed(3)
    for _ in range(40):
        hu, by = moved(lambda *shape: torch.rand(*shape, generator=gen, dtype=torch.float64))
        assert np.abs(by[(hu >= CURVE_HU[-1]) | (hu <= CURVE_HU[0])]).max() < 1e-9
        assert np.diff(hu + by).min() > 0, "what is denser stays brighter"
        assert 0.05 < np.abs(by).max() <= max(CURVE_MOVES) + 1e-9


def test_each_sample_has_a_curve_of_its_own():
    x = torch.full((4, 3, 2, 2), (38.0 - WINDOW[0]) / (WINDOW[1] - WINDOW[0]))
    out = _curve(x, WINDOW, lambda *shape: torch.rand(*shape, generator=torch.Generator().manual_seed(1)))
    assert len(out[:, 0, 0, 0].unique()) == 4 and (out == out[:, :1, :1, :1]).all()
