// Package subtype settles which subtype each bleed is.
package subtype

import (
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// Per says within what a bleed has one subtype; a bundle's manifest chooses (post.subtype_per).
const (
	Voxel      = "voxel"       // each voxel has its own
	Component  = "component"   // a connected bleed has one
	ExtraAxial = "extra-axial" // a connected collection of SDH and EDH is one or the other; what lies in the brain is left alone
)

// Settle changes labels in place so that each connected part (26 neighbours) of what per names has the subtype that has
// most volume in it; the earlier one of finding.Subtypes where two have the same.
func Settle(labels *volume.Mask, g *volume.Grid, per string) {
	switch per {
	case Component:
		settle(labels, labels, g)
	case ExtraAxial:
		collections := &volume.Mask{Rows: labels.Rows, Columns: labels.Columns, Voxels: make([]uint8, len(labels.Voxels))}
		for i, l := range labels.Voxels {
			if s := finding.Subtype(l); s == finding.SDH || s == finding.EDH {
				collections.Voxels[i] = l
			}
		}
		settle(labels, collections, g)
	}
}

// settle names the voxels of labels after the parts of bleeds.
func settle(labels, bleeds *volume.Mask, g *volume.Grid) {
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
