package measure

import (
	"cmp"
	"math"
	"slices"

	"ichor/pipeline/volume"
)

// cut is a lesion on one slice.
type cut struct {
	areaMM2    float64
	supportMM  float64
	diameterMM float64 // largest distance between two of its points
	widthMM    float64 // longest line at right angles to that, between two edges of its convex hull
}

// newCut measures the pixels of one slice, taken with their extent, not as points: a single pixel measures its diagonal.
func newCut(runs []volume.Run, g *volume.Grid) cut {
	c := cut{supportMM: g.SupportMM[runs[0].Slice]}
	var points []point
	corner := func(r volume.Run, row float64) {
		y := (float64(r.Row) + row) * g.SpacingMM[0]
		points = append(points, point{y, (float64(r.Begin) - 0.5) * g.SpacingMM[1]}, point{y, (float64(r.End) - 0.5) * g.SpacingMM[1]})
	}
	for _, r := range runs {
		corner(r, -0.5)
		corner(r, 0.5)
		c.areaMM2 += float64(r.End-r.Begin) * g.SpacingMM[0] * g.SpacingMM[1]
	}
	slices.SortFunc(points, func(a, b point) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	h := hull(points)
	var along point
	for i := range h {
		for j := range i {
			if d := h[i].sub(h[j]); d.length() > c.diameterMM {
				c.diameterMM, along = d.length(), d
			}
		}
	}
	if c.diameterMM > 0 {
		c.widthMM = width(h, point{along[0] / c.diameterMM, along[1] / c.diameterMM})
	}
	return c
}

// width is the longest line within the convex polygon h at right angles to the unit vector u. As the length of such a
// line is concave along u, the longest one goes through a corner.
func width(h []point, u point) float64 {
	longest := 0.0
	for _, p := range h {
		at := p.dot(u)
		lo, hi := math.Inf(1), math.Inf(-1)
		for i, a := range h {
			b := h[(i+1)%len(h)]
			s, e := a.dot(u)-at, b.dot(u)-at
			if math.Min(s, e) > 1e-9 || math.Max(s, e) < -1e-9 {
				continue
			}
			for _, share := range crossings(s, e) {
				across := a.cross(u) + share*(b.cross(u)-a.cross(u))
				lo, hi = math.Min(lo, across), math.Max(hi, across)
			}
		}
		longest = math.Max(longest, hi-lo)
	}
	return longest
}

// crossings says at which share of its way an edge from s to e is at 0: both ends where it lies there altogether.
func crossings(s, e float64) []float64 {
	if math.Abs(e-s) < 1e-9 {
		return []float64{0, 1}
	}
	return []float64{math.Min(math.Max(-s/(e-s), 0), 1)}
}

// point lies in a slice: down the rows and along them, mm.
type point [2]float64

func (a point) sub(b point) point     { return point{a[0] - b[0], a[1] - b[1]} }
func (a point) dot(b point) float64   { return a[0]*b[0] + a[1]*b[1] }
func (a point) cross(b point) float64 { return a[0]*b[1] - a[1]*b[0] }
func (a point) length() float64       { return math.Hypot(a[0], a[1]) }

// hull is Andrew's monotone chain over points sorted by row, then column.
func hull(p []point) []point {
	var h []point
	chain := func(q point, floor int) {
		for len(h) >= floor+2 && h[len(h)-1].sub(h[len(h)-2]).cross(q.sub(h[len(h)-2])) <= 0 {
			h = h[:len(h)-1]
		}
		h = append(h, q)
	}
	for _, q := range p {
		chain(q, 0)
	}
	upper := len(h) - 1
	for _, q := range slices.Backward(p) {
		chain(q, max(upper, 0))
	}
	return h
}

// extent is the size in mm of the box along the patient's axes (right to left, front to back, feet to head) that just
// holds the voxels: their corners, turned and tilted as the slices are, each as thick as its slice's support.
func extent(runs []volume.Run, g *volume.Grid) [3]float64 {
	low := volume.Vec{math.Inf(1), math.Inf(1), math.Inf(1)}
	high := low.Scale(-1)
	n := g.Normal()
	for _, r := range runs {
		k := int(r.Slice)
		below, above := reach(g, k)
		for _, row := range [...]float64{float64(r.Row) - 0.5, float64(r.Row) + 0.5} {
			for _, column := range [...]float64{float64(r.Begin) - 0.5, float64(r.End) - 0.5} {
				p := g.Point(k, row, column)
				for _, q := range [...]volume.Vec{p.Sub(n.Scale(below)), p.Add(n.Scale(above))} {
					for i := range q {
						low[i], high[i] = math.Min(low[i], q[i]), math.Max(high[i], q[i])
					}
				}
			}
		}
	}
	return high.Sub(low)
}

// reach is how far slice k stands for what lies below and above it, mm along the normal: half way to either neighbour, an
// end slice as far out as in. Together they are its support.
func reach(g *volume.Grid, k int) (below, above float64) {
	n := g.Normal()
	toward := func(j int) float64 {
		if j < 0 || j >= g.Slices() {
			return 0
		}
		return math.Abs(g.Origins[j].Sub(g.Origins[k]).Dot(n)) / 2
	}
	below, above = toward(k-1), toward(k+1)
	switch {
	case k == 0:
		below = above
	case k == g.Slices()-1:
		above = below
	}
	if below+above == 0 {
		return g.SupportMM[k] / 2, g.SupportMM[k] / 2
	}
	scale := g.SupportMM[k] / (below + above)
	return below * scale, above * scale
}
