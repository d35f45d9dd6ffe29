package seg

import (
	"slices"

	"ichor/reporting/iod"
)

// pixels packs the frames: one bit a pixel, least significant first, without padding between frames, so that a frame
// may begin in the middle of a byte (PS3.5 §8.1.1, §A.4). The writer pads the end to an even length.
func pixels(c *iod.Case, frames []Frame) []byte {
	n := c.Volume.Rows * c.Volume.Columns
	b := make([]byte, (len(frames)*n+7)/8)
	for i, f := range frames {
		pack(b, i*n, c.Labels.Slice(f.Slice), uint8(f.Subtype))
	}
	return b
}

// pack sets bit first+j of b for each j with labels[j] == value.
func pack(b []byte, first int, labels []uint8, value uint8) {
	for j, l := range labels {
		if l == value {
			bit := first + j
			b[bit/8] |= 1 << (bit % 8)
		}
	}
}

// median is the middle value, the upper one of two.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
