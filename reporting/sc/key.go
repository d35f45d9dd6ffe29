package sc

import "ichor/reporting/iod"

// The summary page has room for fewer slices with hemorrhage, each of which has a page of its own too, than of a head without.
const (
	mostMarked = 4
	mostSlices = 8
)

// shown are the slices of the summary page.
func shown(c *iod.Report) []int {
	if len(c.Segments()) == 0 {
		return representative(c)
	}
	return keySlices(c, mostMarked)
}

// keySlices chooses at most most slices to show, feet to head: through the extent of the hemorrhage in even parts, of each
// part the slice with the largest area.
func keySlices(c *iod.Report, most int) []int {
	areas := make([]int, c.Volume.Slices())
	var bleeding []int
	for k := range areas {
		if areas[k] = area(c, k); areas[k] > 0 {
			bleeding = append(bleeding, k)
		}
	}
	n := min(most, len(bleeding))
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
	n := min(mostSlices, last-first+1)
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
