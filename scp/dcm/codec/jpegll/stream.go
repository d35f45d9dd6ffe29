// Package jpegll decodes lossless JPEG with Huffman coding, process 14 of ITU-T T.81 (Annex H): all predictors, point
// transform, 2 to 16 bits, restart intervals, any number of scans. In DICOM these are JPEG Lossless and JPEG Lossless SV1.
package jpegll

import (
	"encoding/binary"
	"errors"
	"fmt"

	"ichor/scp/dcm/codec/t81"
)

// decoder is the state of one frame.
type decoder struct {
	src t81.Stream // what is not yet read

	width, height, components int // as the image says; the frame header must agree
	frame                     t81.Frame
	scans                     t81.Scans

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
	d := &decoder{width: width, height: height, components: components}
	if d.src, err = t81.Open(src); err != nil {
		return nil, 0, err
	}
	for !d.scans.Complete() { // some writers leave EOI out
		if err := d.next(); err != nil {
			return nil, 0, err
		}
	}
	return d.out, d.frame.Precision, nil
}

// next takes a marker segment, and the scan behind it where it is a scan header.
func (d *decoder) next() error {
	marker, b, err := d.src.Next()
	switch {
	case err != nil:
		return err
	case marker == t81.EOI:
		return t81.ErrTruncated
	case marker == t81.SOF3 && d.frame.Components != nil:
		return errors.New("second frame header")
	case marker == t81.SOF3:
		d.frame, err = t81.ReadFrame(b, d.width, d.height, d.components)
		d.scans = d.frame.Scans()
		return err
	case marker == t81.DHT:
		return d.huffman(b)
	case marker == t81.DRI:
		if len(b) != 2 {
			return fmt.Errorf("restart interval of %d bytes", len(b))
		}
		d.restart = int(binary.BigEndian.Uint16(b))
	case marker == t81.SOS:
		return d.scan(b)
	case marker == t81.DNL, marker >= t81.SOF0 && marker <= 0xCF: // DHT and SOF3 apart, other processes and arithmetic coding
		return fmt.Errorf("marker FF%02X is not of lossless Huffman JPEG", marker)
	}
	return nil
}
