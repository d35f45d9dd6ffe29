// Package hounsfield checks that the values of a volume are Hounsfield units: that soft tissue, bone and air read what they
// read in every head. Headers that say otherwise than the pixels are common after conversions, and a network sees no blood
// in a head that is 1,024 HU too bright.
//
// What is looked at is the histogram of the volume, without fill values: single values at the ends of the range or at zero
// that many voxels have and their neighbours in the histogram do not. A head is in Hounsfield units where a good part of all
// that is denser than air has a peak between -15 and 80 HU (brain at 20 to 45), where bone lies above 300 and mostly below
// 2,200 HU, and where the air, if there is any, lies below -850 HU. The numbers hold for contrast-enhanced heads, with metal,
// with neck and shoulders, with any padding, and without any air.
package hounsfield

import (
	"errors"
	"fmt"
	"math"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

const (
	tissueLo, tissueHi = -15, 80 // HU, brain and muscle
	tissueShare        = 0.15    // of what is denser than air, at least
	notAir             = -300    // HU, above air and most of lung
	airHi              = -850    // HU, the most that air reads
	airShare           = 0.02    // of all voxels; with less there is no air to look at
	boneLo             = 300
	boneHi             = 2200 // bone beyond is metal or enamel
	boneShare          = 0.003
	denseShare         = 0.25     // of the voxels above boneLo that may lie above boneHi
	brainLo, brainHi   = 12, 55   // HU, the peak of soft tissue in a head as it left the scanner
	offset             = 1024     // what is added to Hounsfield units so that they are not negative
	wrap               = 4096     // 12 bits
	wrappedShare       = 0.05     // of all voxels: far more than metal ever takes
	fillShare          = 0.01     // of all voxels that have one value
	stepMM             = 1.5      // voxels nearer to each other within a slice are passed over
	halfWidth          = 10       // HU: the histogram is smoothed by a mean of 21 values
	least              = -1 << 15 // of an int16
)

// ErrUnsigned is returned for a volume in which air has the largest value there is: its pixels are negative numbers of 16 bits
// that were read as positive ones. They have to be read again, as signed.
var ErrUnsigned = errors.New("negative pixels were read as positive ones")

// Check reports whether v is in Hounsfield units. Values that were certainly changed on their way are corrected in v, and a
// warning says so. The error is ErrUnsigned, or a *finding.Refusal with code NotHounsfield that says what was seen.
func Check(v *volume.Volume) (warnings []string, err error) {
	h := count(v)
	switch {
	case h.share(math.MaxInt16, math.MaxInt16) >= wrappedShare:
		return nil, ErrUnsigned
	case h.share(wrap-offset, wrap-1) >= wrappedShare: // -1024 to -1
		fixed := h.moved(func(hu int) int {
			if hu >= wrap/2 && hu < wrap {
				return hu - wrap
			}
			return hu
		})
		if fixed.why() == "" {
			h = fixed
			apply(v, func(hu int16) int16 {
				if hu >= wrap/2 && hu < wrap {
					return max(hu-wrap, volume.AirHU)
				}
				return hu
			})
			warnings = append(warnings, "The pixels are negative numbers of 12 bits that the header calls positive (Pixel Representation 0): air read 3,072 HU. "+
				"They were read as negative; let the sender correct the header.")
		}
	case h.share(least, -100)-h.share(volume.AirHU, volume.AirHU) < 0.01: // nothing is as light as fat, but padding
		fixed := h.moved(func(hu int) int { return max(hu-offset, volume.AirHU) })
		if peak := fixed.peak(); fixed.why() == "" && peak >= brainLo && peak <= brainHi {
			h = fixed
			apply(v, func(hu int16) int16 { return int16(max(int(hu)-offset, volume.AirHU)) })
			warnings = append(warnings, fmt.Sprintf("The pixels are %d above Hounsfield units and the header does not say so (Rescale Intercept): brain read %d. "+
				"%d was subtracted; let the sender correct the header.", offset, peak+offset, offset))
		}
	}
	if why := h.why(); why != "" {
		return nil, finding.Refuse(finding.NotHounsfield, "The pixels are no Hounsfield units: %s (Rescale Slope, Rescale Intercept, Pixel Representation).\n"+
			"Send the original series.", why)
	}
	if peak := h.peak(); peak < brainLo || peak > brainHi {
		warnings = append(warnings, fmt.Sprintf("Soft tissue reads %d HU most often, where brain reads 20 to 45: "+
			"all values may be too low or too high by as much, which alters what is taken for blood.", peak))
	}
	return warnings, nil
}

// apply changes every voxel.
func apply(v *volume.Volume, f func(int16) int16) {
	for i, hu := range v.HU {
		v.HU[i] = f(hu)
	}
}

// histogram counts voxels by HU.
type histogram struct {
	of     []int // from least on
	all    int
	lo, hi int          // the least and the largest value
	fill   map[int]bool // values that stand for no measurement
}

func count(v *volume.Volume) *histogram {
	h := &histogram{of: make([]int, 1<<16)}
	rows, columns := max(1, int(stepMM/v.SpacingMM[0])), max(1, int(stepMM/v.SpacingMM[1]))
	for k := range v.Slices() {
		for r := 0; r < v.Rows; r += rows {
			line := v.Slice(k)[r*v.Columns : (r+1)*v.Columns]
			for c := 0; c < v.Columns; c += columns {
				h.of[int(line[c])-least]++
			}
		}
	}
	h.settle()
	return h
}

// moved is the histogram after f was applied to every voxel.
func (h *histogram) moved(f func(hu int) int) *histogram {
	out := &histogram{of: make([]int, len(h.of))}
	for i, n := range h.of {
		if n > 0 {
			out.of[f(i+least)-least] += n
		}
	}
	out.settle()
	return out
}

// settle finds the ends and the fill values.
func (h *histogram) settle() {
	var levels []int
	h.all, h.fill = 0, map[int]bool{}
	for i, n := range h.of {
		if n > 0 {
			levels = append(levels, i)
			h.all += n
		}
	}
	if len(levels) == 0 {
		return
	}
	last := len(levels) - 1
	h.lo, h.hi = levels[0]+least, levels[last]+least
	for k, i := range levels {
		beside := 0
		if k > 0 {
			beside += h.of[levels[k-1]]
		}
		if k < last {
			beside += h.of[levels[k+1]]
		}
		if hu := i + least; (hu == 0 || k == 0 || k == last) && h.of[i] > 2*beside && float64(h.of[i]) > fillShare*float64(h.all) {
			h.fill[hu] = true
		}
	}
}

// within counts the voxels from lo to hi that are no fill.
func (h *histogram) within(lo, hi int) (n int) {
	for hu := max(lo, h.lo); hu <= min(hi, h.hi); hu++ {
		if !h.fill[hu] {
			n += h.of[hu-least]
		}
	}
	return n
}

// share is the part of all voxels, fill too, from lo to hi.
func (h *histogram) share(lo, hi int) float64 {
	n := 0
	for _, c := range h.of[lo-least : hi-least+1] {
		n += c
	}
	return float64(n) / float64(max(h.all, 1))
}

// smooth is the mean density about hu.
func (h *histogram) smooth(hu int) int { return h.within(hu-halfWidth, hu+halfWidth) }

// peak is the HU that soft tissue has most often.
func (h *histogram) peak() int { return h.highest(tissueLo, tissueHi) }

func (h *histogram) highest(lo, hi int) int {
	best, at := -1, lo
	for hu := lo; hu <= hi; hu++ {
		if n := h.smooth(hu); n > best {
			best, at = n, hu
		}
	}
	return at
}

// why says why this is no head in Hounsfield units, "" where it may be one.
func (h *histogram) why() string {
	dense := h.within(notAir+1, math.MaxInt16)
	if h.share(notAir+1, math.MaxInt16) < airShare {
		return fmt.Sprintf("they lie between %d and %d, and nothing is denser than air", h.lo, h.hi)
	}
	if peak := h.peak(); peak == tissueLo || peak == tissueHi || float64(h.within(tissueLo, tissueHi)) < tissueShare*float64(dense) {
		return fmt.Sprintf("they lie between %d and %d, most of them about %d, and too few have the density of brain (%d to %d)",
			h.lo, h.hi, h.highest(max(notAir, h.lo), h.hi), tissueLo, tissueHi)
	}
	if h.share(boneLo+1, math.MaxInt16)*float64(h.all) < boneShare*float64(dense) {
		return fmt.Sprintf("they end at %d, where bone has more than %d; values were clipped, or are those of a display window", h.hi, boneLo)
	}
	if all, above := h.within(boneLo+1, math.MaxInt16), h.within(boneHi+1, math.MaxInt16); float64(above) > denseShare*float64(all) {
		return fmt.Sprintf("%d %% of the bone is denser than %d", 100*above/all, boneHi)
	}
	if h.share(least, notAir) >= airShare {
		if air := h.air(); air > airHi {
			return fmt.Sprintf("air reads %d", air)
		}
	}
	return ""
}

// air is the value that voxels below notAir have most often.
func (h *histogram) air() int {
	for fill := range h.fill {
		if fill <= airHi {
			return fill
		}
	}
	return h.highest(max(h.lo, volume.AirHU), notAir)
}
