// Package measure turns a label volume into numbers: millilitres in patient space, and lesions with place and extent.
package measure

import (
	"cmp"
	"math"
	"slices"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// MinLesionML is the least volume of a connected part that is listed as a lesion; smaller ones count for the volumes
// alone.
const MinLesionML = 0.1

// Volumes adds up the voxels of each subtype, each slice with its own support; the subtypes add up to the total.
func Volumes(labels *volume.Mask, g *volume.Grid) finding.Volumes {
	var ml [len(finding.Kinds) + 1]float64
	for k := range labels.Slices() {
		var n [len(ml)]int
		for _, l := range labels.Slice(k) {
			n[l]++
		}
		for _, s := range finding.Kinds {
			ml[s] += float64(n[s]) * g.VoxelML(k)
		}
	}
	var v finding.Volumes
	for _, s := range finding.Kinds {
		v.Set(s, ml[s])
		v.Total += ml[s]
	}
	return v
}

// Lesions lists the connected parts (26 neighbours) of each subtype from MinLesionML on, the largest first.
func Lesions(labels *volume.Mask, g *volume.Grid) []finding.Lesion {
	var out []finding.Lesion
	for _, s := range finding.Kinds {
		c := volume.ComponentsOf(labels, volume.Corners, uint8(s))
		ml := c.VolumesML(g)
		runs := make([][]volume.Run, c.Count)
		for _, r := range c.Runs {
			if ml[r.Component] >= MinLesionML {
				runs[r.Component] = append(runs[r.Component], r)
			}
		}
		for i := range runs {
			if len(runs[i]) > 0 {
				out = append(out, lesion(s, ml[i], runs[i], g))
			}
		}
	}
	slices.SortStableFunc(out, func(a, b finding.Lesion) int { return cmp.Compare(b.VolumeML, a.VolumeML) })
	return out
}

func lesion(s finding.Subtype, ml float64, runs []volume.Run, g *volume.Grid) finding.Lesion {
	l := finding.Lesion{Subtype: s, VolumeML: ml, Slices: [2]int{int(runs[0].Slice), int(runs[len(runs)-1].Slice)}}
	var centre volume.Vec
	var weight float64
	for begin := 0; begin < len(runs); {
		end := begin
		for end < len(runs) && runs[end].Slice == runs[begin].Slice {
			r := runs[end]
			w := float64(r.End-r.Begin) * g.VoxelML(int(r.Slice))
			centre = centre.Add(g.Point(int(r.Slice), float64(r.Row), float64(r.Begin+r.End-1)/2).Scale(w))
			weight += w
			end++
		}
		l.MaxDiameterMM = math.Max(l.MaxDiameterMM, diameter(runs[begin:end], g.SpacingMM))
		begin = end
	}
	if weight > 0 {
		centre = centre.Scale(1 / weight)
	}
	l.CentroidMM = centre
	return l
}

// diameter is the largest distance in mm between two points of the pixels of one slice, pixels taken with their extent,
// not as points: a single pixel measures its diagonal. The two points are corners of the convex hull.
func diameter(runs []volume.Run, spacing [2]float64) float64 {
	var points [][2]float64 // sorted by row, then column, as the hull needs them
	corner := func(r volume.Run, row float64) {
		y := (float64(r.Row) + row) * spacing[0]
		points = append(points, [2]float64{y, (float64(r.Begin) - 0.5) * spacing[1]}, [2]float64{y, (float64(r.End) - 0.5) * spacing[1]})
	}
	for _, r := range runs {
		corner(r, -0.5)
		corner(r, 0.5)
	}
	slices.SortFunc(points, func(a, b [2]float64) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	h := hull(points)
	longest := 0.0
	for i := range h {
		for j := range i {
			longest = math.Max(longest, math.Hypot(h[i][0]-h[j][0], h[i][1]-h[j][1]))
		}
	}
	return longest
}

// hull is Andrew's monotone chain over sorted points.
func hull(p [][2]float64) [][2]float64 {
	turn := func(a, b, c [2]float64) float64 { return (b[0]-a[0])*(c[1]-a[1]) - (b[1]-a[1])*(c[0]-a[0]) }
	var h [][2]float64
	chain := func(q [2]float64, floor int) {
		for len(h) >= floor+2 && turn(h[len(h)-2], h[len(h)-1], q) <= 0 {
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
