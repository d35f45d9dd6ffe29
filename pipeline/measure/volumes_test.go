package measure

import (
	"math"
	"math/rand/v2"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

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
