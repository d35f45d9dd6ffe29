package nifti

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"io"
	"math"
)

// WriteMask writes labels as a compressed file on the grid of m: same version, size, sform and qform. Voxel (i, j, k) is
// labels[i+Size[0]*(j+Size[1]*k)].
func (m *Image) WriteMask(w io.Writer, labels []uint8) error {
	z := gzip.NewWriter(w)
	out := bufio.NewWriter(z)
	head := m.header.first
	if m.header.version == 2 {
		head = m.header.second
	}
	if _, err := out.Write(head(m.Size)); err != nil {
		return err
	}
	if _, err := out.Write(labels); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return z.Close()
}

const description = "ichor: labels of hemorrhage. Research use only. Not for clinical use."

const uint8Type = 2

// space is the unit of space, without that of time, which a mask has not.
func (h *header) space() int { return h.units & 7 }

// first is the header of a mask in NIfTI-1, with the four bytes that say that no extension follows.
func (h *header) first(size [3]int) []byte {
	f := writer(make([]byte, size1+4))
	f.u32(0, size1)
	f.u16(40, 3)
	for i := range 7 {
		f.u16(42+2*i, 1)
		f.f32(80+4*i, 1)
	}
	for i, n := range size {
		f.u16(42+2*i, uint16(n))
		f.f32(80+4*i, h.pixdim[i+1])
	}
	f.f32(76, h.pixdim[0])
	f.u16(70, uint8Type)
	f.u16(72, 8)
	f.f32(108, size1+4)
	f.f32(112, 1)
	f[123] = byte(h.space())
	copy(f[148:228], description)
	f.u16(252, uint16(h.qform))
	f.u16(254, uint16(h.sform))
	for i := range 3 {
		f.f32(256+4*i, h.quatern[i])
		f.f32(268+4*i, h.qoffset[i])
		for k := range 4 {
			f.f32(280+16*i+4*k, h.srow[i][k])
		}
	}
	copy(f[344:], "n+1\x00")
	return f
}

// second is the same in NIfTI-2.
func (h *header) second(size [3]int) []byte {
	f := writer(make([]byte, size2+4))
	f.u32(0, size2)
	copy(f[4:], "n+2\x00\r\n\x1a\n")
	f.u16(12, uint8Type)
	f.u16(14, 8)
	f.u64(16, 3)
	for i := range 7 {
		f.u64(24+8*i, 1)
		f.f64(112+8*i, 1)
	}
	for i, n := range size {
		f.u64(24+8*i, uint64(n))
		f.f64(112+8*i, h.pixdim[i+1])
	}
	f.f64(104, h.pixdim[0])
	f.u64(168, size2+4)
	f.f64(176, 1)
	copy(f[240:320], description)
	f.u32(344, uint32(h.qform))
	f.u32(348, uint32(h.sform))
	for i := range 3 {
		f.f64(352+8*i, h.quatern[i])
		f.f64(376+8*i, h.qoffset[i])
		for k := range 4 {
			f.f64(400+32*i+8*k, h.srow[i][k])
		}
	}
	f.u32(500, uint32(h.space()))
	return f
}

// writer writes numbers of a header, little endian.
type writer []byte

func (f writer) u16(at int, v uint16)  { binary.LittleEndian.PutUint16(f[at:], v) }
func (f writer) u32(at int, v uint32)  { binary.LittleEndian.PutUint32(f[at:], v) }
func (f writer) u64(at int, v uint64)  { binary.LittleEndian.PutUint64(f[at:], v) }
func (f writer) f32(at int, v float64) { f.u32(at, math.Float32bits(float32(v))) }
func (f writer) f64(at int, v float64) { f.u64(at, math.Float64bits(v)) }
