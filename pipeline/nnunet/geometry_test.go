package nnunet

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ichor/models/bundle"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/pipeline/window"
)

// bright answers 10 where the value is above that of 50 HU, and -10 elsewhere.
type bright struct{ threshold float32 }

func (b bright) Run(_ context.Context, input []float32, batch int) ([]float32, error) {
	n := len(input) / batch
	out := make([]float32, 2*len(input))
	for i := range batch {
		for j, x := range input[i*n : (i+1)*n] {
			if x > b.threshold {
				out[2*i*n+n+j] = 10
			} else {
				out[2*i*n+n+j] = -10
			}
		}
	}
	return out, nil
}

func spec(configuration, orientation string, patch []int64, spacing [3]float64, mirror ...int) *bundle.Network {
	layout := append([]int64{-1, 1}, patch...)
	return &bundle.Network{Role: bundle.Bleed, Input: bundle.Input{Shape: layout, WindowHU: [2]float64{-20, 100}},
		Output: bundle.Output{Shape: append([]int64{-1, 2}, patch...), Channels: []string{"background", "IVH"}},
		NNUNet: &bundle.NNUNet{Configuration: configuration, SpacingMM: spacing, Mean: 30, Std: 20, Orientation: orientation, MirrorAxes: mirror}}
}

// ball is a volume with a ball of 70 HU and 20 mm radius around a point, and the millilitres of its voxels.
func ball(g volume.Grid, centre volume.Vec) (*volume.Volume, float64) {
	v := &volume.Volume{Grid: g, HU: make([]int16, g.Rows*g.Columns*g.Slices())}
	v.SupportMM = volume.Support(v.Gaps(), 5)
	ml := 0.0
	for k := range v.Slices() {
		s := v.Slice(k)
		for r := range v.Rows {
			for c := range v.Columns {
				s[r*v.Columns+c] = 30
				if v.Point(k, float64(r), float64(c)).Sub(centre).Length() < 20 {
					s[r*v.Columns+c] = 70
					ml += v.VoxelML(k)
				}
			}
		}
	}
	return v, ml
}

// TestTrueGeometry: a ball is found where it is, in straight, tilted, uneven, turned and mirrored stacks, for each kind of network.
func TestTrueGeometry(t *testing.T) {
	t.Parallel()
	grid := func(along, down volume.Vec, z func(k int) float64, slices int, shear float64) volume.Grid {
		g := volume.Grid{Rows: 70, Columns: 64, AlongRow: along, AlongColumn: down, SpacingMM: [2]float64{1.5, 1.5}}
		n := g.Normal()
		for k := range slices {
			g.Origins = append(g.Origins, n.Scale(z(k)).Add(g.AlongColumn.Scale(shear*z(k))))
		}
		return g
	}
	even := func(k int) float64 { return 4 * float64(k) }
	uneven := func(k int) float64 { // 2.5 mm below, 5 mm above
		if k < 18 {
			return 2.5 * float64(k)
		}
		return 45 + 5*float64(k-18)
	}
	x, y := volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0}
	for _, c := range []struct {
		name string
		g    volume.Grid
	}{
		{"straight", grid(x, y, even, 25, 0)},
		{"tilted by 17 degrees", grid(x, y, even, 25, 0.3)},
		{"uneven", grid(x, y, uneven, 30, 0)},
		{"uneven and tilted", grid(x, y, uneven, 30, -0.3)},
		{"columns to the right", grid(volume.Vec{-1, 0, 0}, y, even, 25, 0.2)},
		{"rows are columns", grid(y, x, even, 25, 0.2)},
	} {
		middle := c.g.Point(c.g.Slices()/2, 35, 32)
		v, want := ball(c.g, middle)
		for name, s := range map[string]*bundle.Network{
			"3d":         spec("3d_fullres", "LPS", []int64{16, 32, 32}, [3]float64{3, 2, 2}, 0, 1, 2),
			"3d, thick":  spec("3d_fullres", "RAS", []int64{8, 32, 32}, [3]float64{5, 1.5, 1.5}),
			"2d":         spec("2d", "LAS", []int64{48, 48}, [3]float64{0, 1.8, 1.8}, 1, 2),
			"3d, padded": spec("3d_fullres", "LPS", []int64{64, 96, 96}, [3]float64{3, 3, 3}),
		} {
			r := &Reader{Spec: s, Folds: []Net{bright{(50 - 30) / 20}}}
			ml, both := 0.0, 0.0
			err := r.Read(t.Context(), v, nil, func(k int, blood []float32, kind []uint8) {
				for i, p := range blood {
					if p >= 0.5 {
						ml += v.VoxelML(k)
						if v.Slice(k)[i] == 70 {
							both += v.VoxelML(k)
						}
						if kind[i] != uint8(finding.IVH) {
							t.Fatalf("%s, %s: kind %d", c.name, name, kind[i])
						}
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if dice := 2 * both / (ml + want); dice < 0.93 || math.Abs(ml/want-1) > 0.08 {
				t.Errorf("%s, %s: Dice %.3f, %.1f mL of %.1f", c.name, name, dice, ml, want)
			}
		}
	}
}

// TestNothing: a volume of 0 HU has nothing to read.
func TestNothing(t *testing.T) {
	t.Parallel()
	g := volume.Grid{Rows: 4, Columns: 4, AlongRow: volume.Vec{1, 0, 0}, AlongColumn: volume.Vec{0, 1, 0}, SpacingMM: [2]float64{1, 1}, Origins: []volume.Vec{{}, {0, 0, 5}}}
	v := &volume.Volume{Grid: g, HU: make([]int16, 32)}
	r := &Reader{Spec: spec("2d", "LPS", []int64{16, 16}, [3]float64{0, 1, 1}), Folds: []Net{bright{}}}
	if err := r.Read(t.Context(), v, nil, func(int, []float32, []uint8) { t.Error("a slice was visited") }); err != nil {
		t.Error(err)
	}
}

func TestUnevenAxisOfEvenSlices(t *testing.T) {
	t.Parallel()
	z := make([]float64, 30)
	for i := range z {
		z[i] = 3 * float64(i)
	}
	a, b := newUnevenAxis(z, 2), newAxis(30, samples(30*3, 2))
	if a.m != b.m {
		t.Fatalf("%d samples, %d", a.m, b.m)
	}
	for i := range a.in {
		if math.Abs(a.in[i]-b.in[i]) > 1e-9 {
			t.Errorf("in %d: %g, %g", i, a.in[i], b.in[i])
		}
	}
	for i := range a.out {
		if math.Abs(a.out[i]-b.out[i]) > 1e-9 {
			t.Errorf("out %d: %g, %g", i, a.out[i], b.out[i])
		}
	}
}

func TestSteps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n, patch int
		want     []int
	}{{110, 64, []int{0, 23, 46}}, {64, 64, []int{0}}, {65, 64, []int{0, 1}}, {3, 1, []int{0, 1, 2}}} { // the first is the example of nnU-Net
		got := steps(c.n, c.patch)
		if len(got) != len(c.want) {
			t.Fatalf("%d of %d: %v", c.n, c.patch, got)
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%d of %d: %v", c.n, c.patch, got)
			}
		}
	}
}

// together counts how many runs there are at a time.
type together struct {
	bright
	now, most *atomic.Int32
}

func (n together) Run(ctx context.Context, input []float32, batch int) ([]float32, error) {
	n.most.Store(max(n.most.Load(), n.now.Add(1)))
	defer n.now.Add(-1)
	time.Sleep(time.Millisecond) // of synctest
	return n.bright.Run(ctx, input, batch)
}

// TestOnePatchAtATime: patches that take much memory are not run side by side.
func TestOnePatchAtATime(t *testing.T) {
	t.Parallel()
	grid := volume.Grid{Rows: 70, Columns: 64, AlongRow: volume.Vec{1, 0, 0}, AlongColumn: volume.Vec{0, 1, 0}, SpacingMM: [2]float64{1.5, 1.5}}
	for k := range 12 {
		grid.Origins = append(grid.Origins, volume.Vec{0, 0, 4 * float64(k)})
	}
	v, _ := ball(grid, volume.Vec{48, 52, 24})
	for width, want := range map[int]int32{32: 4, 512: 1} {
		synctest.Test(t, func(t *testing.T) {
			s := spec("3d_fullres", "LPS", []int64{8, 32, 32}, [3]float64{4, 2, 2})
			s.BaseWidth = width
			net := together{bright{1}, new(atomic.Int32), new(atomic.Int32)}
			r := &Reader{Spec: s, Folds: []Net{net}, Runs: window.Runs{Lanes: 4}}
			if err := r.Read(t.Context(), v, nil, func(int, []float32, []uint8) {}); err != nil {
				t.Fatal(err)
			}
			if got := net.most.Load(); got != want {
				t.Errorf("%d features: %d patches at a time, not %d", width, got, want)
			}
		})
	}
}
