// Package t81 takes apart what the JPEG processes have in common: marker segments (ITU-T T.81 §B.1), and the frame
// header (§B.2.2), which JPEG-LS shares (T.87 §C.2.2). What is entropy-coded is up to each process.
package t81

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Markers of T.81 Table B.1.
const (
	TEM  = 0x01
	SOF0 = 0xC0 // baseline
	SOF1 = 0xC1 // extended sequential, Huffman
	SOF3 = 0xC3 // lossless, Huffman
	DHT  = 0xC4
	JPG  = 0xC8
	DAC  = 0xCC
	RST0 = 0xD0
	RST7 = 0xD7
	SOI  = 0xD8
	EOI  = 0xD9
	SOS  = 0xDA
	DNL  = 0xDC
	DRI  = 0xDD
)

// ErrTruncated: the stream ends too early.
var ErrTruncated = errors.New("JPEG stream ends too early")

// Stream is what is not yet read of a JPEG stream.
type Stream []byte

// Open takes SOI off the front of src.
func Open(src []byte) (Stream, error) {
	if len(src) < 2 || src[0] != 0xFF || src[1] != SOI {
		return nil, errors.New("no JPEG stream: it does not begin with SOI")
	}
	return src[2:], nil
}

// Next takes the next marker, with fill bytes before it, and its parameters, of which EOI has none (T.81 §B.1.1.2,
// §B.1.1.4). A marker that stands alone but EOI is out of place.
func (s *Stream) Next() (marker byte, parameters []byte, err error) {
	b := *s
	if len(b) < 2 {
		return 0, nil, ErrTruncated
	}
	if b[0] != 0xFF {
		return 0, nil, fmt.Errorf("byte %02X where a JPEG marker should be", b[0])
	}
	for len(b) > 0 && b[0] == 0xFF {
		b = b[1:]
	}
	if len(b) == 0 {
		return 0, nil, ErrTruncated
	}
	marker, b = b[0], b[1:]
	switch {
	case marker == 0 || marker == TEM || marker >= RST0 && marker <= SOI:
		return 0, nil, fmt.Errorf("marker FF%02X out of place", marker)
	case marker == EOI:
		*s = b
		return marker, nil, nil
	case len(b) < 2:
		return 0, nil, ErrTruncated
	}
	n := int(binary.BigEndian.Uint16(b))
	if n < 2 || n > len(b) {
		return 0, nil, fmt.Errorf("marker segment of %d bytes, %d left", n, len(b))
	}
	*s = b[n:]
	return marker, b[2:n], nil
}

// Frame is a frame header whose components have one resolution.
type Frame struct {
	Precision  int    // bits a sample, 2 to 16
	Components []byte // their numbers, each other
}

// ReadFrame reads the parameters of a frame header, which must be of an image of this size.
func ReadFrame(b []byte, width, height, components int) (Frame, error) {
	if len(b) < 6 || len(b) != 6+3*int(b[5]) {
		return Frame{}, fmt.Errorf("frame header of %d bytes", len(b))
	}
	h, w := int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	if w != width || h != height || int(b[5]) != components {
		return Frame{}, fmt.Errorf("JPEG frame of %d x %d pixels with %d samples, the image has %d x %d with %d",
			w, h, b[5], width, height, components)
	}
	f := Frame{Precision: int(b[0])}
	if f.Precision < 2 || f.Precision > 16 {
		return Frame{}, fmt.Errorf("samples of %d bits", f.Precision)
	}
	for c := b[6:]; len(c) > 0; c = c[3:] {
		if components > 1 && c[1] != b[7] {
			return Frame{}, errors.New("components of different resolution")
		}
		for _, id := range f.Components {
			if id == c[0] {
				return Frame{}, fmt.Errorf("two components with number %d", id)
			}
		}
		f.Components = append(f.Components, c[0])
	}
	return f, nil
}

// Scan is a scan header (T.81 §B.2.3, T.87 §C.2.3).
type Scan struct {
	Components []int  // indices into those of the frame
	Tables     []byte // what is selected for each: Huffman tables, or a mapping table
	Start, End byte   // Ss and Se: of lossless JPEG the predictor, of JPEG-LS NEAR and the interleave mode
	Transform  byte   // Ah and Al: of lossless processes, Al is the point transform
}

// Scans reads scan headers, each of components that no other has.
type Scans struct {
	frame []byte
	seen  []bool
}

// Scans returns a reader of the scan headers behind f.
func (f Frame) Scans() Scans { return Scans{f.Components, make([]bool, len(f.Components))} }

// Read reads the parameters of a scan header.
func (s Scans) Read(b []byte) (Scan, error) {
	if s.frame == nil {
		return Scan{}, errors.New("scan before the frame header")
	}
	if len(b) < 4 || len(b) != 4+2*int(b[0]) || b[0] < 1 || int(b[0]) > len(s.frame) {
		return Scan{}, fmt.Errorf("scan header of %d bytes", len(b))
	}
	n := int(b[0])
	out := Scan{Start: b[1+2*n], End: b[2+2*n], Transform: b[3+2*n]}
	for i := range n {
		at := -1
		for c, id := range s.frame {
			if id == b[1+2*i] {
				at = c
			}
		}
		if at < 0 || s.seen[at] {
			return Scan{}, fmt.Errorf("scan of component %d, which is decoded or not there", b[1+2*i])
		}
		s.seen[at] = true
		out.Components, out.Tables = append(out.Components, at), append(out.Tables, b[2+2*i])
	}
	return out, nil
}

// Complete reports whether every component was in a scan.
func (s Scans) Complete() bool {
	for _, seen := range s.seen {
		if !seen {
			return false
		}
	}
	return len(s.seen) > 0
}
