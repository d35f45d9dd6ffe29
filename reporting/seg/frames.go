package seg

import (
	"cmp"
	"slices"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/reporting/iod"
)

// segment is one segment of the object: the voxels of a mask that have a value, or any value but 0 where that is 0.
type segment struct {
	number      int // from 1
	look        iod.Look
	category    iod.Code
	description string
	id, uid     string // tracking
	mask        *volume.Mask
	value       uint8
	on          []bool // by slice: has voxels there
}

// subtypes lists the segments of hemorrhage.
func subtypes(c *iod.Report) []segment {
	var out []segment
	for i, s := range c.Segments() {
		g := segment{number: i + 1, look: c.Look(s), category: iod.MorphologicallyAbnormalStructure,
			description: s.String() + ", found by a neural network. " + finding.Disclaimer, mask: c.Labels, value: uint8(s)}
		g.id, g.uid = c.Tracking(s.String())
		for k := range c.Volume.Slices() {
			g.on = append(g.on, c.OnSlice(s, k))
		}
		out = append(out, g)
	}
	return out
}

// cavity is the one segment of the intracranial cavity.
func cavity(c *iod.Report) []segment {
	g := segment{number: 1, look: c.CavityLook(), category: iod.AnatomicalStructure,
		description: "Intracranial cavity, found by a neural network. " + finding.Disclaimer, mask: c.Cavity}
	g.id, g.uid = c.Tracking(iod.IntracranialCavity)
	for k := range c.Volume.Slices() {
		g.on = append(g.on, slices.ContainsFunc(c.Cavity.Slice(k), func(v uint8) bool { return v != 0 }))
	}
	return []segment{g}
}

// frame is the voxels of one segment on one slice; those of all segments in a label map, whose segment is nil.
type frame struct {
	segment *segment
	slice   int
}

// framesOf lists the frames of c: by segment, then feet to head.
func framesOf(c *iod.Report, segments []segment) []frame {
	n := c.Volume.Slices()
	var out []frame
	if c.LabelMap {
		for k := range n {
			if slices.ContainsFunc(segments, func(s segment) bool { return s.on[k] }) {
				out = append(out, frame{nil, k})
			}
		}
		return out
	}
	for i := range segments {
		for k := range n {
			if segments[i].on[k] {
				out = append(out, frame{&segments[i], k})
			}
		}
	}
	empty := empties(segments)
	more := missing(len(out), len(out)+len(empty), c.Volume.Rows*c.Volume.Columns)
	out = append(out, empty[:more]...)
	slices.SortFunc(out, func(a, b frame) int {
		return cmp.Or(cmp.Compare(a.segment.number, b.segment.number), cmp.Compare(a.slice, b.slice))
	})
	return out
}

// missing is how many frames of size pixels to add to n, at most to most, for viewers that take the length of the pixel
// data for that of the frames. Cornerstone3D refuses a segmentation whose packed bits were padded to an even length, as
// 24 frames of 511 by 511 are, and takes one for unpacked by frame where both lengths are the same. Best is a whole
// number of 16-bit words; where there are too few slices for that, a last byte that is not full will do.
func missing(n, most, size int) int {
	for _, shown := range []func(n int) bool{
		func(n int) bool { return n*size%16 == 0 },
		func(n int) bool { bytes := (n*size + 7) / 8; return bytes%2 == 0 && bytes != n*((size+7)/8) },
	} {
		for m := n; m <= min(most, n+15); m++ {
			if shown(m) {
				return m - n
			}
		}
	}
	return 0
}

// empties are the frames without voxels that may be added: segments on slices that have none of it, those next to it
// first.
func empties(segments []segment) []frame {
	type far struct {
		frame
		distance int
	}
	var list []far
	for i := range segments {
		s := &segments[i]
		for k, on := range s.on {
			if on {
				continue
			}
			distance := len(s.on)
			for j, there := range s.on {
				if there {
					distance = min(distance, max(j-k, k-j))
				}
			}
			list = append(list, far{frame{s, k}, distance})
		}
	}
	slices.SortStableFunc(list, func(a, b far) int { return cmp.Compare(a.distance, b.distance) })
	out := make([]frame, len(list))
	for i, f := range list {
		out[i] = f.frame
	}
	return out
}
