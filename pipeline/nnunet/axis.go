package nnunet

import "math"

// axis resamples between n samples of the source and m of the network. Samples are the middles of cells: network sample t lies at
// (t + 0.5) n/m - 0.5 of the source, as skimage.transform.resize and scipy.ndimage.zoom with grid_mode have it.
type axis struct {
	n, m    int
	in, out []float64 // source index of each network sample; network index of each source sample
	nearest bool
}

func newAxis(n, m int) axis {
	a := axis{n: n, m: m, in: make([]float64, m), out: make([]float64, n)}
	for t := range a.in {
		a.in[t] = float64(n)/float64(m)*(float64(t)+0.5) - 0.5
	}
	for k := range a.out {
		a.out[k] = float64(m)/float64(n)*(float64(k)+0.5) - 0.5
	}
	return a
}

// newUnevenAxis is for source samples at positions z, rising, in mm. The first and the last cell reach as far out as in.
func newUnevenAxis(z []float64, spacingMM float64) axis {
	n := len(z)
	low, high := z[0]-(z[1]-z[0])/2, z[n-1]+(z[n-1]-z[n-2])/2
	a := axis{n: n, m: samples(high-low, spacingMM), out: make([]float64, n)}
	cell := (high - low) / float64(a.m)
	k := 0
	for t := range a.m {
		at := low + (float64(t)+0.5)*cell
		for k < n-2 && at > z[k+1] {
			k++
		}
		a.in = append(a.in, min(max(float64(k)+(at-z[k])/(z[k+1]-z[k]), -0.5), float64(n)-0.5))
	}
	for i := range a.out {
		a.out[i] = (z[i]-low)/cell - 0.5
	}
	return a
}

// samples is the number of network samples for an extent; nnU-Net rounds to even.
func samples(extentMM, spacingMM float64) int {
	return max(int(math.RoundToEven(extentMM/spacingMM)), 1)
}

// same reports whether there is nothing to resample.
func (a *axis) same() bool {
	if a.n != a.m {
		return false
	}
	for t, x := range a.in {
		if math.Abs(x-float64(t)) > 1e-9 {
			return false
		}
	}
	return true
}

// near is the source sample nearest to network sample t.
func (a *axis) near(t int) int { return min(max(int(math.Floor(a.in[t]+0.5)), 0), a.n-1) }

// between returns the network samples around source sample k and the weight of the second.
func (a *axis) between(k int) (first, second int, weight float32) {
	if a.nearest {
		t := min(max(int(math.Floor(a.out[k]+0.5)), 0), a.m-1)
		return t, t, 0
	}
	x := min(max(a.out[k], 0), float64(a.m-1))
	t := int(x)
	if x == float64(t) {
		return t, t, 0
	}
	return t, t + 1, float32(x - float64(t))
}

// edge is how many samples the source is continued by on either side, with its last value: scipy does the same.
const edge = 12

// cubic resamples the first axis of src, n x width, into dst, m x width, with cubic B-splines. coefficients is scratch.
func (a *axis) cubic(dst, src []float32, width int, coefficients []float32) []float32 {
	const pole = -0.26794919243112270647 // sqrt(3) - 2
	n := a.n + 2*edge
	if cap(coefficients) < n*width {
		coefficients = make([]float32, n*width)
	}
	c := coefficients[:n*width]
	line := func(i int) []float32 { return c[i*width : (i+1)*width] }
	for i := range n {
		from := min(max(i-edge, 0), a.n-1)
		to := line(i)
		for j, x := range src[from*width : (from+1)*width] {
			to[j] = 6 * x
		}
	}
	first := line(0)
	for j := range first {
		first[j] /= 1 - pole
	}
	for i := 1; i < n; i++ {
		before, here := line(i-1), line(i)
		for j := range here {
			here[j] += pole * before[j]
		}
	}
	last := line(n - 1)
	for j := range last {
		last[j] *= pole / (pole - 1)
	}
	for i := n - 2; i >= 0; i-- {
		here, after := line(i), line(i+1)
		for j := range here {
			here[j] = pole * (after[j] - here[j])
		}
	}
	for t, x := range a.in {
		at := int(math.Floor(x))
		f := x - float64(at)
		w := [4]float32{
			float32((1 - f) * (1 - f) * (1 - f) / 6), float32((4 - 6*f*f + 3*f*f*f) / 6),
			float32((1 + 3*f + 3*f*f - 3*f*f*f) / 6), float32(f * f * f / 6),
		}
		p := [4][]float32{}
		for i := range p {
			p[i] = line(min(max(at-1+i+edge, 0), n-1))
		}
		to := dst[t*width : (t+1)*width]
		p0, p1, p2, p3 := p[0][:width], p[1][:width], p[2][:width], p[3][:width]
		for j := range to {
			to[j] = w[0]*p0[j] + w[1]*p1[j] + w[2]*p2[j] + w[3]*p3[j]
		}
	}
	return coefficients
}
