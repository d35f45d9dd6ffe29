"""Reads seg.dcm, sc/*.dcm and sr.dcm of each folder with pydicom and highdicom and compares them with truth.json and
labels.raw, which the test wrote from its own memory. Ends with an assertion error on the first difference."""

import json
import sys
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom


def check_seg(folder, truth, labels):
    path = folder / "seg.dcm"
    present = [i for i in range(1, 6) if (labels == i).any()]
    if not present:
        assert not path.exists()
        return None
    seg = hd.seg.segread(path)
    assert seg.SegmentationType == "BINARY" and seg.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert seg.FrameOfReferenceUID == truth["frame_of_reference"]
    assert list(seg.segment_numbers) == list(range(1, len(present) + 1))
    assert seg.NumberOfFrames == sum((labels == i).any(axis=(1, 2)).sum() for i in present)
    referenced = seg.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == truth["series"]
    assert [r.ReferencedSOPInstanceUID for r in referenced.ReferencedInstanceSequence] == truth["sources"]
    masks = seg.get_pixels_by_source_instance(truth["sources"], assert_missing_frames_are_empty=True)
    assert masks.shape == labels.shape + (len(present),), masks.shape
    for n, value in enumerate(present):
        assert (masks[..., n] == (labels == value)).all(), f"segment {n + 1} is not subtype {value}"
    for n, value in enumerate(present):
        name = truth["subtypes"][value - 1]
        d = seg.get_segment_description(n + 1)
        assert d.tracking_id == "ichor " + name and d.segmented_property_type.value == "50960005"
        where = centroid(seg, n + 1)
        assert np.linalg.norm(where - truth["centres"][name]) < 8, f"{name} at {where}, not {truth['centres'][name]}"
    return seg


def centroid(seg, number):
    """Centre of a segment in patient coordinates, from the functional groups alone."""
    spacing = [float(v) for v in seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing]
    orientation = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    along_row, along_column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    points = []
    for frame, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence):
        if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        origin = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(frame)
        points.append(origin + np.outer(columns * spacing[1], along_row) + np.outer(rows * spacing[0], along_column))
    return np.concatenate(points).mean(axis=0)


def check_sr(folder, truth, seg):
    sr = hd.sr.srread(folder / "sr.dcm")
    assert sr.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34" and sr.VerificationFlag == "UNVERIFIED"
    words = [e.value for e in sr.iterall() if e.keyword == "TextValue"]
    assert truth["disclaimer"] in words
    if truth["status"] == "refused":
        assert any(truth["reason"] in w for w in words)
        return
    evidence = {r.ReferencedSOPInstanceUID for s in sr.CurrentRequestedProcedureEvidenceSequence
                for e in s.ReferencedSeriesSequence for r in e.ReferencedSOPSequence}
    assert evidence == set(truth["sources"]) | ({seg.SOPInstanceUID} if seg else set())
    groups = sr.content.get_volumetric_roi_measurement_groups()
    assert len(groups) == (len(seg.SegmentSequence) if seg else 0)
    for n, group in enumerate(groups):
        item = seg.SegmentSequence[n]
        name = item.TrackingID.split()[-1]
        assert group.tracking_uid == item.TrackingUID and group.tracking_identifier == item.TrackingID
        reference = group.referenced_segment
        assert reference.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert list(reference.referenced_segment_numbers) == [item.SegmentNumber]
        assert group.finding_sites[0].value == item.AnatomicRegionSequence[0]
        (volume,) = group.get_measurements(name=hd.sr.CodedConcept("118565006", "SCT", "Volume"))
        assert volume.unit.value == "mL" and abs(volume.value - truth["volumes"][name]) < 0.001
    others = sr.content.get_image_measurement_groups()
    total = [g for g in others if g.tracking_identifier == "ichor all hemorrhage"]
    assert len(total) == 1 and abs(total[0].get_measurements()[0].value - truth["volumes"]["total"]) < 0.001


def check_sc(folder, truth):
    for path in sorted((folder / "sc").glob("*.dcm")):
        d = pydicom.dcmread(path)
        assert d.BurnedInAnnotation == "YES" and d.PhotometricInterpretation == "RGB"
        assert d.pixel_array.shape == (d.Rows, d.Columns, 3) and d.pixel_array.std() > 20
        assert all(r.ReferencedSOPInstanceUID in truth["sources"] for r in d.SourceImageSequence)


def check(folder):
    truth = json.loads((folder / "truth.json").read_text())
    seg = None
    if truth["status"] != "refused":
        labels = np.fromfile(folder / "labels.raw", np.uint8).reshape(-1, truth["rows"], truth["columns"])
        seg = check_seg(folder, truth, labels)
        check_sc(folder, truth)
    check_sr(folder, truth, seg)


for argument in sys.argv[1:]:
    print(argument)
    check(Path(argument))
