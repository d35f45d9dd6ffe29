"""Volumes as clinicians judge them, on heads built so that every figure is known."""

import json

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from ich.product.config import SUBTYPES
from ich.datasets.volume import DataError
from ich.paper.report import agreement, calibration, conformal
from ich.paper.report.clinical import HeadResult, clinical, head_row

IPH, IVH, SAH, SDH, EDH = range(2, 7)


def head(name="a", **blocks):
    """20 x 40 x 40 voxels of cavity; truth and found: lists of (label, slices, rows, columns). 1 mL is 100 voxels."""
    out = {}
    for what in ("truth", "found"):
        out[what] = np.zeros((20, 50, 50), np.uint8)
        out[what][:, 5:45, 5:45] = 1
        for label, z, y, x in blocks.get(what, ()):
            out[what][z[0] : z[1], y[0] : y[1], x[0] : x[1]] = label
    return HeadResult(name, out["truth"], out["found"], np.full(20, 0.01))


CUBE = ((2, 7), (10, 20), (10, 20))  # 500 voxels, 5 mL
HALF = ((2, 7), (10, 20), (10, 15))
FAR = ((12, 14), (30, 35), (30, 35))  # 50 voxels, 0.5 mL


def test_perfect_head():
    row = head_row(head(truth=[(IPH, *CUBE), (SDH, *FAR)], found=[(IPH, *CUBE), (SDH, *FAR)]))
    assert row["truth_ml"] == pytest.approx({"total": 5.5, "IPH": 5, "IVH": 0, "SAH": 0, "SDH": 0.5, "EDH": 0}) == row["found_ml"]
    assert [(b["subtype"], b["called"], b["marked"]) for b in row["lesions"]] == [("IPH", "IPH", 1.0), ("SDH", "SDH", 1.0)]
    assert not any(row["false_ml"].values()) and not any(row["misnamed_ml"].values()) and not any(row["false_components"].values())


def test_misnamed_missed_and_false():
    row = head_row(head(truth=[(IPH, *CUBE)], found=[(IVH, *HALF), (EDH, *FAR)]))
    assert row["lesions"] == [{"subtype": "IPH", "ml": pytest.approx(5.0), "marked": pytest.approx(0.5), "called": "IVH"}]
    assert row["misnamed_ml"]["IVH"] == pytest.approx(2.5) and row["false_ml"]["IVH"] == 0
    assert row["false_ml"]["EDH"] == row["false_ml"]["total"] == pytest.approx(0.5)
    assert row["false_components"] == {"total": 1, "IPH": 0, "IVH": 0, "SAH": 0, "SDH": 0, "EDH": 1}
    assert row["false_component_ml"]["EDH"] == pytest.approx(0.5)


def test_overshoot_is_false_volume_but_no_false_component():
    row = head_row(head(truth=[(IPH, *HALF)], found=[(IPH, *CUBE)]))
    assert row["false_ml"]["IPH"] == pytest.approx(2.5) and row["false_components"]["total"] == 0


def test_lesions_are_components_in_three_dimensions():
    """Corners join, a gap of one voxel parts; 5 voxels are a speck; 9 % marked is missed, 10 % found."""
    blocks = [(SDH, (0, 5), (5, 15), (5, 15)), (SDH, (5, 10), (15, 25), (15, 25)), (SDH, (11, 16), (26, 36), (26, 36)), (SAH, (18, 19), (40, 41), (30, 35))]
    row = head_row(head(truth=blocks, found=[(SDH, (11, 16), (26, 35), (26, 27))]))
    assert [round(b["ml"], 6) for b in row["lesions"]] == [10, 5] and row["specks"] == 1
    assert [b["called"] for b in row["lesions"]] == ["none", "none"] and row["lesions"][1]["marked"] == pytest.approx(0.09)
    row = head_row(head(truth=blocks, found=[(SDH, (11, 16), (26, 36), (26, 27))]))
    assert row["lesions"][1]["called"] == "SDH"


def test_uneven_slices():
    h = head(truth=[(IPH, *CUBE)], found=[(IPH, *CUBE)])
    row = head_row(HeadResult("a", h.truth, h.found, np.arange(20) / 1000))
    assert row["truth_ml"]["IPH"] == pytest.approx(row["lesions"][0]["ml"]) == pytest.approx(100 * (2 + 3 + 4 + 5 + 6) / 1000)


def test_shapes_and_labels_are_checked():
    h = head()
    with pytest.raises(DataError, match="found of shape"):
        HeadResult("a", h.truth, h.found[:3], h.voxel_ml)
    with pytest.raises(DataError, match="probability of shape"):
        HeadResult("a", h.truth, h.found, h.voxel_ml, np.zeros(3))
    with pytest.raises(DataError, match="voxel_ml"):
        HeadResult("a", h.truth, h.found, h.voxel_ml[:3])
    with pytest.raises(DataError, match="label 7"):
        HeadResult("a", h.truth, h.found + np.uint8(6), h.voxel_ml)


def test_whole_set():
    """Three lesions of 0.5, 5 and 40 mL, the small one missed; two normal heads, one of them with 0.5 mL false blood."""
    large = ((2, 18), (10, 35), (10, 20))
    heads = [
        head("s", truth=[(SDH, *FAR)]), head("m", truth=[(SDH, *CUBE)], found=[(SDH, *CUBE)]),
        head("l", truth=[(EDH, *large)], found=[(SDH, *large)]), head("n"), head("f", found=[(IVH, *FAR)]),
    ]
    c = clinical(map(head_row, heads))
    json.dumps(c, allow_nan=False)
    assert (c["heads"], c["bleeding"], c["calibration"]) == (5, 3, None)
    found = lambda k: {size: (v["n"], v["found"]["share"], v["named_right"]["share"]) for size, v in c["detection"]["lesions"][k].items()}  # noqa: E731
    assert found("total") == {"all": (3, pytest.approx(2 / 3), pytest.approx(1 / 3)), "<1 mL": (1, 0, 0), "5-30 mL": (1, 1, 1), ">30 mL": (1, 1, 0)}
    assert found("SDH") == {"all": (2, 0.5, 0.5), "<1 mL": (1, 0, 0), "5-30 mL": (1, 1, 1)} and found("IPH") == {}
    assert c["detection"]["heads"]["sensitivity"]["share"] == pytest.approx(2 / 3) and c["detection"]["heads"]["specificity"]["share"] == 0.5
    normal = c["false_positives"]["normal"]
    assert (normal["heads"], normal["mean_ml"], normal["components_by"]["IVH"]) == (2, pytest.approx(0.25), 0.5)
    assert normal["below_0.5_ml"]["share"] == 0.5 and normal["below_1_ml"]["share"] == 1.0
    assert c["false_positives"]["bleeding"]["misnamed_ml_by"]["SDH"] == pytest.approx(40 / 3)
    assert c["agreement"]["total"]["n"] == 4 and c["agreement"]["total"]["bias_ml"] == pytest.approx(0.0)
    assert c["agreement"]["EDH"]["bias_ml"] == pytest.approx(-40) and c["agreement"]["EDH"]["limits_ml"] is None


def test_nothing_at_all():
    c = clinical([head_row(head())])
    json.dumps(c, allow_nan=False)
    assert c["agreement"]["total"]["bias_ml"] is None and c["detection"]["lesions"] == {k: {} for k in ("total", *SUBTYPES)}
    assert clinical([])["heads"] == 0


def test_bland_altman_by_hand():
    """Differences 1, -1, 2, 2: bias 1, SD sqrt(2); limits 1 -+ 1.96 sqrt(2). A pair of zeros changes nothing."""
    a = agreement.bland_altman([10, 20, 30, 40, 0], [11, 19, 32, 42, 0])
    assert (a["n"], a["heads"]) == (4, 5) and a["bias_ml"] == pytest.approx(1.0) and a["sd_ml"] == pytest.approx(2**0.5)
    assert a["limits_ml"] == pytest.approx([1 - 1.96 * 2**0.5, 1 + 1.96 * 2**0.5], abs=1e-4)
    half = 3.182446 * 2**0.5 / 2  # t(0.975, 3) SD / sqrt(4)
    assert a["bias_ci_ml"] == pytest.approx([1 - half, 1 + half], abs=1e-5)
    assert a["limits_ci_ml"][1][1] - a["limits_ml"][1] == pytest.approx(half * (1 + 4 * 1.96**2 / 6) ** 0.5, abs=1e-3)
    assert a["mean_error_ml"] == pytest.approx(1.5) and a["right"]["share"] == 1.0


def test_bland_altman_sees_errors_that_grow():
    truth = np.linspace(1, 50, 40)
    a = agreement.bland_altman(truth, 0.7 * truth)
    assert a["slope"] == pytest.approx(-0.3 / 0.85) and a["slope_p"] < 1e-6 and a["pearson"] == pytest.approx(1.0)
    assert a["right"]["share"] == pytest.approx(np.mean(0.3 * truth <= 1))


def test_limits_hold_95_percent(rng):
    error = rng.normal(0.5, 2.0, 4000)
    truth = rng.uniform(20, 60, 4000)
    low, high = agreement.bland_altman(truth, truth + error)["limits_ml"]
    assert np.mean((error > low) & (error < high)) == pytest.approx(0.95, abs=0.01)


def test_share_is_wilsons():
    assert agreement.share([True] * 8 + [False] * 2)["ci"] == pytest.approx([0.4902, 0.9433], abs=1e-4)
    low, high = agreement.share([True] * 5)["ci"]
    assert low == pytest.approx(0.5655, abs=1e-4) and high == pytest.approx(1.0)
    assert agreement.share([]) == {"n": 0, "share": None, "ci": None}


def test_calibration_against_scikit_learn(rng):
    from sklearn.calibration import calibration_curve

    p = rng.random(50_000)
    y = rng.random(50_000) < p**2  # too sure of itself: frequency is the square of the probability
    s = calibration.summary([calibration.counts(p[:20_000], y[:20_000]), calibration.counts(p[20_000:], y[20_000:])])
    frequency, mean = calibration_curve(y, p, n_bins=calibration.BINS)
    assert [b["frequency"] for b in s["bins"]] == pytest.approx(list(frequency)) and [b["probability"] for b in s["bins"]] == pytest.approx(list(mean))
    assert s["brier"] == pytest.approx(brier_score_loss(y, p)) and s["voxels"] == 50_000
    assert s["ece"] == pytest.approx(1 / 6, abs=0.01)  # integral of p - p^2
    assert s["mce"] == pytest.approx(0.25, abs=0.03) and s["ece_above"] >= s["ece"]


def test_calibration_of_what_is_right(rng):
    p = rng.random(100_000)
    s = calibration.summary([calibration.counts(p, rng.random(100_000) < p)])
    assert s["ece"] < 0.01 and s["brier_skill"] == pytest.approx(1 - (1 / 6) / 0.25, abs=0.02)
    sure = calibration.summary([calibration.counts(np.array([0.0, 1.0, 1.0]), np.array([False, True, True]))])
    assert sure["ece"] == sure["brier"] == 0.0 and sure["brier_skill"] == 1.0 and [b["from"] for b in sure["bins"]] == [0.0, 0.95]


def test_calibration_is_of_the_cavity():
    h = head(truth=[(IPH, *CUBE)])
    probability = np.where(h.truth == 0, 1.0, np.where(h.truth == IPH, 0.9, 0.0))
    s = clinical([head_row(HeadResult("a", h.truth, h.found, h.voxel_ml, probability))])["calibration"]
    assert s["voxels"] == 20 * 40 * 40 and s["ece_above"] == pytest.approx(0.1) and s["base_rate"] == pytest.approx(500 / 32_000)


def test_conformal_by_hand():
    """Scores 1 to 9: of ten heads with a new one 80 % lie below the 8th; 90 % takes the 9th; with 8 scores 90 % cannot be promised."""
    found = np.full(9, 3.0)  # sqrt(V' + 1) = 2
    truth = found + 2 * np.arange(1, 10)
    s = conformal.summary(truth, found)
    assert (s["levels"]["80%"]["k"], s["levels"]["90%"]["k"]) == (8.0, 9.0)
    assert conformal.summary(truth[:8], found[:8])["levels"]["90%"]["k"] is None
    assert conformal.interval(3.0, 2.0) == (0.0, 7.0) and conformal.interval(99.0, 2.0) == (79.0, 119.0)


def test_conformal_keeps_apart_what_was_not_found():
    truth, found = np.array([0.0] * 50 + [4.0] * 2 + [10.0] * 20), np.array([0.0] * 52 + [12.0] * 20)
    s = conformal.summary(truth, found)
    assert (s["n_found"], s["n_not_found"]) == (20, 52)
    assert s["levels"]["80%"]["k"] == pytest.approx(2 / 13**0.5) and s["levels"]["80%"]["missed_below_ml"] == 0.0


def test_conformal_coverage(rng):
    """Heavy tails and errors that grow with size: coverage holds all the same, on halves and on further heads."""
    def heads(n):
        truth = rng.lognormal(2, 1, n)
        return truth, np.maximum(truth + rng.standard_t(3, n) * np.sqrt(truth), 0.01)

    truth, found = heads(300)
    for level, s in conformal.summary(truth, found)["levels"].items():
        wanted = float(level.rstrip("%")) / 100
        assert s["coverage"]["mean"] == pytest.approx(wanted, abs=0.03) and s["coverage"]["p5"] > wanted - 0.12
        further, measured = heads(4000)
        assert np.mean(conformal.score(further, measured) <= s["k"]) == pytest.approx(wanted, abs=0.05)
    assert conformal.summary(truth[:6], found[:6])["levels"]["80%"]["coverage"] is None
