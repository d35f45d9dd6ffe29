// Package seg writes the Segmentation objects (PS3.3 §A.51), BINARY or as a label map: one of the hemorrhage, with a segment
// for each subtype that has voxels, and where asked for one of the intracranial cavity. The two are objects of their own since
// no segments of one object may overlap: cornerstone3D 5.14, on which many viewers are built, loses slices of segments where
// any do. BINARY has a frame for each source slice on which a segment has voxels, a label map one for each on which any has. A
// frame lies exactly on its source slice: same rows, columns, position, orientation and frame of reference, and it names the
// image it was made from, since viewers place it by that.
package seg

import (
	"ichor/reporting/iod"
	"ichor/reporting/words"
	"ichor/scp/dcm"
)

// Words name the objects in derived UIDs and in the series description.
const (
	word       = "SEG"
	cavityWord = "CAVITY"
)

// Reference points at the object that DataSet makes for c, CavityReference at that of Cavity.
func Reference(c *iod.Report) iod.SeriesReferences       { return reference(c, word) }
func CavityReference(c *iod.Report) iod.SeriesReferences { return reference(c, cavityWord) }

func reference(c *iod.Report, word string) iod.SeriesReferences {
	return iod.SeriesReferences{SeriesInstanceUID: c.SeriesUID(word),
		Instances: []iod.Reference{{SOPClassUID: class(c), SOPInstanceUID: c.InstanceUID(word, 1)}}}
}

func class(c *iod.Report) string {
	if c.LabelMap {
		return dcm.LabelMapSegmentationStorage
	}
	return dcm.SegmentationStorage
}

// DataSet makes the object of the hemorrhage. The case must have segments: an empty SEG is not valid, PS3.3 §C.8.20.2 asks
// for a frame.
func DataSet(c *iod.Report) *dcm.DataSet {
	return dataSet(c, word, "ICH", "Intracranial hemorrhage by subtype. Research use only.", subtypes(c))
}

// Cavity makes the object of the intracranial cavity, of which there must be a voxel.
func Cavity(c *iod.Report) *dcm.DataSet {
	return dataSet(c, cavityWord, "CAVITY", "Intracranial cavity. Research use only.", cavity(c))
}

func dataSet(c *iod.Report, word, label, description string, parts []segment) *dcm.DataSet {
	d := &dcm.DataSet{}
	frames := framesOf(c, parts)
	c.Patient(d)
	c.Study(d)
	c.Series(d, "SEG", word, true)
	c.FrameOfReference(d)
	c.Equipment(d)
	c.SOPCommon(d, class(c), word, 1)
	c.CommonInstanceReference(d)
	image(d, c, frames)
	d.SetStrings(dcm.ContentLabel, "CS", label)
	d.SetStrings(dcm.ContentDescription, "LO", description)
	segments(d, c, parts)
	dimensions(d, c, word)
	functionalGroups(d, c, frames)
	if c.LabelMap {
		d.SetBytes(dcm.PixelData, "OB", numbers(c, parts, frames))
	} else {
		d.SetBytes(dcm.PixelData, "OB", bits(c, frames))
	}
	return d
}

// image fills the Image Pixel and Segmentation Image modules (PS3.3 §C.7.6.3, §C.8.20.2).
func image(d *dcm.DataSet, c *iod.Report, frames []frame) {
	depth, kind := int64(1), "BINARY"
	if c.LabelMap {
		depth, kind = 8, "LABELMAP"
		d.SetInts(dcm.PixelPaddingValue, "US", 0) // the background, which is no segment
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
	d.SetStrings(dcm.SegmentsOverlap, "CS", "NO")
	d.SetStrings(dcm.ContentCreatorName, "PN", "ichor^automatic")
}

// segments fills the segment descriptions (PS3.3 Table C.8.20-4). A label map has none for its background: viewers were
// seen to take the colours of the item before.
func segments(d *dcm.DataSet, c *iod.Report, parts []segment) {
	b := c.Finding.Bundle
	var list []*dcm.DataSet
	for _, s := range parts {
		it := &dcm.DataSet{}
		it.SetInts(dcm.SegmentNumber, "US", int64(s.number))
		it.SetStrings(dcm.SegmentLabel, "LO", s.look.Label)
		it.SetStrings(dcm.SegmentDescription, "ST", s.description)
		it.SetStrings(dcm.SegmentAlgorithmType, "CS", "AUTOMATIC")
		it.SetStrings(dcm.SegmentAlgorithmName, "LO", words.Text(b.Name+" "+b.Version, 64))
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
func dimensions(d *dcm.DataSet, c *iod.Report, word string) {
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
