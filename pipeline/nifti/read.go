package nifti

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

const (
	size1, size2  = 348, 540 // bytes of the headers of NIfTI-1 and -2
	maxExtensions = 64 << 20 // bytes between header and voxels
)

// Read reads a volume of at most most voxels; it recognises gzip by its content. Memory grows with what the file holds, not
// with what its header promises. Errors that are not Defective come from r.
func Read(r io.Reader, most int) (*Image, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if magic, err := in.Peek(2); err == nil && magic[0] == 0x1F && magic[1] == 0x8B {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, short(err)
		}
		in = bufio.NewReaderSize(z, 64<<10)
	}
	m := &Image{}
	order, at, err := m.header.read(in)
	if err != nil {
		return nil, err
	}
	h := &m.header
	if m.Size, err = h.size(most); err != nil {
		return nil, err
	}
	if err := m.place(); err != nil {
		return nil, err
	}
	if h.voxOffset == 0 { // some tools do not set it: behind the header and the four bytes that tell of extensions
		h.voxOffset = float64(at + 4)
	}
	if !(h.voxOffset >= float64(at) && h.voxOffset <= float64(at+maxExtensions)) {
		return nil, fmt.Errorf("voxels at byte %g: %w", h.voxOffset, ErrFormat)
	}
	if _, err := in.Discard(int(h.voxOffset) - at); err != nil {
		return nil, short(err)
	}
	if m.HU, err = h.voxels(in, order, m.Size[0]*m.Size[1]*m.Size[2]); err != nil {
		return nil, err
	}
	// The checksum of gzip follows the last byte. Bytes after the checksum are ignored.
	if _, err := in.ReadByte(); err != nil && err != io.EOF && !errors.Is(err, gzip.ErrHeader) {
		return nil, short(err)
	}
	return m, nil
}

// short turns the errors of a damaged stream into ErrTruncated.
func short(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrTruncated
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, new(flate.CorruptInputError)):
		return fmt.Errorf("%w (%v)", ErrTruncated, err)
	}
	return err
}

// read reads the header; at is its length. The length of the header in its first bytes tells version and byte order.
func (h *header) read(r io.Reader) (order binary.ByteOrder, at int, err error) {
	b := make([]byte, size2)
	if _, err := io.ReadFull(r, b[:4]); err != nil {
		return nil, 0, short(err)
	}
	order = binary.LittleEndian
	if n := binary.BigEndian.Uint32(b); n == size1 || n == size2 {
		order = binary.BigEndian
	}
	at = int(order.Uint32(b))
	if at != size1 && at != size2 {
		return nil, 0, fmt.Errorf("a header of %d bytes: %w", uint32(at), ErrFormat)
	}
	if _, err := io.ReadFull(r, b[4:at]); err != nil {
		return nil, 0, short(err)
	}
	f := fields{b, order}
	if at == size1 {
		err = h.one(f)
	} else {
		err = h.two(f)
	}
	return order, at, err
}

func (h *header) one(f fields) error {
	if magic := f.b[344:348]; !bytes.Equal(magic, []byte("n+1\x00")) {
		return fmt.Errorf("magic %q, a single file has \"n+1\": %w", magic, ErrFormat)
	}
	h.version = 1
	for i := range 8 {
		h.dim[i], h.pixdim[i] = f.i16(40+2*i), f.f32(76+4*i)
	}
	h.datatype, h.voxOffset = int(f.i16(70)), f.f32(108)
	h.slope, h.intercept, h.units = f.f32(112), f.f32(116), int(f.b[123])
	h.qform, h.sform = int(f.i16(252)), int(f.i16(254))
	for i := range 3 {
		h.quatern[i], h.qoffset[i] = f.f32(256+4*i), f.f32(268+4*i)
		for k := range 4 {
			h.srow[i][k] = f.f32(280 + 16*i + 4*k)
		}
	}
	return nil
}

func (h *header) two(f fields) error {
	if magic := f.b[4:12]; !bytes.Equal(magic, []byte("n+2\x00\r\n\x1a\n")) {
		return fmt.Errorf("magic %q, a single file of version 2 has \"n+2\": %w", magic, ErrFormat)
	}
	h.version = 2
	for i := range 8 {
		h.dim[i], h.pixdim[i] = f.i64(16+8*i), f.f64(104+8*i)
	}
	h.datatype, h.voxOffset = int(f.i16(12)), float64(f.i64(168))
	h.slope, h.intercept, h.units = f.f64(176), f.f64(184), int(f.i32(500))
	h.qform, h.sform = int(f.i32(344)), int(f.i32(348))
	for i := range 3 {
		h.quatern[i], h.qoffset[i] = f.f64(352+8*i), f.f64(376+8*i)
		for k := range 4 {
			h.srow[i][k] = f.f64(400 + 32*i + 8*k)
		}
	}
	return nil
}

// fields reads numbers of a header.
type fields struct {
	b     []byte
	order binary.ByteOrder
}

func (f fields) i16(at int) int64   { return int64(int16(f.order.Uint16(f.b[at:]))) }
func (f fields) i32(at int) int64   { return int64(int32(f.order.Uint32(f.b[at:]))) }
func (f fields) i64(at int) int64   { return int64(f.order.Uint64(f.b[at:])) }
func (f fields) f32(at int) float64 { return float64(math.Float32frombits(f.order.Uint32(f.b[at:]))) }
func (f fields) f64(at int) float64 { return math.Float64frombits(f.order.Uint64(f.b[at:])) }

// kinds are the types of voxels, by their number in the header.
var kinds = map[int]struct {
	bytes int
	value func(binary.ByteOrder, []byte) float64
}{
	2:    {1, func(_ binary.ByteOrder, b []byte) float64 { return float64(b[0]) }},
	4:    {2, func(o binary.ByteOrder, b []byte) float64 { return float64(int16(o.Uint16(b))) }},
	8:    {4, func(o binary.ByteOrder, b []byte) float64 { return float64(int32(o.Uint32(b))) }},
	16:   {4, func(o binary.ByteOrder, b []byte) float64 { return float64(math.Float32frombits(o.Uint32(b))) }},
	64:   {8, func(o binary.ByteOrder, b []byte) float64 { return math.Float64frombits(o.Uint64(b)) }},
	256:  {1, func(_ binary.ByteOrder, b []byte) float64 { return float64(int8(b[0])) }},
	512:  {2, func(o binary.ByteOrder, b []byte) float64 { return float64(o.Uint16(b)) }},
	768:  {4, func(o binary.ByteOrder, b []byte) float64 { return float64(o.Uint32(b)) }},
	1024: {8, func(o binary.ByteOrder, b []byte) float64 { return float64(int64(o.Uint64(b))) }},
	1280: {8, func(o binary.ByteOrder, b []byte) float64 { return float64(o.Uint64(b)) }},
}

// voxels reads n voxels, scaled. A slope of 0 means that there is no scaling. NaN counts as air.
func (h *header) voxels(r io.Reader, order binary.ByteOrder, n int) ([]int16, error) {
	kind, ok := kinds[h.datatype]
	if !ok {
		return nil, fmt.Errorf("voxels of type %d; integers and real numbers are read: %w", h.datatype, ErrFormat)
	}
	slope, intercept := h.slope, h.intercept
	if slope == 0 || math.IsNaN(slope) || math.IsInf(slope, 0) {
		slope, intercept = 1, 0
	}
	if math.IsNaN(intercept) || math.IsInf(intercept, 0) {
		intercept = 0
	}
	const chunk = 64 << 10 // voxels
	var out []int16
	raw := make([]byte, min(n, chunk)*kind.bytes)
	for len(out) < n {
		raw = raw[:min(n-len(out), chunk)*kind.bytes]
		if _, err := io.ReadFull(r, raw); err != nil {
			return nil, short(err)
		}
		for b := raw; len(b) > 0; b = b[kind.bytes:] {
			out = append(out, hounsfield(slope*kind.value(order, b)+intercept))
		}
	}
	return out, nil
}

// airHU is what values that are no numbers, and those beyond the range of a CT, stand for.
const airHU = -1024

func hounsfield(v float64) int16 {
	if math.IsNaN(v) {
		return airHU
	}
	return int16(math.Round(min(max(v, airHU), math.MaxInt16)))
}
