// Package subtype settles which subtype each bleed is.
package subtype

import (
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// PerComponent gives every voxel of a connected bleed (26 neighbours, whatever the subtypes) the subtype that has the
// most volume in it; the earlier one of finding.Subtypes where two have the same. Labels are changed in place.
func PerComponent(labels *volume.Mask, g *volume.Grid) {
	c := volume.ComponentsOf(labels, volume.Corners, 0)
	ml := make([][len(finding.Kinds) + 1]float64, c.Count)
	for _, r := range c.Runs {
		v := g.VoxelML(int(r.Slice))
		for _, l := range labels.Row(r) {
			ml[r.Component][l] += v
		}
	}
	for _, r := range c.Runs {
		most := finding.IPH
		for _, s := range finding.Subtypes[1:] {
			if ml[r.Component][s] > ml[r.Component][most] {
				most = s
			}
		}
		row := labels.Row(r)
		for i := range row {
			row[i] = uint8(most)
		}
	}
}
