// Package jpegll decodes lossless JPEG with Huffman coding, process 14 of ITU-T T.81 (Annex H): all predictors, point
// transform, 2 to 16 bits, restart intervals, any number of scans. In DICOM these are JPEG Lossless and JPEG Lossless SV1.
package jpegll

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Markers of T.81 Table B.1.
const (
	soi  = 0xD8
	eoi  = 0xD9
	sof3 = 0xC3 // lossless, Huffman
	dht  = 0xC4
	sos  = 0xDA
	dri  = 0xDD
	dnl  = 0xDC
	dac  = 0xCC
	jpg  = 0xC8
	rst0 = 0xD0
	rst7 = 0xD7
	tem  = 0x01
)

var errTruncated = errors.New("JPEG stream ends too early")

// decoder is the state of one frame.
type decoder struct {
	src []byte // what is not yet read

	width, height, components int // as the image says; the frame header must agree
	precision                 int
	ids                       []byte // of the components, in the order of the frame header
	seen                      []bool // decoded components

	tables  [4]*spec
	restart int // interval in pixels, 0 for none

	out []uint16 // samples of a pixel together
}

// Decode returns the samples of a frame of the given size, those of a pixel together, and their precision in bits. A
// stream of another size is an error; it is found before memory is taken for it.
func Decode(src []byte, width, height, components int) (samples []uint16, precision int, err error) {
	if width < 1 || height < 1 || components < 1 {
		return nil, 0, fmt.Errorf("image of %d x %d pixels with %d samples", width, height, components)
	}
	d := &decoder{src: src, width: width, height: height, components: components}
	if len(src) < 2 || src[0] != 0xFF || src[1] != soi {
		return nil, 0, errors.New("no JPEG stream: it does not begin with SOI")
	}
	d.src = src[2:]
	for {
		marker, err := d.marker()
		if err != nil {
			return nil, 0, err
		}
		if marker == eoi {
			break
		}
		segment, err := d.segment()
		if err != nil {
			return nil, 0, err
		}
		switch {
		case marker == sof3:
			err = d.frame(segment)
		case marker == dht:
			err = d.huffman(segment)
		case marker == dri:
			if len(segment) != 2 {
				return nil, 0, fmt.Errorf("restart interval of %d bytes", len(segment))
			}
			d.restart = int(binary.BigEndian.Uint16(segment))
		case marker == sos:
			err = d.scan(segment)
		case marker == dnl, marker == dac, marker == jpg, marker > sof3 && marker <= 0xCF, marker >= 0xC0 && marker < sof3:
			err = fmt.Errorf("marker FF%02X is not of lossless Huffman JPEG", marker)
		}
		if err != nil {
			return nil, 0, err
		}
		if d.complete() {
			break // some writers leave EOI out
		}
	}
	if !d.complete() {
		return nil, 0, errTruncated
	}
	return d.out, d.precision, nil
}

func (d *decoder) complete() bool {
	for _, s := range d.seen {
		if !s {
			return false
		}
	}
	return len(d.seen) > 0
}

// marker takes the next marker, with fill bytes before it (T.81 §B.1.1.2).
func (d *decoder) marker() (byte, error) {
	if len(d.src) < 2 {
		return 0, errTruncated
	}
	if d.src[0] != 0xFF {
		return 0, fmt.Errorf("byte %02X where a JPEG marker should be", d.src[0])
	}
	for len(d.src) > 0 && d.src[0] == 0xFF {
		d.src = d.src[1:]
	}
	if len(d.src) == 0 {
		return 0, errTruncated
	}
	m := d.src[0]
	d.src = d.src[1:]
	if m == 0 || m == tem || m == soi || m >= rst0 && m <= rst7 {
		return 0, fmt.Errorf("marker FF%02X out of place", m)
	}
	return m, nil
}

// segment takes the parameters of a marker.
func (d *decoder) segment() ([]byte, error) {
	if len(d.src) < 2 {
		return nil, errTruncated
	}
	n := int(binary.BigEndian.Uint16(d.src))
	if n < 2 || n > len(d.src) {
		return nil, fmt.Errorf("marker segment of %d bytes, %d left", n, len(d.src))
	}
	s := d.src[2:n]
	d.src = d.src[n:]
	return s, nil
}

// frame reads the frame header (T.81 §B.2.2).
func (d *decoder) frame(b []byte) error {
	if d.ids != nil {
		return errors.New("second frame header")
	}
	if len(b) < 6 || len(b) != 6+3*int(b[5]) {
		return fmt.Errorf("frame header of %d bytes", len(b))
	}
	height, width := int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	if width != d.width || height != d.height || int(b[5]) != d.components {
		return fmt.Errorf("JPEG frame of %d x %d pixels with %d samples, the image has %d x %d with %d",
			width, height, b[5], d.width, d.height, d.components)
	}
	if d.precision = int(b[0]); d.precision < 2 || d.precision > 16 {
		return fmt.Errorf("samples of %d bits", d.precision)
	}
	ids := make([]byte, 0, d.components)
	for c := b[6:]; len(c) > 0; c = c[3:] {
		if d.components > 1 && c[1] != b[7] {
			return errors.New("components of different resolution")
		}
		for _, id := range ids {
			if id == c[0] {
				return fmt.Errorf("two components with number %d", id)
			}
		}
		ids = append(ids, c[0])
	}
	d.ids, d.seen = ids, make([]bool, d.components)
	return nil
}
