package synthetic

import (
	"math"
	"slices"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// centroid is the middle of a bleed in the patient.
func centroid(s *Study, t finding.Subtype) volume.Vec {
	g := s.Grid()
	labels, _ := s.Truth()
	var sum volume.Vec
	total := 0.0
	for i, l := range labels.Voxels {
		if l == uint8(t) {
			k := i / (s.Rows * s.Columns)
			w := g.SupportMM[k]
			sum = sum.Add(g.Point(k, float64(i/s.Columns%s.Rows), float64(i%s.Columns)).Scale(w))
			total += w
		}
	}
	return sum.Scale(1 / total)
}

// However the head is sent, the truth stays what it is and where it is.
func TestTransforms(t *testing.T) {
	at := volume.Vec{-30, 10, 5}
	s := Head(Shape{Balls: []Ball{{finding.IPH, at, 20}}})
	for name, c := range map[string]struct {
		s     *Study
		share float64 // of the volume that may be lost to voxels: those of s are 5 mm thick
	}{
		"flipped": {s.Turned(Turn{Rows: true}), 1e-9}, "turned": {s.Turned(Turn{Swap: true, Columns: true}), 1e-9}, "feet first": {s.FeetFirst(), 1e-9},
		"tilted": {s.Tilted(18.5), 0.03}, "tilted the other way": {s.Tilted(-30), 0.03}, "not tilted": {s.Tilted(0), 1e-9},
		"thin": {s.Thin(1.25), 0.03}, "uneven": {s.Uneven(), 0.06}, "matrix": {s.Matrix(255, 150, [2]float64{0.9, 1.6}), 0.03}, "rolled": {s.Rolled(33), 0.03},
	} {
		t.Run(name, func(t *testing.T) {
			for what, v := range map[string][2]float64{"IPH": {c.s.TruthML.IPH, s.TruthML.IPH}, "total": {c.s.TruthML.Total, s.TruthML.Total},
				"cavity": {c.s.CavityML, s.CavityML}} {
				if math.Abs(v[0]-v[1]) > c.share*v[1] {
					t.Errorf("%s %v mL, was %v", what, v[0], v[1])
				}
			}
			if d := centroid(c.s, finding.IPH).Sub(centroid(s, finding.IPH)).Length(); d > 50*c.share+0.01 {
				t.Errorf("the bleed lies %v mm away", d)
			}
			files, _ := c.s.DataSets(WriteOptions{})
			a, err := volume.Arrange(files)
			if err != nil {
				t.Fatal(err)
			}
			g := c.s.Grid()
			for k, p := range a.Grid.Origins {
				if p.Sub(g.Origins[k]).Length() > 1e-6 || math.Abs(a.Grid.SupportMM[k]-g.SupportMM[k]) > 1e-6 {
					t.Fatalf("slice %d lies at %v with %v mm, not at %v with %v", k, p, a.Grid.SupportMM[k], g.Origins[k], g.SupportMM[k])
				}
			}
		})
	}
	back := s.Turned(Turn{Swap: true, Rows: true}).Turned(Turn{Rows: true}).Turned(Turn{Swap: true})
	if !slices.Equal(back.HU, s.HU) || back.Orientation != s.Orientation {
		t.Error("turned and turned back is another study")
	}
	files, _ := s.FeetFirst().DataSets(WriteOptions{})
	if got := files[0].String(dcm.PatientPosition); got != "FFS" {
		t.Errorf("feet first is sent as %s", got)
	}
	if d := centroid(s.HeadTurned(90), finding.IPH).Sub(volume.Vec{10, 30, 5}).Length(); d > 1 {
		t.Errorf("turned in the head rest, the bleed lies at %v", centroid(s.HeadTurned(90), finding.IPH))
	}
}
