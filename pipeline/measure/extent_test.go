package measure

import (
	"math"
	"math/rand/v2"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// diameterOf is the largest diameter of what m has on its one slice.
func diameterOf(m *volume.Mask, g *volume.Grid) float64 {
	runs := volume.ComponentsOf(m, volume.Corners, 0).Runs
	if len(runs) == 0 {
		return 0
	}
	return newCut(runs, g).diameterMM
}

func TestDiameterIsThatOfAllCorners(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 300 {
		g := grid(1+rng.IntN(9), 1+rng.IntN(9), 5)
		m := volume.NewMask(g)
		var corners [][2]float64
		for i := range m.Voxels {
			if rng.IntN(3) == 0 {
				m.Voxels[i] = 1
				r, c := float64(i/g.Columns), float64(i%g.Columns)
				for _, d := range [][2]float64{{-.5, -.5}, {-.5, .5}, {.5, -.5}, {.5, .5}} {
					corners = append(corners, [2]float64{(r + d[0]) * 2, c + d[1]})
				}
			}
		}
		want := 0.0
		for _, a := range corners {
			for _, b := range corners {
				want = math.Max(want, math.Hypot(a[0]-b[0], a[1]-b[1]))
			}
		}
		if got := diameterOf(m, g); math.Abs(got-want) > 1e-9 {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}

// turned is a stack of slices with the given directions and gaps whose middle voxel lies at the origin; shear moves each
// slice along its columns, as a tilted gantry does.
func turned(rows, columns int, spacing [2]float64, alongRow, alongColumn volume.Vec, shear float64, gaps ...float64) *volume.Grid {
	g := &volume.Grid{Rows: rows, Columns: columns, SpacingMM: spacing, AlongRow: alongRow, AlongColumn: alongColumn}
	height := 0.0
	for k := range len(gaps) + 1 {
		if k > 0 {
			height += gaps[k-1]
		}
		g.Origins = append(g.Origins, g.Normal().Scale(height).Add(alongColumn.Scale(shear*height)))
	}
	middle := g.Origins[len(gaps)/2].Add(alongRow.Scale(spacing[1] * float64(columns/2))).Add(alongColumn.Scale(spacing[0] * float64(rows/2)))
	for k := range g.Origins {
		g.Origins[k] = g.Origins[k].Sub(middle)
	}
	g.SupportMM = volume.Support(gaps, 5)
	return g
}

func even(n int, gap float64) []float64 {
	gaps := make([]float64, n)
	for i := range gaps {
		gaps[i] = gap
	}
	return gaps
}

// oblique is a pair of directions turned by the angles about x, then z.
func oblique(x, z float64) (alongRow, alongColumn volume.Vec) {
	turn := func(v volume.Vec) volume.Vec {
		v = volume.Vec{v[0], v[1]*math.Cos(x) - v[2]*math.Sin(x), v[1]*math.Sin(x) + v[2]*math.Cos(x)}
		return volume.Vec{v[0]*math.Cos(z) - v[1]*math.Sin(z), v[0]*math.Sin(z) + v[1]*math.Cos(z), v[2]}
	}
	return turn(volume.Vec{1, 0, 0}), turn(volume.Vec{0, 1, 0})
}

// The box is that of the eight corners of each voxel, whatever way the slices lie; the reference takes every voxel.
func TestExtentIsThatOfAllVoxelCorners(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 100 {
		r, c := oblique(rng.Float64()-0.5, 6*rng.Float64())
		gaps := []float64{2 + rng.Float64(), 3 + rng.Float64(), 1 + 5*rng.Float64()}
		g := turned(5, 6, [2]float64{1 + rng.Float64(), 0.5 + rng.Float64()}, r, c, rng.Float64()-0.5, gaps...)
		m := volume.NewMask(g)
		low, high := volume.Vec{1e9, 1e9, 1e9}, volume.Vec{-1e9, -1e9, -1e9}
		reaches := [][2]float64{{gaps[0] / 2, gaps[0] / 2}, {gaps[0] / 2, gaps[1] / 2}, {gaps[1] / 2, gaps[2] / 2}, {gaps[2] / 2, gaps[2] / 2}}
		for i := range m.Voxels {
			if rng.IntN(12) != 0 {
				continue
			}
			m.Voxels[i] = 1
			k, row, column := i/30, float64(i/6%5), float64(i%6)
			for corner := range 8 {
				d := func(bit int) float64 { return float64(corner>>bit&1) - 0.5 }
				p := g.Point(k, row+d(0), column+d(1))
				if corner>>2 == 0 {
					p = p.Sub(g.Normal().Scale(reaches[k][0]))
				} else {
					p = p.Add(g.Normal().Scale(reaches[k][1]))
				}
				for a := range p {
					low[a], high[a] = math.Min(low[a], p[a]), math.Max(high[a], p[a])
				}
			}
		}
		runs := volume.ComponentsOf(m, volume.Corners, 0).Runs
		if len(runs) == 0 {
			continue
		}
		got := extent(runs, g)
		for a := range got {
			if math.Abs(got[a]-(high[a]-low[a])) > 1e-9 {
				t.Fatalf("extent %v, want %v", got, high.Sub(low))
			}
		}
	}
}

// paint fills an ellipsoid around the origin, half axes along the patient's.
func paint(g *volume.Grid, s finding.Subtype, half volume.Vec) *volume.Mask {
	m := volume.NewMask(g)
	for k := range g.Slices() {
		for i := range g.Rows * g.Columns {
			p := g.Point(k, float64(i/g.Columns), float64(i%g.Columns))
			if math.Hypot(math.Hypot(p[0]/half[0], p[1]/half[1]), p[2]/half[2]) <= 1 {
				m.Slice(k)[i] = uint8(s)
			}
		}
	}
	return m
}

// An ellipsoid measures what its half axes say, in whatever way it was cut: the box is that of the patient's axes.
func TestEllipsoid(t *testing.T) {
	half := volume.Vec{12, 20, 16}
	trueML := 4 * math.Pi / 3 * half[0] * half[1] * half[2] / 1000
	flip := volume.Vec{-1, 0, 0}
	tiltedRow, tiltedColumn := oblique(0.3, 0)
	for _, c := range []struct {
		name string
		g    *volume.Grid
	}{
		{"axial", turned(121, 121, [2]float64{0.4, 0.4}, volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0}, 0, even(40, 1)...)},
		{"mirrored, turned", turned(121, 121, [2]float64{0.4, 0.4}, volume.Vec{0, -1, 0}, flip, 0, even(40, 1)...)},
		{"gantry tilt", turned(141, 121, [2]float64{0.4, 0.4}, tiltedRow, tiltedColumn, 0.3, even(60, 1)...)},
		{"pixels not square", turned(61, 161, [2]float64{0.8, 0.3}, volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0}, 0, even(40, 1)...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := paint(c.g, finding.IPH, half)
			all := Lesions(m, nil, m, c.g, MinLesionML)
			if len(all) != 1 {
				t.Fatalf("%d lesions", len(all))
			}
			l := all[0]
			if math.Abs(l.VolumeML-trueML) > 0.02*trueML {
				t.Errorf("%v mL, want %v", l.VolumeML, trueML)
			}
			for a := range half {
				if math.Abs(l.ExtentMM[a]-2*half[a]) > 1.6 {
					t.Errorf("extent %v, want twice %v", l.ExtentMM, half)
				}
			}
			if c.name == "gantry tilt" {
				return // its slices cut the ellipsoid aslant
			}
			if math.Abs(l.MaxDiameterMM-40) > 1 || math.Abs(l.WidthMM-24) > 1 {
				t.Errorf("%v x %v mm, want 40 x 24", l.MaxDiameterMM, l.WidthMM)
			}
			// The formula is that of an ellipsoid but for pi/6 being 1/2; the height is what the weights change.
			height := 2 * half[2]
			if abc := l.MaxDiameterMM * l.WidthMM * height / 2000; math.Abs(abc-trueML) > 0.05*trueML {
				t.Errorf("A*B*height/2 %v mL, want %v", abc, trueML)
			}
			// Slices within half of the half height have more than 75 % of the area, within 0.866 more than 25 %.
			weighted := height * (0.5 + math.Sqrt(0.75)) / 2
			if want := 40.0 * 24 * weighted / 2000; math.Abs(l.ABC2ML-want) > 0.05*want {
				t.Errorf("ABC/2 %v mL, want %v", l.ABC2ML, want)
			}
		})
	}
}

func TestABC2(t *testing.T) {
	of := func(area, support float64) cut {
		return cut{areaMM2: area, supportMM: support, diameterMM: area / 10, widthMM: 10}
	}
	for _, c := range []struct {
		name string
		cuts []cut
		want float64 // mL
	}{
		{"nothing", nil, 0},
		{"one slice", []cut{of(400, 5)}, 40 * 10 * 5 / 2000.0},
		{"whole, half, none", []cut{of(400, 5), of(301, 5), of(300, 5), of(100, 5), of(99, 5)}, 40 * 10 * (5 + 5 + 2.5 + 2.5) / 2000.0},
		{"each its own support", []cut{of(400, 5), of(390, 2)}, 40 * 10 * 7 / 2000.0},
	} {
		if got := abc2(c.cuts); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v mL, want %v", c.name, got, c.want)
		}
	}
}
