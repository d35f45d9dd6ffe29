package dcm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/grailbio/go-dicom"
	"github.com/grailbio/go-dicom/dicomio"
	"github.com/grailbio/go-dicom/dicomtag"
)

// build makes a data set of what the scan found in buf.
func build(buf []byte, spans []span, lim Limits) (*DataSet, error) {
	type level struct {
		set   *DataSet
		chars repertoire
		items []*DataSet // of the sequence that is open in set
		seq   Tag
	}
	simple := readSimple(buf, spans)
	stack := []level{{set: &DataSet{}, chars: newRepertoire(nil)}}
	values, signed, inItem := 0, false, []bool{true}
	for i, sp := range spans {
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
			if ended { // an item: hand it to the sequence around it
				done := top.set
				done.order()
				stack = stack[:len(stack)-1]
				top = &stack[len(stack)-1]
				top.items = append(top.items, done)
				continue
			}
			if top.seq.Element() != 0 { // else a group length of the wrong kind
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
			el := simple[i]
			if el.VR != sp.vr || el.Value == nil {
				el = decode(buf[sp.start:sp.start+sp.length], sp, top.chars)
			}
			if text, is := el.Value.([]string); is {
				if values += len(text); values > lim.Values {
					return nil, fmt.Errorf("more than %d text values: %w", lim.Values, ErrLimit)
				}
				if sp.tag == SpecificCharacterSet {
					top.chars = newRepertoire(text)
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
	return stack[0].set, nil
}

// order sorts what a sender left unsorted (PS3.5 §7.1); of elements with the same tag the first counts, as in Identify.
func (d *DataSet) order() {
	byTag := func(a, b Element) int { return int(int64(a.Tag) - int64(b.Tag)) }
	if !slices.IsSortedFunc(d.elements, byTag) {
		slices.SortStableFunc(d.elements, byTag)
	}
	d.elements = slices.CompactFunc(d.elements, func(a, b Element) bool { return a.Tag == b.Tag })
}

// eitherSigned reports whether the standard gives t "US or SS": Pixel Representation decides (PS3.5 §A.1).
func eitherSigned(t Tag) bool {
	switch t {
	case SmallestImagePixelValue, LargestImagePixelValue, PixelPaddingValue, PixelPaddingRangeLimit, 0x00280071,
		0x00280104, 0x00280105, 0x00280108, 0x00280109, 0x00280110, 0x00280111:
		return true
	}
	return false
}

// decode reads one value field by its VR. It takes any bytes; what does not fit the VR is dropped.
func decode(raw []byte, sp span, chars repertoire) Element {
	vr := sp.vr
	if vr == "UN" && !sp.guessed { // a sender that does not know a standard attribute: implicit inside (PS3.5 §6.2.2)
		if std := sp.tag.VR(); std != "SQ" && std.known() && std.bulk() == 0 {
			vr, sp.bigEndian = std, false
		}
	}
	switch {
	case vr.charset():
		return Element{sp.tag, vr, splitText(chars.decode(raw, vr), vr)}
	case vr.text():
		return Element{sp.tag, vr, splitText(repertoire{utf8: true}.decode(raw, vr), vr)}
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

// littleEndian copies raw, with words of size bytes turned round where they are big endian.
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

func numbers(raw []byte, vr VR, bigEndian bool) any {
	size := vr.number()
	n := len(raw) / size
	raw = littleEndian(raw[:n*size], size, bigEndian)
	if vr == "FL" || vr == "FD" {
		out := make([]float64, n)
		for i := range out {
			if vr == "FL" {
				out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
			} else {
				out[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
			}
		}
		return out
	}
	out := make([]int64, n)
	for i := range out {
		var full [8]byte
		copy(full[:], raw[i*size:(i+1)*size])
		v := int64(binary.LittleEndian.Uint64(full[:]))
		if shift := 64 - 8*size; integers[vr].signed {
			v = v << shift >> shift
		}
		out[i] = v
	}
	return out
}

// simpleBytes is the longest value that go-dicom is given.
const simpleBytes = 4096

// readSimple has go-dicom read the elements it is reliable for: short values of fixed-repertoire text and binary
// numbers, one after the other and without any nesting, in Explicit VR Little Endian, from memory. Text under a
// Specific Character Set, byte strings, private and newer VRs, and anything irregular are decoded by us.
// The result runs parallel to spans; an element it does not hold has a nil value.
func readSimple(buf []byte, spans []span) (out []Element) {
	out = make([]Element, len(spans))
	var flat []byte
	var which []int
	for i, sp := range spans {
		if sp.kind != valueSpan || sp.tag == PixelData || sp.length == 0 || sp.length > simpleBytes || sp.length%2 != 0 {
			continue
		}
		size := sp.vr.number()
		switch {
		case sp.vr == "AT":
			size = 2
			if sp.length%4 != 0 {
				continue
			}
		case size > 0 && size < 8 || sp.vr == "FD":
			if sp.length%size != 0 {
				continue
			}
		case !sp.vr.text() || sp.vr.charset() || sp.vr == "UR":
			continue
		}
		flat = binary.LittleEndian.AppendUint16(flat, sp.tag.Group())
		flat = binary.LittleEndian.AppendUint16(flat, sp.tag.Element())
		flat = append(flat, sp.vr...)
		flat = binary.LittleEndian.AppendUint16(flat, uint16(sp.length))
		flat = append(flat, littleEndian(buf[sp.start:sp.start+sp.length], size, sp.bigEndian)...)
		which = append(which, i)
	}
	defer func() { recover() }() // go-dicom asserts by panic; what it has read until then is good
	d := dicomio.NewBytesDecoder(flat, binary.LittleEndian, dicomio.ExplicitVR)
	for _, i := range which {
		el := dicom.ReadElement(d, dicom.ReadOptions{})
		if d.Error() != nil || el == nil || Tag(el.Tag.Group)<<16|Tag(el.Tag.Element) != spans[i].tag {
			return out
		}
		out[i] = Element{spans[i].tag, VR(el.VR), simpleValue(el)}
	}
	return out
}

// simpleValue converts the values of a go-dicom element, nil where one is not of the expected type.
func simpleValue(el *dicom.Element) any {
	var text []string
	var ints []int64
	var floats []float64
	var tags []Tag
	for _, v := range el.Value {
		switch v := v.(type) {
		case string:
			text = append(text, v)
		case uint16:
			ints = append(ints, int64(v))
		case int16:
			ints = append(ints, int64(v))
		case uint32:
			ints = append(ints, int64(v))
		case int32:
			ints = append(ints, int64(v))
		case float32:
			floats = append(floats, float64(v))
		case float64:
			floats = append(floats, v)
		case dicomtag.Tag:
			tags = append(tags, Tag(v.Group)<<16|Tag(v.Element))
		default:
			return nil
		}
	}
	switch n := len(el.Value); {
	case n > 0 && n == len(text):
		// Joined again: go-dicom splits, but neither trims the single values nor splits dates.
		whole := repertoire{utf8: true}.decode([]byte(strings.Join(text, `\`)), VR(el.VR))
		return splitText(whole, VR(el.VR))
	case n > 0 && n == len(ints):
		return ints
	case n > 0 && n == len(floats):
		return floats
	case n > 0 && n == len(tags):
		return tags
	}
	return nil
}
