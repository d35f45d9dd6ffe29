package dcm

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// recognise corrects the transfer syntax of an object that is labelled as uncompressed but has encapsulated pixel data, if the
// first bytes of the stream are unambiguous. Otherwise the pixels cannot be decoded.
func (f *File) recognise() error {
	native := []string{ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian}
	if f.Pixels == nil || !f.Pixels.Encapsulated || !slices.Contains(native, f.Meta.TransferSyntaxUID) {
		return nil
	}
	items, err := f.fragments()
	if err != nil || len(items) < 2 {
		return nil // Frames reports the error
	}
	head := make([]byte, min(items[1].length, 4<<10))
	if n, err := f.src.ReadAt(head, items[1].offset); n < len(head) {
		return fmt.Errorf("fragment: %w: %w", ErrTruncated, err)
	}
	if uid := compressionOf(head); uid != "" {
		f.assume(fmt.Sprintf("labelled as %s, but the pixel data is %s", UIDName(f.Meta.TransferSyntaxUID), UIDName(uid)))
		f.Meta.TransferSyntaxUID = uid
	}
	return nil
}

// compressionOf returns the transfer syntax for the first bytes of a compressed frame, "" if they are ambiguous.
func compressionOf(head []byte) string {
	switch {
	case len(head) < 64:
		return ""
	case string(head[:4]) == "\xFF\x4F\xFF\x51": // SOC, SIZ: ISO 15444-1 §A.4
		return jpeg2000Of(head)
	case string(head[:3]) == "\xFF\xD8\xFF":
		return jpegOf(head)
	case isRLE(head):
		return RLELossless
	}
	return ""
}

// segments calls use with each marker of a JPEG or JPEG 2000 header and the bytes of its segment, until use returns false.
func segments(head []byte, use func(marker byte, b []byte) bool) {
	for at := 2; at+4 <= len(head) && head[at] == 0xFF; {
		n := int(binary.BigEndian.Uint16(head[at+2:]))
		if n < 2 || at+2+n > len(head) || !use(head[at+1], head[at+4:at+2+n]) {
			return
		}
		at += 2 + n
	}
}

// jpegOf determines the transfer syntax from frame header and scan header (ITU-T T.81 §B.2, T.87 §C.2).
func jpegOf(head []byte) (uid string) {
	var frame byte
	segments(head, func(marker byte, b []byte) bool {
		switch {
		case marker == 0xF7, marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC:
			frame = marker
		case marker == 0xDA && len(b) >= 3: // the three last bytes: predictor or NEAR, ...
			near := b[len(b)-3]
			switch {
			case frame == 0xC0:
				uid = JPEGBaseline8Bit
			case frame == 0xC1:
				uid = JPEGExtended12Bit
			case frame == 0xC3 && near == 1:
				uid = JPEGLosslessSV1
			case frame == 0xC3:
				uid = JPEGLossless
			case frame == 0xF7 && near == 0:
				uid = JPEGLSLossless
			case frame == 0xF7:
				uid = JPEGLSNearLossless
			}
			return false
		}
		return true
	})
	return uid
}

// jpeg2000Of determines the transfer syntax from the wavelet in the coding style and the marker of the high-throughput coder
// (ISO 15444-1 §A.6.1, 15444-15 §A).
func jpeg2000Of(head []byte) string {
	fast, lossy := false, false
	segments(head, func(marker byte, b []byte) bool {
		switch {
		case marker == 0x50: // CAP
			fast = true
		case marker == 0x52 && len(b) >= 10: // COD
			lossy = b[9] == 0
		case marker == 0x90: // SOT
			return false
		}
		return true
	})
	switch {
	case fast && lossy:
		return HTJ2K
	case fast:
		return HTJ2KLossless
	case lossy:
		return JPEG2000
	}
	return JPEG2000Lossless
}

// isRLE reports whether head is the header of RLE segments: their number, and increasing offsets from 64 on (PS3.5 §G.5).
func isRLE(head []byte) bool {
	n := binary.LittleEndian.Uint32(head)
	if n < 1 || n > 15 {
		return false
	}
	last := uint32(0)
	for i := range uint32(15) {
		offset := binary.LittleEndian.Uint32(head[4+4*i:])
		if i == 0 && offset != 64 || i < n && offset <= last || i >= n && offset != 0 {
			return false
		}
		last = offset
	}
	return true
}
