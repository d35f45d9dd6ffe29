// Package hounsfield checks that the values of a volume are Hounsfield units: that soft tissue, bone and air have the values
// that they have in every head. After conversions, headers often do not match the pixels, and a network finds no blood in a
// head that is 1,024 HU too bright.
//
// It compares each slice with its neighbours, see checkSlices, and the whole with what a head has.
//
// For the whole it uses the histogram of the volume without fill values. A fill value is at an end of the range or zero, and has many voxels
// while the neighbouring values have few. A head is in Hounsfield units if a large part of everything denser than air has a
// peak between -15 and 80 HU (brain has 20 to 45), if bone is above 300 and mostly below 2,200 HU, and if air, if there is
// any, is below -850 HU. These limits also hold for heads with contrast agent, metal, neck and shoulders, any padding, and no
// air.
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
	tissueShare        = 0.15    // minimum, of everything denser than air
	notAir             = -300    // HU, above air and most lung tissue
	airHi              = -850    // HU, the maximum for air
	airShare           = 0.02    // of all voxels; with less, air is not checked
	boneLo             = 300
	boneHi             = 2200 // above this it is metal or enamel
	boneShare          = 0.003
	denseShare         = 0.25     // maximum, of the voxels above boneLo that are above boneHi
	brainLo, brainHi   = 12, 55   // HU, the peak of soft tissue in an unchanged head
	offset             = 1024     // added to Hounsfield units by some software so that they are not negative
	wrap               = 4096     // 12 bits
	wrappedShare       = 0.05     // of all voxels: far more than metal has
	fillShare          = 0.01     // of all voxels, for a single value
	clippedShare       = 0.1      // of all voxels that have the smallest value, if that is denser than air
	stepMM             = 1.5      // distance of the sampled voxels within a slice
	halfWidth          = 10       // HU: the histogram is smoothed by a mean of 21 values
	least              = -1 << 15 // of int16
)

// ErrUnsigned: air has the largest possible value, because negative 16-bit pixels were read as unsigned. Read them again as
// signed.
var ErrUnsigned = errors.New("negative pixels were read as unsigned")

// Check checks whether v is in Hounsfield units. It corrects values that were certainly changed and returns a warning for
// each correction. The error is ErrUnsigned, or a *finding.Refusal with code NotHounsfield.
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
			warnings = append(warnings, "The header declares negative 12-bit pixels as unsigned (Pixel Representation 0), so that air would have 3,072 HU. "+
				"They were read as signed; the sender should correct the header.")
		}
	case h.share(least, -100)-h.share(volume.AirHU, volume.AirHU) < 0.01: // apart from padding, nothing is as light as fat
		fixed := h.moved(func(hu int) int { return max(hu-offset, volume.AirHU) })
		if peak := fixed.peak(); fixed.why() == "" && peak >= brainLo && peak <= brainHi {
			h = fixed
			apply(v, func(hu int16) int16 { return int16(max(int(hu)-offset, volume.AirHU)) })
			warnings = append(warnings, fmt.Sprintf("The pixels are %d above Hounsfield units, which the Rescale Intercept in the header does not take off: brain has %d. "+
				"%d was subtracted; the sender should correct the header.", offset, peak+offset, offset))
		}
	}
	if hi := h.hi; h.fill[hi] && hi > boneHi && h.share(hi, hi) >= wrappedShare { // padding that the header does not declare
		lighter := func(hu int) int {
			if hu == hi {
				return volume.AirHU
			}
			return hu
		}
		if fixed := h.moved(lighter); fixed.why() == "" {
			h = fixed
			apply(v, func(hu int16) int16 { return int16(lighter(int(hu))) })
			warnings = append(warnings, fmt.Sprintf("%d HU fill a part of the images, such as the corners, without a Pixel Padding Value in the header. "+
				"They were read as air; the sender should correct the header.", hi))
		}
	}
	odd, err := checkSlices(v)
	if err != nil {
		return nil, err
	}
	warnings = append(warnings, odd...)
	if why := h.why(); why != "" {
		return nil, finding.Refuse(finding.NotHounsfield, "The pixels are not in Hounsfield units: %s (Rescale Slope, Rescale Intercept, Pixel Representation, Bits Stored).\n"+
			"Send the original series.", why)
	}
	if peak := h.peak(); peak < brainLo || peak > brainHi {
		warnings = append(warnings, fmt.Sprintf("The most frequent value of soft tissue is %d HU; brain has 20 to 45. "+
			"All values may be too low or too high by this difference, which changes what is detected as blood.", peak))
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
	of     []int // index 0 is least
	all    int
	lo, hi int          // smallest and largest value
	fill   map[int]bool // values that are not measurements
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

// moved returns the histogram with f applied to every voxel.
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

// settle finds the smallest and largest value and the fill values.
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

// within counts the voxels from lo to hi without fill values.
func (h *histogram) within(lo, hi int) (n int) {
	for hu := max(lo, h.lo); hu <= min(hi, h.hi); hu++ {
		if !h.fill[hu] {
			n += h.of[hu-least]
		}
	}
	return n
}

// share returns the fraction of all voxels, including fill values, that are from lo to hi.
func (h *histogram) share(lo, hi int) float64 {
	n := 0
	for _, c := range h.of[lo-least : hi-least+1] {
		n += c
	}
	return float64(n) / float64(max(h.all, 1))
}

// smooth counts the voxels around hu.
func (h *histogram) smooth(hu int) int { return h.within(hu-halfWidth, hu+halfWidth) }

// peak returns the most frequent HU of soft tissue.
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

// why returns why this cannot be a head in Hounsfield units, "" if it can.
func (h *histogram) why() string {
	dense := h.within(notAir+1, math.MaxInt16)
	if h.share(notAir+1, math.MaxInt16) < airShare {
		return fmt.Sprintf("they are between %d and %d, and nothing is denser than air", h.lo, h.hi)
	}
	if peak := h.peak(); peak == tissueLo || peak == tissueHi || float64(h.within(tissueLo, tissueHi)) < tissueShare*float64(dense) {
		return fmt.Sprintf("they are between %d and %d, most of them about %d, and too few have the density of brain (%d to %d)",
			h.lo, h.hi, h.highest(max(notAir, h.lo), h.hi), tissueLo, tissueHi)
	}
	if h.share(boneLo+1, math.MaxInt16)*float64(h.all) < boneShare*float64(dense) {
		return fmt.Sprintf("the largest is %d, but bone has more than %d; the values were clipped or are those of a display window", h.hi, boneLo)
	}
	if all, above := h.within(boneLo+1, math.MaxInt16), h.within(boneHi+1, math.MaxInt16); float64(above) > denseShare*float64(all) {
		return fmt.Sprintf("%d %% of the bone is denser than %d", 100*above/all, boneHi)
	}
	if share := h.share(h.lo, h.lo); h.lo > airHi && share >= clippedShare {
		return fmt.Sprintf("the smallest is %d, in %.0f %% of all pixels, but air has less than %d; the values were clipped", h.lo, 100*share, airHi)
	}
	if h.share(least, notAir) >= airShare {
		if air := h.air(); air > airHi {
			return fmt.Sprintf("air has %d", air)
		}
	}
	return ""
}

// air returns the most frequent value below notAir.
func (h *histogram) air() int {
	for fill := range h.fill {
		if fill <= airHi {
			return fill
		}
	}
	return h.highest(max(h.lo, volume.AirHU), notAir)
}
