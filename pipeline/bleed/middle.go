package bleed

import (
	"math"
	"slices"
)

// middle is the sagittal plane: column = a + b row + c z, in mm from the first column, row and slice of the crop.
type middle struct{ a, b, c float64 }

func (m middle) column(row, z float64) float64 { return m.a + m.b*row + m.c*z }

// middle fits the sagittal plane half way between the left and the right wall of the cavity, over the slices on which the cavity
// has at least half of its largest area: least squares in three rounds, each without the outliers of the previous one.
func (c *crop) middle() middle {
	const wide, few = 60.0, 20
	largest, left, right := 0, c.columns, -1
	bySlice, areas := make([][][3]float64, len(c.z)), make([]int, len(c.z)) // points: row, z, column
	for k := range c.z {
		plane := c.cavity(k)
		for r := range c.rows {
			row := plane[r*c.columns : (r+1)*c.columns]
			first := slices.Index(row, true)
			if first < 0 {
				continue
			}
			last := first
			for i, in := range row[first:] {
				if in {
					areas[k]++
					last = first + i
				}
			}
			left, right = min(left, first), max(right, last)
			if float64(last-first)*c.spacing[1] > wide {
				bySlice[k] = append(bySlice[k], [3]float64{float64(r) * c.spacing[0], c.z[k], float64(first+last) / 2 * c.spacing[1]})
			}
		}
		largest = max(largest, areas[k])
	}
	var points [][3]float64
	for k, area := range areas {
		if 2*area >= largest {
			points = append(points, bySlice[k]...)
		}
	}
	if len(points) < few {
		if right < 0 {
			left, right = 0, c.columns-1
		}
		return middle{a: float64(left+right) / 2 * c.spacing[1]}
	}
	var row0, z0 float64
	for _, p := range points {
		row0, z0 = row0+p[0], z0+p[1]
	}
	row0, z0 = row0/float64(len(points)), z0/float64(len(points))
	keep := make([]bool, len(points))
	for i := range keep {
		keep[i] = true
	}
	off := make([]float64, len(points))
	var fit [3]float64
	for range 3 {
		var m [3][4]float64
		m[1][1], m[2][2] = 1e-6, 1e-6
		for i, p := range points {
			if !keep[i] {
				continue
			}
			d := [4]float64{1, p[0] - row0, p[1] - z0, p[2]}
			for r := range 3 {
				for s := range 4 {
					m[r][s] += d[r] * d[s]
				}
			}
		}
		fit = solve(m)
		for i, p := range points {
			off[i] = math.Abs(fit[0] + fit[1]*(p[0]-row0) + fit[2]*(p[1]-z0) - p[2])
		}
		limit := max(2.5*slices.Sorted(slices.Values(off))[len(off)/2], 0.5)
		for i := range keep {
			keep[i] = off[i] <= limit
		}
	}
	return middle{fit[0] - fit[1]*row0 - fit[2]*z0, fit[1], fit[2]}
}

// solve solves three equations with a symmetric positive definite matrix by Gaussian elimination.
func solve(m [3][4]float64) (x [3]float64) {
	for p := range 3 {
		for r := p + 1; r < 3; r++ {
			f := m[r][p] / m[p][p]
			for s := p; s < 4; s++ {
				m[r][s] -= f * m[p][s]
			}
		}
	}
	for p := 2; p >= 0; p-- {
		x[p] = m[p][3]
		for s := p + 1; s < 3; s++ {
			x[p] -= m[p][s] * x[s]
		}
		x[p] /= m[p][p]
	}
	return x
}
