package nifti

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"math"
	"testing"
)

// sample describes a file for a test.
type sample struct {
	version          int
	order            binary.ByteOrder
	datatype         int
	size             [3]int
	more             []int64 // dimensions beyond three
	slope, intercept float64
	units            int
	qform, sform     int
	quatern, qoffset [3]float64
	pixdim           [4]float64 // the first is qfac
	srow             [3][4]float64
	extension        int // bytes between header and voxels
	value            func(i int) float64
}

// usual is a file of 16-bit integers with an sform of 0.5 x 0.6 x 5 mm, in the directions of a radiological image.
func usual() sample {
	return sample{version: 1, order: binary.LittleEndian, datatype: 4, size: [3]int{4, 3, 2}, units: 2, sform: 1, pixdim: [4]float64{1, 0.5, 0.6, 5},
		srow: [3][4]float64{{-0.5, 0, 0, 10}, {0, -0.6, 0, 20}, {0, 0, 5, 30}}, value: func(i int) float64 { return float64(10 * i) }}
}

// bytes encodes the file.
func (s sample) bytes(t testing.TB) []byte {
	t.Helper()
	n := size1
	if s.version == 2 {
		n = size2
	}
	f := make([]byte, n+4+s.extension)
	o := s.order
	u16 := func(at int, v int) { o.PutUint16(f[at:], uint16(v)) }
	u32 := func(at int, v int) { o.PutUint32(f[at:], uint32(v)) }
	u64 := func(at int, v int64) { o.PutUint64(f[at:], uint64(v)) }
	f32 := func(at int, v float64) { o.PutUint32(f[at:], math.Float32bits(float32(v))) }
	f64 := func(at int, v float64) { o.PutUint64(f[at:], math.Float64bits(v)) }
	dims := []int64{3, int64(s.size[0]), int64(s.size[1]), int64(s.size[2])}
	dims = append(dims, s.more...)
	dims[0] = int64(len(dims) - 1)
	u32(0, n)
	if s.version == 1 {
		for i, d := range dims {
			u16(40+2*i, int(d))
		}
		u16(70, s.datatype)
		for i, mm := range s.pixdim {
			f32(76+4*i, mm)
		}
		f32(108, float64(len(f)))
		f32(112, s.slope)
		f32(116, s.intercept)
		f[123] = byte(s.units)
		u16(252, s.qform)
		u16(254, s.sform)
		for i := range 3 {
			f32(256+4*i, s.quatern[i])
			f32(268+4*i, s.qoffset[i])
			for k := range 4 {
				f32(280+16*i+4*k, s.srow[i][k])
			}
		}
		copy(f[344:], "n+1\x00")
	} else {
		copy(f[4:], "n+2\x00\r\n\x1a\n")
		u16(12, s.datatype)
		for i, d := range dims {
			u64(16+8*i, d)
		}
		for i, mm := range s.pixdim {
			f64(104+8*i, mm)
		}
		u64(168, int64(len(f)))
		f64(176, s.slope)
		f64(184, s.intercept)
		u32(500, s.units)
		u32(344, s.qform)
		u32(348, s.sform)
		for i := range 3 {
			f64(352+8*i, s.quatern[i])
			f64(376+8*i, s.qoffset[i])
			for k := range 4 {
				f64(400+32*i+8*k, s.srow[i][k])
			}
		}
	}
	for i := range s.size[0] * s.size[1] * s.size[2] {
		v := s.value(i)
		switch s.datatype {
		case 2:
			f = append(f, uint8(v))
		case 256:
			f = append(f, uint8(int8(v)))
		case 4:
			f = append(f, 0, 0)
			o.PutUint16(f[len(f)-2:], uint16(int16(v)))
		case 512:
			f = append(f, 0, 0)
			o.PutUint16(f[len(f)-2:], uint16(v))
		case 8:
			f = append(f, make([]byte, 4)...)
			o.PutUint32(f[len(f)-4:], uint32(int32(v)))
		case 768:
			f = append(f, make([]byte, 4)...)
			o.PutUint32(f[len(f)-4:], uint32(v))
		case 16:
			f = append(f, make([]byte, 4)...)
			o.PutUint32(f[len(f)-4:], math.Float32bits(float32(v)))
		case 64:
			f = append(f, make([]byte, 8)...)
			o.PutUint64(f[len(f)-8:], math.Float64bits(v))
		case 1024, 1280:
			f = append(f, make([]byte, 8)...)
			o.PutUint64(f[len(f)-8:], uint64(int64(v)))
		default:
			f = append(f, make([]byte, 3)...)
		}
	}
	return f
}

func zipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
