"""Where a clot ends: fitted on named heads, written into the bundle, and those heads judge no more."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ich.bundles import edge, manifest
from ich.datasets.volume import DataError
from ich.product import judge
from ich.product.reader import Reader, end_clots

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "ichor-synthetic"
AFFINE = np.diag([-2.0, -2.0, 5.0, 1.0])


def test_the_edge_is_a_share_of_the_core():
    label = np.ones((1, 1, 33), np.uint8)
    label[0, 0, :10], label[0, 0, 11:21], label[0, 0, 22:32] = 2, 3, 5  # IPH, IVH, SDH
    chance = np.zeros(label.shape, np.float32)
    chance[0, 0, :10] = chance[0, 0, 22:32] = [0.5, 0.6, 0.75, 0.78, 0.79, 0.9, 0.9, 0.95, 0.95, 1.0]  # core 0.95: from 0.76 on
    chance[0, 0, 11:21] = [0.5] * 5 + [0.6] * 5  # faint as a whole: from 0.48 on
    assert end_clots(label, chance, 0.8).ravel().tolist() == [1] * 3 + [2] * 7 + [1] + [3] * 10 + [1] + [5] * 10 + [1]  # no core in a layer
    assert end_clots(label, chance, 0) is label


@pytest.fixture
def site(tmp_path):
    """Three heads whose masks are what the reader of `answer` marks from 0.7 of the core on."""
    hu = np.full((4, 32, 32), 30.0)
    mask = np.zeros(hu.shape, int)
    mask[1:3, 10:16, 10:16] = 1
    folder = tmp_path / "SITE"
    folder.mkdir()
    for name in "abc":
        for suffix, array in (("", hu), ("_mask", mask)):
            nib.save(nib.Nifti1Image(array.transpose(2, 1, 0).astype(np.int16), AFFINE), folder / f"{name}{suffix}.nii.gz")
    return folder


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    prob = np.zeros((6, 4, 32, 32), np.float32)
    prob[0, 1:3, 8:18, 8:18] = 0.62
    prob[0, 1:3, 10:16, 10:16] = 0.8
    prob[0, 1:3, 11:15, 10:16] = 1.0
    prob[1] = 0.9 * prob[0]
    monkeypatch.setattr(Reader, "cavity", lambda self, scan: np.ones(scan.hu.shape, bool))
    monkeypatch.setattr(Reader, "probabilities", lambda self, scan, role: prob)
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    m = manifest.read(tmp_path / "bundle")  # without what the shipped one decides by
    manifest.network(m, "bleed")["post"] = {"min_component_ml": 0.1, "subtype_per": "voxel"}
    manifest.write(tmp_path / "bundle", m)
    return tmp_path / "bundle"


def test_fitted_on_named_heads(site, bundle):
    assert edge.fit(bundle, site, ["a", "c"], lambda text: None) == 0.65
    m = manifest.read(bundle)
    assert manifest.network(m, "bleed")["post"]["edge"] == 0.65 and edge.chosen_on(m) == {"SITE/a", "SITE/c"}
    assert Reader.of_bundle(bundle).post.edge == 0.65


@pytest.mark.parametrize("names, what", [(["a", "x"], "holds no x"), (["b"], "1 head named"), (["b", "b"], "1 head named")])
def test_wrong_names_change_nothing(site, bundle, names, what):
    before = (bundle / manifest.FILE).read_text()
    with pytest.raises(DataError, match=what):
        edge.fit(bundle, site, names)
    assert (bundle / manifest.FILE).read_text() == before


def test_heads_that_chose_it_do_not_judge():
    row = {"kind": "bleeding", "set": "s", "truth_ml": {"total": 5.0}, "found_ml": {"total": 5.0}, "marked_ml": 5.0, "extra_axial_away_ml": 0.0}
    rows = [row | {"name": n, "dice": {"any": d}, "chose_edge": n == "a"} for n, d in (("a", 1.0), ("b", 0.9), ("c", 0.8))]
    lines = {line["what"]: line for line in judge.judged(json.loads(json.dumps(rows)))}
    assert lines["real bleeding heads, any Dice"]["value"] == pytest.approx(0.85)
    assert lines["those that the edge was chosen on, any Dice"]["value"] == 1.0 and lines["real bleeding heads found"]["n"] == 3
