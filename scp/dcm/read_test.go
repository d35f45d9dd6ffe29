package dcm

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Bytes of elements, written by hand.
func el(t Tag, vr string, value []byte) []byte { // explicit
	b := tagBytes(t)
	b = append(b, vr...)
	if VR(vr).long() {
		b = append(b, 0, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	} else {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	}
	return append(b, value...)
}

func im(t Tag, value []byte) []byte { // implicit; also items and delimiters
	return append(binary.LittleEndian.AppendUint32(tagBytes(t), uint32(len(value))), value...)
}

func undef(t Tag, vr string, content ...[]byte) []byte { // undefined length
	b := tagBytes(t)
	if vr != "" {
		b = append(b, vr[0], vr[1], 0, 0)
	}
	return append(append(b, 0xFF, 0xFF, 0xFF, 0xFF), slices.Concat(content...)...)
}

func tagBytes(t Tag) []byte {
	return binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, t.Group()), t.Element())
}

func u16(n uint16) []byte { return binary.LittleEndian.AppendUint16(nil, n) }

// part10 puts file meta information in front of a data set.
func part10(t testing.TB, syntax string, data ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteMeta(&b, FileMeta{SOPClassUID: CTImageStorage, SOPInstanceUID: "1.2", TransferSyntaxUID: syntax}); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), slices.Concat(data...)...)
}

func deflate(t testing.TB, data ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestSpeed)
	for _, d := range data {
		w.Write(d)
	}
	w.Close()
	return b.Bytes()
}

var itemEnd, seqEnd = im(ItemDelimitationItem, nil), im(SequenceDelimitationItem, nil)

// What other systems write and the standard allows, or nearly.
func TestReadsWhatOthersWrite(t *testing.T) {
	name, id := el(PatientName, "PN", []byte("A^B ")), el(PatientID, "LO", []byte("7 "))
	check := func(d *DataSet) bool { return d.String(PatientName) == "A^B" && d.String(PatientID) == "7" }
	word := func(d *DataSet, t Tag, n int) bool { v, ok := d.Int(t); return ok && v == n }
	be := func(t Tag, vr string, v []byte) []byte {
		b := append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, t.Group()), t.Element()), vr...)
		return append(binary.BigEndian.AppendUint16(b, uint16(len(v))), v...)
	}
	const private = 0x00090010
	for _, c := range []struct {
		name   string
		syntax string
		data   []byte
		ok     func(*DataSet) bool
	}{
		{"undefined length sequence and items", ExplicitVRLittleEndian, slices.Concat(
			undef(ContentSequence, "SQ", undef(Item, "", name, itemEnd), im(Item, id), undef(Item, "", itemEnd), seqEnd), name, id),
			func(d *DataSet) bool {
				s := d.Sequence(ContentSequence)
				return check(d) && len(s) == 3 && s[0].String(PatientName) == "A^B" && s[1].String(PatientID) == "7"
			}},
		{"UN of undefined length is implicit inside", ExplicitVRLittleEndian, slices.Concat(
			undef(0x00091001, "UN", undef(Item, "", im(PatientName, []byte("A^B ")),
				undef(ContentSequence, "", im(Item, im(Rows, u16(9))), seqEnd), itemEnd), seqEnd), name, id),
			func(d *DataSet) bool {
				s := d.Sequence(0x00091001)
				return check(d) && len(s) == 1 && s[0].String(PatientName) == "A^B" && word(s[0].Sequence(ContentSequence)[0], Rows, 9)
			}},
		{"UN of a standard attribute", ExplicitVRLittleEndian, slices.Concat(name, el(PatientID, "UN", []byte("7 ")), el(Rows, "UN", u16(512))),
			func(d *DataSet) bool { return check(d) && word(d, Rows, 512) }},
		{"private binary stays as it is", ImplicitVRLittleEndian, slices.Concat(im(private, []byte("X ")), im(0x00091001, []byte{0x1B, '$', 0xFF, 0}),
			im(PatientName, []byte("A^B ")), im(PatientID, []byte("7 "))),
			func(d *DataSet) bool {
				e, _ := d.Get(0x00091001)
				b, is := e.Value.([]byte)
				return check(d) && is && bytes.Equal(b, []byte{0x1B, '$', 0xFF, 0}) && d.String(private) == "X"
			}},
		{"private sequence of undefined length in implicit VR", ImplicitVRLittleEndian, slices.Concat(
			undef(0x00091001, "", im(Item, im(Rows, u16(3))), seqEnd), im(PatientName, []byte("A^B ")), im(PatientID, []byte("7 "))),
			func(d *DataSet) bool { return check(d) && word(d.Sequence(0x00091001)[0], Rows, 3) }},
		{"signed by pixel representation", ImplicitVRLittleEndian, slices.Concat(im(PatientName, []byte("A^B ")), im(PatientID, []byte("7 ")),
			im(PixelRepresentation, u16(1)), im(PixelPaddingValue, u16(0xF830))),
			func(d *DataSet) bool { return check(d) && word(d, PixelPaddingValue, -2000) }},
		{"encapsulated icon before the image", ExplicitVRLittleEndian, slices.Concat(name, id,
			el(IconImageSequence, "SQ", im(Item, undef(PixelData, "OB", im(Item, nil), im(Item, []byte{1, 2, 3, 4}), seqEnd)))), check},
		{"native icon", ExplicitVRLittleEndian, slices.Concat(name, id, el(IconImageSequence, "SQ", im(Item, el(PixelData, "OW", []byte{1, 2})))),
			func(d *DataSet) bool {
				e, _ := d.Sequence(IconImageSequence)[0].Get(PixelData)
				return check(d) && bytes.Equal(e.Value.([]byte), []byte{1, 2})
			}},
		{"out of order and twice", ExplicitVRLittleEndian, slices.Concat(id, name, el(PatientID, "LO", []byte("8 "))), check},
		{"implicit in a file that says explicit", ExplicitVRLittleEndian, slices.Concat(im(PatientName, []byte("A^B ")), im(PatientID, []byte("7 "))), check},
		{"explicit in a file that says implicit", ImplicitVRLittleEndian, slices.Concat(name, id), check},
		{"odd lengths", ExplicitVRLittleEndian, slices.Concat(el(PatientName, "PN", []byte("A^B")), el(PatientID, "LO", []byte("7")), el(Rows, "US", []byte{1, 2, 3})),
			func(d *DataSet) bool { return check(d) && word(d, Rows, 0x0201) }},
		{"big endian", ExplicitVRBigEndian, slices.Concat(be(PatientName, "PN", []byte("A^B ")), be(PatientID, "LO", []byte("7 ")),
			be(Rows, "US", []byte{2, 0}), be(DimensionIndexPointer, "AT", []byte{0, 0x62, 0, 0x0B})),
			func(d *DataSet) bool {
				e, _ := d.Get(DimensionIndexPointer)
				return check(d) && word(d, Rows, 512) && slices.Equal(e.Value.([]Tag), []Tag{ReferencedSegmentNumber})
			}},
		{"newer VRs", ExplicitVRLittleEndian, slices.Concat(name, id, el(0x7FE00001, "OV", []byte{1, 2, 3, 4, 5, 6, 7, 8}),
			el(0x00720082, "SV", bytes.Repeat([]byte{0xFF}, 8)), el(TrackingID, "ZZ", []byte("??"))),
			func(d *DataSet) bool { return check(d) && word(d, 0x00720082, -1) }},
		{"padding at the end", ExplicitVRLittleEndian, slices.Concat(name, id, make([]byte, 6)), check},
		{"group lengths", ExplicitVRLittleEndian, slices.Concat(el(0x00080000, "UL", []byte{9, 9, 9, 9}), name, id), check},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := decodeFile(part10(t, c.syntax, c.data))
			if err != nil {
				t.Fatal(err)
			}
			if !c.ok(f.Data) {
				t.Fatalf("%v", f.Data.elements)
			}
		})
	}
}

func TestWrongGroupLength(t *testing.T) {
	for _, n := range []uint32{0, 1, 20, 5000, 0xFFFFFFFF} {
		b := part10(t, ExplicitVRLittleEndian, el(PatientID, "LO", []byte("7 ")))
		binary.LittleEndian.PutUint32(b[140:], n)
		if f, err := decodeFile(b); err != nil || f.Data.String(PatientID) != "7" {
			t.Errorf("group length %d: %v", n, err)
		}
	}
}

// Hostile files cost neither time nor memory.
func TestHostileFiles(t *testing.T) {
	huge := func(vr string) []byte {
		b := append(tagBytes(ICCProfile), vr...)
		return append(b, 0, 0, 0xFE, 0xFF, 0xFF, 0xFF)
	}
	for _, c := range []struct {
		name string
		file []byte
		want error
	}{
		{"empty", nil, ErrNotDICOM},
		{"no preamble", bytes.Repeat([]byte{8, 0, 5, 0}, 100), ErrNotDICOM},
		{"nothing behind DICM", append(make([]byte, 128), "DICM"...), ErrNotDICOM},
		{"no group 2", append(append(make([]byte, 128), "DICM"...), el(PatientID, "LO", []byte("123456"))...), ErrNotDICOM},
		{"VL FFFFFFFE in OB", part10(t, ExplicitVRLittleEndian, huge("OB")), ErrTruncated},
		{"VL FFFFFFFE in OW", part10(t, ExplicitVRLittleEndian, huge("OW")), ErrTruncated},
		{"VL FFFFFFFE in UT", part10(t, ExplicitVRLittleEndian, huge("UT")), ErrTruncated},
		{"VL FFFFFFFE in SQ", part10(t, ExplicitVRLittleEndian, huge("SQ")), ErrTruncated},
		{"VL FFFFFFFE deflated", part10(t, DeflatedExplicitVRLittleEndian, deflate(t, huge("OB"))), ErrLimit},
		{"undefined length in UT", part10(t, ExplicitVRLittleEndian, undef(TrackingID, "UT")), ErrEncoding},
		{"sequences nested 100,000", part10(t, ExplicitVRLittleEndian, bytes.Repeat(undef(ContentSequence, "SQ", undef(Item, "")), 100_000)), ErrLimit},
		{"UN nested 1,500,000", part10(t, ExplicitVRLittleEndian, undef(0x00091001, "UN", undef(Item, "")),
			bytes.Repeat(undef(0x00091001, "", undef(Item, "")), 1_500_000)), ErrLimit},
		{"items without end", part10(t, ExplicitVRLittleEndian, undef(ContentSequence, "SQ", bytes.Repeat(im(Item, nil), 900_000))), ErrLimit},
		{"elements without end", part10(t, ExplicitVRLittleEndian, bytes.Repeat(el(PatientID, "LO", nil), 900_000)), ErrLimit},
		{"values without end", part10(t, ImplicitVRLittleEndian, bytes.Repeat(im(LongCodeValue, bytes.Repeat([]byte(`\a`), 500_000)), 3)), ErrLimit},
		{"header of 40 MB in values of 60 KB", part10(t, ExplicitVRLittleEndian, bytes.Repeat(el(ICCProfile, "OB", make([]byte, 60<<10)), 700)), ErrLimit},
		{"deflate bomb", part10(t, DeflatedExplicitVRLittleEndian, deflate(t, append(huge("OB")[:8], 0, 0, 0, 0x7F), make([]byte, 300<<20))), ErrLimit},
		{"deflate stream damaged", part10(t, DeflatedExplicitVRLittleEndian, []byte{7, 7, 7, 7, 7, 7, 7, 7, 7}), ErrTruncated},
		{"item beyond its sequence", part10(t, ExplicitVRLittleEndian, el(ContentSequence, "SQ", append(tagBytes(Item), 99, 0, 0, 0, 1, 2, 3, 4))), ErrEncoding},
		{"value beyond its item", part10(t, ExplicitVRLittleEndian, el(ContentSequence, "SQ", im(Item, el(PatientID, "LO", []byte("1234"))[:10])), make([]byte, 40)), ErrEncoding},
		{"element where an item should be", part10(t, ExplicitVRLittleEndian, el(ContentSequence, "SQ", el(PatientID, "LO", []byte("12")))), ErrEncoding},
		{"delimiter at the top", part10(t, ExplicitVRLittleEndian, seqEnd), ErrEncoding},
		{"sequence not closed", part10(t, ExplicitVRLittleEndian, undef(ContentSequence, "SQ")), ErrTruncated},
		{"fragment of undefined length", part10(t, ExplicitVRLittleEndian, el(IconImageSequence, "SQ", im(Item, undef(PixelData, "OB", undef(Item, ""))))), ErrEncoding},
		{"unknown transfer syntax", part10(t, "1.2.840.113619.5.2"), ErrTransferSyntax},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err := decodeFile(c.file)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if spent := after.TotalAlloc - before.TotalAlloc; spent > 200<<20 || took > 10*time.Second {
				t.Errorf("%d bytes allocated in %v", spent, took)
			}
		})
	}
}

func TestEveryPrefix(t *testing.T) {
	for _, syntax := range writable {
		whole := encode(t, sample(), syntax)
		for n := range whole {
			f, err := decodeFile(whole[:n])
			if err != nil {
				continue
			}
			if px, err := f.PixelData(); err == nil && !bytes.Equal(px, []byte{1, 2, 3, 4, 5, 255}) { // the end of a deflate stream may lack
				t.Fatalf("%s: pixel data from %d of %d bytes", UIDName(syntax), n, len(whole))
			}
		}
	}
}

func TestPixelData(t *testing.T) {
	image := func(rows, columns, bits int64, frames string, px []byte) *DataSet {
		d := sample()
		d.SetInts(Rows, "US", rows)
		d.SetInts(Columns, "US", columns)
		d.SetInts(BitsAllocated, "US", bits)
		if frames != "" {
			d.SetStrings(NumberOfFrames, "IS", frames)
		}
		d.SetBytes(PixelData, "OW", px)
		return d
	}
	without := sample()
	without.Delete(PixelData)
	for _, c := range []struct {
		name string
		d    *DataSet
		n    int
		want error
	}{
		{"16 bit", image(2, 3, 16, "", make([]byte, 12)), 12, nil},
		{"two frames", image(2, 3, 16, "2", make([]byte, 24)), 24, nil},
		{"padding behind", image(3, 3, 8, "", make([]byte, 10)), 9, nil},
		{"much padding behind a small image", image(3, 3, 8, "", make([]byte, 60<<10)), 9, nil},
		{"half of the rows", image(256, 512, 16, "", make([]byte, 512*512*2)), 0, ErrPixelData},
		{"one bit across frames", image(3, 3, 1, "2", make([]byte, 4)), 3, nil},
		{"too short", image(2, 3, 16, "3", make([]byte, 24)), 0, ErrPixelData},
		{"no rows", image(0, 3, 16, "", make([]byte, 24)), 0, ErrPixelData},
		{"12 bits allocated", image(2, 3, 12, "", make([]byte, 24)), 0, ErrPixelData},
		{"negative frames", image(2, 3, 16, "-1", make([]byte, 24)), 0, ErrPixelData},
		{"absurd size", image(65535, 65535, 64, "2147483647", make([]byte, 24)), 0, ErrLimit},
		{"absent", without, 0, ErrPixelData},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, syntax := range writable {
				f, err := decodeFile(encode(t, c.d, syntax))
				if err != nil {
					t.Fatal(err)
				}
				px, err := f.PixelData()
				if !errors.Is(err, c.want) || len(px) != c.n {
					t.Fatalf("%d bytes, %v", len(px), err)
				}
			}
		})
	}
	f, err := decodeFile(part10(t, JPEGLosslessSV1, undef(PixelData, "OB", im(Item, nil), im(Item, []byte{1, 2}), seqEnd)))
	if err != nil || !f.Pixels.Encapsulated {
		t.Fatal(err)
	}
	if _, err := f.PixelData(); !errors.Is(err, ErrPixelData) {
		t.Fatal(err)
	}
}

// TestCheck cuts data sets off at every byte: none is accepted, but where an element ends.
func TestCheck(t *testing.T) {
	t.Parallel()
	check := func(b []byte, syntax string) (Identifiers, error) {
		return Check(bytes.NewReader(b), int64(len(b)), syntax)
	}
	want := Identifiers{"2.25.2", "2.25.3", SecondaryCaptureImageStorage, "2.25.1", "CT"}
	for _, syntax := range writable {
		var b bytes.Buffer
		if err := WriteDataSet(&b, sample(), syntax); err != nil {
			t.Fatal(err)
		}
		if id, err := check(b.Bytes(), syntax); err != nil || id != want {
			t.Fatalf("%s: %+v %v", UIDName(syntax), id, err)
		}
		whole := 0
		for n := range b.Len() {
			_, err := check(b.Bytes()[:n], syntax)
			if err != nil && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrEncoding) {
				t.Fatalf("%s, %d bytes: %v", UIDName(syntax), n, err)
			}
			if err == nil {
				whole++
			}
		}
		if most := 2 * len(sample().elements); whole > most { // also behind zeros of padding
			t.Errorf("%s: %d prefixes are accepted, %d elements", UIDName(syntax), whole, most)
		}
	}
	px := func(n uint32, data ...byte) []byte {
		b := append(tagBytes(PixelData), 'O', 'W', 0, 0)
		return append(binary.LittleEndian.AppendUint32(b, n), data...)
	}
	id := el(SOPInstanceUID, "UI", []byte("1.2\x00"))
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"whole", slices.Concat(id, px(4, 1, 2, 3, 4)), nil},
		{"padding behind the pixels", slices.Concat(id, px(4, 1, 2, 3, 4), el(DataSetTrailingPadding, "OB", make([]byte, 20))), nil},
		{"zeros behind the pixels", slices.Concat(id, px(4, 1, 2, 3, 4), make([]byte, 100)), nil},
		{"pixel data cut off", slices.Concat(id, px(4, 1, 2, 3)), ErrTruncated},
		{"pixel data of FFFFFFFEH bytes", slices.Concat(id, px(0xFFFFFFFE, 1, 2, 3, 4)), ErrTruncated},
		{"padding cut off", slices.Concat(id, px(4, 1, 2, 3, 4), el(DataSetTrailingPadding, "OB", make([]byte, 20))[:30]), ErrTruncated},
		{"element cut off", slices.Concat(id, el(PatientID, "LO", []byte("1234"))[:10]), ErrTruncated},
		{"long value cut off", slices.Concat(id, el(ICCProfile, "OB", make([]byte, 2<<20))[:1<<20]), ErrTruncated},
		{"fragment cut off", slices.Concat(id, undef(PixelData, "OB", im(Item, nil), im(Item, []byte{1, 2, 3, 4})[:10])), ErrTruncated},
		{"no delimiter behind the fragments", slices.Concat(id, undef(PixelData, "OB", im(Item, nil), im(Item, []byte{1, 2, 3, 4}))), ErrTruncated},
		{"sequence not closed", slices.Concat(id, undef(ContentSequence, "SQ", im(Item, nil))), ErrTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := check(c.data, ExplicitVRLittleEndian)
			if !errors.Is(err, c.want) || c.want == nil && got.SOPInstanceUID != "1.2" {
				t.Errorf("%+v %v, want %v", got, err, c.want)
			}
		})
	}
	// An object of a class that nobody reads may hold anything behind its identifiers, but not beyond its end.
	whole := slices.Concat(el(SOPClassUID, "UI", []byte("1.2\x00")), id, el(StudyInstanceUID, "UI", []byte("1.3\x00")), el(SeriesInstanceUID, "UI", []byte("1.4\x00")))
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"odd":                           {slices.Concat(whole, el(ContentSequence, "SQ", el(PatientID, "LO", []byte("12")))), nil},
		"cut off":                       {slices.Concat(whole, el(ContentSequence, "SQ", im(Item, nil))[:14]), ErrTruncated},
		"item larger than its sequence": {slices.Concat(whole, el(ContentSequence, "SQ", im(Item, make([]byte, 500))[:16]), make([]byte, 600)), ErrEncoding},
		"element larger than its item":  {slices.Concat(whole, el(ContentSequence, "SQ", im(Item, el(PatientID, "LO", make([]byte, 50))[:10])), make([]byte, 100)), ErrEncoding},
		"sequence without delimiter":    {slices.Concat(whole, undef(ContentSequence, "SQ", im(Item, nil)), el(0x0040A999, "LO", []byte("12"))), ErrEncoding},
		"bytes without delimiter":       {slices.Concat(whole, undef(0x0040A998, "OB", im(Item, []byte{1, 2})), el(0x0040A999, "LO", []byte("12"))), ErrEncoding},
		"sequence open at the end":      {slices.Concat(whole, undef(ContentSequence, "SQ", im(Item, nil))), ErrTruncated},
		"bytes open at the end":         {slices.Concat(whole, undef(0x0040A998, "OB", im(Item, []byte{1, 2}))), ErrTruncated},
		"odd first":                     {slices.Concat(el(0x00080001, "SQ", el(PatientID, "LO", []byte("12"))), whole), ErrEncoding},
	} {
		if _, err := check(c.data, ExplicitVRLittleEndian); !errors.Is(err, c.want) {
			t.Errorf("%s behind the identifiers: %v, want %v", name, err, c.want)
		}
	}
	// What is kept of an identifier is bounded, whatever its length says.
	endless := el(Modality, "CS", []byte("CT"+strings.Repeat("T", 1<<15)))
	if id, err := check(endless, ExplicitVRLittleEndian); err != nil || len(id.Modality) > maxIdentifier || id.Modality == "CT" {
		t.Errorf("modality of %d bytes, %v", len(id.Modality), err)
	}
	if _, err := check(nil, "1.2.3"); !errors.Is(err, ErrTransferSyntax) {
		t.Error(err)
	}
}
