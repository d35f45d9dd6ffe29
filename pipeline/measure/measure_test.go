package measure

import (
	"math"
	"math/rand/v2"
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

func TestVolumesAddUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	g := grid(9, 11, 5, 2.5, 7, 1)
	for range 50 {
		m := volume.NewMask(g)
		var want [6]float64
		for i := range m.Voxels {
			m.Voxels[i] = uint8(rng.IntN(6))
			want[m.Voxels[i]] += 2 * g.SupportMM[i/99] / 1000
		}
		v := Volumes(m, g)
		sum := 0.0
		for _, s := range finding.Subtypes {
			sum += v.Of(s)
			if math.Abs(v.Of(s)-want[s]) > 1e-9 {
				t.Errorf("%s %v mL, want %v", s, v.Of(s), want[s])
			}
		}
		if math.Abs(v.Total-sum) > 1e-12 {
			t.Errorf("total %v, subtypes add up to %v", v.Total, sum)
		}
	}
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
	got := Lesions(m, g)
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
	if got := Lesions(volume.NewMask(g), g); len(got) != 0 {
		t.Errorf("an empty mask has lesions: %v", got)
	}
}

func TestDiameterIsThatOfAllCorners(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 300 {
		g := grid(1+rng.IntN(9), 1+rng.IntN(9), 5)
		m := volume.NewMask(g)
		var corners [][2]float64
		for i := range m.Voxels {
			if rng.IntN(3) == 0 {
				m.Voxels[i] = 1
				r, c := float64(i/g.Columns), float64(i%g.Columns)
				for _, d := range [][2]float64{{-.5, -.5}, {-.5, .5}, {.5, -.5}, {.5, .5}} {
					corners = append(corners, [2]float64{(r + d[0]) * 2, c + d[1]})
				}
			}
		}
		want := 0.0
		for _, a := range corners {
			for _, b := range corners {
				want = math.Max(want, math.Hypot(a[0]-b[0], a[1]-b[1]))
			}
		}
		if got := diameter(volume.ComponentsOf(m, volume.Corners, 0).Runs, g.SpacingMM); math.Abs(got-want) > 1e-9 {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}
