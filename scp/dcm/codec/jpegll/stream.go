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
	src t81.Stream // the unread rest

	width, height, components int // of the image; the frame header must agree
	frame                     t81.Frame
	scans                     t81.Scans

	tables  [4]*spec
	restart int // interval in pixels, 0 for none

	out []uint16 // the samples of a pixel are adjacent
}

// Decode returns the samples of a frame of the given size and their precision in bits; the samples of a pixel are adjacent. If
// the stream has another size, it returns an error before it allocates memory.
func Decode(src []byte, width, height, components int) (samples []uint16, precision int, err error) {
	if width < 1 || height < 1 || components < 1 {
		return nil, 0, fmt.Errorf("image of %d x %d pixels with %d samples", width, height, components)
	}
	d := &decoder{width: width, height: height, components: components}
	if d.src, err = t81.Open(src); err != nil {
		return nil, 0, err
	}
	for !d.scans.Complete() { // some writers omit EOI
		if err := d.next(); err != nil {
			return nil, 0, err
		}
	}
	return d.out, d.frame.Precision, nil
}

// next reads a marker segment and, after a scan header, the scan.
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
	case marker == t81.DNL, marker >= t81.SOF0 && marker <= 0xCF: // except DHT and SOF3: other processes and arithmetic coding
		return fmt.Errorf("marker FF%02X does not belong to lossless Huffman JPEG", marker)
	}
	return nil
}
