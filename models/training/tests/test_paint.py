"""Hemorrhages painted into a head that is treated as if it were real: a phantom without blood, known by its voxels alone."""

import nibabel
import numpy as np
import pytest

from ich.heads import heads
from ich.__main__ import main
from ich.product.config import SUBTYPES, settings_for
from ich.product.data import MARGIN_SIZE, PLANES, Cache
from ich.datasets.volume import DataError
from ich.product.measure import dice
from ich.heads.paint import Wish, _slab_labels, _stretches, paint, painting, write_cache
from ich.heads.paint import painted as kept
from ich.heads.phantom.study import Plan, generate
from ich.heads.room import _point_spread, bone_cavity, enter
from ich.product.scan import Scan, read_scan, volumes

WISHES = (Wish("IPH", 20.0, 68.0), Wish("IVH", 6.0, 68.0), Wish("SAH", 8.0, 68.0), Wish("SDH", 30.0, 68.0), Wish("EDH", 25.0, 68.0))


@pytest.fixture(scope="module")
def head():
    """A normal head and its true cavity."""
    p = generate(21, Plan((), {"age": 74.0, "ventricle": 1.6, "pitch": 8.0}))
    scan = Scan(np.round(p.hu), (p.pixel, p.pixel), np.asarray(p.positions, float), None, "head", "scan")
    return scan, p.label > 0


@pytest.fixture(scope="module")
def room(head):
    return enter(*head)


@pytest.fixture(scope="module")
def painted(room):
    return {w.subtype: paint(room, (w,), 3) for w in WISHES}


@pytest.mark.parametrize("wish", WISHES, ids=lambda w: w.subtype)
def test_paints_what_was_asked_for(head, room, painted, wish):
    scan, cavity = head
    p = painted[wish.subtype]
    ml = volumes(p.label, p)
    assert ml["total"] == ml[wish.subtype] == pytest.approx(wish.ml, rel=0.3)
    assert np.array_equal(p.label > 0, cavity) and np.array_equal(p.hu[~cavity], scan.hu[~cavity])
    blood = p.label > 1
    assert np.median(p.hu[blood]) == pytest.approx(wish.hu, abs=5)  # although thin blood is partly what is around it, and the rim lifts it
    assert (p.bleeds[0].subtype, p.bleeds[0].hu, p.kind) == (wish.subtype, wish.hu, "painted")


def test_each_lies_where_it_belongs(head, room, painted):
    scan, _ = head
    inside = {k: (p.label[room.box] > 1) for k, p in painted.items()}
    depth = {k: float(np.median(room.depth[m])) for k, m in inside.items()}
    assert depth["SDH"] < 9 and depth["EDH"] < 15 and depth["IVH"] > 20 and depth["IPH"] > depth["SDH"]
    assert min(room.depth[inside["SDH"]].min(), room.depth[inside["EDH"]].min()) < 2  # they touch the inner table
    before = {k: scan.hu[p.label > 1] for k, p in painted.items()}
    for k in ("IVH", "SAH"):  # in liquor that is there
        assert np.median(before[k]) < room.brain_hu - 6
    assert (inside["IVH"] & ~room.vent).sum() < 0.4 * inside["IVH"].sum() and not (inside["SAH"] & room.vent).any()
    columns = {k: np.nonzero(m)[2] for k, m in inside.items()}
    middle = inside["SDH"].shape[2] / 2
    assert ((columns["SDH"] < middle).mean() < 0.02) or ((columns["SDH"] > middle).mean() < 0.02)  # stops at the falx


def test_ventricles_of_the_head_are_found(head, room):
    """Against the generator's own, which it cannot see: liquor deeper than 20 mm is ventricle or cistern."""
    assert 8 < float(room.vent.sum(axis=(1, 2)) @ room.scan.slice_ml()[room.box[0]]) < 120
    assert np.median(room.hu[room.vent]) < room.brain_hu - 12


def test_noise_of_the_scan_stays(room, painted):
    inner = {k: painted[k].label[room.box] == SUBTYPES.index(k) + 2 for k in ("IPH", "EDH")}
    for k, m in inner.items():
        hu = painted[k].hu[room.box]
        rough = 1.48 * np.median(np.abs(hu - room.smooth - np.median((hu - room.smooth)[m]))[m])
        assert rough > 0.6 * room.noise_hu
    assert room.noise_hu > 0.5


def test_same_seed_same_scan(room):
    wishes = (Wish("IPH", 5.0, 60.0),)
    a, b, c = paint(room, wishes, 8), paint(room, wishes, 8), paint(room, wishes, 9)
    assert np.array_equal(a.hu, b.hu) and np.array_equal(a.label, b.label) and not np.array_equal(a.label, c.label)


def test_two_kinds_share_no_voxel_and_both_show(room):
    p = paint(room, (Wish("IVH", 5.0, 66.0), Wish("SDH", 40.0, 66.0)), 5)
    ml = volumes(p.label, p)
    assert ml["SDH"] > 25 and ml["IVH"] > 2.5 and ml["total"] == pytest.approx(ml["SDH"] + ml["IVH"])
    assert {b.subtype for b in p.bleeds} == {"IVH", "SDH"}


def test_no_place_is_one_clear_line(room):
    with pytest.raises(DataError, match=r"holds [\d.]+ mL of 100 mL IVH; ask for less"):
        paint(room, (Wish("IVH", 100.0, 66.0),), 1)


def test_no_head_is_one_clear_line(head):
    scan, cavity = head
    small = np.zeros_like(cavity)
    small[10, 100:120, 100:120] = True
    with pytest.raises(DataError, match="give a whole, non-contrast head CT"):
        enter(scan, small)


def test_bone_alone_finds_most_of_the_cavity(head):
    scan, cavity = head
    assert dice(bone_cavity(scan), cavity) > 0.85


def test_point_spread_is_seen(head):
    from scipy import ndimage

    scan, _ = head
    hu = ndimage.gaussian_filter(scan.hu, (0, 1.0 / scan.spacing[0], 1.0 / scan.spacing[1]))
    assert 0.3 <= _point_spread(scan) < _point_spread(Scan(hu, scan.spacing, scan.positions)) <= 1.2


def test_training_reads_painted_scans(painted, tmp_path):
    write_cache(tmp_path, painted["EDH"])
    data = np.load(tmp_path / "painted-head-3.npy")
    assert data.shape == (14, PLANES, MARGIN_SIZE, MARGIN_SIZE) and data.dtype == np.uint8
    cache = Cache(tmp_path, settings_for("bleed"))
    assert cache.refresh() == 1 and len(cache.by_subtype[4]) >= 3 and not any(cache.by_subtype[:4])


def test_thin_slices_become_slabs():
    label = np.zeros((5, 2, 2), np.uint8)
    label[:, 0] = 1
    label[:2, 0, 0] = 6
    out = _slab_labels(label, np.array([0, 0, 0, 1, 1]))
    assert out[0].tolist() == [[6, 1], [0, 0]] and out[1].tolist() == [[1, 1], [0, 0]]


@pytest.mark.parametrize("blood, starts", [([0] * 3 + [9] * 3 + [0] * 14, [0, 7]), ([5] * 7, [0, 0]), ([0] * 9 + [1], [3, 0])])
def test_stretches_hold_the_blood(blood, starts):
    assert _stretches(np.array(blood), 7, 2) == starts


def test_command_paints_a_nifti_file(head, tmp_path, capsys):
    scan, _ = head
    gap = float(scan.positions[1] - scan.positions[0])
    affine = np.diag([-scan.spacing[1], -scan.spacing[0], gap, 1])  # columns to the left, rows to the back
    path = tmp_path / "site.nii.gz"
    nibabel.save(nibabel.Nifti1Image(scan.hu.transpose(2, 1, 0).astype(np.int16), affine), path)
    assert np.array_equal(read_scan(path).hu, np.maximum(scan.hu, -1024))
    asked = ["paint", "--scan", str(path), "--seed", "4", "--type", "SDH", "--ml", "20"]
    assert main([*asked, "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]) == 0
    p = heads.load(tmp_path / "out/site-4.npz")
    assert volumes(p.label, p)["SDH"] == pytest.approx(20, rel=0.3) and (tmp_path / "out/site-4.png").exists()
    assert (tmp_path / "cache/painted-site-4.npy").exists()
    assert "site-4: SDH" in capsys.readouterr().out
    assert main([*asked[:-2], "--ml", "500", "--out", str(tmp_path)]) == 2


def test_a_draw_that_has_no_place_is_drawn_anew(room):
    p = painting(room, 12)
    assert 1 <= len(p.bleeds) <= 2 and volumes(p.label, p)["total"] > 0.2


def test_a_painting_has_one_name_kept_or_fresh(room, tmp_path):
    fresh = kept("head", 0, tmp_path, lambda: room)
    again = kept("head", 0, tmp_path, lambda: pytest.fail("painted twice"))
    assert fresh.name == again.name == "head-table0" and np.array_equal(fresh.label, again.label)
