package openjpeg

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// siz is the image and tile size segment (ISO 15444-1 §A.5.1).
type siz struct {
	width, height, components int
	bits                      int // precision of a sample
}

// Markers of ISO 15444-1 Table A.2.
const (
	soc = 0xFF4F
	szd = 0xFF51 // SIZ
)

// maxTiles is the maximum number of tiles of one frame. Encoders make one, or a few tens.
const maxTiles = 4096

// header reads the start of a code stream. Its first segment is always SIZ.
func header(b []byte) (siz, error) {
	if len(b) < 42 || binary.BigEndian.Uint16(b) != soc || binary.BigEndian.Uint16(b[2:]) != szd {
		return siz{}, errors.New("not a JPEG 2000 code stream: it does not start with SOC and SIZ")
	}
	word := func(at int) int64 { return int64(binary.BigEndian.Uint32(b[at:])) }
	width, height := word(8)-word(16), word(12)-word(20) // grid minus offset
	tileWidth, tileHeight := word(24), word(28)
	components := int(binary.BigEndian.Uint16(b[40:]))
	if width < 1 || height < 1 || width > 1<<16 || height > 1<<16 || components < 1 || components > 4 || len(b) < 42+3*components {
		return siz{}, fmt.Errorf("JPEG 2000 image of %d x %d pixels with %d samples", width, height, components)
	}
	// Rounded up, and one more for the offsets of grid and tiles.
	if tileWidth < 1 || tileHeight < 1 || (word(8)/tileWidth+2)*(word(12)/tileHeight+2) > maxTiles {
		return siz{}, fmt.Errorf("JPEG 2000 image of %d x %d pixels in tiles of %d x %d", width, height, tileWidth, tileHeight)
	}
	s := siz{int(width), int(height), components, int(b[42]&0x7F) + 1}
	for c := b[42 : 42+3*components]; len(c) > 0; c = c[3:] {
		if c[0] != b[42] || c[1] != 1 || c[2] != 1 {
			return siz{}, errors.New("JPEG 2000 components of different precision or resolution")
		}
	}
	if s.bits > 16 {
		return siz{}, fmt.Errorf("JPEG 2000 samples of %d bits", s.bits)
	}
	return s, nil
}

// codeStream finds the code stream in a JP2 file (ISO 15444-1 §I.4), because some senders put the whole file into a fragment. It
// returns anything else unchanged.
func codeStream(b []byte) []byte {
	const signature = "\x00\x00\x00\x0CjP  \r\n\x87\n"
	if len(b) < len(signature) || string(b[:len(signature)]) != signature {
		return b
	}
	for at := uint64(0); at+8 <= uint64(len(b)); {
		head, size := uint64(8), uint64(binary.BigEndian.Uint32(b[at:]))
		switch {
		case size == 1 && at+16 <= uint64(len(b)):
			head, size = 16, binary.BigEndian.Uint64(b[at+8:])
		case size == 0: // to the end
			size = uint64(len(b)) - at
		}
		if size < head || size > uint64(len(b))-at {
			break
		}
		if string(b[at+4:at+8]) == "jp2c" {
			return b[at+head : at+size]
		}
		at += size
	}
	return b
}
