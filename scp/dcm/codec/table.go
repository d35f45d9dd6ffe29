package codec

import (
	"context"
	"encoding/binary"
	"fmt"

	"ichor/scp/dcm"
	"ichor/scp/dcm/codec/jpegll"
	"ichor/scp/dcm/codec/jpegls"
	"ichor/scp/dcm/codec/rle"
)

// entry is a transfer syntax and its decoder from one frame to cells, nil for uncompressed ones, which dcm reads.
type entry struct {
	transferSyntax string
	decode         func(ctx context.Context, src []byte, im dcm.Image) ([]byte, error)
}

// tableOf returns the decoded transfer syntaxes in order of preference: uncompressed before compressed, lossless before lossy,
// fast before slow. JPEG Extended is missing because 12-bit JPEG is not decoded.
func tableOf(o Options) []entry {
	t := []entry{
		{dcm.ExplicitVRLittleEndian, nil},
		{dcm.ImplicitVRLittleEndian, nil},
		{dcm.ExplicitVRBigEndian, nil},
		{dcm.DeflatedExplicitVRLittleEndian, nil},
		{dcm.RLELossless, decodeRLE},
		{dcm.JPEGLosslessSV1, decodeJPEGLossless},
		{dcm.JPEGLossless, decodeJPEGLossless},
		{dcm.JPEGLSLossless, decodeJPEGLS},
	}
	j2k := func(ctx context.Context, src []byte, im dcm.Image) ([]byte, error) {
		samples, precision, err := o.OpenJPEG.Decode(ctx, src, im.Columns, im.Rows, im.Samples)
		return cells(samples, precision, im, err)
	}
	if o.OpenJPEG != nil && o.OpenJPEG.HTJ2K() {
		t = append(t, entry{dcm.HTJ2KLossless, j2k}, entry{dcm.HTJ2KLosslessRPCL, j2k})
	}
	if o.OpenJPEG != nil {
		t = append(t, entry{dcm.JPEG2000Lossless, j2k})
	}
	t = append(t, entry{dcm.JPEGLSNearLossless, decodeJPEGLS})
	if o.OpenJPEG != nil && o.OpenJPEG.HTJ2K() {
		t = append(t, entry{dcm.HTJ2K, j2k})
	}
	if o.OpenJPEG != nil {
		t = append(t, entry{dcm.JPEG2000, j2k})
	}
	return append(t, entry{dcm.JPEGBaseline8Bit, decodeJPEGBaseline})
}

func decodeRLE(_ context.Context, src []byte, im dcm.Image) ([]byte, error) {
	return rle.Decode(src, im.Rows*im.Columns, im.Samples, im.BitsAllocated/8)
}

func decodeJPEGLossless(_ context.Context, src []byte, im dcm.Image) ([]byte, error) {
	samples, precision, err := jpegll.Decode(src, im.Columns, im.Rows, im.Samples)
	return cells(samples, precision, im, err)
}

func decodeJPEGLS(_ context.Context, src []byte, im dcm.Image) ([]byte, error) {
	samples, info, err := jpegls.Decode(src, im.Columns, im.Rows, im.Samples)
	return cells(samples, info.Precision, im, err)
}

// cells packs samples of precision bits into the cells of an image (PS3.5 §8.1.1).
func cells(samples []uint16, precision int, im dcm.Image, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if precision > im.BitsAllocated {
		return nil, fmt.Errorf("samples of %d bits for cells of %d", precision, im.BitsAllocated)
	}
	if shift := 16 - precision; im.Signed && shift > 0 {
		for i, v := range samples {
			samples[i] = uint16(int16(v<<shift) >> shift)
		}
	}
	out := make([]byte, 0, len(samples)*im.BitsAllocated/8)
	for _, v := range samples {
		if im.BitsAllocated == 8 {
			out = append(out, byte(v))
		} else {
			out = binary.LittleEndian.AppendUint16(out, v)
		}
	}
	return out, nil
}
