package synthetic

import (
	"math"
	"math/rand/v2"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// Ball is a bleed of the analytic head.
type Ball struct {
	Subtype  finding.Subtype
	CentreMM volume.Vec // patient coordinates; the head is centred on the origin
	RadiusMM float64
}

// Shape is an analytic head: an ellipsoid of brain in a skull of 6 mm and a scalp of 5 mm, with balls of blood. The
// patient's right and left differ: a calcification of 8 mm lies 30 mm to the left of the middle.
type Shape struct {
	Rows, Columns  int          // 0 is 128
	PixelSpacingMM float64      // between columns; 0 is 1.7
	RowSpacingMM   float64      // 0 is PixelSpacingMM
	PositionsMM    []volume.Vec // 0 is 32 slices, 5 mm apart
	Orientation    [6]float64   // zero is rows to the left, columns to the back
	Balls          []Ball
	Seed           uint64 // of the noise
}

// Half axes of the brain in mm: left to right, front to back, feet to head. 1,357 mL.
var brain = volume.Vec{65, 77, 64.7}

// Head renders shape. The same shape gives the same voxels.
func Head(shape Shape) *Study {
	s := &Study{Info: Info{Name: "analytic", Description: "Ellipsoid of brain with balls of blood."},
		Rows: shape.Rows, Columns: shape.Columns, PixelSpacingMM: [2]float64{shape.PixelSpacingMM, shape.PixelSpacingMM},
		SliceThicknessMM: 5, Orientation: shape.Orientation, PositionsMM: shape.PositionsMM, AgeYears: 60, Sex: "O", KVP: 120}
	if s.Rows == 0 {
		s.Rows, s.Columns = 128, 128
	}
	if s.PixelSpacingMM[0] == 0 {
		s.PixelSpacingMM = [2]float64{1.7, 1.7}
	}
	if shape.RowSpacingMM != 0 {
		s.PixelSpacingMM[0] = shape.RowSpacingMM
	}
	if s.Orientation == [6]float64{} {
		s.Orientation = [6]float64{1, 0, 0, 0, 1, 0}
	}
	g := s.Grid()
	if len(s.PositionsMM) == 0 {
		corner := g.AlongRow.Scale(-float64(s.Columns-1) / 2 * s.PixelSpacingMM[1]).Add(g.AlongColumn.Scale(-float64(s.Rows-1) / 2 * s.PixelSpacingMM[0]))
		for k := range 32 {
			s.PositionsMM = append(s.PositionsMM, corner.Add(g.Normal().Scale(5*float64(k)-77.5)))
		}
	}
	g = s.Grid()
	s.render(&g, shape)
	s.tally()
	return s
}

func (s *Study) render(g *volume.Grid, shape Shape) {
	noise := rand.New(rand.NewPCG(shape.Seed, 1))
	for k := range g.Slices() {
		for r := range s.Rows {
			for c := range s.Columns {
				hu, label := tissue(g.Point(k, float64(r), float64(c)), shape.Balls)
				s.HU = append(s.HU, int16(math.Round(math.Max(hu+3*noise.NormFloat64(), -1024))))
				s.Labels = append(s.Labels, label)
			}
		}
	}
}

// tissue is what lies at p.
func tissue(p volume.Vec, balls []Ball) (hu float64, label uint8) {
	reach := func(extra float64) bool {
		d := 0.0
		for i := range p {
			d += p[i] * p[i] / ((brain[i] + extra) * (brain[i] + extra))
		}
		return d <= 1
	}
	switch {
	case reach(0):
		for _, b := range balls {
			if p.Sub(b.CentreMM).Length() <= b.RadiusMM {
				return 65, Cavity + uint8(b.Subtype)
			}
		}
		if p.Sub(volume.Vec{30, 0, 0}).Length() <= 8 {
			return 140, Cavity
		}
		return 32, Cavity
	case reach(6):
		return 900, Outside
	case reach(11):
		return 40, Outside
	}
	return -1000, Outside
}
