"""Small folders in the very layouts of the public sets: right names, headers verbatim, tiny volumes of known geometry."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

HSSAYENI_CSV = "PatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,No_Hemorrhage,Fracture_Yes_No"
READER = "ICH,IPH,IVH,SDH,EDH,SAH,BleedLocation-Left,BleedLocation-Right,ChronicBleed,Fracture,CalvarialFracture,OtherFracture,MassEffect,MidlineShift"
READS_CSV = "name,Category," + ",".join(f"R{r}:{f}" for r in (1, 2, 3) for f in READER.split(","))
RSNA_KINDS = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
BHSD_LABEL = {0: 0, 2: 2, 3: 3, 4: 4, 5: 5, 6: 1}  # our mask value -> theirs
MARKER_HU = 2000


@dataclass
class Head:
    """Canonical arrays (S, H, W). A dense marker lies left, anterior and superior: it shows any axis that was turned wrongly."""

    hu: np.ndarray
    mask: np.ndarray  # 0 or 2..6
    cavity: np.ndarray
    spacing: tuple[float, float] = (0.5, 0.4)
    gap: float = 5.0

    @property
    def marker(self) -> tuple[int, int, int]:
        s, h, w = self.hu.shape
        return s - 2, 3, w - 4


def head(kinds: tuple[int, ...] = (2,), slices: int = 9, rows: int = 26, columns: int = 22, seed: int = 0) -> Head:
    """Air, a ring of bone, brain with grain, one block of blood for each kind (mask values)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    r = np.hypot((y - (rows - 1) / 2) / (rows / 2), (x - (columns - 1) / 2) / (columns / 2))
    plane = np.where(r < 0.72, 35.0, np.where(r < 0.88, 900.0, -1000.0))
    hu = np.repeat(plane[None], slices, 0) + np.round(rng.normal(0, 3, (slices, rows, columns)))
    mask = np.zeros(hu.shape, np.uint8)
    for i, kind in enumerate(kinds):
        part = np.s_[2 + i : 4 + i, 9 + 2 * i : 11 + 2 * i, 8:12]
        mask[part] = kind
        hu[part] = 70
    out = Head(hu.astype(np.float32), mask, np.repeat((r < 0.72)[None], slices, 0))
    out.hu[out.marker] = MARKER_HU
    return out


def store(array: np.ndarray, spacing: tuple[float, float], gap: float, codes: str = "LAS", tilt: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Stored array and RAS affine of a canonical one. codes: where each stored index grows to, as nibabel's aff2axcodes.

    tilt (degrees): planes turn about the left-right axis while the table moves on along z, which shears the affine; the
    distance along the normal stays `gap`.
    """
    a = np.radians(tilt)
    step = {"L": np.array([-spacing[1], 0, 0]), "P": spacing[0] * np.array([0, -np.cos(a), np.sin(a)]), "S": np.array([0, 0, gap / np.cos(a)])}
    opposite = {"R": "L", "A": "P", "I": "S"}
    axes = [("S", "P", "L").index(opposite.get(c, c)) for c in codes]
    out = array.transpose(axes)
    affine = np.eye(4)
    affine[:3, 3] = (40.0, 30.0, -20.0)  # canonical voxel (0, 0, 0)
    for i, c in enumerate(codes):
        v = step[opposite.get(c, c)]
        if c in opposite:
            out = np.flip(out, i)
            affine[:3, 3] += v * (out.shape[i] - 1)
            v = -v
        affine[:3, i] = v
    return out, affine


def save(path: Path, array: np.ndarray, affine: np.ndarray | None, dtype=np.int16, zooms: tuple[float, ...] | None = None) -> Path:
    """affine None: neither sform nor qform, only pixel sizes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    img = nib.Nifti1Image(np.ascontiguousarray(array.astype(dtype)), affine)
    if affine is None:
        img.header.set_zooms(zooms)
        img.header["sform_code"] = img.header["qform_code"] = 0
    nib.save(img, path)
    return path


def nifti(path: Path, h: Head, what: str = "hu", codes: str = "LAS", tilt: float = 0.0, scale: int = 1, dtype=np.int16) -> Path:
    array = getattr(h, what).astype(np.float32) * scale
    return save(path, *store(array, h.spacing, h.gap, codes, tilt), dtype)


def hssayeni(root: Path, count: int = 4, packed: bool = False, codes: str = "LAS") -> dict[str, Head]:
    """Scans 049.. ; even ones bleed: IPH and SDH on slices 3 and 4 (numbers from 1), in the order of the file."""
    folder = root / "computed-tomography-images-for-intracranial-hemorrhage-detection-and-segmentation-1.3.1"
    end = ".nii.gz" if packed else ".nii"
    heads, lines = {}, [HSSAYENI_CSV]
    for n in range(49, 49 + count):
        bleeding = n % 2 == 0
        h = heads[f"{n:03d}"] = head((2,) if bleeding else (), seed=n)
        nifti(folder / "ct_scans" / f"{n:03d}{end}", h, codes=codes)
        nifti(folder / "masks" / f"{n:03d}{end}", h, "mask", codes=codes, scale=255 if n == 50 else 1, dtype=np.uint8 if n != 50 else np.uint16)
        for s in range(len(h.hu)):
            here = bool(h.mask[s].any())
            number = len(h.hu) - s if codes[2] == "I" else s + 1
            lines.append(f"{n},{number},0,{int(here)},0,0,{int(here)},{int(not here)},0")
    (folder / "hemorrhage_diagnosis_raw_ct.csv").write_text("\n".join(lines) + "\n")
    (folder / "split_raw_data.py").write_text("")
    return heads


def segcq500(root: Path, tilt: float = 0.0) -> dict[str, Head]:
    volumes = root / "Seg-CQ500" / "data" / "volumes"
    heads, lines = {}, ["name,CT_fn,mask_fn,ICH,IPH,IVH,SDH,EDH,SAH,MassEffect,MidlineShift"]
    for name, kinds, probabilities in (("CQ500-CT-243", (5,), "0.98,0.1,0,0.93,0,0.05"), ("CQ500-CT-61", (2, 3), "1,0.9,0.66,0,0,0.33")):
        h = heads[name] = head(kinds, seed=len(name), slices=12)
        h.gap = 0.625
        nifti(volumes / name / "CT.nii", h, tilt=tilt)
        nifti(volumes / name / "ICH_mask.nii.gz", h, "mask", tilt=tilt, dtype=np.uint8)
        nifti(volumes / name / "brain.nii.gz", h, "cavity", tilt=tilt, dtype=np.uint8)
        (volumes / name / "._CT.nii").write_bytes(b"\0\5\26\7")
        lines.append(f"{name},{name}/CT.nii,{name}/ICH_mask.nii.gz,{probabilities},0.99,0.99")
    (volumes / "info.csv").write_text("\n".join(lines) + "\n")
    (root / "__MACOSX" / "Seg-CQ500" / "data" / "volumes" / "CQ500-CT-243").mkdir(parents=True)
    (root / "__MACOSX" / "Seg-CQ500" / "data" / "volumes" / "CQ500-CT-243" / "._CT.nii").write_bytes(b"\0\5\26\7")
    return heads


def instance(root: Path, folder: str = "train_2") -> dict[str, Head]:
    heads = {}
    for n in (1, 2, 100):
        h = heads[f"{n:03d}"] = head((2,), seed=n)
        nifti(root / folder / "data" / f"{n:03d}.nii.gz", h, codes="LPS")
        nifti(root / folder / "label" / f"{n:03d}.nii.gz", h, "mask", codes="LPS", dtype=np.uint8)
        path = root / folder / "label" / f"{n:03d}.nii.gz"
        img = nib.load(path, mmap=False)
        nib.save(nib.Nifti1Image((np.asarray(img.dataobj) > 0).astype(np.uint8), img.affine), path)
    return heads


def bhsd(root: Path) -> dict[str, Head]:
    folder = root / "label_192"
    heads = {}
    for name, kinds in (("ID_05331dc6_ID_47213b7e2e", (6, 5)), ("ID_05331dc6_ID_0a0a0a0a0a", (2,)), ("ID_0dac4a1c_ID_a5a47b8e0e", (4, 3))):
        h = heads[name] = head(kinds, seed=len(heads))
        nifti(folder / "images" / f"{name}.nii.gz", h)
        theirs = Head(h.hu, np.vectorize(BHSD_LABEL.get)(h.mask).astype(np.uint8), h.cavity)
        nifti(folder / "ground truths" / f"{name}.nii.gz", theirs, "mask", dtype=np.float64)
    pairs = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in heads]
    (folder / "dataset.json").write_text(json.dumps({"training": pairs}))
    return heads


def slice_of(path: Path, hu: np.ndarray, position: tuple[float, float, float], h: Head, series: str = "1.2.3.1", patient: str = "P",
             iop: tuple[float, ...] = (1, 0, 0, 0, 1, 0), **tags) -> Path:
    """One CT slice; hu as stored (rows, columns). Tags override, None removes."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = f"1.2.3.{zlib.crc32(path.name.encode())}"
    ds.Modality, ds.PatientID = "CT", patient
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{series}.0", series
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [round(float(v), 6) for v in position], list(iop)
    ds.PixelSpacing, ds.SliceThickness = list(h.spacing), h.gap
    ds.Rows, ds.Columns = hu.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 16, 16, 15, 1, 1
    ds.PhotometricInterpretation, ds.RescaleSlope, ds.RescaleIntercept = "MONOCHROME2", 1, -1024
    ds.PixelData = (hu + 1024).astype(np.int16).tobytes()
    for k, v in tags.items():
        if v is None:
            delattr(ds, k)
        else:
            setattr(ds, k, v)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def series(folder: Path, h: Head, uid: str = "1.2.3.1", patient: str = "P", order: np.ndarray | None = None, **tags) -> list[Path]:
    """CT000000.dcm ...; file order need not be slice order."""
    order = np.arange(len(h.hu)) if order is None else order
    return [slice_of(folder / f"CT{i:06d}.dcm", h.hu[s], (-40, -30, -20 + s * h.gap), h, uid, patient, **tags) for i, s in enumerate(order)]


def cq500(root: Path, above: str = "") -> dict[str, Head]:
    """Patients 0 and 1: a thin plain series, a thick one, an injected one, a sagittal one, a localizer."""
    heads, lines = {}, [READS_CSV]
    for n, reads in ((0, ("110000", "110100", "000000")), (1, ("000000", "100000", "000000"))):
        base = root / above / f"CQ500CT{n} CQ500CT{n}" / "Unknown Study"
        h = heads[f"CQ500-CT-{n}"] = head((2,) if n == 0 else (), slices=16, seed=n)
        h.gap = 0.625
        series(base / "CT PLAIN THIN", h, f"1.2.3.{n}.1", order=np.random.default_rng(n).permutation(16))
        thick = head(slices=8, seed=90 + n)
        series(base / "CT 5mm", thick, f"1.2.3.{n}.2")
        series(base / "CT 4cc sec 150cc D3D on", head(slices=9, seed=80), f"1.2.3.{n}.3", SliceThickness=0.625)
        series(base / "CT SAGITTAL", head(slices=8, seed=70), f"1.2.3.{n}.4", iop=(0, 1, 0, 0, 0, -1))
        series(base / "CT Scout", head(slices=2, seed=60), f"1.2.3.{n}.5")
        lines.append(f"CQ500-CT-{n},B{n + 1}," + ",".join(",".join(r) + ",0" * 8 for r in reads))
    (root / "reads.csv").write_text("\n".join(lines) + "\n")
    return heads


def rsna(root: Path) -> dict[str, Head]:
    """Two series of patient P1, one of P2, file names without order; one slice twice in the CSV, one corrupt file."""
    heads, lines = {}, ["ID,Label"]
    for n, (uid, patient, kinds) in enumerate((("1.9.1", "ID_p1", (6,)), ("1.9.2", "ID_p1", ()), ("1.9.3", "ID_p2", (2,)))):
        h = heads[uid] = head(kinds, slices=6, seed=n)
        names = [f"ID_{(s * 7 + n * 3) % 11:02x}{n}{s}cadc6af" for s in range(6)]
        for s, name in enumerate(names):
            slice_of(root / "stage_2_train" / f"{name}.dcm", h.hu[s], (-40, -30, -20 + s * h.gap), h, uid, patient)
            here = set(np.unique(h.mask[s])) - {0}
            ours = {"intraparenchymal": 2, "epidural": 6}
            rows = [f"{name}_{k},{int(bool(here) if k == 'any' else ours.get(k) in here)}" for k in RSNA_KINDS]
            lines += rows
            if s == 0 and n == 1:
                lines += [r[:-1] + "0" for r in rows]  # duplicates: the larger counts
            if s == 2 and n == 0:
                lines += [r[:-1] + "0" for r in rows]
    lines += [f"ID_6431af929_{k},0" for k in RSNA_KINDS]
    (root / "stage_2_train.csv").write_text("\n".join(lines) + "\n")
    (root / "stage_2_train" / "ID_6431af929.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1" * 40)
    (root / "stage_2_test").mkdir()
    (root / "stage_2_sample_submission.csv").write_text("ID,Label\n")
    return heads
