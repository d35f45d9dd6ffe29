// Package words holds the sentences of the product about a finding. Secondary captures, structured reports and the
// dashboard say the same thing in the same words.
package words

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"ichor/pipeline/finding"
)

// Milliliters formats a volume with one decimal; a trace reads "<0.1".
func Milliliters(v float64) string {
	if v > 0 && v < 0.05 {
		return "<0.1"
	}
	return fmt.Sprintf("%.1f", v)
}

// Lesioned formats the number of lesions. It is a dash where there is hemorrhage but no part of it is large enough to be
// listed as a lesion: a zero beside a volume would look like a contradiction.
func Lesioned(n int, ml float64) string {
	if n == 0 && ml > 0 {
		return "–"
	}
	return strconv.Itoa(n)
}

// Lesions describes the largest lesions, at most most of them, one a line. One more line sums up the others.
func Lesions(all []finding.Lesion, most int) []string {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b finding.Lesion) int { return cmp.Compare(b.VolumeML, a.VolumeML) })
	shown := min(most, len(sorted))
	var out []string
	for _, l := range sorted[:shown] {
		out = append(out, lesion(l))
	}
	if rest := sorted[shown:]; len(rest) > 0 {
		var ml float64
		for _, l := range rest {
			ml += l.VolumeML
		}
		out = append(out, fmt.Sprintf("Lesions not listed, each no larger than these: %d, together %s mL.", len(rest), Milliliters(ml)))
	}
	return out
}

// lesion leaves out what was not measured, for findings of older versions can be written again.
func lesion(l finding.Lesion) string {
	s := fmt.Sprintf("%s %s mL", l.Subtype, Milliliters(l.VolumeML))
	switch {
	case l.WidthMM > 0:
		s += fmt.Sprintf(", %.0f x %.0f mm", l.MaxDiameterMM, l.WidthMM)
	case l.MaxDiameterMM > 0:
		s += fmt.Sprintf(", %.0f mm across", l.MaxDiameterMM)
	}
	if l.ABC2ML > 0 {
		s += ", ABC/2 " + Milliliters(l.ABC2ML) + " mL"
	}
	if l.Slices[0] == l.Slices[1] {
		s += fmt.Sprintf(", slice %d", l.Slices[0]+1) // counted from 1, as on the pages
	} else {
		s += fmt.Sprintf(", slices %d to %d", l.Slices[0]+1, l.Slices[1]+1)
	}
	if p := Text(l.Position, 200); p != "" {
		s += ", " + p + " (approximate)"
	}
	return s + "."
}

// MinBoundML is the smallest upper bound of a subtype that is shown.
const MinBoundML = 0.05

// Bounds says how far the total may be off and, where there are several, each subtype.
func Bounds(r finding.Range) string {
	var each []string
	for _, k := range finding.Kinds {
		if r.High.Of(k) >= MinBoundML {
			each = append(each, fmt.Sprintf("%s %s to %s", k, Milliliters(r.Low.Of(k)), Milliliters(r.High.Of(k))))
		}
	}
	s := fmt.Sprintf("The total may lie between %s and %s mL by threshold and partial volume", Milliliters(r.Low.Total), Milliliters(r.High.Total))
	if len(each) > 1 {
		s += " (" + strings.Join(each, ", ") + ")"
	}
	return s + "; not a confidence interval."
}

// Doubt says how much hemorrhage a lower threshold would mark in a head where none was found; "" for less than leastML.
func Doubt(r finding.Range) string {
	if r.High.Total < leastML {
		return ""
	}
	return fmt.Sprintf("No hemorrhage at the threshold that was set; at a lower one %s mL would be marked.", Milliliters(r.High.Total))
}

// leastML is the smallest volume worth a comparison: a few voxels change a smaller one by hundreds of percent.
const leastML = 1

// Change says what changed since the prior finding, and why the two may be hard to compare.
func Change(p finding.Prior) string {
	change := math.Round(10*p.ChangeML)/10 + 0 // + 0: no "-0.0"
	s := fmt.Sprintf("Prior finding of %s before: total %s mL; change %+.1f mL", interval(p.Hours), Milliliters(p.Volumes.Total), change)
	if p.Volumes.Total >= leastML {
		s += fmt.Sprintf(" (%+.0f %%)", math.Round(p.ChangePercent)+0)
	}
	s += "."
	if caution := Text(p.Caution, 500); caution != "" {
		s += " " + caution
	}
	return s
}

// interval is in minutes up to one hour, in hours up to two days, then in days.
func interval(hours float64) string {
	if hours < 1 {
		return fmt.Sprintf("%.0f minutes", hours*60)
	}
	if hours < 48 {
		return fmt.Sprintf("%.1f hours", hours)
	}
	return fmt.Sprintf("%.0f days", hours/24)
}
