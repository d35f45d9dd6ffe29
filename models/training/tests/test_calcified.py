"""Heads with large calcifications: made from their number alone, without blood, and judged by what is marked in or beside each."""

import numpy as np
import pytest

from ich.heads import calcified
from ich.product import evaluate, judge
from ich.heads.calcified import Calcified, called
from ich.product.evaluate import Source, Wanted
from test_evaluate import BUNDLE, row


@pytest.fixture(scope="module")
def head():
    return calcified.make(1, 0.12)


def test_a_head_holds_every_kind_and_no_blood(head):
    assert head.label.max() == 1 and head.kind == "calcified" and head.bleeds == ()
    shown = [(kind, ml) for kind, ml in head.pieces if ml >= calcified.LEAST_ML]
    assert {kind for kind, _ in shown} == {"pineal", "choroid", "falx", "basal ganglia"}
    assert sum(ml for _, ml in shown) > 1  # large: training seldom draws half a millilitre
    for k, (kind, ml) in enumerate(head.pieces, 1):
        if ml >= calcified.LEAST_ML:
            inside = head.near == k
            assert head.ml(inside) > ml and np.percentile(head.hu[inside], 95) > 65, kind  # brighter than brain, some as bright as blood
    outside = (head.label == 1) & (head.near == 0)
    assert np.median(head.hu[outside]) < 45 and not head.near[head.label == 0].any()


def test_the_same_head_every_time_and_from_the_cache(head, tmp_path):
    kept = calcified.held_out(1, 0.12, tmp_path)
    assert np.array_equal(head.hu, kept.hu) and np.array_equal(head.near, kept.near) and head.pieces == kept.pieces
    read = calcified.held_out(1, 0.12, tmp_path)  # from the file
    assert [p.name for p in tmp_path.iterdir()] == ["calcified001w.npz"]
    assert np.array_equal(read.hu, kept.hu.clip(-1024, 3071)) and np.array_equal(read.near, kept.near)
    assert (read.pieces, read.spacing, read.name, read.kind) == (kept.pieces, kept.spacing, kept.name, kept.kind)


def test_called_counts_what_is_marked_in_or_beside():
    near = np.zeros((2, 20, 20), np.uint8)
    near[0, 5:10, 5:9] = 1  # 20 voxels of 5 mm3: 0.1 mL with its border
    near[1, 5:15, 5:15] = 2
    scan = Calcified(np.zeros(near.shape, np.float32), (1.0, 1.0), np.array([0.0, 5.0]), np.ones(near.shape, np.uint8), "x", "calcified", near=near,
                     pieces=(("pineal", 0.06), ("falx", 0.4), ("choroid", 0.01)))
    found = np.ones(near.shape, np.uint8)
    found[0, 5, 5] = 2  # 0.005 mL of 0.06: less than a tenth
    found[1, 5, 5:14] = 5  # 0.045 mL of 0.4: more than a tenth
    found[1, 18, 18] = 2  # elsewhere
    one, two = called(scan, found)  # the third is too small to be judged by
    assert (one["kind"], one["called"], one["marked_ml"]) == ("pineal", False, pytest.approx(0.005))
    assert (two["kind"], two["called"], two["marked_ml"]) == ("falx", True, pytest.approx(0.045))


def test_judged_line_counts_every_calcification():
    of = lambda *calls: [{"kind": "falx", "ml": 1.0, "marked_ml": 0.5, "called": c} for c in calls]  # noqa: E731
    rows = [row("calcified", calcifications=of(False, False, False), false=0.1), row("calcified", calcifications=of(True), false=1.4)]
    (line,) = judge.judged(rows)  # they count nowhere else
    assert (line["what"], line["value"], line["n"], line["met"]) == ("calcifications not called a bleed", 0.75, 4, False)
    assert line["detail"] == "2 heads, most 1.40 mL false"


def test_evaluation_measures_them(head, tmp_path):
    part = slice(14, 30)
    small = Calcified(head.hu[part], head.spacing, head.positions[part], head.label[part], "calcified000", head.kind, near=head.near[part], pieces=head.pieces)
    calcified.save(tmp_path / "cache/calcified000.npz", small)
    result = evaluate.evaluate(Source(bundle=BUNDLE), Wanted(calcified=1, cache=tmp_path / "cache"), tmp_path / "out", processes=1, progress=False)
    assert [c["kind"] for c in result["calcified"][0]["calcifications"]].count("choroid") == 2
    assert [j["what"] for j in result["judged"]] == ["calcifications not called a bleed"] and result["clinical"] is None
    assert (tmp_path / "out/calcified/calcified000.png").stat().st_size > 1000
