// Package subtype decides the subtype of each bleed.
package subtype

import (
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// Values of post.subtype_per in a bundle's manifest: the unit that has a single subtype.
const (
	Voxel      = "voxel"       // each voxel has its own
	Component  = "component"   // a connected bleed has one
	ExtraAxial = "extra-axial" // a connected collection of SDH and EDH becomes one of the two; blood within the brain does not change
)

// Settle changes labels in place so that each connected region (26 neighbours), as selected by per, gets the subtype with most
// volume in it; of two equal ones the earlier in finding.Subtypes.
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

// settle gives each connected region of bleeds a single subtype in labels.
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
