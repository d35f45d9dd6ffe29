// Package t81 parses the parts that all JPEG processes share: marker segments (ITU-T T.81 §B.1) and the frame header (§B.2.2),
// which JPEG-LS has too (T.87 §C.2.2). Entropy-coded data is decoded by the packages of the processes.
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

// Stream is the unread rest of a JPEG stream.
type Stream []byte

// Open reads SOI at the start of src.
func Open(src []byte) (Stream, error) {
	if len(src) < 2 || src[0] != 0xFF || src[1] != SOI {
		return nil, errors.New("not a JPEG stream: it does not start with SOI")
	}
	return src[2:], nil
}

// Next reads fill bytes, the next marker and its parameters; EOI has none (T.81 §B.1.1.2, §B.1.1.4). Other markers without
// parameters are errors.
func (s *Stream) Next() (marker byte, parameters []byte, err error) {
	b := *s
	if len(b) < 2 {
		return 0, nil, ErrTruncated
	}
	if b[0] != 0xFF {
		return 0, nil, fmt.Errorf("byte %02X in place of a JPEG marker", b[0])
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
		return 0, nil, fmt.Errorf("marker segment of %d bytes, but only %d are left", n, len(b))
	}
	*s = b[n:]
	return marker, b[2:n], nil
}

// Frame is a frame header with components of equal resolution.
type Frame struct {
	Precision  int    // bits a sample, 2 to 16
	Components []byte // their numbers, all different
}

// ReadFrame reads the parameters of a frame header, which must have the size of the image.
func ReadFrame(b []byte, width, height, components int) (Frame, error) {
	if len(b) < 6 || len(b) != 6+3*int(b[5]) {
		return Frame{}, fmt.Errorf("frame header of %d bytes", len(b))
	}
	h, w := int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	if w != width || h != height || int(b[5]) != components {
		return Frame{}, fmt.Errorf("JPEG frame of %d x %d pixels with %d samples, but the image has %d x %d with %d",
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
	Tables     []byte // selected for each component: Huffman tables, or a mapping table
	Start, End byte   // Ss and Se: the predictor in lossless JPEG, NEAR and the interleave mode in JPEG-LS
	Transform  byte   // Ah and Al: in lossless processes, Al is the point transform
}

// Scans reads scan headers. No component may be in two scans.
type Scans struct {
	frame []byte
	seen  []bool
}

// Scans returns a reader of the scan headers after f.
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
			return Scan{}, fmt.Errorf("scan of component %d, which is missing or already decoded", b[1+2*i])
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
