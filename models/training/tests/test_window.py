import json
from pathlib import Path

import numpy as np
import pytest

from ich.product.window import Resampler, centre_of, channels, down_matrix, slab_of, slabs, up_matrix, window


SLABS = [(5.0, 5.0, 1), (3.0, 5.0, 1), (2.9999, 5.0, 1), (2.9, 5.0, 2), (1.25, 5.0, 4), (0.625, 5.0, 8), (1.0, 0.0, 1)]


@pytest.mark.parametrize("spacing, slab_mm, want", SLABS)
def test_slabs_of_even_slices(spacing, slab_mm, want):
    assert slab_of(np.arange(20) * spacing, slab_mm).tolist() == [k // want for k in range(20)]


def test_slabs_average_from_the_first_slice():
    hu = np.arange(5, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    mean, of = slabs(hu, np.arange(5) * 2.5, 5.0)
    assert mean[:, 0, 0].tolist() == [0.5, 2.5, 4.0] and of.tolist() == [0, 0, 1, 1, 2]


def test_window_clips_and_scales():
    assert window(np.array([-1000.0, -50, 50, 150, 3000]), -50, 150).tolist() == [0, 0, 0.5, 1, 1]


def test_centre_is_the_mean_of_bone():
    hu = np.zeros((2, 9, 11))
    assert centre_of(hu) == (4.0, 5.0)
    hu[0, 2, 3] = hu[1, 4, 9] = 500
    assert centre_of(hu) == (3.0, 6.0)


def brute(image, spacing, centre, size, pixel):
    """The sums of the contract, written as loops."""
    out = np.zeros((size, size))
    for ty in range(size):
        for tx in range(size):
            total = 0.0
            weights = []
            for axis, t in ((0, ty), (1, tx)):
                step = pixel / spacing[axis] if pixel > 0 else image.shape[axis] / size
                c0 = centre[axis] if pixel > 0 else (image.shape[axis] - 1) / 2
                c = c0 + (t - (size - 1) / 2) * step
                s = max(1.0, step)
                w = {i: max(0.0, 1 - abs(i - c) / s) for i in range(-60, 120)}
                norm = sum(w.values())
                weights.append({i: v / norm for i, v in w.items() if 0 <= i < image.shape[axis]})
            for i, wi in weights[0].items():
                for j, wj in weights[1].items():
                    total += wi * wj * image[i, j]
            out[ty, tx] = total
    return out


@pytest.mark.parametrize("name, spacing, pixel", [("shrink", (0.5, 0.7), 1.5), ("enlarge", (1.5, 1.0), 0.8), ("plain", (0.5, 0.5), 0.0)])
def test_resample_against_loops(rng, name, spacing, pixel):
    image = rng.random((13, 17)).astype(np.float32)
    centre = (5.3, 9.1)
    to = Resampler(image[None], spacing, 8, pixel, centre)
    assert np.abs(to.down(image) - brute(image, spacing, centre, 8, pixel)).max() < 1e-5


def test_outside_the_image_is_zero():
    m = down_matrix(10, 1.0, 4.5, 32, 1.0)
    assert m.sum(1)[:10].max() == 0 and m.sum(1)[16] == pytest.approx(1)


def test_there_and_back_keeps_a_smooth_image():
    y, x = np.mgrid[:120, :120]
    image = np.exp(-(((y - 60) / 20.0) ** 2) - ((x - 55) / 25.0) ** 2).astype(np.float32)
    to = Resampler(image[None], (1.0, 1.0), 96, 1.5, (59.5, 59.5))
    assert np.abs(to.up(to.down(image)) - image).max() < 0.02


def test_back_is_bilinear_and_zero_outside():
    m = up_matrix(9, 1.0, 4.0, 4, 2.0)  # grid 0..3 lies at source 1, 3, 5, 7
    assert m[1].tolist() == [1, 0, 0, 0] and m[2].tolist() == [0.5, 0.5, 0, 0]
    assert m[0].tolist() == [0.5, 0, 0, 0] and m[8].sum() == 0.5


def test_neighbours_repeat_the_edge():
    stack = np.arange(3, dtype=np.float32)[:, None, None] * np.ones((1, 1, 1), np.float32)
    assert channels(stack, 1)[:, :, 0, 0].tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 2]]


GOLDEN = Path(__file__).resolve().parents[3] / "pipeline" / "window" / "testdata" / "golden.json"


def test_golden_numbers_of_the_go_program():
    """The file that pipeline/window's tests read too: neither side can drift. Its numbers carry four decimals."""
    golden = json.loads(GOLDEN.read_text())
    hu = np.array(golden["hu"], np.float32).reshape(golden["slices"], golden["rows"], golden["columns"])
    positions = np.array(golden["positions_mm"])
    assert centre_of(hu) == pytest.approx(golden["centre"], abs=1e-9)
    assert golden["cases"] and golden["stacks"]
    for case in golden["stacks"]:
        assert slab_of(np.array(case["positions_mm"]), case["slab_mm"]).tolist() == case["slab_of"]
    for case in golden["cases"]:
        size, slices = case["size"], golden["slices"]
        stack, of = slabs(hu, positions, case["slab_mm"])
        to = Resampler(hu, tuple(case["spacing_mm"]), size, case["pixel_mm"])
        x = channels(to.down(window(stack, *case["window_hu"])), case["neighbours"])
        assert of.tolist() == case["slab_of"] and len(of) == slices
        assert np.abs(x.ravel() - np.array(case["input"])).max() < 6e-5
        p = ((np.arange(size * size).reshape(size, size) * 7919) % 101 / 100).astype(np.float32)
        assert np.abs(to.up(p).ravel() - np.array(case["back"])).max() < 6e-5
