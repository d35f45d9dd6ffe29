package sc

import "ichor/reporting/iod"

// maxKeySlices fit on the summary page.
const maxKeySlices = 6

// keySlices chooses the slices to show, feet to head: through the extent of the hemorrhage in even parts, of each part
// the slice with the largest area. Without hemorrhage it takes even steps through the cavity.
func keySlices(c *iod.Report) []int {
	areas := make([]int, c.Volume.Slices())
	var bleeding []int
	for k := range areas {
		if areas[k] = area(c, k); areas[k] > 0 {
			bleeding = append(bleeding, k)
		}
	}
	if len(bleeding) == 0 {
		return representative(c)
	}
	n := min(maxKeySlices, len(bleeding))
	out := make([]int, n)
	for i := range n {
		part := bleeding[i*len(bleeding)/n : (i+1)*len(bleeding)/n]
		out[i] = part[0]
		for _, k := range part {
			if areas[k] > areas[out[i]] {
				out[i] = k
			}
		}
	}
	return out
}

// representative are slices in the middle of even parts of the cavity's extent, or of the stack without a cavity.
func representative(c *iod.Report) []int {
	first, last := 0, c.Volume.Slices()-1
	if c.Cavity != nil {
		inside := func(k int) bool {
			for _, v := range c.Cavity.Slice(k) {
				if v != 0 {
					return true
				}
			}
			return false
		}
		lo, hi := first, last
		for lo < hi && !inside(lo) {
			lo++
		}
		for hi > lo && !inside(hi) {
			hi--
		}
		if inside(lo) {
			first, last = lo, hi
		}
	}
	n := min(maxKeySlices, last-first+1)
	out := make([]int, n)
	for i := range n {
		out[i] = first + (2*i+1)*(last-first+1)/(2*n)
	}
	return out
}

// area is how many pixels of slice k are hemorrhage.
func area(c *iod.Report, k int) int {
	n := 0
	for _, l := range c.Labels.Slice(k) {
		if l != 0 {
			n++
		}
	}
	return n
}
