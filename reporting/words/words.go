// Package words has the product's sentences about a finding, so that secondary captures, structured reports and the dashboard
// use the same words.
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

// Milliliters formats a volume as Rounded does, and a trace as "<0.1".
func Milliliters(v float64) string {
	if v > 0 && v < 0.05 {
		return "<0.1"
	}
	return Rounded(v)
}

// Rounded formats a volume in millilitres with one decimal below 10 and none from 10 on. A measurement on a CT is not more
// precise.
func Rounded(v float64) string {
	if math.Abs(v) < 9.95 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// NotDetected is the result for a head in which no hemorrhage was marked.
const NotDetected = "No intracranial hemorrhage was detected. This does not exclude one."

// Limits returns the limits of detection, which are stated with each result.
func Limits(f finding.Finding) string {
	least := ""
	if f.LeastLesionML > 0 {
		least = "bleeds below " + strconv.FormatFloat(f.LeastLesionML, 'g', 2, 64) + " mL, "
	}
	return "Not reported or often missed: " + least + "thin layers along the bone, the falx or the tentorium, isodense and chronic blood."
}

// Found summarizes a head with hemorrhage in one sentence.
func Found(f finding.Finding) string {
	volume := Milliliters(f.Volumes.Total) + " mL in total"
	switch n := len(f.Lesions); n {
	case 0:
		return "Intracranial hemorrhage was detected: " + volume + ", in parts too small to be listed."
	case 1:
		return "Intracranial hemorrhage was detected: 1 lesion, " + volume + "."
	default:
		return fmt.Sprintf("Intracranial hemorrhage was detected: %d lesions, %s.", n, volume)
	}
}

// NotAnalyzed returns why a study was refused, without the advice for operators.
func NotAnalyzed(f finding.Finding) string {
	return cmp.Or(Text(cmp.Or(f.Seen, f.Reason), 1000), "No reason is known.")
}

// Lesioned formats the number of lesions. It returns a dash if there is hemorrhage but no part is large enough to be a lesion:
// a zero beside a volume would look like a contradiction.
func Lesioned(n int, ml float64) string {
	if n == 0 && ml > 0 {
		return "–"
	}
	return strconv.Itoa(n)
}

// Lesions describes up to most lesions, the largest first, one a line, and sums up the others in one more line. series is the
// number of the analysed series, 0 if it has none.
func Lesions(all []finding.Lesion, series, most int) []string {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b finding.Lesion) int { return cmp.Compare(b.VolumeML, a.VolumeML) })
	shown := min(most, len(sorted))
	var out []string
	for _, l := range sorted[:shown] {
		out = append(out, Lesion(l, series))
	}
	if rest := sorted[shown:]; len(rest) > 0 {
		var ml float64
		for _, l := range rest {
			ml += l.VolumeML
		}
		out = append(out, fmt.Sprintf("Smaller lesions that are not described: %d, together %s mL.", len(rest), Milliliters(ml)))
	}
	return out
}

// Lesion describes one lesion. It omits what was not measured, because findings of older versions have fewer measurements.
func Lesion(l finding.Lesion, series int) string {
	s := fmt.Sprintf("%s %s mL", l.Subtype, Milliliters(l.VolumeML))
	if p := Text(l.Position, 200); p != "" {
		s += ", " + p + " (approximate)"
	}
	switch {
	case l.WidthMM > 0:
		s += fmt.Sprintf(", %.0f x %.0f mm", l.MaxDiameterMM, l.WidthMM)
	case l.MaxDiameterMM > 0:
		s += fmt.Sprintf(", %.0f mm across", l.MaxDiameterMM)
	}
	if l.ABC2ML > 0 {
		s += ", ABC/2 " + Milliliters(l.ABC2ML) + " mL"
	}
	return s + ", " + images(l, series) + "."
}

// images returns the numbers of the images of a lesion as viewers show them. In a series without numbers it counts the slices
// from the feet.
func images(l finding.Lesion, series int) string {
	what, from, to, of := "image", l.Images[0], l.Images[1], ""
	if series > 0 {
		of = fmt.Sprintf(" of series %d", series)
	}
	if from <= 0 {
		what, from, to, of = "slice", l.Slices[0]+1, l.Slices[1]+1, " counted from the feet"
	}
	if from == to {
		return fmt.Sprintf("%s %d%s", what, from, of)
	}
	return fmt.Sprintf("%ss %d to %d%s", what, from, to, of)
}

// MinBoundML is the smallest upper bound of a subtype that is shown.
const MinBoundML = 0.05

// Bounds returns the range of the total and, if there are several subtypes, of each subtype.
func Bounds(r finding.Range) string {
	var each []string
	for _, k := range finding.Kinds {
		if r.High.Of(k) >= MinBoundML {
			each = append(each, fmt.Sprintf("%s %s to %s", k, Milliliters(r.Low.Of(k)), Milliliters(r.High.Of(k))))
		}
	}
	s := fmt.Sprintf("The total may lie between %s and %s mL, from the threshold and partial volume", Milliliters(r.Low.Total), Milliliters(r.High.Total))
	if len(each) > 1 {
		s += " (" + strings.Join(each, ", ") + ")"
	}
	return s + ". This is not a confidence interval."
}

// Doubt says how much hemorrhage a lower threshold would mark in a head without detected hemorrhage; "" below leastML.
func Doubt(r finding.Range) string {
	if r.High.Total < leastML {
		return ""
	}
	return fmt.Sprintf("A lower threshold would mark %s mL in this head.", Milliliters(r.High.Total))
}

// leastML is the smallest volume that is compared: a few voxels change smaller ones by hundreds of percent.
const leastML = 1

// Changed returns the change of the total in a few words.
func Changed(p finding.Prior) string {
	return fmt.Sprintf("%s mL in %s (was %s mL)", signed(p.ChangeML), interval(p.Hours), Milliliters(p.Volumes.Total))
}

// Change describes the change since the prior finding, with a caution if the two are hard to compare.
func Change(p finding.Prior) string {
	s := fmt.Sprintf("Prior study %s earlier: total %s mL; change %s mL", interval(p.Hours), Milliliters(p.Volumes.Total), signed(p.ChangeML))
	if p.Volumes.Total >= leastML {
		s += fmt.Sprintf(" (%+.0f %%)", math.Round(p.ChangePercent)+0)
	}
	s += "."
	if caution := Text(p.Caution, 500); caution != "" {
		s += " " + caution
	}
	return s
}

// signed formats a rounded change with its sign.
func signed(ml float64) string {
	s := strings.TrimPrefix(Rounded(ml), "-")
	if ml < 0 && strings.Trim(s, "0.") != "" {
		return "-" + s
	}
	return "+" + s
}

// interval formats a time in minutes below one hour, in hours below two days, otherwise in days.
func interval(hours float64) string {
	if hours < 1 {
		return fmt.Sprintf("%.0f minutes", hours*60)
	}
	if hours < 48 {
		return fmt.Sprintf("%.1f hours", hours)
	}
	return fmt.Sprintf("%.0f days", hours/24)
}
