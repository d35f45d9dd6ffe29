package window

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"ichor/models/bundle"
	"ichor/pipeline/volume"
)

func input(size, neighbours int, pixelMM, slabMM float64, window [2]float64) bundle.Input {
	return bundle.Input{Shape: []int64{-1, int64(1 + 2*neighbours), int64(size), int64(size)}, WindowHU: window,
		PixelMM: pixelMM, SlabMM: slabMM, Neighbours: neighbours}
}

// The weights are those of the definition: triangles over all integers, outside the image nothing.
func TestAxisIsTheDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		n, size := 1+rng.IntN(40), 16*(1+rng.IntN(3))
		spacing, pixel, centre := 0.2+rng.Float64()*2, 0.2+rng.Float64()*3, float64(n)*rng.Float64()
		step := pixel / spacing
		if rng.IntN(3) == 0 {
			pixel = 0
			step, centre = float64(n)/float64(size), float64(n-1)/2
		}
		a := newAxis(n, size, spacing, pixel, centre)
		s := math.Max(1, step)
		for u := range size {
			c := centre + (float64(u)-float64(size-1)/2)*step
			sum := 0.0
			for i := -2000; i < 2000; i++ {
				sum += math.Max(0, 1-math.Abs(float64(i)-c)/s)
			}
			for i := range n {
				want := math.Max(0, 1-math.Abs(float64(i)-c)/s) / sum
				got := 0.0
				if k := i - a.first[u]; k >= 0 && k < a.taps {
					got = float64(a.weights[u*a.taps+k])
				}
				if math.Abs(got-want) > 1e-6 {
					t.Fatalf("n %d size %d step %g target %d source %d: weight %g, want %g", n, size, step, u, i, got, want)
				}
			}
		}
		for i := range n {
			at := (float64(i)-centre)/step + float64(size-1)/2
			for u := range size {
				want := math.Max(0, 1-math.Abs(float64(u)-at))
				got := 0.0
				if u == a.below[i] {
					got = float64(a.share[i][0])
				} else if u == a.below[i]+1 {
					got = float64(a.share[i][1])
				}
				if math.Abs(got-want) > 1e-6 {
					t.Fatalf("n %d size %d step %g source %d target %d: weight %g, want %g", n, size, step, i, u, got, want)
				}
			}
		}
	}
}

// testdata/golden.json was written by the training code (testdata/golden.py).
func TestSameAsTraining(t *testing.T) {
	raw, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Slices, Rows, Columns int
		PositionsMM           []float64 `json:"positions_mm"`
		HU                    []int16
		Centre                [2]float64
		Cases                 []struct {
			Size       int
			PixelMM    float64 `json:"pixel_mm"`
			SlabMM     float64 `json:"slab_mm"`
			Neighbours int
			WindowHU   [2]float64 `json:"window_hu"`
			SpacingMM  [2]float64 `json:"spacing_mm"`
			SlabOf     []int      `json:"slab_of"`
			Input      []float32
			Back       []float32
		}
		Stacks []struct {
			PositionsMM []float64 `json:"positions_mm"`
			SlabMM      float64   `json:"slab_mm"`
			SlabOf      []int     `json:"slab_of"`
		}
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	for _, c := range g.Stacks {
		grid := volume.Grid{AlongRow: volume.Vec{1, 0, 0}, AlongColumn: volume.Vec{0, 1, 0}}
		for _, z := range c.PositionsMM {
			grid.Origins = append(grid.Origins, volume.Vec{0, 0, z})
		}
		var got []int
		starts := slabs(volume.Support(grid.Gaps(), 0), c.SlabMM)
		for z := range starts[:len(starts)-1] {
			got = append(got, slices.Repeat([]int{z}, starts[z+1]-starts[z])...)
		}
		if !slices.Equal(got, c.SlabOf) {
			t.Errorf("slices at %v are of slabs %v, want %v", c.PositionsMM, got, c.SlabOf)
		}
	}
	for _, turn := range [][6]float64{{1, 0, 0, 0, 1, 0}, {-1, 0, 0, 0, 1, 0}, {0, -1, 0, 1, 0, 0}, {0, 1, 0, -1, 0, 0}} {
		for n, c := range g.Cases {
			canonical := volume.Grid{Rows: g.Rows, Columns: g.Columns, SpacingMM: c.SpacingMM}
			grid := canonical
			grid.AlongRow, grid.AlongColumn = volume.Vec{turn[0], turn[1], turn[2]}, volume.Vec{turn[3], turn[4], turn[5]}
			if turn[0] == 0 {
				grid.Rows, grid.Columns = g.Columns, g.Rows
				grid.SpacingMM = [2]float64{c.SpacingMM[1], c.SpacingMM[0]}
			}
			for _, z := range g.PositionsMM {
				grid.Origins = append(grid.Origins, volume.Vec{0, 0, z})
			}
			v := &volume.Volume{Grid: grid, HU: make([]int16, len(g.HU))}
			view := grid.Canonical()
			for k := range g.Slices {
				for i := range g.Rows {
					for j := range g.Columns {
						v.Slice(k)[view.Index(i, j)] = g.HU[(k*g.Rows+i)*g.Columns+j]
					}
				}
			}
			row, column := Centre(v)
			if math.Abs(row-g.Centre[0]) > 1e-9 || math.Abs(column-g.Centre[1]) > 1e-9 {
				t.Fatalf("centre %v %v, want %v", row, column, g.Centre)
			}
			s := NewStack(v, input(c.Size, c.Neighbours, c.PixelMM, c.SlabMM, c.WindowHU), row, column)
			element := len(c.Input) / s.Slabs()
			got := make([]float32, element)
			for z := range s.Slabs() {
				s.Fill(got, z)
				for i, x := range got {
					if math.Abs(float64(x-c.Input[z*element+i])) > 1e-4 {
						t.Fatalf("turn %v case %d slab %d value %d: %v, want %v", turn, n, z, i, x, c.Input[z*element+i])
					}
				}
				first, end := s.Source(z)
				for k := first; k < end; k++ {
					if c.SlabOf[k] != z {
						t.Fatalf("case %d: slice %d in slab %d, want %d", n, k, z, c.SlabOf[k])
					}
				}
			}
			p := make([]float32, c.Size*c.Size)
			for i := range p {
				p[i] = float32(i*7919%101) / 100
			}
			values := make([]float32, g.Columns)
			for i := range g.Rows {
				if !s.Image(p).Row(values, i) {
					clear(values)
				}
				for j := range values {
					want := c.Back[i*g.Columns+j]
					if math.Abs(float64(values[j]-want)) > 1e-4 || s.Image(p).At(i, j) != values[j] {
						t.Fatalf("turn %v case %d back (%d, %d): %v and %v, want %v", turn, n, i, j, values[j], s.Image(p).At(i, j), want)
					}
				}
			}
		}
	}
}

// Slices of a dense part make slabs as thick as the others; the training code counts the same, see golden.json.
func TestSlabs(t *testing.T) {
	for _, c := range []struct {
		gap, slab float64
		want      int
	}{{0.625, 5, 8}, {1, 5, 5}, {1.25, 5, 4}, {1.9999, 5, 3}, {2.0001, 5, 3}, {2.9, 5, 2}, {2.9999, 5, 1}, {3, 5, 1}, {5, 5, 1}, {1, 0, 1}, {0, 5, 20}} {
		var g volume.Grid
		for k := range 20 {
			g.Origins = append(g.Origins, volume.Vec{0, 0, c.gap * float64(k)})
		}
		g.AlongRow, g.AlongColumn = volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0}
		starts := slabs(volume.Support(g.Gaps(), 0), c.slab)
		for z := range starts[:len(starts)-1] {
			if n := starts[z+1] - starts[z]; n != c.want && starts[z+1] != 20 {
				t.Errorf("gap %g, slabs of %g mm: %v, want %d each", c.gap, c.slab, starts, c.want)
				break
			}
		}
	}
	if got := slabs([]float64{5}, 5); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("a single slice: %v", got)
	}
}

type net func(ctx context.Context, in []float32, batch int) ([]float32, error)

func (n net) Run(ctx context.Context, in []float32, batch int) ([]float32, error) {
	return n(ctx, in, batch)
}
