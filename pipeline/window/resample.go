package window

import "math"

// axis resamples one axis between n source pixels and the size pixels of the network grid.
//
// Down: target t lies at centre + (t - (size-1)/2) * step in source index coordinates. Source index i has weight
// max(0, 1 - |i - c|/s) with s = max(1, step), divided by the sum over all integers i; outside the image the value is 0.
// Up: source pixel i lies at (i - centre)/step + (size-1)/2 on the network grid and is read there by linear interpolation,
// 0 outside. models/training/ich/product/window.py is the same in Python; change both or neither.
type axis struct {
	first   []int     // down: first source index of each target
	weights []float32 // down: taps weights for each target
	taps    int
	below   []int        // up: lower of the two targets around each source pixel, -1 where it is off the grid
	share   [][2]float32 // up: weight of that target and of the next; 0 off the grid
}

// newAxis: spacing and pixelMM in mm; pixelMM 0 fits the whole image into the grid.
func newAxis(n, size int, spacing, pixelMM, centre float64) axis {
	step := pixelMM / spacing
	if pixelMM <= 0 {
		step, centre = float64(n)/float64(size), float64(n-1)/2
	}
	s := math.Max(1, step)
	a := axis{first: make([]int, size), taps: 2*int(math.Ceil(s)) + 1, below: make([]int, n), share: make([][2]float32, n)}
	a.taps = min(a.taps, n)
	a.weights = make([]float32, size*a.taps)
	half := float64(size-1) / 2
	for t := range size {
		c := centre + (float64(t)-half)*step
		lo, hi := int(math.Ceil(c-s)), int(math.Floor(c+s))
		sum := 0.0
		for i := lo; i <= hi; i++ {
			sum += math.Max(0, 1-math.Abs(float64(i)-c)/s)
		}
		a.first[t] = min(max(lo, 0), n-a.taps)
		for k := range a.taps {
			i := float64(a.first[t] + k)
			a.weights[t*a.taps+k] = float32(math.Max(0, 1-math.Abs(i-c)/s) / sum)
		}
	}
	for i := range n {
		t := (float64(i)-centre)/step + half
		below := int(math.Floor(t))
		w := float32(t - float64(below))
		a.below[i] = min(max(below, -1), size-1)
		if below >= 0 && below < size {
			a.share[i][0] = 1 - w
		}
		if below+1 >= 0 && below+1 < size {
			a.share[i][1] = w
		}
	}
	return a
}
