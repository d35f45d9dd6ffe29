package dcm

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// FileMeta is the file meta information (PS3.10 §7.1). Empty implementation fields are written as our own.
type FileMeta struct {
	SOPClassUID               string // (0002,0002)
	SOPInstanceUID            string // (0002,0003)
	TransferSyntaxUID         string // (0002,0010)
	ImplementationClassUID    string // (0002,0012)
	ImplementationVersionName string // (0002,0013), at most 16 characters
	SourceAETitle             string // (0002,0016), optional
}

// WriteFile writes a complete Part 10 file: WriteMeta, then d in the transfer syntax of meta, by default Explicit VR Little
// Endian. SOP class and instance are taken from d if they are missing in meta.
func WriteFile(w io.Writer, meta FileMeta, d *DataSet) error {
	if meta.SOPClassUID == "" {
		meta.SOPClassUID = d.String(SOPClassUID)
	}
	if meta.SOPInstanceUID == "" {
		meta.SOPInstanceUID = d.String(SOPInstanceUID)
	}
	if meta.TransferSyntaxUID == "" {
		meta.TransferSyntaxUID = ExplicitVRLittleEndian
	}
	if err := WriteMeta(w, meta); err != nil {
		return err
	}
	return WriteDataSet(w, d, meta.TransferSyntaxUID)
}

// WriteMeta writes the part of a file before the data set: zero preamble, DICM, group 2 (PS3.10 §7.1). SOP class, SOP instance
// and transfer syntax are required.
func WriteMeta(w io.Writer, meta FileMeta) error {
	if meta.SOPClassUID == "" || meta.SOPInstanceUID == "" || meta.TransferSyntaxUID == "" {
		return fmt.Errorf("file meta information without SOP class, SOP instance or transfer syntax: %w", ErrEncoding)
	}
	if meta.ImplementationClassUID == "" {
		meta.ImplementationClassUID, meta.ImplementationVersionName = ImplementationClassUID, ImplementationVersionName
	}
	group := &DataSet{}
	group.SetBytes(FileMetaInformationVersion, "OB", []byte{0, 1})
	group.SetStrings(MediaStorageSOPClassUID, "UI", meta.SOPClassUID)
	group.SetStrings(MediaStorageSOPInstanceUID, "UI", meta.SOPInstanceUID)
	group.SetStrings(TransferSyntaxUID, "UI", meta.TransferSyntaxUID)
	group.SetStrings(metaImplementationClassUID, "UI", meta.ImplementationClassUID)
	if meta.ImplementationVersionName != "" {
		group.SetStrings(metaImplementationVersionName, "SH", meta.ImplementationVersionName)
	}
	if meta.SourceAETitle != "" {
		group.SetStrings(SourceApplicationEntityTitle, "AE", meta.SourceAETitle)
	}
	e := &encoder{}
	for _, el := range group.Elements() {
		if err := e.element(el, 0); err != nil {
			return err
		}
	}
	head := make([]byte, 128, 256+len(e.buf)) // the preamble: all zero without an application profile
	head = append(head, "DICM"...)
	head = append(head, 2, 0, 0, 0, 'U', 'L', 4, 0)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(e.buf)))
	_, err := w.Write(append(head, e.buf...))
	return err
}

// WriteDataSet writes d without file meta information, Implicit, Explicit or Deflated Explicit VR Little Endian.
// Text is written as UTF-8, with Specific Character Set ISO_IR 192. Sequences and items have explicit lengths; group lengths
// are omitted (PS3.5 §7.2). For a value that does not fit its VR, the error names the tag (ErrEncoding).
func WriteDataSet(w io.Writer, d *DataSet, transferSyntax string) error {
	e := &encoder{w: w}
	var deflate *flate.Writer
	switch transferSyntax {
	case ExplicitVRLittleEndian:
	case ImplicitVRLittleEndian:
		e.implicit = true
	case DeflatedExplicitVRLittleEndian: // PS3.5 §A.5
		deflate, _ = flate.NewWriter(w, flate.DefaultCompression)
		e.w = deflate
	default:
		return fmt.Errorf("writing transfer syntax %s: %w", UIDName(transferSyntax), ErrTransferSyntax)
	}
	top := DataSet{elements: append([]Element(nil), d.Elements()...)}
	top.SetStrings(SpecificCharacterSet, "CS", "ISO_IR 192")
	for _, el := range top.elements {
		if g := el.Tag.Group(); g < 8 || g == 0xFFFE {
			return fmt.Errorf("%s does not belong in a data set: %w", el.Tag, ErrEncoding)
		}
		if err := e.element(el, 0); err != nil {
			return err
		}
	}
	if err := e.flush(); err != nil {
		return err
	}
	if deflate != nil {
		return deflate.Close()
	}
	return nil
}

// encoder appends elements to buf, little endian, and writes long top-level values to w directly.
type encoder struct {
	w        io.Writer // nil: everything stays in buf
	implicit bool
	buf      []byte
}

func (e *encoder) flush() error {
	if e.w == nil || len(e.buf) == 0 {
		return nil
	}
	_, err := e.w.Write(e.buf)
	e.buf = e.buf[:0]
	return err
}

// header appends tag, VR and length (PS3.5 §7.1.2, §7.1.3).
func (e *encoder) header(t Tag, vr VR, n int) error {
	if uint64(n) >= math.MaxUint32 {
		return fmt.Errorf("%s: value of %d bytes is too long for a 32-bit length: %w", t, n, ErrEncoding)
	}
	e.buf = binary.LittleEndian.AppendUint16(e.buf, t.Group())
	e.buf = binary.LittleEndian.AppendUint16(e.buf, t.Element())
	switch {
	case e.implicit || t.Group() == 0xFFFE:
		e.buf = binary.LittleEndian.AppendUint32(e.buf, uint32(n))
	case vr.long():
		e.buf = append(e.buf, vr[0], vr[1], 0, 0)
		e.buf = binary.LittleEndian.AppendUint32(e.buf, uint32(n))
	case n > math.MaxUint16:
		return fmt.Errorf("%s: value of %d bytes; VR %s allows %d: %w", t, n, vr, math.MaxUint16-1, ErrEncoding)
	default:
		e.buf = append(e.buf, vr[0], vr[1])
		e.buf = binary.LittleEndian.AppendUint16(e.buf, uint16(n))
	}
	return nil
}

func (e *encoder) element(el Element, depth int) error {
	if el.Tag.Element() == 0 && el.Tag.Group() > 2 {
		return nil // group length, retired (PS3.5 §7.2)
	}
	if !el.VR.known() {
		return fmt.Errorf("%s: VR %q: %w", el.Tag, string(el.VR), ErrEncoding)
	}
	if el.VR == "SQ" {
		return e.sequence(el, depth)
	}
	v, err := encodeValue(el)
	if err != nil {
		return fmt.Errorf("%s %s: %w", el.Tag, el.VR, err)
	}
	n := len(v) + len(v)%2 // even length (PS3.5 §7.1.1)
	if err := e.header(el.Tag, el.VR, n); err != nil {
		return err
	}
	const direct = 64 << 10
	if depth == 0 && e.w != nil && len(v) >= direct {
		if err := e.flush(); err != nil {
			return err
		}
		if _, err := e.w.Write(v); err != nil {
			return err
		}
	} else {
		e.buf = append(e.buf, v...)
	}
	if n > len(v) {
		e.buf = append(e.buf, el.VR.pad())
	}
	return nil
}

// sequence writes items with explicit lengths (PS3.5 §7.5.1).
func (e *encoder) sequence(el Element, depth int) error {
	items, ok := el.Value.([]*DataSet)
	if !ok && el.Value != nil {
		return fmt.Errorf("%s SQ: value of type %T: %w", el.Tag, el.Value, ErrEncoding)
	}
	if depth >= maxDepth {
		return fmt.Errorf("%s: sequences nested deeper than %d: %w", el.Tag, maxDepth, ErrLimit)
	}
	if err := e.header(el.Tag, "SQ", 0); err != nil {
		return err
	}
	start := len(e.buf)
	for _, it := range items {
		if err := e.header(Item, "", 0); err != nil {
			return err
		}
		first := len(e.buf)
		for _, sub := range it.Elements() {
			if sub.Tag == SpecificCharacterSet {
				continue // all text is UTF-8 now, which the top level says
			}
			if err := e.element(sub, depth+1); err != nil {
				return fmt.Errorf("%s > %w", el.Tag, err)
			}
		}
		if err := e.patch(el.Tag, first); err != nil {
			return err
		}
	}
	return e.patch(el.Tag, start)
}

// patch writes the length of the bytes from offset at into the length field before it.
func (e *encoder) patch(t Tag, at int) error {
	n := len(e.buf) - at
	if uint64(n) >= math.MaxUint32 {
		return fmt.Errorf("%s: sequence of %d bytes is too long for a 32-bit length: %w", t, n, ErrEncoding)
	}
	binary.LittleEndian.PutUint32(e.buf[at-4:], uint32(n))
	return nil
}

// encodeValue returns the value field of el, not yet padded.
func encodeValue(el Element) ([]byte, error) {
	switch v := el.Value.(type) {
	case nil:
		return nil, nil
	case []string:
		if el.VR.text() {
			return encodeText(el.VR, v)
		}
	case []int64:
		if w, ok := integers[el.VR]; ok {
			return encodeInts(w, v)
		}
	case []float64:
		if el.VR == "FL" || el.VR == "FD" {
			return encodeFloats(el.VR, v)
		}
	case []Tag:
		if el.VR == "AT" {
			var b []byte
			for _, t := range v { // two unsigned shorts, never one long (PS3.5 §6.2)
				b = binary.LittleEndian.AppendUint16(b, t.Group())
				b = binary.LittleEndian.AppendUint16(b, t.Element())
			}
			return b, nil
		}
	case []byte:
		if n := el.VR.bulk(); n > 0 {
			if n > 2 && len(v)%n != 0 {
				return nil, fmt.Errorf("%d bytes are not a multiple of %d: %w", len(v), n, ErrEncoding)
			}
			return v, nil
		}
	}
	return nil, fmt.Errorf("value of type %T: %w", el.Value, ErrEncoding)
}

func encodeText(vr VR, values []string) ([]byte, error) {
	if vr.single() && len(values) > 1 {
		return nil, fmt.Errorf("%d values; the VR allows one: %w", len(values), ErrEncoding)
	}
	var b bytes.Buffer
	for i, s := range values {
		if i > 0 {
			b.WriteByte('\\')
		}
		if !utf8.ValidString(s) {
			return nil, fmt.Errorf("value %d is not UTF-8: %w", i+1, ErrEncoding)
		}
		if !vr.single() && strings.Contains(s, `\`) {
			return nil, fmt.Errorf("value %d contains a backslash, which separates values: %w", i+1, ErrEncoding)
		}
		if vr == "DS" && len(s) > 16 { // as some senders write them; PS3.5 §6.2 allows 16 bytes
			if f, ok := parseDecimal(s); ok {
				s = Decimal(f)
			}
		}
		b.WriteString(s)
	}
	return b.Bytes(), nil
}

// integers gives the size in bytes and the signedness of the binary integer VRs.
var integers = map[VR]struct {
	size   int
	signed bool
}{"US": {2, false}, "SS": {2, true}, "UL": {4, false}, "SL": {4, true}, "UV": {8, false}, "SV": {8, true}}

func encodeInts(w struct {
	size   int
	signed bool
}, values []int64) ([]byte, error) {
	b := make([]byte, 0, w.size*len(values))
	for _, n := range values {
		if w.size < 8 {
			low, high := int64(0), int64(1)<<(8*w.size)-1
			if w.signed {
				low, high = -1<<(8*w.size-1), int64(1)<<(8*w.size-1)-1
			}
			if n < low || n > high {
				return nil, fmt.Errorf("%d is outside %d to %d: %w", n, low, high, ErrEncoding)
			}
		} // UV above 2^63-1 is kept in the bits of an int64
		var full [8]byte
		binary.LittleEndian.PutUint64(full[:], uint64(n))
		b = append(b, full[:w.size]...)
	}
	return b, nil
}

func encodeFloats(vr VR, values []float64) ([]byte, error) {
	var b []byte
	for _, f := range values {
		if vr == "FD" {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
			continue
		}
		if math.Abs(f) > math.MaxFloat32 && !math.IsInf(f, 0) {
			return nil, fmt.Errorf("%g is outside the range of FL: %w", f, ErrEncoding)
		}
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(f)))
	}
	return b, nil
}
