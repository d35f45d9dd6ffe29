"""Reads what a PACS received with pydicom and highdicom, and compares it with the CT, our own masks and the truth.

usage: readback.py CT-FOLDER OURS.u8 TRUTH.u8 OBJECT...

OURS and TRUTH are label volumes, one byte a voxel (0 none, 1 IPH .. 5 EDH), slices feet to head, then rows, columns.
"""

import pathlib
import sys

import highdicom as hd
import numpy as np
import pydicom
from pydicom.sr.codedict import codes

SUBTYPES = {"Intraparenchymal": 1, "Intraventricular": 2, "Subarachnoid": 3, "Subdural": 4, "Epidural": 5}

folder, ours_path, truth_path, *objects = sys.argv[1:]
ct = sorted((pydicom.dcmread(p) for p in pathlib.Path(folder).glob("*.dcm")), key=lambda d: d.ImagePositionPatient[2])
index = {d.SOPInstanceUID: k for k, d in enumerate(ct)}
shape = (len(ct), ct[0].Rows, ct[0].Columns)
ours = np.fromfile(ours_path, np.uint8).reshape(shape)
truth = np.fromfile(truth_path, np.uint8).reshape(shape)
voxel_ml = float(ct[0].PixelSpacing[0]) * float(ct[0].PixelSpacing[1]) * 5.0 / 1000

received = {"SEG": [], "SC": [], "SR": [], "KO": []}
for path in objects:
    d = pydicom.dcmread(path)
    kind = {"1.2.840.10008.5.1.4.1.1.66.4": "SEG", "1.2.840.10008.5.1.4.1.1.7": "SC", "1.2.840.10008.5.1.4.1.1.88.34": "SR",
            "1.2.840.10008.5.1.4.1.1.88.59": "KO"}
    received[kind[d.SOPClassUID]].append(path)
    assert d.PatientName == ct[0].PatientName and d.PatientID == ct[0].PatientID, "patient"
    assert d.StudyInstanceUID == ct[0].StudyInstanceUID, "study"
(seg_path,), (sr_path,), (ko_path,) = received["SEG"], received["SR"], received["KO"]

seg = hd.seg.segread(seg_path)
assert seg.FrameOfReferenceUID == ct[0].FrameOfReferenceUID, "frame of reference"
assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == ct[0].SeriesInstanceUID, "referenced series"
masks = np.zeros(shape, np.uint8)
for number in seg.segment_numbers:
    subtype = next(v for k, v in SUBTYPES.items() if k in seg.get_segment_description(number).SegmentLabel)
    for frame, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence):
        if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        k = index[source]
        assert group.PlanePositionSequence[0].ImagePositionPatient == ct[k].ImagePositionPatient, "plane position"
        assert not masks[k][frame > 0].any(), "one voxel in two segments"
        masks[k][frame > 0] = subtype
assert np.array_equal(masks, ours), f"{np.count_nonzero(masks != ours)} voxels differ from our masks"

found, blood = masks > 0, truth > 0
hit, mirrored = (found & blood).sum(), (found & blood[:, :, ::-1]).sum()
assert hit > 0.6 * found.sum(), f"{hit} of {found.sum()} voxels lie on blood"
assert mirrored < 0.5 * hit, f"left and right: {hit} voxels on blood, {mirrored} mirrored"

note = pydicom.dcmread(ko_path)
assert note.ConceptNameCodeSequence[0].CodeValue == "113000", "title of the key object note"
named = {i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in note.ContentSequence if i.ValueType == "IMAGE"}
keys = named & set(index)
assert named == keys | {seg.SOPInstanceUID}, "the key object note points at images of the CT and the segmentation"
assert keys and all(ours[index[k]].any() for k in keys), "key slices have hemorrhage"

sr = hd.sr.srread(sr_path)
groups = sr.content.get_volumetric_roi_measurement_groups()
volumes = {}
for g in groups:
    if str(g.tracking_identifier).split()[-1].isdigit():
        continue  # of one lesion
    (number,) = (
        item.ReferencedSOPSequence[0].ReferencedSegmentNumber
        for item in g[0].ContentSequence
        if item.ValueType == "IMAGE" and "ReferencedSegmentNumber" in item.ReferencedSOPSequence[0]
    )
    (volume,) = g.get_measurements(name=codes.SCT.Volume)
    volumes[int(number)] = float(volume.value)
for number in seg.segment_numbers:
    subtype = next(v for k, v in SUBTYPES.items() if k in seg.get_segment_description(number).SegmentLabel)
    counted = (masks == subtype).sum() * voxel_ml
    if int(number) not in volumes:  # no part of it reaches the reporting floor
        assert counted < 1, f"the SR leaves out {counted:.2f} mL of segment {number}"
        continue
    rounding = 0.05 if counted < 9.95 else 0.5  # of the report
    assert abs(volumes[number] - counted) < rounding + 0.01, f"SR says {volumes[number]} mL, the SEG holds {counted:.2f} mL"
print(f"{len(seg.segment_numbers)} segments, {len(seg.pixel_array)} frames, {len(received['SC'])} captures: masks equal, {hit}/{found.sum()} voxels on blood, {mirrored} if mirrored")
