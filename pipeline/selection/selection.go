// Package selection picks the series of a study that is read, or says why there is none: an axial, original CT of the
// head without contrast, soft-tissue kernel before bone, slices of about 5 mm before thin ones. Every series gets a score
// and reasons that an operator understands; the refusals are listed in package finding.
package selection

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// Options are the choices of a site; a zero field stands for its default.
type Options struct {
	MinSlices     int     // 10
	MinCoverageMM float64 // 80, along the slice normal
	MaxAngleDeg   float64 // 35, between the slice normal and the patient's axis
	MaxVoxels     int     // 200 million: about 760 slices of 512 x 512
}

func (o Options) orDefault() Options {
	return Options{MinSlices: cmp.Or(o.MinSlices, 10), MinCoverageMM: cmp.Or(o.MinCoverageMM, 80),
		MaxAngleDeg: cmp.Or(o.MaxAngleDeg, 35), MaxVoxels: cmp.Or(o.MaxVoxels, 200e6)}
}

// Series is one that can be read.
type Series struct {
	Candidate int   // its place in Choice.Candidates
	Images    []int // places in what was given to Choose
	HeadNamed bool  // the series or the study says that this is a head; otherwise its pixels have to show it
	Warnings  []string
}

// Choice is the outcome: the series that can be read, best first, and all candidates as the operator sees them.
type Choice struct {
	Ranked     []Series
	Candidates []finding.Candidate
	Refusal    *finding.Refusal // set where Ranked is empty
}

// Choose looks at the headers of all objects of a study. An object without SeriesInstanceUID belongs to a series of its
// own name, the empty one.
func Choose(headers []*dcm.DataSet, o Options) Choice {
	o = o.orDefault()
	var out Choice
	var refusals []staged
	for _, images := range bySeries(headers) {
		for _, stack := range stacks(headers, images) {
			c, s, refusal := judge(headers, stack, o)
			s.Candidate = len(out.Candidates)
			out.Candidates = append(out.Candidates, c)
			if refusal != nil {
				refusals = append(refusals, *refusal)
				continue
			}
			out.Ranked = append(out.Ranked, s)
		}
	}
	slices.SortStableFunc(out.Ranked, func(a, b Series) int {
		return cmp.Compare(out.Candidates[b.Candidate].Score, out.Candidates[a.Candidate].Score)
	})
	if len(out.Ranked) == 0 {
		out.Refusal = summarise(refusals)
	}
	return out
}

// summarise tells the study's refusal from those of its series: of the series that came furthest, the largest.
func summarise(refusals []staged) *finding.Refusal {
	if len(refusals) == 0 {
		return &finding.Refusal{Code: finding.NoHeadCT, Reason: "The study holds no image."}
	}
	best := slices.MaxFunc(refusals, func(a, b staged) int {
		return cmp.Or(cmp.Compare(a.stage, b.stage), cmp.Compare(a.images, b.images))
	})
	if best.stage == 0 {
		return &finding.Refusal{Code: finding.NoHeadCT, Reason: "The study holds no CT image series."}
	}
	reason := best.Reason
	if len(refusals) > 1 {
		reason = fmt.Sprintf("None of the %d series can be analysed. The nearest: %s", len(refusals), reason)
	}
	return &finding.Refusal{Code: best.Code, Reason: reason}
}

// staged is the refusal of one series; a later stage means that it came nearer to being read.
type staged struct {
	finding.Refusal
	stage, images int
}

// bySeries groups images by SeriesInstanceUID, in the order of first appearance; an instance given twice counts once.
func bySeries(headers []*dcm.DataSet) [][]int {
	var out [][]int
	place := map[string]int{}
	seen := map[string]bool{}
	for i, h := range headers {
		if uid := h.String(dcm.SOPInstanceUID); uid != "" {
			image := uid + " " + h.String(dcm.ReferencedFrameNumber) // of one instance, see volume.Frames
			if seen[image] {
				continue
			}
			seen[image] = true
		}
		series := h.String(dcm.SeriesInstanceUID)
		k, ok := place[series]
		if !ok {
			k = len(out)
			place[series] = k
			out = append(out, nil)
		}
		out[k] = append(out[k], i)
	}
	return out
}

// stacks splits a series that holds several readings of the same slices (two kernels, two acquisitions) where the
// headers tell them apart; any other series is one stack. Images that are no original slices go first, if others stay.
func stacks(headers []*dcm.DataSet, images []int) [][]int {
	var slicesOnly []int
	for _, i := range images {
		if ok, _ := original(headers[i]); ok && isCT(headers[i].String(dcm.SOPClassUID)) && volume.NotHounsfield(headers[i]) == "" {
			slicesOnly = append(slicesOnly, i)
		}
	}
	if len(slicesOnly) > 1 {
		images = slicesOnly
	}
	if !duplicated(headers, images) {
		return [][]int{images}
	}
	var out [][]int
	place := map[string]int{}
	for _, i := range images {
		h := headers[i]
		key := fmt.Sprintf("%q %q %q", h.String(dcm.AcquisitionNumber), h.Strings(dcm.ConvolutionKernel), h.Strings(dcm.ImageType))
		k, ok := place[key]
		if !ok {
			k = len(out)
			place[key] = k
			out = append(out, nil)
		}
		out[k] = append(out[k], i)
	}
	if len(out) > 8 || slices.ContainsFunc(out, func(s []int) bool { return len(s) < 2 || duplicated(headers, s) }) {
		return [][]int{images}
	}
	return out
}

// isCT names the classes that are read; volume.Frames has made single images of the multi-frame ones.
func isCT(class string) bool {
	return class == dcm.CTImageStorage || class == dcm.EnhancedCTImageStorage || class == dcm.LegacyConvertedEnhancedCTImageStorage
}

func duplicated(headers []*dcm.DataSet, images []int) bool {
	_, err := volume.Arrange(pick(headers, images))
	r, ok := err.(*finding.Refusal)
	return ok && r.Code == finding.DuplicatePosition
}

func pick(headers []*dcm.DataSet, images []int) []*dcm.DataSet {
	out := make([]*dcm.DataSet, len(images))
	for k, i := range images {
		out[k] = headers[i]
	}
	return out
}

// original reports whether an image is one the scanner reconstructed as a slice (Image Type, PS3.3 §C.7.6.1.1.2, §C.8.2.1.1.1).
// Lossy compression alone makes a derived image of an original one, and leaves the rest of Image Type as it was.
func original(h *dcm.DataSet) (ok bool, why string) {
	t := h.Strings(dcm.ImageType)
	for i, v := range t {
		switch {
		case v == "LOCALIZER":
			return false, "localizer images"
		case i == 0 && v == "DERIVED" && lossy(h) && (len(t) < 3 || t[2] == "AXIAL"):
		case i == 0 && v == "DERIVED", i == 1 && v == "SECONDARY":
			return false, "derived images"
		case i >= 2 && (v == "MPR" || v == "MIP" || v == "MINIP"):
			return false, "reformatted images"
		}
	}
	return true, ""
}

func lossy(h *dcm.DataSet) bool { return h.String(dcm.LossyImageCompression) == "01" }

// judge scores one stack. The series refusal is nil where it can be read.
func judge(headers []*dcm.DataSet, images []int, o Options) (finding.Candidate, Series, *staged) {
	h := headers[images[0]]
	c := finding.Candidate{SeriesInstanceUID: h.String(dcm.SeriesInstanceUID), Modality: h.String(dcm.Modality), Instances: len(images)}
	s := Series{Images: images}
	refuse := func(stage int, code, format string, args ...any) (finding.Candidate, Series, *staged) {
		reason := fmt.Sprintf(format, args...)
		c.Reasons, c.Score = append(c.Reasons, reason), 0
		return c, s, &staged{finding.Refusal{Code: code, Reason: reason}, stage, len(images)}
	}
	say := func(score float64, format string, args ...any) {
		c.Score += score
		c.Reasons = append(c.Reasons, fmt.Sprintf(format, args...))
	}
	switch class := h.String(dcm.SOPClassUID); {
	case !isCT(class):
		return refuse(0, finding.NoHeadCT, "No CT images.")
	case c.Modality != "" && c.Modality != "CT":
		return refuse(0, finding.NoHeadCT, "The modality is %s, though the objects are CT images.", c.Modality)
	}
	if why := volume.NotHounsfield(h); why != "" {
		return refuse(2, finding.NotHounsfield, "The pixels are no Hounsfield units: %s; send the original series.", why)
	}
	c.Score = 100
	if ok, why := original(h); !ok {
		return refuse(2, finding.NotOriginal, "The series holds %s; send the original axial slices.", why)
	}
	if len(h.Strings(dcm.ImageType)) == 0 {
		say(-5, "Image Type is not given; taken for original slices.")
	}
	if lossy(h) {
		say(-20, "Compressed with loss.")
	}
	series := words(h, dcm.BodyPartExamined, dcm.SeriesDescription, dcm.ProtocolName)
	study := words(h, dcm.StudyDescription, dcm.RequestedProcedureDescription)
	head, other := which(series, headWords), which(series, otherWords)
	switch {
	case head == "" && other != "":
		return refuse(3, finding.NoHeadCT, "The series is described as something other than a head (%s).", other)
	case head != "" && other == "":
		say(30, "Described as head (%s).", head)
		s.HeadNamed = true
	case head != "":
		say(5, "Described as head (%s) and as something else (%s).", head, other)
		s.HeadNamed = true
	case which(study, headWords) != "":
		say(15, "The study is described as head (%s).", which(study, headWords))
		s.HeadNamed = true
	default:
		say(0, "No description says which part of the body this is; the pixels have to show a skull.")
	}
	if len(images) < o.MinSlices {
		return refuse(4, finding.TooFewSlices, "The series has too few slices: %d, and at least %d are needed; send the whole head.", len(images), o.MinSlices)
	}
	if n := len(images) * dimension(h, dcm.Rows) * dimension(h, dcm.Columns); n > o.MaxVoxels {
		return refuse(4, finding.TooLarge, "The series has %d slices, %d million voxels; at most %d million are read. "+
			"Send a thicker reconstruction.", len(images), n/1e6, o.MaxVoxels/1e6)
	}
	a, err := volume.Arrange(pick(headers, images))
	if err != nil {
		r := err.(*finding.Refusal)
		return refuse(5, r.Code, "%s", r.Reason)
	}
	s.Warnings = a.Warnings
	if angle := math.Acos(math.Min(a.Grid.Normal()[2], 1)) * 180 / math.Pi; angle > o.MaxAngleDeg {
		return refuse(5, finding.NotAxial, "The slices are not axial: turned by %.0f degrees, up to %.0f are read. Send the axial series.", angle, o.MaxAngleDeg)
	}
	coverage := 0.0
	for _, mm := range a.Grid.SupportMM {
		coverage += mm
	}
	if coverage < o.MinCoverageMM {
		return refuse(6, finding.TooFewSlices, "The series covers %.0f mm; at least %.0f mm are needed; send the whole head.", coverage, o.MinCoverageMM)
	}
	say(coverage/100, "%d axial slices over %.0f mm.", len(images), coverage) // the longer of two that are otherwise alike
	switch gap := a.Grid.MedianGap(); {
	case gap > 7.5:
		say(-15, "Slices %.1f mm apart are coarse.", gap)
		s.Warnings = append(s.Warnings, fmt.Sprintf("Slices %.1f mm apart: small bleeds can lie between them.", gap))
	case gap >= 2.5:
		say(15, "Slices %.1f mm apart, as the networks were trained for.", gap)
	default:
		say(0, "Thin slices, %.1f mm apart.", gap)
	}
	switch kernelOf(h) {
	case softKernel:
		say(25, "Soft-tissue kernel (%.16s).", h.String(dcm.ConvolutionKernel))
	case sharpKernel:
		say(-40, "Sharp kernel (%.16s): noise hides bleeds.", h.String(dcm.ConvolutionKernel))
		s.Warnings = append(s.Warnings, "The series was reconstructed with a sharp kernel; a soft-tissue one is better.")
	}
	if contrast(h) {
		say(-40, "Contrast agent was given.")
		s.Warnings = append(s.Warnings, "Contrast agent was given: vessels can look like bleeds.")
	} else if w := which(series, lessWords); w != "" {
		say(-30, "Described as %s.", w)
	}
	return c, s, nil
}

func dimension(h *dcm.DataSet, t dcm.Tag) int {
	n, _ := h.Int(t)
	return min(max(n, 1), math.MaxUint16)
}
