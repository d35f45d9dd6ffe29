// Package seg writes the Segmentation object (PS3.3 §A.51): BINARY, one segment for each subtype that has voxels and where
// asked for one for the intracranial cavity, one frame for each source slice on which a segment has any; or the same as a
// label map (PS3.3 §A.51, Label Map Segmentation), one frame for each slice with hemorrhage. A frame lies exactly on its
// source slice: same rows, columns, position, orientation and frame of reference, and it names the image it was made from,
// since viewers place it by that.
package seg

import (
	"ichor/reporting/iod"
	"ichor/scp/dcm"
)

// word names the object in derived UIDs and in the series description.
const word = "SEG"

// Reference points at the object that DataSet makes for c.
func Reference(c *iod.Case) iod.SeriesReferences {
	return iod.SeriesReferences{SeriesInstanceUID: c.SeriesUID(word),
		Instances: []iod.Reference{{SOPClassUID: class(c), SOPInstanceUID: c.InstanceUID(word, 1)}}}
}

func class(c *iod.Case) string {
	if c.LabelMap {
		return dcm.LabelMapSegmentationStorage
	}
	return dcm.SegmentationStorage
}

// DataSet makes the object. The case must have segments: an empty SEG is not valid, PS3.3 §C.8.20.2 asks for a frame.
func DataSet(c *iod.Case) *dcm.DataSet {
	d := &dcm.DataSet{}
	parts := segmentsOf(c)
	frames := framesOf(c, parts)
	c.Patient(d)
	c.Study(d)
	c.Series(d, "SEG", word, true)
	c.FrameOfReference(d)
	c.Equipment(d)
	c.SOPCommon(d, class(c), word, 1)
	c.CommonInstanceReference(d)
	image(d, c, frames)
	segments(d, c, parts)
	dimensions(d, c)
	functionalGroups(d, c, frames)
	if c.LabelMap {
		d.SetBytes(dcm.PixelData, "OB", numbers(c, parts, frames))
	} else {
		d.SetBytes(dcm.PixelData, "OB", bits(c, frames))
	}
	return d
}

// image fills the Image Pixel and Segmentation Image modules (PS3.3 §C.7.6.3, §C.8.20.2).
func image(d *dcm.DataSet, c *iod.Case, frames []frame) {
	depth, kind, overlap := int64(1), "BINARY", "NO"
	if c.LabelMap {
		depth, kind = 8, "LABELMAP"
		d.SetInts(dcm.PixelPaddingValue, "US", 0) // the background, which is no segment
	}
	if _, ok := c.CavityNumber(); ok && len(c.Segments()) > 0 {
		overlap = "YES" // hemorrhage lies in the cavity
	}
	d.SetStrings(dcm.ImageType, "CS", "DERIVED", "PRIMARY")
	d.SetInts(dcm.SamplesPerPixel, "US", 1)
	d.SetStrings(dcm.PhotometricInterpretation, "CS", "MONOCHROME2")
	d.SetStrings(dcm.NumberOfFrames, "IS", dcm.Decimal(float64(len(frames))))
	d.SetInts(dcm.Rows, "US", int64(c.Volume.Rows))
	d.SetInts(dcm.Columns, "US", int64(c.Volume.Columns))
	d.SetInts(dcm.BitsAllocated, "US", depth)
	d.SetInts(dcm.BitsStored, "US", depth)
	d.SetInts(dcm.HighBit, "US", depth-1)
	d.SetInts(dcm.PixelRepresentation, "US", 0)
	c.Lossy(d)
	d.SetStrings(dcm.SegmentationType, "CS", kind)
	d.SetStrings(dcm.SegmentsOverlap, "CS", overlap)
	d.SetStrings(dcm.ContentLabel, "CS", "ICH")
	d.SetStrings(dcm.ContentDescription, "LO", "Intracranial hemorrhage by subtype. Research use only.")
	d.SetStrings(dcm.ContentCreatorName, "PN", "ichor^automatic")
}

// segments fills the segment descriptions (PS3.3 Table C.8.20-4). A label map has none for its background: viewers were
// seen to take the colours of the item before.
func segments(d *dcm.DataSet, c *iod.Case, parts []segment) {
	b := c.Finding.Bundle
	var list []*dcm.DataSet
	for _, s := range parts {
		it := &dcm.DataSet{}
		it.SetInts(dcm.SegmentNumber, "US", int64(s.number))
		it.SetStrings(dcm.SegmentLabel, "LO", s.look.Label)
		it.SetStrings(dcm.SegmentDescription, "ST", s.description)
		it.SetStrings(dcm.SegmentAlgorithmType, "CS", "AUTOMATIC")
		it.SetStrings(dcm.SegmentAlgorithmName, "LO", iod.Text(b.Name+" "+b.Version, 64))
		it.SetSequence(dcm.SegmentationAlgorithmIdentificationSequence, c.Algorithm())
		it.SetSequence(dcm.SegmentedPropertyCategoryCodeSequence, s.category.Item())
		it.SetSequence(dcm.SegmentedPropertyTypeCodeSequence, s.look.Type.Item())
		it.SetSequence(dcm.AnatomicRegionSequence, s.look.Region.Item())
		it.SetStrings(dcm.TrackingID, "UT", s.id)
		it.SetStrings(dcm.TrackingUID, "UI", s.uid)
		lab := iod.CIELab(s.look.Color)
		it.SetInts(dcm.RecommendedDisplayCIELabValue, "US", lab[:]...)
		list = append(list, it)
	}
	d.SetSequence(dcm.SegmentSequence, list...)
}

// dimensions fills the Multi-frame Dimension module: frames are indexed by segment and by position, those of a label map
// by position (PS3.3 §C.7.6.17).
func dimensions(d *dcm.DataSet, c *iod.Case) {
	uid := c.UID(word, "dimensions")
	organization := &dcm.DataSet{}
	organization.SetStrings(dcm.DimensionOrganizationUID, "UI", uid)
	d.SetSequence(dcm.DimensionOrganizationSequence, organization)
	index := func(pointer, group dcm.Tag, label string) *dcm.DataSet {
		it := &dcm.DataSet{}
		it.SetStrings(dcm.DimensionOrganizationUID, "UI", uid)
		it.SetTags(dcm.DimensionIndexPointer, pointer)
		it.SetTags(dcm.FunctionalGroupPointer, group)
		it.SetStrings(dcm.DimensionDescriptionLabel, "LO", label)
		return it
	}
	list := []*dcm.DataSet{index(dcm.ImagePositionPatient, dcm.PlanePositionSequence, "Image Position")}
	if !c.LabelMap {
		list = append([]*dcm.DataSet{index(dcm.ReferencedSegmentNumber, dcm.SegmentIdentificationSequence, "Segment Number")}, list...)
	}
	d.SetSequence(dcm.DimensionIndexSequence, list...)
}
