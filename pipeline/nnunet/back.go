package nnunet

import (
	"math"

	"ichor/models/bundle"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// back brings logits to the source slices. It holds two planes of the network at a time.
type back struct {
	g       *grid
	within  *volume.Mask
	visit   func(slice int, blood []float32, kind []uint8)
	kinds   []uint8 // finding.Subtype of each class; finding.None: not blood
	before  []float32
	next    int // slice of the crop
	rows    []tap
	columns []tap
	blood   []float32
	kind    []uint8
}

// tap is where a source sample is read: two network samples, and the weight of the second.
type tap struct {
	first, second int
	weight        float32
}

func newBack(g *grid, spec *bundle.Network, within *volume.Mask, visit func(int, []float32, []uint8)) *back {
	size := g.s.v.Rows * g.s.v.Columns
	b := &back{g: g, within: within, visit: visit, rows: taps(&g.axes[1]), columns: taps(&g.axes[2]), blood: make([]float32, size), kind: make([]uint8, size)}
	for _, c := range spec.Output.Channels {
		b.kinds = append(b.kinds, uint8(kindOf(c)))
	}
	return b
}

func kindOf(class string) finding.Subtype {
	if class == "any" {
		return finding.ICH
	}
	for _, s := range finding.Subtypes {
		if s.String() == class {
			return s
		}
	}
	return finding.None
}

func taps(a *axis) []tap {
	out := make([]tap, a.n)
	for i := range out {
		out[i].first, out[i].second, out[i].weight = a.between(i)
	}
	return out
}

// plane takes plane t of the network and visits the slices that end with it.
func (b *back) plane(t int, logits []float32) {
	for ; b.next < b.g.axes[0].n; b.next++ {
		first, second, weight := b.g.axes[0].between(b.next)
		if second > t {
			break
		}
		lower := logits
		if first < t {
			lower = b.before
		}
		b.slice(b.next, lower, logits, weight)
	}
	if b.g.axes[0].nearest {
		return
	}
	b.before = append(b.before[:0], logits...)
}

func (b *back) slice(k int, lower, upper []float32, weight float32) {
	s := b.g.s
	source := k + s.crop[0].first
	clear(b.blood)
	clear(b.kind)
	var inside []uint8
	if b.within != nil {
		inside = b.within.Slice(source)
	}
	width, size := b.g.axes[2].m, b.g.axes[1].m*b.g.axes[2].m
	for i := range s.view.Rows {
		r := i + s.shift[source][0] - s.crop[1].first
		if r < 0 || r >= len(b.rows) {
			continue
		}
		row := b.rows[r]
		for j := range s.view.Columns {
			c := j + s.shift[source][1] - s.crop[2].first
			at := s.view.Index(i, j)
			if c < 0 || c >= len(b.columns) || inside != nil && inside[at] == 0 {
				continue
			}
			column := b.columns[c]
			none, most, kind, bleeds := float32(math.Inf(-1)), float32(math.Inf(-1)), uint8(0), false
			for class, named := range b.kinds {
				x := read(lower[class*size:], width, row, column)
				if weight != 0 {
					x += weight * (read(upper[class*size:], width, row, column) - x)
				}
				x = toHalf(x).float()
				blood := named != uint8(finding.None)
				if x > max(none, most) {
					bleeds = blood
				}
				if !blood {
					none = max(none, x)
				} else if x > most {
					most, kind = x, named
				}
			}
			b.blood[at], b.kind[at] = certainty(most-none, bleeds), kind
		}
	}
	b.visit(source, b.blood, b.kind)
}

// certainty is at least 0.5 where nnU-Net decides for blood. Of classes with the same logit it takes the first.
func certainty(above float32, bleeds bool) float32 {
	p := float32(1 / (1 + math.Exp(-float64(above))))
	if bleeds {
		return max(p, 0.5)
	}
	return min(p, math.Nextafter32(0.5, 0))
}

// read interpolates linearly within a plane.
func read(p []float32, width int, row, column tap) float32 {
	upper, lower := p[row.first*width:], p[row.second*width:]
	a := upper[column.first] + column.weight*(upper[column.second]-upper[column.first])
	if row.weight == 0 {
		return a
	}
	c := lower[column.first] + column.weight*(lower[column.second]-lower[column.first])
	return a + row.weight*(c-a)
}
