package measure

import (
	"math"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// Range gathers how far the volumes may be off: the least and the most of what all label volumes that are added say, each
// give or take the partial volume of its surface. The first one is that of the volumes themselves, the others come from
// the threshold moved down and up, so low <= volume <= high holds for every subtype and the total.
//
// It is no confidence interval: what the networks overlook is not in it. On 38 synthetic heads with hemorrhage, or
// something taken for it, it held the true total in 25, and in 25 of the 34 in which anything was found; where it did not, a
// bleed, or much of one, was mostly missed. Of the volumes of single subtypes it held 45 of 100.
type Range struct {
	low, high finding.Volumes
	any       bool
}

// Add takes in one label volume.
func (r *Range) Add(labels *volume.Mask, g *volume.Grid) {
	v, doubt := Volumes(labels, g), surfaceML(labels, g)
	for s := finding.None; s <= finding.ICH; s++ {
		low, high := math.Max(v.Of(s)-doubt[s], 0), v.Of(s)+doubt[s]
		if r.any {
			low, high = math.Min(low, r.low.Of(s)), math.Max(high, r.high.Of(s))
		}
		r.low.Set(s, low)
		r.high.Set(s, high)
	}
	r.any = true
}

// Include takes in what was added to another range.
func (r *Range) Include(o Range) {
	for s := finding.None; o.any && s <= finding.ICH; s++ {
		low, high := o.low.Of(s), o.high.Of(s)
		if r.any {
			low, high = math.Min(low, r.low.Of(s)), math.Max(high, r.high.Of(s))
		}
		r.low.Set(s, low)
		r.high.Set(s, high)
	}
	r.any = r.any || o.any
}

// Finding is the range of what was added.
func (r *Range) Finding() *finding.Range { return &finding.Range{Low: r.low, High: r.high} }

// surfaceML is the doubt in mL that partial volume leaves in each subtype, and, at finding.None, in the total. A voxel
// at the surface (one of the six beside it is something else) is counted whole, while any part of it may be blood: a
// standard deviation of 1/sqrt(12) of a voxel. Voxels of one slice err together, slices on their own; two standard deviations
// are taken.
func surfaceML(labels *volume.Mask, g *volume.Grid) [len(finding.Kinds) + 1]float64 {
	var out [len(finding.Kinds) + 1]float64
	rows, columns, size := labels.Rows, labels.Columns, labels.Rows*labels.Columns
	for k := range labels.Slices() {
		var n [len(out)]int
		for i, l := range labels.Slice(k) {
			if l == 0 {
				continue
			}
			at, row, column := k*size+i, i/columns, i%columns
			own, outer := false, false
			look := func(inside bool, j int) {
				other := uint8(0)
				if inside {
					other = labels.Voxels[j]
				}
				own, outer = own || other != l, outer || other == 0
			}
			look(row > 0, at-columns)
			look(row < rows-1, at+columns)
			look(column > 0, at-1)
			look(column < columns-1, at+1)
			look(k > 0, at-size)
			look(k < labels.Slices()-1, at+size)
			if own {
				n[l]++
			}
			if outer {
				n[finding.None]++
			}
		}
		for s := range out {
			ml := 2 / math.Sqrt(12) * float64(n[s]) * g.VoxelML(k)
			out[s] += ml * ml
		}
	}
	for s := range out {
		out[s] = math.Sqrt(out[s])
	}
	return out
}
