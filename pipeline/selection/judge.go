package selection

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// stage is how far a stack got in the checks. If no series can be analysed, the one that got furthest gives the reason.
type stage int

const (
	isImage stage = iota
	isSlices
	isHead
	isEnough
	isStack
	isCovered
	isPlain
	isSoft
	isAdult
)

// judgement is the result of judging one stack.
type judgement struct {
	finding.Candidate
	series  Series
	refusal *finding.Refusal
	stage   stage

	h *dcm.DataSet // of its first image
	o Options
}

func (j *judgement) say(score float64, format string, args ...any) {
	j.Score += score
	j.Reasons = append(j.Reasons, fmt.Sprintf(format, args...))
}

func (j *judgement) warn(format string, args ...any) {
	j.series.Warnings = append(j.series.Warnings, fmt.Sprintf(format, args...))
}

// refuse ends the judgement and returns false.
func (j *judgement) refuse(s stage, code, format string, args ...any) bool {
	j.refusal, j.stage = finding.Refuse(code, format, args...), s
	j.Reasons, j.Score, j.Code = append(j.Reasons, j.refusal.Text()), 0, code
	return false
}

// judge scores one stack.
func judge(headers []*dcm.DataSet, part stack, o Options) *judgement {
	of := pick(headers, part.images)
	h := of[0]
	acquired, first := identity(of)
	j := &judgement{h: h, o: o, series: Series{Images: part.images, acquired: acquired, first: first}, Candidate: finding.Candidate{
		SeriesInstanceUID: h.String(dcm.SeriesInstanceUID), Modality: h.String(dcm.Modality), Instances: len(part.images),
		Description: h.String(dcm.SeriesDescription),
	}}
	_ = j.image() && j.slices(part) && j.head() && j.enough(part) && j.time(of, part) && j.geometry(of, part) && j.agent(of) && j.kernel(of) && j.age()
	return j
}

// identity returns values that distinguish otherwise equal stacks.
func identity(headers []*dcm.DataSet) (acquired, first string) {
	for i, h := range headers {
		uid := h.String(dcm.SOPInstanceUID)
		if i == 0 || uid < first {
			first = uid
		}
		acquired = max(acquired, when(h))
	}
	return acquired, first
}

func (j *judgement) image() bool {
	switch {
	case !isCT(j.h.String(dcm.SOPClassUID)):
		return j.refuse(isImage, finding.NoHeadCT, "The series holds no CT images but %s (SOP Class UID %s).\nSend the CT series of the head.",
			cmp.Or(dcm.UIDName(j.h.String(dcm.SOPClassUID)), "objects without a class"), dcm.SOPClassUID)
	case j.Modality != "" && j.Modality != "CT":
		return j.refuse(isImage, finding.NoHeadCT, "The objects are CT images, but Modality %s is %.16q.\nSend the original CT series.", dcm.Modality, j.Modality)
	}
	return true
}

func (j *judgement) slices(part stack) bool {
	j.Score = 100
	if part.parts > 1 {
		j.say(0, "One of %d stacks of slices in the series.", part.parts)
	}
	if part.apart != "" {
		j.say(0, "%s", part.apart)
		j.warn("%s", part.apart)
	}
	if part.clashes > 0 {
		return j.refuse(isStack, finding.DuplicatePosition, "%d of %d images of the series have the SOP Instance UID %s of another image with a different position or "+
			"number, so that results cannot refer to them.\nGive each image a UID of its own and send the series again.", part.clashes, part.clashes+part.all, dcm.SOPInstanceUID)
	}
	if part.left > 0 {
		j.say(0, "%d other images of the series are not used: %s.", part.left, part.why)
	}
	if what := mapOf(j.h); what != "" {
		return j.refuse(isSlices, finding.NotHounsfield, "The pixels are no density as the networks know it: %s.\nSend the original series.", what)
	}
	switch keV := kiloElectronVolt(j.h); {
	case keV == 0:
	case keV < 60 || keV > 80:
		return j.refuse(isSlices, finding.NotHounsfield, "The series is monoenergetic, at %d keV, where blood has another density than the networks know.\n"+
			"Send the original series.", keV)
	default:
		j.say(-20, "Monoenergetic, %d keV.", keV)
		j.warn("The series is computed for %d keV from two energies; the networks were trained on images of one tube voltage.", keV)
	}
	switch k, why := kindOf(j.h); {
	case k == noSlice:
		return j.refuse(isSlices, finding.NotOriginal, "The series holds %s.\nSend the original axial slices.", why)
	case k == derivedSlice:
		j.say(-30, "Derived axial slices.")
		j.warn("The slices are derived (Image Type %.60s), most likely averaged or reformatted from thinner ones; prefer the original series.",
			strings.Join(j.h.Strings(dcm.ImageType), "\\"))
	case which(words(j.h, dcm.SeriesDescription), reformatWords) != "":
		j.say(-30, "Described as reformatted.")
		j.warn("The slices are described as reformatted; prefer the series as acquired.")
	case len(j.h.Strings(dcm.ImageType)) == 0:
		j.say(-5, "Image Type is missing; assumed to be original slices.")
	}
	if kv, ok := j.h.Float(dcm.KVP); ok && kv > 0 && kv < 100 {
		j.say(-10, "%.0f kV: brighter than the training data.", kv)
	}
	if lossy(j.h) {
		j.say(-20, "Lossy compression.")
	}
	return true
}

func (j *judgement) head() bool {
	series := words(j.h, dcm.BodyPartExamined, dcm.SeriesDescription, dcm.ProtocolName)
	study := words(j.h, dcm.StudyDescription, dcm.RequestedProcedureDescription)
	head, other := which(series, headWords), which(series, otherWords)
	switch {
	case head == "" && other != "":
		return j.refuse(isHead, finding.NoHeadCT, "The series is described as something other than a head (%s).\nSend the series of the head, or name the head in "+
			"Body Part Examined or Series Description.", other)
	case head != "" && other == "":
		j.say(30, "Described as head (%s).", head)
	case head != "":
		j.say(5, "Described as head (%s) and as something else (%s); the pixels decide.", head, other)
	case which(study, headWords) != "":
		head = which(study, headWords)
		j.say(15, "The study is described as head (%s).", head)
	default:
		j.say(0, "No description names the body part; the pixels must show a skull.")
	}
	j.series.HeadNamed = head != ""
	return true
}

func (j *judgement) enough(part stack) bool {
	if n, ok := j.h.Int(dcm.NumberOfSeriesRelatedInstances); ok && n > part.all {
		j.say(-10, "%d of %d images of the series arrived.", part.all, n)
		j.warn("The series has %d images at its source, but only %d arrived; send it again if the others may show bleeding.", n, part.all)
	}
	if j.Instances < j.o.MinSlices {
		return j.refuse(isEnough, finding.TooFewSlices, "The series has too few slices: %d, and at least %d are needed.\nSend the whole head.",
			j.Instances, j.o.MinSlices)
	}
	if n := j.Instances * dimension(j.h, dcm.Rows) * dimension(j.h, dcm.Columns); n > j.o.MaxVoxels {
		return j.refuse(isEnough, finding.TooLarge, "The series has %d slices, %d million voxels; at most %d million are read.\n"+
			"Send a thicker reconstruction.", j.Instances, n/1e6, j.o.MaxVoxels/1e6)
	}
	return true
}

func (j *judgement) time(headers []*dcm.DataSet, part stack) bool {
	if n := len(part.images); part.repeats == n {
		at := func(h *dcm.DataSet) string { return strings.Join(h.Strings(dcm.ImagePositionPatient), "\\") }
		if slices.ContainsFunc(headers, func(h *dcm.DataSet) bool { return at(h) != at(j.h) }) {
			return j.refuse(isStack, finding.MissingPosition, "The positions of the %d images run within their plane: Image Position (Patient) %s or Image Orientation (Patient) %s %q "+
				"is wrong.\nSend the series again as it left the scanner.", n, dcm.ImagePositionPatient, dcm.ImageOrientationPatient,
				strings.Join(j.h.Strings(dcm.ImageOrientationPatient), "\\"))
		}
		return j.refuse(isStack, finding.MissingPosition, "All %d images of the series have the same position (Image Position (Patient) %s %q).\n"+
			"Send the series again as it left the scanner.", n, dcm.ImagePositionPatient, at(j.h))
	}
	if part.repeats > 0 {
		return j.refuse(isPlain, finding.Contrast, "The series shows the same places %d times, as perfusion does.\nSend the series without contrast agent.", part.repeats)
	}
	return true
}

func (j *judgement) geometry(headers []*dcm.DataSet, part stack) bool {
	a, err := volume.Arrange(headers)
	if err != nil {
		r := err.(*finding.Refusal)
		return j.refuse(isStack, r.Code, "%s\n%s", strings.TrimSpace(r.Reason+" "+part.beside), r.Remedy)
	}
	if part.beside != "" {
		j.warn("%s", part.beside)
	}
	j.series.Warnings = append(j.series.Warnings, a.Warnings...)
	if n := a.Grid.Slices(); n < j.o.MinSlices {
		return j.refuse(isEnough, finding.TooFewSlices, "The series has slices at %d positions, and at least %d are needed.\nSend the whole head.", n, j.o.MinSlices)
	}
	if high, wide := float64(a.Grid.Rows)*a.Grid.SpacingMM[0], float64(a.Grid.Columns)*a.Grid.SpacingMM[1]; max(high, wide) > mostFieldMM || max(high, wide) < leastFieldMM {
		return j.refuse(isStack, finding.MissingPosition, "The images are %.0f x %.0f mm large, which no CT of a head is: %d rows and %d columns of %.4g x %.4g mm (Pixel Spacing %s).\n"+
			"Send the series again as it left the scanner.", wide, high, a.Grid.Rows, a.Grid.Columns, a.Grid.SpacingMM[0], a.Grid.SpacingMM[1], dcm.PixelSpacing)
	}
	if mm := max(a.Grid.SpacingMM[0], a.Grid.SpacingMM[1]); mm > coarsePixelMM {
		j.say(-15, "Pixels of %.1f mm are coarse.", mm)
		j.warn("Pixels of %.1f mm (Pixel Spacing %s) are coarse: thin and small bleeds cannot be seen.", mm, dcm.PixelSpacing)
	}
	gap := a.Grid.MedianGap()
	j.SpacingMM = math.Round(gap*1000) / 1000
	if angle := math.Acos(math.Min(a.Grid.Normal()[2], 1)) * 180 / math.Pi; angle > j.o.MaxAngleDeg {
		return j.refuse(isStack, finding.NotAxial, "The slices are not axial: turned by %.0f degrees (Image Orientation (Patient) %s); up to %.0f are read.\nSend the axial series.",
			angle, dcm.ImageOrientationPatient, j.o.MaxAngleDeg)
	}
	coverage := 0.0
	for _, mm := range a.Grid.SupportMM {
		coverage += mm
	}
	if coverage < j.o.MinCoverageMM {
		return j.refuse(isCovered, finding.TooFewSlices, "The series covers %.0f mm, with %s; at least %.0f mm are needed.\nSend the whole head.",
			coverage, plural(a.Grid.Slices()), j.o.MinCoverageMM)
	}
	if coverage > j.o.MaxCoverageMM {
		return j.refuse(isCovered, finding.TooLong, "The series covers %.0f mm, far more than a head and neck (at most %.0f mm), and other bones are taken for a skull "+
			"there.\nSend the head as a series of its own.", coverage, j.o.MaxCoverageMM)
	}
	if n := a.Grid.Slices(); n < wholeSlices || coverage < wholeMM {
		j.series.Part = true
		j.warn("The series is a part of a head: %s over %.0f mm. All results are of this part.", plural(n), coverage)
	}
	j.say(coverage/100, "%d axial slices over %.0f mm.", a.Grid.Slices(), coverage) // of two equal stacks the longer one wins
	thickness := func(h *dcm.DataSet) float64 { mm, _ := h.Float(dcm.SliceThickness); return mm }
	thickest := maxBy(headers, func(h *dcm.DataSet) int { return int(1000 * math.Min(thickness(h), 1e3)) })
	if mm := thickness(thickest); mm >= 0.5 && gap > 1.8*mm && gap > 2 {
		j.say(-10, "Slices of %.1f mm are %.1f mm apart.", mm, gap)
		j.warn("Slices of %.1f mm are %.1f mm apart: the space between was not scanned, or is shown by slices that did not arrive.", mm, gap)
	}
	switch {
	case gap > 7.5:
		j.say(-15, "Slices %.1f mm apart are coarse.", gap)
		j.warn("Slices %.1f mm apart: small bleeds can lie between them.", gap)
	case gap >= 2.5:
		j.say(15, "Slices %.1f mm apart, as in the training data.", gap)
	default:
		j.say(0, "Thin slices, %.1f mm apart.", gap)
	}
	return true
}

func plural(slices int) string {
	if slices == 1 {
		return "one slice"
	}
	return fmt.Sprintf("%d slices", slices)
}

// maxBy returns the header with the highest score. One contrast-enhanced image makes the series contrast-enhanced.
func maxBy(headers []*dcm.DataSet, score func(*dcm.DataSet) int) *dcm.DataSet {
	best := headers[0]
	for _, h := range headers[1:] {
		if score(h) > score(best) {
			best = h
		}
	}
	return best
}

func (j *judgement) agent(headers []*dcm.DataSet) bool {
	const remedy = "Send the series without it, or set analysis.contrast"
	switch c, why := contrastOf(maxBy(headers, func(h *dcm.DataSet) int { c, _ := contrastOf(h); return int(c) })); {
	case c == plain:
	case c == doubtful:
		j.say(-30, "Contrast agent may have been given (%s).", why)
		j.warn("Contrast agent may have been given (%s); vessels with contrast agent look like bleeds.", why)
	case c == perfusion:
		return j.refuse(isPlain, finding.Contrast, "The series is a perfusion study (%s), which needs contrast agent.\nSend the series without it.", why)
	case !j.o.Contrast && c == angiography:
		return j.refuse(isPlain, finding.Contrast, "The series is a CT angiography (%s): vessels with contrast agent look like bleeds.\n%s.", why, remedy)
	case !j.o.Contrast:
		return j.refuse(isPlain, finding.Contrast, "Contrast agent was given (%s): vessels look like bleeds.\n%s.", why, remedy)
	default:
		j.say(-40, "Contrast agent was given (%s).", why)
		j.warn("Contrast agent was given (%s): vessels can look like bleeds.", why)
	}
	return true
}

func (j *judgement) kernel(headers []*dcm.DataSet) bool {
	h := maxBy(headers, func(h *dcm.DataSet) int { return int(kernelOf(h)) })
	k, name := kernelOf(h), fmt.Sprintf("Convolution Kernel %.16q", h.String(dcm.ConvolutionKernel))
	if k == unknownKernel {
		if w := boneWord(words(j.h, dcm.SeriesDescription)); w != "" {
			k, name = sharpKernel, fmt.Sprintf("Series Description %.16q", w)
		}
	}
	switch {
	case k == softKernel:
		j.say(25, "Soft-tissue kernel (%s).", name)
	case k == mediumKernel:
		j.say(-15, "Medium-sharp kernel (%s).", name)
	case k == sharpKernel && !j.o.BoneKernel:
		return j.refuse(isSoft, finding.BoneKernelOnly, "The series was reconstructed with a sharp kernel (%s), whose noise hides bleeds and looks like them.\n"+
			"Send the soft-tissue reconstruction, or set analysis.bone_kernel.", name)
	case k == sharpKernel:
		j.say(-40, "Sharp kernel (%s): noise hides bleeds.", name)
		j.warn("The series was reconstructed with a sharp kernel (%s); prefer a soft-tissue kernel.", name)
	}
	return true
}

func (j *judgement) age() bool {
	years, from := ageYears(j.h)
	if born, _, ok := sinceBirth(j.h); ok && j.o.MinAge > 0 && born < float64(j.o.MinAge) && years >= float64(j.o.MinAge) {
		j.warn("Patient's Age %s is %d years, but by Patient's Birth Date %s the patient was %d; the networks were made for patients of %d years and older.",
			dcm.PatientAge, int(years), dcm.PatientBirthDate, int(born), j.o.MinAge)
	}
	switch {
	case j.o.MinAge <= 0:
	case from == "":
		age, born := "is empty", "is empty"
		if v := j.h.String(dcm.PatientAge); v != "" {
			age = fmt.Sprintf("is %.10q", v)
		}
		if j.h.String(dcm.PatientBirthDate) != "" {
			born = "gives no plausible age"
		}
		j.warn("The age of the patient is not known: Patient's Age %s %s, Patient's Birth Date %s %s. The networks were made for patients of %d years and older.",
			dcm.PatientAge, age, dcm.PatientBirthDate, born, j.o.MinAge)
	case years < float64(j.o.MinAge):
		old := fmt.Sprintf("%d years", int(years))
		switch {
		case years == 0:
			old = "less than one year"
		case 12*years < 2:
			old = fmt.Sprintf("%d days", int(math.Round(365.2425*years)))
		case years < 2:
			old = fmt.Sprintf("%d months", int(12*years))
		}
		return j.refuse(isAdult, finding.Child, "The patient is %s old (%s); these networks were made for patients of %d years and older.\nRead the study without ichor, "+
			"or lower analysis.min_age.", old, from, j.o.MinAge)
	}
	return true
}

func dimension(h *dcm.DataSet, t dcm.Tag) int {
	n, _ := h.Int(t)
	return min(max(n, 1), math.MaxUint16)
}
