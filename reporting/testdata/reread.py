"""Reads the objects of each folder with pydicom and highdicom and compares them with truth.json,
labels.raw and cavity.raw, which the test wrote from its own memory. Ends with an assertion error on the first difference."""

import json
import sys
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom


def check_seg(folder, truth, labels):
    path = folder / "seg.dcm"
    present = [i for i in range(1, 6) if (labels == i).any()]
    wanted = [labels == i for i in present]
    if not wanted:
        assert not path.exists()
        return None
    seg = read_binary(path, truth, wanted)
    for n, value in enumerate(present):
        name = truth["subtypes"][value - 1]
        d = seg.get_segment_description(n + 1)
        assert d.tracking_id == "ichor " + name and d.segmented_property_type.value == "50960005"
        algorithm = d.SegmentationAlgorithmIdentificationSequence[0]
        assert truth["digest"] in algorithm.AlgorithmParameters and "precision=float32" in algorithm.AlgorithmParameters
        where = centroid(seg, n + 1)
        assert np.linalg.norm(where - truth["centres"][name]) < 8, f"{name} at {where}, not {truth['centres'][name]}"
    deflated = pydicom.dcmread(folder / "seg-deflated.dcm")
    assert deflated.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1.99" and (deflated.pixel_array == seg.pixel_array).all()
    return seg


def check_cavity(folder, truth, shape):
    """The cavity is a segmentation of its own, since viewers lose segments where some overlap."""
    path = folder / "seg-cavity.dcm"
    assert path.exists() == bool(truth["cavity"])
    if not path.exists():
        return None
    cavity = np.fromfile(folder / "cavity.raw", np.uint8).reshape(shape) != 0
    seg = read_binary(path, truth, [cavity])
    d = seg.get_segment_description(1)
    assert d.segmented_property_type.value == "1101003" and d.tracking_id == "ichor intracranial cavity"
    assert seg.SeriesNumber == 9007
    return seg


def read_binary(path, truth, wanted):
    """A binary segmentation whose segments have exactly the voxels that are wanted, and do not overlap."""
    seg = hd.seg.segread(path)
    assert seg.SegmentationType == "BINARY" and seg.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert seg.SegmentsOverlap == "NO" and sum(m.astype(int) for m in wanted).max() == 1
    check_source(seg, truth)
    assert list(seg.segment_numbers) == list(range(1, len(wanted) + 1))
    frames = [(g.SegmentIdentificationSequence[0].ReferencedSegmentNumber, tuple(g.PlanePositionSequence[0].ImagePositionPatient))
              for g in seg.PerFrameFunctionalGroupsSequence]
    assert len(set(frames)) == len(frames) == seg.NumberOfFrames, "two frames of one segment on one slice"
    filled = sum(m.any(axis=(1, 2)).sum() for m in wanted)
    size = seg.Rows * seg.Columns
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    assert filled <= len(frames) < filled + 16 and sum(f.any() for f in pixels) == filled
    if len(frames) > filled or size % 16 == 0:  # what a viewer takes it for: as cornerstone3D's adapter tells the layouts apart
        n = len(seg.PixelData)
        assert n != len(frames) * size and n == (len(frames) * size + 7) // 8
        assert size % 8 == 0 or n != len(frames) * ((size + 7) // 8)
    masks = seg.get_pixels_by_source_instance(truth["sources"], assert_missing_frames_are_empty=True)
    assert masks.shape == wanted[0].shape + (len(wanted),), masks.shape
    for n, mask in enumerate(wanted):
        assert (masks[..., n] == mask).all(), f"segment {n + 1} differs"
    return seg


def check_label_maps(folder, truth, labels):
    """The same as label maps, and the report that refers to those."""
    present = [i for i in range(1, 6) if (labels == i).any()]
    numbers = np.zeros_like(labels)
    for n, value in enumerate(present):
        numbers[labels == value] = n + 1
    seg = check_label_map(folder / "seg-labelmap.dcm", truth, numbers if truth["labelmap"] else None)
    cavity = (np.fromfile(folder / "cavity.raw", np.uint8).reshape(labels.shape) != 0).astype(np.uint8)
    other = check_label_map(folder / "seg-cavity-labelmap.dcm", truth, cavity if truth["labelmap"] and truth["cavity"] else None)
    if seg or other:
        check_sr(folder, "sr-labelmap.dcm", truth, [s for s in (seg, other) if s])


def check_label_map(path, truth, numbers):
    """A label map: each voxel has the number of its segment, and no item describes the background."""
    wanted = numbers is not None and numbers.any()
    assert path.exists() == wanted
    if not wanted:
        return None
    seg = hd.seg.segread(path)
    assert seg.SegmentationType == "LABELMAP" and seg.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7"
    check_source(seg, truth)
    assert [s.SegmentNumber for s in seg.SegmentSequence] == list(range(1, numbers.max() + 1)) and seg.PixelPaddingValue == 0
    masks = seg.get_pixels_by_source_instance(truth["sources"], combine_segments=True, assert_missing_frames_are_empty=True)
    assert (masks == numbers).all(), "the label map differs"
    return seg


def check_source(seg, truth):
    assert seg.FrameOfReferenceUID == truth["frame_of_reference"]
    referenced = seg.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == truth["series"]
    assert [r.ReferencedSOPInstanceUID for r in referenced.ReferencedInstanceSequence] == truth["sources"]


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


def check_sr(folder, name, truth, segs):
    sr = hd.sr.srread(folder / name)
    assert sr.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34" and sr.VerificationFlag == "UNVERIFIED"
    words = [e.value for e in sr.iterall() if e.keyword == "TextValue"]
    assert truth["disclaimer"] in words
    if truth["status"] == "refused":
        assert any(truth["reason"] in w for w in words) and not any("Send the axial" in w for w in words)
        return
    evidence = {r.ReferencedSOPInstanceUID for s in sr.CurrentRequestedProcedureEvidenceSequence
                for e in s.ReferencedSeriesSequence for r in e.ReferencedSOPSequence}
    assert evidence == set(truth["sources"]) | {seg.SOPInstanceUID for seg in segs}
    text = [i.TextValue for i in sr.ContentSequence if i.ValueType == "TEXT" and i.RelationshipType == "CONTAINS"]
    assert text[0] == truth["disclaimer"], "the disclaimer does not come first"
    links = [n for n, i in enumerate(sr.ContentSequence) if i.ConceptNameCodeSequence[0].CodeValue == "111028"]
    summary = [n for n, i in enumerate(sr.ContentSequence) if i.ConceptNameCodeSequence[0].CodeValue == "121111"]
    assert len(links) == len(summary) == 1 and summary < links, "the finding does not come before the links to images"
    algorithms = [e.value for e in sr.iterall() if e.keyword == "CodeValue" and e.value in ("111001", "111003", "111002")]
    assert sorted(algorithms) == ["111001", "111002", "111003"], "the algorithm is not named once"
    parameters = [w for w in words if truth["digest"] in w]
    assert len(parameters) == 1 and "bleed_threshold=0.35" in parameters[0]
    groups = {g.tracking_identifier: g for g in sr.content.get_volumetric_roi_measurement_groups()}
    uids = [g.tracking_uid for g in groups.values()]
    assert len(set(uids)) == len(uids)
    items = [(seg, item) for seg in segs for item in seg.SegmentSequence]
    assert len(groups) == len(items) + len(truth["lesions"] or [])
    segments = {}
    for seg, item in items:
        group, name = groups[item.TrackingID], item.TrackingID.removeprefix("ichor ")
        segments[name] = (seg.SOPInstanceUID, item.SegmentNumber)
        assert group.tracking_uid == item.TrackingUID and reference(group) == segments[name]
        assert group.finding_sites[0].value == item.AnatomicRegionSequence[0]
        check_volume(group, truth["volumes"][name], truth["range"] and name in truth["subtypes"] and [truth["range"][k][name] for k in ("low", "high")])
    check_lesions(groups, segments, truth["lesions"] or [])
    others = sr.content.get_image_measurement_groups()
    total = [g for g in others if g.tracking_identifier == "ichor all hemorrhage"]
    assert len(total) == 1
    check_volume(total[0], truth["volumes"]["total"], truth["range"] and [truth["range"][k]["total"] for k in ("low", "high")])
    (container,) = [i for i in sr.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "C0034375"]
    (detected,) = [i for i in container.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "1386000"]
    assert detected.ConceptCodeSequence[0].CodeValue == ("260373001" if truth["volumes"]["total"] else "260415000")


def reference(group):
    segment = group.referenced_segment
    (number,) = segment.referenced_segment_numbers
    return segment.referenced_sop_instance_uid, number


def rounded(ml):
    """A volume as far as it is known: 0.1 mL below 10 mL, 1 mL from there on."""
    return round(ml, 1) if ml < 9.95 else round(ml)


def check_volume(group, ml, bounds=None):
    (volume,) = group.get_measurements(name=hd.sr.CodedConcept("118565006", "SCT", "Volume"))
    assert volume.unit.value == "mL" and abs(volume.value - rounded(ml)) < 0.001, (volume.value, ml)
    inside = {i.ConceptNameCodeSequence[0].CodeValue: float(i.MeasuredValueSequence[0].NumericValue)
              for i in volume[0].get("ContentSequence", []) if i.RelationshipType == "HAS PROPERTIES"}
    if bounds:
        value, step = float(volume.value), 0.11 if max(bounds) < 9.95 else 1.1
        assert abs(value - inside["371885007"] - bounds[0]) < step and abs(value + inside["371886008"] - bounds[1]) < step, (value, inside, bounds)
    else:
        assert not inside


def check_lesions(groups, segments, lesions):
    """Each lesion of the finding has a group with its volume, axes, sites and side, and the segment of its subtype."""
    codes = {"frontal": "83251001", "parietal": "16630005", "temporal": "78277001", "occipital": "31065004", "basal ganglia or thalamus": "372073000",
             "lateral ventricle": "66720007", "third ventricle": "49841001", "fourth ventricle": "35918002"}
    sides = {"left": ("7771000", "SCT"), "right": ("24028007", "SCT"), "both sides": ("51440002", "SCT"), "midline": ("130290", "DCM")}
    median = {"49841001", "35918002"}
    count = {}
    for lesion in lesions:
        count[lesion["subtype"]] = n = count.get(lesion["subtype"], 0) + 1
        group = groups[f"ichor {lesion['subtype']} {n}"]
        assert reference(group) == segments[lesion["subtype"]]
        check_volume(group, lesion["volume_ml"])
        for code, mm in (("103339001", lesion["max_diameter_mm"]), ("103340004", lesion["width_mm"])):
            found = [m for m in group.get_measurements() if m.name.value == code]
            assert [m.value for m in found] == ([round(mm)] if mm else []) and all(m.unit.value == "mm" for m in found)
        for site in group.finding_sites:
            side = "midline" if site.value.value in median else lesion["side"]
            assert (site.laterality.value, site.laterality.scheme_designator) == sides[side], (lesion, site.laterality)
        known = [codes[s] for s in lesion.get("sites") or [] if s in codes]
        if lesion["subtype"] in ("IPH", "IVH") and known:
            assert [s.value.value for s in group.finding_sites] == known


def check_sc(folder, truth):
    paths = sorted(folder.glob("sc/*.dcm")) + sorted(folder.glob("overlay/*.dcm"))
    for path in paths:
        d = pydicom.dcmread(path)
        assert d.BurnedInAnnotation == "YES" and d.PhotometricInterpretation == "RGB"
        assert d.pixel_array.shape == (d.Rows, d.Columns, 3) and d.pixel_array.std() > 20
        if truth["status"] == "refused":
            assert d.InstanceNumber == 1 and d.SeriesNumber == 9002 and "SourceImageSequence" not in d
            continue
        assert all(r.ReferencedSOPInstanceUID in truth["sources"] for r in d.SourceImageSequence)
        assert truth["digest"] in d.DerivationDescription and truth["digest"] == d.ContributingEquipmentSequence[0].DeviceSerialNumber


def check_overlay(folder, truth, seg):
    """A voxel of a segment, put into the picture by the position and scale that the picture states, has its colour."""
    colours = {"IPH": (230, 85, 13), "IVH": (86, 180, 233), "SAH": (240, 228, 66), "SDH": (0, 178, 130), "EDH": (214, 110, 178)}
    paths = sorted(folder.glob("overlay/*.dcm"))
    assert bool(paths) == any(i.TrackingID[6:] in colours for i in (seg.SegmentSequence if seg else []))
    seen = 0
    for path in paths:
        d = pydicom.dcmread(path)
        assert d.FrameOfReferenceUID == truth["frame_of_reference"]
        origin, spacing = np.array(d.ImagePositionPatient, float), float(d.PixelSpacing[0])
        right, down = np.array(d.ImageOrientationPatient[:3], float), np.array(d.ImageOrientationPatient[3:], float)
        assert right[0] > 0.5 and down[1] > 0.5, "not as a radiologist looks at it"
        (source,) = d.SourceImageSequence
        for frame, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence):
            if group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID != source.ReferencedSOPInstanceUID:
                continue
            item = seg.SegmentSequence[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1]
            name = item.TrackingID[6:]
            rows, columns = np.nonzero(frame)
            shared = seg.SharedFunctionalGroupsSequence[0]
            o = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
            s = [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing]
            if name not in colours or len(rows) * s[0] * s[1] < 30:
                continue
            i = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
            corner = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
            away = corner + columns[i] * s[1] * o[:3] + rows[i] * s[0] * o[3:] - origin
            assert abs(np.cross(right, down) @ away) < 0.01, "in another plane"
            x, y = round(away @ right / spacing), round(away @ down / spacing)
            tinted = d.pixel_array[y, x].astype(float)
            grey = (tinted - 0.2 * np.array(colours[name])) / 0.8  # what was there before: the same in all three channels
            assert np.ptp(grey) < 4, f"{path.name}: {name} at {x}, {y} is {tinted}"
            seen += 1
    assert seen > 0 or not paths


def check_ko(folder, truth, seg):
    note = hd.ko.KeyObjectSelectionDocument.from_dataset(pydicom.dcmread(folder / "rejection.dcm"))
    assert note.Modality == "KO" and note.ConceptNameCodeSequence[0].CodeValue == "113001"
    for name in ["seg.dcm", "sr.dcm", "sc/1.dcm", "ko.dcm"]:
        if (folder / name).exists():
            d = pydicom.dcmread(folder / name)
            assert note.resolve_reference(d.SOPInstanceUID) == (d.StudyInstanceUID, d.SeriesInstanceUID, d.SOPInstanceUID)
    if not (folder / "ko.dcm").exists():
        return
    key = hd.ko.KeyObjectSelectionDocument.from_dataset(pydicom.dcmread(folder / "ko.dcm"))
    assert key.ConceptNameCodeSequence[0].CodeValue == "113000"
    named = {i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in key.ContentSequence if "ReferencedSOPSequence" in i}
    slices = named - {seg.SOPInstanceUID}
    assert seg.SOPInstanceUID in named and slices and slices <= set(truth["sources"])
    for uid in slices:
        assert key.resolve_reference(uid)[1] == truth["series"]


def check(folder):
    truth = json.loads((folder / "truth.json").read_text())
    seg, cavity = None, None
    if truth["status"] != "refused":
        labels = np.fromfile(folder / "labels.raw", np.uint8).reshape(-1, truth["rows"], truth["columns"])
        seg = check_seg(folder, truth, labels)
        cavity = check_cavity(folder, truth, labels.shape)
        check_label_maps(folder, truth, labels)
        if seg:
            check_overlay(folder, truth, seg)
    check_sc(folder, truth)
    check_sr(folder, "sr.dcm", truth, [s for s in (seg, cavity) if s])
    check_ko(folder, truth, seg)


def check_finding(folder):
    """The report has the lesions of finding.json, each with its volume and side, the total, and nothing else that looks like a lesion."""
    finding = json.loads((folder / "finding.json").read_text())
    sr = hd.sr.srread(folder / "sr.dcm")
    volumetric = sr.content.get_volumetric_roi_measurement_groups()
    if finding["status"] == "refused":
        assert not volumetric and not sr.content.get_image_measurement_groups()
        return
    lesions, volumes, floor = finding.get("lesions") or [], finding["volumes_ml"], finding.get("least_lesion_ml", 0)
    groups = {g.tracking_identifier: g for g in volumetric}
    segments = {n.removeprefix("ichor "): reference(g) for n, g in groups.items()}
    check_lesions(groups, segments, lesions)
    listed = {l["subtype"] for l in lesions}
    names = {s for s in volumes if s != "total" and volumes[s] > 0 and (volumes[s] >= floor or s in listed or not lesions)}
    numbered = {n for n in segments if n[-1].isdigit()}
    assert numbered == {f"{s} {i + 1}" for s in listed for i in range(sum(l["subtype"] == s for l in lesions))}
    assert set(segments) - numbered - {"intracranial cavity"} == names, (set(segments), names)
    for name in names:
        check_volume(groups[f"ichor {name}"], volumes[name], [finding["volumes_range_ml"][k][name] for k in ("low", "high")] if finding.get("volumes_range_ml") else None)
    (total,) = [g for g in sr.content.get_image_measurement_groups() if g.tracking_identifier == "ichor all hemorrhage"]
    check_volume(total, volumes["total"], [finding["volumes_range_ml"][k]["total"] for k in ("low", "high")] if finding.get("volumes_range_ml") else None)


if sys.argv[1] == "--findings":
    for argument in sys.argv[2:]:
        print(argument)
        check_finding(Path(argument))
else:
    for argument in sys.argv[1:]:
        print(argument)
        check(Path(argument))
