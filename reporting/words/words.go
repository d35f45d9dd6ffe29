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

// Milliliters formats a volume as exactly as it is known; a trace reads "<0.1".
func Milliliters(v float64) string {
	if v > 0 && v < 0.05 {
		return "<0.1"
	}
	return Rounded(v)
}

// Rounded is a number of millilitres to 0.1 below 10 and to 1 from there on. More digits would claim a precision that no
// measurement on a CT has.
func Rounded(v float64) string {
	if math.Abs(v) < 9.95 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// NotDetected says of a head without marked hemorrhage what the analysis can say, and no more.
const NotDetected = "No intracranial hemorrhage was detected. This does not exclude one."

// Limits says what is not detected in any case. It stands beside each result.
func Limits(f finding.Finding) string {
	least := ""
	if f.LeastLesionML > 0 {
		least = "bleeds below " + strconv.FormatFloat(f.LeastLesionML, 'g', 2, 64) + " mL, "
	}
	return "Not reported or often missed: " + least + "thin layers along the bone, the falx or the tentorium, isodense and chronic blood."
}

// Found sums up a head with hemorrhage in a sentence.
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

// NotAnalyzed says why a study was refused: what was seen, without what an operator can do about it.
func NotAnalyzed(f finding.Finding) string {
	return cmp.Or(Text(cmp.Or(f.Seen, f.Reason), 1000), "No reason is known.")
}

// Lesioned formats the number of lesions. It is a dash where there is hemorrhage but no part of it is large enough to be
// listed as a lesion: a zero beside a volume would look like a contradiction.
func Lesioned(n int, ml float64) string {
	if n == 0 && ml > 0 {
		return "–"
	}
	return strconv.Itoa(n)
}

// Lesions describes the largest lesions, at most most of them, one a line. One more line sums up the others. series is the
// number of the series that was read, 0 where it has none.
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

// Lesion describes one lesion. It leaves out what was not measured: findings of older versions can be written again.
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

// images names the images of a lesion as a viewer numbers them. Slices of a series without numbers are counted from the
// feet.
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

// Bounds says how far the total may be off and, where there are several, each subtype.
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

// Doubt says how much hemorrhage a lower threshold would mark in a head where none was found; "" for less than leastML.
func Doubt(r finding.Range) string {
	if r.High.Total < leastML {
		return ""
	}
	return fmt.Sprintf("A lower threshold would mark %s mL in this head.", Milliliters(r.High.Total))
}

// leastML is the smallest volume worth a comparison: a few voxels change a smaller one by hundreds of percent.
const leastML = 1

// Changed is the change of the total in a few words.
func Changed(p finding.Prior) string {
	return fmt.Sprintf("%s mL in %s (was %s mL)", signed(p.ChangeML), interval(p.Hours), Milliliters(p.Volumes.Total))
}

// Change says what changed since the prior finding, and why the two may be hard to compare.
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

// signed is a rounded change with its sign.
func signed(ml float64) string {
	s := strings.TrimPrefix(Rounded(ml), "-")
	if ml < 0 && strings.Trim(s, "0.") != "" {
		return "-" + s
	}
	return "+" + s
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
