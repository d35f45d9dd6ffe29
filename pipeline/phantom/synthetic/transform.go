package synthetic

import (
	"math"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// What follows makes of one head the same head as other scanners and protocols send it. Each returns a new study whose
// truth is that of its own voxels.

// Turn says how rows and columns of a slice are renumbered: first swapped, then run the other way.
type Turn struct{ Swap, Rows, Columns bool }

// Turned numbers rows and columns otherwise; every voxel stays where it is in the patient.
func (s *Study) Turned(t Turn) *Study {
	out := *s
	g := s.Grid()
	along := [2]volume.Vec{g.AlongColumn, g.AlongRow} // of rising row, of rising column
	if t.Swap {
		out.Rows, out.Columns = s.Columns, s.Rows
		along[0], along[1] = along[1], along[0]
		out.PixelSpacingMM[0], out.PixelSpacingMM[1] = s.PixelSpacingMM[1], s.PixelSpacingMM[0]
	}
	var shift volume.Vec
	if t.Rows {
		shift = shift.Add(along[0].Scale(float64(out.Rows-1) * out.PixelSpacingMM[0]))
		along[0] = along[0].Scale(-1)
	}
	if t.Columns {
		shift = shift.Add(along[1].Scale(float64(out.Columns-1) * out.PixelSpacingMM[1]))
		along[1] = along[1].Scale(-1)
	}
	copy(out.Orientation[:3], along[1][:])
	copy(out.Orientation[3:], along[0][:])
	out.PositionsMM = nil
	for _, p := range s.PositionsMM {
		out.PositionsMM = append(out.PositionsMM, p.Add(shift))
	}
	out.HU, out.Labels = make([]int16, len(s.HU)), make([]uint8, len(s.Labels))
	for i := range s.HU {
		k, r, c := i/(s.Rows*s.Columns), i/s.Columns%s.Rows, i%s.Columns
		if t.Swap {
			r, c = c, r
		}
		if t.Rows {
			r = out.Rows - 1 - r
		}
		if t.Columns {
			c = out.Columns - 1 - c
		}
		at := (k*out.Rows+r)*out.Columns + c
		out.HU[at], out.Labels[at] = s.HU[i], s.Labels[i]
	}
	return &out
}

// FeetFirst is the patient lying feet first: the image shows the left on its left.
func (s *Study) FeetFirst() *Study { return s.Turned(Turn{Columns: true}) }

// Tilted has the gantry tilted by degrees, the upper edge towards the feet where they are positive: the table still
// moves along the patient, so that the stack is sheared. As many slices as cover the head lie as far apart, along their normal,
// as those of s in the median.
func (s *Study) Tilted(degrees float64) *Study {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	g := s.Grid()
	out := plane(g.Rows, g.Columns, g.SpacingMM, volume.Vec{1, 0, 0}, volume.Vec{0, cos, sin})
	step := g.MedianGap()
	lo, hi := s.reach()
	reach := 80 * math.Abs(sin/cos) // the half length of a head rises by this along the table
	for at := lo - reach; at <= hi+reach; at += step / cos {
		out.Origins = append(out.Origins, centred(&out, volume.Vec{0, 0, at}.Add(s.axis())))
	}
	return s.Resampled(out, s.SliceThicknessMM)
}

// Resliced has slices at the given distances in mm along the normal from the first one.
func (s *Study) Resliced(atMM []float64, thicknessMM float64) *Study {
	g := s.Grid()
	n, first := g.Normal(), g.Origins[0]
	g.Origins = nil
	for _, mm := range atMM {
		g.Origins = append(g.Origins, first.Add(n.Scale(mm)))
	}
	return s.Resampled(g, thicknessMM)
}

// Thin has slices of mm one against the other.
func (s *Study) Thin(mm float64) *Study {
	g := s.Grid()
	var at []float64
	for z := 0.0; z <= g.Origins[len(g.Origins)-1].Sub(g.Origins[0]).Dot(g.Normal()); z += mm {
		at = append(at, z)
	}
	return s.Resliced(at, mm)
}

// Uneven has the slices of the lower half half as far apart as those above.
func (s *Study) Uneven() *Study {
	g := s.Grid()
	end := g.Origins[len(g.Origins)-1].Sub(g.Origins[0]).Dot(g.Normal())
	var at []float64
	for z := 0.0; z <= end; {
		at = append(at, z)
		if z < end/2 {
			z += g.MedianGap() / 2
		} else {
			z += g.MedianGap()
		}
	}
	return s.Resliced(at, s.SliceThicknessMM)
}

// Scaled is the head at another size.
func (s *Study) Scaled(by float64) *Study {
	out := *s
	out.PixelSpacingMM = [2]float64{s.PixelSpacingMM[0] * by, s.PixelSpacingMM[1] * by}
	out.SliceThicknessMM *= by
	out.PositionsMM = nil
	for _, p := range s.PositionsMM {
		out.PositionsMM = append(out.PositionsMM, p.Scale(by))
	}
	out.tally()
	return &out
}

// Only has some of the slices.
func (s *Study) Only(slices ...int) *Study {
	out := *s
	n := s.Rows * s.Columns
	out.PositionsMM, out.HU, out.Labels = nil, nil, nil
	for _, k := range slices {
		out.PositionsMM = append(out.PositionsMM, s.PositionsMM[k])
		out.HU = append(out.HU, s.HU[k*n:(k+1)*n]...)
		out.Labels = append(out.Labels, s.Labels[k*n:(k+1)*n]...)
	}
	out.tally()
	return &out
}

// Coronal reformats the head: slices from front to back, 5 mm apart.
func (s *Study) Coronal() *Study {
	g := s.Grid()
	lo, hi := s.reach()
	rows := int(math.Ceil((hi - lo) / s.PixelSpacingMM[0]))
	out := plane(rows, s.Columns, s.PixelSpacingMM, volume.Vec{1, 0, 0}, volume.Vec{0, 0, -1})
	corner, far := g.Point(0, 0, 0), g.Point(0, float64(s.Rows-1), float64(s.Columns-1))
	for y := corner[1]; y <= far[1]; y += 5 {
		out.Origins = append(out.Origins, volume.Vec{corner[0], y, hi})
	}
	return s.Resampled(out, 5)
}

// Matrix has other rows and columns, of pixels of other size, around the same middle.
func (s *Study) Matrix(rows, columns int, spacingMM [2]float64) *Study {
	g := s.Grid()
	out := plane(rows, columns, spacingMM, g.AlongRow, g.AlongColumn)
	for k := range g.Origins {
		out.Origins = append(out.Origins, centred(&out, g.Point(k, float64(g.Rows-1)/2, float64(g.Columns-1)/2)))
	}
	return s.Resampled(out, s.SliceThicknessMM)
}

// Rolled has the image turned by degrees within its plane, against the patient, and its header says so.
func (s *Study) Rolled(degrees float64) *Study {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	g := s.Grid()
	out := plane(g.Rows, g.Columns, g.SpacingMM, g.AlongRow.Scale(cos).Add(g.AlongColumn.Scale(sin)), g.AlongColumn.Scale(cos).Add(g.AlongRow.Scale(-sin)))
	for k := range g.Origins {
		out.Origins = append(out.Origins, centred(&out, g.Point(k, float64(g.Rows-1)/2, float64(g.Columns-1)/2)))
	}
	return s.Resampled(out, s.SliceThicknessMM)
}

// HeadTurned has the patient's head turned by degrees in the head rest, which no header tells.
func (s *Study) HeadTurned(degrees float64) *Study {
	out := s.Rolled(degrees)
	out.Orientation, out.PositionsMM = s.Orientation, s.PositionsMM
	return out
}

func plane(rows, columns int, spacingMM [2]float64, alongRow, alongColumn volume.Vec) volume.Grid {
	return volume.Grid{Rows: rows, Columns: columns, SpacingMM: spacingMM, AlongRow: alongRow, AlongColumn: alongColumn}
}

// centred is the origin of a slice of g whose middle is p.
func centred(g *volume.Grid, p volume.Vec) volume.Vec {
	return p.Sub(g.AlongRow.Scale(float64(g.Columns-1) / 2 * g.SpacingMM[1])).Sub(g.AlongColumn.Scale(float64(g.Rows-1) / 2 * g.SpacingMM[0]))
}

// axis is the middle of the first slice, at height 0.
func (s *Study) axis() volume.Vec {
	g := s.Grid()
	p := g.Point(0, float64(g.Rows-1)/2, float64(g.Columns-1)/2)
	p[2] = 0
	return p
}

// reach is the height of the lowest and the highest slice.
func (s *Study) reach() (lo, hi float64) {
	return s.PositionsMM[0][2], s.PositionsMM[len(s.PositionsMM)-1][2]
}

// Resampled reads the head on another grid: HU by linear interpolation in three directions, labels from the nearest
// voxel. Beside s there is air; above and below it the first and the last slice go on.
func (s *Study) Resampled(to volume.Grid, thicknessMM float64) *Study {
	out := *s
	out.Rows, out.Columns, out.PixelSpacingMM, out.SliceThicknessMM, out.PositionsMM = to.Rows, to.Columns, to.SpacingMM, thicknessMM, to.Origins
	copy(out.Orientation[:3], to.AlongRow[:])
	copy(out.Orientation[3:], to.AlongColumn[:])
	n := to.Rows * to.Columns
	out.HU, out.Labels = make([]int16, n*len(to.Origins)), make([]uint8, n*len(to.Origins))
	from := s.Grid()
	normal := from.Normal()
	var heights []float64
	for _, o := range from.Origins {
		heights = append(heights, o.Dot(normal))
	}
	for i := range out.HU {
		p := to.Point(i/n, float64(i/to.Columns%to.Rows), float64(i%to.Columns))
		k, share := between(heights, p.Dot(normal))
		lower, label := s.at(&from, k, p)
		hu := lower
		if share > 0 {
			upper, other := s.at(&from, k+1, p)
			hu += share * (upper - lower)
			if share > 0.5 {
				label = other
			}
		}
		out.HU[i], out.Labels[i] = int16(math.Round(hu)), label
	}
	out.tally()
	return &out
}

// between finds the slices around height h: the lower one, and how far h lies on the way to the next.
func between(heights []float64, h float64) (k int, share float64) {
	for k+1 < len(heights) && heights[k+1] <= h {
		k++
	}
	if k+1 == len(heights) || h <= heights[0] {
		return k, 0
	}
	return k, (h - heights[k]) / (heights[k+1] - heights[k])
}

// at reads slice k at p, moved along the normal into it.
func (s *Study) at(g *volume.Grid, k int, p volume.Vec) (hu float64, label uint8) {
	d := p.Sub(g.Origins[k])
	r, c := d.Dot(g.AlongColumn)/g.SpacingMM[0], d.Dot(g.AlongRow)/g.SpacingMM[1]
	r0, c0 := int(math.Floor(r)), int(math.Floor(c))
	a, b := r-float64(r0), c-float64(c0)
	for i, w := range [4]float64{(1 - a) * (1 - b), (1 - a) * b, a * (1 - b), a * b} {
		y, x := r0+i/2, c0+i%2
		if y < 0 || x < 0 || y >= s.Rows || x >= s.Columns {
			hu += w * volume.AirHU
			continue
		}
		hu += w * float64(s.HU[(k*s.Rows+y)*s.Columns+x])
	}
	if y, x := int(math.Round(r)), int(math.Round(c)); y >= 0 && x >= 0 && y < s.Rows && x < s.Columns {
		label = s.Labels[(k*s.Rows+y)*s.Columns+x]
	}
	return hu, label
}

// tally measures the truth from the labels.
func (s *Study) tally() {
	g := s.Grid()
	labels, cavity := s.Truth()
	s.CavityML, s.TruthML = cavity.VolumeML(&g), finding.Volumes{}
	for _, t := range finding.Subtypes {
		ml := 0.0
		for k := range labels.Slices() {
			n := 0
			for _, l := range labels.Slice(k) {
				if l == uint8(t) {
					n++
				}
			}
			ml += float64(n) * g.VoxelML(k)
		}
		s.TruthML.Set(t, ml)
		s.TruthML.Total += ml
	}
}
