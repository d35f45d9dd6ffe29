package codec

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"

	"ichor/scp/dcm"
	"ichor/scp/dcm/codec/t81"
)

// decodeJPEGBaseline decodes a frame of sequential 8-bit JPEG, which is lossy, with the standard library.
func decodeJPEGBaseline(_ context.Context, src []byte, im dcm.Image) ([]byte, error) {
	if im.BitsAllocated != 8 {
		return nil, fmt.Errorf("JPEG of 8 bits for cells of %d", im.BitsAllocated)
	}
	if err := sequential(src, im); err != nil {
		return nil, err
	}
	decoded, err := jpeg.Decode(bytes.NewReader(src))
	if err != nil {
		return nil, err
	}
	if decoded.Bounds() != image.Rect(0, 0, im.Columns, im.Rows) {
		return nil, fmt.Errorf("JPEG frame of %v, but the image has %d x %d pixels", decoded.Bounds(), im.Columns, im.Rows)
	}
	out := make([]byte, 0, im.FrameCells())
	switch g, gray := decoded.(*image.Gray); {
	case gray && im.Samples == 1:
		for y := range im.Rows {
			out = append(out, g.Pix[y*g.Stride:y*g.Stride+im.Columns]...)
		}
	case !gray && im.Samples == 3:
		for y := range im.Rows {
			for x := range im.Columns {
				c := color.RGBAModel.Convert(decoded.At(x, y)).(color.RGBA)
				out = append(out, c.R, c.G, c.B)
			}
		}
	default:
		return nil, fmt.Errorf("JPEG frame does not have %d samples", im.Samples)
	}
	return out, nil
}

// sequential checks the markers up to the first scan: the frame must be sequential 8-bit Huffman JPEG of the size of the image.
// Progressive frames do not belong to this transfer syntax, and each of their many scans costs a whole image.
func sequential(src []byte, im dcm.Image) error {
	s, err := t81.Open(src)
	if err != nil {
		return err
	}
	for {
		marker, b, err := s.Next()
		switch {
		case err != nil:
			return err
		case marker == t81.SOF0 || marker == t81.SOF1:
			if len(b) < 6 || b[0] != 8 { // not t81.ReadFrame, because chroma may have a lower resolution
				return errors.New("JPEG frame does not have 8 bits")
			}
			height, width := int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
			if height != im.Rows || width != im.Columns || int(b[5]) != im.Samples {
				return fmt.Errorf("JPEG frame of %d x %d pixels with %d samples, but the image has %d x %d with %d",
					width, height, b[5], im.Columns, im.Rows, im.Samples)
			}
			return nil
		case marker > t81.SOF1 && marker <= 0xCF && marker != t81.DHT, marker == t81.SOS:
			return fmt.Errorf("marker FF%02X does not belong to sequential JPEG", marker)
		}
	}
}
