package dcm

import "encoding/binary"

// Some senders write elements with an invalid VR: two blanks, dashes, zeros, question marks, or letters that are not a VR of
// the standard. The length may then have 16 or 32 bits, or the four bytes are the length of an implicit element. We try each
// and check what follows the value.

// layout is one way to read the header of an element.
type layout struct {
	size   int64 // of the header: 8 or 12
	length uint32
	vr     bool // there is a VR
}

// header reads the header of an element and moves the position to its value.
func (s *scanner) header(tag Tag, f open) (sp span, length uint32, err error) {
	sp = span{tag: tag, bigEndian: f.bigEndian}
	h, order := s.w.at(s.pos), f.order()
	if f.implicit {
		sp.vr, sp.guessed = tag.VR(), true
		length = order.Uint32(h[4:])
		s.pos += 8
		return sp, length, nil
	}
	vr, known := vrs[string(h[4:6])]
	if known && !vr.long() {
		sp.vr, length = vr, uint32(order.Uint16(h[6:]))
		s.pos += 8
		return sp, length, nil
	}
	if known && h[6] == 0 && h[7] == 0 { // PS3.5 §7.1.2
		if err := s.w.need(s.pos + 12); err != nil {
			return sp, 0, err
		}
		sp.vr, length = vr, order.Uint32(s.w.at(s.pos)[8:])
		s.pos += 12
		return sp, length, nil
	}
	l := s.guess(tag, f)
	sp.vr = vr
	if !known || !l.vr {
		sp.vr, sp.guessed = tag.VR(), true
	}
	s.pos += l.size
	return sp, l.length, nil
}

// guess chooses the layout of an element with an unknown VR.
func (s *scanner) guess(tag Tag, f open) layout {
	h, order := s.w.at(s.pos), f.order()
	short := layout{8, uint32(order.Uint16(h[6:])), true}
	implicit := layout{8, order.Uint32(h[4:]), false}
	long := implicit // where the data set ends here
	if s.w.need(s.pos+12) == nil {
		h = s.w.at(s.pos)
		long = layout{12, order.Uint32(h[8:]), true}
	}
	ways := []layout{short, implicit, long}
	best := implicit
	if isVR(h[4:6]) { // VRs that the standard may add have 32-bit lengths (PS3.5 §7.1.2)
		ways, best = []layout{long, short}, long
	}
	most := 0
	for _, l := range ways {
		fits := s.fits(tag, l, f)
		if fits > most {
			best, most = l, fits
		}
		if most == 2 {
			break
		}
	}
	return best
}

// fits rates a layout: 2 if the data set continues correctly after the value, 1 if it may, otherwise 0.
func (s *scanner) fits(tag Tag, l layout, f open) int {
	start := s.pos + l.size
	if l.length == undefined {
		if s.w.need(start+8) != nil {
			return 0
		}
		switch inner := readTag(s.w.at(start), f.order()); {
		case l.size == 8 && l.vr: // a 16-bit length cannot be undefined
			return 0
		case inner == Item, inner == SequenceDelimitationItem:
			return 2
		}
		return 0
	}
	end := start + int64(l.length)
	switch {
	case f.limit >= 0 && end > f.limit:
		return 0
	case f.limit >= 0 && end == f.limit:
		return 2
	}
	if s.w.need(end+8) != nil {
		if s.w.ends(end) {
			return 2
		}
		return 0
	}
	h := s.w.at(end)
	next := readTag(h, f.order())
	_, known := vrs[string(h[4:6])]
	switch {
	case next == ItemDelimitationItem:
		if len(s.stack) > 0 && f.end < 0 {
			return 2
		}
		return 0
	case next <= tag || next.Group() == 0xFFFE: // PS3.5 §7.1
		return 0
	case known:
		return 2
	case next.VR() != "UN" && next.Group()%2 == 0:
		return 1
	}
	return 0
}

func readTag(h []byte, order binary.ByteOrder) Tag {
	return Tag(order.Uint16(h))<<16 | Tag(order.Uint16(h[2:]))
}

// mayBeSequence reports whether a value declared as bytes may contain the items of a sequence: systems that do not know an
// attribute store its sequence as UN with a defined length (PS3.5 §6.2.2).
func (s *scanner) mayBeSequence(sp span, end int64) bool {
	if s.only != nil || sp.vr.bulk() == 0 || sp.guessed && sp.vr == "UN" {
		return false
	}
	std := sp.tag.VR()
	if end == s.pos {
		return std == "SQ"
	}
	if std != "SQ" && (std != "UN" || sp.vr != "UN") || end < s.pos+8 || s.w.need(s.pos+8) != nil {
		return false
	}
	return readTag(s.w.at(s.pos), binary.LittleEndian) == Item
}

// trySequence reads the value up to end as the items of a sequence. If it is not a sequence, nothing changes.
func (s *scanner) trySequence(sp span, end int64) (is bool, err error) {
	pos, depth, stack, spans := s.pos, s.depth, len(s.stack), len(s.spans)
	sp.vr, sp.kind = "SQ", sequenceSpan
	s.trying++ // so that no value inside is skipped
	if err = s.push(open{syntax: syntax{implicit: true}, either: true, end: end, limit: end}, sp); err == nil {
		err = s.inside(stack)
	}
	s.trying--
	if err == nil {
		return true, nil
	}
	if s.noted > s.lim.Elements || s.w.err != nil {
		return false, err
	}
	s.pos, s.depth, s.stack, s.spans = pos, depth, s.stack[:stack], s.spans[:spans]
	return false, nil
}

// syntaxOfItem returns the encoding of the item at this position of a sequence stored as UN: implicit little endian as in the
// standard (PS3.5 §6.2.2 note 2), or explicit if its first element is.
func (s *scanner) syntaxOfItem() syntax {
	if s.w.need(s.pos+8) == nil {
		if h := s.w.at(s.pos); readTag(h, binary.LittleEndian).Group() != 0xFFFE {
			if _, known := vrs[string(h[4:6])]; known {
				return syntax{}
			}
		}
	}
	return syntax{implicit: true}
}

// isVR reports whether b is two capital letters.
func isVR(b []byte) bool { return b[0] >= 'A' && b[0] <= 'Z' && b[1] >= 'A' && b[1] <= 'Z' }
