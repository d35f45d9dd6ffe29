package nifti

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"slices"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// Scan is a file as a stack of slices.
type Scan struct {
	*Image
	SHA256 string // of the file

	through, along, down int // axes of the file: from slice to slice, along a row, down a column
}

// ReadScan reads the file, as Read, and finds its slices.
func ReadScan(r io.Reader, most int) (*Scan, error) {
	hash := sha256.New()
	whole := io.TeeReader(r, hash)
	img, err := Read(whole, most)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, whole); err != nil {
		return nil, err
	}
	s := &Scan{Image: img, SHA256: hex.EncodeToString(hash.Sum(nil))}
	s.through, s.along, s.down = axes(img)
	return s, nil
}

// axes finds the slices of a volume: where voxels are clearly longer along one axis, as the scanner made them; else the plane
// nearest to axial.
func axes(img *Image) (through, along, down int) {
	const clearly = 1.5
	var mm, axial [3]float64
	for a := range 3 {
		mm[a] = volume.Vec(img.Axis(a)).Length()
		n := volume.Vec(img.Axis((a + 1) % 3)).Cross(img.Axis((a + 2) % 3))
		axial[a] = math.Abs(n[2]) / n.Length()
	}
	order := []int{0, 1, 2}
	longest := slices.MaxFunc(order, func(a, b int) int { return cmp.Compare(mm[a], mm[b]) })
	through = slices.MaxFunc(order, func(a, b int) int { return cmp.Compare(axial[a], axial[b]) })
	if mm[longest] > clearly*mm[(longest+1)%3] && mm[longest] > clearly*mm[(longest+2)%3] {
		through = longest
	}
	order = slices.DeleteFunc(order, func(a int) bool { return a == through })
	return through, order[0], order[1]
}

// CheckGeometry refuses slices that no scanner makes: rows and columns that are not at right angles, and a stack that leans more
// than any gantry tilts. Up to there, slices need not be at right angles to their stack.
func (s *Scan) CheckGeometry() error {
	row, column, step := volume.Vec(s.Axis(s.along)), volume.Vec(s.Axis(s.down)), volume.Vec(s.Axis(s.through))
	degrees := func(cos float64) float64 { return math.Acos(min(math.Abs(cos), 1)) * 180 / math.Pi }
	angle := func(a, b volume.Vec) float64 { return degrees(a.Dot(b) / (a.Length() * b.Length())) }
	const again = "\nConvert the study again, or resample it."
	for _, mm := range []float64{row.Length(), column.Length()} {
		if !(mm > 0.01 && mm < 20) {
			return finding.Refuse(finding.MissingPosition, "The voxels are %.3g x %.3g mm in the slices (%s of the file), which no CT has."+again, row.Length(), column.Length(), s.Form)
		}
	}
	if a := angle(row, column); a < 89.4 {
		return finding.Refuse(finding.MissingPosition, "The rows and columns of the slices are at an angle of %.1f degrees (%s of the file), so that no distance in them is true."+again,
			a, s.Form)
	}
	if lean := angle(row.Cross(column), step); lean > volume.MaxTiltDeg {
		return finding.Refuse(finding.MissingPosition, "The stack leans by %.1f degrees from the normal of its slices (%s of the file); up to %.0f are read, for no gantry tilts "+
			"further."+again, lean, s.Form, volume.MaxTiltDeg)
	}
	return nil
}

// Headers describe the slices, in the order of the file, as those of a CT series. Their UIDs are derived from the content of the
// file; they are for the analysis only, and no object has them.
func (s *Scan) Headers() []*dcm.DataSet {
	row, column, step := volume.Vec(s.Axis(s.along)), volume.Vec(s.Axis(s.down)), volume.Vec(s.Axis(s.through))
	unit := func(v volume.Vec) volume.Vec { return v.Scale(1 / v.Length()) }
	across, below := unit(row), unit(column)
	thickness := math.Abs(unit(row.Cross(column)).Dot(step))
	uid := func(what string) string { return dcm.DeriveUID("ichor", "nifti", s.SHA256, what) }
	out := make([]*dcm.DataSet, s.Size[s.through])
	for k := range out {
		at := volume.Vec(s.Origin()).Add(step.Scale(float64(k)))
		d := &dcm.DataSet{}
		d.SetStrings(dcm.SOPClassUID, "UI", dcm.CTImageStorage)
		d.SetStrings(dcm.SOPInstanceUID, "UI", uid(fmt.Sprint(k)))
		d.SetStrings(dcm.StudyInstanceUID, "UI", uid("study"))
		d.SetStrings(dcm.SeriesInstanceUID, "UI", uid("series"))
		d.SetStrings(dcm.FrameOfReferenceUID, "UI", uid("frame of reference"))
		d.SetStrings(dcm.Modality, "CS", "CT")
		d.SetInts(dcm.InstanceNumber, "IS", int64(k+1))
		d.SetInts(dcm.SamplesPerPixel, "US", 1)
		d.SetInts(dcm.Rows, "US", int64(s.Size[s.down]))
		d.SetInts(dcm.Columns, "US", int64(s.Size[s.along]))
		d.SetInts(dcm.BitsAllocated, "US", 16)
		d.SetInts(dcm.BitsStored, "US", 16)
		d.SetInts(dcm.HighBit, "US", 15)
		d.SetInts(dcm.PixelRepresentation, "US", 1)
		d.SetFloats(dcm.RescaleIntercept, "FD", 0)
		d.SetFloats(dcm.RescaleSlope, "FD", 1)
		d.SetFloats(dcm.ImagePositionPatient, "FD", at[:]...)
		d.SetFloats(dcm.ImageOrientationPatient, "FD", append(across[:], below[:]...)...)
		d.SetFloats(dcm.PixelSpacing, "FD", column.Length(), row.Length())
		d.SetFloats(dcm.SliceThickness, "FD", thickness)
		out[k] = d
	}
	return out
}

// at is the index in the file of the voxel in a slice of the file, a row and a column.
func (s *Scan) at(slice, row, column int) int {
	var v [3]int
	v[s.through], v[s.down], v[s.along] = slice, row, column
	return v[0] + s.Size[0]*(v[1]+s.Size[1]*v[2])
}

// Pixels are the voxels of a slice of the file, as 16 bits little endian.
func (s *Scan) Pixels(slice int) []byte {
	rows, columns := s.Size[s.down], s.Size[s.along]
	out := make([]byte, 0, 2*rows*columns)
	for r := range rows {
		for c := range columns {
			out = binary.LittleEndian.AppendUint16(out, uint16(s.HU[s.at(slice, r, c)]))
		}
	}
	return out
}

// WriteMask writes a mask on the grid of v, which was read from s, as NIfTI on the grid of the file.
func (s *Scan) WriteMask(w io.Writer, v *volume.Volume, m *volume.Mask) error {
	labels := make([]uint8, len(s.HU))
	for k, source := range v.Sources {
		for i, label := range m.Slice(k) {
			if label != 0 {
				labels[s.at(source.InstanceNumber-1, i/v.Columns, i%v.Columns)] = label
			}
		}
	}
	return s.Image.WriteMask(w, labels)
}
