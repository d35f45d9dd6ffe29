package dcm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
)

// short writes an explicit element with a 16-bit length, whatever its VR.
func short(t Tag, vr string, value []byte) []byte {
	return slices.Concat(tagBytes(t), []byte(vr), u16(uint16(len(value))), value)
}

// TestOddElements reads elements that other readers accept against, or at the edge of, PS3.5.
func TestOddElements(t *testing.T) {
	t.Parallel()
	name, id := el(PatientName, "PN", []byte("A^B ")), el(PatientID, "LO", []byte("7 "))
	rows := el(Rows, "US", u16(9))
	uid := el(SOPInstanceUID, "UI", []byte("1.2\x00"))
	const private, history = 0x00091001, 0x001021B0
	all := func(d *DataSet) bool {
		n, _ := d.Int(Rows)
		return d.String(PatientName) == "A^B" && d.String(PatientID) == "7" && n == 9
	}
	groups := im(Item, im(PixelMeasuresSequence, im(Item, im(PixelSpacing, []byte("1\\2 ")))))
	spacing := func(d *DataSet) bool {
		items := d.Sequence(PerFrameFunctionalGroupsSequence)
		if len(items) != 2 {
			return false
		}
		v, _ := items[1].Sequence(PixelMeasuresSequence)[0].Floats(PixelSpacing)
		return slices.Equal(v, []float64{1, 2})
	}
	type test struct {
		name   string
		syntax string
		data   []byte
		ok     func(*DataSet) bool
	}
	tests := []test{
		{"functional groups under UN of defined length", ExplicitVRLittleEndian,
			slices.Concat(name, id, rows, el(PerFrameFunctionalGroupsSequence, "UN", slices.Concat(groups, groups))), spacing},
		{"functional groups under OB", ExplicitVRLittleEndian,
			slices.Concat(name, id, rows, el(PerFrameFunctionalGroupsSequence, "OB", slices.Concat(groups, groups))), spacing},
		{"groups under UN inside of items under UN", ExplicitVRLittleEndian,
			slices.Concat(name, id, rows, el(PerFrameFunctionalGroupsSequence, "UN", slices.Concat(groups, im(Item, el(PixelMeasuresSequence, "UN", im(Item, im(PixelSpacing, []byte("1\\2 ")))))))), spacing},
		{"UN of defined length with explicit items", ExplicitVRLittleEndian, slices.Concat(
			el(private, "UN", im(Item, slices.Concat(name, el(ContentSequence, "SQ", im(Item, rows))))), name, id, rows),
			func(d *DataSet) bool {
				s := d.Sequence(private)
				return len(s) == 1 && s[0].String(PatientName) == "A^B" && len(s[0].Sequence(ContentSequence)) == 1
			}},
		{"UN of undefined length with explicit items", ExplicitVRLittleEndian, slices.Concat(
			undef(private, "UN", undef(Item, "", name, itemEnd), seqEnd), name, id, rows),
			func(d *DataSet) bool {
				return len(d.Sequence(private)) == 1 && d.Sequence(private)[0].String(PatientName) == "A^B"
			}},
		{"UN that begins like an item and is none", ExplicitVRLittleEndian, slices.Concat(
			el(private, "UN", slices.Concat(tagBytes(Item), []byte{200, 0, 0, 0, 1, 2, 3, 4})), name, id, rows),
			func(d *DataSet) bool { e, _ := d.Get(private); b, is := e.Value.([]byte); return is && len(b) == 12 }},
		{"empty sequence under UN", ExplicitVRLittleEndian, slices.Concat(name, id, rows, el(PerFrameFunctionalGroupsSequence, "UN", nil)),
			func(d *DataSet) bool { e, ok := d.Get(PerFrameFunctionalGroupsSequence); return ok && e.VR == "SQ" }},
		{"fragments under another tag than Pixel Data", ExplicitVRLittleEndian, slices.Concat(
			undef(private, "OB", im(Item, nil), im(Item, []byte{1, 2, 3, 4}), seqEnd), name, id, rows), all},
		{"DS in UT", ExplicitVRLittleEndian, slices.Concat(name, id, rows, el(PixelSpacing, "UT", []byte("1\\2 "))),
			func(d *DataSet) bool { v, _ := d.Floats(PixelSpacing); return slices.Equal(v, []float64{1, 2}) }},
		{"DS in LT", ExplicitVRLittleEndian, slices.Concat(name, id, rows, el(PixelSpacing, "LT", []byte("1\\2 "))),
			func(d *DataSet) bool { v, _ := d.Floats(PixelSpacing); return slices.Equal(v, []float64{1, 2}) }},
		{"CS in ST", ExplicitVRLittleEndian, slices.Concat(el(ImageType, "ST", []byte("ORIGINAL\\PRIMARY ")), name, id, rows),
			func(d *DataSet) bool { return slices.Equal(d.Strings(ImageType), []string{"ORIGINAL", "PRIMARY"}) }},
		{"text with a backslash stays whole", ExplicitVRLittleEndian, slices.Concat(name, id, el(ImageComments, "LT", []byte("a\\b ")), rows),
			func(d *DataSet) bool { return slices.Equal(d.Strings(ImageComments), []string{"a\\b"}) }},
		{"decimal commas", ExplicitVRLittleEndian, slices.Concat(name, id, rows, el(PixelSpacing, "DS", []byte("0,5\\1,25"))),
			func(d *DataSet) bool { v, _ := d.Floats(PixelSpacing); return slices.Equal(v, []float64{0.5, 1.25}) }},
		{"commas that are none", ExplicitVRLittleEndian, slices.Concat(name, id, rows, el(PixelSpacing, "DS", []byte("1,000.5\\1 "))),
			func(d *DataSet) bool { _, ok := d.Floats(PixelSpacing); return !ok }},
		{"group length under UN", ExplicitVRLittleEndian, slices.Concat(el(0x00080000, "UN", []byte{9, 0, 0, 0}), name, id, rows), all},
		{"implicit element among explicit ones", ExplicitVRLittleEndian, slices.Concat(name, im(PatientID, []byte("7 ")), rows), all},
		{"implicit elements in a row", ExplicitVRLittleEndian, slices.Concat(name, im(PatientID, []byte("7 ")), im(Rows, u16(9))), all},
		{"VR of a later standard", ExplicitVRLittleEndian, slices.Concat(name, el(PatientID, "LO", []byte("7 ")), el(history, "ZZ", []byte("text")), rows),
			func(d *DataSet) bool { return all(d) && d.String(history) == "text" }},
	}
	for _, vr := range []string{"RE", "  ", "--", "\x00\x00", "??", "ZZ", "\xFF\xFF", "Lt"} {
		tests = append(tests,
			test{"VR " + vr, ExplicitVRLittleEndian, slices.Concat(short(0x00081155, vr, []byte("1.2.3.4.5\x00")), name, id, short(history, vr, []byte("G0000000")), rows),
				func(d *DataSet) bool {
					return all(d) && d.String(history) == "G0000000" && d.String(0x00081155) == "1.2.3.4.5"
				}},
			test{"VR " + vr + " at both ends", ExplicitVRLittleEndian, slices.Concat(short(0x00080005, vr, []byte("ISO_IR 100")), name, id, rows, short(PixelSpacing, vr, []byte("1\\2 "))),
				func(d *DataSet) bool {
					v, _ := d.Floats(PixelSpacing)
					return all(d) && len(v) == 2 && d.String(SpecificCharacterSet) == "ISO_IR 100"
				}},
			test{"VR " + vr + " in items", ExplicitVRLittleEndian, slices.Concat(el(ContentSequence, "SQ", slices.Concat(im(Item, slices.Concat(short(PatientID, vr, []byte("7 ")), short(history, vr, nil))),
				undef(Item, "", short(PatientID, vr, []byte("8 ")), itemEnd))), name, id, rows),
				func(d *DataSet) bool {
					s := d.Sequence(ContentSequence)
					return len(s) == 2 && s[0].String(PatientID) == "7" && s[1].String(PatientID) == "8" && all(d)
				}},
		)
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			f, err := decodeFile(part10(t, c.syntax, uid, c.data))
			if err != nil {
				t.Fatal(err)
			}
			if !c.ok(f.Data) || f.Data.String(PatientName) != "A^B" {
				t.Fatalf("%v", f.Data.elements)
			}
			if got, err := Check(bytes.NewReader(slices.Concat(uid, c.data)), int64(len(uid)+len(c.data)), c.syntax); err != nil || got.SOPInstanceUID != "1.2" {
				t.Fatalf("over the network: %+v %v", got, err)
			}
		})
	}
}

// TestLongValues leaves values out that are megabytes long, and reads the rest.
func TestLongValues(t *testing.T) {
	t.Parallel()
	long := el(0x00091001, "OB", make([]byte, 12<<20))
	data := slices.Concat(el(SOPInstanceUID, "UI", []byte("1.2\x00")), long, el(PatientID, "LO", []byte("7 ")),
		el(0x00111001, "UN", slices.Concat(tagBytes(Item), []byte{200, 0, 0, 1}, make([]byte, 9<<20))), el(Rows, "US", u16(1)), el(Columns, "US", u16(2)),
		el(BitsAllocated, "US", u16(16)), el(PixelData, "OW", []byte{1, 2, 3, 4}))
	for _, syntax := range []string{ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian} {
		body := data
		if syntax == DeflatedExplicitVRLittleEndian {
			body = deflate(t, data)
		}
		file := part10(t, syntax, body)
		f, err := Read(bytes.NewReader(file), int64(len(file)), Limits{HeaderBytes: 10 << 20})
		if err != nil {
			t.Fatal(err)
		}
		px, err := f.PixelData()
		if err != nil || !bytes.Equal(px, []byte{1, 2, 3, 4}) || f.Data.String(PatientID) != "7" {
			t.Fatalf("%s: % x %v", UIDName(syntax), px, err)
		}
		if id, err := Check(bytes.NewReader(body), int64(len(body)), syntax); err != nil || id.SOPInstanceUID != "1.2" {
			t.Fatalf("%s over the network: %+v %v", UIDName(syntax), id, err)
		}
	}
}

// TestWithoutBeginning reads files that lack the preamble, file meta information or the transfer syntax, and says so.
func TestWithoutBeginning(t *testing.T) {
	t.Parallel()
	data := func(syntax string) []byte {
		var b bytes.Buffer
		if err := WriteDataSet(&b, sample(), syntax); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	big := bytes.Clone(binary.BigEndian.AppendUint16([]byte{0, 8, 0, 0x18, 'U', 'I'}, 4))
	big = append(big, "1.2\x00"...)
	meta := func(syntax string) []byte { // group 2, without Transfer Syntax UID where that is ""
		var b bytes.Buffer
		if err := WriteMeta(&b, FileMeta{SOPClassUID: CTImageStorage, SOPInstanceUID: "1.2", TransferSyntaxUID: ImplicitVRLittleEndian}); err != nil {
			t.Fatal(err)
		}
		group := b.Bytes()[132:]
		ts := bytes.Index(group, []byte("\x02\x00\x10\x00UI"))
		whole := el(TransferSyntaxUID, "UI", []byte(ImplicitVRLittleEndian+"\x00"))
		with := []byte(nil)
		if syntax != "" {
			with = el(TransferSyntaxUID, "UI", []byte(syntax + "\x00")[:(len(syntax)+1)&^1])
		}
		return slices.Concat(group[:ts], with, group[ts+len(whole):])
	}
	preamble := append(make([]byte, 128), "DICM"...)
	explicit, implicit := data(ExplicitVRLittleEndian), data(ImplicitVRLittleEndian)
	const pixels = "\x01\x02\x03\x04\x05\xff"
	for _, c := range []struct {
		name, syntax string
		file         []byte
		assumed      string
	}{
		{"nothing but an explicit data set", ExplicitVRLittleEndian, explicit, "no file meta information, no Transfer Syntax UID, read as Explicit VR Little Endian"},
		{"nothing but an implicit data set", ImplicitVRLittleEndian, implicit, "no file meta information, no Transfer Syntax UID, read as Implicit VR Little Endian"},
		{"nothing but a big endian data set", ExplicitVRBigEndian, big, "no file meta information, no Transfer Syntax UID, read as Explicit VR Big Endian"},
		{"preamble without file meta information", ImplicitVRLittleEndian, slices.Concat(preamble, implicit), "no file meta information, no Transfer Syntax UID, read as Implicit VR Little Endian"},
		{"file meta information without preamble", ImplicitVRLittleEndian, slices.Concat(meta(ImplicitVRLittleEndian), implicit), "no preamble"},
		{"DICM without preamble", ExplicitVRLittleEndian, slices.Concat([]byte("DICM"), meta(ExplicitVRLittleEndian), explicit), "no preamble"},
		{"no transfer syntax, explicit", ExplicitVRLittleEndian, slices.Concat(preamble, meta(""), explicit), "no Transfer Syntax UID, read as Explicit VR Little Endian"},
		{"no transfer syntax, implicit", ImplicitVRLittleEndian, slices.Concat(preamble, meta(""), implicit), "no Transfer Syntax UID, read as Implicit VR Little Endian"},
		{"neither preamble nor transfer syntax", ImplicitVRLittleEndian, slices.Concat(meta(""), implicit), "no preamble, no Transfer Syntax UID, read as Implicit VR Little Endian"},
		{"all there", ExplicitVRLittleEndian, part10(t, ExplicitVRLittleEndian, explicit), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := decodeFile(c.file)
			if err != nil {
				t.Fatal(err)
			}
			if f.Meta.TransferSyntaxUID != c.syntax || f.Assumed != c.assumed || f.Data.String(SOPInstanceUID) == "" {
				t.Errorf("%s, assumed %q", UIDName(f.Meta.TransferSyntaxUID), f.Assumed)
			}
			if px, err := f.PixelData(); c.syntax != ExplicitVRBigEndian && (err != nil || string(px) != pixels) {
				t.Errorf("pixels % x, %v", px, err)
			}
		})
	}
	for name, file := range map[string][]byte{
		"text":                   []byte(strings.Repeat("Lorem ipsum. ", 100)),
		"zeros":                  make([]byte, 1000),
		"begins like group 8":    append([]byte{8, 0, 5, 0}, bytes.Repeat([]byte{7}, 500)...),
		"begins like group 2":    append([]byte{2, 0, 0, 0}, bytes.Repeat([]byte{7}, 500)...),
		"data set without a UID": el(ImageType, "CS", bytes.Repeat([]byte("A"), 200)),
		"short":                  {8, 0, 5, 0},
	} {
		if f, err := decodeFile(file); !errors.Is(err, ErrNotDICOM) {
			t.Errorf("%s: %v %v", name, f, err)
		}
	}
}

// TestLabelledAsUncompressed recognises what is encapsulated under the label of an uncompressed transfer syntax.
func TestLabelledAsUncompressed(t *testing.T) {
	t.Parallel()
	jpeg := func(sof, predictor byte) []byte {
		b := []byte{0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2, 0xFF, sof, 0, 11, 12, 0, 8, 0, 8, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8, 1, 1, 0, predictor, 0, 0}
		return append(b, make([]byte, 64)...)
	}
	j2k := func(fast bool, wavelet byte) []byte {
		b := append([]byte{0xFF, 0x4F, 0xFF, 0x51, 0, 41}, make([]byte, 39)...)
		if fast {
			b = append(b, 0xFF, 0x50, 0, 8, 0, 2, 0, 0, 0, 0)
		}
		b = append(b, 0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, 5, 4, 4, 0, wavelet)
		return append(b, make([]byte, 64)...)
	}
	rle := append([]byte{2, 0, 0, 0, 64, 0, 0, 0, 80, 0, 0, 0}, make([]byte, 100)...)
	for _, c := range []struct {
		name   string
		stream []byte
		want   string
	}{
		{"JPEG Lossless SV1", jpeg(0xC3, 1), JPEGLosslessSV1},
		{"JPEG Lossless", jpeg(0xC3, 6), JPEGLossless},
		{"JPEG Baseline", jpeg(0xC0, 0), JPEGBaseline8Bit},
		{"JPEG-LS", jpeg(0xF7, 0), JPEGLSLossless},
		{"JPEG-LS near-lossless", jpeg(0xF7, 2), JPEGLSNearLossless},
		{"JPEG 2000", j2k(false, 0), JPEG2000},
		{"JPEG 2000 Lossless", j2k(false, 1), JPEG2000Lossless},
		{"HTJ2K", j2k(true, 1), HTJ2KLossless},
		{"RLE", rle, RLELossless},
		{"anything", bytes.Repeat([]byte{3, 1, 4}, 40), ExplicitVRLittleEndian},
	} {
		f, err := decodeFile(part10(t, ExplicitVRLittleEndian, undef(PixelData, "OB", im(Item, nil), im(Item, c.stream), seqEnd)))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if f.Meta.TransferSyntaxUID != c.want || (f.Assumed == "") != (c.want == ExplicitVRLittleEndian) {
			t.Errorf("%s: %s, assumed %q", c.name, UIDName(f.Meta.TransferSyntaxUID), f.Assumed)
		}
	}
}

// TestNoFrames reads an image whose Number of Frames is 0 as one frame.
func TestNoFrames(t *testing.T) {
	t.Parallel()
	d := sample()
	d.SetStrings(NumberOfFrames, "IS", "0")
	f, err := decodeFile(encode(t, d, ExplicitVRLittleEndian))
	if err != nil {
		t.Fatal(err)
	}
	if px, err := f.PixelData(); err != nil || len(px) != 6 {
		t.Errorf("%d bytes, %v", len(px), err)
	}
}
