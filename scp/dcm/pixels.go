package dcm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
)

// PixelSource is the position of (7FE0,0010).
type PixelSource struct {
	VR           VR
	Offset       int64 // of the value, from the start of the file, or of the inflated data set if Deflated
	Length       int64 // bytes; -1 if encapsulated
	Encapsulated bool  // PS3.5 §A.4
	Deflated     bool

	bigEndian bool
}

// mostPadding is what may follow the native pixel data of a small image, in bytes.
const mostPadding = 64 << 10

// PixelData returns the native pixel data of all frames, little endian. Its length follows from Rows, Columns, Samples per
// Pixel, Bits Allocated and Number of Frames (PS3.5 §8.1.1). Errors: ErrPixelData, ErrLimit,
// ErrTruncated.
func (f *File) PixelData() ([]byte, error) {
	p := f.Pixels
	switch {
	case p == nil:
		return nil, fmt.Errorf("no (7FE0,0010): %w", ErrPixelData)
	case p.Encapsulated:
		return nil, fmt.Errorf("compressed as %s: %w", UIDName(f.Meta.TransferSyntaxUID), ErrPixelData)
	}
	im, err := f.Image()
	if err != nil {
		return nil, err
	}
	bits, cells := im.BitsAllocated, im.Bytes()
	// A little more is padding; much more are pixels that Rows and Columns leave out.
	if p.Length < cells || p.Length > cells+max(mostPadding, cells/16) {
		return nil, fmt.Errorf("%d bytes, but the image attributes (Rows, Columns, Bits Allocated, Number of Frames) require %d: %w", p.Length, cells, ErrPixelData)
	}
	want := cells
	if p.bigEndian && p.VR == "OW" {
		want = min(want+want%2, p.Length) // of an odd number, the last byte is the second one of its word
	}
	var out []byte
	if p.Deflated {
		out, err = f.inflatePixels(want)
	} else if p.Offset+want > f.size {
		err = fmt.Errorf("%d bytes of pixel data, but the file has only %d: %w", want, f.size-p.Offset, ErrTruncated)
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
			size = 2 // swapped word by word for any size of cells (PS3.5 §A.3)
		}
		out = littleEndian(out, size, true)
	} else if p.bigEndian && p.VR == "OW" {
		out = littleEndian(out, 2, true)
	}
	return out[:cells], nil
}

// Image describes the cells of the pixel data, from the Image Pixel module (PS3.3 §C.7.6.3).
type Image struct {
	Rows, Columns, Samples int
	Frames                 int
	BitsAllocated          int
	Signed                 bool
}

// FrameCells returns the number of cells of one frame: one for each sample of each pixel.
func (im Image) FrameCells() int { return im.Rows * im.Columns * im.Samples }

// Bytes returns the length of the native pixel data of all frames.
func (im Image) Bytes() int64 {
	return (int64(im.FrameCells())*int64(im.Frames)*int64(im.BitsAllocated) + 7) / 8
}

// Image reads and checks the attributes that determine the size of the pixel data. Errors: ErrPixelData, and ErrLimit if it
// would be larger than Limits.PixelBytes.
func (f *File) Image() (im Image, err error) {
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
	im.Rows, im.Columns = factor(Rows, 0, math.MaxUint16), factor(Columns, 0, math.MaxUint16)
	im.Samples, im.Frames = factor(SamplesPerPixel, 1, 4), f.frames()
	if im.Frames < 1 || im.Frames > math.MaxInt32 {
		return Image{}, fmt.Errorf("%s is %d: %w", NumberOfFrames, im.Frames, ErrPixelData)
	}
	im.BitsAllocated = factor(BitsAllocated, 0, 64)
	sign, _ := f.Data.Int(PixelRepresentation)
	im.Signed = sign == 1
	if err != nil {
		return Image{}, err
	}
	switch bits := im.BitsAllocated; bits {
	case 1, 8, 16, 32, 64:
	default:
		return Image{}, fmt.Errorf("%d bits allocated: %w", bits, ErrPixelData)
	}
	// The product of rows, columns and samples is below 2^34.
	if int64(im.FrameCells()) > f.lim.PixelBytes*8/int64(im.Frames)/int64(im.BitsAllocated) {
		return Image{}, fmt.Errorf("%d frames of %d x %d pixels, more than %d bytes: %w", im.Frames, im.Columns, im.Rows, f.lim.PixelBytes, ErrLimit)
	}
	return im, nil
}

// frames returns Number of Frames; 0 is read as 1.
func (f *File) frames() int {
	if n, ok := f.Data.Int(NumberOfFrames); ok && n != 0 {
		return n
	}
	return 1
}

// inflatePixels inflates the data set again, up to the end of the pixel data. It allocates memory only for bytes that arrive.
func (f *File) inflatePixels(want int64) ([]byte, error) {
	if f.Pixels.Offset+want > f.lim.InflatedBytes {
		return nil, fmt.Errorf("%d bytes inflated, more than the limit of %d: %w", f.Pixels.Offset+want, f.lim.InflatedBytes, ErrLimit)
	}
	z := inflate(f.Encoded())
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
