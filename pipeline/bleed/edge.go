package bleed

import (
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// A network is least certain where blood ends, and readers draw the end of blood in the brain where the blood is plain. So a bundle can
// say (bundle.Post.Edge) which share of the probability in the core of a clot its voxels must reach. The core tells bright clots
// from faint ones: a clot that is faint as a whole keeps its voxels. Thin layers outside the brain have no core; they keep theirs.

// coreTenths is the part of the voxels of a clot, in tenths, that may be less probable than its core.
const coreTenths = 9

// Edged applies the edge of the bundle to settled, which returns the labels of a level. A level other than Chosen moves the edge; no new
// clots of the brain appear.
func (m *Marks) Edged(settled func(Level) (*volume.Mask, error)) func(Level) (*volume.Mask, error) {
	return func(level Level) (*volume.Mask, error) {
		chosen, err := settled(Chosen)
		if err != nil {
			return nil, err
		}
		labels := chosen
		if level != Chosen {
			if labels, err = settled(level); err != nil {
				return nil, err
			}
			for i, l := range labels.Voxels {
				if inBrain(l) && chosen.Voxels[i] == 0 {
					labels.Voxels[i] = 0
				}
			}
		}
		clots := volume.ComponentsOf(chosen, volume.Corners, 0)
		of := make([][]volume.Run, clots.Count)
		for _, r := range clots.Runs {
			of[r.Component] = append(of[r.Component], r)
		}
		share := float64(level.threshold(m.spec.Post.Edge))
		for _, runs := range of {
			m.cut(labels, runs, share*float64(m.core(runs)))
		}
		return labels, nil
	}
}

func inBrain(label uint8) bool {
	s := finding.Subtype(label)
	return s == finding.IPH || s == finding.IVH || s == finding.ICH
}

// core returns the probability, in 255ths, that a tenth of the voxels of a clot reach.
func (m *Marks) core(runs []volume.Run) int {
	var counts [256]int
	voxels := 0
	for _, r := range runs {
		for _, p := range m.any.Row(r) {
			counts[p]++
		}
		voxels += int(r.End - r.Begin)
	}
	core := 0
	for n := counts[0]; n < (coreTenths*voxels+9)/10; n += counts[core] {
		core++
	}
	return core
}

// cut clears the voxels in the brain of a clot that are less probable than least, in 255ths.
func (m *Marks) cut(labels *volume.Mask, runs []volume.Run, least float64) {
	for _, r := range runs {
		any, row := m.any.Row(r), labels.Row(r)
		for i, l := range row {
			if inBrain(l) && float64(any[i]) < least {
				row[i] = 0
			}
		}
	}
}
