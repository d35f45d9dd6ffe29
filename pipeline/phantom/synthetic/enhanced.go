package synthetic

import (
	"strconv"

	"ichor/scp/dcm"
)

// EnhancedOptions are choices for a multi-frame object; a zero field stands for its default.
type EnhancedOptions struct {
	WriteOptions
	Legacy bool  // a Legacy Converted Enhanced CT, as an archive makes of single images; otherwise an Enhanced CT, as a scanner sends it
	Order  []int // the slice that each frame shows; feet to head
}

// Enhanced makes one multi-frame object of the whole study (Enhanced CT Image IOD, PS3.3 §A.38.1, or Legacy Converted
// Enhanced CT Image IOD, §A.70).
func (s *Study) Enhanced(o EnhancedOptions) (*dcm.DataSet, Truth) {
	single, truth := s.DataSets(o.WriteOptions)
	order := o.Order
	if order == nil {
		for k := range single {
			order = append(order, k)
		}
	}
	d := single[0].Clone()
	date := d.String(dcm.ContentDate) + d.String(dcm.ContentTime)
	for _, t := range []dcm.Tag{dcm.ImagePositionPatient, dcm.ImageOrientationPatient, dcm.PixelSpacing, dcm.SliceThickness, dcm.SliceLocation,
		dcm.RescaleIntercept, dcm.RescaleSlope, dcm.RescaleType, dcm.WindowCenter, dcm.WindowWidth, dcm.ConvolutionKernel, dcm.KVP,
		dcm.AcquisitionDate, dcm.AcquisitionTime, dcm.AcquisitionNumber} {
		d.Delete(t)
	}
	class := dcm.EnhancedCTImageStorage
	if o.Legacy {
		class = dcm.LegacyConvertedEnhancedCTImageStorage
	}
	d.SetStrings(dcm.SOPClassUID, "UI", class)
	d.SetStrings(dcm.SOPInstanceUID, "UI", dcm.RandomUID())
	d.SetStrings(dcm.ImageType, "CS", "ORIGINAL", "PRIMARY", "VOLUME", "NONE")
	d.SetStrings(dcm.PixelPresentation, "CS", "MONOCHROME")
	d.SetStrings(dcm.VolumetricProperties, "CS", "VOLUME")
	d.SetStrings(dcm.VolumeBasedCalculationTechnique, "CS", "NONE")
	d.SetStrings(dcm.AcquisitionDateTime, "DT", date)
	d.SetStrings(dcm.NumberOfFrames, "IS", strconv.Itoa(len(order)))
	d.SetStrings(dcm.BurnedInAnnotation, "CS", "NO")
	d.SetStrings(dcm.LossyImageCompression, "CS", "00")
	d.SetStrings(dcm.InstanceNumber, "IS", "1")
	d.SetStrings(contentQualification, "CS", "PRODUCT")
	d.SetStrings(presentationLUTShape, "CS", "IDENTITY")
	d.SetSequence(acquisitionContext)
	dimensions(d)
	if !o.Legacy {
		d.Delete(dcm.BodyPartExamined) // told by Frame Anatomy
		d.SetStrings(dcm.MultienergyCTAcquisition, "CS", "NO")
		d.SetFloats(0x00189073, "FD", 30) // Acquisition Duration, s
	}
	d.SetSequence(dcm.SharedFunctionalGroupsSequence, s.sharedGroups(single[0], o.Legacy))
	var frames []*dcm.DataSet
	var pixels []byte
	for _, k := range order {
		frames = append(frames, frameGroups(single[k], k, date, o.Legacy))
		e, _ := single[k].Get(dcm.PixelData)
		raw, _ := e.Value.([]byte)
		pixels = append(pixels, raw...)
	}
	d.SetSequence(dcm.PerFrameFunctionalGroupsSequence, frames...)
	d.SetBytes(dcm.PixelData, "OW", pixels)
	return d, truth
}

// dimensions says that frames are ordered by their place in the stack (PS3.3 §C.7.6.17).
func dimensions(d *dcm.DataSet) {
	organization, index := &dcm.DataSet{}, &dcm.DataSet{}
	uid := dcm.RandomUID()
	organization.SetStrings(dcm.DimensionOrganizationUID, "UI", uid)
	d.SetSequence(dcm.DimensionOrganizationSequence, organization)
	index.SetStrings(dcm.DimensionOrganizationUID, "UI", uid)
	index.SetTags(dcm.DimensionIndexPointer, dcm.InStackPositionNumber)
	index.SetTags(dcm.FunctionalGroupPointer, dcm.FrameContentSequence)
	d.SetSequence(dcm.DimensionIndexSequence, index)
}

// group puts a functional group of one item on d, and takes from h what is named.
func group(d *dcm.DataSet, sequence dcm.Tag, h *dcm.DataSet, take ...dcm.Tag) *dcm.DataSet {
	item := &dcm.DataSet{}
	for _, t := range take {
		if e, ok := h.Get(t); ok {
			item.Put(e)
		}
	}
	d.SetSequence(sequence, item)
	return item
}

func frameType(d *dcm.DataSet) {
	g := group(d, dcm.CTImageFrameTypeSequence, nil)
	g.SetStrings(dcm.FrameType, "CS", "ORIGINAL", "PRIMARY", "VOLUME", "NONE")
	g.SetStrings(dcm.PixelPresentation, "CS", "MONOCHROME")
	g.SetStrings(dcm.VolumetricProperties, "CS", "VOLUME")
	g.SetStrings(dcm.VolumeBasedCalculationTechnique, "CS", "NONE")
}

func (s *Study) sharedGroups(h *dcm.DataSet, legacy bool) *dcm.DataSet {
	d := &dcm.DataSet{}
	group(d, dcm.PixelMeasuresSequence, h, dcm.PixelSpacing, dcm.SliceThickness)
	group(d, dcm.PlaneOrientationSequence, h, dcm.ImageOrientationPatient)
	group(d, dcm.FrameVOILUTSequence, h, dcm.WindowCenter, dcm.WindowWidth)
	group(d, dcm.PixelValueTransformationSequence, h, dcm.RescaleIntercept, dcm.RescaleSlope, dcm.RescaleType)
	if legacy {
		group(d, dcm.UnassignedSharedConvertedAttributesSequence, h, dcm.ConvolutionKernel, dcm.KVP, dcm.AcquisitionNumber)
		return d
	}
	anatomy := group(d, dcm.FrameAnatomySequence, h)
	anatomy.SetStrings(dcm.FrameLaterality, "CS", "U")
	region := group(anatomy, dcm.AnatomicRegionSequence, nil)
	region.SetStrings(dcm.CodeValue, "SH", "69536005")
	region.SetStrings(dcm.CodingSchemeDesignator, "SH", "SCT")
	region.SetStrings(dcm.CodeMeaning, "LO", "Head")
	event := group(d, dcm.IrradiationEventIdentificationSequence, nil)
	event.SetStrings(dcm.IrradiationEventUID, "UI", dcm.RandomUID())
	frameType(d)
	// What a scanner says of an original acquisition (PS3.3 §C.8.15.3).
	acquisition := group(d, dcm.CTAcquisitionTypeSequence, nil)
	acquisition.SetStrings(dcm.AcquisitionType, "CS", "SEQUENCED")
	acquisition.SetStrings(0x00189333, "CS", "NO") // Constant Volume Flag
	acquisition.SetStrings(0x00189334, "CS", "NO") // Fluoroscopy Flag
	group(d, 0x00189308, nil)                      // CT Table Dynamics: the table stands still
	details := group(d, 0x00189304, nil)           // CT Acquisition Details
	details.SetStrings(dcm.RotationDirection, "CS", "CW")
	details.SetFloats(dcm.RevolutionTime, "FD", 1)
	details.SetFloats(dcm.SingleCollimationWidth, "FD", s.SliceThicknessMM)
	details.SetFloats(dcm.TotalCollimationWidth, "FD", s.SliceThicknessMM)
	details.SetDecimals(dcm.TableHeight, 0)
	details.SetDecimals(dcm.GantryDetectorTilt, 0)
	details.SetDecimals(dcm.DataCollectionDiameter, 500)
	geometry := group(d, 0x00189312, nil) // CT Geometry
	geometry.SetDecimals(dcm.DistanceSourceToDetector, 1000)
	geometry.SetFloats(0x00189335, "FD", 600) // Distance Source to Data Collection Center
	reconstruction := group(d, dcm.CTReconstructionSequence, h, dcm.ConvolutionKernel)
	reconstruction.SetStrings(dcm.ReconstructionAlgorithm, "CS", "FILTER_BACK_PROJ")
	reconstruction.SetStrings(dcm.ConvolutionKernelGroup, "CS", "BRAIN")
	reconstruction.SetStrings(dcm.ImageFilter, "SH", "NONE")
	reconstruction.SetFloats(0x00189317, "FD", float64(s.Rows)*s.PixelSpacingMM[0], float64(s.Columns)*s.PixelSpacingMM[1])
	reconstruction.SetFloats(0x00189322, "FD", s.PixelSpacingMM[0], s.PixelSpacingMM[1])
	reconstruction.SetFloats(0x00189319, "FD", 360) // Reconstruction Angle
	exposure := group(d, 0x00189321, nil)           // CT Exposure
	exposure.SetFloats(0x00189328, "FD", 1000)      // ms
	exposure.SetFloats(0x00189330, "FD", 300)       // mA
	exposure.SetFloats(0x00189332, "FD", 300)       // mAs
	exposure.SetStrings(0x00189323, "CS", "NONE")   // Exposure Modulation Type
	exposure.SetFloats(dcm.CTDIvol, "FD", 50)
	phantom := group(exposure, 0x00189346, nil) // CTDI Phantom Type
	phantom.SetStrings(dcm.CodeValue, "SH", "113690")
	phantom.SetStrings(dcm.CodingSchemeDesignator, "SH", "DCM")
	phantom.SetStrings(dcm.CodeMeaning, "LO", "IEC Head Dosimetry Phantom")
	rays := group(d, dcm.CTXRayDetailsSequence, h, dcm.KVP)
	rays.SetDecimals(dcm.FocalSpots, 1)
	rays.SetStrings(dcm.FilterType, "SH", "FLAT")
	rays.SetStrings(0x00187050, "CS", "ALUMINUM") // Filter Material
	return d
}

// frameGroups are the functional groups of the frame that shows slice k.
func frameGroups(h *dcm.DataSet, k int, date string, legacy bool) *dcm.DataSet {
	d := &dcm.DataSet{}
	content := group(d, dcm.FrameContentSequence, nil)
	content.SetStrings(dcm.StackID, "SH", "1")
	content.SetInts(dcm.InStackPositionNumber, "UL", int64(k+1))
	content.SetInts(dcm.DimensionIndexValues, "UL", int64(k+1))
	content.SetInts(dcm.FrameAcquisitionNumber, "US", 1)
	group(d, dcm.PlanePositionSequence, h, dcm.ImagePositionPatient)
	if legacy {
		frameType(d)
		group(d, dcm.UnassignedPerFrameConvertedAttributesSequence, h, dcm.SliceLocation)
		return d
	}
	content.SetStrings(dcm.FrameAcquisitionDateTime, "DT", date)
	content.SetStrings(dcm.FrameReferenceDateTime, "DT", date)
	content.SetFloats(dcm.FrameAcquisitionDuration, "FD", 1000)
	p, _ := h.Floats(dcm.ImagePositionPatient)
	position := group(d, 0x00189326, nil)            // CT Position
	position.SetFloats(0x00189327, "FD", p[2])       // Table Position
	position.SetFloats(0x00189313, "FD", 0, 0, p[2]) // Data Collection Center (Patient)
	position.SetFloats(0x00189318, "FD", 0, 0, p[2]) // Reconstruction Target Center (Patient)
	return d
}

// Attributes that nothing else here needs.
const (
	contentQualification dcm.Tag = 0x00189004
	presentationLUTShape dcm.Tag = 0x20500020
	acquisitionContext   dcm.Tag = 0x00400555
)
