// Package volume holds a CT series as Hounsfield units in patient space, and masks on the same grid.
//
// Slices are sorted by position along the slice normal, feet to head; nothing is resampled, so slice k of a mask is
// slice k of the source, voxel by voxel. Patient coordinates are LPS in mm (PS3.3 §C.7.6.2.1.1).
package volume

import "math"

// Vec is a point or direction in patient coordinates, mm.
type Vec [3]float64

func (a Vec) Add(b Vec) Vec       { return Vec{a[0] + b[0], a[1] + b[1], a[2] + b[2]} }
func (a Vec) Sub(b Vec) Vec       { return Vec{a[0] - b[0], a[1] - b[1], a[2] - b[2]} }
func (a Vec) Scale(f float64) Vec { return Vec{a[0] * f, a[1] * f, a[2] * f} }
func (a Vec) Dot(b Vec) float64   { return a[0]*b[0] + a[1]*b[1] + a[2]*b[2] }
func (a Vec) Length() float64     { return math.Sqrt(a.Dot(a)) }
func (a Vec) Cross(b Vec) Vec {
	return Vec{a[1]*b[2] - a[2]*b[1], a[2]*b[0] - a[0]*b[2], a[0]*b[1] - a[1]*b[0]}
}

// Grid is the geometry of a stack of parallel slices. Index order everywhere is slice, row, column.
type Grid struct {
	Rows, Columns int
	AlongRow      Vec        // unit vector of increasing column index: ImageOrientationPatient values 1 to 3
	AlongColumn   Vec        // unit vector of increasing row index: ImageOrientationPatient values 4 to 6
	SpacingMM     [2]float64 // between rows, between columns: PixelSpacing as it stands
	Origins       []Vec      // ImagePositionPatient of each slice, sorted along Normal
	SupportMM     []float64  // what each slice stands for along Normal: half way to either neighbour
}

// Normal is the unit slice normal, turned to point to the head.
func (g *Grid) Normal() Vec {
	n := g.AlongRow.Cross(g.AlongColumn)
	if n[2] < 0 {
		n = n.Scale(-1)
	}
	return n.Scale(1 / n.Length())
}

// Slices is the number of slices.
func (g *Grid) Slices() int { return len(g.Origins) }

// VoxelML is the volume in mL of one voxel of slice k: pixel area times the slice's own support.
func (g *Grid) VoxelML(k int) float64 {
	return g.SpacingMM[0] * g.SpacingMM[1] * g.SupportMM[k] / 1000
}

// Point is the patient position of the centre of a voxel; fractions are allowed.
func (g *Grid) Point(slice int, row, column float64) Vec {
	return g.Origins[slice].Add(g.AlongRow.Scale(column * g.SpacingMM[1])).Add(g.AlongColumn.Scale(row * g.SpacingMM[0]))
}

// Source names the image that a slice was read from.
type Source struct {
	SOPClassUID    string
	SOPInstanceUID string
	Frame          int // 1-based for multi-frame sources, 0 for single-frame ones
	InstanceNumber int // as a viewer shows it; 0 where the image has none
}

// Number is that of the image as a viewer counts it: of the frame of a multi-frame image, else the Instance Number.
func (s Source) Number() int {
	if s.Frame > 0 {
		return s.Frame
	}
	return s.InstanceNumber
}

// Volume is one series in Hounsfield units.
type Volume struct {
	Grid
	HU                  []int16  // slice-major: HU[(k*Rows+r)*Columns+c]
	Sources             []Source // one a slice
	SeriesInstanceUID   string
	FrameOfReferenceUID string
}

// Slice returns the voxels of slice k, row-major; it aliases the volume.
func (v *Volume) Slice(k int) []int16 {
	n := v.Rows * v.Columns
	return v.HU[k*n : (k+1)*n]
}

// Mask marks voxels of a grid: 0 is outside, any other value inside. Label volumes keep a finding.Subtype per voxel.
type Mask struct {
	Rows, Columns int
	Voxels        []uint8 // slice-major, as Volume.HU
}

// NewMask returns an empty mask on g.
func NewMask(g *Grid) *Mask {
	return &Mask{Rows: g.Rows, Columns: g.Columns, Voxels: make([]uint8, g.Rows*g.Columns*g.Slices())}
}

// Slices is the number of slices.
func (m *Mask) Slices() int { return len(m.Voxels) / (m.Rows * m.Columns) }

// Slice returns the voxels of slice k, row-major; it aliases the mask.
func (m *Mask) Slice(k int) []uint8 {
	n := m.Rows * m.Columns
	return m.Voxels[k*n : (k+1)*n]
}

// VolumeML is the volume of all voxels of m that are not 0, on grid g.
func (m *Mask) VolumeML(g *Grid) float64 {
	ml := 0.0
	for k := range m.Slices() {
		n := 0
		for _, v := range m.Slice(k) {
			if v != 0 {
				n++
			}
		}
		ml += float64(n) * g.VoxelML(k)
	}
	return ml
}
