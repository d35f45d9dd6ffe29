package selection

import (
	"fmt"

	"ichor/pipeline/finding"
)

// Limits of the most frequent value inside the skull, in HU. Brain has 18 to 38 in heads of adults with and without atrophy; children
// at birth have a few HU less, contrast agent adds some, and scanners differ by up to 8. Values beyond these limits have another
// offset or slope.
const (
	brainLo, brainHi   = 10, 50
	usualLo, usualHi   = 16, 46
	brainFrom, brainTo = -60, 140 // values that are counted
	brainHalf          = 5        // the histogram is smoothed by a mean of 11 values
)

// brain is the histogram of what skulls enclose.
type brain [brainTo - brainFrom + 1]int

func (b *brain) add(p *picture, inside func(int) bool) {
	for i, hu := range p.hu {
		if hu >= brainFrom && hu <= brainTo && inside(i) {
			b[hu-brainFrom]++
		}
	}
}

// peak returns the most frequent value in HU.
func (b *brain) peak() int {
	most, at := -1, 0
	for i := brainHalf; i < len(b)-brainHalf; i++ {
		n := 0
		for _, c := range b[i-brainHalf : i+brainHalf+1] {
			n += c
		}
		if n > most {
			most, at = n, i
		}
	}
	return at + brainFrom
}

// check refuses values that brain does not have, and warns of unusual ones.
func (b *brain) check() (warnings []string, err error) {
	peak := b.peak()
	if peak < brainLo || peak > brainHi {
		return nil, finding.Refuse(finding.NotHounsfield, "The pixels are not in Hounsfield units: the most frequent value inside the skull is %d HU; brain has %d to %d "+
			"(Rescale Slope, Rescale Intercept).\nSend the original series.", peak, usualLo, usualHi)
	}
	if peak < usualLo || peak > usualHi {
		warnings = append(warnings, fmt.Sprintf("The most frequent value inside the skull is %d HU; brain has %d to %d. All values may be too low or too high by this difference, "+
			"which changes what is detected as blood.", peak, usualLo, usualHi))
	}
	return warnings, nil
}
