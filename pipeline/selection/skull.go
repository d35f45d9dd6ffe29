package selection

import "ichor/pipeline/volume"

// What a skull encloses, in one slice.
const (
	skullHU      = 250
	minEnclosed  = 30.0 // cm2
	maxEnclosed  = 300.0
	tissueShare  = 0.6  // of what is enclosed, between -20 and 90 HU
	minSkullSpan = 25.0 // mm of slices
)

// ShowsSkull reports whether v looks like a head: rings of bone around an area of the size of a brain, filled with tissue
// of its density, over some centimetres. Ribs, pelvis and vertebrae do not close around such an area; neither does a head
// scan of the face alone.
func ShowsSkull(v *volume.Volume) bool {
	pixel := v.SpacingMM[0] * v.SpacingMM[1] / 100 // cm2
	ring := &volume.Mask{Rows: v.Rows, Columns: v.Columns, Voxels: make([]uint8, v.Rows*v.Columns)}
	span := 0.0
	for k := range v.Slices() {
		hu := v.Slice(k)
		bone := 0
		for i, x := range hu {
			ring.Voxels[i] = 0
			if x > skullHU {
				ring.Voxels[i] = 1
				bone++
			}
		}
		if bone == 0 {
			continue
		}
		volume.FillHoles(ring)
		enclosed, tissue := 0, 0
		for i, x := range hu {
			if ring.Voxels[i] != 0 && x <= skullHU {
				enclosed++
				if x >= -20 && x <= 90 {
					tissue++
				}
			}
		}
		if area := float64(enclosed) * pixel; area >= minEnclosed && area <= maxEnclosed && float64(tissue) >= tissueShare*float64(enclosed) {
			span += v.SupportMM[k]
		}
	}
	return span >= minSkullSpan
}
