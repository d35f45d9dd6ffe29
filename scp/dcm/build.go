package dcm

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
)

// build makes a data set from the spans of a scan of buf. g has what was guessed of its character sets.
func build(buf []byte, spans []span, lim Limits) (_ *DataSet, g *guess, err error) {
	type level struct {
		set   *DataSet
		chars repertoire
		items []*DataSet // of the sequence that is open in set
		seq   Tag
	}
	g = &guess{buf: buf, spans: spans}
	chars := newRepertoire(nil)
	chars.guess = g
	stack := []level{{set: &DataSet{}, chars: chars}}
	values, signed, inItem := 0, false, []bool{true}
	for _, sp := range spans {
		top := &stack[len(stack)-1]
		switch sp.kind {
		case sequenceSpan:
			top.items, top.seq = []*DataSet{}, sp.tag
			inItem = append(inItem, false)
		case itemSpan:
			stack = append(stack, level{set: &DataSet{}, chars: top.chars})
			inItem = append(inItem, true)
		case endSpan:
			ended := inItem[len(inItem)-1]
			inItem = inItem[:len(inItem)-1]
			if ended { // an item: add it to the enclosing sequence
				done := top.set
				done.order()
				stack = stack[:len(stack)-1]
				top = &stack[len(stack)-1]
				top.items = append(top.items, done)
				continue
			}
			if top.seq.Element() != 0 { // otherwise a group length of the wrong kind
				top.set.elements = append(top.set.elements, Element{top.seq, "SQ", top.items})
			}
			top.items = nil
		case valueSpan:
			if sp.tag.Element() == 0 {
				continue // group length
			}
			if sp.guessed && signed && eitherSigned(sp.tag) {
				sp.vr = "SS"
			}
			el := decode(buf[sp.start:sp.start+sp.length], sp, top.chars)
			if text, is := el.Value.([]string); is {
				if values += len(text); values > lim.Values {
					return nil, nil, fmt.Errorf("more than %d text values: %w", lim.Values, ErrLimit)
				}
				if sp.tag == SpecificCharacterSet {
					top.chars = newRepertoire(text)
					top.chars.guess = g
					if len(stack) == 1 {
						g.declared = text
					}
				}
			}
			if sp.tag == PixelRepresentation {
				n, _ := el.Value.([]int64)
				signed = len(n) > 0 && n[0] == 1
			}
			top.set.elements = append(top.set.elements, el)
		}
	}
	stack[0].set.order()
	return stack[0].set, g, nil
}

// order sorts elements that were sent unsorted (PS3.5 §7.1). Of elements with the same tag it keeps the first, as Check does.
func (d *DataSet) order() {
	byTag := func(a, b Element) int { return int(int64(a.Tag) - int64(b.Tag)) }
	if !slices.IsSortedFunc(d.elements, byTag) {
		slices.SortStableFunc(d.elements, byTag)
	}
	d.elements = slices.CompactFunc(d.elements, func(a, b Element) bool { return a.Tag == b.Tag })
}

// eitherSigned reports whether t is "US or SS" in the standard, where Pixel Representation decides (PS3.5 §A.1).
func eitherSigned(t Tag) bool {
	switch t {
	case SmallestImagePixelValue, LargestImagePixelValue, PixelPaddingValue, PixelPaddingRangeLimit, 0x00280071,
		0x00280104, 0x00280105, 0x00280108, 0x00280109, 0x00280110, 0x00280111:
		return true
	}
	return false
}

// decode reads one value field by its VR. It accepts any bytes and drops those that do not fit the VR.
func decode(raw []byte, sp span, chars repertoire) Element {
	vr := sp.vr
	if vr == "UN" && !sp.guessed { // from a sender that does not know a standard attribute: implicit inside (PS3.5 §6.2.2)
		if std := sp.tag.VR(); std != "SQ" && std.known() && std.bulk() == 0 {
			vr, sp.bigEndian = std, false
		}
	}
	switch {
	case vr.text():
		set := chars
		set.tag = sp.tag
		if !vr.charset() {
			set = repertoire{utf8: true}
		}
		text := set.decode(raw, vr)
		if vr.single() && strings.Contains(text, `\`) { // some senders write UT for DS
			if std := sp.tag.VR(); std.text() && !std.single() {
				vr = std
			}
		}
		return Element{sp.tag, vr, splitText(text, vr)}
	case vr == "AT":
		var tags []Tag
		order := syntax{bigEndian: sp.bigEndian}.order()
		for ; len(raw) >= 4; raw = raw[4:] {
			tags = append(tags, Tag(order.Uint16(raw))<<16|Tag(order.Uint16(raw[2:])))
		}
		return Element{sp.tag, vr, tags}
	case vr.number() > 0:
		return Element{sp.tag, vr, numbers(raw, vr, sp.bigEndian)}
	}
	if !vr.known() {
		vr = "UN"
	}
	return Element{sp.tag, vr, littleEndian(raw, vr.bulk(), sp.bigEndian)}
}

// littleEndian copies raw and swaps big-endian words of size bytes.
func littleEndian(raw []byte, size int, bigEndian bool) []byte {
	out := bytes.Clone(raw)
	if bigEndian && size == 2 { // pixels, most of the time
		for i := 0; i+2 <= len(out); i += 2 {
			out[i], out[i+1] = out[i+1], out[i]
		}
	} else if bigEndian && size > 2 {
		for i := 0; i+size <= len(out); i += size {
			slices.Reverse(out[i : i+size])
		}
	}
	return out
}

// numbers reads the complete binary numbers in raw.
func numbers(raw []byte, vr VR, bigEndian bool) any {
	size := vr.number()
	n := len(raw) / size
	order := syntax{bigEndian: bigEndian}.order()
	word := func(i int) uint64 {
		switch b := raw[i*size:]; size {
		case 2:
			return uint64(order.Uint16(b))
		case 4:
			return uint64(order.Uint32(b))
		default:
			return order.Uint64(b)
		}
	}
	if vr == "FL" || vr == "FD" {
		out := make([]float64, n)
		for i := range out {
			if out[i] = math.Float64frombits(word(i)); vr == "FL" {
				out[i] = float64(math.Float32frombits(uint32(word(i))))
			}
		}
		return out
	}
	out := make([]int64, n)
	for i := range out {
		if out[i] = int64(word(i)); integers[vr].signed {
			shift := 64 - 8*size
			out[i] = out[i] << shift >> shift
		}
	}
	return out
}
