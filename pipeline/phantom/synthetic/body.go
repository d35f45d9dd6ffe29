package synthetic

import (
	"math"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// Chest is a trunk with lungs, ribs, heart and spine, in slices of 8 mm.
func Chest() *Study {
	const side, mm, step = 128, 3.2, 8.0
	s := &Study{Info: Info{Name: "chest", Description: "Trunk with lungs, ribs, heart and spine."}, Rows: side, Columns: side,
		PixelSpacingMM: [2]float64{mm, mm}, SliceThicknessMM: step, Orientation: [6]float64{1, 0, 0, 0, 1, 0}, AgeYears: 60, Sex: "O", KVP: 120}
	for k := range 36 {
		s.PositionsMM = append(s.PositionsMM, volume.Vec{-mm * (side - 1) / 2, -mm * (side - 1) / 2, step * float64(k)})
	}
	g := s.Grid()
	for k := range g.Slices() {
		for r := range side {
			for c := range side {
				s.HU = append(s.HU, trunk(g.Point(k, float64(r), float64(c))))
			}
		}
	}
	s.Labels = make([]uint8, len(s.HU))
	return s
}

// trunk is the density at p in HU; z runs from 0 at the lowest slice.
func trunk(p volume.Vec) int16 {
	within := func(x, y, rx, ry float64) float64 { return math.Hypot((p[0]-x)/rx, (p[1]-y)/ry) }
	wall := within(0, 0, 160, 105)
	rib := math.Mod(p[2]+0.5*p[1], 26) < 9
	switch {
	case wall > 1:
		return -1000
	case within(0, 78, 16, 18) < 1, within(0, -84, 14, 6) < 1, rib && wall > 0.86 && wall < 0.93: // vertebra, sternum, ribs
		return 450
	case within(22, -22, 46, 38) < 1 && p[2] < 150: // heart
		return 45
	case within(-72, 4, 55, 72) < 1, within(72, 4, 55, 72) < 1:
		return -850
	case wall > 0.93:
		return -90
	}
	return 45
}

// Levels of the figure below the middle of its head, mm.
const (
	neckZ     = -60.0
	shoulderZ = -145.0
	waistZ    = -430.0
	hipZ      = -560.0
)

// anatomy is what lies at p of a patient from head to thigh; the head, with its balls of blood, is centred on the origin.
func anatomy(p volume.Vec, balls []Ball) (hu int16, label uint8) {
	if hu, label := tissue(p, balls); hu > -1000 || p[2] > neckZ {
		return int16(hu), label
	}
	within := func(x, y, rx, ry float64) bool { return math.Hypot((p[0]-x)/rx, (p[1]-y)/ry) < 1 }
	switch {
	case p[2] > shoulderZ: // neck and lower jaw
		jaw := within(0, -20, 60, 65) && !within(0, -20, 50, 55) && p[1] < 0 && p[2] > -100
		switch {
		case jaw, within(0, 40, 14, 14):
			return 600, Outside
		case within(0, -10, 10, 8):
			return -1000, Outside
		case within(0, 10, 62, 66):
			return 50, Outside
		}
	case p[2] > waistZ:
		blades := p[2] > shoulderZ-120 && (within(-120, 60, 50, 8) || within(120, 60, 50, 8) || p[2] > shoulderZ-40 && (within(-165, 10, 24, 24) || within(165, 10, 24, 24)))
		if blades {
			return 500, Outside
		}
		return trunk(volume.Vec{p[0], p[1], p[2] - waistZ}), Outside
	case p[2] > hipZ: // abdomen
		switch {
		case within(0, 70, 20, 18):
			return 450, Outside
		case within(0, 0, 150, 100):
			return 50, Outside
		case within(0, 0, 165, 110):
			return -90, Outside
		}
	default: // pelvis: a ring of bone around soft tissue
		switch {
		case within(0, 10, 125, 85) && !within(0, 10, 112, 72):
			return 500, Outside
		case within(0, 0, 155, 105):
			return 50, Outside
		case within(0, 0, 175, 115):
			return -90, Outside
		}
	}
	return -1000, Outside
}

// Figure is a patient from the top of its head to mm below it, in slices of 5 mm and a field of view of 460 mm.
func Figure(mm float64) *Study {
	const side, pixel, step = 256, 1.8, 5.0
	s := &Study{Info: Info{Name: "figure", Description: "Head, neck and trunk."}, Rows: side, Columns: side, PixelSpacingMM: [2]float64{pixel, pixel},
		SliceThicknessMM: step, Orientation: [6]float64{1, 0, 0, 0, 1, 0}, AgeYears: 60, Sex: "O", KVP: 120}
	for z := 80 - mm; z <= 80; z += step {
		s.PositionsMM = append(s.PositionsMM, volume.Vec{-pixel * (side - 1) / 2, -pixel * (side - 1) / 2, z})
	}
	balls := []Ball{{finding.IPH, volume.Vec{-25, 10, 0}, 20}}
	g := s.Grid()
	for k := range g.Slices() {
		for r := range side {
			for c := range side {
				hu, label := anatomy(g.Point(k, float64(r), float64(c)), balls)
				s.HU, s.Labels = append(s.HU, hu), append(s.Labels, label)
			}
		}
	}
	s.tally()
	return s
}
