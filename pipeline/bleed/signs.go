package bleed

import (
	"math"

	"ichor/models/bundle"
	"ichor/pipeline/volume"
)

// Constants for the signs. models/training/ich/signs.py computes the same.
const (
	ringFromMM = 2.0 // the surroundings of a part start beyond its blurred edge
	ringToMM   = 6.0
	besideMM   = 3.0   // up to this distance counts as beside
	tableMM    = 4.0   // up to this distance from the border of the cavity counts as at the inner table
	falxMM     = 5.0   // up to this distance from the middle counts as at the falx
	mostMM     = 100.0 // larger distances are clipped
	liquorHU   = 18    // at most
	mostHU     = 100   // HU are clipped to 0 .. mostHU, because bone and air beside a part are not informative
	noRingHU   = 30    // brain, if there are no surroundings
)

// Signs are the features of a part that the network marked, or of several parts together. Distances are within the slice.
type Signs struct {
	ML         float64
	Mass       float64 // mL times probability
	Mean, Peak float64 // probability
	ContrastHU float64 // mean HU minus the median of the surroundings

	ThicknessMM float64 // twice the deepest point
	DepthMM     float64 // mean distance to the inner table
	Table, Falx float64 // share at the inner table, at the middle
	AsymmetryHU float64 // mean HU minus that of the mirrored place
	Liquor      float64 // share of liquor in the pixels beside it
	Opposite    float64 // share of the mirrored place that is liquor or blood
}

// evidence returns the signs in the order of bundle.Signs; otherMass is the mass of all other clots of the head.
func (s Signs) evidence(otherMass float64) [len(bundle.Signs)]float64 {
	return [...]float64{math.Log10(s.Mass + 0.01), s.Mean, s.Peak, s.ContrastHU / 10, min(s.ThicknessMM, 20) / 10, min(s.DepthMM, 40) / 10,
		s.Table, s.Falx, s.AsymmetryHU / 10, math.Log10(otherMass + 0.1)}
}

// sums are sums over the voxels of a part, in mL unless stated otherwise.
type sums struct {
	ml, mass, hu, depth, table, falx     float64
	mirror, mirrorML, opposite           float64
	beside, liquor                       float64
	peak, deepest                        float64 // maxima
	ring                                 [mostHU + 1]float64
	rowMin, rowMax, columnMin, columnMax int // box of the part on the current slice
}

func (s *sums) add(o *sums) {
	s.ml, s.mass, s.hu, s.depth, s.table, s.falx = s.ml+o.ml, s.mass+o.mass, s.hu+o.hu, s.depth+o.depth, s.table+o.table, s.falx+o.falx
	s.mirror, s.mirrorML, s.opposite = s.mirror+o.mirror, s.mirrorML+o.mirrorML, s.opposite+o.opposite
	s.beside, s.liquor = s.beside+o.beside, s.liquor+o.liquor
	s.peak, s.deepest = max(s.peak, o.peak), max(s.deepest, o.deepest)
	for i, v := range o.ring {
		s.ring[i] += v
	}
}

func (s *sums) signs() Signs {
	const least = 1e-9
	ml := max(s.ml, least)
	inside := s.hu / ml
	mirrored := inside
	if s.mirrorML > 0 {
		mirrored = s.mirror / s.mirrorML
	}
	return Signs{ML: s.ml, Mass: s.mass, Mean: s.mass / ml, Peak: s.peak, ContrastHU: inside - s.surroundings(), ThicknessMM: 2 * s.deepest,
		DepthMM: s.depth / ml, Table: s.table / ml, Falx: s.falx / ml, AsymmetryHU: inside - mirrored,
		Liquor: s.liquor / max(s.beside, least), Opposite: s.opposite / max(s.mirrorML, least)}
}

// surroundings returns the median HU of the ring.
func (s *sums) surroundings() float64 {
	total := 0.0
	for _, v := range s.ring {
		total += v
	}
	if total == 0 {
		return noRingHU
	}
	reached := 0.0
	for hu, v := range s.ring {
		if reached += v; reached >= total/2-1e-9 {
			return float64(hu)
		}
	}
	return mostHU
}

// crop is the part of a volume around its cavity, in canonical orientation.
type crop struct {
	v             *volume.Volume
	mask          *volume.Mask
	view          volume.View
	row, column   int // of the view where the crop starts
	rows, columns int
	spacing       [2]float64
	z             []float64 // mm of each slice from the first

	inside []bool // scratch of cavity
}

// newCrop crops to the box of the cavity plus a margin of one pixel.
func newCrop(v *volume.Volume, cavity *volume.Mask) *crop {
	view := v.Canonical()
	c := &crop{v: v, mask: cavity, view: view, row: view.Rows, column: view.Columns, spacing: view.SpacingMM}
	rowEnd, columnEnd := 0, 0
	for k := range v.Slices() {
		plane := cavity.Slice(k)
		for i := range view.Rows {
			for j := range view.Columns {
				if plane[view.Index(i, j)] != 0 {
					c.row, c.column, rowEnd, columnEnd = min(c.row, i), min(c.column, j), max(rowEnd, i+1), max(columnEnd, j+1)
				}
			}
		}
	}
	c.row, c.column = max(c.row-1, 0), max(c.column-1, 0)
	c.rows, c.columns = max(min(rowEnd+1, view.Rows)-c.row, 0), max(min(columnEnd+1, view.Columns)-c.column, 0)
	normal := v.Normal()
	for k := range v.Slices() {
		c.z = append(c.z, v.Origins[k].Sub(v.Origins[0]).Dot(normal))
	}
	return c
}

// index returns the index, in a slice, of pixel i of the crop.
func (c *crop) index(i int) int { return c.view.Index(c.row+i/c.columns, c.column+i%c.columns) }

// cavity returns the cavity of slice k in the crop; valid until the next call.
func (c *crop) cavity(k int) []bool {
	if c.inside == nil {
		c.inside = make([]bool, c.rows*c.columns)
	}
	plane := c.mask.Slice(k)
	c.each(func(i, at int) { c.inside[i] = plane[at] != 0 })
	return c.inside
}

// each calls visit for the pixels of the crop in order, with the index of each in a slice.
func (c *crop) each(visit func(i, at int)) {
	i := 0
	for r := range c.rows {
		at := c.view.Index(c.row+r, c.column)
		for range c.columns {
			visit(i, at)
			i++
			at += c.view.Column
		}
	}
}
