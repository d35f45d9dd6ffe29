"""Folders of real heads with labelled blood: what counts as one, and what is measured on it."""

import nibabel as nib
import numpy as np
import pytest

from ich.datasets.volume import DataError
from ich.heads import bleeding
from ich.product.scan import Scan

AFFINE = np.diag([-2.0, -2.0, 5.0, 1.0])  # voxels run to the left, to the back, upwards: as canonical arrays do


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array.transpose(2, 1, 0).astype(np.int16), AFFINE), path)


@pytest.fixture
def head():
    hu, mask = np.full((4, 20, 16), 30.0), np.zeros((4, 20, 16), int)
    hu[1:3, 5:9, 4:8] = 60
    mask[1:3, 5:9, 4:8] = 1
    return hu, mask


def test_layouts(tmp_path, head):
    hu, mask = head
    write(tmp_path / "a.nii.gz", hu)
    write(tmp_path / "a_mask.nii.gz", mask)
    write(tmp_path / "b" / "ct.nii.gz", hu)
    write(tmp_path / "b" / "mask.nii.gz", mask * 3)
    write(tmp_path / "without.nii.gz", hu)
    found = bleeding.cases(tmp_path)
    assert [(c.name, c.set) for c in found] == [("a", tmp_path.name), ("b", tmp_path.name)]
    for case, value in zip(found, (1, 3)):
        scan, got = bleeding.read(case)
        assert (scan.hu == hu).all() and (got == mask * value).all() and scan.spacing == (2.0, 2.0) and scan.kind == bleeding.KIND


@pytest.mark.parametrize("name, array, what", [
    ("a_mask.nii.gz", np.zeros((4, 20, 15)), "mask has 4x20x15"),
    ("a_mask.nii.gz", np.full((4, 20, 16), 9), "values 9 to 9"),
    ("other.nii.gz", np.zeros((4, 20, 16)), "holds no scan with a mask"),
])
def test_what_is_no_case_gets_one_line(tmp_path, head, name, array, what):
    write(tmp_path / "a.nii.gz", head[0])
    write(tmp_path / name, array)
    with pytest.raises(DataError, match=what) as err:
        bleeding.read(bleeding.cases(tmp_path)[0])
    assert "\n" not in str(err.value)


def test_measured_by_hand(head):
    hu, mask = head
    scan = Scan(hu, (2.0, 2.0), np.arange(4) * 5.0, None, "a", bleeding.KIND)  # 0.02 mL a voxel
    found = np.ones(hu.shape, np.uint8)
    found[1:3, 5:9, 4:6] = 2  # half of it
    found[1, 5:9, 8:10] = 5  # beside it, within 5 mm
    found[3, 18, 2:7] = 5  # far away
    row = bleeding.measure(scan, mask, found > 0, found, "set")
    assert row["truth_ml"] == {"total": pytest.approx(32 * 0.02)} and row["marked_ml"] == pytest.approx(16 * 0.02)
    assert row["extra_axial_away_ml"] == pytest.approx(5 * 0.02) and row["false_ml"] == pytest.approx(13 * 0.02)
    assert row["dice"]["any"] == pytest.approx((2 * 16 + 1) / (29 + 32 + 1))
    told = bleeding.measure(scan, mask * 2, found > 0, found, "set")
    assert told["dice"]["IPH"] == pytest.approx((2 * 16 + 1) / (16 + 32 + 1)) and told["truth_ml"]["IPH"] == pytest.approx(0.64)
