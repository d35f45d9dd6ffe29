package volume

import (
	"fmt"
	"slices"
	"strings"

	"ichor/scp/dcm"
)

// maxCopied bounds what expanding one object may cost: elements of its top level times frames.
const maxCopied = 4 << 20

// Frames expands the header of a multi-frame CT object (Enhanced CT, PS3.3 §A.38.1, and Legacy Converted Enhanced CT,
// §A.70) into one header a frame, with the attributes that a CT Image would have: the frame's functional groups, then the
// shared ones, then the top level. Each names its frame by ReferencedFrameNumber, counted from 1. Any other header is its
// own only frame. What a group does not say stays unsaid, for Arrange and StoredOf to refuse.
//
// pixelBytes is how long the native pixel data is; negative where that is not known, as for compressed pixels. Errors:
// dcm.ErrPixelData where the frames are not those of the pixel data, dcm.ErrLimit.
func Frames(h *dcm.DataSet, pixelBytes int64) ([]*dcm.DataSet, error) {
	switch h.String(dcm.SOPClassUID) {
	case dcm.EnhancedCTImageStorage, dcm.LegacyConvertedEnhancedCTImageStorage:
	default:
		if n, ok := h.Int(dcm.NumberOfFrames); ok && n > 1 && h.String(dcm.SOPClassUID) == dcm.CTImageStorage {
			return nil, fmt.Errorf("Number of Frames %s is %d in a CT Image, which has one frame and one position; send it as Enhanced CT, or as single images: %w",
				dcm.NumberOfFrames, n, dcm.ErrPixelData)
		}
		h.Delete(dcm.ReferencedFrameNumber) // it has no business there
		return []*dcm.DataSet{h}, nil
	}
	each := h.Sequence(dcm.PerFrameFunctionalGroupsSequence)
	n, ok := h.Int(dcm.NumberOfFrames)
	if !ok || n == 0 { // dcm.File.Image takes these for one frame
		n = 1
	}
	if n < 1 || n != len(each) {
		return nil, fmt.Errorf("Number of Frames %s is %d, but Per-Frame Functional Groups Sequence %s has %d items: %w",
			dcm.NumberOfFrames, n, dcm.PerFrameFunctionalGroupsSequence, len(each), dcm.ErrPixelData)
	}
	rows, _ := h.Int(dcm.Rows)
	columns, _ := h.Int(dcm.Columns)
	bits, _ := h.Int(dcm.BitsAllocated)
	if frame := int64(rows) * int64(columns) * int64(bits/8); pixelBytes >= 0 && (frame < 1 || int64(n) > pixelBytes/frame) {
		return nil, fmt.Errorf("%d frames of %d bytes, the pixel data has %d: %w", n, frame, pixelBytes, dcm.ErrPixelData)
	}
	if n*len(h.Elements()) > maxCopied {
		return nil, fmt.Errorf("%d frames, each with %d attributes: %w", n, len(h.Elements()), dcm.ErrLimit)
	}
	shared := h.Clone()
	for _, t := range []dcm.Tag{dcm.NumberOfFrames, dcm.PerFrameFunctionalGroupsSequence, dcm.SharedFunctionalGroupsSequence,
		dcm.DimensionIndexSequence, dcm.DimensionOrganizationSequence} {
		shared.Delete(t)
	}
	for _, group := range h.Sequence(dcm.SharedFunctionalGroupsSequence) {
		flatten(shared, group)
	}
	out := make([]*dcm.DataSet, n)
	for i, group := range each {
		d := shared.Clone()
		flatten(d, group)
		name(d)
		d.SetStrings(dcm.ReferencedFrameNumber, "IS", fmt.Sprint(i+1))
		if len(d.Elements())*n > maxCopied {
			return nil, fmt.Errorf("%d frames, one with %d attributes: %w", n, len(d.Elements()), dcm.ErrLimit)
		}
		out[i] = d
	}
	return out, nil
}

// groups are the functional groups that are read, and what is taken from them under the name it has in a CT Image
// (PS3.3 §C.7.6.16.2, §C.8.15.3).
var groups = []struct {
	sequence dcm.Tag
	from, to dcm.Tag
}{
	{dcm.PlanePositionSequence, dcm.ImagePositionPatient, dcm.ImagePositionPatient},
	{dcm.PlaneOrientationSequence, dcm.ImageOrientationPatient, dcm.ImageOrientationPatient},
	{dcm.PixelMeasuresSequence, dcm.PixelSpacing, dcm.PixelSpacing},
	{dcm.PixelMeasuresSequence, dcm.SliceThickness, dcm.SliceThickness},
	{dcm.PixelMeasuresSequence, dcm.SpacingBetweenSlices, dcm.SpacingBetweenSlices},
	{dcm.PixelValueTransformationSequence, dcm.RescaleIntercept, dcm.RescaleIntercept},
	{dcm.PixelValueTransformationSequence, dcm.RescaleSlope, dcm.RescaleSlope},
	{dcm.PixelValueTransformationSequence, dcm.RescaleType, dcm.RescaleType},
	{dcm.CTImageFrameTypeSequence, dcm.FrameType, dcm.ImageType},
	{dcm.CTImageFrameTypeSequence, dcm.VolumetricProperties, dcm.VolumetricProperties},
	{dcm.CTImageFrameTypeSequence, dcm.VolumeBasedCalculationTechnique, dcm.VolumeBasedCalculationTechnique},
	{dcm.FrameContentSequence, dcm.FrameAcquisitionNumber, dcm.AcquisitionNumber},
	{dcm.FrameContentSequence, dcm.FrameAcquisitionDateTime, dcm.AcquisitionDateTime},
	{dcm.FrameContentSequence, dcm.TemporalPositionIndex, dcm.TemporalPositionIdentifier},
	{dcm.FrameContentSequence, dcm.StackID, dcm.StackID},
	{dcm.CTReconstructionSequence, dcm.ConvolutionKernel, dcm.ConvolutionKernel},
	{dcm.CTReconstructionSequence, dcm.ConvolutionKernelGroup, dcm.ConvolutionKernelGroup},
	{dcm.CTReconstructionSequence, dcm.ReconstructionAlgorithm, dcm.ReconstructionAlgorithm},
	{dcm.CTXRayDetailsSequence, dcm.KVP, dcm.KVP},
	{dcm.FrameAnatomySequence, dcm.AnatomicRegionSequence, dcm.AnatomicRegionSequence},
	{dcm.IrradiationEventIdentificationSequence, dcm.IrradiationEventUID, dcm.IrradiationEventUID},
	{dcm.ContrastBolusUsageSequence, dcm.ContrastBolusAgentAdministered, dcm.ContrastBolusAgentAdministered},
}

// flatten puts what the functional groups of one item say onto the top level of d. A converted object keeps what has no
// group as it was in the single images (PS3.3 §C.7.6.16.2.25).
func flatten(d, item *dcm.DataSet) {
	for _, t := range []dcm.Tag{dcm.UnassignedSharedConvertedAttributesSequence, dcm.UnassignedPerFrameConvertedAttributesSequence} {
		for _, converted := range item.Sequence(t) {
			for _, e := range converted.Elements() {
				if e.VR != "SQ" || e.Tag == dcm.ContrastBolusAgentSequence || e.Tag == dcm.ModalityLUTSequence {
					d.Put(e)
				}
			}
		}
	}
	for _, g := range groups {
		inner := item.Sequence(g.sequence)
		if len(inner) == 0 {
			continue
		}
		e, ok := inner[0].Get(g.from)
		if !ok {
			continue
		}
		if v, ok := e.Value.([]int64); ok && g.to.VR() == "IS" && len(v) > 0 { // the same number, as a CT Image writes it
			e.Value = []string{fmt.Sprint(v[0])}
		}
		e.Tag, e.VR = g.to, g.to.VR()
		d.Put(e)
	}
}

// name fills in attributes of words that a CT Image has and a multi-frame one tells by code or by time stamp.
func name(d *dcm.DataSet) {
	if region := d.Sequence(dcm.AnatomicRegionSequence); d.String(dcm.BodyPartExamined) == "" && len(region) > 0 {
		if word := strings.ToUpper(region[0].String(dcm.CodeMeaning)); word != "" && len(word) <= 16 { // CS: PS3.5 §6.2
			d.SetStrings(dcm.BodyPartExamined, "CS", word)
		}
	}
	given := d.Strings(dcm.ContrastBolusAgentAdministered)
	if agents := d.Sequence(dcm.ContrastBolusAgentSequence); len(agents) > 0 && (len(given) == 0 || slices.Contains(given, "YES")) {
		if d.String(dcm.ContrastBolusAgent) == "" {
			word := agents[0].String(dcm.CodeMeaning)
			if word == "" {
				word = "contrast agent"
			}
			d.SetStrings(dcm.ContrastBolusAgent, "LO", word)
		}
	}
	if t := d.String(dcm.AcquisitionDateTime); len(t) >= 14 && d.String(dcm.AcquisitionDate) == "" {
		d.SetStrings(dcm.AcquisitionDate, "DA", t[:8])
		clock, _, _ := strings.Cut(strings.ReplaceAll(t[8:], "-", "+"), "+") // without the offset from UTC
		d.SetStrings(dcm.AcquisitionTime, "TM", clock)
	}
}
