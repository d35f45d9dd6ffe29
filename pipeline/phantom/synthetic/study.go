// Package synthetic makes heads and bodies with known bleeds for tests and for the samples of package synthetic: it renders
// them, changes them as other scanners and protocols would (tilt, thin slices, feet first, metal, motion), and writes them
// as the CT files that a scanner sends.
package synthetic

import (
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// Label values. The subtypes follow in the order of finding.Subtypes.
const (
	Outside = 0
	Cavity  = 1
)

// Info names a study and says what is in it.
type Info struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	TruthML     finding.Volumes `json:"truth_ml"`
	CavityML    float64         `json:"cavity_ml"`
}

// Study is one synthetic head.
type Study struct {
	Info
	Seed             int64        `json:"seed"`
	Rows             int          `json:"rows"`
	Columns          int          `json:"columns"`
	PixelSpacingMM   [2]float64   `json:"pixel_spacing_mm"` // between rows, between columns
	SliceThicknessMM float64      `json:"slice_thickness_mm"`
	Orientation      [6]float64   `json:"orientation"`
	PositionsMM      []volume.Vec `json:"positions_mm"` // ImagePositionPatient of each slice, feet to head
	AgeYears         int          `json:"age_years"`
	Sex              string       `json:"sex"`
	KVP              float64      `json:"kvp"`

	HU     []int16 `json:"-"` // slice-major
	Labels []uint8 `json:"-"` // Outside, Cavity, then 1 + finding.Subtype
}

// Grid is the geometry of the study as volume.Build finds it in its files.
func (s *Study) Grid() volume.Grid {
	g := volume.Grid{Rows: s.Rows, Columns: s.Columns, SpacingMM: s.PixelSpacingMM, Origins: s.PositionsMM,
		AlongRow:    volume.Vec{s.Orientation[0], s.Orientation[1], s.Orientation[2]},
		AlongColumn: volume.Vec{s.Orientation[3], s.Orientation[4], s.Orientation[5]}}
	g.SupportMM = volume.Support(g.Gaps(), s.SliceThicknessMM)
	return g
}

// Truth is the label volume that a perfect analysis finds, and the cavity.
func (s *Study) Truth() (labels, cavity *volume.Mask) {
	g := s.Grid()
	labels, cavity = volume.NewMask(&g), volume.NewMask(&g)
	for i, l := range s.Labels {
		if l >= Cavity {
			cavity.Voxels[i] = 1
		}
		if l > Cavity {
			labels.Voxels[i] = l - 1
		}
	}
	return labels, cavity
}
