package hounsfield

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// Criteria for slices that do not fit their neighbours. A head changes little from slice to slice, so that where one slice has
// soft tissue, the next one mostly has it too. The areas are larger than what may end within one slice: of a round head, 44 cm2
// of brain per cm.
const (
	gridMM      = 3.0  // distance of the compared voxels within a slice
	shiftHU     = 20   // a smaller difference of soft tissue is noise, beam hardening or another acquisition
	shiftAirHU  = 100  // the same of air
	shifted     = 0.75 // of the voxels must differ in the same direction
	insideHU    = -700 // air, and not lung at rest
	pairCM2     = 60.0 // of soft tissue in a slice, compared with the next; a swollen scalp above the skull has less
	pairPerCM   = 44.0 // cm2 for each cm between them
	mutualCM2   = 15.0 // of soft tissue in each of two slices
	mutualHU    = 30   // largest sum of the two differences, which are opposite if one slice is shifted
	mutualLeast = 100  // least difference: scalp becomes fat in the next slice
	threeCM2    = 25.0 // of soft tissue or of air in both neighbours of a slice
	threePerCM  = 20.0 // cm2 for each cm between them
	headCM2     = 10.0 // denser than air in a slice that shows the head
	flatHU      = 100  // range of the values of an image without content
	atEnd       = 3    // slices at an end that may be wrong if they do not show brain
	brainCM2    = 30.0 // enclosed by bone
	boneHU      = 200  // of the skull, as volume.FillHoles needs it closed
)

// checkSlices compares each slice with its neighbours, because a few wrong slices do not change the histogram of the volume. It
// refuses slices with shifted values and empty slices within the head. A few at the ends give a warning: the empty ones show
// nothing, as if they were missing, and the shifted ones lie beyond the brain.
func checkSlices(v *volume.Volume) (warnings []string, err error) {
	c := comparison{v: v, rows: max(1, int(gridMM/v.SpacingMM[0])), columns: max(1, int(gridMM/v.SpacingMM[1]))}
	c.cm2 = float64(c.rows*c.columns) * v.SpacingMM[0] * v.SpacingMM[1] / 100
	var shown, empty []int // slices
	first, last := v.Slices(), -1
	for k := range v.Slices() {
		if !c.content(k) {
			empty = append(empty, k)
			continue
		}
		shown = append(shown, k)
		if c.area(k, dense) >= headCM2 {
			first, last = min(first, k), max(last, k)
		}
	}
	var within []int
	for _, k := range empty {
		if k > first && k < last {
			within = append(within, k)
		}
	}
	for _, end := range []struct{ k, beside, n int }{{first, first - 1, first}, {last, last + 1, v.Slices() - 1 - last}} {
		switch {
		case last < 0 || end.n == 0 || !slices.Contains(empty, end.beside) || c.area(end.k, soft) < pairCM2+pairPerCM*c.gap(end.k, end.beside):
		case end.n > atEnd && c.brain(end.k):
			within = append(within, end.beside)
		default:
			warnings = append(warnings, fmt.Sprintf("%s at the end of the series is empty, although %s beside it still shows %.0f cm2 of soft tissue. "+
				"That part of the head is not in the result.", capital(c.name(end.beside)), c.name(end.k), c.area(end.k, soft)))
		}
	}
	if len(within) > 0 {
		return nil, finding.Refuse(finding.NotHounsfield, "%s within the head: all pixels are about %d HU.\nSend the original series.",
			c.says(within, "is empty", "are empty"), v.Slice(within[0])[0])
	}
	wrong, right := c.shifted(shown)
	if len(wrong) == 0 {
		return warnings, nil
	}
	text := c.says(wrong, "does not fit its neighbours", "do not fit their neighbours") + ": "
	if from, to, ok := c.median(right, wrong[0]); ok {
		text += fmt.Sprintf("soft tissue of %d HU in %s is %d HU in %s", from, c.name(right), to, c.name(wrong[0]))
	} else {
		text += "air or soft tissue has other values there"
	}
	lowest, highest := wrong[0], wrong[len(wrong)-1]
	end := highest < right && lowest == shown[0] || lowest > right && highest == shown[len(shown)-1]
	if end && len(wrong) <= atEnd && !c.brain(right) {
		return append(warnings, text+" (Rescale Slope, Rescale Intercept). This is at the end of the series, beyond the brain."), nil
	}
	return nil, finding.Refuse(finding.NotHounsfield, "The pixels are not all in Hounsfield units. %s (Rescale Slope, Rescale Intercept).\nSend the original series.", text)
}

// comparison compares slices of v voxel by voxel.
type comparison struct {
	v             *volume.Volume
	rows, columns int     // distance of the compared voxels
	cm2           float64 // that one of them stands for
}

// each calls visit with the index of each compared voxel within a slice.
func (c *comparison) each(visit func(i int)) {
	for r := c.rows / 2; r < c.v.Rows; r += c.rows {
		for i := c.columns / 2; i < c.v.Columns; i += c.columns {
			visit(r*c.v.Columns + i)
		}
	}
}

// soft reports whether hu is soft tissue. 0 may be a fill value.
func soft(hu int16) bool { return hu >= tissueLo && hu <= tissueHi && hu != 0 }

func air(hu int16) bool { return hu < insideHU }

func dense(hu int16) bool { return hu > notAir }

// content reports whether slice k has more than air or one value.
func (c *comparison) content(k int) bool {
	s := c.v.Slice(k)
	lo, hi := slices.Min(s), slices.Max(s)
	return hi > notAir && int(hi)-int(lo) > flatHU
}

// area returns where is holds in slice k, in cm2.
func (c *comparison) area(k int, is func(hu int16) bool) float64 {
	n, s := 0, c.v.Slice(k)
	c.each(func(i int) {
		if is(s[i]) {
			n++
		}
	})
	return float64(n) * c.cm2
}

// gap returns the distance of two slices in cm.
func (c *comparison) gap(a, b int) float64 {
	d := c.v.Origins[b].Sub(c.v.Origins[a]).Dot(c.v.Normal()) / 10
	return max(d, -d)
}

// direction returns 1 if most voxels at which in is true are higher in slice b than base says, -1 if they are lower, else 0;
// and their area in cm2.
func (c *comparison) direction(b, least int, in func(i int) bool, base func(i int) int) (sign int, cm2 float64) {
	n, up, down := 0, 0, 0
	s := c.v.Slice(b)
	c.each(func(i int) {
		if !in(i) {
			return
		}
		n++
		switch d := int(s[i]) - base(i); {
		case d > least:
			up++
		case d < -least:
			down++
		}
	})
	most := shifted * float64(max(n, 1))
	switch {
	case float64(up) >= most:
		sign = 1
	case float64(down) >= most:
		sign = -1
	}
	return sign, float64(n) * c.cm2
}

// next is direction from slice a to slice b, where a has soft tissue.
func (c *comparison) next(a, b int) (sign int, cm2 float64) {
	s := c.v.Slice(a)
	return c.direction(b, shiftHU, func(i int) bool { return soft(s[i]) }, func(i int) int { return int(s[i]) })
}

// between reports whether slice b differs from both a and d where these agree.
func (c *comparison) between(a, b, d int) bool {
	below, above := c.v.Slice(a), c.v.Slice(d)
	differs := func(least int, is func(hu int16) bool) bool {
		in := func(i int) bool {
			apart := int(above[i]) - int(below[i])
			return is(below[i]) && is(above[i]) && max(apart, -apart) < 2*least
		}
		sign, cm2 := c.direction(b, least, in, func(i int) int { return (int(below[i]) + int(above[i])) / 2 })
		return sign != 0 && cm2 >= threeCM2+threePerCM*c.gap(a, d)
	}
	return differs(shiftHU, soft) || differs(shiftAirHU, air)
}

// apart reports whether two neighbouring slices have different values for the same tissue.
func (c *comparison) apart(a, b int) bool {
	up, fromA := c.next(a, b)
	down, fromB := c.next(b, a)
	least := pairCM2 + pairPerCM*c.gap(a, b)
	if up != 0 && fromA >= least || down != 0 && fromB >= least {
		return true
	}
	if up*down != -1 || fromA < mutualCM2 || fromB < mutualCM2 {
		return false
	}
	a1, b1, _ := c.median(a, b)
	b2, a2, _ := c.median(b, a)
	sum := b1 - a1 + a2 - b2
	return max(b1-a1, a1-b1) >= mutualLeast && max(sum, -sum) <= mutualHU
}

// shifted returns the slices whose values differ from those of the others, and a slice beside the first of them. Where values
// change, and change back, the smaller number of slices is wrong.
func (c *comparison) shifted(shown []int) (wrong []int, right int) {
	changes := make([]bool, len(shown)+1) // before each of shown
	for i := 1; i < len(shown); i++ {
		changes[i] = changes[i] || c.apart(shown[i-1], shown[i])
		if i+1 < len(shown) && c.between(shown[i-1], shown[i], shown[i+1]) {
			changes[i], changes[i+1] = true, true
		}
	}
	var groups [2][]int
	side := 0
	for i, k := range shown {
		if changes[i] {
			side = 1 - side
		}
		groups[side] = append(groups[side], k)
	}
	wrong, others := groups[1], groups[0]
	if len(others) < len(wrong) {
		wrong, others = others, wrong
	}
	if len(wrong) == 0 {
		return nil, 0
	}
	return wrong, slices.MinFunc(others, func(a, b int) int { return cmp.Compare(c.gap(a, wrong[0]), c.gap(b, wrong[0])) })
}

// median returns the median value of the soft tissue of slice a, and the median of the same voxels in slice b.
func (c *comparison) median(a, b int) (inA, inB int, ok bool) {
	var from, to []int16
	s, other := c.v.Slice(a), c.v.Slice(b)
	c.each(func(i int) {
		if soft(s[i]) {
			from, to = append(from, s[i]), append(to, other[i])
		}
	})
	if len(from) == 0 {
		return 0, 0, false
	}
	slices.Sort(from)
	slices.Sort(to)
	return int(from[len(from)/2]), int(to[len(to)/2]), true
}

// brain reports whether bone encloses an area as large as brain in slice k.
func (c *comparison) brain(k int) bool {
	ring := volume.Mask{Rows: c.v.Rows / c.rows, Columns: c.v.Columns / c.columns}
	ring.Voxels = make([]uint8, ring.Rows*ring.Columns)
	bone, s := 0, c.v.Slice(k)
	for r := range ring.Rows * c.rows {
		for i := range ring.Columns * c.columns {
			if at := r/c.rows*ring.Columns + i/c.columns; s[r*c.v.Columns+i] > boneHU && ring.Voxels[at] == 0 {
				ring.Voxels[at] = 1
				bone++
			}
		}
	}
	volume.FillHoles(&ring)
	filled := 0
	for _, x := range ring.Voxels {
		filled += int(x)
	}
	return float64(filled-bone)*c.cm2 >= brainCM2
}

// name names slice k as a viewer numbers it, or by its place in the stack.
func (c *comparison) name(k int) string {
	if k < len(c.v.Sources) {
		if n := c.v.Sources[k].Number(); n > 0 {
			return fmt.Sprintf("image %d", n)
		}
	}
	return fmt.Sprintf("slice %d of %d (counted from the feet)", k+1, c.v.Slices())
}

// says begins a sentence about some slices, of which it names eight.
func (c *comparison) says(some []int, one, many string) string {
	if len(some) == 1 {
		return capital(c.name(some[0])) + " " + one
	}
	var names []string
	for _, k := range some[:min(len(some), 8)] {
		names = append(names, c.name(k))
	}
	list := strings.Join(names, ", ")
	if len(some) > len(names) {
		list += " and others"
	}
	return fmt.Sprintf("%d of %d slices (%s) %s", len(some), c.v.Slices(), list, many)
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
