package nnunet

import "math"

// half is a floating-point number of 16 bits (IEEE 754 binary16). nnU-Net keeps sums of logits and of their weights in this
// precision. Sums of float32 are more exact, but then voxels near the decision are not those of nnU-Net: measured in
// docs/performance.md.
type half uint16

// largest is the largest finite half: 65504.
const largest half = 0x7bff

// toHalf rounds to the nearest half, to the even one of two. What is too large becomes the largest finite one.
func toHalf(x float32) half {
	b := math.Float32bits(x)
	sign := half(b>>16) & 0x8000
	b &^= 1 << 31
	switch {
	case b >= 0x477ff000: // 65520
		return sign | largest
	case b < 0x38800000: // below 2^-14 a half is a multiple of 2^-24, which is the last bit of a float32 from 0.5 to 1
		return sign | half(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
	}
	b += 0xfff + b>>13&1
	return sign | half((b-0x38000000)>>13)
}

func (h half) float() float32 {
	m := uint32(h &^ 0x8000)
	if m < 0x400 {
		x := float32(m) * 0x1p-24
		if h&0x8000 != 0 {
			return -x
		}
		return x
	}
	return math.Float32frombits(uint32(h&0x8000)<<16 | (m<<13 + 0x38000000))
}
