package subtype

import (
	"testing"

	"ichor/pipeline/volume"
)

func TestPerComponent(t *testing.T) {
	g := &volume.Grid{Rows: 1, Columns: 8, SpacingMM: [2]float64{1, 1}, Origins: make([]volume.Vec, 2), SupportMM: []float64{1, 5}}
	for _, c := range []struct {
		name     string
		in, want string // two slices of one row
	}{
		{"most voxels", "11400000 00000000", "11100000 00000000"},
		{"most volume, not most voxels", "11100000 40000000", "44400000 40000000"},
		{"two components", "11400044 00000000", "11100044 00000000"},
		{"corners touch", "01100000 20020000", "02200000 20020000"},
		{"a tie goes to the first", "05300000 00000000", "03300000 00000000"},
		{"nothing", "00000000 00000000", "00000000 00000000"},
	} {
		m := &volume.Mask{Rows: 1, Columns: 8}
		var want []uint8
		for i := range c.in {
			if c.in[i] != ' ' {
				m.Voxels = append(m.Voxels, c.in[i]-'0')
				want = append(want, c.want[i]-'0')
			}
		}
		if PerComponent(m, g); string(m.Voxels) != string(want) {
			t.Errorf("%s: %v, want %v", c.name, m.Voxels, want)
		}
	}
}
