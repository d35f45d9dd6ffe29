"""Prints what pydicom reads of CT images: for each file named on the command line one line of JSON.

usage: values.py FILE...
"""
import hashlib
import json
import sys

import pydicom

print(json.dumps({"version": pydicom.__version__}))
for path in sys.argv[1:]:
    try:
        d = pydicom.dcmread(path)
        hu = d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept)
        place = [float(v) for v in list(d.PixelSpacing) + list(d.ImagePositionPatient)]
        print(json.dumps({"hu": hashlib.sha256(hu.round().clip(-1024, 32767).astype("<i2").tobytes()).hexdigest(), "place": place}))
    except Exception as e:  # whatever it is, it cannot read this file
        print(json.dumps({"error": type(e).__name__}))
