"""Every kind of blood, and the bright normal beside it, comes up: on the fields of one coarse head, nothing is rendered."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ich.heads.phantom import study
from ich.heads.phantom.anatomy import SQUEEZED, TURNED, Head, build, draw_traits, fill, squeezed, tentorium
from ich.heads.phantom.bleeds import liquor, shade
from ich.heads.phantom.fields import Grid, noise
from ich.heads.phantom.fluid import place_fluid
from ich.heads.phantom.lookalikes import distractors
from ich.heads.phantom.solid import place_solid
from ich.heads.phantom.vessels import _surface_veins, lakes

COARSE = Grid(shape=(62, 64, 53), step=4.0)


def filled(seed: int) -> Head:
    rng = np.random.default_rng(seed)
    head = build(rng, draw_traits(rng) | {"pitch": 0.0}, COARSE)
    fill(rng, head)
    return head


@pytest.fixture(scope="module")
def head() -> Head:
    return filled(1)


def ml(head: Head, distance: np.ndarray, where: np.ndarray | float = 1.0) -> float:
    """Of what lies below the inner table, at the nodes that `where` picks."""
    share = np.clip(0.5 - distance / COARSE.step, 0, 1) * np.clip((head.depth - 0.6) / COARSE.step + 0.5, 0, 1)
    return float((share * where).sum() * COARSE.voxel_ml())


def clots(head: Head, region: np.ndarray) -> list[np.ndarray]:
    """Nodes of each connected part of a region, as masks."""
    mask = np.zeros(COARSE.shape, bool)
    mask.ravel()[head.index[(region < 0) & (head.depth > 0)]] = True
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))
    of = parts.ravel()[head.index]
    return [of == i for i in range(1, count + 1)]


def solid(head: Head, subtype: str, of_ml: float, count: int, **kind) -> list[np.ndarray]:
    return [place_solid(np.random.default_rng(seed), head, subtype, of_ml, **kind)[0].region for seed in range(count)]


def test_contusions_are_several_and_near_the_bone(head):
    bruises, hematomas = solid(head, "IPH", 15.0, 12, trauma=True), solid(head, "IPH", 15.0, 8, trauma=False)
    depth = lambda region: float(np.median(head.depth[(region < 0) & (head.depth > 0)]))  # noqa: E731
    assert all(depth(r) < 15 for r in bruises) and sum(depth(r) > 15 for r in hematomas) > 4
    assert all(min(head.depth[c].min() for c in clots(head, r)) < 3 for r in bruises)
    assert sum(len(clots(head, r)) > 1 for r in bruises) > 8 > 4 > sum(len(clots(head, r)) > 1 for r in hematomas)
    both = [ml(head, r, head.x < 0) > 1 and ml(head, r, head.x > 0) > 1 for r in bruises]
    assert 6 < sum(both) < 12, "most on both sides, not all"
    assert sum(ml(head, r, (head.y < -30) & (head.z < 34)) > 4 for r in bruises) > 5, "frontal"
    assert all(ml(head, r) == pytest.approx(15, rel=0.2) for r in bruises)


def test_subdurals_lie_where_subdurals_lie(head):
    """Of 30 with 30 mL: over a whole hemisphere, on both sides, along the falx, on the tentorium."""
    tent = head.z - tentorium(head.x, head.y)
    seen = {"whole": 0, "both": 0, "falx": 0, "tentorium": 0}
    for region in solid(head, "SDH", 30.0, 30):
        blood, total = (region < 0) & (head.depth > 0), ml(head, region)
        seen["whole"] += np.ptp(head.y[blood]) > 155 and np.ptp(head.z[blood]) > 95
        seen["both"] += min(ml(head, region, head.x < 0), ml(head, region, head.x > 0)) > 1
        seen["falx"] += ml(head, region, (np.abs(head.x) < 8) & (head.depth > 12)) > 0.4 * total
        seen["tentorium"] += ml(head, region, (np.abs(tent) < 6) & (head.depth > 10) & (np.abs(head.x) > 8)) > 0.4 * total
        at_a_sheet = (head.depth < 22) | (np.abs(head.x) < 14) | (np.abs(tent) < 12)
        assert ml(head, region, ~at_a_sheet) < 0.05 * total, "at the inner table, the falx or the tentorium"
        assert 14 < total < 40
    assert all(2 <= n <= 15 for n in seen.values()), seen


def test_subarachnoid_blood_is_in_many_parts_of_the_liquor(head):
    count = []
    for seed in range(10):
        lesion = place_fluid(np.random.default_rng(seed), head, "SAH", 15.0)
        spaces = liquor(head, head.brain, head.depth, lesion.widen_mm)
        assert ml(head, np.maximum(lesion.region, spaces)) == pytest.approx(15, rel=0.45) and lesion.carrier == "liquor"
        count.append(len(clots(head, lesion.region)))
    one = place_fluid(np.random.default_rng(3), head, "SAH", 15.0, several=False)
    assert np.median(count) >= 4 and max(count) >= 8 and len(clots(head, one.region)) == 1


def test_levels_and_old_blood_beside_new(head):
    rough = noise(np.random.default_rng(0), COARSE, 18.0).ravel()[head.index]
    front, back = head.y < np.quantile(head.y, 0.02), head.y > np.quantile(head.y, 0.98)
    for seed in range(5):
        level = shade(np.random.default_rng(seed), head, rough, 1.0, 0.0)
        assert level[front].max() <= -10 and level[back].min() == 0 and level.min() >= -30, "cells settle: plasma is in front of a supine head"
        mixed = shade(np.random.default_rng(seed), head, rough, 0.0, 1.0)
        assert mixed.min() >= -28 and mixed.max() == 0 and mixed.min() < -4
        assert abs(np.corrcoef(mixed, head.y)[0, 1]) < 0.5 < np.corrcoef(level, head.y)[0, 1], "swirls, not layers"
    drawn = [shade(np.random.default_rng(seed), head, rough, 0.2, 0.3) is None for seed in range(40)]
    assert 0.3 < np.mean(drawn) < 0.7
    even = [place_solid(np.random.default_rng(seed), head, "SDH", 20.0, several=False)[0].shade for seed in range(4)]
    several = [place_solid(np.random.default_rng(seed), head, "SDH", 20.0)[0].shade for seed in range(12)]
    assert even == [None] * 4 and 1 < sum(s is not None for s in several) < 10


def test_ventricular_blood_mostly_settles_at_the_back(head):
    vent, behind = head.brain["vent"] < 0, 0
    for seed in range(12):
        blood = vent & (place_fluid(np.random.default_rng(seed), head, "IVH", 4.0).region < 0)
        behind += head.y[blood].mean() > head.y[vent].mean() + 10
    assert 4 < behind < 12


def test_bridging_veins_reach_the_sagittal_sinus(head):
    tent = head.z - tentorium(head.x, head.y)
    for seed in range(5):
        veins = list(_surface_veins(np.random.default_rng(seed), head.x, head.y, head.z, head.depth, tent))
        bridging = [(a, b) for a, b, _ in veins if abs(a[0]) > 8 and abs(b[0]) < 5 and b[2] > 50]
        assert len(bridging) >= 2 and all(0.6 <= radius <= 1.5 for _, _, radius in veins)
        assert all(6 < np.linalg.norm(a - b) < 40 for a, b in bridging)


def test_dura_and_vessels_of_every_head_are_bright(head):
    """Density and thickness as README.md says; both grow with hematocrit."""
    traits = [draw_traits(np.random.default_rng(seed)) for seed in range(50)]
    dura, blood, thick = (np.array([t[k] for t in traits]) for k in ("dura_hu", "blood_hu", "falx_mm"))
    assert 44 <= dura.min() < 50 and 62 < dura.max() <= 68
    assert 41 <= blood.min() < 48 and 68 < blood.max() <= 75
    assert 0.6 <= thick.min() < 0.8 and 1.8 < thick.max() <= 2.0 and np.corrcoef(dura, blood)[0, 1] > 0.8
    for one in (head, filled(2)):
        falx = 2 * one.brain["falx_half"][(np.abs(one.x) < 4) & (one.brain["falx_ext"] < 0)]
        assert len(falx) > 50 and 0.5 * 2 * one.traits["falx_mm"] < falx.min() and falx.max() <= 2.2 * one.traits["falx_mm"] <= 4.4
        assert all((one.brain[name] < 0).sum() > 20 for name in ("sinus", "artery"))


def test_venous_lakes_lie_beside_the_sagittal_sinus(head):
    """Under the vertex, thin, on either side; granulations leave holes."""
    sinus, lake, holes = head.brain["sinus"], np.zeros(len(head.x), bool), 0
    for seed in range(12):
        out = lakes(np.random.default_rng(seed), sinus, head.x, head.y, head.z, head.depth)
        lake |= (out < 0) & (sinus > 0)
        holes += ((out > 0) & (sinus < -0.5)).sum()
    assert holes > 5 and head.depth[lake].max() <= 5 and head.z[lake].min() > 35
    assert ((head.x < -8) & lake).any() and ((head.x > 8) & lake).any()


def traits_of(monkeypatch, heads: int, plan: study.Plan = study.Plan()) -> list[dict]:
    drawn = []

    def stop(rng, traits):
        drawn.append(traits)
        raise InterruptedError

    monkeypatch.setattr(study, "build", stop)
    for seed in range(heads):
        with pytest.raises(InterruptedError):
            study.make_head(np.random.default_rng(seed), plan)
    return drawn


def test_some_heads_lie_turned(monkeypatch):
    """As far as 45 degrees; who gives a pose, as the sample studies do, keeps it."""
    far = [abs(t["yaw"]) for t in traits_of(monkeypatch, 120) if abs(t["yaw"]) > 14]
    assert abs(len(far) / 120 - TURNED * 31 / 45) < 0.1 and 35 < max(far) <= 45
    assert {t["yaw"] for t in traits_of(monkeypatch, 20, study.Plan(traits={"yaw": 1.5}))} == {1.5}


def test_some_brains_are_squeezed(monkeypatch):
    """Wide ventricles, no sulci, a cortex as dense as faint blood: a fifth of the heads."""
    drawn = traits_of(monkeypatch, 120)
    tight = [t for t in drawn if t["sulcus_mm"] <= 0.25]
    assert abs(len(tight) / 120 - SQUEEZED) < 0.1
    for t in [*tight, *(squeezed(np.random.default_rng(seed)) for seed in range(50))]:
        assert t["ventricle"] >= 1.4 and 39 <= t["gray_hu"] <= 45 and t["white_hu"] <= 36 < t["gray_hu"] and t["nuclei_hu"] >= t["gray_hu"] - 1


def test_what_looks_like_blood_has_no_label(head):
    """Of 30 heads: calcifications in most, choroid plexus as dense as blood in many, chronic subdurals in few."""
    each = [distractors(np.random.default_rng(seed), head) for seed in range(30)]
    assert not any(les.subtype for found in each for les in found)
    plexus = [any(42 <= les.hu <= 68 and les.spread_hu == 5 for les in found) for found in each]
    dark = [any(8 <= les.hu <= 28 and ml(head, les.region) > 3 for les in found) for found in each]
    assert sum(any(les.hu > 90 for les in found) for found in each) > 18 and sum(plexus) > 7 and 1 < sum(dark) < 15
