"""Pseudo-labels: what is confident, the page, and the training data that comes of it."""

from __future__ import annotations

import json
import threading
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pack_bits
from pydicom.uid import ExplicitVRLittleEndian

import trees
from ich.__main__ import main
from ich.datasets.volume import DataError
from ich.product import pseudo, results
from ich.product.config import Post
from ich.product.data import MARGIN_SIZE, PLANES, UNSEEN
from ich.product.reader import apply_post
from ich.product.review import serve
from ich.product.scan import Scan


@pytest.fixture
def labelled(tmp_path):
    """Three parts: sure and large, large but doubtful, sure but small."""
    hu = np.full((9, 40, 40), 35.0, np.float32)
    found, probability = np.zeros(hu.shape, np.uint8), np.zeros(hu.shape, np.float32)
    found[:, 4:36, 4:36] = 1
    for where, p in (((slice(2, 6), slice(8, 16), slice(8, 16)), 0.95), ((slice(2, 6), slice(22, 30), slice(22, 30)), 0.6), ((3, 32, 8), 0.99)):
        found[where], probability[where] = 2, p
    scan = Scan(hu, (1.0, 1.0), np.arange(9) * 5.0, None, "head", "scan")
    item = pseudo.confident(scan, found, probability, 0.85, 0.5, 0.5)
    pseudo.keep(tmp_path / "work", item)
    return tmp_path / "work", item


def test_confident_parts_only(labelled):
    folder, item = labelled
    assert (item.scan.label[2:6, 8:16, 8:16] == 2).all() and (item.scan.label > 1).sum() == 4 * 64
    assert item.doubtful[3, 24, 24] and item.doubtful[3, 32, 8] and not item.doubtful[3, 10, 10] and not item.doubtful[3, 5, 5]
    again = pseudo.load(folder / "head.npz")
    assert (again.scan.label == item.scan.label).all() and (again.doubtful == item.doubtful).all()


def test_page_and_data(labelled, tmp_path):
    folder, _ = labelled
    server = serve(folder, 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        at = f"http://127.0.0.1:{server.server_address[1]}"
        assert "head" in urlopen(at).read().decode() and urlopen(f"{at}/picture/head").read()[:4] == b"\x89PNG"
        for bad in (Request(f"{at}/picture/..%2Fanswers"), Request(at, b"name=other&answer=yes"), Request(at, b"name=head&answer=yes", {"Origin": "http://elsewhere"})):
            with pytest.raises(HTTPError):
                urlopen(bad)
        assert pseudo.answers(folder) == {}
        assert "1 accepted" in urlopen(at, b"name=head&answer=yes").read().decode()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert main(["pseudo", "write", str(folder), "--cache", str(tmp_path / "cache"), "--nnunet", str(tmp_path / "Dataset900_Own")]) == 0
    data = np.load(tmp_path / "cache/pseudo-head.npy")
    assert data.shape[1:] == (PLANES, MARGIN_SIZE, MARGIN_SIZE) and (data[:, 3] == 2).any() and (data[:, 3] == UNSEEN).any()
    found = json.loads((tmp_path / "Dataset900_Own/dataset.json").read_text())
    values = np.asanyarray(nib.load(tmp_path / "Dataset900_Own/labelsTr/head.nii.gz").dataobj)
    assert found["numTraining"] == 1 and found["labels"]["ignore"] == 6 and set(np.unique(values)) == {0, 1, 6}


def analysed(folder, name, values=None, uid=None):
    """Results of `ichor analyze --all` for a scan; values None: no mask."""
    (folder / name).mkdir(parents=True)
    (folder / name / "input.json").write_text(json.dumps({"input": name}))
    finding = {"status": "analyzed", "series": {"series_instance_uid": uid}} if uid or values is not None else {"status": "refused", "code": "no_head"}
    (folder / name / "finding.json").write_text(json.dumps(finding))
    if values is not None:
        nib.save(nib.Nifti1Image(values, AFFINE), folder / name / "mask.nii.gz")


AFFINE = np.diag([-1.0, -1, 5, 1])


def test_results_of_the_appliance(tmp_path, capsys):
    """A part of 0.64 mL is confident, one of a voxel is doubtful, and a scan without a mask is named."""
    scans, results = tmp_path / "scans", tmp_path / "results"
    scans.mkdir()
    hu, values = np.full((20, 24, 9), 35, np.int16), np.zeros((20, 24, 9), np.uint8)
    values[4:12, 4:8, 2:6], values[15, 20, 3] = 2, 4
    nib.save(nib.Nifti1Image(hu, AFFINE), scans / "head.nii.gz")
    analysed(results, "head.nii.gz", values)
    analysed(results, "series")
    assert main(["pseudo", "label", "--results", str(results), "--scans", str(scans), "--out", str(tmp_path / "work")]) == 0
    said = capsys.readouterr()
    assert "head: IVH 0.6 mL" in said.out and "series: left out: the analysis refused it (no_head)" in said.err
    item = pseudo.load(tmp_path / "work/head.npz")
    assert (item.scan.label > 1).sum() == 128 and (item.scan.label[item.scan.label > 1] == 3).all() and item.doubtful.sum() == 1


def segmentation(path, masks, labelmap=False):
    """seg.dcm as ichor writes it. masks: SOP Instance UID of an image -> values as stored, 3 SAH, 5 EDH."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.7" if labelmap else "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3.9"
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.SegmentationType = "LABELMAP" if labelmap else "BINARY"
    ds.SegmentSequence, ds.PerFrameFunctionalGroupsSequence = [], []
    frames = []
    for number, (value, word) in enumerate(((3, "SAH"), (5, "EDH")), 1):
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentDescription = number, f"{word}, found by a neural network."
        ds.SegmentSequence.append(segment)
        for uid, values in masks.items() if not labelmap or number == 1 else ():
            frames.append((values == 3) + 2 * (values == 5) if labelmap else values == value)
            group, derived, source, named = Dataset(), Dataset(), Dataset(), Dataset()
            source.ReferencedSOPInstanceUID, named.ReferencedSegmentNumber = uid, number
            derived.SourceImageSequence, group.DerivationImageSequence = [source], [derived]
            if not labelmap:
                group.SegmentIdentificationSequence = [named]
            ds.PerFrameFunctionalGroupsSequence.append(group)
    frames = np.stack(frames).astype(np.uint8)
    ds.NumberOfFrames, ds.Rows, ds.Columns = frames.shape
    ds.SamplesPerPixel, ds.PixelRepresentation, ds.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8 if labelmap else 1
    ds.HighBit = ds.BitsStored - 1
    ds.PixelData = frames.tobytes() if labelmap else pack_bits(frames)
    ds.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("labelmap", [False, True])
def test_results_of_dicom(tmp_path, labelmap):
    """A series from the head down whose columns run to the right, beside another series: the mask lies on the same voxels."""
    h = trees.head(kinds=(4, 6))
    stored = trees.Head(h.hu[:, :, ::-1], h.mask[:, :, ::-1], h.cavity)
    files = trees.series(tmp_path / "scans/study/a", stored, "1.2.3.1", order=np.arange(len(h.hu))[::-1], ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])
    trees.series(tmp_path / "scans/study/b", h, "1.2.3.2")
    (tmp_path / "scans/study/a/damaged.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1" * 40)
    analysed(tmp_path / "results", "study", uid="1.2.3.1")
    uids = [str(dcmread(f, stop_before_pixels=True).SOPInstanceUID) for f in files]
    values = np.where(stored.mask[::-1] > 1, stored.mask[::-1] - 1, 0)
    segmentation(tmp_path / "results/study" / ("seg-labelmap.dcm" if labelmap else "seg.dcm"), {u: v for u, v in zip(uids, values) if v.any()}, labelmap)
    ((name, scan),) = results.read(tmp_path / "results", tmp_path / "scans")
    assert name == scan.name == "study" and set(np.unique(scan.label)) == {0, 4, 6}
    assert (scan.hu == h.hu).all() and (scan.label == h.mask).all()


def test_results_of_dicom_without_blood_and_without_files(tmp_path):
    h = trees.head()
    trees.series(tmp_path / "scans/x/head", h, "1.2.3.1")
    trees.series(tmp_path / "scans/y/head", h, "1.2.3.1")
    for name in ("x/head", "y/head"):
        analysed(tmp_path / "results", name, uid="1.2.3.1")
    analysed(tmp_path / "results", "z", uid="1.2.3.3")
    (tmp_path / "scans/z").mkdir()
    found = dict(results.read(tmp_path / "results", tmp_path / "scans"))
    assert [found[n].name for n in ("x/head", "y/head")] == ["head", "y-head"] and not found["x/head"].label.any()
    assert "the files of the series that was analysed are not there" in found["z"]


@pytest.mark.parametrize("values, what", [(None, "no scan that was analyzed"), (np.full((20, 24, 9), 6, np.uint8), "blood of unknown subtype")])
def test_results_that_do_not_do(tmp_path, values, what):
    (tmp_path / "scans").mkdir()
    nib.save(nib.Nifti1Image(np.full((20, 24, 9), 35, np.int16), AFFINE), tmp_path / "scans/head.nii.gz")
    analysed(tmp_path / "results", "head.nii.gz", values)
    with pytest.raises(DataError, match=what):
        list(pseudo.of_results(tmp_path / "results", tmp_path / "scans", 0.5))


def test_nothing_accepted(labelled):
    with pytest.raises(DataError, match="no scan was accepted"):
        pseudo.write(labelled[0], None, labelled[0] / "out")


@pytest.mark.parametrize("per", ["component", "extra-axial", "voxel"])
def test_no_cavity_no_hemorrhage(per):
    """A scan in which the networks find no cavity."""
    scan = Scan(np.full((9, 8, 8), 35.0, np.float32), (1.0, 1.0), np.arange(9) * 5.0, None, "head", "scan")
    assert not apply_post(scan, np.zeros(scan.hu.shape, bool), np.ones((6, *scan.hu.shape), np.float32), Post(subtype_per=per)).any()
