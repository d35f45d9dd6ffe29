// Package finding defines the result of one analysis: everything that reporting reads besides the voxels, and the JSON that
// `ichor analyze` writes and the HTTP interface returns.
package finding

import (
	"encoding/json"
	"fmt"
)

// Disclaimer is part of every output.
const Disclaimer = "Research use only. Not for clinical use."

// Subtype is a hemorrhage subtype; its value is the voxel value in a label volume (0 is no hemorrhage) and the
// channel order of the bleed network after "any".
type Subtype uint8

const (
	None Subtype = iota
	IPH          // intraparenchymal
	IVH          // intraventricular
	SAH          // subarachnoid
	SDH          // subdural
	EDH          // epidural
	ICH          // intracranial, if the networks do not determine the subtype; never together with the others
)

// Subtypes lists the five in voxel-value order.
var Subtypes = [...]Subtype{IPH, IVH, SAH, SDH, EDH}

// Kinds lists all values that a voxel of hemorrhage may have.
var Kinds = [...]Subtype{IPH, IVH, SAH, SDH, EDH, ICH}

// String returns the abbreviation used for JSON keys and channel names.
func (s Subtype) String() string {
	return [...]string{"none", "IPH", "IVH", "SAH", "SDH", "EDH", "ICH"}[s]
}

// Name returns the full name for readers.
func (s Subtype) Name() string {
	return [...]string{"No hemorrhage", "Intraparenchymal hemorrhage", "Intraventricular hemorrhage",
		"Subarachnoid hemorrhage", "Subdural hemorrhage", "Epidural hemorrhage", "Intracranial hemorrhage"}[s]
}

// MarshalText writes the abbreviation.
func (s Subtype) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads an abbreviation.
func (s *Subtype) UnmarshalText(text []byte) error {
	for k := range ICH + 1 {
		if k.String() == string(text) {
			*s = k
			return nil
		}
	}
	return fmt.Errorf("hemorrhage subtype %q: want none, IPH, IVH, SAH, SDH, EDH or ICH", text)
}

// Status is how an analysis ended.
type Status string

const (
	Analyzed Status = "analyzed"
	Refused  Status = "refused"
)

// Finding is the result of one analysis of one study.
type Finding struct {
	Status     Status  `json:"status"`
	Code       string  `json:"code,omitempty"`   // refusals: a stable word, see refusal.go
	Reason     string  `json:"reason,omitempty"` // refusals: what was seen and what to do about it, for the operator
	Seen       string  `json:"seen,omitempty"`   // refusals: what was seen, for the patient's report
	Disclaimer string  `json:"disclaimer"`
	Study      Study   `json:"study"`
	Series     *Series `json:"series,omitempty"`
	Bundle     Bundle  `json:"bundle"`

	// Parameters are the settings that the result depends on, by name: thresholds, precision, limits of the selection.
	Parameters map[string]string `json:"parameters,omitempty"`

	Volumes  *Volumes `json:"volumes_ml,omitempty"`
	Range    *Range   `json:"volumes_range_ml,omitempty"`
	CavityML float64  `json:"cavity_ml,omitempty"`
	Lesions  []Lesion `json:"lesions,omitempty"`
	// LeastLesionML: smaller connected parts are not listed as lesions, except for the largest part of a hemorrhage.
	LeastLesionML float64          `json:"least_lesion_ml,omitempty"`
	Prior         *Prior           `json:"prior,omitempty"`             // nil if the node has no earlier finding of the patient
	Corrected     bool             `json:"patient_corrected,omitempty"` // the sender sent images again with another patient
	TimingMS      map[string]int64 `json:"timing_ms,omitempty"`
	Warnings      []string         `json:"warnings,omitempty"`
	Candidates    []Candidate      `json:"candidates,omitempty"`
	Complete      string           `json:"complete,omitempty"` // rule by which assembly decided that the study was complete
}

// Study identifies the analysed study.
type Study struct {
	StudyInstanceUID string `json:"study_instance_uid,omitempty"` // NIfTI files have none
	SHA256           string `json:"sha256,omitempty"`             // of a NIfTI file
}

// Series identifies the analysed series, with its geometry.
type Series struct {
	SeriesInstanceUID string     `json:"series_instance_uid,omitempty"`
	Number            int        `json:"number,omitempty"` // Series Number; 0 where it has none
	Slices            int        `json:"slices"`
	SpacingMM         [3]float64 `json:"spacing_mm"` // between rows, between columns, median along the normal
	TiltDeg           float64    `json:"tilt_deg"`   // angle between the slice normal and the axis of the positions
}

// Bundle identifies the networks that were used.
type Bundle struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Digest  string `json:"digest"`            // sha256 of manifest.json, which contains the digests of all other files
	Caution string `json:"caution,omitempty"` // the first limit that its makers state: what it was trained on
}

// Volumes are in millilitres in patient space. The subtypes add up to the total. If the networks do not determine subtypes
// (Untold), ICH is the total and the JSON omits the others: a zero would suggest that they were looked for.
type Volumes struct {
	Total float64 `json:"total"`
	IPH   float64 `json:"IPH"`
	IVH   float64 `json:"IVH"`
	SAH   float64 `json:"SAH"`
	SDH   float64 `json:"SDH"`
	EDH   float64 `json:"EDH"`
	ICH   float64 `json:"ICH,omitempty"`

	Untold bool `json:"-"` // in the JSON: ICH is present, even if zero
}

// Shown returns the subtypes that have a volume: the five, or only ICH.
func (v Volumes) Shown() []Subtype {
	if v.Untold || v.ICH > 0 {
		return Kinds[len(Subtypes):]
	}
	return Subtypes[:]
}

// MarshalJSON encodes the total and the subtypes in Shown.
func (v Volumes) MarshalJSON() ([]byte, error) {
	if v.Untold || v.ICH > 0 {
		return json.Marshal(struct {
			Total float64 `json:"total"`
			ICH   float64 `json:"ICH"`
		}{v.Total, v.ICH})
	}
	type plain Volumes
	return json.Marshal(plain(v))
}

// UnmarshalJSON decodes the output of MarshalJSON.
func (v *Volumes) UnmarshalJSON(raw []byte) error {
	type plain Volumes
	said := struct {
		*plain
		ICH *float64 `json:"ICH"`
	}{plain: (*plain)(v)}
	if err := json.Unmarshal(raw, &said); err != nil {
		return err
	}
	if v.Untold = said.ICH != nil; v.Untold {
		v.ICH = *said.ICH
	}
	return nil
}

// Of returns the volume of one subtype, or the total for None.
func (v Volumes) Of(s Subtype) float64 {
	return [...]float64{v.Total, v.IPH, v.IVH, v.SAH, v.SDH, v.EDH, v.ICH}[s]
}

// Set stores the volume of one subtype, or the total for None.
func (v *Volumes) Set(s Subtype, ml float64) {
	*[...]*float64{&v.Total, &v.IPH, &v.IVH, &v.SAH, &v.SDH, &v.EDH, &v.ICH}[s] = ml
}

// Lesion is one connected region of one subtype.
type Lesion struct {
	Subtype       Subtype    `json:"subtype"`
	VolumeML      float64    `json:"volume_ml"`
	Slices        [2]int     `json:"slices"`             // first and last, counted from 0 at the feet
	CentroidMM    [3]float64 `json:"centroid_mm"`        // patient coordinates, LPS
	MaxDiameterMM float64    `json:"max_diameter_mm"`    // largest distance within any slice
	WidthMM       float64    `json:"width_mm"`           // longest perpendicular line in the same slice
	ExtentMM      [3]float64 `json:"extent_mm"`          // sides of the box around it: right to left, front to back, feet to head
	ABC2ML        float64    `json:"abc2_ml"`            // A*B*C/2, the manual estimate of the volume; see measure/abc.go
	Images        [2]int     `json:"images"`             // lowest and highest number of the images of Slices in their series; 0 where they have none
	Side          Side       `json:"side,omitempty"`     // approximate, as all that follows
	Sites         []string   `json:"sites,omitempty"`    // names of places, see measure.Places; the one with most of the lesion first
	Position      string     `json:"position,omitempty"` // side and sites in words, as "left frontal, supratentorial"
}

// Side is the side of the patient on which a lesion lies.
type Side string

const (
	Left      Side = "left"
	Right     Side = "right"
	Midline   Side = "midline"
	BothSides Side = "both sides"
)

// Range is the uncertainty of the volumes: measured with the surface moved by the partial volume of its voxels, and with a lower
// and a higher threshold. It does not cover bleeds that the networks miss.
type Range struct {
	Low  Volumes `json:"low"`
	High Volumes `json:"high"`
}

// Prior is the newest earlier finding of the same patient on this node.
type Prior struct {
	StudyInstanceUID string  `json:"study_instance_uid"`
	Hours            float64 `json:"hours"` // from the prior acquisition to this one
	Volumes          Volumes `json:"volumes_ml"`
	ChangeML         float64 `json:"change_ml"`                // of the total
	ChangePercent    float64 `json:"change_percent,omitempty"` // of the prior total; omitted if that is zero
	Caution          string  `json:"caution,omitempty"`        // why the two are hard to compare: other networks, another slice thickness
}

// Candidate is one series of the study as judged by selection, or one stack of slices of a series with several.
type Candidate struct {
	SeriesInstanceUID string   `json:"series_instance_uid"`
	Modality          string   `json:"modality"`
	Description       string   `json:"description,omitempty"` // of the series
	Instances         int      `json:"instances"`
	SpacingMM         float64  `json:"spacing_mm,omitempty"` // median along the normal, if the slices form a stack
	Score             float64  `json:"score"`
	Code              string   `json:"code,omitempty"` // why it cannot be analysed; empty if it can
	Chosen            bool     `json:"chosen"`
	Reasons           []string `json:"reasons"`
}
