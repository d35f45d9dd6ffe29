package cavity

import (
	"context"
	"errors"
	"testing"

	"ichor/models/bundle"
	"ichor/pipeline/volume"
	"ichor/pipeline/window"
)

const side = 16

// net marks a box in every slab.
type net struct {
	r0, r1, c0, c1 int
	err            error
}

func (n net) Run(_ context.Context, in []float32, batch int) ([]float32, error) {
	out := make([]float32, batch*side*side)
	for b := range batch {
		for r := n.r0; r < n.r1; r++ {
			for c := n.c0; c < n.c1; c++ {
				out[b*side*side+r*side+c] = 1
			}
		}
	}
	return out, n.err
}

func network(n net, p bundle.Post) Network {
	return Network{n, &bundle.Network{Role: "test", Threshold: 0.5, Post: p, Input: bundle.Input{Shape: []int64{-1, 1, side, side}, WindowHU: [2]float64{0, 600}}}}
}

func TestMask(t *testing.T) {
	v := &volume.Volume{Grid: volume.Grid{Rows: side, Columns: side, AlongRow: volume.Vec{1, 0, 0}, AlongColumn: volume.Vec{0, 1, 0}, SpacingMM: [2]float64{1, 1},
		Origins: []volume.Vec{{}, {0, 0, 5}}, SupportMM: []float64{5, 5}}, HU: make([]int16, 2*side*side)}
	v.Slice(0)[5*side+5] = 900  // inside the tissue box
	v.Slice(1)[3*side+3] = -900 // at its corner
	everything := bundle.Post{LargestComponent: true, FillHoles: true, HURange: &[2]float64{-200, 200}}
	for _, c := range []struct {
		name         string
		tissue, bone net
		post         bundle.Post
		want         int
	}{
		{"none", net{}, net{}, everything, 0},
		{"one network", net{3, 9, 3, 9, nil}, net{}, bundle.Post{}, 2 * 36},
		{"union", net{3, 9, 3, 9, nil}, net{3, 11, 3, 9, nil}, bundle.Post{}, 2 * 48},
		{"HU range", net{3, 9, 3, 9, nil}, net{}, bundle.Post{HURange: &[2]float64{-200, 200}}, 2*36 - 2},
		{"hole filled", net{3, 9, 3, 9, nil}, net{}, everything, 2*36 - 1},
		{"largest part", net{3, 9, 3, 9, nil}, net{11, 13, 3, 9, nil}, everything, 2*36 - 1},
		{"all parts", net{3, 9, 3, 9, nil}, net{11, 13, 3, 9, nil}, bundle.Post{}, 2*36 + 2*12},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Mask(context.Background(), v, network(c.tissue, c.post), network(c.bone, c.post), window.Runs{Batch: 4, Lanes: 2})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, x := range m.Voxels {
				n += int(x)
			}
			if n != c.want {
				t.Errorf("%d voxels, want %d", n, c.want)
			}
		})
	}
	broken := errors.New("broken")
	if _, err := Mask(context.Background(), v, network(net{}, everything), network(net{err: broken}, everything), window.Runs{Batch: 1, Lanes: 2}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
