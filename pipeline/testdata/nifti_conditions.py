"""nifti_conditions.py FILE DIR: writes FILE in ways that tools write NIfTI to DIR, and prints what nibabel reads of each.

One JSON line for each file: name of the condition, path, error or digest of the values as 16-bit integers and affine. The first
line is FILE itself.
"""
import gzip
import hashlib
import json
import sys
from pathlib import Path

import nibabel
import numpy as np

base, folder = Path(sys.argv[1]), Path(sys.argv[2])
image = nibabel.load(base)
hu = np.rint(np.asarray(image.dataobj)).astype(np.int16)
affine = image.affine


def made(maker=nibabel.Nifti1Image, voxels=hu, kind=None, order="<", q=0, s=1, scale=None):
    out = maker(voxels, affine, maker.header_class(endianness=order))
    out.header.set_xyzt_units("mm")
    out.set_data_dtype(kind or voxels.dtype)
    out.set_qform(affine if q else None, q)
    out.set_sform(affine if s else None, s)
    if scale:
        out.header.set_slope_inter(*scale)
    return out.to_bytes()


def changed(edit, **how):
    data = bytearray(made(**how))
    edit(data)
    return bytes(data)


def poke(at, value):
    def edit(data):
        data[at:at + len(value)] = value
    return edit


two = np.stack([hu, hu], -1)
slanted = affine.copy()
slanted[:3, 0] += 0.2 * slanted[:3, 1]
conditions = [
    ("as it is (NIfTI-2, sform)", base.read_bytes()),
    ("NIfTI-1", made()),
    ("compressed", gzip.compress(made())),
    ("compressed in two members", gzip.compress(made()[:5000]) + gzip.compress(made()[5000:])),
    ("other byte order", made(order=">")),
    ("other byte order, NIfTI-2", made(maker=nibabel.Nifti2Image, order=">")),
    ("32-bit integers", made(voxels=hu.astype(np.int32))),
    ("real numbers", made(voxels=hu.astype(np.float32))),
    ("real numbers in double precision", made(voxels=hu.astype(np.float64))),
    ("unsigned integers with an intercept", changed(poke(112, np.array([1, -1024], "<f4").tobytes()), voxels=(hu + 1024).astype(np.uint16))),
    ("a slope that is no number", changed(poke(112, np.array([np.nan, 0], "<f4").tobytes()))),
    ("no numbers in the air", made(voxels=np.where(hu == -1024, np.nan, hu).astype(np.float32))),
    ("qform only", made(q=1, s=0)),
    ("neither form", made(s=0)),
    ("sizes in metres", changed(lambda d: (poke(280, (affine[:3] / 1000).astype("<f4").tobytes())(d), poke(123, b"\1")(d)))),
    ("units not said", changed(poke(123, b"\0"))),
    ("rows that slant", changed(poke(280, slanted[:3].astype("<f4").tobytes()))),
    ("values + 1024", made(voxels=hu + 1024)),
    ("a display window", made(voxels=np.clip(hu * 255 // 80, 0, 255).astype(np.uint8))),
    ("a mask", made(voxels=(hu > 0).astype(np.uint8))),
    ("two volumes", made(voxels=two)),
    ("colour", changed(poke(70, np.array([128, 24], "<i2").tobytes()))),
    ("cut off", made()[:-5000]),
    ("compressed and cut off", gzip.compress(made())[:-5000]),
    ("header of a pair of files", changed(poke(344, b"ni1\0"))),
]
for number, (name, data) in enumerate(conditions):
    path = folder / f"{number}.nii{'.gz' if data[:2] == bytes([0x1F, 0x8B]) else ''}"
    path.write_bytes(data)
    said = {"Name": name, "Path": str(path)}
    try:
        read = nibabel.load(path)
        values = np.asarray(read.dataobj, dtype=np.float64)
        values = np.where(np.isnan(values), -1024, values)
        values = np.rint(np.clip(values, -1024, 32767)).astype("<i2")
        said["HU"] = hashlib.sha256(values.tobytes(order="F")).hexdigest()
        said["Place"] = read.affine[:3].ravel().tolist()
    except Exception as error:  # whatever it raises, it does not read the file
        said["Error"] = str(error) or type(error).__name__
    print(json.dumps(said))
