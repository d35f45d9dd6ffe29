package synthetic

import (
	"math"

	"ichor/pipeline/volume"
)

// Streaked has a rod of metal of 10 mm at p, and rays from it, dark and bright, in every slice.
func (s *Study) Streaked(p volume.Vec) *Study {
	out, g := *s, s.Grid()
	out.HU = append([]int16(nil), s.HU...)
	n := s.Rows * s.Columns
	for i, hu := range s.HU {
		at := g.Point(i/n, float64(i%n/s.Columns), float64(i%s.Columns))
		y, x := at[1]-p[1], at[0]-p[0]
		switch d := math.Hypot(y, x); {
		case hu < -900: // air
		case d < 5:
			out.HU[i] = 3071
		case d < 70:
			out.HU[i] = int16(math.Max(math.Min(float64(hu)+350*math.Cos(8*math.Atan2(y, x))*math.Exp(-d/25), 3071), -1024))
		}
	}
	return &out
}

// Shaken has every other slice moved by mm along its rows.
func (s *Study) Shaken(mm float64) *Study {
	out := *s
	out.HU, out.Labels = append([]int16(nil), s.HU...), append([]uint8(nil), s.Labels...)
	shift := int(math.Round(mm / s.PixelSpacingMM[1]))
	for row := range len(s.PositionsMM) * s.Rows {
		if row/s.Rows%2 == 0 {
			continue
		}
		first, end := row*s.Columns, (row+1)*s.Columns
		copy(out.HU[first+shift:end], s.HU[first:end-shift])
		copy(out.Labels[first+shift:end], s.Labels[first:end-shift])
	}
	return &out
}
