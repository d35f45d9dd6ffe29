// Package quality checks the pixels of a head for artifacts that make a result doubtful: metal streaks, motion streaks, and a
// head displaced between slices. It warns, and refuses only if most of the head is unusable.
package quality

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

const (
	metalHU     = 2900 // above bone and teeth; scanners of 12 bits end at 3071
	metalMM2    = 10.0 // in one slice
	darkHU      = -30  // below brain and fluid in it, in the mean of a neighbourhood
	brightHU    = 110  // above clotted blood
	streakShare = 0.01 // of the area inside the skull: too dark, and as much too bright, in a slice with metal
	moveShare   = 0.02 // the same in a slice without
	meanMM      = 3.0  // side of the neighbourhood: noise is gone, streaks stay
	leastCM2    = 20.0 // area inside the skull; smaller slices are not judged
	wholeCM2    = 60.0 // area of slices that show where the head is
	tissueHU    = -300 // above air
	stepMM      = 4.0  // displacement between two slices
	coarseMM    = 6.0  // slices further apart than this cannot be compared
	spoilt      = 0.5  // of the judged slices: unusable
)

// Check examines v inside cavity, the mask of the intracranial space. Warnings name images by their numbers in the series. The
// error is a *finding.Refusal with code Metal or Motion.
func Check(v *volume.Volume, cavity *volume.Mask) (warnings []string, err error) {
	var judged int
	var metal, moved []int
	for k := range v.Slices() {
		inside := cavity.Slice(k)
		if area(v, inside) < leastCM2 {
			continue
		}
		judged++
		dark, bright := extremes(v, k, inside)
		switch worst := math.Min(dark, bright); {
		case worst >= streakShare && hasMetal(v, k):
			metal = append(metal, k)
		case worst >= moveShare:
			moved = append(moved, k)
		}
	}
	if beyond(metal, judged) {
		return nil, finding.Refuse(finding.Metal, "Streaks of metal run through %d of %d slices of the head.\nRead the study without ichor.", len(metal), judged)
	}
	if beyond(moved, judged) {
		return nil, finding.Refuse(finding.Motion, "Streaks, as of movement, run through %d of %d slices of the head.\n"+
			"Scan again, or read the study without ichor.", len(moved), judged)
	}
	if len(metal) > 0 {
		warnings = append(warnings, fmt.Sprintf("Metal streaks on %s: bleeds there can be missed or falsely reported.", names(v, metal)))
	}
	if len(moved) > 0 {
		warnings = append(warnings, fmt.Sprintf("Streaks that look like motion on %s: bleeds there can be missed or falsely reported.", names(v, moved)))
	}
	steps, pairs := displaced(v, cavity)
	if beyond(steps, pairs) {
		return nil, finding.Refuse(finding.Motion, "The head moved between %d of %d neighbouring slices.\nScan again, or read the study without ichor.", len(steps), pairs)
	}
	if len(steps) > 0 {
		warnings = append(warnings, fmt.Sprintf("The head seems to have moved by %.0f mm or more between %s: bleeds there can be split or counted twice.",
			stepMM, pairsOf(v, steps)))
	}
	return warnings, nil
}

func beyond(bad []int, of int) bool { return len(bad) >= 3 && float64(len(bad)) > spoilt*float64(of) }

// area returns the area of a slice of the mask in cm2.
func area(v *volume.Volume, inside []uint8) float64 {
	n := 0
	for _, m := range inside {
		if m != 0 {
			n++
		}
	}
	return float64(n) * v.SpacingMM[0] * v.SpacingMM[1] / 100
}

func hasMetal(v *volume.Volume, k int) bool {
	n := 0
	for _, hu := range v.Slice(k) {
		if hu >= metalHU {
			n++
		}
	}
	return float64(n)*v.SpacingMM[0]*v.SpacingMM[1] >= metalMM2
}

// extremes returns the shares of neighbourhoods inside the skull whose mean is too dark and too bright for brain or blood.
func extremes(v *volume.Volume, k int, inside []uint8) (dark, bright float64) {
	h, w := max(1, int(math.Round(meanMM/v.SpacingMM[0]))), max(1, int(math.Round(meanMM/v.SpacingMM[1])))
	hu := v.Slice(k)
	all, low, high := 0, 0, 0
	for r := 0; r+h <= v.Rows; r += h {
	next:
		for c := 0; c+w <= v.Columns; c += w {
			sum := 0
			for y := r; y < r+h; y++ {
				for x := c; x < c+w; x++ {
					if inside[y*v.Columns+x] == 0 {
						continue next
					}
					sum += int(hu[y*v.Columns+x])
				}
			}
			all++
			switch mean := sum / (h * w); {
			case mean < darkHU:
				low++
			case mean > brightHU:
				high++
			}
		}
	}
	if all == 0 {
		return 0, 0
	}
	return float64(low) / float64(all), float64(high) / float64(all)
}

// displaced lists the slices after which the head is displaced. The centre of the intracranial space normally moves evenly
// from slice to slice; a step that the neighbouring steps do not show is a movement, if the outline of the head shows it too.
// pairs is the number of steps judged.
func displaced(v *volume.Volume, cavity *volume.Mask) (after []int, pairs int) {
	inner, outer := make([]volume.Vec, v.Slices()), make([]volume.Vec, v.Slices())
	cm2 := make([]float64, v.Slices())
	for k := range inner {
		hu, inside := v.Slice(k), cavity.Slice(k)
		if cm2[k] = area(v, inside); cm2[k] >= wholeCM2 {
			inner[k] = middle(v, k, func(i int) bool { return inside[i] != 0 })
			outer[k] = middle(v, k, func(i int) bool { return hu[i] > tissueHU })
		}
	}
	for k := 1; k+2 < len(inner); k++ {
		if least := slices.Min(cm2[k-1 : k+3]); least < wholeCM2 || slices.Max(cm2[k-1:k+3]) > 1.3*least {
			continue
		}
		in, ok := uneven(v, inner, k)
		if !ok {
			continue
		}
		pairs++
		if in >= stepMM {
			if out, ok := uneven(v, outer, k); ok && out >= stepMM/2 {
				after = append(after, k)
			}
		}
	}
	return after, pairs
}

// middle returns the centre of the pixels of a slice for which of is true.
func middle(v *volume.Volume, k int, of func(i int) bool) volume.Vec {
	rows, columns, n := 0.0, 0.0, 0.0
	for i := range v.Rows * v.Columns {
		if of(i) {
			rows, columns, n = rows+float64(i/v.Columns), columns+float64(i%v.Columns), n+1
		}
	}
	return v.Point(k, rows/math.Max(n, 1), columns/math.Max(n, 1))
}

// uneven returns by how many mm the step from slice k to the next differs, within the plane, from the mean of the steps before
// and after it; 0 if the step is smaller than one of these. ok is false if slices are too far apart to compare, or so uneven
// that the noise of a short step is scaled up to a long one.
func uneven(v *volume.Volume, at []volume.Vec, k int) (mm float64, ok bool) {
	n := v.Normal()
	var step [3]volume.Vec // before, this, after; per mm along the normal
	var gap [3]float64
	for i := range step {
		d := at[k+i].Sub(at[k+i-1])
		if gap[i] = d.Dot(n); gap[i] <= 0 || gap[i] > coarseMM {
			return 0, false
		}
		step[i] = d.Sub(n.Scale(gap[i])).Scale(1 / gap[i])
	}
	if slices.Max(gap[:]) > 1.5*slices.Min(gap[:]) {
		return 0, false
	}
	if length := 1.05 * step[1].Length(); length < step[0].Length() || length < step[2].Length() {
		return 0, true
	}
	return step[1].Sub(step[0].Add(step[2]).Scale(0.5)).Length() * gap[1], true
}

// numbers returns the numbers of slices as a viewer shows them, in ascending order, and what they are numbers of. Where an
// image has no number, slices are counted from the feet.
func numbers(v *volume.Volume, slicesOf []int) (of []int, what, from string) {
	for _, k := range slicesOf {
		if k >= len(v.Sources) || v.Sources[k].Number() <= 0 {
			of = of[:0]
			for _, k := range slicesOf {
				of = append(of, k+1)
			}
			return of, "slice", " (counted from the feet)"
		}
		of = append(of, v.Sources[k].Number())
	}
	slices.Sort(of)
	return of, "image", ""
}

// names lists slices in words, such as "images 5 to 9 and 12".
func names(v *volume.Volume, slicesOf []int) string {
	k, what, from := numbers(v, slicesOf)
	var parts []string
	for i := 0; i < len(k); {
		j := i
		for j+1 < len(k) && k[j+1] == k[j]+1 {
			j++
		}
		if part := fmt.Sprint(k[i]); j == i {
			parts = append(parts, part)
		} else {
			parts = append(parts, fmt.Sprintf("%s to %d", part, k[j]))
		}
		i = j + 1
	}
	if len(k) > 1 {
		what += "s"
	}
	return what + " " + list(parts) + from
}

// pairsOf lists neighbouring slices in words, each with the next one: "images 5 and 6, 8 and 9".
func pairsOf(v *volume.Volume, first []int) string {
	var parts []string
	var what, from string
	for _, k := range first {
		var pair []int
		pair, what, from = numbers(v, []int{k, k + 1})
		parts = append(parts, fmt.Sprintf("%d and %d", pair[0], pair[1]))
	}
	return what + "s " + strings.Join(parts, ", ") + from
}

func list(parts []string) string {
	if last := len(parts) - 1; last > 0 {
		return strings.Join(parts[:last], ", ") + " and " + parts[last]
	}
	return parts[0]
}
