package bleed

import "ichor/pipeline/volume"

// A network is least certain where blood ends, and readers draw the end of a clot where blood is plain. So a bundle can say
// (bundle.Post.Edge) which share of the probability in the core of a clot its voxels must reach. The core tells bright clots from faint
// ones: a clot that is faint as a whole keeps its voxels.

// coreTenths is the part of the voxels of a clot, in tenths, that may be less probable than its core.
const coreTenths = 9

// edges returns, for each component, the least probability, in 255ths, of its voxels at a level.
func (m *Marks) edges(c *volume.Components, level Level) []float64 {
	share := float64(level.threshold(m.spec.Post.Edge))
	of := make([][]volume.Run, c.Count)
	for _, r := range c.Runs {
		of[r.Component] = append(of[r.Component], r)
	}
	edges := make([]float64, c.Count)
	for i, runs := range of {
		edges[i] = share * float64(m.core(runs))
	}
	return edges
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

// cut clears the voxels of a run that do not reach the level, or the edge of their clot.
func (m *Marks) cut(labels *volume.Mask, r volume.Run, level Level, edge float64) {
	marks, any, row := m.voxels.Row(r), m.any.Row(r), labels.Row(r)
	for i := range row {
		if Level(marks[i]>>levelShift&levelMask) < level || float64(any[i]) < edge {
			row[i] = 0
		}
	}
}
