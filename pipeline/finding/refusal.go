package finding

import (
	"fmt"
	"strings"
)

// Codes of refusals: stable words for programs. The reason that accompanies them is for people.
const (
	SeveralPatients    = "several-patients"    // the images name more than one patient
	NoHeadCT           = "no-head-ct"          // nothing in the study is a CT of the head
	TooFewSlices       = "too-few-slices"      // too few slices, or too short a part of the head
	TooLarge           = "too-large"           // more voxels than this node is configured for
	TooLong            = "too-long"            // far more of the body than a head and neck
	NotAxial           = "not-axial"           // coronal, sagittal or oblique
	NotOriginal        = "not-original"        // localizer, reformatted or otherwise derived images only
	MixedOrientation   = "mixed-orientation"   // the slices of the series are not parallel
	MixedGeometry      = "mixed-geometry"      // matrix or pixel spacing changes within the series
	MissingPosition    = "missing-position"    // a slice has no position, orientation or pixel size, or one that no scanner has
	DuplicatePosition  = "duplicate-position"  // two different slices at one position
	Incomplete         = "incomplete"          // slices are missing within the stack
	MissingCalibration = "missing-calibration" // pixel values cannot be converted to Hounsfield units
	Undecodable        = "undecodable"         // pixel data in an unsupported compression, damaged or truncated
	Contrast           = "contrast"            // contrast agent was given, and there is no series without it
	BoneKernelOnly     = "bone-kernel-only"    // no reconstruction for soft tissue
	Child              = "child"               // younger than the networks were made for
	NotHounsfield      = "not-hounsfield"      // a map, an overlay or a rendering, with Modality CT
	Motion             = "motion"              // unusable because of motion
	Metal              = "metal"               // unusable because of metal
	EmptyCavity        = "no-cavity"           // the networks found no intracranial cavity, or an impossible one
)

// Refusal is why a study or a series cannot be analysed. It is a result, not a failure: a retry gives the same.
type Refusal struct {
	Code   string // one of the codes above
	Reason string // what was seen, in a sentence without patient attributes other than an age; it goes into the patient's report
	Remedy string // what the operator can do; it does not go there
}

// Refuse makes a refusal. What follows the last line break of the formatted text is the remedy.
func Refuse(code, format string, args ...any) *Refusal {
	text := fmt.Sprintf(format, args...)
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		return &Refusal{code, strings.TrimSpace(text[:i]), strings.TrimSpace(text[i+1:])}
	}
	return &Refusal{Code: code, Reason: text}
}

// Text is what was seen and what to do about it, for the operator.
func (r *Refusal) Text() string { return strings.TrimSpace(r.Reason + " " + r.Remedy) }

func (r *Refusal) Error() string { return r.Code + ": " + r.Text() }
