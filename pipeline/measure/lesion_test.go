package measure

import (
	"math"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

func grid(rows, columns int, support ...float64) *volume.Grid {
	g := &volume.Grid{Rows: rows, Columns: columns, SpacingMM: [2]float64{2, 1}, AlongRow: volume.Vec{1, 0, 0}, AlongColumn: volume.Vec{0, 1, 0}, SupportMM: support}
	for k := range support {
		g.Origins = append(g.Origins, volume.Vec{-10, 20, 5 * float64(k)})
	}
	return g
}

func TestLesions(t *testing.T) {
	g := grid(30, 40, 5, 5, 5)
	m := volume.NewMask(g)
	fill := func(s finding.Subtype, k, r0, r1, c0, c1 int) {
		for r := r0; r < r1; r++ {
			for c := c0; c < c1; c++ {
				m.Slice(k)[r*40+c] = uint8(s)
			}
		}
	}
	fill(finding.IPH, 0, 10, 14, 5, 15) // 40 pixels of 2 mm2, 5 mm: 0.4 mL
	fill(finding.IPH, 1, 10, 14, 5, 15)
	fill(finding.SDH, 1, 14, 18, 5, 15) // touches, but is another subtype: 0.4 mL
	fill(finding.IPH, 2, 0, 2, 30, 32)  // 0.04 mL: below the least lesion
	got := Lesions(m, nil, m, g, MinLesionML)
	if len(got) != 2 || got[0].Subtype != finding.IPH || got[1].Subtype != finding.SDH {
		t.Fatalf("%+v", got)
	}
	l := got[0]
	if math.Abs(l.VolumeML-0.8) > 1e-9 || l.Slices != [2]int{0, 1} {
		t.Errorf("%+v", l)
	}
	if want := [3]float64{-10 + 9.5, 20 + 2*11.5, 2.5}; math.Abs(l.CentroidMM[0]-want[0])+math.Abs(l.CentroidMM[1]-want[1])+math.Abs(l.CentroidMM[2]-want[2]) > 1e-9 {
		t.Errorf("centroid %v, want %v", l.CentroidMM, want)
	}
	if want := math.Hypot(8, 10); math.Abs(l.MaxDiameterMM-want) > 1e-9 {
		t.Errorf("diameter %v, want %v", l.MaxDiameterMM, want)
	}
	// The rectangle of 10 x 8 mm: a line at right angles to its diagonal, from a corner to the other long side.
	if want := 8 * math.Hypot(8, 10) / 10; math.Abs(l.WidthMM-want) > 1e-9 {
		t.Errorf("width %v, want %v", l.WidthMM, want)
	}
	if want := [3]float64{10, 8, 10}; math.Abs(l.ExtentMM[0]-want[0])+math.Abs(l.ExtentMM[1]-want[1])+math.Abs(l.ExtentMM[2]-want[2]) > 1e-9 {
		t.Errorf("extent %v, want %v", l.ExtentMM, want)
	}
	if want := (8*8 + 10*10) * 8.0 / 10 * 10 / 2 / 1000; math.Abs(l.ABC2ML-want) > 1e-9 {
		t.Errorf("ABC/2 %v mL, want %v", l.ABC2ML, want)
	}
	if got := Lesions(m, nil, m, g, 0.5); len(got) != 1 || got[0].Subtype != finding.IPH {
		t.Errorf("a part below the smallest listed volume is a lesion: %+v", got)
	}
	if got := Lesions(volume.NewMask(g), nil, volume.NewMask(g), g, MinLesionML); len(got) != 0 {
		t.Errorf("an empty mask has lesions: %v", got)
	}
}
