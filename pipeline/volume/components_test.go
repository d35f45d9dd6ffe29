package volume

import (
	"math"
	"math/rand/v2"
	"testing"
)

func random(rng *rand.Rand, slices, rows, columns int, share float64) *Mask {
	m := &Mask{Rows: rows, Columns: columns, Voxels: make([]uint8, slices*rows*columns)}
	for i := range m.Voxels {
		if rng.Float64() < share {
			m.Voxels[i] = uint8(1 + rng.IntN(3))
		}
	}
	return m
}

// naive labels by flood fill.
func naive(m *Mask, c Connectivity, value uint8) (label []int, count int) {
	label = make([]int, len(m.Voxels))
	for start := range m.Voxels {
		if label[start] != 0 || !is(m.Voxels[start], value) {
			continue
		}
		count++
		label[start] = count
		stack := []int{start}
		for len(stack) > 0 {
			p := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			k, r, x := p/(m.Rows*m.Columns), p/m.Columns%m.Rows, p%m.Columns
			for dk := -1; dk <= 1; dk++ {
				for dr := -1; dr <= 1; dr++ {
					for dx := -1; dx <= 1; dx++ {
						if c == Faces && dk*dk+dr*dr+dx*dx != 1 {
							continue
						}
						k, r, x := k+dk, r+dr, x+dx
						if k < 0 || r < 0 || x < 0 || k >= m.Slices() || r >= m.Rows || x >= m.Columns {
							continue
						}
						if q := (k*m.Rows+r)*m.Columns + x; label[q] == 0 && is(m.Voxels[q], value) {
							label[q] = count
							stack = append(stack, q)
						}
					}
				}
			}
		}
	}
	return label, count
}

func TestComponentsAreThoseOfFloodFill(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		m := random(rng, 1+rng.IntN(5), 1+rng.IntN(8), 1+rng.IntN(9), rng.Float64())
		for _, c := range []Connectivity{Faces, Corners} {
			for _, value := range []uint8{0, 2} {
				want, count := naive(m, c, value)
				got := ComponentsOf(m, c, value)
				if got.Count != count {
					t.Fatalf("%d components, want %d", got.Count, count)
				}
				voxels := 0
				for _, r := range got.Runs {
					for x := r.Begin; x < r.End; x++ {
						voxels++
						// Both number by the first voxel.
						if w := want[(int(r.Slice)*m.Rows+int(r.Row))*m.Columns+int(x)]; w != int(r.Component)+1 {
							t.Fatalf("voxel in component %d, want %d", r.Component, w-1)
						}
						if at := got.At(Run{Slice: r.Slice, Row: r.Row, Begin: x, End: r.End}); at != r.Component {
							t.Fatalf("a run in component %d is said to be in %d", r.Component, at)
						}
					}
				}
				for _, w := range want {
					if w != 0 {
						voxels--
					}
				}
				if voxels != 0 {
					t.Fatalf("%d voxels too many", voxels)
				}
			}
		}
	}
}

func TestKeepLargest(t *testing.T) {
	g := &Grid{Rows: 1, Columns: 7, SpacingMM: [2]float64{1, 1}, Origins: make([]Vec, 2), SupportMM: []float64{1, 10}}
	m := &Mask{Rows: 1, Columns: 7, Voxels: []uint8{1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0}}
	KeepLargest(m, g) // two voxels of 10 mm are more than three of 1 mm
	if want := []uint8{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0}; string(m.Voxels) != string(want) {
		t.Errorf("%v", m.Voxels)
	}
	empty := NewMask(g)
	KeepLargest(empty, g)
	FillHoles(empty)
}

func TestFillHoles(t *testing.T) {
	picture := func(s ...string) *Mask {
		m := &Mask{Rows: len(s), Columns: len(s[0])}
		for _, row := range s {
			for _, c := range row {
				m.Voxels = append(m.Voxels, map[rune]uint8{'.': 0, '#': 1}[c])
			}
		}
		return m
	}
	for _, c := range []struct {
		name     string
		in, want *Mask
	}{
		{"ring", picture("#####", "#...#", "#.#.#", "#.###"), picture("#####", "#...#", "#.#.#", "#.###")},
		{"open", picture("#####", "#...#", "#.#.#", "#.###"), picture("#####", "#...#", "#.#.#", "#.###")},
		{"diagonal walls hold", picture(".#.", "#.#", ".#."), picture(".#.", "###", ".#.")},
		{"at the border", picture("#.#", "###"), picture("#.#", "###")},
	} {
		if FillHoles(c.in); string(c.in.Voxels) != string(c.want.Voxels) {
			t.Errorf("%s: %v, want %v", c.name, c.in.Voxels, c.want.Voxels)
		}
	}
}

func TestDistancesAndOpening(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 60 {
		rows, columns := 1+rng.IntN(14), 1+rng.IntN(14)
		spacing := [2]float64{0.3 + rng.Float64(), 0.3 + rng.Float64()}
		share := rng.Float64()
		s := make([]uint8, rows*columns)
		for i := range s {
			if rng.Float64() < share {
				s[i] = 1
			}
		}
		distance := func(p, q int) float64 {
			return math.Hypot(float64(p/columns-q/columns)*spacing[0], float64(p%columns-q%columns)*spacing[1])
		}
		nearest := func(p int, target func(int) bool) float64 {
			d := math.Inf(1)
			for q := range s {
				if target(q) {
					d = math.Min(d, distance(p, q))
				}
			}
			return d
		}
		outside := func(i int) bool { return s[i] == 0 }
		got := Distances(rows, columns, spacing, outside)
		radius := rng.Float64() * 2
		eroded := make([]bool, len(s))
		for p := range s {
			want := nearest(p, outside)
			if math.Abs(got[p]-want) > 1e-9 && got[p] != want {
				t.Fatalf("distance %v, want %v", got[p], want)
			}
			eroded[p] = want > radius
		}
		opened := append([]uint8(nil), s...)
		Open(opened, rows, columns, spacing, radius)
		for p := range s {
			want := nearest(p, func(q int) bool { return eroded[q] }) <= radius
			if (opened[p] != 0) != want {
				t.Fatalf("opening keeps %v, want %v", opened[p], want)
			}
		}
	}
}

func BenchmarkComponents(b *testing.B) {
	m := &Mask{Rows: 512, Columns: 512, Voxels: make([]uint8, 256*512*512)}
	rng := rand.New(rand.NewPCG(7, 8))
	for i := range m.Voxels {
		z, y, x := i/(512*512)-128, i/512%512-256, i%512-256
		if d := z*z*4 + y*y + x*x; d < 200*200 && d > 100*100 || rng.IntN(500) == 0 {
			m.Voxels[i] = 1
		}
	}
	for b.Loop() {
		ComponentsOf(m, Corners, 0)
	}
}
