package selection

import (
	"fmt"
	"math"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// Criteria for the space that a skull encloses, in one slice.
const (
	skullHU      = 200
	edgeHU       = -200 // above air and padding
	minEnclosed  = 30.0 // cm2
	maxEnclosed  = 300.0
	tissueShare  = 0.6  // of what a closed ring encloses, between -20 and 90 HU
	openShare    = 0.85 // the same where a part of the ring is missing
	openRing     = 0.75 // of all directions in which bone is seen
	minSkullSpan = 25.0 // mm of slices
	minCut       = 10.0 // mm of slices in which the head reaches the edge of the image
	minLargest   = 50.0 // cm2: of the largest slice; a child at birth has more
	cutAbove     = 45.0 // cm2 in the last slice: the vertex lies above it
	cutBelow     = 75.0 // cm2 in the first one: the foramen magnum lies below it
	edgeMM       = 25.0 // of tissue without a gap along the edge of the image, bone in it: the head goes on beyond
	coarseMM     = 2.0  // pixels are taken together up to this size, which also closes sutures
	stepMM       = 2.0  // slices nearer than this to the last one looked at are passed over
	reachMM      = 115  // half the length of a head, and bone
)

// CheckHead checks whether the pixels show a head: rings of bone around an area of the size of a brain, filled with tissue of
// its density, over some centimetres, and whether its most frequent value is that of brain. Ribs, pelvis, vertebrae and the face do not enclose such an area. A quarter of the ring
// may be missing, as after a craniectomy. named: the headers name a head. The error is a *finding.Refusal; an incomplete head
// gives a warning.
func CheckHead(v *volume.Volume, named bool) (warnings []string, err error) {
	return check(v, named, minSkullSpan)
}

// CheckPart is CheckHead for a part of a head, which may be one slice.
func CheckPart(v *volume.Volume, named bool) error {
	_, err := check(v, named, 0)
	return err
}

func check(v *volume.Volume, named bool, leastSpanMM float64) (warnings []string, err error) {
	span, cut, largest, waiting, since := 0.0, 0.0, 0.0, 0.0, math.Inf(1)
	last := v.Slices() - 1
	var lowest, highest float64
	var inside brain
	for k := range v.Slices() {
		waiting += v.SupportMM[k]
		if since += v.SupportMM[k]; since < stepMM && k != last {
			continue
		}
		p := coarse(v, k)
		outside := p.reachesEdge() // before enclosed, which fills the ring
		area := p.enclosed(&inside)
		if area > 0 {
			span += waiting
			if outside {
				cut += waiting
			}
		}
		largest, waiting, since = math.Max(largest, area), 0, 0
		if k == 0 {
			lowest = area
		}
		highest = area
	}
	if span < leastSpanMM || largest < minLargest {
		reason := "Nothing says that the series shows a head, and no skull is seen in it.\n" +
			"Route only head CT here, or name the head in Body Part Examined or Series Description."
		if named {
			reason = "The series is described as a head, but its pixels show no skull around a brain: another part of the body, or hidden by metal or movement.\n" +
				"Send the series of the head, or read it without ichor."
		}
		return nil, finding.Refuse(finding.NoHeadCT, "%s", reason)
	}
	if warnings, err = inside.check(); err != nil {
		return nil, err
	}
	if cut >= minCut {
		warnings = append(warnings, fmt.Sprintf("The skull reaches the edge of the image over %.0f mm: part of the head is outside the field of view and not in the result.", cut))
	}
	if highest > cutAbove {
		warnings = append(warnings, fmt.Sprintf("The analysed slices do not include the top of the head: the uppermost one still shows %.0f cm2 inside the skull. "+
			"The part above it is not in the result.", highest))
	}
	if lowest > cutBelow {
		warnings = append(warnings, fmt.Sprintf("The analysed slices do not include the base of the head: the lowest one still shows %.0f cm2 inside the skull. "+
			"The part below it is not in the result.", lowest))
	}
	return warnings, nil
}

// picture is one slice with coarse pixels.
type picture struct {
	ring  volume.Mask // 1 is bone
	hu    []int16     // of the pixel in the middle
	mm    [2]float64  // between rows, between columns
	bones int
}

func coarse(v *volume.Volume, k int) *picture {
	step := [2]int{max(1, int(math.Round(coarseMM/v.SpacingMM[0]))), max(1, int(math.Round(coarseMM/v.SpacingMM[1])))}
	p := &picture{mm: [2]float64{v.SpacingMM[0] * float64(step[0]), v.SpacingMM[1] * float64(step[1])}}
	p.ring.Rows, p.ring.Columns = v.Rows/step[0], v.Columns/step[1]
	p.ring.Voxels, p.hu = make([]uint8, p.ring.Rows*p.ring.Columns), make([]int16, p.ring.Rows*p.ring.Columns)
	all := v.Slice(k)
	for r := range p.ring.Rows {
		for c := range p.ring.Columns {
			i := r*p.ring.Columns + c
			p.hu[i] = all[(r*step[0]+step[0]/2)*v.Columns+c*step[1]+step[1]/2]
			for y := range step[0] {
				for _, x := range all[(r*step[0]+y)*v.Columns+c*step[1]:][:step[1]] {
					if x > skullHU {
						p.ring.Voxels[i] = 1
					}
				}
			}
			p.bones += int(p.ring.Voxels[i])
		}
	}
	return p
}

// reachesEdge reports whether the head extends beyond the edge of the image: a run of tissue with bone along the edge. A head
// holder is thin, and nose and ears have no bone.
func (p *picture) reachesEdge() bool {
	rows, columns := p.ring.Rows, p.ring.Columns
	along := func(n, first, step int, mm float64) bool {
		run, bone := 0.0, false
		for i := range n {
			at := first + i*step
			if p.hu[at] <= edgeHU && p.ring.Voxels[at] == 0 {
				run, bone = 0, false
				continue
			}
			run, bone = run+mm, bone || p.ring.Voxels[at] != 0
			if bone && run >= edgeMM {
				return true
			}
		}
		return false
	}
	return along(columns, 0, 1, p.mm[1]) || along(columns, (rows-1)*columns, 1, p.mm[1]) ||
		along(rows, 0, columns, p.mm[0]) || along(rows, columns-1, columns, p.mm[0])
}

// enclosed returns the area in cm2 that a skull encloses, and adds its voxels to b; 0 if there is none.
func (p *picture) enclosed(b *brain) float64 {
	if p.bones == 0 {
		return 0
	}
	bone := append([]uint8(nil), p.ring.Voxels...)
	volume.FillHoles(&p.ring)
	inside := func(i int) bool { return p.ring.Voxels[i] != 0 && bone[i] == 0 }
	if area := p.tissue(inside, -20, tissueShare); area > 0 {
		b.add(p, inside)
		return area
	}
	within := p.open(bone)
	if within == nil {
		return 0
	}
	inside = func(i int) bool { return bone[i] == 0 && within(i) }
	area := p.tissue(inside, -10, openShare)
	if area > 0 {
		b.add(p, inside)
	}
	return area
}

// tissue returns the area in cm2 where inside is true, if it has the size of a brain and enough of it is tissue.
func (p *picture) tissue(inside func(int) bool, lo int16, share float64) float64 {
	n, soft := 0, 0
	for i, x := range p.hu {
		if inside(i) {
			n++
			if x >= lo && x <= 90 {
				soft++
			}
		}
	}
	area := float64(n) * p.mm[0] * p.mm[1] / 100
	if area < minEnclosed || area > maxEnclosed || float64(soft) < share*float64(n) {
		return 0
	}
	return area
}

// open returns the outline of a skull with a gap: the farthest bone in each direction from the centre of all bone, with straight
// lines across gaps. It returns nil if there is bone in too few directions.
func (p *picture) open(bone []uint8) (within func(i int) bool) {
	const directions = 72
	polar := func(i int, row, column float64) (sector int, mm float64) {
		y, x := (float64(i/p.ring.Columns)-row)*p.mm[0], (float64(i%p.ring.Columns)-column)*p.mm[1]
		return int((math.Atan2(y, x)/math.Pi+1)/2*directions) % directions, math.Hypot(y, x)
	}
	row, column := 0.0, 0.0
	for i, b := range bone {
		if b != 0 {
			row, column = row+float64(i/p.ring.Columns)/float64(p.bones), column+float64(i%p.ring.Columns)/float64(p.bones)
		}
	}
	var farthest [directions]float64
	for i, b := range bone {
		if s, mm := polar(i, row, column); b != 0 && mm < reachMM {
			farthest[s] = math.Max(farthest[s], mm)
		}
	}
	seen, before := 0, 0.0
	for _, mm := range farthest {
		if mm > 0 {
			seen, before = seen+1, mm
		}
	}
	if float64(seen) < openRing*directions {
		return nil
	}
	for s := range farthest {
		if farthest[s] == 0 {
			farthest[s] = before
		}
		before = farthest[s]
	}
	return func(i int) bool {
		s, mm := polar(i, row, column)
		return mm < 0.9*farthest[s]
	}
}
