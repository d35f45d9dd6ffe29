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
)

// decodeJPEGBaseline decodes a frame of sequential JPEG with 8 bits, which is lossy, by the standard library.
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
		return nil, fmt.Errorf("JPEG frame of %v, the image has %d x %d pixels", decoded.Bounds(), im.Columns, im.Rows)
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
		return nil, fmt.Errorf("JPEG frame of another kind than %d samples", im.Samples)
	}
	return out, nil
}

// sequential looks at the markers up to the first scan: the frame must be sequential Huffman JPEG of 8 bits, as large
// as the image. Progressive frames are not of this transfer syntax, and each of their many scans costs a whole image.
func sequential(src []byte, im dcm.Image) error {
	if len(src) < 2 || src[0] != 0xFF || src[1] != 0xD8 {
		return errors.New("no JPEG stream: it does not begin with SOI")
	}
	for at := 2; at+4 <= len(src); {
		marker := src[at+1]
		if src[at] != 0xFF {
			return fmt.Errorf("byte %02X where a JPEG marker should be", src[at])
		}
		if marker == 0xFF { // fill
			at++
			continue
		}
		segment := src[at+2:]
		n := int(binary.BigEndian.Uint16(segment))
		if n < 2 || n > len(segment) {
			return fmt.Errorf("marker segment of %d bytes, %d left", n, len(segment))
		}
		switch {
		case marker == 0xC0 || marker == 0xC1:
			if n < 8 || segment[2] != 8 {
				return errors.New("JPEG frame of other than 8 bits")
			}
			height, width := int(binary.BigEndian.Uint16(segment[3:])), int(binary.BigEndian.Uint16(segment[5:]))
			if height != im.Rows || width != im.Columns || int(segment[7]) != im.Samples {
				return fmt.Errorf("JPEG frame of %d x %d pixels with %d samples, the image has %d x %d with %d",
					width, height, segment[7], im.Columns, im.Rows, im.Samples)
			}
			return nil
		case marker > 0xC1 && marker <= 0xCF && marker != 0xC4, marker == 0xDA:
			return fmt.Errorf("marker FF%02X is not of sequential JPEG", marker)
		}
		at += 2 + n
	}
	return errors.New("JPEG stream ends too early")
}
