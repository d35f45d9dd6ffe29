package subtype

import (
	"testing"

	"ichor/pipeline/volume"
)

func TestSettle(t *testing.T) {
	g := &volume.Grid{Rows: 1, Columns: 8, SpacingMM: [2]float64{1, 1}, Origins: make([]volume.Vec, 2), SupportMM: []float64{1, 5}}
	for _, c := range []struct {
		name, per string
		in, want  string // two slices of one row
	}{
		{"most voxels", Component, "11400000 00000000", "11100000 00000000"},
		{"most volume, not most voxels", Component, "11100000 40000000", "44400000 40000000"},
		{"two components", Component, "11400044 00000000", "11100044 00000000"},
		{"corners touch", Component, "01100000 20020000", "02200000 20020000"},
		{"a tie goes to the first", Component, "05300000 00000000", "03300000 00000000"},
		{"a subdural named epidural at one end", ExtraAxial, "44455000 00000000", "44444000 00000000"},
		{"blood in a ventricle beside it keeps its name", ExtraAxial, "22455000 00000000", "22555000 00000000"},
		{"two collections", ExtraAxial, "44500554 00000000", "44400555 00000000"},
		{"voxel by voxel", Voxel, "11400044 00000000", "11400044 00000000"},
		{"nothing", Component, "00000000 00000000", "00000000 00000000"},
	} {
		m := &volume.Mask{Rows: 1, Columns: 8}
		var want []uint8
		for i := range c.in {
			if c.in[i] != ' ' {
				m.Voxels = append(m.Voxels, c.in[i]-'0')
				want = append(want, c.want[i]-'0')
			}
		}
		if Settle(m, g, c.per); string(m.Voxels) != string(want) {
			t.Errorf("%s: %v, want %v", c.name, m.Voxels, want)
		}
	}
}
