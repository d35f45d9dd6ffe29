// Package selection chooses the series of a study to analyse, or says why there is none. It looks for an axial CT of the head
// without contrast, and prefers original to derived images, a soft-tissue kernel to a bone kernel, and slices of about 5 mm to
// thin ones. It first splits a series with several stacks of slices. Every stack gets a score and reasons that an operator
// understands; package finding lists the codes of refusals. Headers decide, except that the pixels decide whether a head is shown.
package selection

import (
	"cmp"
	"fmt"
	"slices"

	"ichor/pipeline/finding"
	"ichor/scp/dcm"
)

// Options are the settings of a site; a zero field takes its default.
type Options struct {
	MinSlices     int     // 10; with fewer, a part of a head is analysed too
	MinCoverageMM float64 // 80, along the slice normal; 0 for a part of a head
	MaxCoverageMM float64 // 400: head, neck and shoulders
	MaxAngleDeg   float64 // 35, between the slice normal and the patient's axis
	MaxVoxels     int     // 200 million: about 760 slices of 512 x 512
	MinAge        int     // years; 0 is any age
	Contrast      bool    // analyse a contrast-enhanced series, with a warning, if there is no other
	BoneKernel    bool    // the same for one with a sharp kernel
}

// A stack of fewer slices, or of less extent, is only a part of a head.
const (
	wholeSlices = 10
	wholeMM     = 80
)

// Limits of the image: the gantry of a CT is less than 1 m wide, and a head does not fit into less than 80 mm. Heads have pixels
// of 0.3 to 1 mm.
const (
	leastFieldMM  = 80
	mostFieldMM   = 1200
	coarsePixelMM = 1.8
)

// WithDefaults returns o with defaults in place of zero fields.
func (o Options) WithDefaults() Options {
	if o.MinSlices = cmp.Or(o.MinSlices, wholeSlices); o.MinSlices >= wholeSlices {
		o.MinCoverageMM = cmp.Or(o.MinCoverageMM, wholeMM)
	}
	o.MaxCoverageMM = cmp.Or(o.MaxCoverageMM, 400)
	o.MaxAngleDeg, o.MaxVoxels = cmp.Or(o.MaxAngleDeg, 35), cmp.Or(o.MaxVoxels, 200e6)
	return o
}

// Series is a series that can be analysed.
type Series struct {
	Candidate int   // index in Choice.Candidates
	Images    []int // indices of the headers passed to Choose
	HeadNamed bool  // the headers of series or study name a head
	Part      bool  // of a head, which the options allow
	Warnings  []string

	acquired, first string // DICOM time at which its last image was acquired; its smallest UID
}

// Choice is the outcome: the series that can be analysed, best first, and all candidates for the operator.
type Choice struct {
	Ranked     []Series
	Candidates []finding.Candidate
	Refusal    *finding.Refusal // set if Ranked is empty
}

// Choose chooses by the headers of all objects of a study. Objects without SeriesInstanceUID form a series with an empty UID.
func Choose(headers []*dcm.DataSet, o Options) Choice {
	o = o.WithDefaults()
	var out Choice
	var refusals []staged
	for _, s := range bySeries(headers) {
		for _, part := range stacks(headers, s.images) {
			part.clashes = s.clashes
			j := judge(headers, part, o)
			j.series.Candidate = len(out.Candidates)
			out.Candidates = append(out.Candidates, j.Candidate)
			if j.refusal != nil {
				refusals = append(refusals, staged{*j.refusal, j.stage, len(part.images)})
				continue
			}
			out.Ranked = append(out.Ranked, j.series)
		}
	}
	slices.SortStableFunc(out.Ranked, func(a, b Series) int {
		if c := cmp.Compare(out.Candidates[b.Candidate].Score, out.Candidates[a.Candidate].Score); c != 0 {
			return c
		}
		// Of two equally good ones take the later, a repetition; the choice must not depend on the order of arrival.
		return cmp.Or(cmp.Compare(b.acquired, a.acquired), cmp.Compare(a.first, b.first))
	})
	if len(out.Ranked) == 0 {
		out.Refusal = summarise(refusals)
	}
	return out
}

// summarise returns the refusal of a study: of the series that got furthest, that of the largest.
func summarise(refusals []staged) *finding.Refusal {
	if len(refusals) == 0 {
		return finding.Refuse(finding.NoHeadCT, "The study holds no image.\nSend the CT series of the head.")
	}
	best := slices.MaxFunc(refusals, func(a, b staged) int {
		return cmp.Or(cmp.Compare(a.stage, b.stage), cmp.Compare(a.images, b.images))
	})
	if best.stage == isImage {
		return finding.Refuse(finding.NoHeadCT, "The study holds no CT image series. The largest series: %s\nSend the CT series of the head.", best.Reason)
	}
	reason := best.Reason
	if len(refusals) > 1 {
		reason = fmt.Sprintf("None of the %d series can be analysed. The most suitable one: %s", len(refusals), reason)
	}
	return &finding.Refusal{Code: best.Code, Reason: reason, Remedy: best.Remedy}
}

// staged is the refusal of one series and the stage it reached.
type staged struct {
	finding.Refusal
	stage
	images int
}

// group is the images of one series, as indices of headers.
type group struct {
	images  []int
	clashes int // images not used because a different image has the same SOP Instance UID
}

// bySeries groups images by SeriesInstanceUID, in the order of first appearance. An instance given twice counts once: the same
// UID in the same series, at the same place and with the same number.
func bySeries(headers []*dcm.DataSet) []group {
	var out []group
	place := map[string]int{}
	seen := map[string]*dcm.DataSet{}
	for i, h := range headers {
		series := h.String(dcm.SeriesInstanceUID)
		k, ok := place[series]
		if !ok {
			k = len(out)
			place[series] = k
			out = append(out, group{})
		}
		if uid := h.String(dcm.SOPInstanceUID); uid != "" {
			image := series + " " + uid + " " + h.String(dcm.ReferencedFrameNumber) // identifies a frame of an instance, see volume.Frames
			if first := seen[image]; first != nil {
				if h.String(dcm.InstanceNumber) != first.String(dcm.InstanceNumber) ||
					!slices.Equal(h.Strings(dcm.ImagePositionPatient), first.Strings(dcm.ImagePositionPatient)) {
					out[k].clashes++
				}
				continue
			}
			seen[image] = h
		}
		out[k].images = append(out[k].images, i)
	}
	return out
}

func pick(headers []*dcm.DataSet, images []int) []*dcm.DataSet {
	out := make([]*dcm.DataSet, len(images))
	for k, i := range images {
		out[k] = headers[i]
	}
	return out
}
