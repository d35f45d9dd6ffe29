package measure

import (
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// Volumes adds up the voxels of each subtype, each slice with its own support; the subtypes add up to the total.
func Volumes(labels *volume.Mask, g *volume.Grid) finding.Volumes {
	var ml [len(finding.Kinds) + 1]float64
	for k := range labels.Slices() {
		var n [len(ml)]int
		for _, l := range labels.Slice(k) {
			if l != 0 { // few voxels are hemorrhage
				n[l]++
			}
		}
		for _, s := range finding.Kinds {
			ml[s] += float64(n[s]) * g.VoxelML(k)
		}
	}
	var v finding.Volumes
	for _, s := range finding.Kinds {
		v.Set(s, ml[s])
		v.Total += ml[s]
	}
	return v
}
