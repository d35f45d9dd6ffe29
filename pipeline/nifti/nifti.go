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
	"strings"
)

// Errors of Read. All are defects of the file, not failures to read it.
var (
	ErrFormat    = errors.New("not a NIfTI file that is read here")
	ErrTruncated = errors.New("the file is damaged or ends too early")
	ErrTooLarge  = errors.New("more voxels than are read here")
	ErrGeometry  = errors.New("unusable geometry")
)

// Defective reports whether err is one of the errors of Read about the file.
func Defective(err error) bool {
	for _, kind := range []error{ErrFormat, ErrTruncated, ErrTooLarge, ErrGeometry, gzip.ErrHeader, gzip.ErrChecksum} {
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
	Passed string        // what is wrong with the sform, where the qform was used in place of it; "" for nothing

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

// place chooses the geometry: sform, else qform. Where the file has neither, only the size of the voxels is known, from which
// other software takes the directions of a radiological image.
func (m *Image) place() error {
	h := &m.header
	q, wrongQ := h.rotation()
	wrongS := defect(h.srow)
	switch a := &m.Affine; {
	case h.sform > 0 && wrongS == "":
		*a, m.Form = h.srow, SForm
		m.Differ = h.qform > 0 && wrongQ == "" && apart(h.srow, q, m.Size)*h.millimetres() >= 1
	case h.qform > 0 && wrongQ == "":
		*a, m.Form = q, QForm
		if h.sform > 0 {
			m.Passed = wrongS
		}
	case h.sform > 0 || h.qform > 0:
		var wrong []string
		if h.sform > 0 {
			wrong = append(wrong, "the sform has "+wrongS)
		}
		if h.qform > 0 {
			wrong = append(wrong, "the qform has "+wrongQ)
		}
		return fmt.Errorf("%s: %w", strings.Join(wrong, " and "), ErrGeometry)
	default:
		m.Form = NoForm
		for i := range 3 {
			mm := math.Abs(h.pixdim[i+1])
			a[i][i] = mm
			a[i][3] = -mm * float64(m.Size[i]-1) / 2
		}
		a[0][0], a[0][3] = -a[0][0], -a[0][3]
		if wrong := defect(*a); wrong != "" {
			return fmt.Errorf("neither sform nor qform is given, and pixdim has %s: %w", wrong, ErrGeometry)
		}
	}
	unit := h.millimetres()
	for r := range m.Affine {
		for c := range m.Affine[r] {
			m.Affine[r][c] *= unit
		}
	}
	return nil
}

// rotation is the geometry of qform: a rotation as a unit quaternion of which a, the first part, is implied. wrong is as of
// defect.
func (h *header) rotation() (m [3][4]float64, wrong string) {
	b, c, d := h.quatern[0], h.quatern[1], h.quatern[2]
	square := b*b + c*c + d*d
	if !(square <= 1.001) {
		return m, fmt.Sprintf("the quaternion %g, %g, %g, which is longer than 1", b, c, d)
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
	return m, defect(m)
}

// defect is what is wrong with a geometry: it is not finite or larger than any scanner, or an axis lies in the plane of the
// others. "" if it can be used.
func defect(a [3][4]float64) string {
	for r := range a {
		for c := range a[r] {
			if !(math.Abs(a[r][c]) < 1e6) { // NaN as well
				return fmt.Sprintf("the number %g in row %d", a[r][c], r+1)
			}
		}
	}
	axis := [3][3]float64{column(a, 0), column(a, 1), column(a, 2)}
	mm := [3]float64{length(axis[0]), length(axis[1]), length(axis[2])}
	if !(mm[0]*mm[1]*mm[2] > 1e-12) {
		return fmt.Sprintf("voxels of %.3g x %.3g x %.3g", mm[0], mm[1], mm[2])
	}
	for k, name := range []string{"first", "second", "third"} {
		n := cross(axis[(k+1)%3], axis[(k+2)%3])
		if sin := math.Abs(dot(n, axis[k])) / (length(n) * mm[k]); !(sin > 0.1) {
			return fmt.Sprintf("its %s axis at %.1f degrees to the plane of the others", name, math.Asin(min(sin, 1))*180/math.Pi)
		}
	}
	return ""
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
