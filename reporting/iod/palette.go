package iod

import (
	"image/color"
	"math"
)

// CIELab is c as Recommended Display CIELab Value: L* from 0..100 and a*, b* from -128..127 scaled to 0..65535
// (PS3.3 §C.10.7.1.1). The white point is that of sRGB, D65, which the viewers assume when they turn it back.
func CIELab(c color.RGBA) [3]int64 {
	linear := func(v uint8) float64 {
		f := float64(v) / 255
		if f > 0.04045 {
			return math.Pow((f+0.055)/1.055, 2.4)
		}
		return f / 12.92
	}
	r, g, b := linear(c.R), linear(c.G), linear(c.B)
	f := func(t float64) float64 {
		if t > 216.0/24389 {
			return math.Cbrt(t)
		}
		return t*841/108 + 4.0/29
	}
	x := f((0.4124*r + 0.3576*g + 0.1805*b) / 0.95047)
	y := f(0.2126*r + 0.7152*g + 0.0722*b)
	z := f((0.0193*r + 0.1192*g + 0.9505*b) / 1.08883)
	scale := func(v, low, high float64) int64 {
		return int64(math.Round(min(max((v-low)/(high-low), 0), 1) * 65535))
	}
	return [3]int64{scale(116*y-16, 0, 100), scale(500*(x-y), -128, 127), scale(200*(y-z), -128, 127)}
}
