"""Takes libraries and licences out of the wheels of cuda.txt: unpack_cuda.py WHEEL-FOLDER TARGET. The libraries of all wheels
lie beside each other, where the loader finds them by $ORIGIN or by the LD_LIBRARY_PATH of the drop-in."""

import pathlib
import re
import sys
import zipfile

# Libraries that inference never loads: static ones, profilers, the TensorRT provider without TensorRT.
UNWANTED = re.compile(r"\.a$|nvblas|cupti|\.alt\.|cufftw|providers_tensorrt|checkpoint")
LICENCE = re.compile(r"(^|/)(licen[cs]es?[^/]*|ThirdPartyNotices\.txt|EULA[^/]*)$", re.I)

wheels, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
(target / "lib").mkdir(parents=True)
(target / "licences").mkdir()
for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as z:
        for name in z.namelist():
            file = pathlib.PurePosixPath(name)
            if re.search(r"\.so(\.[0-9.]+)?$", name) and ("/capi/libonnx" in name or name.startswith("nvidia/")) and not UNWANTED.search(name):
                (target / "lib" / file.name).write_bytes(z.read(name))
            elif LICENCE.search(name):
                (target / "licences" / f"{wheel.name.split('-')[0]}-{file.name}").write_bytes(z.read(name))
