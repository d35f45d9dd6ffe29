// Package nifti reads CT volumes from NIfTI-1 and NIfTI-2 files (.nii, .nii.gz) and writes masks on the same grid.
//
// Both byte orders, all integer and floating-point types, scaling by slope and intercept, and the geometry of sform and qform
// are read. Files of a header and a separate image (.hdr, .img), colour, complex numbers and series of volumes are not.
// Offsets of fields are those of nifti1.h and nifti2.h of the NIfTI Data Format Working Group.
package nifti

import (
	"compress/gzip"
	"errors"
	"fmt"
	"math"
)

// Errors of Read. All are defects of the file, not failures to read it.
var (
	ErrFormat    = errors.New("not a NIfTI file that is read here")
	ErrTruncated = errors.New("the file is damaged or ends too early")
	ErrTooLarge  = errors.New("more voxels than are read here")
)

// Defective reports whether err is one of the errors of Read about the file.
func Defective(err error) bool {
	for _, kind := range []error{ErrFormat, ErrTruncated, ErrTooLarge, gzip.ErrHeader, gzip.ErrChecksum} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// Form is where the geometry of a file comes from.
type Form string

const (
	SForm  Form = "sform"
	QForm  Form = "qform"
	NoForm Form = "pixdim" // voxel sizes only: directions are assumed
)

// Image is one volume.
type Image struct {
	Size   [3]int        // voxels along i, j and k
	HU     []int16       // voxel (i, j, k) is HU[i+Size[0]*(j+Size[1]*k)]; rounded and limited to the range of the type
	Affine [3][4]float64 // from (i, j, k, 1) to millimetres: x to the right, y to the front, z to the head
	Form   Form          // of Affine
	Differ bool          // qform and sform are both given and place a voxel differently, by a millimetre or more

	header header
}

// Axis is the vector in mm from a voxel to the next one along axis a of Size, in patient coordinates of DICOM: x to the left,
// y to the back, z to the head (PS3.3 §C.7.6.2.1.1).
func (m *Image) Axis(a int) [3]float64 {
	return [3]float64{-m.Affine[0][a], -m.Affine[1][a], m.Affine[2][a]}
}

// Origin is the position of voxel (0, 0, 0), in the coordinates of Axis.
func (m *Image) Origin() [3]float64 {
	return [3]float64{-m.Affine[0][3], -m.Affine[1][3], m.Affine[2][3]}
}

// header has the fields of both versions that are read.
type header struct {
	version          int // 1 or 2
	dim              [8]int64
	datatype         int
	pixdim           [8]float64
	voxOffset        float64
	slope, intercept float64
	units            int
	qform, sform     int
	quatern, qoffset [3]float64
	srow             [3][4]float64
}

// size checks the dimensions: one volume of at most most voxels.
func (h *header) size(most int) (size [3]int, err error) {
	n := h.dim[0]
	if n < 2 || n > 7 {
		return size, fmt.Errorf("%d dimensions: %w", n, ErrFormat)
	}
	voxels := int64(1)
	for i := int64(1); i <= n; i++ {
		d := h.dim[i]
		if i > 3 && d == 0 {
			d = 1
		}
		switch {
		case d < 1 || d > math.MaxUint16:
			return size, fmt.Errorf("size %d along dimension %d: %w", d, i, ErrFormat)
		case i > 3 && d > 1:
			return size, fmt.Errorf("%d volumes (dimension %d), one is read: %w", d, i, ErrFormat)
		}
		if voxels *= d; voxels > int64(most) {
			return size, fmt.Errorf("%d x %d x %d voxels, at most %d million: %w", h.dim[1], h.dim[2], h.dim[3], most/1e6, ErrTooLarge)
		}
	}
	size = [3]int{int(h.dim[1]), int(h.dim[2]), 1}
	if n > 2 {
		size[2] = int(h.dim[3])
	}
	return size, nil
}

// millimetres is the size of the unit of space; files that name none are in millimetres.
func (h *header) millimetres() float64 {
	switch h.units & 7 {
	case 1:
		return 1000
	case 3:
		return 0.001
	}
	return 1
}

// affine chooses the geometry: sform, else qform. Where the file has neither, only the size of the voxels is known, from which
// other software takes the directions of a radiological image.
func (h *header) affine(size [3]int) (a [3][4]float64, form Form, differ bool, err error) {
	q, okQ := h.rotation()
	s := h.srow
	switch okS := h.sform > 0 && usable(s); {
	case okS:
		a, form = s, SForm
		differ = okQ && apart(s, q, size)*h.millimetres() >= 1
	case okQ:
		a, form = q, QForm
	case h.sform > 0 || h.qform > 0:
		return a, NoForm, false, fmt.Errorf("sform (code %d) and qform (code %d) are there, but give no geometry: zero, infinite or no numbers: %w", h.sform, h.qform, ErrFormat)
	default:
		form = NoForm
		for i := range 3 {
			mm := math.Abs(h.pixdim[i+1])
			a[i][i] = mm
			a[i][3] = -mm * float64(size[i]-1) / 2
		}
		a[0][0], a[0][3] = -a[0][0], -a[0][3]
		if !usable(a) {
			return a, form, false, fmt.Errorf("neither sform nor qform nor pixdim (%g, %g, %g) gives a geometry: %w", h.pixdim[1], h.pixdim[2], h.pixdim[3], ErrFormat)
		}
	}
	unit := h.millimetres()
	for r := range a {
		for c := range a[r] {
			a[r][c] *= unit
		}
	}
	return a, form, differ, nil
}

// rotation is the geometry of qform: a rotation as a unit quaternion of which a, the first part, is implied.
func (h *header) rotation() (m [3][4]float64, ok bool) {
	b, c, d := h.quatern[0], h.quatern[1], h.quatern[2]
	square := b*b + c*c + d*d
	if h.qform <= 0 || !(square <= 1.001) {
		return m, false
	}
	a := math.Sqrt(max(0, 1-square))
	if square > 1 {
		l := math.Sqrt(square)
		b, c, d = b/l, c/l, d/l
	}
	factor := 1.0
	if h.pixdim[0] < 0 {
		factor = -1
	}
	mm := [3]float64{math.Abs(h.pixdim[1]), math.Abs(h.pixdim[2]), factor * math.Abs(h.pixdim[3])}
	turn := [3][3]float64{
		{a*a + b*b - c*c - d*d, 2 * (b*c - a*d), 2 * (b*d + a*c)},
		{2 * (b*c + a*d), a*a + c*c - b*b - d*d, 2 * (c*d - a*b)},
		{2 * (b*d - a*c), 2 * (c*d + a*b), a*a + d*d - b*b - c*c},
	}
	for r := range 3 {
		for k := range 3 {
			m[r][k] = turn[r][k] * mm[k]
		}
		m[r][3] = h.qoffset[r]
	}
	return m, usable(m)
}

// usable reports whether a is finite, of a size that a scanner has, and no axis lies in the plane of the others.
func usable(a [3][4]float64) bool {
	for r := range a {
		for c := range a[r] {
			if !(math.Abs(a[r][c]) < 1e6) { // NaN as well
				return false
			}
		}
	}
	x, y, z := column(a, 0), column(a, 1), column(a, 2)
	product := length(x) * length(y) * length(z)
	return product > 1e-12 && math.Abs(dot(cross(x, y), z)) > 0.1*product
}

// apart is how far two geometries place a corner of the volume from each other.
func apart(a, b [3][4]float64, size [3]int) float64 {
	most := 0.0
	for corner := range 8 {
		var d [3]float64
		for r := range 3 {
			d[r] = a[r][3] - b[r][3]
			for k := range 3 {
				if corner>>k&1 == 1 {
					d[r] += (a[r][k] - b[r][k]) * float64(size[k]-1)
				}
			}
		}
		most = max(most, length(d))
	}
	return most
}

func column(a [3][4]float64, c int) [3]float64 { return [3]float64{a[0][c], a[1][c], a[2][c]} }
func dot(a, b [3]float64) float64              { return a[0]*b[0] + a[1]*b[1] + a[2]*b[2] }
func length(a [3]float64) float64              { return math.Sqrt(dot(a, a)) }
func cross(a, b [3]float64) [3]float64 {
	return [3]float64{a[1]*b[2] - a[2]*b[1], a[2]*b[0] - a[0]*b[2], a[0]*b[1] - a[1]*b[0]}
}
