package dcm

import (
	"encoding/binary"
	"fmt"
)

// The scan finds the start and end of every element of a data set and checks each length before anything is decoded. It is
// linear, iterative and bounded for any input.

type spanKind uint8

const (
	valueSpan spanKind = iota
	sequenceSpan
	itemSpan
	endSpan // of the innermost open item or sequence
)

// span is one step of the scan: a value, or the start or end of a sequence or item.
type span struct {
	tag       Tag
	vr        VR
	kind      spanKind
	bigEndian bool
	guessed   bool // the VR is the dictionary's, not the sender's
	start     int  // of the value, in the buffer of the window
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

// errOverrun is an ErrEncoding: an element extends beyond its item, or a sequence has no end.
var errOverrun = fmt.Errorf("%w beyond the end of an item or a sequence", ErrEncoding)

// open is an open sequence or item.
type open struct {
	syntax
	item      bool
	fragments bool  // encapsulated pixel data of an icon: items hold bytes (PS3.5 §A.4)
	either    bool  // items may be explicit or implicit: a sequence stored as UN
	end       int64 // -1 if ended by a delimiter
	limit     int64 // end of the innermost enclosing defined length, -1 for none
}

type scanner struct {
	w     *window
	pos   int64
	lim   Limits
	group uint16 // the scan stops before the first top-level element outside this group; 0: any group

	stack  []open
	depth  int // of sequences
	trying int // possible sequences, see trySequence
	spans  []span
	noted  int          // elements, items and ends so far
	only   map[Tag]bool // record only the first non-empty value of each of these top-level elements; nil: all
	pixels *PixelSource
	passed bool // stopped at another group, or at pixel data
}

// note adds sp to spans if it is to be recorded.
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

// scan runs to the end of the window, to pixel data or to another group. On error, s.spans has everything before it.
func (s *scanner) scan(top syntax) error {
	for {
		f := open{syntax: top, item: true, end: -1, limit: -1}
		if len(s.stack) > 0 {
			if err := s.inside(0); err != nil {
				return err
			}
			continue
		}
		if s.w.ends(s.pos) {
			return nil
		}
		done, err := s.step(f)
		if err != nil {
			return err
		}
		if done {
			s.passed = true
			return nil
		}
	}
}

// inside scans until only the outermost n sequences and items are open.
func (s *scanner) inside(n int) error {
	for len(s.stack) > n {
		f := s.stack[len(s.stack)-1]
		if f.end >= 0 && s.pos >= f.end {
			s.pop()
			continue
		}
		if _, err := s.step(f); err != nil {
			return err
		}
	}
	return nil
}

// step reads one element, item or delimiter, and counts it.
func (s *scanner) step(f open) (done bool, err error) {
	at := s.pos
	if done, err = s.next(f); err != nil {
		return false, fmt.Errorf("at byte %d: %w", at, err)
	}
	if s.noted > s.lim.Elements {
		return false, fmt.Errorf("more than %d elements: %w", s.lim.Elements, ErrLimit)
	}
	return done, nil
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

// check returns the end of a value, item or sequence of length bytes. It must be within the enclosing item, and within the
// stream if its length is known.
func (s *scanner) check(t Tag, length uint32, f open) (end int64, err error) {
	end = s.pos + int64(length)
	if f.limit >= 0 && end > f.limit {
		return 0, fmt.Errorf("%s: %d bytes, but only %d are left in its item or sequence: %w", t, length, f.limit-s.pos, errOverrun)
	}
	if s.w.size >= 0 && end > s.w.size {
		return 0, fmt.Errorf("%s: %d bytes, but only %d are left: %w", t, length, s.w.size-s.pos, ErrTruncated)
	}
	return end, nil
}

const undefined = 0xFFFFFFFF // PS3.5 §7.1.1

// next reads one element, item or delimiter.
func (s *scanner) next(f open) (done bool, err error) {
	if f.limit >= 0 && s.pos+8 > f.limit {
		return false, fmt.Errorf("%d bytes left in an item or sequence: %w", f.limit-s.pos, ErrEncoding)
	}
	if err := s.w.need(s.pos + 8); err != nil {
		return false, err
	}
	order, h := f.order(), s.w.at(s.pos)
	tag := Tag(order.Uint16(h))<<16 | Tag(order.Uint16(h[2:]))
	if tag.Group() == 0xFFFE {
		return false, s.delimiter(tag, order.Uint32(h[4:]), f)
	}
	if !f.item && f.end < 0 {
		return false, fmt.Errorf("%s in a sequence whose delimiter is missing: %w", tag, errOverrun)
	}
	if !f.item {
		return false, fmt.Errorf("%s where an item should begin: %w", tag, ErrEncoding)
	}
	if len(s.stack) == 0 && s.group != 0 && tag.Group() != s.group {
		return true, nil
	}
	sp, length, err := s.header(tag, f)
	if err != nil {
		return false, err
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
	if s.mayBeSequence(sp, end) {
		if is, err := s.trySequence(sp, end); is || err != nil {
			return false, err
		}
	}
	if s.dispensable(tag, int64(length)) {
		s.noted++
		return false, s.leave(tag, end)
	}
	if err := s.w.need(end); err != nil {
		return false, fmt.Errorf("%s: %w", tag, err)
	}
	sp.start, sp.length = s.w.index(s.pos), int(length)
	s.note(sp)
	s.pos = end
	return false, nil
}

// Longer values are skipped and not in the data set: workstations store megabytes in private elements. No attribute that we
// use is as long, except the offsets of frames.
const (
	longPrivate = 64 << 10
	longValue   = 1 << 20
)

func (s *scanner) dispensable(tag Tag, length int64) bool {
	switch {
	case tag == ExtendedOffsetTable:
		return false
	case s.only != nil || tag.Group()%2 == 1:
		return length > longPrivate
	}
	return length > longValue
}

// leave skips to end without keeping the bytes. It keeps short values, which are cheaper to read, and everything while a
// sequence is tried.
func (s *scanner) leave(tag Tag, end int64) (err error) {
	if n := end - s.pos; s.trying > 0 || n < longPrivate {
		err = s.w.need(end)
	} else {
		err = s.w.skip(s.pos, n)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", tag, err)
	}
	s.pos = end
	return nil
}

func (s *scanner) undefinedLength(sp span, f open) error {
	in := open{syntax: f.syntax, end: -1, limit: f.limit}
	switch {
	case sp.tag == PixelData, sp.vr == "OB", sp.vr == "OW": // PS3.5 §A.4
		in.fragments = true
	case sp.vr == "SQ":
	case sp.guessed: // a sequence that is not in the dictionary
	case sp.vr == "UN": // PS3.5 §6.2.2 note 2 (CP-246): implicit little endian inside
		in.syntax, in.either = syntax{implicit: true}, true
	default:
		return fmt.Errorf("%s: undefined length with VR %s: %w", sp.tag, sp.vr, ErrEncoding)
	}
	sp.vr, sp.kind = "SQ", sequenceSpan
	return s.push(in, sp)
}

// delimiter reads an item or one of the delimitation items (PS3.5 §7.5).
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
			return s.leave(tag, end)
		}
		in := open{syntax: f.syntax, item: true, end: -1, limit: f.limit}
		if f.either {
			in.syntax = s.syntaxOfItem()
		}
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
		} // otherwise superfluous: the length ends it
		return nil
	}
	return fmt.Errorf("%s out of place: %w", tag, ErrEncoding)
}

// pixelData records the position of the top-level pixel data. Elements after it are not read.
func (s *scanner) pixelData(tag Tag, vr VR, length uint32) error {
	if tag != PixelData { // floating point pixel data, which we do not decode
		return nil
	}
	s.pixels = &PixelSource{VR: vr, Offset: s.pos, Length: int64(length)}
	if length == undefined {
		s.pixels.Encapsulated, s.pixels.Length = true, -1
	}
	return nil
}
