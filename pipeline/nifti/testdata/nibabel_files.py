"""Files that nibabel writes, and what it reads of them; then what it reads of masks that ichor wrote.

nibabel_files.py write DIR    writes DIR/*.nii and *.nii.gz, and one JSON line for each
nibabel_files.py read FILE... prints one JSON line for each file
"""
import json
import sys
from pathlib import Path

import nibabel
import numpy as np


def seen(path):
    image = nibabel.load(path)
    return json.dumps({
        "name": Path(path).name,
        "affine": image.affine[:3].tolist(),
        "voxels": np.rint(np.asarray(image.get_fdata())).astype(int).ravel(order="F").tolist(),
        "size": list(image.shape[:3]),
        "codes": [int(image.header["qform_code"]), int(image.header["sform_code"])],
    })


def write(folder):
    random = np.random.default_rng(7)
    for number, kind in enumerate(["uint8", "int16", "uint16", "int32", "float32", "float64", "int8", "uint32"]):
        for version, maker, suffix in ((1, nibabel.Nifti1Image, ".nii"), (2, nibabel.Nifti2Image, ".nii.gz")):
            low = 0 if kind.startswith("u") else -100
            voxels = random.integers(low, 120, (5, 4, 3)).astype(kind)
            turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
            affine = np.eye(4)
            affine[:3, :3] = turn @ np.diag([0.5, 0.6, 5])
            affine[:3, 3] = random.normal(size=3) * 100
            header = maker.header_class(endianness="<>"[number % 2])
            image = maker(voxels, affine, header)
            image.header.set_data_dtype(kind)
            if number % 3 == 1:
                image.set_qform(affine, 1)
                image.set_sform(None, 0)
            if number % 3 == 2:  # a gantry tilt: only sform can say it
                affine[:3, 2] += 0.3 * affine[:3, 1] / 0.6 * 5
                image.set_sform(affine, 2)
                image.set_qform(None, 0)
            if number % 4 == 3:
                image.header.set_slope_inter(2, -24)
            path = Path(folder) / f"{kind}-{version}{suffix}"
            nibabel.save(image, path)
            print(seen(path))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2])
    else:
        for name in sys.argv[2:]:
            print(seen(name))
