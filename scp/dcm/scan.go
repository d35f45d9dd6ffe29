package dcm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The scan finds where every element of a data set begins and ends, and checks each length against what is left,
// before anything is decoded: it is linear, iterative and bounded, whatever the bytes are.

// window is the front part of a stream, read as far as the scan has come.
type window struct {
	r    io.Reader // rest of the stream, nil where buf is all there is
	buf  []byte
	size int64 // length of the whole stream, -1 where not known (inflated)
	max  int64 // the most buf may become
	err  error // what reading r ended with, other than its end
}

// need makes buf at least end bytes long.
func (w *window) need(end int64) error {
	if end <= int64(len(w.buf)) {
		return nil
	}
	if w.size >= 0 && end > w.size {
		return fmt.Errorf("%d bytes where %d are needed: %w", w.size, end, ErrTruncated)
	}
	if end > w.max {
		return fmt.Errorf("header of more than %d bytes: %w", w.max, ErrLimit)
	}
	for end > int64(len(w.buf)) {
		if w.r == nil {
			return fmt.Errorf("%d bytes where %d are needed: %w", len(w.buf), end, ErrTruncated)
		}
		// Never by more than what is already there: a length field alone cannot claim memory.
		step := min(max(int64(len(w.buf)), 8<<10), w.max-int64(len(w.buf)))
		old := len(w.buf)
		w.buf = append(w.buf, make([]byte, step)...)
		n, err := io.ReadFull(w.r, w.buf[old:])
		w.buf = w.buf[:old+n]
		if err != nil {
			w.r = nil
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				w.err = err
				return fmt.Errorf("after %d bytes: %w: %w", len(w.buf), ErrTruncated, err)
			}
		}
	}
	return nil
}

// ends reports whether the stream ends at pos, or is only zero padding shorter than an element from there.
func (w *window) ends(pos int64) bool {
	if w.need(pos+8) == nil {
		return false
	}
	unread := w.r != nil // of a stream of unknown length, more may come
	if w.size >= 0 {
		unread = w.size > int64(len(w.buf))
	}
	if unread || w.err != nil {
		return false // a limit or a fault, not the end
	}
	for _, b := range w.buf[min(pos, int64(len(w.buf))):] {
		if b != 0 {
			return false
		}
	}
	return true
}

type spanKind uint8

const (
	valueSpan spanKind = iota
	sequenceSpan
	itemSpan
	endSpan // of the innermost open item or sequence
)

// span is one step of the scan: a value, or the begin or end of a sequence or item.
type span struct {
	tag       Tag
	vr        VR
	kind      spanKind
	bigEndian bool
	guessed   bool // the VR is the dictionary's, not the sender's
	start     int  // of the value, in window.buf
	length    int
}

// syntax is how a (part of a) data set is encoded.
type syntax struct{ implicit, bigEndian bool }

func (s syntax) order() binary.ByteOrder {
	if s.bigEndian {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// open is a sequence or item that the scan is inside of.
type open struct {
	syntax
	item      bool
	fragments bool  // encapsulated pixel data of an icon: items hold bytes (PS3.5 §A.4)
	end       int64 // -1 where a delimiter ends it
	limit     int64 // end of the innermost enclosing defined length, -1 for none
}

type scanner struct {
	w     *window
	pos   int64
	lim   Limits
	until Tag    // the scan stops before the first element at the top that is above this, 0 for none
	group uint16 // ... or that is not of this group, 0 for any

	stack  []open
	depth  int // of sequences
	spans  []span
	noted  int          // elements, items and ends so far
	only   map[Tag]bool // values at the top that spans is to hold, the first of each that is not empty; nil: all there is
	pixels *PixelSource
	passed bool // stopped at until, or at pixel data: all elements up to until were seen
}

// note adds sp to spans, where it is wanted.
func (s *scanner) note(sp span) {
	s.noted++
	switch {
	case s.only == nil:
	case len(s.stack) == 0 && sp.kind == valueSpan && sp.length > 0 && s.only[sp.tag]:
		s.only[sp.tag] = false
	default:
		return
	}
	s.spans = append(s.spans, sp)
}

// scan runs to the end of the window, to pixel data or to until. On error s.spans holds what came before.
func (s *scanner) scan(top syntax) error {
	for {
		f := open{syntax: top, item: true, end: -1, limit: -1}
		if n := len(s.stack); n > 0 {
			f = s.stack[n-1]
			if f.end >= 0 && s.pos >= f.end {
				s.pop()
				continue
			}
		} else if s.w.ends(s.pos) {
			return nil
		}
		done, err := s.next(f)
		if err != nil {
			return fmt.Errorf("at byte %d: %w", s.pos, err)
		}
		if done {
			s.passed = true
			return nil
		}
		if s.noted > s.lim.Elements {
			return fmt.Errorf("more than %d elements: %w", s.lim.Elements, ErrLimit)
		}
	}
}

func (s *scanner) pop() {
	last := s.stack[len(s.stack)-1]
	s.stack = s.stack[:len(s.stack)-1]
	if !last.item {
		s.depth--
	}
	if !last.fragments {
		s.note(span{kind: endSpan})
	}
}

func (s *scanner) push(f open, sp span) error {
	if !f.item {
		if s.depth++; s.depth > s.lim.Depth {
			return fmt.Errorf("%s: sequences nested deeper than %d: %w", sp.tag, s.lim.Depth, ErrLimit)
		}
	}
	s.stack = append(s.stack, f)
	if !f.fragments {
		s.note(sp)
	}
	return nil
}

// check returns the end of a value, item or sequence of length bytes: it must lie inside the enclosing item, and inside the stream where its length is known.
func (s *scanner) check(t Tag, length uint32, f open) (end int64, err error) {
	end = s.pos + int64(length)
	if f.limit >= 0 && end > f.limit {
		return 0, fmt.Errorf("%s: %d bytes with %d left in its item or sequence: %w", t, length, f.limit-s.pos, ErrEncoding)
	}
	if s.w.size >= 0 && end > s.w.size {
		return 0, fmt.Errorf("%s: %d bytes with %d left: %w", t, length, s.w.size-s.pos, ErrTruncated)
	}
	return end, nil
}

const undefined = 0xFFFFFFFF // PS3.5 §7.1.1

// next takes one element, item or delimiter.
func (s *scanner) next(f open) (done bool, err error) {
	if f.limit >= 0 && s.pos+8 > f.limit {
		return false, fmt.Errorf("%d bytes left in an item or sequence: %w", f.limit-s.pos, ErrEncoding)
	}
	if err := s.w.need(s.pos + 8); err != nil {
		return false, err
	}
	order, h := f.order(), s.w.buf[s.pos:]
	tag := Tag(order.Uint16(h))<<16 | Tag(order.Uint16(h[2:]))
	if tag.Group() == 0xFFFE {
		return false, s.delimiter(tag, order.Uint32(h[4:]), f)
	}
	if !f.item {
		return false, fmt.Errorf("%s where an item should begin: %w", tag, ErrEncoding)
	}
	if len(s.stack) == 0 && (s.until != 0 && tag > s.until || s.group != 0 && tag.Group() != s.group) {
		return true, nil
	}
	sp := span{tag: tag, bigEndian: f.bigEndian}
	var length uint32
	if f.implicit || !isVR(h[4:6]) { // some senders mix implicit elements into explicit ones
		sp.vr, sp.guessed, length = tag.VR(), true, order.Uint32(h[4:])
		s.pos += 8
	} else if sp.vr = VR(h[4:6]); sp.vr.long() {
		if err := s.w.need(s.pos + 12); err != nil {
			return false, err
		}
		length = order.Uint32(s.w.buf[s.pos+8:])
		s.pos += 12
	} else {
		length = uint32(order.Uint16(h[6:]))
		s.pos += 8
	}
	if len(s.stack) == 0 && tag.Group() == 0x7FE0 && tag >= FloatPixelData {
		return true, s.pixelData(tag, sp.vr, length)
	}
	if length == undefined {
		return false, s.undefinedLength(sp, f)
	}
	end, err := s.check(tag, length, f)
	if err != nil {
		return false, err
	}
	if sp.vr == "SQ" {
		sp.kind = sequenceSpan
		return false, s.push(open{syntax: f.syntax, end: end, limit: end}, sp)
	}
	if err := s.w.need(end); err != nil {
		return false, fmt.Errorf("%s: %w", tag, err)
	}
	sp.start, sp.length = int(s.pos), int(length)
	s.note(sp)
	s.pos = end
	return false, nil
}

func (s *scanner) undefinedLength(sp span, f open) error {
	in := open{syntax: f.syntax, end: -1, limit: f.limit}
	switch {
	case sp.tag == PixelData:
		in.fragments = true
	case sp.vr == "SQ":
	case sp.guessed: // a sequence that the dictionary does not know
	case sp.vr == "UN": // PS3.5 §6.2.2 note 2 (CP-246): implicit little endian inside, whatever is around it
		in.syntax = syntax{implicit: true}
	default:
		return fmt.Errorf("%s: undefined length with VR %s: %w", sp.tag, sp.vr, ErrEncoding)
	}
	sp.vr, sp.kind = "SQ", sequenceSpan
	return s.push(in, sp)
}

// delimiter takes an item or one of the delimitation items (PS3.5 §7.5).
func (s *scanner) delimiter(tag Tag, length uint32, f open) error {
	s.pos += 8
	inside := len(s.stack) > 0
	switch {
	case tag == Item && !f.item:
		if f.fragments {
			if length == undefined {
				return fmt.Errorf("fragment of undefined length: %w", ErrEncoding)
			}
			end, err := s.check(tag, length, f)
			if err != nil {
				return err
			}
			if err := s.w.need(end); err != nil {
				return err
			}
			s.pos = end
			return nil
		}
		in := open{syntax: f.syntax, item: true, end: -1, limit: f.limit}
		if length != undefined {
			end, err := s.check(tag, length, f)
			if err != nil {
				return err
			}
			in.end, in.limit = end, end
		}
		return s.push(in, span{tag: Item, kind: itemSpan})
	case tag == ItemDelimitationItem && f.item && inside, tag == SequenceDelimitationItem && !f.item:
		if f.end < 0 {
			s.pop()
		} // else superfluous: the length ends it
		return nil
	}
	return fmt.Errorf("%s out of place: %w", tag, ErrEncoding)
}

// pixelData notes where the pixel data at the top lies. Elements behind it are not read.
func (s *scanner) pixelData(tag Tag, vr VR, length uint32) error {
	if tag != PixelData { // floating point pixel data: nothing that we decode
		return nil
	}
	s.pixels = &PixelSource{VR: vr, Offset: s.pos, Length: int64(length)}
	if length == undefined {
		s.pixels.Encapsulated, s.pixels.Length = true, -1
	}
	return nil
}

// isVR reports whether b are two capital letters.
func isVR(b []byte) bool { return b[0] >= 'A' && b[0] <= 'Z' && b[1] >= 'A' && b[1] <= 'Z' }
