// Package rle decodes RLE Lossless frames (PS3.5 Annex G).
package rle

import (
	"encoding/binary"
	"fmt"
)

const (
	headerBytes = 64 // number of segments and 15 offsets (PS3.5 §G.5)
	maxRatio    = 64 // a replicate run turns 2 bytes into 128
)

// Decode returns the cells of a frame, little endian, with the samples of a pixel adjacent: pixels × samples × width bytes, where
// width is the size of a cell in bytes. The frame has one segment for each byte of each sample, the most significant byte first
// (PS3.5 §G.2).
func Decode(src []byte, pixels, samples, width int) ([]byte, error) {
	if pixels < 1 || samples < 1 || width < 1 {
		return nil, fmt.Errorf("image of %d pixels with %d samples of %d bytes", pixels, samples, width)
	}
	if len(src) < headerBytes {
		return nil, fmt.Errorf("RLE frame of %d bytes is shorter than its header of %d", len(src), headerBytes)
	}
	segments := samples * width
	if n := binary.LittleEndian.Uint32(src); segments > 15 || n != uint32(segments) {
		return nil, fmt.Errorf("RLE frame of %d segments, but the image requires %d", n, segments)
	}
	if pixels*segments > maxRatio*len(src) {
		return nil, fmt.Errorf("RLE frame of %d bytes is too short for %d", len(src), pixels*segments)
	}
	out := make([]byte, pixels*segments)
	for s := range segments {
		start := int64(binary.LittleEndian.Uint32(src[4+4*s:]))
		end := int64(len(src))
		if s+1 < segments {
			end = int64(binary.LittleEndian.Uint32(src[8+4*s:]))
		}
		if start < headerBytes || end < start || end > int64(len(src)) {
			return nil, fmt.Errorf("RLE segment %d from byte %d to %d of %d", s+1, start, end, len(src))
		}
		at := s/width*width + width - 1 - s%width
		if n := unpack(src[start:end], out[at:], pixels, segments); n < pixels {
			return nil, fmt.Errorf("RLE segment %d ends after %d of %d bytes", s+1, n, pixels)
		}
	}
	return out, nil
}

// unpack writes up to n bytes of a segment to every step-th byte of dst, and returns how many (PS3.5 §G.3.2).
func unpack(src, dst []byte, n, step int) int {
	at := 0
	for len(src) > 1 && at < n {
		code := int(int8(src[0]))
		src = src[1:]
		switch {
		case code >= 0: // literal run
			run := min(code+1, len(src), n-at)
			for _, b := range src[:run] {
				dst[at*step] = b
				at++
			}
			src = src[run:]
		case code > -128: // replicate run
			for range min(1-code, n-at) {
				dst[at*step] = src[0]
				at++
			}
			src = src[1:]
		} // -128 does nothing
	}
	return at
}
