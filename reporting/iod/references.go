package iod

import (
	"strconv"

	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// Reference points at one SOP instance (PS3.3 Table 10-11).
type Reference struct{ SOPClassUID, SOPInstanceUID string }

// Item is r as a sequence item.
func (r Reference) Item() *dcm.DataSet {
	d := &dcm.DataSet{}
	d.SetStrings(dcm.ReferencedSOPClassUID, "UI", r.SOPClassUID)
	d.SetStrings(dcm.ReferencedSOPInstanceUID, "UI", r.SOPInstanceUID)
	return d
}

// Sources lists the images of the analysed series, each once, in slice order.
func (c *Report) Sources() []Reference {
	if c.Volume == nil {
		return nil
	}
	var out []Reference
	seen := map[string]bool{}
	for _, s := range c.Volume.Sources {
		if !seen[s.SOPInstanceUID] {
			seen[s.SOPInstanceUID] = true
			out = append(out, Reference{s.SOPClassUID, s.SOPInstanceUID})
		}
	}
	return out
}

// SourceItem refers to the image, and the frame of a multi-frame one, that a slice was read from (PS3.3 Table 10-3).
func SourceItem(s volume.Source) *dcm.DataSet {
	d := Reference{s.SOPClassUID, s.SOPInstanceUID}.Item()
	if s.Frame > 0 {
		d.SetStrings(dcm.ReferencedFrameNumber, "IS", strconv.Itoa(s.Frame))
	}
	return d
}

// CommonInstanceReference fills the module of that name with all source images (PS3.3 §C.12.2). Viewers find the series
// to lay a SEG over by it.
func (c *Report) CommonInstanceReference(d *dcm.DataSet) {
	s := &dcm.DataSet{}
	s.SetStrings(dcm.SeriesInstanceUID, "UI", c.Volume.SeriesInstanceUID)
	s.SetSequence(dcm.ReferencedInstanceSequence, items(c.Sources())...)
	d.SetSequence(dcm.ReferencedSeriesSequence, s)
}

// SeriesReferences are instances of one series.
type SeriesReferences struct {
	SeriesInstanceUID string
	Instances         []Reference
}

// Evidence is one item of a hierarchical reference sequence: instances of this study by series (PS3.3 Table C.17-3).
func (c *Report) Evidence(series ...SeriesReferences) *dcm.DataSet {
	var list []*dcm.DataSet
	for _, r := range series {
		s := &dcm.DataSet{}
		s.SetStrings(dcm.SeriesInstanceUID, "UI", r.SeriesInstanceUID)
		s.SetSequence(dcm.ReferencedSOPSequence, items(r.Instances)...)
		list = append(list, s)
	}
	d := &dcm.DataSet{}
	d.SetStrings(dcm.StudyInstanceUID, "UI", c.study)
	d.SetSequence(dcm.ReferencedSeriesSequence, list...)
	return d
}

func items(refs []Reference) []*dcm.DataSet {
	var out []*dcm.DataSet
	for _, r := range refs {
		out = append(out, r.Item())
	}
	return out
}
