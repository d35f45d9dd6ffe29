package measure

import (
	"math"
	"math/rand/v2"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

func TestSurface(t *testing.T) {
	g := grid(8, 9, 5, 5, 5)
	m := volume.NewMask(g)
	for k := range 3 { // a box of 5 x 5 x 3 voxels: all but the inner 3 x 3 of the middle slice are at the surface
		for r := 1; r < 6; r++ {
			for c := 2; c < 7; c++ {
				m.Slice(k)[r*9+c] = uint8(finding.IPH)
			}
		}
	}
	share := 2 / math.Sqrt(12) * 2 * 5 / 1000 // mL of a voxel
	want := share * math.Sqrt(25*25+16*16+25*25)
	got := surfaceML(m, g)
	if math.Abs(got[finding.IPH]-want) > 1e-12 || math.Abs(got[finding.None]-want) > 1e-12 || got[finding.SDH] != 0 {
		t.Errorf("%v, want %v", got, want)
	}
	m.Slice(1)[3*9+4] = uint8(finding.SDH) // its neighbours get a surface, the whole does not
	got = surfaceML(m, g)
	if w := share * math.Sqrt(25*25+20*20+25*25); math.Abs(got[finding.IPH]-w) > 1e-12 || math.Abs(got[finding.None]-want) > 1e-12 || math.Abs(got[finding.SDH]-share) > 1e-12 {
		t.Errorf("%v, want %v, %v, %v", got, want, w, share)
	}
}

func TestRangeHoldsTheVolume(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	g := grid(7, 6, 5, 2, 3)
	for range 100 {
		var r Range
		chosen := volume.NewMask(g)
		for try := range 3 {
			m := volume.NewMask(g)
			for i := range m.Voxels {
				if rng.IntN(3) == 0 {
					m.Voxels[i] = uint8(rng.IntN(6))
				}
			}
			if try == 0 {
				chosen = m
			}
			r.Add(m, g)
		}
		v, f := Volumes(chosen, g), r.Finding()
		for s := finding.None; s <= finding.EDH; s++ {
			if !(0 <= f.Low.Of(s) && f.Low.Of(s) <= v.Of(s) && v.Of(s) <= f.High.Of(s)) {
				t.Fatalf("%s: %v, range %v to %v", s, v.Of(s), f.Low.Of(s), f.High.Of(s))
			}
		}
	}
	var r Range
	r.Add(volume.NewMask(g), g)
	if f := r.Finding(); f.High != (finding.Volumes{}) {
		t.Errorf("nothing has a range up to %v", f.High)
	}
}
