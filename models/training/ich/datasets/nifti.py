"""NIfTI files as canonical arrays. nibabel reads sheared affines; ITK refuses them, so it is not used."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from .geometry import RAS_TO_LPS, Frame
from .volume import AIR_HU, DataError

MAX_VOXELS = 2**30  # 4 GiB as float32; the largest head CT of the public sets has an eighth of that
DAMAGED = (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError, OSError, EOFError, ValueError, zlib.error)
AGAIN = "download or unzip it again"


@dataclass(frozen=True)
class Image:
    """A CT as stored, with the frame that turns it."""

    path: Path
    stored: np.ndarray
    frame: Frame

    def hu(self) -> np.ndarray:
        """float32 (S, H, W), at least AIR_HU."""
        hu = self.frame.turn(self.stored).astype(np.float32)
        return np.maximum(np.nan_to_num(hu, nan=AIR_HU, posinf=AIR_HU, neginf=AIR_HU), AIR_HU)

    def positions(self) -> np.ndarray:
        try:
            return self.frame.positions(self.stored.shape[self.frame.axes[0]])
        except ValueError as err:
            raise DataError(self.path, str(err), AGAIN) from None


def either(folder: Path, stem: str) -> Path:
    """stem.nii or stem.nii.gz, whichever is there; stem.nii when none is, so that reading it names it."""
    packed = folder / f"{stem}.nii.gz"
    return packed if packed.exists() else folder / f"{stem}.nii"


def listing(folder: Path) -> dict[str, Path]:
    """Name without .nii or .nii.gz -> file, sorted; the ._ files of macOS archives are no scans."""
    out = {}
    if folder.is_dir():
        for p in sorted(folder.iterdir()):
            if p.name.startswith(".") or not p.name.endswith((".nii", ".nii.gz")) or not p.is_file():
                continue
            out.setdefault(p.name.removesuffix(".gz").removesuffix(".nii"), p)
    return out


def read(path: Path, missing: str = AGAIN, trust_identity: bool = True) -> Image:
    """A three-dimensional image. missing: what to do when the file is not there.

    Without sform and qform nibabel's base affine stands in: pixel sizes of the header, columns towards the patient's left,
    which for a slice is np.rot90, as the papers' own code turns it. trust_identity=False treats an identity like that.
    """
    try:
        img = nib.load(path, mmap=False)  # a mapped file that shrinks or fails ends the process, not the read
        shape = tuple(n for i, n in enumerate(img.shape) if i < 3 or n != 1)
        if len(shape) != 3 or min(shape) < 1:
            raise DataError(path, f"has shape {img.shape}, not three dimensions", "give one CT volume a file")
        if int(np.prod([int(n) for n in shape])) > MAX_VOXELS:
            raise DataError(path, f"claims {'x'.join(map(str, shape))} voxels", AGAIN)
        if img.get_data_dtype().fields:
            raise DataError(path, "holds colours, not numbers", "give the CT itself, not a picture of it")
        stored = np.asanyarray(img.dataobj).reshape(shape)
        lost = not (int(img.header["sform_code"]) or int(img.header["qform_code"]))
        lost |= not trust_identity and np.allclose(img.affine[:3, :3], np.eye(3))
        affine = img.header.get_base_affine() if lost else img.affine
    except FileNotFoundError:
        raise DataError(path, "missing", missing) from None
    except DAMAGED as err:
        raise DataError(path, f"unreadable NIfTI ({type(err).__name__}), truncated or damaged", AGAIN) from None
    lps = np.eye(4)
    lps[:3] = RAS_TO_LPS @ affine[:3]
    try:
        return Image(Path(path), stored, Frame.of(lps))
    except ValueError as err:
        raise DataError(path, str(err), AGAIN) from None


def read_mask(path: Path, ct: Image, missing: str = AGAIN) -> np.ndarray:
    """Integers (S, H, W) on the voxels of ct.

    A mask stored in the CT's shape is voxel for voxel the CT's, whatever its header says: headers of masks are often lost
    or made up, and every published loader of these sets pairs indices. One stored in another order of axes is turned by
    its own header.
    """
    mask = read(path, missing)
    frame = ct.frame if mask.stored.shape == ct.stored.shape else mask.frame
    want = tuple(ct.stored.shape[a] for a in ct.frame.axes)
    got = tuple(mask.stored.shape[a] for a in frame.axes)
    if got != want:
        raise DataError(path, f"mask has {shown(got)} (slices x rows x columns), the CT {shown(want)}",
                        f"the two do not belong together: download both again, or leave out {ct.path.name}")
    values = frame.turn(mask.stored)
    return np.rint(np.nan_to_num(values)).astype(np.int32) if values.dtype.kind == "f" else values.astype(np.int32)


def shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
