"""The ablation at toy size: one change at a time, on the same heads; what was done is not done again."""

import json

import numpy as np
import pytest

from ich.product import ablate as module
from ich.heads import heads
from ich.product.ablate import CHANGES, Wanted, ablate, settings
from ich.datasets.volume import DataError
from test_evaluate import row

TINY = Wanted(heads=1, visits=16, base=2, phantoms=2)


@pytest.fixture(scope="module")
def done(tmp_path_factory, bleeding):
    """One training head in four versions, five networks of one step, two held-out heads of a few slices."""
    out = tmp_path_factory.mktemp("ablation")
    low = int(np.clip((bleeding.label > 1).sum(axis=(1, 2)).argmax() - 4, 0, len(bleeding.label) - 8))
    part = slice(low, low + 8)  # where the blood is
    for i, label in enumerate((np.minimum(bleeding.label, 1), bleeding.label)):  # one normal, one not
        scan = heads.Scan(np.round(bleeding.hu[part]), (bleeding.pixel,) * 2, np.asarray(bleeding.positions[part]), label[part], "", "phantom")
        heads.save(out / "held-out" / f"{heads.name_of(i, heads.WIDEN)}.npz", scan)
    return out, ablate(TINY, out, lambda line: None)


def test_every_row_leaves_out_what_it_says(done):
    out, result = done
    assert list(result["rows"]) == list(CHANGES) and json.loads((out / "ablation.json").read_text())["rows"] == result["rows"]
    cached = {name: np.load(out / f"heads-{name}" / "p0.npy") for name in ("all", "no-hardening", "no-rim", "none")}
    assert len({a.tobytes() for a in cached.values()}) == 4
    sizes = np.array([(a[:7, 3] > 0).sum(axis=(1, 2)) for a in cached.values()])  # the same head; its middle, found by HU, may move by a pixel
    assert sizes.max() > 1000 and np.abs(sizes - sizes[0]).max() < 0.01 * sizes.max()
    drawn = {name: settings(TINY, c, 0).rim for name, c in CHANGES.items()}
    assert drawn == {"all": True, "no-hardening": True, "no-rim": True, "no-drawn-rim": False, "none": False}
    for row_ in result["rows"].values():
        assert row_["normal"] == 1 and 0 <= row_["dice_any"] <= 1 and row_["normal_raw_ml"] >= row_["normal_false_ml"] >= row_["normal_rim_ml"] >= 0
    lines = (out / "ablation.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[4:]] == [f"| {c.title}" for c in CHANGES.values()]


def test_run_again_does_only_what_is_missing(done):
    out, result = done
    (out / "none-0" / "measures.json").unlink()
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.pt")}
    again = ablate(TINY, out, lambda line: None)
    assert again["rows"] == result["rows"]
    assert {p.parent.name for p, t in before.items() if p.stat().st_mtime_ns != t} <= {"none-0"}
    with pytest.raises(DataError, match="other settings; give another --out"):
        ablate(Wanted(heads=2, visits=16, base=2, phantoms=2), out)


def test_repeats_begin_from_other_seeds_and_are_averaged():
    assert len({settings(TINY, CHANGES["all"], k).seed for k in range(3)}) == 3
    raw = {"raw_ml": 8.0, "raw_rim_ml": 5.0}
    normal, sick = row(false=1.0) | raw | {"blood": False}, row(truth={"IPH": 9.0}, dice={"any": 0.5}) | raw | {"blood": True}
    real = row("scan", false=4.0) | raw | {"blood": False, "name": "site"}
    s = module._summary([[normal, sick, real], [normal | {"false_ml": 3.0}, sick, real | {"false_ml": 6.0}]])
    assert (s["normal_false_ml"], s["normal_raw_ml"], s["normal"], s["dice_any"]) == (2.0, 8.0, 1, 0.5)
    assert s["scans"] == {"site": {"false_ml": [4.0, 6.0], "rim_ml": [2.0, 2.0], "raw_ml": [8.0, 8.0], "raw_rim_ml": [5.0, 5.0]}}
    text = module.table({"rows": {"all": s}, "wanted": module._wanted(TINY)})
    assert "| nothing left out | 0.50 | 2.00 | 8.00 (5.00) | 4.00, 6.00 | 8.00 (5.00), 8.00 (5.00) |" in text
