package bleed

import (
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// Pool gives each connected region (26 neighbours) of bleeds a single subtype in labels: that with most volume in it; of two
// equal ones the earlier in finding.Subtypes.
func Pool(labels, bleeds *volume.Mask, g *volume.Grid) {
	c := volume.ComponentsOf(bleeds, volume.Corners, 0)
	ml := make([][len(finding.Kinds) + 1]float64, c.Count)
	for _, r := range c.Runs {
		v := g.VoxelML(int(r.Slice))
		for _, l := range bleeds.Row(r) {
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

// PoolExtraAxial gives each connected collection of SDH and EDH a single subtype of the two. Blood within the brain does not
// change.
func PoolExtraAxial(labels *volume.Mask, g *volume.Grid) {
	collections := &volume.Mask{Rows: labels.Rows, Columns: labels.Columns, Voxels: make([]uint8, len(labels.Voxels))}
	for i, l := range labels.Voxels {
		if s := finding.Subtype(l); s == finding.SDH || s == finding.EDH {
			collections.Voxels[i] = l
		}
	}
	Pool(labels, collections, g)
}
