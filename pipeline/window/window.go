// Package window converts Hounsfield units to the input channels of a network, and resamples its output to the source grid. The
// order is fixed and the same as in the training code (models/training/ich/product/window.py):
//
//	slab      thin slices are averaged to about the thickness that the network was trained on
//	window    v = clip((HU - low) / (high - low), 0, 1) on the source pixels
//	resample  to N x N pixels of a fixed size in mm, around the centre of the bone; antialiased
//	channels  the neighbouring slabs on either side
//
// The input of networks is in canonical orientation (volume.View); the volume itself is never rotated.
package window

import (
	"context"

	"ichor/models/bundle"
	"ichor/pipeline/volume"
)

// boneHU: voxels above this are bone; their mean row and column is the centre of the head.
const boneHU = 150

// Net computes probabilities: input is batch x channels x N x N, the result batch x outputs x N x N. It must be safe for
// concurrent use.
type Net interface {
	Run(ctx context.Context, input []float32, batch int) ([]float32, error)
}

// Centre returns the mean row and column, in canonical coordinates, of the bone in the whole stack; the middle of the image if
// there is no bone.
func Centre(v *volume.Volume) (row, column float64) {
	view := v.Canonical()
	counts := make([]int64, v.Rows) // bone voxels of each row of the source
	columns := make([]int64, v.Columns)
	for k := range v.Slices() {
		s := v.Slice(k)
		for r := range v.Rows {
			for c, hu := range s[r*v.Columns : (r+1)*v.Columns] {
				if hu > boneHU {
					counts[r]++
					columns[c]++
				}
			}
		}
	}
	mean := func(n []int64) float64 {
		sum, total := 0.0, int64(0)
		for i, c := range n {
			sum += float64(i) * float64(c)
			total += c
		}
		if total == 0 {
			return float64(len(n)-1) / 2
		}
		return sum / float64(total)
	}
	row, column = mean(counts), mean(columns)
	if view.Swapped {
		row, column = column, row
	}
	if view.Row < 0 {
		row = float64(view.Rows-1) - row
	}
	if view.Column < 0 {
		column = float64(view.Columns-1) - column
	}
	return row, column
}

// Stack is one volume prepared for one network: slabs, each a plane of N x N values.
type Stack struct {
	v      *volume.Volume
	in     bundle.Input
	view   volume.View
	starts []int // first source slice of each slab, and the number of slices
	rows   axis
	cols   axis
	planes map[int][]float32 // of the slabs around the current one
	canon  []float32         // scratch: windowed slab in canonical orientation
	half   []float32         // scratch: its rows resampled
	sums   []int32           // scratch: sum of the slices of a slab
}

// NewStack prepares v for a network with input in; row and column are from Centre.
func NewStack(v *volume.Volume, in bundle.Input, row, column float64) *Stack {
	view := v.Canonical()
	return &Stack{v: v, in: in, view: view, starts: slabs(volume.Support(v.Gaps(), 0), in.SlabMM),
		rows:   newAxis(view.Rows, in.Size(), view.SpacingMM[0], in.PixelMM, row),
		cols:   newAxis(view.Columns, in.Size(), view.SpacingMM[1], in.PixelMM, column),
		planes: map[int][]float32{},
		canon:  make([]float32, view.Rows*view.Columns),
		half:   make([]float32, in.Size()*view.Columns),
	}
}

// slabs groups slices, with extents supportMM, into slabs of about slabMM, starting with the first: a slab takes another slice if
// that brings it closer to slabMM. A slice of about that thickness or more is its own slab, as is every slice if slabMM is 0. A
// stack with thin slices below and thick ones above thus gets slabs of equal thickness. The result is the first slice of each
// slab, and the number of slices.
func slabs(supportMM []float64, slabMM float64) []int {
	const thick, near = 0.594, 1.01 // of slabMM; 3 mm of 5 mm is thick, however positions are rounded
	starts, held, alone := []int{0}, 0.0, true
	for k, mm := range supportMM {
		own := mm >= thick*slabMM
		if k > 0 && (alone || own || held+mm/2 > near*slabMM) {
			starts, held = append(starts, k), 0
		}
		held, alone = held+mm, own
	}
	return append(starts, len(supportMM))
}

// Slabs returns the number of slabs.
func (s *Stack) Slabs() int { return len(s.starts) - 1 }

// Source returns the first slice of slab z and the one after its last.
func (s *Stack) Source(z int) (first, end int) { return s.starts[z], s.starts[z+1] }

// Fill writes the channels of slab z to dst: channels x N x N.
func (s *Stack) Fill(dst []float32, z int) {
	n := s.in.Size() * s.in.Size()
	last := s.Slabs() - 1
	for c := range 1 + 2*s.in.Neighbours {
		copy(dst[c*n:(c+1)*n], s.plane(min(max(z+c-s.in.Neighbours, 0), last)))
	}
	for k := range s.planes { // slabs are requested in order
		if k < z-s.in.Neighbours {
			delete(s.planes, k)
		}
	}
}

func (s *Stack) plane(z int) []float32 {
	p, ok := s.planes[z]
	if !ok {
		s.window(z)
		p = s.down()
		s.planes[z] = p
	}
	return p
}

// window writes the windowed mean of slab z to s.canon.
func (s *Stack) window(z int) {
	lo, width := float32(s.in.WindowHU[0]), float32(s.in.WindowHU[1]-s.in.WindowHU[0])
	first, end := s.Source(z)
	at := s.v.Slice(first)
	if end-first == 1 {
		for i := range s.view.Rows {
			out := s.canon[i*s.view.Columns : (i+1)*s.view.Columns]
			p := s.view.Index(i, 0)
			for j := range out {
				out[j] = min(max((float32(at[p])-lo)/width, 0), 1)
				p += s.view.Column
			}
		}
		return
	}
	if s.sums == nil {
		s.sums = make([]int32, len(at))
	}
	clear(s.sums)
	for k := first; k < end; k++ {
		for i, hu := range s.v.Slice(k) {
			s.sums[i] += int32(hu)
		}
	}
	count := float32(end - first)
	for i := range s.view.Rows {
		out := s.canon[i*s.view.Columns : (i+1)*s.view.Columns]
		p := s.view.Index(i, 0)
		for j := range out {
			out[j] = min(max((float32(s.sums[p])/count-lo)/width, 0), 1)
			p += s.view.Column
		}
	}
}

// down resamples s.canon to N x N: rows first, then columns.
func (s *Stack) down() []float32 {
	n, width := s.in.Size(), s.view.Columns
	clear(s.half)
	for t := range n {
		out := s.half[t*width : (t+1)*width]
		for k, w := range s.rows.weights[t*s.rows.taps : (t+1)*s.rows.taps] {
			if w == 0 {
				continue
			}
			for j, x := range s.canon[(s.rows.first[t]+k)*width:][:width] {
				out[j] += w * x
			}
		}
	}
	p := make([]float32, n*n)
	for t := range n {
		in := s.half[t*width : (t+1)*width]
		for u := range n {
			sum := float32(0)
			for k, w := range s.cols.weights[u*s.cols.taps : (u+1)*s.cols.taps] {
				sum += w * in[s.cols.first[u]+k]
			}
			p[t*n+u] = sum
		}
	}
	return p
}

// Image is one output channel of the network, N x N, that can be read on the source grid.
type Image struct {
	s *Stack
	p []float32
}

// Image returns an Image of N x N probabilities.
func (s *Stack) Image(p []float32) Image { return Image{s, p} }

// Row writes the value at each source pixel of row i of the canonical view to dst, which has view.Columns elements, and
// returns false, without changing dst, if the whole row is outside the network grid.
func (m Image) Row(dst []float32, i int) bool {
	a, b := m.s.rows.share[i][0], m.s.rows.share[i][1]
	if a == 0 && b == 0 {
		return false
	}
	for j := range dst {
		dst[j] = m.at(i, j, a, b)
	}
	return true
}

// At returns the value at canonical source pixel (i, j).
func (m Image) At(i, j int) float32 {
	return m.at(i, j, m.s.rows.share[i][0], m.s.rows.share[i][1])
}

func (m Image) at(i, j int, a, b float32) float32 {
	n := m.s.in.Size()
	c, d := m.s.cols.share[j][0], m.s.cols.share[j][1]
	t, u := m.s.rows.below[i], m.s.cols.below[j]
	sum := float32(0)
	if a != 0 {
		if c != 0 {
			sum += a * c * m.p[t*n+u]
		}
		if d != 0 {
			sum += a * d * m.p[t*n+u+1]
		}
	}
	if b != 0 {
		if c != 0 {
			sum += b * c * m.p[(t+1)*n+u]
		}
		if d != 0 {
			sum += b * d * m.p[(t+1)*n+u+1]
		}
	}
	return sum
}

// View returns the canonical view whose indices At and Row use.
func (s *Stack) View() volume.View { return s.view }
