package dcm

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Frame has the positions of the fragments of one compressed frame in the file, in order.
type Frame []extent

type extent struct{ offset, length int64 }

// Frames finds the compressed frames of encapsulated pixel data (PS3.5 §A.4). Their number is Number of Frames. It assigns the
// fragments to frames by the basic or extended offset table; without one, by their number, or by the start of JPEG or JPEG
// 2000 streams. Errors: ErrPixelData, ErrEncoding, ErrLimit, ErrTruncated.
func (f *File) Frames() ([]Frame, error) {
	if f.Pixels == nil || !f.Pixels.Encapsulated {
		return nil, fmt.Errorf("no compressed (7FE0,0010): %w", ErrPixelData)
	}
	n := f.frames()
	if n < 1 {
		return nil, fmt.Errorf("%s is %d: %w", NumberOfFrames, n, ErrPixelData)
	}
	items, err := f.fragments()
	if err != nil {
		return nil, err
	}
	table, fragments := items[0], items[1:] // the first item is the basic offset table, which may be empty
	if n > len(fragments) {
		return nil, fmt.Errorf("%d fragments for %d frames: %w", len(fragments), n, ErrPixelData)
	}
	switch {
	case n == 1:
		return []Frame{fragments}, nil
	case len(fragments) == n:
		return cut(fragments, func(int) bool { return true }), nil
	}
	starts, err := f.offsets(table, n)
	if err != nil {
		return nil, err
	}
	var frames []Frame
	if starts != nil {
		base := fragments[0].offset - 8 // offsets count from the tag of the first fragment
		frames = cut(fragments, func(i int) bool {
			_, found := slices.BinarySearch(starts, uint64(fragments[i].offset-8-base))
			return found
		})
	} else {
		var failed error
		frames = cut(fragments, func(i int) bool {
			var head [3]byte
			want := head[:min(fragments[i].length, 3)]
			if n, err := f.src.ReadAt(want, fragments[i].offset); n < len(want) {
				failed = fmt.Errorf("fragment %d: %w: %w", i+1, ErrTruncated, err)
			}
			return head == [3]byte{0xFF, 0xD8, 0xFF} || head == [3]byte{0xFF, 0x4F, 0xFF} // SOI, SOC
		})
		if failed != nil {
			return nil, failed
		}
	}
	if len(frames) != n {
		return nil, fmt.Errorf("%d fragments, of which %d start a frame, for %d frames: %w", len(fragments), len(frames), n, ErrPixelData)
	}
	return frames, nil
}

// cut groups fragments into frames. A frame extends to the next fragment that starts one; the first fragment always does.
func cut(fragments Frame, begins func(i int) bool) (frames []Frame) {
	start := 0
	for i := 1; i <= len(fragments); i++ {
		if i == len(fragments) || begins(i) {
			frames = append(frames, fragments[start:i:i])
			start = i
		}
	}
	return frames
}

// fragments lists the items of the encapsulated pixel data. A truncated last item or a missing delimiter is an error.
func (f *File) fragments() (items Frame, err error) {
	at := f.Pixels.Offset
	for {
		var head [8]byte
		if n, err := f.src.ReadAt(head[:], at); n < len(head) {
			return nil, fmt.Errorf("pixel data ends without a delimiter: %w: %w", ErrTruncated, err)
		}
		tag := Tag(binary.LittleEndian.Uint16(head[:]))<<16 | Tag(binary.LittleEndian.Uint16(head[2:]))
		e := extent{at + 8, int64(binary.LittleEndian.Uint32(head[4:]))}
		switch {
		case tag == SequenceDelimitationItem && len(items) > 0:
			return items, nil
		case tag != Item || e.length == undefined:
			return nil, fmt.Errorf("%s of %d bytes between fragments: %w", tag, e.length, ErrEncoding)
		case e.offset+e.length > f.size:
			return nil, fmt.Errorf("fragment of %d bytes, but only %d are left: %w", e.length, f.size-e.offset, ErrTruncated)
		case len(items) > f.lim.Elements:
			return nil, fmt.Errorf("more than %d fragments: %w", f.lim.Elements, ErrLimit)
		}
		items = append(items, e)
		at = e.offset + e.length
	}
}

// offsets reads the offset table: the basic one in the first item with 32-bit entries, or the extended one with 64-bit entries
// (PS3.5 §A.4, PS3.3 §C.7.6.3.1.8). It returns nil if there is none.
func (f *File) offsets(basic extent, n int) ([]uint64, error) {
	var raw []byte
	size := 4
	if basic.length > 0 {
		if basic.length != 4*int64(n) {
			return nil, fmt.Errorf("basic offset table of %d bytes for %d frames: %w", basic.length, n, ErrPixelData)
		}
		raw = make([]byte, basic.length)
		if _, err := f.src.ReadAt(raw, basic.offset); err != nil {
			return nil, fmt.Errorf("basic offset table: %w: %w", ErrTruncated, err)
		}
	} else if e, ok := f.Data.Get(ExtendedOffsetTable); ok {
		raw, _ = e.Value.([]byte)
		size = 8
		if len(raw) != 8*n {
			return nil, fmt.Errorf("extended offset table of %d bytes for %d frames: %w", len(raw), n, ErrPixelData)
		}
	} else {
		return nil, nil
	}
	out := make([]uint64, n)
	for i := range out {
		if size == 4 {
			out[i] = uint64(binary.LittleEndian.Uint32(raw[4*i:]))
		} else {
			out[i] = binary.LittleEndian.Uint64(raw[8*i:])
		}
		if i > 0 && out[i] <= out[i-1] {
			return nil, fmt.Errorf("offset table does not increase at frame %d: %w", i+1, ErrPixelData)
		}
	}
	return out, nil
}

// ReadFrame returns the compressed bytes of a frame, concatenated from its fragments. Their size is limited by that of the file.
func (f *File) ReadFrame(frame Frame) ([]byte, error) {
	total := int64(0)
	for _, e := range frame {
		total += e.length
	}
	out := make([]byte, 0, total)
	for _, e := range frame {
		part := out[len(out) : len(out)+int(e.length)]
		if n, err := f.src.ReadAt(part, e.offset); n < len(part) {
			return nil, fmt.Errorf("fragment: %d of %d bytes: %w: %w", n, len(part), ErrTruncated, err)
		}
		out = out[:len(out)+len(part)]
	}
	return out, nil
}
