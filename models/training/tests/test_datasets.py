"""Loaders on small folders of the public layouts: orientation, millilitres, labels."""

import io
import pickle
from dataclasses import replace

import nibabel as nib
import numpy as np
import pydicom
import pytest
import trees
from PIL import Image

from ich.datasets import DataError, cq500, detect, open_dataset, rsna
from ich.datasets.geometry import Frame
from ich.datasets.volume import labels_of, support_mm
from ich.paper.methods.sets import Source
from ich.paper.methods.slices import balanced

ANY_ORIENTATION = ("RAS", "LAS", "LPS", "RPS", "LPI", "RAI", "ASL", "SPR", "PIR", "IRA")
SETS = {"hssayeni": trees.hssayeni, "seg-cq500": trees.segcq500, "cq500": trees.cq500, "rsna": trees.rsna, "instance": trees.instance, "bhsd": trees.bhsd}


def by_name(name, folder, cache):
    return {v.name: v for v in open_dataset(name, folder, cache)}


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_recognised_and_read_canonically(tmp_path, name):
    heads = SETS[name](tmp_path / "data")
    assert detect(tmp_path / "data") == name
    volumes = by_name(name, tmp_path / "data", tmp_path / "cache")
    assert set(volumes) == set(heads)
    for key, h in heads.items():
        scan = pickle.loads(pickle.dumps(volumes[key])).read()  # as a worker process would
        assert scan.hu.dtype == np.float32 and np.array_equal(scan.hu, h.hu), key
        assert scan.spacing == pytest.approx(h.spacing)
        assert np.allclose(np.diff(scan.positions), h.gap)
        if scan.mask is not None:
            assert np.array_equal(scan.mask > 0, h.mask > 0)
            assert (scan.mask > 0).sum((1, 2)) @ scan.voxel_ml() == pytest.approx((h.mask > 0).sum() * 0.5 * 0.4 * h.gap / 1000)


@pytest.mark.parametrize("codes", ANY_ORIENTATION)
def test_any_affine_gives_the_same_scan(tmp_path, codes):
    heads = trees.hssayeni(tmp_path, 1) if codes[2] not in "SI" else trees.hssayeni(tmp_path, 1, codes=codes)
    if codes[2] in "SI":  # the CSV of this set counts slices along the third axis
        h, name = heads["049"], "hssayeni"
    else:
        h, name = trees.head((2,)), "instance"
        trees.nifti(tmp_path / "train" / "data" / "001.nii.gz", h, codes=codes)
        trees.nifti(tmp_path / "train" / "label" / "001.nii.gz", h, "mask", codes=codes)
    scan = open_dataset(name, tmp_path)[0].read()
    assert np.array_equal(scan.hu, h.hu) and np.array_equal(scan.mask > 0, h.mask > 0)
    assert scan.hu[h.marker] == trees.MARKER_HU  # left, anterior, superior
    assert scan.positions[0] == pytest.approx(-20) and np.allclose(np.diff(scan.positions), 5) and scan.spacing == pytest.approx((0.5, 0.4))


def test_sheared_affine_keeps_left_on_the_left_and_the_millilitres(tmp_path):
    heads = trees.segcq500(tmp_path, tilt=18.5)
    path = tmp_path / "Seg-CQ500" / "data" / "volumes" / "CQ500-CT-243" / "CT.nii"
    m = nib.load(path).affine[:3, :3]
    cosine = m[:, 1] @ m[:, 2] / np.linalg.norm(m[:, 1]) / np.linalg.norm(m[:, 2])
    assert abs(cosine) == pytest.approx(np.sin(np.radians(18.5)), abs=1e-5)  # not orthogonal: what ITK refuses
    h, scan = heads["CQ500-CT-243"], by_name("seg-cq500", tmp_path, None)["CQ500-CT-243"].read()
    assert scan.hu[h.marker] == trees.MARKER_HU and np.array_equal(scan.hu, h.hu)
    assert scan.spacing == pytest.approx((0.5, 0.4), abs=1e-5) and np.allclose(np.diff(scan.positions), 0.625, atol=1e-5)
    by_determinant = (h.mask > 0).sum() * abs(np.linalg.det(m)) / 1000
    assert (scan.mask > 0).sum((1, 2)) @ scan.voxel_ml() == pytest.approx(by_determinant, rel=1e-5)


def test_tilt_up_to_thirty_degrees_keeps_axes():
    for tilt in (-30, -18.5, 0, 18.5, 30):
        array = trees.head().hu
        stored, ras = trees.store(array, (0.5, 0.4), 5.0, "RPI", tilt)
        lps = np.diag([-1.0, -1, 1, 1]) @ ras
        frame = Frame.of(lps)
        assert np.array_equal(frame.turn(stored), array) and np.allclose(np.diff(frame.positions(9)), 5)


@pytest.mark.parametrize("affine", [None, np.eye(4)], ids=["absent", "identity"])
def test_hssayeni_without_orientation_is_turned_as_the_papers_do(tmp_path, affine):
    heads = trees.hssayeni(tmp_path, 2)
    h, root = heads["050"], next(tmp_path.iterdir())
    stored = np.moveaxis(np.stack([np.rot90(p, -1) for p in h.hu]), 0, 2)  # so that rot90 of each slice is the slice
    trees.save(root / "ct_scans" / "050.nii", stored, affine, zooms=(0.4, 0.5, 5.0))
    scan = by_name("hssayeni", tmp_path, None)["050"].read()
    assert np.array_equal(scan.hu, h.hu)
    assert np.array_equal(scan.mask > 0, h.mask > 0)  # the mask kept its header; it is read as voxels of the CT
    if affine is None:
        assert scan.spacing == pytest.approx((0.5, 0.4)) and np.allclose(np.diff(scan.positions), 5)


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([0.4, 0.5, -5.0, 1])], ids=["lost", "made up"])
def test_a_mask_of_the_same_shape_is_voxels_of_the_ct(tmp_path, affine):
    heads = trees.instance(tmp_path)
    path = tmp_path / "train_2" / "label" / "001.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(nib.load(path, mmap=False).dataobj), affine), path)
    scan = by_name("instance", tmp_path, None)["001"].read()
    assert np.array_equal(scan.mask > 0, heads["001"].mask > 0)


def test_a_mask_in_another_order_of_axes_is_turned_by_its_own_header(tmp_path):
    heads = trees.instance(tmp_path)
    trees.nifti(tmp_path / "train_2" / "label" / "002.nii.gz", heads["002"], "mask", codes="IRA", dtype=np.uint8)
    scan = by_name("instance", tmp_path, None)["002"].read()
    assert np.array_equal(scan.mask > 0, heads["002"].mask > 0)


def test_padding_counts_as_air(tmp_path):
    heads = trees.instance(tmp_path)
    heads["001"].hu[:, :2] = -3024
    trees.nifti(tmp_path / "train_2" / "data" / "001.nii.gz", heads["001"])
    assert by_name("instance", tmp_path, None)["001"].read().hu.min() == -1024


@pytest.mark.parametrize("codes", ["LAS", "LAI"])
def test_hssayeni_labels_follow_the_slices(tmp_path, codes):
    heads = trees.hssayeni(tmp_path, packed=True, codes=codes)
    volumes = by_name("hssayeni", tmp_path, None)
    assert {n: (v.bleeding, v.types) for n, v in volumes.items()} == {
        "049": (False, frozenset()), "050": (True, {"IPH", "SDH"}), "051": (False, frozenset()), "052": (True, {"IPH", "SDH"})}
    scan = volumes["050"].read()
    bleeding = heads["050"].mask.any((1, 2))
    assert set(np.unique(scan.mask)) == {0, 1}  # 0/255 in the file
    assert np.array_equal(scan.labels[:, 0], bleeding) and np.array_equal(scan.labels[:, 4], bleeding) and not scan.labels[:, 5].any()


def test_segcq500_types_and_cavity(tmp_path):
    heads = trees.segcq500(tmp_path)
    volumes = by_name("seg-cq500", tmp_path, None)
    assert list(volumes) == ["CQ500-CT-61", "CQ500-CT-243"]  # as numbers
    assert volumes["CQ500-CT-243"].types == {"SDH"} and volumes["CQ500-CT-61"].types == {"IPH", "IVH"}
    one, two = volumes["CQ500-CT-243"].read(), volumes["CQ500-CT-61"].read()
    assert np.array_equal(one.cavity, heads["CQ500-CT-243"].cavity)
    blood = heads["CQ500-CT-243"].mask.any((1, 2))
    assert np.array_equal(one.labels[:, 4], blood)  # the only subtype of the volume is that of each slice with blood
    blood = heads["CQ500-CT-61"].mask.any((1, 2))
    assert (two.labels[blood, 1] == 255).all() and (two.labels[blood, 3] == 0).all() and not two.labels[~blood].any()


@pytest.mark.parametrize("above", ["", "qct07"])
def test_cq500_majority_and_series(tmp_path, above):
    heads = trees.cq500(tmp_path, above)
    volumes = by_name("cq500", tmp_path, None)
    assert volumes["CQ500-CT-0"].bleeding is True and volumes["CQ500-CT-0"].types == {"IPH"}  # SDH: one of three
    assert volumes["CQ500-CT-1"].bleeding is False
    assert {f.parent.name for v in volumes.values() for f in v.files} == {"CT PLAIN THIN"}
    scan = volumes["CQ500-CT-0"].read()
    assert np.array_equal(scan.hu, heads["CQ500-CT-0"].hu)
    assert (scan.labels[:, :2] == 255).all() and not scan.labels[:, 2:].any()
    assert not volumes["CQ500-CT-1"].read().labels.any()


def test_cq500_ranks_series_by_what_they_are():
    """Names as they occur, best first, with SliceThickness, ConvolutionKernel and ContrastBolusAgent of the header."""
    best_first = [
        ("CT Thin Plain", 0.625, "STANDARD", ""), ("CT PRE CONTRAST THIN", 0.625, "STANDARD", ""), ("CT 0.625mm", 0.625, "H31s", ""),
        ("CT Plain 3mm", 3.0, "SOFT", ""), ("CT 5mm", 5.0, ["STANDARD", "x"], ""), ("CT Thin Details", 0.625, "BONEPLUS", ""), ("CT 0.6", 0.6, "H60s", ""),
        ("CT 0.625mm-2", 0.625, "STANDARD", "OMNIPAQUE"), ("CT POST CONTRAST", 5.0, "STANDARD", ""), ("CT 4cc sec 150cc D3D on-2", 5.0, "BONE", "")]
    ranks = [cq500._rank(name, {"SliceThickness": mm, "ConvolutionKernel": kernel, "ContrastBolusAgent": agent}, 200 - i)
             for i, (name, mm, kernel, agent) in enumerate(best_first)]
    assert ranks == sorted(ranks)


def test_cq500_without_reads_is_unlabelled(tmp_path):
    trees.cq500(tmp_path)
    (tmp_path / "reads.csv").unlink()
    v = open_dataset("cq500", tmp_path)[0]
    assert v.bleeding is None and (v.read().labels == 255).all()


def test_dicom_orientation_decides_not_assumption(tmp_path):
    """Feet first, prone: rows and columns run the other way, and rising file order descends."""
    trees.cq500(tmp_path)
    folder = tmp_path / "CQ500CT0 CQ500CT0" / "Unknown Study" / "CT PLAIN THIN"
    h = trees.head(slices=16)
    for i in range(16):
        s, n, m = 15 - i, h.hu.shape[1] - 1, h.hu.shape[2] - 1
        corner = (-40 + m * h.spacing[1], -30 + n * h.spacing[0], -20 + s * h.gap)
        trees.slice_of(folder / f"CT{i:06d}.dcm", h.hu[s, ::-1, ::-1], corner, h, iop=(-1, 0, 0, 0, -1, 0))
    scan = by_name("cq500", tmp_path, None)["CQ500-CT-0"].read()
    assert np.array_equal(scan.hu, h.hu) and scan.positions[0] == pytest.approx(-20)


def test_jpeg_2000_slices_read(tmp_path):
    """One of the transfer syntaxes in which CQ500 is met."""
    heads = trees.cq500(tmp_path)
    for path in (tmp_path / "CQ500CT0 CQ500CT0" / "Unknown Study" / "CT PLAIN THIN").iterdir():
        ds = pydicom.dcmread(path)
        coded = io.BytesIO()
        Image.fromarray(ds.pixel_array.astype(np.uint16)).save(coded, "JPEG2000", no_jp2=True, irreversible=False)
        ds.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
        ds.PixelRepresentation = 0
        ds.PixelData = pydicom.encaps.encapsulate([coded.getvalue()])
        ds["PixelData"].VR = "OB"
        ds.save_as(path)
    assert np.array_equal(by_name("cq500", tmp_path, None)["CQ500-CT-0"].read().hu, np.maximum(heads["CQ500-CT-0"].hu, -1024))


def test_rsna_groups_series_and_keeps_labels_with_slices(tmp_path):
    heads = trees.rsna(tmp_path)
    volumes = by_name("rsna", tmp_path, tmp_path / "cache")
    assert {n: (v.group, v.bleeding, v.types) for n, v in volumes.items()} == {
        "1.9.1": ("ID_p1", True, {"EDH"}), "1.9.2": ("ID_p1", False, frozenset()), "1.9.3": ("ID_p2", True, {"IPH"})}
    scan = volumes["1.9.1"].read()
    assert scan.mask is None
    want = heads["1.9.1"].mask.any((1, 2))
    assert np.array_equal(scan.labels[:, 0], want) and np.array_equal(scan.labels[:, 5], want) and not scan.labels[:, 1:5].any()


def test_rsna_index_is_read_once_and_continues(tmp_path, monkeypatch):
    trees.rsna(tmp_path / "data")
    before = open_dataset("rsna", tmp_path / "data", tmp_path / "cache")
    file = next((tmp_path / "cache").glob("rsna-*.csv"))
    text = file.read_text()
    file.write_text(text[: int(len(text) * 0.6)])  # interrupted in the middle of a line
    calls, real = [], rsna._header
    monkeypatch.setattr(rsna, "_header", lambda folder, name: calls.append(name) or real(folder, name))
    assert open_dataset("rsna", tmp_path / "data", tmp_path / "cache") == before and 0 < len(calls) < 18
    calls.clear()
    assert open_dataset("rsna", tmp_path / "data", tmp_path / "cache") == before and not calls


def test_rsna_index_by_workers_is_the_same(tmp_path):
    trees.rsna(tmp_path / "data")
    names = sorted(p.stem for p in (tmp_path / "data" / "stage_2_train").iterdir() if p.stem != "ID_6431af929")
    assert rsna.index(tmp_path / "data", names, tmp_path / "one", 1) == rsna.index(tmp_path / "data", names, tmp_path / "two", 2)


def test_rsna_draw_takes_slices_not_volumes(tmp_path):
    trees.rsna(tmp_path)
    volumes = open_dataset("rsna", tmp_path, tmp_path / "cache")
    some = rsna.draw(volumes, 3, 4, seed=1)
    labels = np.concatenate([v.read().labels for v in some])
    assert labels[:, 0].sum() == 3 and len(labels) == 7
    assert [v.files for v in some] == [v.files for v in rsna.draw(volumes, 3, 4, seed=1)]
    assert [v.files for v in some] != [v.files for v in rsna.draw(volumes, 3, 4, seed=2)]


def test_rsna_for_a_pretext_is_as_many_slices_with_as_without(tmp_path):
    trees.rsna(tmp_path)
    everything = Source("rsna", tmp_path, tmp_path / "slices", 32)
    part = replace(everything, pretext=True, workers=2).slices((-50, 150))
    labels = part.store.labels[:, 0]
    assert labels.sum() == 4 and len(labels) == 8 and everything.slices((-50, 150)).store.labels[:, 0].sum() == 4
    assert len(balanced(part.store.labels, 3)) == 8  # the whole store, whatever the seed
    alone = replace(everything, pretext=True, stores=tmp_path / "others").slices((-50, 150))
    assert np.array_equal(part.store.images, alone.store.images)  # by two processes or one


def test_rsna_twelve_bits_that_came_round(tmp_path):
    """Unsigned 12-bit values under intercept 0 that went below 0 and came round at 4096."""
    trees.rsna(tmp_path)
    path = sorted((tmp_path / "stage_2_train").glob("ID_*2?cadc6af.dcm"))
    h = trees.head((2,), slices=6, seed=2)
    h.hu = np.maximum(h.hu, -1000)
    position = {p: s for s in range(6) for p in path if p.stem.endswith(f"2{s}cadc6af")}
    for p, s in position.items():
        stored = np.mod(h.hu[s], 4096).astype(np.uint16)
        trees.slice_of(p, h.hu[s], (-40, -30, -20 + s * 5), h, "1.9.3", "ID_p2", RescaleIntercept=0, PixelRepresentation=0, BitsStored=12, HighBit=11,
                       PixelData=stored.tobytes())
    assert len(position) == 6
    assert np.array_equal(by_name("rsna", tmp_path, tmp_path / "cache")["1.9.3"].read().hu, h.hu)


def test_bhsd_names_every_voxel(tmp_path):
    heads = trees.bhsd(tmp_path)
    volumes = by_name("bhsd", tmp_path, tmp_path / "cache")
    v = volumes["ID_05331dc6_ID_47213b7e2e"]
    assert v.types == {"EDH", "SDH"} and v.group == "ID_05331dc6" == volumes["ID_05331dc6_ID_0a0a0a0a0a"].group
    for name, h in heads.items():
        scan = volumes[name].read()
        assert np.array_equal(scan.mask, h.mask)
        assert np.array_equal(scan.labels[:, 1:], np.stack([(h.mask == k).any((1, 2)) for k in range(2, 7)], 1))


def test_bhsd_reads_masks_once(tmp_path, monkeypatch):
    trees.bhsd(tmp_path / "data")
    first = {v.name: v.types for v in open_dataset("bhsd", tmp_path / "data", tmp_path / "cache")}
    monkeypatch.setattr("ich.datasets.nifti.read", lambda *a, **k: pytest.fail("read again"))
    assert {v.name: v.types for v in open_dataset("bhsd", tmp_path / "data", tmp_path / "cache")} == first


def test_uneven_slices_count_with_their_own_support():
    assert support_mm(np.array([0.0, 4.0, 5.08, 12.08])).tolist() == pytest.approx([4, 2.54, 4.04, 7])
    assert support_mm(np.array([3.0])).tolist() == [5.0]


def test_labels_of_binary_masks():
    mask = np.zeros((2, 3, 3), np.uint8)
    mask[1, 1, 1] = 1
    assert labels_of(mask)[1].tolist() == [1, 255, 255, 255, 255, 255] and not labels_of(mask)[0].any()
    assert labels_of(mask, frozenset({"SDH"}))[1].tolist() == [1, 0, 0, 0, 1, 0]
    assert labels_of(mask, frozenset({"SDH", "IPH"}))[1].tolist() == [1, 255, 0, 0, 255, 0]
    mask[1, 0, 0] = 3
    assert labels_of(mask, frozenset({"IVH", "SDH"}))[1].tolist() == [1, 0, 1, 0, 255, 0]


def test_a_data_error_survives_the_way_from_a_worker():
    err = pickle.loads(pickle.dumps(DataError("a.nii", "missing", "get it")))
    assert str(err) == "a.nii: missing; get it" and err.remedy == "get it"
