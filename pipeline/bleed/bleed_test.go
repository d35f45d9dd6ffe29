package bleed

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"ichor/models/bundle"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/pipeline/window"
)

const side = 32

// net answers the same picture of channel values for every slab; '.' is no bleed.
type net struct {
	p   []float32
	err error
}

func (n net) Run(_ context.Context, in []float32, batch int) ([]float32, error) {
	var out []float32
	for range batch {
		out = append(out, n.p...)
	}
	return out, n.err
}

// box sets "any" to 0.9 and the subtype to 0.8 in a box.
func (n net) box(s finding.Subtype, r0, r1, c0, c1 int) {
	for r := r0; r < r1; r++ {
		for c := c0; c < c1; c++ {
			n.p[r*side+c] = 0.9
			n.p[int(s)*side*side+r*side+c] = 0.8
		}
	}
}

// fade sets "any" to p in a box.
func (n net) fade(p float32, r0, r1, c0, c1 int) {
	for r := r0; r < r1; r++ {
		for c := c0; c < c1; c++ {
			n.p[r*side+c] = p
		}
	}
}

const outputs = 6

func spec(p bundle.Post) *bundle.Network {
	return &bundle.Network{Role: bundle.Bleed, Threshold: 0.5, Post: p,
		Output: bundle.Output{Channels: []string{"any", "IPH", "IVH", "SAH", "SDH", "EDH"}},
		Input:  bundle.Input{Shape: []int64{-1, 1, side, side}, WindowHU: [2]float64{-50, 150}}}
}

func head(slices int) (*volume.Volume, *volume.Mask) {
	v := &volume.Volume{Grid: volume.Grid{Rows: side, Columns: side, AlongRow: volume.Vec{1, 0, 0}, AlongColumn: volume.Vec{0, 1, 0}, SpacingMM: [2]float64{1, 1}}}
	for k := range slices {
		v.Origins, v.SupportMM = append(v.Origins, volume.Vec{0, 0, float64(5 * k)}), append(v.SupportMM, 5)
	}
	v.HU = make([]int16, side*side*slices)
	cavity := volume.NewMask(&v.Grid)
	for k := range slices {
		for r := 4; r < 28; r++ {
			for c := 4; c < 28; c++ {
				cavity.Slice(k)[r*side+c] = 1
			}
		}
	}
	return v, cavity
}

func count(m *volume.Mask) map[uint8]int {
	n := map[uint8]int{}
	for _, v := range m.Voxels {
		if v != 0 {
			n[v]++
		}
	}
	return n
}

func find(v *volume.Volume, cavity *volume.Mask, n net, spec *bundle.Network, level Level) (*volume.Mask, error) {
	m, err := Find(context.Background(), v, cavity, n, spec, window.Runs{Batch: 2, Lanes: 2})
	if err != nil {
		return nil, err
	}
	labels := func(level Level) (*volume.Mask, error) { return m.Labels(context.Background(), level) }
	if spec.Post.Edge > 0 {
		if labels, _, err = m.Edged(labels); err != nil {
			return nil, err
		}
	}
	return labels(level)
}

func TestLabels(t *testing.T) {
	v, cavity := head(3)
	for _, c := range []struct {
		name string
		post bundle.Post
		draw func(net)
		want map[finding.Subtype]int // voxels a slice
	}{
		{"nothing", bundle.Post{}, func(net) {}, nil},
		{"inside", bundle.Post{}, func(n net) { n.box(finding.SAH, 10, 12, 10, 15) }, map[finding.Subtype]int{finding.SAH: 10}},
		{"cut by the cavity", bundle.Post{}, func(n net) { n.box(finding.EDH, 0, 6, 10, 12) }, map[finding.Subtype]int{finding.EDH: 4}},
		{"outside the cavity", bundle.Post{}, func(n net) { n.box(finding.EDH, 0, 4, 0, 32) }, nil},
		{"subtype without any", bundle.Post{}, func(n net) {
			n.box(finding.IVH, 10, 12, 10, 12)
			clear(n.p[:side*side])
		}, nil},
		{"two subtypes", bundle.Post{}, func(n net) {
			n.box(finding.IPH, 10, 12, 10, 12)
			n.box(finding.SDH, 20, 22, 10, 13)
		}, map[finding.Subtype]int{finding.IPH: 4, finding.SDH: 6}},
		{"small component", bundle.Post{MinComponentML: 0.5}, func(n net) { // 0.015 mL a pixel over three slices
			n.box(finding.IPH, 10, 15, 10, 15)
			n.box(finding.SDH, 20, 25, 10, 19)
		}, map[finding.Subtype]int{finding.SDH: 45}},
		{"sure of too little", bundle.Post{MinComponentML: 0.5, SureThreshold: 0.8}, func(n net) {
			n.box(finding.IPH, 10, 15, 10, 19) // large enough, but sure of a part only
			n.fade(0.7, 10, 15, 13, 19)
			n.box(finding.SDH, 20, 25, 10, 21)
			n.fade(0.7, 20, 25, 19, 21) // what is doubtful beside it stays
		}, map[finding.Subtype]int{finding.SDH: 55}},
		{"sure of nothing, but large", bundle.Post{MinComponentML: 0.5, SureThreshold: 0.8}, func(n net) {
			n.box(finding.IPH, 8, 26, 8, 27) // 342 pixels: 5.13 mL
			n.fade(0.7, 8, 26, 8, 27)
		}, map[finding.Subtype]int{finding.IPH: 342}},
		{"sure of nothing, and below 5 mL", bundle.Post{MinComponentML: 0.5, SureThreshold: 0.8}, func(n net) {
			n.box(finding.IPH, 8, 26, 8, 26) // 324 pixels: 4.86 mL
			n.fade(0.7, 8, 26, 8, 26)
		}, nil},
		{"edge of a bright clot, of a faint one and of a layer", bundle.Post{Edge: 0.8}, func(n net) {
			n.box(finding.IPH, 10, 14, 10, 16)
			n.fade(0.7, 10, 14, 10, 11) // below 0.8 of 0.9
			n.box(finding.IVH, 20, 24, 10, 15)
			n.fade(0.6, 20, 24, 10, 15)
			n.fade(0.5, 20, 21, 10, 15) // above 0.8 of 0.6
			n.box(finding.SDH, 10, 14, 20, 24)
			n.fade(0.6, 10, 14, 20, 22)
		}, map[finding.Subtype]int{finding.IPH: 20, finding.IVH: 20, finding.SDH: 16}},
		{"thin seam at the rim", bundle.Post{OpeningMM: 2, RimMM: 5}, func(n net) {
			n.box(finding.SDH, 4, 6, 4, 28)    // two pixels wide: no disc of 2 mm fits
			n.box(finding.SAH, 15, 17, 12, 20) // as thin, but deep
		}, map[finding.Subtype]int{finding.SAH: 16}},
		{"opening everywhere", bundle.Post{OpeningMM: 2}, func(n net) { n.box(finding.SAH, 15, 17, 12, 20) }, nil},
		{"thick at the rim", bundle.Post{OpeningMM: 1, RimMM: 5}, func(n net) { n.box(finding.SDH, 4, 9, 10, 20) },
			map[finding.Subtype]int{finding.SDH: 46}}, // the four corners are rounded
	} {
		t.Run(c.name, func(t *testing.T) {
			n := net{p: make([]float32, outputs*side*side)}
			c.draw(n)
			m, err := find(v, cavity, n, spec(c.post), Chosen)
			if err != nil {
				t.Fatal(err)
			}
			got := count(m)
			for _, s := range finding.Subtypes {
				if got[uint8(s)] != 3*c.want[s] {
					t.Errorf("%s: %d voxels, want %d", s, got[uint8(s)], 3*c.want[s])
				}
			}
		})
	}
	t.Run("without subtypes", func(t *testing.T) {
		n := net{p: make([]float32, outputs*side*side)}
		n.box(finding.IPH, 10, 12, 10, 12)
		n.p = n.p[:side*side]
		one := spec(bundle.Post{})
		one.Output.Channels = one.Output.Channels[:1]
		m, err := find(v, cavity, n, one, Chosen)
		if err != nil {
			t.Fatal(err)
		}
		if got := count(m); len(got) != 1 || got[uint8(finding.ICH)] != 12 {
			t.Errorf("%v, want 12 voxels of unknown subtype", got)
		}
	})
	broken := errors.New("broken")
	if _, err := find(v, cavity, net{make([]float32, outputs*side*side), broken}, spec(bundle.Post{}), Chosen); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// A stricter level never has what a more lenient one has not, whatever the network says and the clean-up takes away.
func TestLevelsAreNested(t *testing.T) {
	v, cavity := head(2)
	rng := rand.New(rand.NewPCG(1, 9))
	for _, post := range []bundle.Post{{}, {MinComponentML: 0.1}, {OpeningMM: 1, RimMM: 5}, {OpeningMM: 1, MinComponentML: 0.2}, {MinComponentML: 0.1, SureThreshold: 0.8}, {MinComponentML: 0.1, Edge: 0.7}} {
		n := net{p: make([]float32, outputs*side*side)}
		for i := range n.p {
			n.p[i] = rng.Float32()
		}
		var of [Strict + 1]*volume.Mask
		for level := Lenient; level <= Strict; level++ {
			var err error
			if of[level], err = find(v, cavity, n, spec(post), level); err != nil {
				t.Fatal(err)
			}
		}
		for i, l := range of[Lenient].Voxels {
			if s := of[Strict].Voxels[i]; s != 0 && s != of[Chosen].Voxels[i] || of[Chosen].Voxels[i] != 0 && of[Chosen].Voxels[i] != l {
				t.Fatalf("%+v: voxel %d is %d, %d, %d from lenient to strict", post, i, l, of[Chosen].Voxels[i], s)
			}
		}
	}
}

func TestThresholds(t *testing.T) {
	for _, c := range []struct{ chosen, lenient, strict float64 }{{0.5, 0.35, 0.65}, {0.1, 0.0564, 0.1712}, {0.98, 0.9634, 0.9891}} {
		lenient, strict := Lenient.threshold(c.chosen), Strict.threshold(c.chosen)
		if math.Abs(float64(lenient)-c.lenient) > 5e-4 || math.Abs(float64(strict)-c.strict) > 5e-4 || Chosen.threshold(c.chosen) != float32(c.chosen) {
			t.Errorf("threshold %v from %v to %v, want %v to %v", c.chosen, lenient, strict, c.lenient, c.strict)
		}
	}
}

// counted counts the slabs that a network sees.
type counted struct {
	net
	slabs *atomic.Int64
}

func (c counted) Run(ctx context.Context, in []float32, batch int) ([]float32, error) {
	c.slabs.Add(int64(batch))
	return c.net.Run(ctx, in, batch)
}

// TestFindSkips: the network does not run on slabs without cavity.
func TestFindSkips(t *testing.T) {
	v, cavity := head(5)
	for i := range v.HU {
		v.HU[i] = int16(i % 90) // slabs of one value would be computed once
	}
	clear(cavity.Slice(0))
	clear(cavity.Slice(4))
	n := counted{net{p: make([]float32, outputs*side*side)}, new(atomic.Int64)}
	if _, err := Find(t.Context(), v, cavity, n, spec(bundle.Post{}), window.Runs{}); err != nil || n.slabs.Load() != 3 {
		t.Errorf("%d slabs, error %v; want 3", n.slabs.Load(), err)
	}
}
