package selection

import (
	"math"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/volume"
)

// drawn is a volume of 128 x 128 pixels of mm, slices 5 mm apart, centred on the origin; hu says what lies at a point.
func drawn(mm float64, slices int, hu func(p volume.Vec) int16) *volume.Volume {
	v := &volume.Volume{Grid: volume.Grid{Rows: 128, Columns: 128, SpacingMM: [2]float64{mm, mm},
		AlongRow: volume.Vec{1, 0, 0}, AlongColumn: volume.Vec{0, 1, 0}}}
	for k := range slices {
		v.Origins = append(v.Origins, volume.Vec{-63.5 * mm, -63.5 * mm, 5*float64(k) - 2.5*float64(slices-1)})
	}
	v.SupportMM = volume.Support(v.Gaps(), 5)
	for k := range slices {
		for r := range 128 {
			for c := range 128 {
				v.HU = append(v.HU, hu(v.Point(k, float64(r), float64(c))))
			}
		}
	}
	return v
}

// ellipse reports whether p lies in an upright elliptic cylinder.
func ellipse(p volume.Vec, x, y, a, b float64) bool {
	return (p[0]-x)*(p[0]-x)/(a*a)+(p[1]-y)*(p[1]-y)/(b*b) <= 1
}

func chest(p volume.Vec) int16 {
	rib := math.Mod(math.Atan2(p[1], p[0])+p[2]/40+10, 0.5) < 0.3 // oblique, so that a slice crosses many
	switch {
	case ellipse(p, 0, 80, 20, 18) && !ellipse(p, 0, 85, 9, 7):
		return 400 // vertebra, around its canal
	case ellipse(p, 10, -20, 45, 40):
		return 45 // heart
	case ellipse(p, -65, 0, 55, 75), ellipse(p, 65, 0, 55, 75):
		return -850
	case ellipse(p, 0, 0, 145, 100) && !ellipse(p, 0, 0, 137, 92) && rib:
		return 600
	case ellipse(p, 0, 0, 160, 115):
		return -90
	}
	return -1000
}

func abdomen(p volume.Vec) int16 {
	switch {
	case chest(p) >= 400:
		return chest(p) // ribs go on below
	case ellipse(p, 0, 0, 137, 92):
		return 55
	}
	return chest(p)
}

func neck(p volume.Vec) int16 {
	switch {
	case ellipse(p, 0, 10, 14, 12) && !ellipse(p, 0, 22, 10, 7):
		return 500
	case ellipse(p, 0, -25, 10, 8):
		return -1000 // airway
	case ellipse(p, 0, 0, 60, 60):
		return 50
	}
	return -1000
}

// face is a jaw in front, a vertebra behind, and the air and fat between.
func face(p volume.Vec) int16 {
	jaw := ellipse(p, 0, -10, 60, 65) && !ellipse(p, 0, -10, 50, 55) && p[1] < 10
	switch {
	case jaw, ellipse(p, 0, 40, 14, 12):
		return 900
	case ellipse(p, 0, -20, 20, 20):
		return -1000
	case ellipse(p, 0, 0, 60, 60):
		return map[bool]int16{true: -90, false: 55}[math.Mod(p[0]+100, 10) < 4]
	case ellipse(p, 0, 0, 75, 85):
		return -60
	}
	return -1000
}

func TestCheckHead(t *testing.T) {
	s := synthetic.Head(synthetic.Shape{})
	changed := func(change func(p volume.Vec, hu int16) int16) *volume.Volume {
		g := s.Grid()
		v := &volume.Volume{Grid: g}
		for i, hu := range s.HU {
			n := g.Rows * g.Columns
			v.HU = append(v.HU, change(g.Point(i/n, float64(i%n/g.Columns), float64(i%g.Columns)), hu))
		}
		return v
	}
	part := func(from, to int) *volume.Volume {
		g := s.Grid()
		n := g.Rows * g.Columns
		g.Origins, g.SupportMM = g.Origins[from:to], g.SupportMM[from:to]
		return &volume.Volume{Grid: g, HU: s.HU[from*n : to*n]}
	}
	cropped := func(rows, columns int) *volume.Volume {
		c := s.Matrix(rows, columns, s.PixelSpacingMM)
		return &volume.Volume{Grid: c.Grid(), HU: c.HU}
	}
	for _, c := range []struct {
		name     string
		v        *volume.Volume
		head     bool
		warnings int
	}{
		{"head", part(0, 32), true, 0},
		{"craniectomy", changed(func(p volume.Vec, hu int16) int16 {
			if hu > 250 && p[0] > 20 && math.Abs(p[1]) < 45 {
				return 40
			}
			return hu
		}), true, 0},
		{"vertex cut off", part(0, 22), true, 1},
		{"base cut off", part(10, 32), true, 1},
		{"both cut off", part(10, 22), true, 2},
		{"sides outside the field of view", cropped(128, 64), true, 1},
		{"back outside the field of view", cropped(92, 128), true, 1},
		{"vertex alone", part(25, 32), false, 0},
		{"no bone", changed(func(_ volume.Vec, hu int16) int16 { return min(hu, 60) }), false, 0},
		{"air in a ring", changed(func(_ volume.Vec, hu int16) int16 { return map[bool]int16{true: hu, false: -1000}[hu > 250] }), false, 0},
		{"fat in a ring", changed(func(_ volume.Vec, hu int16) int16 { return map[bool]int16{true: hu, false: -90}[hu > 250] }), false, 0},
		{"half a skull", changed(func(p volume.Vec, hu int16) int16 {
			if hu > 250 && p[0] > 0 {
				return 40
			}
			return hu
		}), false, 0},
		{"chest", drawn(2.7, 40, chest), false, 0},
		{"upper abdomen", drawn(2.7, 40, abdomen), false, 0},
		{"neck", drawn(1.7, 40, neck), false, 0},
		{"face", drawn(1.7, 30, face), false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, named := range []bool{true, false} {
				warnings, err := CheckHead(c.v, named)
				refusal, _ := err.(*finding.Refusal)
				if c.head != (err == nil) || !c.head && (refusal == nil || refusal.Code != finding.NoHeadCT) || len(warnings) != c.warnings {
					t.Errorf("named %v: %v, warnings %q; want a head: %v, %d warnings", named, err, warnings, c.head, c.warnings)
				}
			}
		})
	}
}

// Thin slices and fine pixels are looked at in coarse steps, with the same outcome.
func TestCheckHeadFine(t *testing.T) {
	fine := synthetic.Shape{Rows: 220, Columns: 180, PixelSpacingMM: 0.95}
	for k := range 100 {
		fine.PositionsMM = append(fine.PositionsMM, volume.Vec{-85, -104, 1.6*float64(k) - 80})
	}
	s := synthetic.Head(fine)
	if warnings, err := CheckHead(&volume.Volume{Grid: s.Grid(), HU: s.HU}, false); err != nil || len(warnings) != 0 {
		t.Errorf("%q %v", warnings, err)
	}
}

func TestShippedHeadsAreHeads(t *testing.T) {
	for _, name := range []string{"mixed", "normal"} {
		s, err := phantom.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if warnings, err := CheckHead(&volume.Volume{Grid: s.Grid(), HU: s.HU}, false); err != nil || len(warnings) != 0 {
			t.Errorf("%s: %q %v", name, warnings, err)
		}
	}
}
