// Package ko writes Key Object Selection Documents (PS3.3 §A.35.4, content after PS3.16 TID 2010): a note that points at
// objects and says why.
//
//	Of Interest                   the slices to look at first, and the segmentation
//	Rejected for Quality Reasons  objects of a former result; a newer one took their place (IHE RAD IOCM)
package ko

import (
	"slices"

	"ichor/pipeline/finding"
	"ichor/reporting/iod"
	"ichor/reporting/seg"
	"ichor/reporting/sr"
	"ichor/scp/dcm"
)

// Words name the objects in derived UIDs and in the series description.
const (
	keyWord  = "KEY"
	noteWord = "REJECTION"
)

// maxKeys bounds the key slices of a head with many lesions.
const maxKeys = 20

// minML is the smallest lesion that has a key slice of its own; the largest of each subtype has one in any case.
const minML = 1

// Keys chooses the key slices of c, feet to head: for each lesion the one of its slices on which its subtype has the
// largest area, the largest lesions first where there are too many.
func Keys(c *iod.Report) []int {
	lesions := slices.Clone(c.Finding.Lesions)
	slices.SortStableFunc(lesions, func(a, b finding.Lesion) int {
		switch {
		case a.VolumeML > b.VolumeML:
			return -1
		case a.VolumeML < b.VolumeML:
			return 1
		}
		return 0
	})
	subtypes := map[finding.Subtype]bool{}
	var keys []int
	for _, l := range lesions {
		if subtypes[l.Subtype] && l.VolumeML < minML {
			continue
		}
		subtypes[l.Subtype] = true
		k, area := -1, 0
		for s := max(l.Slices[0], 0); s <= min(l.Slices[1], c.Volume.Slices()-1); s++ {
			if n := areaOf(c, l.Subtype, s); n > area {
				k, area = s, n
			}
		}
		if k >= 0 && !slices.Contains(keys, k) && len(keys) < maxKeys {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 { // crumbs alone, which are not listed as lesions
		keys = append(keys, largest(c))
	}
	slices.Sort(keys)
	return keys
}

// largest is the slice with the largest area of hemorrhage.
func largest(c *iod.Report) (slice int) {
	most := 0
	for k := range c.Volume.Slices() {
		n := 0
		for _, l := range c.Labels.Slice(k) {
			if l != 0 {
				n++
			}
		}
		if n > most {
			slice, most = k, n
		}
	}
	return slice
}

// areaOf counts the voxels of a subtype on slice k.
func areaOf(c *iod.Report, s finding.Subtype, k int) (n int) {
	for _, l := range c.Labels.Slice(k) {
		if l == uint8(s) {
			n++
		}
	}
	return n
}

// KeySlices makes the note that points at the key slices of c, which has hemorrhage.
func KeySlices(c *iod.Report) *dcm.DataSet {
	keys := Keys(c)
	images := iod.SeriesReferences{SeriesInstanceUID: c.Volume.SeriesInstanceUID}
	var items []*dcm.DataSet
	for _, k := range keys {
		s := c.Volume.Sources[k]
		items = append(items, sr.Refer(iod.SourceItem(s), true))
		if r := (iod.Reference{SOPClassUID: s.SOPClassUID, SOPInstanceUID: s.SOPInstanceUID}); !slices.Contains(images.Instances, r) {
			images.Instances = append(images.Instances, r)
		}
	}
	overlay := seg.Reference(c)
	items = append(items, sr.Refer(overlay.Instances[0].Item(), true))

	d := document(c, iod.OfInterest, "Slices on which hemorrhage is largest, and its segmentation. "+finding.Disclaimer,
		[]iod.SeriesReferences{images, overlay}, items)
	c.Series(d, "KO", keyWord, false)
	c.SOPCommon(d, dcm.KeyObjectSelectionDocumentStorage, keyWord, 1)
	return d
}

// Rejection makes the note that the objects of a former result were rejected. c is about the study alone; number is that
// of the note in its series.
func Rejection(c *iod.Report, rejected []iod.SeriesReferences, number int) *dcm.DataSet {
	name := []string{noteWord, "instance"}
	var items []*dcm.DataSet
	for _, s := range rejected {
		for _, r := range s.Instances {
			items = append(items, sr.Refer(r.Item(), r.SOPClassUID == dcm.SegmentationStorage || r.SOPClassUID == dcm.LabelMapSegmentationStorage || r.SOPClassUID == dcm.SecondaryCaptureImageStorage))
			name = append(name, r.SOPInstanceUID)
		}
	}
	d := document(c, iod.RejectedForQuality, "A newer result of ichor takes the place of these objects, which were made when the study was not "+
		"complete, or as it was read before. "+finding.Disclaimer, rejected, items)
	c.Series(d, "KO", noteWord, false)
	c.SOPCommon(d, dcm.KeyObjectSelectionDocumentStorage, noteWord, number)
	d.SetStrings(dcm.SOPInstanceUID, "UI", c.LastingUID(name...)) // it is what it names
	return d
}

// document starts a note: what every one has but series and identity. Key Object Document module: PS3.3 §C.17.6.2.
func document(c *iod.Report, title iod.Code, why string, evidence []iod.SeriesReferences, items []*dcm.DataSet) *dcm.DataSet {
	content := append(sr.Observer(c), sr.Text(iod.KeyObjectDescription, why))
	d := sr.Root(title, "2010", append(content, items...)...)
	c.Patient(d)
	c.Study(d)
	c.Equipment(d)
	d.SetSequence(dcm.CurrentRequestedProcedureEvidenceSequence, c.Evidence(evidence...))
	return d
}
