package bleed

import (
	"math"

	"ichor/pipeline/volume"
)

// gather adds slice k to the sums of each part. own is the part of each pixel of the crop, from 1; 0 means none. probability is
// the probability of hemorrhage on the slice, as bytes, in the orientation of the slice.
func (c *crop) gather(of []sums, own []int32, k int, probability []uint8, m middle) {
	ml := c.v.VoxelML(k)
	cavity, hu := c.cavity(k), c.v.Slice(k)
	value := func(i int) float64 { return float64(min(max(hu[c.index(i)], 0), mostHU)) }
	depth := volume.Distances(c.rows, c.columns, c.spacing, func(i int) bool { return !cavity[i] })
	b := c.around(own)
	within, away := b.distances(own, c)
	var here []int32
	for r := b.r0; r < b.r1; r++ {
		for col := b.c0; col < b.c1; col++ {
			i := r*c.columns + col
			p := own[i]
			if p == 0 {
				continue
			}
			s := &of[p]
			if s.rowMax < 0 {
				here = append(here, p)
				s.rowMin, s.columnMin, s.columnMax = r, col, col
			}
			s.rowMin, s.rowMax, s.columnMin, s.columnMax = min(s.rowMin, r), max(s.rowMax, r), min(s.columnMin, col), max(s.columnMax, col)
			chance := float64(probability[c.index(i)]) / 255
			s.ml, s.mass, s.hu = s.ml+ml, s.mass+ml*chance, s.hu+ml*value(i)
			s.peak, s.deepest = max(s.peak, chance), max(s.deepest, min(within[b.at(r, col)], mostMM))
			d := min(depth[i], mostMM)
			s.depth += ml * d
			if d <= tableMM {
				s.table += ml
			}
			middle := m.column(float64(r)*c.spacing[0], c.z[k])
			x := float64(col) * c.spacing[1]
			if math.Abs(x-middle) <= falxMM {
				s.falx += ml
			}
			other := int(math.Floor((2*middle-x)/c.spacing[1] + 0.5 + 1e-9))
			if other < 0 || other >= c.columns || !cavity[r*c.columns+other] {
				continue
			}
			mirrored := value(r*c.columns + other)
			s.mirror, s.mirrorML = s.mirror+ml*mirrored, s.mirrorML+ml
			if mirrored <= liquorHU || own[r*c.columns+other] != 0 {
				s.opposite += ml
			}
		}
	}
	up, side := int(ringToMM/c.spacing[0])+1, int(ringToMM/c.spacing[1])+1
	for _, p := range here {
		s := &of[p]
		for r := max(s.rowMin-up, b.r0); r <= min(s.rowMax+up, b.r1-1); r++ {
			for col := max(s.columnMin-side, b.c0); col <= min(s.columnMax+side, b.c1-1); col++ {
				i, d := r*c.columns+col, away[b.at(r, col)]
				if !cavity[i] || own[i] != 0 || d > ringToMM {
					continue
				}
				hu := value(i)
				if d > ringFromMM {
					s.ring[int(hu)] += ml
				}
				if d <= besideMM {
					s.beside += ml
					if hu <= liquorHU {
						s.liquor += ml
					}
				}
			}
		}
		s.rowMax = -1
	}
}

// box is a rectangle in a slice of the crop, ends excluded.
type box struct{ r0, r1, c0, c1 int }

func (b box) at(row, column int) int { return (row-b.r0)*(b.c1-b.c0) + column - b.c0 }

// around returns the box of the blood on a slice and its surroundings; empty if there is no blood.
func (c *crop) around(own []int32) box {
	b := box{r0: c.rows, c0: c.columns}
	for i, p := range own {
		if p != 0 {
			r, col := i/c.columns, i%c.columns
			b.r0, b.r1, b.c0, b.c1 = min(b.r0, r), max(b.r1, r+1), min(b.c0, col), max(b.c1, col+1)
		}
	}
	up, side := int(ringToMM/c.spacing[0])+1, int(ringToMM/c.spacing[1])+1
	return box{max(b.r0-up, 0), min(b.r1+up, c.rows), max(b.c0-side, 0), min(b.c1+side, c.columns)}
}

// distances returns, for each pixel of the box, the distance to the nearest pixel without blood, and to the nearest with blood.
func (b box) distances(own []int32, c *crop) (within, away []float64) {
	if b.r1 <= b.r0 || b.c1 <= b.c0 {
		return nil, nil
	}
	width := b.c1 - b.c0
	bleeds := func(i int) bool { return own[(b.r0+i/width)*c.columns+b.c0+i%width] != 0 }
	within = volume.Distances(b.r1-b.r0, width, c.spacing, func(i int) bool { return !bleeds(i) })
	away = volume.Distances(b.r1-b.r0, width, c.spacing, bleeds)
	return within, away
}
