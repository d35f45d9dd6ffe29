"""Metrics and tests of significance against hand-computed values and against scikit-learn, MONAI and the formulas."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate

from ich.paper.report import stats
from ich.paper.report.metrics import dice, mean_of, precision, recall


@pytest.mark.parametrize(
    "tp, fp, fn, d, p, r",
    [
        (0, 0, 0, 1.0, 1.0, 1.0),  # no blood and none found
        (0, 9, 0, 1 / 10, 1 / 10, 1.0),  # no blood, nine voxels found
        (0, 0, 4, 1 / 5, 1.0, 1 / 5),  # all missed
        (3, 1, 4, 7 / 12, 4 / 5, 4 / 8),
        (50, 0, 0, 1.0, 1.0, 1.0),
    ],
)
def test_equations_by_hand(tp, fp, fn, d, p, r):
    assert dice(tp, fp, fn) == pytest.approx(d)
    assert precision(tp, fp, fn) == pytest.approx(p)
    assert recall(tp, fp, fn) == pytest.approx(r)


def test_equations_against_scikit_learn_and_monai(rng):
    """Without epsilon the three are sklearn's scores and MONAI's DiceMetric; epsilon adds one voxel above and below."""
    from monai.metrics import DiceMetric
    from sklearn.metrics import f1_score, precision_score, recall_score

    truth, found = rng.random((4, 3, 20, 20)) < 0.3, rng.random((4, 3, 20, 20)) < 0.4
    tp, fp, fn = ((x).sum((1, 2, 3)) for x in (truth & found, ~truth & found, truth & ~found))
    monai = DiceMetric(include_background=True, reduction="none")(torch.from_numpy(found[:, None]).float(), torch.from_numpy(truth[:, None]).float())
    for v in range(4):
        t, f = truth[v].ravel(), found[v].ravel()
        above, below = 2 * tp[v], 2 * tp[v] + fp[v] + fn[v]
        assert above / below == pytest.approx(f1_score(t, f)) == pytest.approx(float(monai[v, 0]), abs=1e-6)
        assert dice(tp, fp, fn)[v] == pytest.approx((f1_score(t, f) * below + 1) / (below + 1))
        assert precision(tp, fp, fn)[v] == pytest.approx((precision_score(t, f) * f.sum() + 1) / (f.sum() + 1))
        assert recall(tp, fp, fn)[v] == pytest.approx((recall_score(t, f) * t.sum() + 1) / (t.sum() + 1))


def test_mean_over_volumes_and_seeds():
    one = mean_of(np.array([0.2, 0.4, 0.9]))
    assert (one.n, one.spread) == (3, None)
    assert one.mean == pytest.approx(0.5) and one.sd == pytest.approx(math.sqrt((0.09 + 0.01 + 0.16) / 2))
    two = mean_of(np.array([[0.2, 0.4, 0.9], [0.4, 0.6, 0.5]]))  # volumes 0.3, 0.5, 0.7; seeds 0.5, 0.5
    assert two.n == 3 and two.mean == pytest.approx(0.5) and two.sd == pytest.approx(0.2) and two.spread == pytest.approx(0.0)
    assert two.percent() == "50.00 ± 20.00"
    assert mean_of(np.array([[0.7]])).sd == 0.0


def t_tail(t: float, df: float) -> float:
    """Two-sided p of Student's t by integration of its density."""
    norm = math.gamma((df + 1) / 2) / (math.sqrt(df * math.pi) * math.gamma(df / 2))
    return 2 * integrate.quad(lambda x: norm * (1 + x * x / df) ** (-(df + 1) / 2), abs(t), math.inf)[0]


def test_welch_by_its_formula(rng):
    a, b = rng.normal(0.4, 0.3, 12), rng.normal(0.6, 0.1, 30)
    va, vb = a.var(ddof=1) / 12, b.var(ddof=1) / 30
    df = (va + vb) ** 2 / (va**2 / 11 + vb**2 / 29)  # Welch and Satterthwaite
    assert stats.welch(a, b) == pytest.approx(t_tail((a.mean() - b.mean()) / math.sqrt(va + vb), df), rel=1e-6)
    assert stats.welch(b, a) == pytest.approx(stats.welch(a, b))


def test_paired_by_its_formula(rng):
    a = rng.normal(0.4, 0.3, 20)
    b = a + rng.normal(0.05, 0.05, 20)
    d = b - a
    t = d.mean() / (d.std(ddof=1) / math.sqrt(20))
    assert stats.paired(a, b) == pytest.approx(t_tail(t, 19), rel=1e-6)
    assert stats.paired(a, b) < 0.01 < stats.welch(a, b)  # what pairing is for
    low, high = stats.interval(a, b)
    assert low < d.mean() < high and (low > 0) == (stats.paired(a, b) < 0.05)


def test_tests_where_they_are_not_defined():
    same = np.full(5, 0.5)
    assert stats.welch(same, same) == stats.paired(same, same) == 1.0
    assert stats.welch(same, same + 0.1) is None and stats.paired(same, same + 0.1) is None
    assert stats.welch([0.1], [0.2, 0.3]) is None and stats.paired([0.1], [0.2]) is None and stats.interval([0.1], [0.2]) is None


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03, None]) == pytest.approx([0.03, 0.06, 0.06, None])
    assert stats.holm([0.6, 0.7]) == [1.0, 1.0]
    assert stats.holm([]) == []


def test_holm_keeps_the_family_error(rng):
    """Of 400 studies without any true difference, about 5 % may claim one after correction, far more before it."""
    p = rng.random((400, 45))
    claims = np.mean([min(stats.holm(list(row))) < 0.05 for row in p])
    assert claims < 0.09 and np.mean(p.min(axis=1) < 0.05) > 0.8


def test_pairs_compare_common_volumes():
    values = {"x": {"1": 0.1, "2": 0.5, "3": 0.4}, "y": {"1": 0.3, "2": 0.6, "3": 0.7, "4": 0.9}, "z": {"4": 0.1}}
    xy, xz, yz = stats.pairs(values)
    assert (xy.a, xy.b, xy.n) == ("x", "y", 3) and xy.difference == pytest.approx(0.2)
    assert xy.paired == pytest.approx(stats.paired([0.1, 0.5, 0.4], [0.3, 0.6, 0.7]))
    assert xy.welch == pytest.approx(stats.welch([0.1, 0.5, 0.4], [0.3, 0.6, 0.7, 0.9]))
    assert xz.n == 0 and xz.paired is None and math.isnan(xz.difference) and yz.n == 1
    turned = stats.find([xy, xz, yz], "y", "x")
    assert turned.difference == pytest.approx(-0.2) and turned.interval == pytest.approx((-xy.interval[1], -xy.interval[0]))
    assert turned.paired == xy.paired and stats.find([xy], "x", "w") is None


def test_power_remark():
    """SD 0.3: 0.1 Dice takes about 140 volumes a method (two-sided 0.05, power 0.8); 36 volumes show 0.2."""
    assert 135 <= stats.volumes_needed(0.3, 0.1) <= 145
    assert stats.detectable(0.3, 36) == pytest.approx(0.198, abs=0.002)
    assert stats.volumes_needed(0.3, 1.001 * stats.detectable(0.3, 36)) == 36


def test_detectable_difference_is_detected_as_often_as_promised(rng):
    n, sd = 40, 0.25
    gap = stats.detectable(sd, n)
    hits = np.mean([stats.welch(rng.normal(0, sd, n), rng.normal(gap, sd, n)) < 0.05 for _ in range(600)])
    assert hits == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize("p, text", [(None, "n/a"), (0.0002, "<0.001"), (0.0432, "0.043"), (0.31, "0.31")])
def test_p_text(p, text):
    assert stats.p_text(p) == text
