package volume

import "math"

// Distances writes, for each pixel of a slice of rows x columns, the distance in mm to the nearest pixel for which
// target is true, by centres; +Inf where there is none. Exact, in time linear in the pixels (Felzenszwalb and
// Huttenlocher 2012, one axis after the other).
func Distances(rows, columns int, spacingMM [2]float64, target func(i int) bool) []float64 {
	d := make([]float64, rows*columns)
	for i := range d {
		if !target(i) {
			d[i] = math.Inf(1)
		}
	}
	n := max(rows, columns)
	e := envelope{f: make([]float64, n), at: make([]int, n), from: make([]float64, n+1)}
	for c := range columns {
		e.transform(d[c:], rows, columns, spacingMM[0])
	}
	for r := range rows {
		e.transform(d[r*columns:], columns, 1, spacingMM[1])
	}
	for i := range d {
		d[i] = math.Sqrt(d[i])
	}
	return d
}

// envelope is the lower envelope of parabolas, one a sample.
type envelope struct {
	f    []float64
	at   []int
	from []float64
}

// transform replaces n squared distances, stride apart, by the least of f(q) + (step (p-q))^2 over q.
func (e *envelope) transform(d []float64, n, stride int, step float64) {
	for q := range n {
		e.f[q] = d[q*stride]
	}
	k := -1
	w := step * step
	for q := range n {
		if math.IsInf(e.f[q], 1) {
			continue
		}
		s := math.Inf(-1)
		for k >= 0 {
			v := e.at[k]
			s = ((e.f[q] + w*float64(q*q)) - (e.f[v] + w*float64(v*v))) / (2 * w * float64(q-v))
			if s > e.from[k] {
				break
			}
			k--
		}
		if k < 0 {
			s = math.Inf(-1)
		}
		k++
		e.at[k], e.from[k] = q, s
	}
	if k < 0 {
		return
	}
	e.from[k+1] = math.Inf(1)
	j := 0
	for p := range n {
		for e.from[j+1] < float64(p) {
			j++
		}
		q := e.at[j]
		d[p*stride] = e.f[q] + w*float64((p-q)*(p-q))
	}
}

// Open removes from slice s what a disc of radius radiusMM does not fit into, within the slice plane.
func Open(s []uint8, rows, columns int, spacingMM [2]float64, radiusMM float64) {
	reach := math.Sqrt(radiusMM*radiusMM + 1e-6) // a distance of just the radius belongs to the disc
	outside := Distances(rows, columns, spacingMM, func(i int) bool { return s[i] == 0 })
	core := func(i int) bool { return outside[i] > reach }
	near := Distances(rows, columns, spacingMM, core)
	for i := range s {
		if near[i] > reach {
			s[i] = 0
		}
	}
}
