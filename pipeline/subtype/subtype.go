// Package subtype decides the subtype of each bleed.
package subtype

import (
	"ichor/pipeline/bleed"
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
		bleed.Pool(labels, labels, g)
	case ExtraAxial:
		bleed.PoolExtraAxial(labels, g)
	}
}
