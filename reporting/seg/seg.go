// Package seg writes the Segmentation object (PS3.3 §A.51): BINARY, one segment for each subtype that has voxels, one
// frame for each source slice on which it has any. A frame lies exactly on its source slice: same rows, columns,
// position, orientation and frame of reference, and it names the image it was made from, since viewers place it by that.
package seg

import (
	"math"
	"slices"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/reporting/iod"
	"ichor/scp/dcm"
)

// word names the object in derived UIDs and in the series description.
const word = "SEG"

// Frame is one frame of the object: the voxels of one subtype on one slice.
type Frame struct {
	Subtype finding.Subtype
	Segment int // number of the segment, from 1
	Slice   int // of the volume
}

// Reference points at the object that DataSet makes for c.
func Reference(c *iod.Case) iod.SeriesReferences {
	return iod.SeriesReferences{SeriesInstanceUID: c.SeriesUID(word),
		Instances: []iod.Reference{{SOPClassUID: dcm.SegmentationStorage, SOPInstanceUID: c.InstanceUID(word, 1)}}}
}

// Frames lists the frames of c: by segment, then feet to head.
func Frames(c *iod.Case) []Frame {
	var out []Frame
	for i, s := range c.Segments() {
		for k := range c.Volume.Slices() {
			if c.OnSlice(s, k) {
				out = append(out, Frame{s, i + 1, k})
			}
		}
	}
	return out
}

// DataSet makes the object. The case must have voxels: an empty SEG is not valid, PS3.3 §C.8.20.2 asks for a frame.
func DataSet(c *iod.Case, seriesNumber int) *dcm.DataSet {
	d := &dcm.DataSet{}
	frames := Frames(c)
	c.Patient(d)
	c.Study(d)
	c.Series(d, "SEG", word, seriesNumber, true)
	c.FrameOfReference(d)
	c.Equipment(d)
	c.SOPCommon(d, dcm.SegmentationStorage, word, 1)
	c.CommonInstanceReference(d)
	image(d, c, frames)
	segments(d, c)
	dimensions(d, c)
	functionalGroups(d, c, frames)
	d.SetBytes(dcm.PixelData, "OB", pixels(c, frames))
	return d
}

// image fills the Image Pixel and Segmentation Image modules (PS3.3 §C.7.6.3, §C.8.20.2).
func image(d *dcm.DataSet, c *iod.Case, frames []Frame) {
	d.SetStrings(dcm.ImageType, "CS", "DERIVED", "PRIMARY")
	d.SetInts(dcm.SamplesPerPixel, "US", 1)
	d.SetStrings(dcm.PhotometricInterpretation, "CS", "MONOCHROME2")
	d.SetStrings(dcm.NumberOfFrames, "IS", dcm.Decimal(float64(len(frames))))
	d.SetInts(dcm.Rows, "US", int64(c.Volume.Rows))
	d.SetInts(dcm.Columns, "US", int64(c.Volume.Columns))
	d.SetInts(dcm.BitsAllocated, "US", 1)
	d.SetInts(dcm.BitsStored, "US", 1)
	d.SetInts(dcm.HighBit, "US", 0)
	d.SetInts(dcm.PixelRepresentation, "US", 0)
	c.Lossy(d)
	d.SetStrings(dcm.SegmentationType, "CS", "BINARY")
	d.SetStrings(dcm.SegmentsOverlap, "CS", "NO")
	d.SetStrings(dcm.ContentLabel, "CS", "ICH")
	d.SetStrings(dcm.ContentDescription, "LO", "Intracranial hemorrhage by subtype. Research use only.")
	d.SetStrings(dcm.ContentCreatorName, "PN", "ichor^automatic")
}

// segments fills the segment descriptions (PS3.3 Table C.8.20-4).
func segments(d *dcm.DataSet, c *iod.Case) {
	b := c.Finding.Bundle
	var list []*dcm.DataSet
	for i, s := range c.Segments() {
		algorithm := &dcm.DataSet{} // Table 10-19
		algorithm.SetSequence(dcm.AlgorithmFamilyCodeSequence, iod.ArtificialIntelligence.Item())
		algorithm.SetStrings(dcm.AlgorithmName, "LO", b.Name)
		algorithm.SetStrings(dcm.AlgorithmVersion, "LO", b.Version)
		algorithm.SetStrings(dcm.AlgorithmSource, "LO", iod.Manufacturer)

		it := &dcm.DataSet{}
		it.SetInts(dcm.SegmentNumber, "US", int64(i+1))
		it.SetStrings(dcm.SegmentLabel, "LO", s.Name())
		it.SetStrings(dcm.SegmentDescription, "ST", s.String()+", found by a neural network. "+finding.Disclaimer)
		it.SetStrings(dcm.SegmentAlgorithmType, "CS", "AUTOMATIC")
		it.SetStrings(dcm.SegmentAlgorithmName, "LO", iod.Text(b.Name+" "+b.Version, 64))
		it.SetSequence(dcm.SegmentationAlgorithmIdentificationSequence, algorithm)
		it.SetSequence(dcm.SegmentedPropertyCategoryCodeSequence, iod.MorphologicallyAbnormalStructure.Item())
		it.SetSequence(dcm.SegmentedPropertyTypeCodeSequence, iod.Hemorrhage.Item())
		it.SetSequence(dcm.AnatomicRegionSequence, iod.Site(s).Item())
		it.SetStrings(dcm.TrackingID, "UT", c.TrackingID(s))
		it.SetStrings(dcm.TrackingUID, "UI", c.TrackingUID(s))
		lab := iod.CIELab(iod.Color(s))
		it.SetInts(dcm.RecommendedDisplayCIELabValue, "US", lab[:]...)
		list = append(list, it)
	}
	d.SetSequence(dcm.SegmentSequence, list...)
}

// dimensions fills the Multi-frame Dimension module: frames are indexed by segment and by position (PS3.3 §C.7.6.17).
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
	d.SetSequence(dcm.DimensionIndexSequence,
		index(dcm.ReferencedSegmentNumber, dcm.SegmentIdentificationSequence, "Segment Number"),
		index(dcm.ImagePositionPatient, dcm.PlanePositionSequence, "Image Position"))
}

// functionalGroups fills the Multi-frame Functional Groups module (PS3.3 §C.7.6.16). Pixel measures and orientation are
// shared; position, content, source image and segment are each frame's own.
func functionalGroups(d *dcm.DataSet, c *iod.Case, frames []Frame) {
	g := &c.Volume.Grid
	orientation := &dcm.DataSet{}
	orientation.SetDecimals(dcm.ImageOrientationPatient, g.AlongRow[0], g.AlongRow[1], g.AlongRow[2],
		g.AlongColumn[0], g.AlongColumn[1], g.AlongColumn[2])
	shared := &dcm.DataSet{}
	shared.SetSequence(dcm.PixelMeasuresSequence, pixelMeasures(g))
	shared.SetSequence(dcm.PlaneOrientationSequence, orientation)
	d.SetSequence(dcm.SharedFunctionalGroupsSequence, shared)

	position := map[int]int64{} // slice -> index among the slices that have a frame
	for k := range g.Slices() {
		if slices.ContainsFunc(frames, func(f Frame) bool { return f.Slice == k }) {
			position[k] = int64(len(position) + 1)
		}
	}
	var list []*dcm.DataSet
	for _, f := range frames {
		content := &dcm.DataSet{}
		content.SetInts(dcm.DimensionIndexValues, "UL", int64(f.Segment), position[f.Slice])
		plane := &dcm.DataSet{}
		plane.SetDecimals(dcm.ImagePositionPatient, g.Origins[f.Slice][:]...)
		source := iod.SourceItem(c.Volume.Sources[f.Slice])
		source.SetStrings(dcm.SpatialLocationsPreserved, "CS", "YES")
		source.SetSequence(dcm.PurposeOfReferenceCodeSequence, iod.SourceImageForProcessing.Item())
		derivation := &dcm.DataSet{}
		derivation.SetSequence(dcm.SourceImageSequence, source)
		derivation.SetSequence(dcm.DerivationCodeSequence, iod.SegmentationDerivation.Item())
		segment := &dcm.DataSet{}
		segment.SetInts(dcm.ReferencedSegmentNumber, "US", int64(f.Segment))

		it := &dcm.DataSet{}
		it.SetSequence(dcm.FrameContentSequence, content)
		it.SetSequence(dcm.PlanePositionSequence, plane)
		it.SetSequence(dcm.DerivationImageSequence, derivation)
		it.SetSequence(dcm.SegmentIdentificationSequence, segment)
		list = append(list, it)
	}
	d.SetSequence(dcm.PerFrameFunctionalGroupsSequence, list...)
}

// pixelMeasures is one item of the Pixel Measures functional group (PS3.3 Table C.7.6.16-2). Slice thickness is the
// median support of the slices; the spacing between slices is stated only where there is one for all of them.
func pixelMeasures(g *volume.Grid) *dcm.DataSet {
	d := &dcm.DataSet{}
	d.SetDecimals(dcm.PixelSpacing, g.SpacingMM[0], g.SpacingMM[1])
	thickness := median(g.SupportMM)
	if spacing, ok := regularSpacing(g); ok {
		thickness = spacing
		d.SetDecimals(dcm.SpacingBetweenSlices, spacing)
	}
	if !(thickness > 0) {
		thickness = 1
	}
	d.SetDecimals(dcm.SliceThickness, thickness)
	return d
}

// regularSpacing is the distance between slices along the normal, where all are equal within 1 %, and 0.01 mm.
func regularSpacing(g *volume.Grid) (float64, bool) {
	n := g.Slices()
	if n < 2 {
		return 0, false
	}
	normal := g.Normal()
	mean := g.Origins[n-1].Sub(g.Origins[0]).Dot(normal) / float64(n-1)
	for k := 1; k < n; k++ {
		if step := g.Origins[k].Sub(g.Origins[k-1]).Dot(normal); math.Abs(step-mean) > max(0.01, 0.01*math.Abs(mean)) {
			return 0, false
		}
	}
	mean = math.Round(math.Abs(mean)*1e4) / 1e4
	return mean, mean > 0
}
