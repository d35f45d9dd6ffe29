package dcm

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math"
)

// PixelSource says where (7FE0,0010) lies.
type PixelSource struct {
	VR           VR
	Offset       int64 // of the value, from the start of the file; of the inflated data set where Deflated
	Length       int64 // bytes; -1 where encapsulated
	Encapsulated bool  // PS3.5 §A.4
	Deflated     bool

	bigEndian bool
}

// PixelData returns the native pixel data of all frames, little endian, exactly as many bytes as Rows, Columns,
// Samples per Pixel, Bits Allocated and Number of Frames say (PS3.5 §8.1.1). Errors: ErrPixelData, ErrLimit,
// ErrTruncated.
func (f *File) PixelData() ([]byte, error) {
	p := f.Pixels
	switch {
	case p == nil:
		return nil, fmt.Errorf("no (7FE0,0010): %w", ErrPixelData)
	case p.Encapsulated:
		return nil, fmt.Errorf("compressed as %s: %w", UIDName(f.Meta.TransferSyntaxUID), ErrPixelData)
	}
	want, bits, err := f.pixelBytes()
	if err != nil {
		return nil, err
	}
	if p.Length < want { // longer is padding
		return nil, fmt.Errorf("%d bytes, the image attributes ask for %d: %w", p.Length, want, ErrPixelData)
	}
	var out []byte
	if p.Deflated {
		out, err = f.inflatePixels(want)
	} else if p.Offset+want > f.size {
		err = fmt.Errorf("%d bytes of pixel data, the file has %d of them: %w", want, f.size-p.Offset, ErrTruncated)
	} else {
		out = make([]byte, want)
		if n, rerr := f.src.ReadAt(out, p.Offset); int64(n) < want {
			err = fmt.Errorf("pixel data: %w: %w", ErrTruncated, rerr)
		}
	}
	if err != nil {
		return nil, err
	}
	if p.bigEndian && bits > 8 {
		size := bits / 8
		if p.VR == "OW" {
			size = 2 // swapped word by word, whatever the cells are (PS3.5 §A.3)
		}
		out = littleEndian(out, size, true)
	} else if p.bigEndian && p.VR == "OW" {
		out = littleEndian(out, 2, true)
	}
	return out, nil
}

// pixelBytes is the length of the native pixel data by the image attributes.
func (f *File) pixelBytes() (n int64, bits int, err error) {
	factor := func(t Tag, absent, most int) int {
		v, ok := f.Data.Int(t)
		if !ok {
			v = absent
		}
		if err == nil && (v < 1 || v > most) {
			err = fmt.Errorf("%s is %d: %w", t, v, ErrPixelData)
		}
		return v
	}
	rows, columns := factor(Rows, 0, math.MaxUint16), factor(Columns, 0, math.MaxUint16)
	samples, frames := factor(SamplesPerPixel, 1, 4), factor(NumberOfFrames, 1, math.MaxInt32)
	bits = factor(BitsAllocated, 0, 64)
	if err != nil {
		return 0, 0, err
	}
	if bits != 1 && bits != 8 && bits != 16 && bits != 32 && bits != 64 {
		return 0, 0, fmt.Errorf("%d bits allocated: %w", bits, ErrPixelData)
	}
	cells := int64(rows) * int64(columns) * int64(samples) // below 2^34
	if cells > f.lim.PixelBytes*8/int64(frames)/int64(bits) {
		return 0, 0, fmt.Errorf("%d frames of %d x %d pixels, more than %d bytes: %w", frames, columns, rows, f.lim.PixelBytes, ErrLimit)
	}
	return (cells*int64(frames)*int64(bits) + 7) / 8, bits, nil
}

// inflatePixels inflates the data set again, up to the end of the pixel data; memory grows with what really comes.
func (f *File) inflatePixels(want int64) ([]byte, error) {
	if f.Pixels.Offset+want > f.lim.InflatedBytes {
		return nil, fmt.Errorf("%d bytes inflated, the limit is %d: %w", f.Pixels.Offset+want, f.lim.InflatedBytes, ErrLimit)
	}
	z := flate.NewReader(f.Encoded())
	if _, err := io.CopyN(io.Discard, z, f.Pixels.Offset); err != nil {
		return nil, fmt.Errorf("pixel data: %w: %w", ErrTruncated, err)
	}
	var out bytes.Buffer
	if n, err := io.CopyN(&out, z, want); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("pixel data: %d of %d bytes: %w: %w", n, want, ErrTruncated, err)
	}
	return out.Bytes(), nil
}
