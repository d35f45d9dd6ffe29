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

// Edged applies the edge of the bundle to settled, which returns the labels of a level. It returns the cut labels of a level, and the
// clots before. A level other than Chosen moves the edge; no new clots of the brain appear.
func (m *Marks) Edged(settled func(Level) (*volume.Mask, error)) (func(Level) (*volume.Mask, error), *volume.Components, error) {
	chosen, err := settled(Chosen)
	if err != nil {
		return nil, nil, err
	}
	c := volume.ComponentsOf(chosen, volume.Corners, 0)
	clots := make([][]volume.Run, c.Count)
	for _, r := range c.Runs {
		clots[r.Component] = append(clots[r.Component], r)
	}
	cores := make([]float64, len(clots))
	for i, runs := range clots {
		cores[i] = float64(m.core(runs))
	}
	return func(level Level) (*volume.Mask, error) {
		labels, err := settled(level)
		if err != nil {
			return nil, err
		}
		share := float64(level.threshold(m.spec.Post.Edge))
		for i, runs := range clots {
			m.keep(labels, runs, share*cores[i])
		}
		for i, l := range labels.Voxels {
			if inBrain(l) {
				labels.Voxels[i] = 0
			} else {
				labels.Voxels[i] = l &^ within
			}
		}
		return labels, nil
	}, c, nil
}

// within marks a label of the brain that lies within the edge of its clot.
const within = 1 << 7

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

// keep marks the voxels in the brain of a clot that are at least as probable as least, in 255ths.
func (m *Marks) keep(labels *volume.Mask, runs []volume.Run, least float64) {
	for _, r := range runs {
		any, row := m.any.Row(r), labels.Row(r)
		for i, l := range row {
			if inBrain(l) && float64(any[i]) >= least {
				row[i] |= within
			}
		}
	}
}
