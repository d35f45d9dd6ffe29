"""Takes the shared libraries and licences out of the ONNX Runtime wheel: unpack.py WHEEL-FOLDER LIBRARY-FOLDER."""

import pathlib
import sys
import zipfile

WANTED = ("onnxruntime/capi/libonnxruntime", "onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt")

wheels, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
(wheel,) = wheels.glob("onnxruntime-1.24.4-*.whl")
with zipfile.ZipFile(wheel) as z:
    for name in z.namelist():
        if name.startswith(WANTED):
            (target / pathlib.Path(name).name).write_bytes(z.read(name))
