package nnunet

import (
	"context"
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"

	"ichor/models/bundle"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// grid is the stack at the spacing of the network: axes of slices, rows, columns.
type grid struct {
	s    *stack
	axes [3]axis
}

// anisotropic: where one spacing is more than this times another, the slices are resampled one by one, as nnU-Net does.
const anisotropic = 3

func newGrid(s *stack, spec *bundle.Network) (*grid, error) {
	g := &grid{s: s}
	from := [3]float64{s.gapMM, s.view.SpacingMM[0], s.view.SpacingMM[1]}
	to := spec.NNUNet.SpacingMM
	if to[0] == 0 {
		to[0] = from[0]
	}
	voxels := 1
	for i := range g.axes {
		n := s.crop[i].n()
		if i == 0 && !s.even && n > 1 {
			g.axes[i] = newUnevenAxis(s.z[s.crop[0].first:s.crop[0].end], to[0])
		} else {
			g.axes[i] = newAxis(n, samples(from[i]/to[i]*float64(n), 1))
		}
		voxels *= g.axes[i].m
		if voxels > maxVoxels {
			return nil, finding.Refuse(finding.TooLarge, "At the spacing of the network (%g x %g x %g mm) the series has more than %d million voxels, which ichor "+
				"does not hold in memory.\nSend the head alone, or set analysis.bundle to another bundle.", to[0], to[1], to[2], maxVoxels>>20)
		}
	}
	g.axes[0].nearest = separate(from) || !separateAny(from) && separate(to)
	return g, nil
}

// separate: the slices, and they alone, are more than anisotropic times as far apart as the pixels are.
func separate(mm [3]float64) bool {
	return separateAny(mm) && mm[0] > mm[1] && mm[0] > mm[2]
}

func separateAny(mm [3]float64) bool {
	return max(mm[0], mm[1], mm[2]) > anisotropic*min(mm[0], mm[1], mm[2])
}

// planes returns the planes that the network sees, rows x columns each. Planes that are equal share memory.
func (g *grid) planes(ctx context.Context) ([][]float32, error) {
	along := &g.axes[0]
	direct := along.nearest || along.same()
	flat := make([][]float32, along.n)
	work, inner := errgroup.WithContext(ctx)
	work.SetLimit(runtime.GOMAXPROCS(0))
	needed := make([]bool, along.n)
	for t := range along.m {
		needed[along.near(t)] = true
	}
	for k := range flat {
		if direct && !needed[k] {
			continue
		}
		work.Go(func() error {
			if err := inner.Err(); err != nil {
				return err
			}
			flat[k] = g.plane(k, along.nearest)
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	out := make([][]float32, along.m)
	if direct {
		for t := range out {
			out[t] = flat[along.near(t)]
		}
		if !along.nearest {
			g.clip(out)
		}
		return out, nil
	}
	if err := g.through(ctx, out, flat); err != nil {
		return nil, err
	}
	g.clip(out)
	return out, nil
}

// plane resamples slice k within its plane. alone: the values stay within those of the slice.
func (g *grid) plane(k int, alone bool) []float32 {
	rows, columns := &g.axes[1], &g.axes[2]
	p := make([]float32, rows.n*columns.n)
	g.s.fill(p, k)
	if rows.n == rows.m && columns.n == columns.m {
		return p
	}
	low, high := p[0], p[0]
	for _, x := range p {
		low, high = min(low, x), max(high, x)
	}
	turned := make([]float32, len(p))
	transpose(turned, p, rows.n, columns.n)
	half := make([]float32, columns.m*rows.n)
	scratch := columns.cubic(half, turned, rows.n, nil)
	p = make([]float32, len(half))
	transpose(p, half, columns.m, rows.n)
	out := make([]float32, rows.m*columns.m)
	rows.cubic(out, p, columns.m, scratch)
	if alone {
		limit(out, low, high)
	}
	return out
}

// through resamples across the planes, in blocks of pixels that fit into a cache.
func (g *grid) through(ctx context.Context, out, flat [][]float32) error {
	const block = 2048
	along := &g.axes[0]
	size := len(flat[0])
	for t := range out {
		out[t] = make([]float32, size)
	}
	work, inner := errgroup.WithContext(ctx)
	work.SetLimit(runtime.GOMAXPROCS(0))
	for first := 0; first < size; first += block {
		work.Go(func() error {
			if err := inner.Err(); err != nil {
				return err
			}
			width := min(block, size-first)
			src, dst := make([]float32, along.n*width), make([]float32, along.m*width)
			for k, p := range flat {
				copy(src[k*width:], p[first:first+width])
			}
			along.cubic(dst, src, width, nil)
			for t, p := range out {
				copy(p[first:first+width], dst[t*width:(t+1)*width])
			}
			return nil
		})
	}
	return work.Wait()
}

// clip keeps the values within those of the head, as skimage does.
func (g *grid) clip(planes [][]float32) {
	for _, p := range planes {
		limit(p, g.s.extreme[0], g.s.extreme[1])
	}
}

func limit(p []float32, low, high float32) {
	for i, x := range p {
		p[i] = min(max(x, low), high)
	}
}

func transpose(dst, src []float32, rows, columns int) {
	const block = 32
	for r0 := 0; r0 < rows; r0 += block {
		for c0 := 0; c0 < columns; c0 += block {
			for r := r0; r < min(r0+block, rows); r++ {
				for c := c0; c < min(c0+block, columns); c++ {
					dst[c*rows+r] = src[r*columns+c]
				}
			}
		}
	}
}

// boxes returns, for each plane of the network, the rows and columns that pixels of within are read from; nil within: all.
func (g *grid) boxes(within *volume.Mask) [][2]span {
	out := make([][2]span, g.axes[0].m)
	rows, columns := &g.axes[1], &g.axes[2]
	if within == nil {
		for t := range out {
			out[t] = [2]span{{0, rows.m}, {0, columns.m}}
		}
		return out
	}
	for k := range g.axes[0].n {
		box := g.s.around(within, k)
		if box[0].n() <= 0 {
			continue
		}
		first, _, _ := rows.between(box[0].first)
		_, last, _ := rows.between(box[0].end - 1)
		left, _, _ := columns.between(box[1].first)
		_, right, _ := columns.between(box[1].end - 1)
		from, to, _ := g.axes[0].between(k)
		for t := from; t <= to; t++ {
			b := &out[t]
			if b[0].n() <= 0 {
				*b = [2]span{{math.MaxInt, 0}, {math.MaxInt, 0}}
			}
			*b = [2]span{{min(b[0].first, first), max(b[0].end, last+1)}, {min(b[1].first, left), max(b[1].end, right+1)}}
		}
	}
	return out
}

// around is the box of mask on slice k of the crop, in rows and columns of the crop; empty if there is none.
func (s *stack) around(mask *volume.Mask, k int) [2]span {
	k += s.crop[0].first
	m := mask.Slice(k)
	box := [2]span{{math.MaxInt, 0}, {math.MaxInt, 0}}
	for i := range s.view.Rows {
		for j := range s.view.Columns {
			if m[s.view.Index(i, j)] != 0 {
				r, c := i+s.shift[k][0]-s.crop[1].first, j+s.shift[k][1]-s.crop[2].first
				box = [2]span{{min(box[0].first, r), max(box[0].end, r+1)}, {min(box[1].first, c), max(box[1].end, c+1)}}
			}
		}
	}
	if box[0].end == 0 {
		return [2]span{}
	}
	for i, n := range []int{s.crop[1].n(), s.crop[2].n()} { // pixels of 0 HU around the head are outside the crop
		box[i] = span{min(max(box[i].first, 0), n), min(max(box[i].end, 0), n)}
	}
	return box
}
