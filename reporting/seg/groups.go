package seg

import (
	"math"
	"slices"

	"ichor/pipeline/volume"
	"ichor/reporting/iod"
	"ichor/scp/dcm"
)

// functionalGroups fills the Multi-frame Functional Groups module (PS3.3 §C.7.6.16). Pixel measures and orientation are
// shared; position, content, source image and segment are each frame's own.
func functionalGroups(d *dcm.DataSet, c *iod.Report, frames []frame) {
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
		if slices.ContainsFunc(frames, func(f frame) bool { return f.slice == k }) {
			position[k] = int64(len(position) + 1)
		}
	}
	var list []*dcm.DataSet
	for _, f := range frames {
		content := &dcm.DataSet{}
		it := &dcm.DataSet{}
		index := []int64{position[f.slice]}
		if f.segment != nil {
			number := int64(f.segment.number)
			index = []int64{number, position[f.slice]}
			identification := &dcm.DataSet{}
			identification.SetInts(dcm.ReferencedSegmentNumber, "US", number)
			it.SetSequence(dcm.SegmentIdentificationSequence, identification)
		}
		content.SetInts(dcm.DimensionIndexValues, "UL", index...)
		plane := &dcm.DataSet{}
		plane.SetDecimals(dcm.ImagePositionPatient, g.Origins[f.slice][:]...)
		source := iod.SourceItem(c.Volume.Sources[f.slice])
		source.SetStrings(dcm.SpatialLocationsPreserved, "CS", "YES")
		source.SetSequence(dcm.PurposeOfReferenceCodeSequence, iod.SourceImageForProcessing.Item())
		derivation := &dcm.DataSet{}
		derivation.SetSequence(dcm.SourceImageSequence, source)
		derivation.SetSequence(dcm.DerivationCodeSequence, iod.SegmentationDerivation.Item())
		it.SetSequence(dcm.FrameContentSequence, content)
		it.SetSequence(dcm.PlanePositionSequence, plane)
		it.SetSequence(dcm.DerivationImageSequence, derivation)
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

// median is the middle value, the upper one of two.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
