"""Measurement against hand-counted numbers, a bundle read as shipped, and the whole evaluation at toy size."""

import json
import math
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ich.product import evaluate as evaluating
from ich.heads import heads
from ich.product import judge
from ich.product.config import SUBTYPES, Post
from ich.datasets.volume import DataError
from ich.product.evaluate import Source, Wanted
from ich.product.measure import measure
from ich.heads.phantom.anatomy import draw_traits
from ich.product.reader import Reader
from ich.product.scan import Bleed, Scan, read_scan

BUNDLE = Path(__file__).parents[2] / "bundles/ichor-synthetic"


def labelled(kind="phantom"):
    """Four slices of 20x20 pixels of 1 mm, 5 mm apart: 5 mm3 a voxel. 40 voxels of IPH, 60 of SDH that is not acute."""
    label = np.zeros((4, 20, 20), np.uint8)
    label[:, 2:18, 2:18] = 1
    label[1, 4:8, 4:14] = 2
    label[2, 4:10, 4:14] = 5
    bleeds = (Bleed("IPH", 66.0, 0.2), Bleed("SDH", 45.0, 0.3))
    return Scan(np.zeros(label.shape, np.float32), (1.0, 1.0), np.arange(4) * 5.0, label, "x", kind, bleeds)


def test_measure_counts_by_hand():
    scan = labelled()
    found = (scan.label > 0).astype(np.uint8)
    found[1, 4:8, 4:9] = 2  # half of the IPH as IPH,
    found[1, 4:8, 9:12] = 5  # 12 voxels as SDH, 8 missed
    found[3, 16:18, 4:14] = 6  # 20 voxels where there is none, at the wall
    row = measure(scan, scan.label > 0, found)
    assert row["truth_ml"] == pytest.approx({"total": 0.5, "IPH": 0.2, "IVH": 0, "SAH": 0, "SDH": 0.3, "EDH": 0})
    assert row["found_ml"] == pytest.approx({"total": 0.26, "IPH": 0.1, "IVH": 0, "SAH": 0, "SDH": 0.06, "EDH": 0.1})
    assert row["dice"]["any"] == pytest.approx((2 * 32 + 1) / (100 + 52 + 1))  # the paper's epsilon of 1
    assert row["dice"]["IPH"] == pytest.approx((2 * 20 + 1) / (40 + 20 + 1)) and "EDH" not in row["dice"]
    assert row["cavity_dice"] == 1
    c = np.array(row["confusion_ml"])
    assert c[1].tolist() == pytest.approx([0.04, 0.1, 0, 0, 0.06, 0]) and c[0, 5] == pytest.approx(0.1) and c[0, 0] == 0
    iph, sdh = row["bleeds"]
    assert (iph["acute"], iph["called"], iph["marked"]) == (True, "IPH", pytest.approx(0.8))
    assert (sdh["acute"], sdh["called"], sdh["marked"]) == (False, "none", 0)
    assert (row["false_ml"], row["rim_ml"], row["false_largest_ml"]) == pytest.approx((0.1, 0.1, 0.1))


def test_a_rim_is_what_lies_at_the_wall():
    scan = labelled("scan")
    cavity, scan.label = scan.label > 0, None
    found = cavity.astype(np.uint8)
    found[1, 9:11, 9:11] = 5  # 7 mm from any wall
    found[2, 2, 2:12] = 5
    row = measure(scan, cavity, found)
    assert row["false_ml"] == pytest.approx(14 * 0.005) and row["rim_ml"] == pytest.approx(10 * 0.005)
    assert row["rim_slices_ml"] == {"2": pytest.approx(0.05)}


def test_uneven_slices_count_what_they_stand_for():
    scan = labelled()
    scan.positions = np.array([0.0, 5.0, 7.0, 9.0])
    assert scan.slice_ml().tolist() == pytest.approx([0.005, 0.0035, 0.002, 0.002])


def test_blood_that_nobody_labels_does_not_count():
    scan, found = labelled(), labelled().label.copy()
    faint = np.zeros(scan.label.shape, bool)
    faint[0, 5, 4:9] = True
    found[faint] = 5
    counted = measure(scan, scan.label > 0, found)
    assert scan.counted(found) is found
    scan.unseen = faint
    assert np.array_equal(scan.counted(found), scan.label)
    assert np.array_equal(scan.counted(np.ones(found.shape, np.float32), 0) == 0, faint)
    without = measure(scan, scan.label > 0, found)
    assert without["false_ml"] == 0 < counted["false_ml"] and without["dice"]["any"] == 1 > counted["dice"]["any"]


def row(kind="phantom", truth=None, found=None, dice=None, bleeds=(), false=0.0, **more):
    zero = dict.fromkeys(SUBTYPES, 0.0)
    t, f = zero | (truth or {}), zero | (found or {})
    return {"name": more.pop("name", "r"), "kind": kind, "marked_ml": min(sum(t.values()), sum(f.values())), "truth_ml": {"total": sum(t.values()), **t}, "found_ml": {"total": sum(f.values()), **f},
            "cavity_dice": 0.98, "dice": {"any": 1.0} | (dice or {}), "bleeds": list(bleeds), "false_ml": false, "rim_ml": false / 2,
            "confusion_ml": np.eye(6).tolist(), **more}


def bleed(subtype, ml, dice, acute=True, called=None):
    return {"subtype": subtype, "hu": 66.0 if acute else 45.0, "acute": acute, "truth_ml": ml, "marked": dice, "called": called or subtype, "dice": dice}


def test_judged_lines_pick_the_right_heads():
    rows = [row(false=0.2), row(false=0.7),
            row(truth={"IPH": 20.0}, found={"IPH": 17.0}, dice={"any": 0.9}, bleeds=[bleed("IPH", 20.0, 0.7)]),
            row(truth={"IPH": 3.0}, found={"IPH": 4.1}, dice={"any": 0.1}, bleeds=[bleed("IPH", 3.0, 0.1)]),  # too small to be judged
            row(truth={"SDH": 40.0}, dice={"any": 0.0}, bleeds=[bleed("SDH", 40.0, 0.0, acute=False)]),  # not acute
            row("painted", truth={"EDH": 9.0}, dice={"any": 0.9}, bleeds=[bleed("EDH", 9.0, 0.2, called="SDH")]),
            row("scan", false=1.5)]
    lines = {j["what"]: j for j in judge.judged(rows)}
    value = {k: j["value"] for k, j in lines.items()}
    assert value["any Dice, acute over 5 mL"] == 0.9 and lines["any Dice, acute over 5 mL"]["met"]
    assert value["IPH Dice, acute over 5 mL"] == 0.7 and not lines["IPH Dice, acute over 5 mL"]["met"]
    assert "SDH Dice, acute over 5 mL" not in lines  # nothing to judge by
    assert value["heads with every subtype within 20 % or 1 mL"] == pytest.approx(3 / 5)  # both normal heads, and 17 of 20 mL
    assert value["normal heads below 0.5 mL false"] == 0.5
    assert value["real heads without blood, most false mL"] == 1.5 and not lines["real heads without blood, most false mL"]["met"]
    assert value["painted, right name over 2 mL"] == 0 and value["painted, any Dice"] == 0.9 and value["painted, EDH Dice"] == 0.2
    assert value["painted, found from 5 mL on"] == 1


def test_the_headline_is_the_real_like_mix():
    rows = [row("mix", false=0.5), row("mix", false=0.6), row("mix", false=0.0),
            row("mix", truth={"IPH": 20.0}, found={"IPH": 19.0}, dice={"any": 0.9}, bleeds=[bleed("IPH", 20.0, 0.9)]),
            row("mix", truth={"SAH": 1.5}, found={"SAH": 0.1}, dice={"any": 0.1}, bleeds=[bleed("SAH", 1.5, 0.05, called="none")]),  # a trace is not found
            row("mix", truth={"SAH": 0.5}, dice={"any": 0.0}), row("mix", false=7.0, bleeds=[bleed("SDH", 0.0, 0.0)])]
    lines = judge.judged(rows)  # the last one bleeds where no reader would see it: nothing is said of what is found there
    assert lines[0]["what"] == "mix, any Dice of heads that bleed" and lines[0]["value"] == pytest.approx(1 / 3)
    by = {j["what"]: j for j in lines}
    assert by["mix, heads with 1 mL or more found"]["value"] == 0.5 and by["mix, heads with 1 mL or more found"]["n"] == 2
    assert by["mix, heads without blood at most 0.5 mL false"]["value"] == pytest.approx(2 / 3)
    low, high = by["mix, heads without blood at most 0.5 mL false"]["ci"]
    assert (low, high) == (pytest.approx(0.2077, abs=1e-3), pytest.approx(0.9385, abs=1e-3))  # Wilson, 2 of 3


def test_sensitivity_by_size_and_density():
    rows = [row("mix", truth={"IPH": 10.0}, bleeds=[bleed("IPH", 10.0, 0.9)]),
            row("mix", truth={"SDH": 10.0}, bleeds=[bleed("SDH", 10.0, 0.5, acute=False, called="EDH")]),
            row("mix", truth={"SDH": 0.6}, bleeds=[bleed("SDH", 0.6, 0.0, acute=False, called="none")])]
    s = judge.summary(rows)["mix"]["sensitivity"]
    assert set(s) == {"total", "IPH", "SDH"} and s["total"]["5-20 mL"]["n"] == 2 and s["total"]["0-50 HU"]["n"] == 2
    assert s["SDH"]["all"]["found"]["share"] == 0.5 and s["SDH"]["all"]["named_right"]["share"] == 0
    assert s["IPH"]["over 65 HU"]["dice"] == 0.9 and s["IPH"]["over 65 HU"]["dice_ci"] is None  # one hemorrhage has no interval


def test_means_have_intervals():
    assert judge.interval([1.0, 1.0, 1.0]) == [1.0, 1.0] and judge.interval([0.2, 0.4], np.mean) is None and judge.interval([1.0, 2.0, 3.0], max) is None
    low, high = judge.interval(list(np.linspace(0, 1, 50)))
    assert 0.35 < low < 0.5 < high < 0.65


def test_summary_by_size_and_density():
    rows = [row(truth={"IPH": 10.0}, dice={"any": 0.9, "IPH": 0.9}, bleeds=[bleed("IPH", 10.0, 0.9)]),
            row(truth={"SDH": 10.0}, dice={"any": 0.5, "SDH": 0.5}, bleeds=[bleed("SDH", 10.0, 0.5, called="EDH")]),
            row(truth={"SDH": 60.0}, dice={"any": 0.2, "SDH": 0.2}, bleeds=[bleed("SDH", 60.0, 0.2, acute=False, called="none")])]
    s = judge.summary(rows)["phantom"]
    assert s["by_size"] == {"5-20": {"n": 2, "found": 1.0, "called_right": 0.5, "marked": pytest.approx(0.7), "dice": pytest.approx(0.7)}}
    assert s["by_density"]["isodense"]["found"] == 0 and s["by_density"]["acute"]["n"] == 2
    assert s["confusion_ml"]["IPH"]["IPH"] == 3 and "normal_false_ml" not in s


def test_wide_heads_leave_the_training_ranges():
    inside = [draw_traits(np.random.default_rng(i)) for i in range(200)]
    wide = [draw_traits(np.random.default_rng(i), heads.WIDEN) for i in range(200)]
    for name, low, high in (("vault_mm", 3.5, 7.5), ("gray_hu", 34, 41)):
        assert all(low <= t[name] <= high for t in inside)
        assert min(t[name] for t in wide) < low and max(t[name] for t in wide) > high
        margin = heads.WIDEN * (high - low)
        assert all(low - margin <= t[name] <= high + margin for t in wide)
    kinds = [tuple(k for k, _, _ in heads.plan_of(i, heads.WIDEN).bleeds) for i in range(30)]
    assert sum(k == () for k in kinds) == 10 and {k[0] for k in kinds if k} == set(SUBTYPES)
    assert all(hu is not None for i in range(30) for _, _, hu in heads.plan_of(i, 0.0).bleeds)


def test_heads_survive_the_cache(tmp_path):
    scan = labelled()
    heads.save(tmp_path / "x.npz", scan)
    assert heads.load(tmp_path / "x.npz").unseen is None
    scan.unseen = scan.label == 1
    heads.save(tmp_path / "x.npz", scan)
    again = heads.load(tmp_path / "x.npz")
    assert np.array_equal(again.unseen, scan.unseen) and again.bleeds == scan.bleeds and np.array_equal(again.label, scan.label) and again.spacing == scan.spacing and again.kind == "phantom"
    assert heads.version_of(tmp_path) == heads.generator_version() == heads.version_of(tmp_path)


def test_whole_evaluation_of_the_shipped_bundle(small_head, tmp_path):
    heads.version_of(tmp_path / "cache")
    heads.save(tmp_path / "cache/head000.npz", small_head)
    heads.save(tmp_path / "cache/mix-judge000.npz", replace(small_head, kind="mix", unseen=np.zeros(small_head.hu.shape, bool)))
    (tmp_path / "real").mkdir()
    affine = np.diag([-small_head.spacing[1], -small_head.spacing[0], float(np.diff(small_head.positions)[0]), 1.0])
    for name, array in (("a", small_head.hu), ("a_mask", np.where(small_head.label > 1, small_head.label, 0))):
        nib.save(nib.Nifti1Image(array.transpose(2, 1, 0).astype(np.int16), affine), tmp_path / f"real/{name}.nii.gz")
    wanted = Wanted(phantoms=1, mix=1, bleeding=(tmp_path / "real",), cache=tmp_path / "cache")
    result = evaluating.evaluate(Source(bundle=BUNDLE), wanted, tmp_path / "out", processes=1, progress=False)
    lines = {j["what"]: j["value"] for j in result["judged"]}
    assert lines["real bleeding heads, any Dice"] == pytest.approx(lines["mix, any Dice of heads that bleed"], abs=2e-3) and lines["real bleeding heads found"] == 1
    assert result["bleeding"][0]["set"] == "real" and (tmp_path / "out/bleeding/a.png").stat().st_size > 1000
    assert result["clinical"]["of"] == "mix"
    assert result["phantoms"][0]["cavity_dice"] > 0.9 and result["phantoms"][0]["found_ml"]["total"] > 1
    assert {j["what"] for j in result["judged"]} >= {"cavity Dice", "any Dice, acute over 5 mL", "EDH Dice, acute over 5 mL"}
    assert json.loads((tmp_path / "out/evaluate.json").read_text()) == result
    assert (tmp_path / "out/clinical/agreement.png").stat().st_size > 1000
    assert result["clinical"]["heads"] == 1 and result["clinical"]["detection"]["lesions"]["EDH"]["all"]["n"] >= 1
    assert (tmp_path / "out/worst/head000.png").stat().st_size > 1000 and not math.isnan(result["summary"]["phantom"]["cavity_dice"]["mean"])


def test_bundle_brings_its_own_post_processing():
    reader = Reader.of_bundle(BUNDLE)
    manifest = json.loads((BUNDLE / "manifest.json").read_text())
    bleed_net = next(n for n in manifest["networks"] if n["role"] == "bleed")
    assert reader.post == Post(bleed_net["threshold"], **bleed_net["post"])
    assert set(reader.nets) == {n["role"] for n in manifest["networks"]}


@pytest.mark.parametrize("make, what", [
    (lambda p: Reader.of_bundle(p), "manifest.json: missing"),
    (lambda p: Reader.of_runs(p), "no checkpoints"),
    (lambda p: read_scan(p / "nowhere"), "missing"),
    (lambda p: read_scan(p), "0 files"),
])
def test_wrong_folders_get_one_line(tmp_path, make, what):
    with pytest.raises(DataError, match=what) as err:
        make(tmp_path)
    assert "\n" not in str(err.value)
