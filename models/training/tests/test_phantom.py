import numpy as np
import pytest

from ich.product.data import MARGIN_SIZE, PIXEL_MM, PLANES, UNSEEN, encode
from ich.heads.phantom.bleeds import SUBTYPES
from ich.heads.phantom.fields import noise, weighted_threshold, Grid
from ich.heads.phantom.scanner import NO_TISSUE, TISSUES
from ich.heads.phantom.study import Plan, generate


def test_same_seed_same_head():
    a, b = (generate(3, runs=1, slices=2)[0] for _ in range(2))
    assert np.array_equal(a.hu, b.hu) and np.array_equal(a.label, b.label)
    c = generate(4, runs=1, slices=2)[0]
    assert a.hu.shape != c.hu.shape or not np.array_equal(a.hu, c.hu)


def test_truth_is_what_was_asked_for(bleeding):
    truth = bleeding.truth_ml()
    assert truth["IPH"] == pytest.approx(25, rel=0.2)
    assert truth["EDH"] == pytest.approx(40, rel=0.25)
    assert truth["IVH"] == truth["SAH"] == truth["SDH"] == 0
    assert truth["total"] == pytest.approx(sum(truth[k] for k in SUBTYPES))
    assert 1100 < bleeding.cavity_ml() < 2000


def test_truth_counts_label_voxels(bleeding):
    spacing = bleeding.positions[1] - bleeding.positions[0]
    ml = (bleeding.label == 2).sum() * bleeding.pixel**2 * spacing / 1000
    assert bleeding.truth_ml()["IPH"] == pytest.approx(ml)


def test_blood_is_visible_and_bone_is_not_labelled(bleeding):
    blood, brain = bleeding.hu[bleeding.label >= 2], bleeding.hu[bleeding.label == 1]
    assert np.median(blood) > np.median(brain) + 20
    assert np.mean(bleeding.hu[bleeding.label >= 1] > 250) < 0.01  # calcifications are the exception


def test_normal_head_has_no_blood():
    assert generate(3, Plan(), runs=1, slices=3)[0].label.max() <= 1


def test_stretches_are_consecutive(stretches):
    for p in stretches:
        assert p.hu.shape == (7, 256, 256) and np.allclose(np.diff(p.positions), p.thickness)


def test_network_grid_keeps_volume(bleeding):
    grid = encode(bleeding)
    assert grid.shape == (len(bleeding.hu), PLANES, MARGIN_SIZE, MARGIN_SIZE)
    spacing = bleeding.positions[1] - bleeding.positions[0]
    for k, name in ((2, "IPH"), (6, "EDH")):
        assert (grid[:, 3] == k).sum() * PIXEL_MM**2 * spacing / 1000 == pytest.approx(bleeding.truth_ml()[name], rel=0.08)


def test_weighted_threshold_encloses_the_volume(rng):
    field, weight = rng.random(10_000), np.full(10_000, 0.008)
    level = weighted_threshold(field, weight, 24.0)
    assert weight[field < level].sum() == pytest.approx(24, abs=0.02)


def test_noise_is_standardised(rng):
    n = noise(rng, Grid(), 30.0)
    assert abs(n.mean()) < 1e-3 and n.std() == pytest.approx(1, abs=1e-2) and np.abs(np.diff(n, axis=0)).mean() < 0.4


def test_blood_without_contrast_is_not_labelled():
    """36 HU in the brain: nobody could see it, and a net that is told to invents blood elsewhere."""
    dark, bright = (generate(7, Plan((("IPH", 25.0, hu),), several=False), runs=1, slices=5)[0] for hu in (36.0, 60.0))
    assert dark.unseen.sum() > 200 and (dark.label == 2).sum() < 0.05 * dark.unseen.sum()
    assert (bright.label == 2).sum() > 200 and bright.unseen.sum() < 0.1 * (bright.label == 2).sum()
    grid = encode(dark)[:, 3]
    assert (grid == UNSEEN).sum() > 150


def test_falx_and_sinuses_are_bright_and_named():
    p = generate(14, Plan(traits={"dura_hu": 62.0, "falx_mm": 1.8, "blood_hu": 66.0, "pitch": 0.0}))
    hu = [float(np.median(p.hu[p.tissue == TISSUES.index(name)])) for name in ("brain", "dura", "vessel")]
    assert hu[1] > hu[0] + 12 and hu[2] > hu[0] + 15
    assert (p.tissue[p.label > 1] == NO_TISSUE).all()


def test_a_real_company_of_bleeds():
    """Of 400 drawn heads nearly all have two subtypes or more; three quarters show them, as of real ones (`test_statistics.py`)."""
    rng = np.random.default_rng(1)
    count = [len(Plan.draw(rng, normal=0.0).bleeds) for _ in range(400)]
    assert 0.9 < np.mean(np.array(count) > 1) < 0.99
