package pipeline

import (
	"fmt"
	"math"
	"testing"

	"ichor/models/bundle"
	"ichor/pipeline/bleed"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/pipeline/window"
)

// marked has slices of 20 x 20 voxels of 2 x 2 x 5 mm, 0.02 mL each, and what the network answers, the same for each slice.
type marked struct{ p [6 * 20 * 20]float32 }

// box makes the first n columns of a row hemorrhage of a subtype, from column c.
func (m *marked) box(s finding.Subtype, any float32, row, c, n int) {
	for i := row*20 + c; i < row*20+c+n; i++ {
		m.p[i], m.p[int(s)*400+i] = any, any
	}
}

func TestReportedHemorrhageHasLesions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		post bundle.Post
		draw func(*marked)
		ml   float64   // reported
		want []float64 // mL of each lesion
	}{
		{"below the floor once its edge is cut", bundle.Post{MinComponentML: 1, Edge: 0.9}, func(m *marked) {
			m.box(finding.IPH, 1, 4, 2, 14)
			m.box(finding.IPH, 0.8, 5, 2, 4)
		}, 0.84, []float64{0.84}},
		{"beside a large one", bundle.Post{MinComponentML: 1, Edge: 0.9}, func(m *marked) {
			m.box(finding.IPH, 1, 4, 2, 14)
			m.box(finding.IPH, 0.8, 5, 2, 4)
			m.box(finding.IPH, 1, 10, 0, 20)
			m.box(finding.IPH, 1, 11, 0, 20)
		}, 3.24, []float64{2.4, 0.84}},
		{"in two pieces once its edge is cut", bundle.Post{MinComponentML: 1, Edge: 0.9}, func(m *marked) {
			m.box(finding.IPH, 1, 4, 2, 10)
			m.box(finding.IPH, 0.8, 4, 12, 3)
			m.box(finding.IPH, 1, 4, 15, 5)
		}, 0.9, []float64{0.6}},
		{"of two subtypes, each below the floor", bundle.Post{MinComponentML: 1}, func(m *marked) {
			m.box(finding.IPH, 1, 4, 0, 9)
			m.box(finding.SAH, 1, 4, 9, 10)
		}, 1.14, []float64{0.6}},
		{"a seam of another subtype", bundle.Post{MinComponentML: 1}, func(m *marked) {
			m.box(finding.IPH, 1, 4, 0, 18)
			m.box(finding.SAH, 1, 4, 18, 2)
		}, 1.2, []float64{1.08}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := volume.Grid{Rows: 20, Columns: 20, AlongRow: volume.Vec{1, 0, 0}, AlongColumn: volume.Vec{0, 1, 0}, SpacingMM: [2]float64{2, 2},
				Origins: []volume.Vec{{0, 0, 0}, {0, 0, 5}, {0, 0, 10}}, SupportMM: []float64{5, 5, 5}}
			r := running{}
			r.Volume = &volume.Volume{Grid: g, HU: make([]int16, 3*400), Sources: make([]volume.Source, 3)}
			r.Cavity = volume.NewMask(&r.Volume.Grid)
			for i := range r.Cavity.Voxels {
				r.Cavity.Voxels[i], r.Volume.HU[i] = 1, int16(i%50)
			}
			m := &marked{}
			c.draw(m)
			c.post.SubtypePer = "voxel"
			spec := &bundle.Network{Role: bundle.Bleed, Threshold: 0.5, Post: c.post, Input: bundle.Input{Shape: []int64{-1, 1, 20, 20}, WindowHU: [2]float64{-50, 150}},
				Output: bundle.Output{Channels: []string{"any", "IPH", "IVH", "SAH", "SDH", "EDH"}}}
			marks, err := bleed.Find(t.Context(), r.Volume, r.Cavity, &answers{slices: [][]float32{m.p[:], m.p[:], m.p[:]}}, spec, window.Runs{})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.measure(t.Context(), marks, spec); err != nil {
				t.Fatal(err)
			}
			var got []float64
			for _, l := range r.Finding.Lesions {
				got = append(got, math.Round(1000*l.VolumeML)/1000)
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) || math.Abs(r.Finding.Volumes.Total-c.ml) > 1e-6 {
				t.Errorf("lesions of %v mL, %.3f mL in total; want %v, %v", got, r.Finding.Volumes.Total, c.want, c.ml)
			}
		})
	}
}
