"""Wrong and damaged folders: one line each, naming the file and the remedy, and exit code 1 when the set cannot be used."""

import json
import shutil
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import trees

from ich.__main__ import main
from ich.datasets import DataError, detect, open_dataset
from ich.datasets.check import check

HSSAYENI = "computed-tomography-images-for-intracranial-hemorrhage-detection-and-segmentation-1.3.1"
SEG = "Seg-CQ500/data/volumes"
THIN = "CQ500CT0 CQ500CT0/Unknown Study/CT PLAIN THIN"
TREES = {"hssayeni": trees.hssayeni, "seg-cq500": trees.segcq500, "cq500": trees.cq500, "rsna": trees.rsna, "instance": trees.instance, "bhsd": trees.bhsd}


def cut(path: Path, share: float = 0.5) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def shorter(path: Path) -> None:
    img = nib.load(path, mmap=False)
    nib.save(nib.Nifti1Image(np.asarray(img.dataobj)[:, :, :-1], img.affine), path)


def other_label(path: Path) -> None:
    img = nib.load(path, mmap=False)
    nib.save(nib.Nifti1Image(np.asarray(img.dataobj) + 7, img.affine), path)


def huge(path: Path) -> None:
    """A header that claims 8 thousand million voxels."""
    data = bytearray(path.read_bytes())
    data[42:48] = np.array([2000, 2000, 2000], "<i2").tobytes()
    path.write_bytes(bytes(data))


def recoded(path: Path) -> None:
    """The same file under the transfer syntax of JPEG Lossless, which pydicom decodes only with gdcm or pylibjpeg."""
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
    ds.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    ds["PixelData"].VR = "OB"
    ds.save_as(path)


def text(value: str):
    return lambda path: path.write_text(value)


def swap(old: str, new: str):
    return lambda path: path.write_text(path.read_text().replace(old, new))


# set, what is done to which file, words of the one problem line
BROKEN = {
    "missing mask": ("hssayeni", f"{HSSAYENI}/masks/050.nii", Path.unlink, ("masks/050.nii: missing", "download ct-ich 1.3.1")),
    "mask of another shape": ("hssayeni", f"{HSSAYENI}/masks/050.nii", shorter, ("masks/050.nii: mask has 8x26x22", "the CT 9x26x22", "leave out 050.nii")),
    "truncated scan": ("hssayeni", f"{HSSAYENI}/ct_scans/051.nii", cut, ("ct_scans/051.nii: unreadable NIfTI", "again")),
    "empty scan file": ("hssayeni", f"{HSSAYENI}/ct_scans/051.nii", text(""), ("ct_scans/051.nii: unreadable NIfTI", "again")),
    "header that claims too much": ("hssayeni", f"{HSSAYENI}/ct_scans/051.nii", huge, ("ct_scans/051.nii: claims 2000x2000x2000 voxels", "again")),
    "empty CSV": ("hssayeni", f"{HSSAYENI}/hemorrhage_diagnosis_raw_ct.csv", text(""), ("raw_ct.csv: empty", "download ct-ich 1.3.1")),
    "CSV with no rows": ("hssayeni", f"{HSSAYENI}/hemorrhage_diagnosis_raw_ct.csv", text(trees.HSSAYENI_CSV + "\n"), ("raw_ct.csv: has a header but no rows", "download")),
    "missing CSV": ("hssayeni", f"{HSSAYENI}/hemorrhage_diagnosis_raw_ct.csv", Path.unlink, ("raw_ct.csv: missing", "download")),
    "CSV without a column": ("hssayeni", f"{HSSAYENI}/hemorrhage_diagnosis_raw_ct.csv", swap("Subdural", "Other"), ("raw_ct.csv: has no column Subdural", "download")),
    "CSV with a wrong cell": ("hssayeni", f"{HSSAYENI}/hemorrhage_diagnosis_raw_ct.csv", swap("50,3,0,1", "50,3,0,yes"), ("line 13: Intraparenchymal is 'yes'", "download")),
    "labels beyond the scan": ("hssayeni", f"{HSSAYENI}/hemorrhage_diagnosis_raw_ct.csv", swap("\n50,9,", "\n50,99,"), ("050.nii: has 9 slices", "labels slice 99")),
    "binary CSV": ("hssayeni", f"{HSSAYENI}/hemorrhage_diagnosis_raw_ct.csv", lambda p: p.write_bytes(b"\xff\xfe\x00" * 99), ("raw_ct.csv: not a CSV file", "download")),
    "seg-cq500 without info": ("seg-cq500", f"{SEG}/info.csv", Path.unlink, ("info.csv: missing", "unzip Seg-CQ500.zip")),
    "seg-cq500 without a subtype": ("seg-cq500", f"{SEG}/info.csv", swap("EDH", "XDH"), ("info.csv: has no column for EDH", "unzip")),
    "seg-cq500 without a mask": ("seg-cq500", f"{SEG}/CQ500-CT-61/ICH_mask.nii.gz", Path.unlink, ("CQ500-CT-61/ICH_mask.nii: missing", "unzip")),
    "seg-cq500 damaged mask": ("seg-cq500", f"{SEG}/CQ500-CT-61/ICH_mask.nii.gz", cut, ("ICH_mask.nii.gz: unreadable NIfTI", "unzip")),
    "seg-cq500 brain of another shape": ("seg-cq500", f"{SEG}/CQ500-CT-61/brain.nii.gz", shorter, ("brain.nii.gz: mask has 11x26x22", "the CT 12x26x22")),
    "cq500 slice cut short": ("cq500", f"{THIN}/CT000004.dcm", cut, ("CT000004.dcm: its pixels cannot be decoded", "again")),
    "cq500 slice that is no DICOM": ("cq500", f"{THIN}/CT000004.dcm", text("no"), ("CT000004.dcm: has no usable ImageOrientationPatient", "leave")),
    "cq500 slice of another size": ("cq500", f"{THIN}/CT000004.dcm", lambda p: trees.slice_of(p, np.zeros((8, 8)), (-40, -30, 5), trees.head()), ("CT000004.dcm: size", "one series a folder")),
    "cq500 slice of another modality": ("cq500", f"{THIN}/CT000004.dcm", lambda p: trees.slice_of(p, np.zeros((26, 22)), (-40, -30, 5), trees.head(), Modality="MR"), ("CT000004.dcm: is MR, not CT", "leave")),
    "cq500 slice in a coding nobody decodes": ("cq500", f"{THIN}/CT000004.dcm", recoded, ("CT000004.dcm: compressed as JPEG Lossless", "gdcmconv --raw")),
    "cq500 header of reads": ("cq500", "reads.csv", swap("R2:SDH", "R2:XDH"), ("reads.csv: has no column R2:SDH", "download reads.csv")),
    "cq500 cell of reads": ("cq500", "reads.csv", swap("CQ500-CT-0,B1,1", "CQ500-CT-0,B1,maybe"), ("reads.csv: line 2: R1:ICH is 'maybe'", "download the file again")),
    "rsna without CSV": ("rsna", "stage_2_train.csv", Path.unlink, ("stage_2_train.csv: missing", "download")),
    "rsna empty CSV": ("rsna", "stage_2_train.csv", text(""), ("stage_2_train.csv: empty", "download")),
    "rsna wrong ID": ("rsna", "stage_2_train.csv", swap("_epidural", "_extradural"), ("line 2: ID is", "not ID_<slice>_<subtype>")),
    "rsna without slices": ("rsna", "stage_2_train", shutil.rmtree, ("stage_2_train: missing", "unzip")),
    "instance without a mask": ("instance", "train_2/label/100.nii.gz", Path.unlink, ("label/100.nii.gz: missing", "unzip")),
    "instance damaged mask": ("instance", "train_2/label/100.nii.gz", cut, ("label/100.nii.gz: unreadable NIfTI", "unzip")),
    "instance without scans": ("instance", "train_2/data", shutil.rmtree, ("train_2/data: holds no NNN.nii.gz", "unzip")),
    "bhsd unknown label": ("bhsd", "label_192/ground truths/ID_0dac4a1c_ID_a5a47b8e0e.nii.gz", other_label, ("a5a47b8e0e.nii.gz: has label 11, known are 0 to 5", "unzip")),
    "bhsd without masks": ("bhsd", "label_192/ground truths/ID_0dac4a1c_ID_a5a47b8e0e.nii.gz", Path.unlink, ("a5a47b8e0e.nii.gz: missing", "unzip label_192")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_damage_gives_one_line_and_exit_code_1(tmp_path, capsys, case):
    name, file, damage, words = BROKEN[case]
    TREES[name](tmp_path / "data")
    damage(tmp_path / "data" / file)
    code = main(["data", "check", str(tmp_path / "data"), "--set", name, "--cache", str(tmp_path / "cache")])
    lines = [x for x in capsys.readouterr().out.splitlines() if x.startswith("problem: ")]
    assert code == 1 and len(lines) == 1, lines
    assert all(w in lines[0] for w in words), lines[0]
    assert "; " in lines[0]  # what, then remedy


@pytest.mark.parametrize("name", TREES)
def test_a_whole_set_is_usable_and_counted(tmp_path, capsys, name):
    heads = TREES[name](tmp_path / "data")
    code = main(["data", "check", str(tmp_path / "data"), "--cache", str(tmp_path / "cache"), "--json"])
    r = json.loads(capsys.readouterr().out)
    assert code == 0 and r["usable"] and not r["problems"] and r["dataset"] == name and r["licence"]
    assert r["volumes"] == r["readable"] == len(heads) and r["slices"] == sum(len(h.hu) for h in heads.values())
    blood = [round((h.mask > 0).sum() * 0.2 * h.gap / 1000, 2) for h in heads.values() if h.mask.any()]
    masks = name in ("hssayeni", "seg-cq500", "instance", "bhsd")
    assert r["masks"] == (len(heads) if masks else 0)
    if masks:
        assert (r["blood_ml"][0], r["blood_ml"][2]) == pytest.approx((min(blood), max(blood)))


def test_counts_of_hssayeni(tmp_path):
    trees.hssayeni(tmp_path)
    r = check(tmp_path, progress=False)
    assert (r.bleeding, r.not_bleeding, r.unknown, r.types["IPH"], r.types["EDH"], r.bleeding_slices, r.patients) == (2, 2, 0, 2, 0, 4, 4)
    assert any("4 of the 75 volumes" in n for n in r.notes)


def test_text_of_a_good_set_reminds_of_the_licence(tmp_path, capsys):
    trees.segcq500(tmp_path)
    assert main(["data", "check", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "CC BY-NC-SA" in out and out.splitlines()[-1] == "usable" and "2 of the cavity" in out


def test_quick_reads_no_voxels(tmp_path, monkeypatch):
    trees.segcq500(tmp_path)
    monkeypatch.setattr("ich.datasets.nifti.read", lambda *a, **k: pytest.fail("read"))
    assert check(tmp_path, quick=True, progress=False).usable


def test_workers_find_the_same(tmp_path):
    trees.hssayeni(tmp_path)
    (tmp_path / HSSAYENI / "masks" / "051.nii").unlink()
    one, two = check(tmp_path, progress=False).as_dict(), check(tmp_path, workers=2, progress=False).as_dict()
    one.pop("seconds"), two.pop("seconds")
    assert one == two


# folder, words of the one line
def test_wrong_folders(tmp_path):
    trees.hssayeni(tmp_path / "h")
    trees.instance(tmp_path / "h2" / "inner")
    with zipfile.ZipFile(tmp_path / "h2" / "inner" / "x.zip", "w"):
        pass
    (tmp_path / "zipped").mkdir()
    shutil.copy(tmp_path / "h2" / "inner" / "x.zip", tmp_path / "zipped" / "label_192.zip")
    (tmp_path / "empty").mkdir()
    cases = [
        (tmp_path / "nowhere", ("no such folder", "check the path")),
        (tmp_path / "empty", ("no known data set", "ich data list")),
        (tmp_path / "zipped", ("archives such as label_192.zip", "unzip them")),
        (tmp_path / "zipped" / "label_192.zip", ("a file, not a folder", "unzip it")),
        (tmp_path / "h" / HSSAYENI / "ct_scans", ("lies inside hssayeni", HSSAYENI + "/")),
    ]
    for folder, words in cases:
        with pytest.raises(DataError) as e:
            detect(folder)
        assert str(e.value).startswith(str(folder)) and all(w in str(e.value) for w in words), e.value
        assert "\n" not in str(e.value)
    assert detect(tmp_path / "h2") == "instance"  # a folder or two above is found
    shutil.copytree(tmp_path / "h", tmp_path / "h2" / "other")
    with pytest.raises(DataError, match="several sets: hssayeni, instance"):
        detect(tmp_path / "h2")
    assert len(open_dataset("instance", tmp_path / "h2")) == 3


def test_another_set_than_named(tmp_path, capsys):
    trees.instance(tmp_path)
    with pytest.raises(DataError, match="not the layout of bhsd.*label_192/images"):
        open_dataset("bhsd", tmp_path)
    with pytest.raises(DataError, match="no data set is called 'brats'; choose one of hssayeni"):
        open_dataset("brats", tmp_path)
    assert main(["data", "check", str(tmp_path), "--set", "brats"]) == 2
    assert "choose one of hssayeni" in capsys.readouterr().err


NOTES = {
    "extra mask": ("instance", "train_2/data/001.nii.gz", Path.unlink, "label/001.nii.gz: a mask without a scan; ignored"),
    "no brain": ("seg-cq500", f"{SEG}/CQ500-CT-61/brain.nii.gz", Path.unlink, "brain.nii: missing; the scan is used without a cavity mask"),
    "reads without scan": ("cq500", "reads.csv", lambda p: p.write_text(p.read_text() + p.read_text().splitlines()[1].replace("CT-0", "CT-9") + "\n"),
                           "lists 1 scans that are not in the folder, first CQ500-CT-9"),
    "an archive": ("cq500", "CQ500-CT-7.zip", text("PK"), "CQ500-CT-7.zip: not unzipped, as 1 archives in all; unzip them"),
    "no reads": ("cq500", "reads.csv", Path.unlink, "reads.csv: missing; every label stays unknown"),
    "a missing slice": ("cq500", f"{THIN}/CT000005.dcm", Path.unlink, "CT PLAIN THIN: slices 0.62 to 1.25 mm apart, some may be missing"),
    "partial rsna": ("rsna", "stage_2_train/ID_0000cadc6af.dcm", Path.unlink, "of 19 labelled slices are missing"),
    "windowed copy": ("instance", "train_2/data/001.nii.gz", lambda p: trees.nifti(p, trees.Head(np.clip(trees.head().hu, 0, 255), None, None)),
                      "are not in Hounsfield units"),
    "mask of another scan": ("instance", "train_2/label/001.nii.gz",
                             lambda p: trees.save(p, *trees.store((trees.head().hu > 500).astype(np.uint8), (0.5, 0.4), 5.0, "LPS")), "HU in the median, not blood"),
    "empty mask": ("instance", "train_2/label/001.nii.gz", lambda p: trees.nifti(p, trees.head(()), "mask"), "its mask is empty"),
}


@pytest.mark.parametrize("case", NOTES)
def test_what_stops_nobody_is_a_note(tmp_path, case):
    name, file, damage, words = NOTES[case]
    TREES[name](tmp_path / "data")
    damage(tmp_path / "data" / file)
    r = check(tmp_path / "data", name, tmp_path / "cache", progress=False)
    assert r.usable, r.problems
    assert sum(words in n for n in r.notes) == 1, r.notes


def test_rsna_header_that_cannot_be_read_is_left_out(tmp_path):
    trees.rsna(tmp_path / "data")
    next((tmp_path / "data" / "stage_2_train").glob("ID_0*.dcm")).write_bytes(b"no DICOM")
    r = check(tmp_path / "data", None, tmp_path / "cache", progress=False)
    assert r.usable and r.slices == 17 and any("unreadable header (1 such files)" in n for n in r.notes)


def test_list_names_every_set_with_its_licence(capsys):
    assert main(["data", "list"]) == 0
    out = capsys.readouterr().out
    assert all(n in out for n in TREES) and out.count("licence") == 7
    main(["data", "list", "--json"])
    assert json.loads(capsys.readouterr().out)["seg-cq500"]["volumes"] == 51


def test_any_command_shows_a_data_error_as_one_line(capsys, monkeypatch):
    def fail(args):
        raise DataError("a.nii", "missing", "get it")

    monkeypatch.setattr("ich.commands.data._list", fail)
    assert main(["data", "list"]) == 1
    assert capsys.readouterr().err == "a.nii: missing; get it\n"
