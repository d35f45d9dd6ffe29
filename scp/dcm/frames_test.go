package dcm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// The last pixel of an odd number of 8-bit pixels in big-endian words is the second byte of the last word (PS3.5 §A.3).
func TestBigEndianBytesInWords(t *testing.T) {
	be := func(tag Tag, vr string, v []byte) []byte {
		b := append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, tag.Group()), tag.Element()), vr...)
		if VR(vr).long() {
			b = binary.BigEndian.AppendUint32(append(b, 0, 0), uint32(len(v)))
		} else {
			b = binary.BigEndian.AppendUint16(b, uint16(len(v)))
		}
		return append(b, v...)
	}
	header := slices.Concat(be(Rows, "US", []byte{0, 1}), be(Columns, "US", []byte{0, 3}))
	for _, c := range []struct {
		name string
		bits byte
		vr   string
		data []byte
		want []byte
	}{
		{"8 bit in words", 8, "OW", []byte{2, 1, 0, 3}, []byte{1, 2, 3}},
		{"8 bit in bytes", 8, "OB", []byte{1, 2, 3, 0}, []byte{1, 2, 3}},
		{"16 bit", 16, "OW", []byte{1, 2, 3, 4, 5, 6}, []byte{2, 1, 4, 3, 6, 5}},
		{"32 bit in words", 32, "OW", []byte{2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11}, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
	} {
		f, err := decodeFile(part10(t, ExplicitVRBigEndian, header, be(BitsAllocated, "US", []byte{0, c.bits}), be(PixelData, c.vr, c.data)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := f.PixelData(); err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

// Frames of encapsulated pixel data, as PS3.5 §A.4 has it and as it must not be.
func TestFrames(t *testing.T) {
	count := func(n string) []byte { return el(NumberOfFrames, "IS", []byte(n)) }
	words := func(size int, v ...uint64) (b []byte) {
		for _, n := range v {
			b = append(b, binary.LittleEndian.AppendUint64(nil, n)[:size]...)
		}
		return b
	}
	soi := []byte{0xFF, 0xD8, 0xFF, 0xC3}
	for _, c := range []struct {
		name string
		data [][]byte
		want [][]byte // of each frame, nil where there is an error
		err  error
	}{
		{"single, in two", [][]byte{undef(PixelData, "OB", im(Item, nil), im(Item, []byte{1, 2}), im(Item, []byte{3, 4}), seqEnd)}, [][]byte{{1, 2, 3, 4}}, nil},
		{"one each", [][]byte{count("2 "), undef(PixelData, "OB", im(Item, nil), im(Item, []byte{1, 2}), im(Item, []byte{3, 4}), seqEnd)}, [][]byte{{1, 2}, {3, 4}}, nil},
		{"basic offset table", [][]byte{count("2 "), undef(PixelData, "OB", im(Item, words(4, 0, 10)), im(Item, []byte{1, 2}), im(Item, []byte{3, 4}), im(Item, []byte{5, 6}), seqEnd)},
			[][]byte{{1, 2}, {3, 4, 5, 6}}, nil},
		{"extended offset table", [][]byte{count("2 "), el(ExtendedOffsetTable, "OV", words(8, 0, 20)),
			undef(PixelData, "OB", im(Item, nil), im(Item, []byte{1, 2}), im(Item, []byte{3, 4}), im(Item, []byte{5, 6}), seqEnd)}, [][]byte{{1, 2, 3, 4}, {5, 6}}, nil},
		{"by SOI", [][]byte{count("2 "), undef(PixelData, "OB", im(Item, nil), im(Item, soi), im(Item, []byte{3, 4}), im(Item, soi), seqEnd)},
			[][]byte{append(bytes.Clone(soi), 3, 4), soi}, nil},
		{"no delimiter", [][]byte{undef(PixelData, "OB", im(Item, nil), im(Item, []byte{1, 2}))}, nil, ErrTruncated},
		{"no table item", [][]byte{undef(PixelData, "OB", seqEnd)}, nil, ErrEncoding},
		{"no fragment", [][]byte{undef(PixelData, "OB", im(Item, nil), seqEnd)}, nil, ErrPixelData},
		{"fragment beyond the end", [][]byte{undef(PixelData, "OB", im(Item, nil), []byte{0xFE, 0xFF, 0x00, 0xE0, 0xFE, 0xFF, 0xFF, 0xFF, 1, 2})}, nil, ErrTruncated},
		{"fragment of undefined length", [][]byte{undef(PixelData, "OB", im(Item, nil), undef(Item, "", []byte{1, 2}))}, nil, ErrEncoding},
		{"an element between", [][]byte{undef(PixelData, "OB", im(Item, nil), el(PatientName, "PN", []byte("A^B ")), seqEnd)}, nil, ErrEncoding},
		{"negative frames", [][]byte{count("-1"), undef(PixelData, "OB", im(Item, nil), im(Item, nil), seqEnd)}, nil, ErrPixelData},
		{"two thousand million frames", [][]byte{count("2000000000"), undef(PixelData, "OB", im(Item, nil), im(Item, nil), seqEnd)}, nil, ErrPixelData},
		{"frames without a beginning", [][]byte{count("2 "), undef(PixelData, "OB", im(Item, nil), im(Item, soi), im(Item, []byte{3, 4}), im(Item, []byte{3, 4}), seqEnd)}, nil, ErrPixelData},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := decodeFile(part10(t, JPEGLosslessSV1, c.data...))
			if err != nil {
				t.Fatal(err)
			}
			frames, err := f.Frames()
			if !errors.Is(err, c.err) || len(frames) != len(c.want) {
				t.Fatalf("%d frames, %v", len(frames), err)
			}
			for i, frame := range frames {
				if got, err := f.ReadFrame(frame); err != nil || !bytes.Equal(got, c.want[i]) {
					t.Errorf("frame %d: %v, %v", i+1, got, err)
				}
			}
		})
	}
	native, err := decodeFile(part10(t, ExplicitVRLittleEndian, el(PixelData, "OW", []byte{1, 2})))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := native.Frames(); !errors.Is(err, ErrPixelData) {
		t.Error(err)
	}
}

func TestLossy(t *testing.T) {
	for _, c := range []struct {
		syntax, said string
		want         bool
	}{
		{ExplicitVRLittleEndian, "", false}, {ExplicitVRLittleEndian, "00", false}, {ExplicitVRLittleEndian, "01", true},
		{JPEGBaseline8Bit, "", true}, {JPEGBaseline8Bit, "00", true}, {JPEGLSNearLossless, "", true}, {JPEGLSNearLossless, "00", false},
		{JPEG2000, "", true}, {JPEG2000, "00", false}, {JPEG2000Lossless, "", false}, {HTJ2K, "01", true}, {RLELossless, "01", true},
	} {
		f := &File{Meta: FileMeta{TransferSyntaxUID: c.syntax}, Data: &DataSet{}}
		if c.said != "" {
			f.Data.SetStrings(LossyImageCompression, "CS", c.said)
		}
		if got := f.Lossy(); got != c.want {
			t.Errorf("%s with %q: %v", UIDName(c.syntax), c.said, got)
		}
	}
}

// Fragments lie in the pixel data, one behind the other, and frames are made of all of them.
func FuzzFrames(f *testing.F) {
	f.Add(slices.Concat(im(Item, nil), im(Item, []byte{1, 2}), im(Item, []byte{3, 4}), seqEnd), "1 ")
	f.Add(slices.Concat(im(Item, []byte{0, 0, 0, 0, 10, 0, 0, 0}), im(Item, []byte{1, 2}), im(Item, []byte{3, 4}), im(Item, nil), seqEnd), "2 ")
	f.Add(slices.Concat(im(Item, nil), im(Item, []byte{0xFF, 0xD8, 0xFF, 0xC3}), im(Item, nil), im(Item, []byte{0xFF, 0x4F, 0xFF, 0x51}), seqEnd), "2 ")
	f.Fuzz(func(t *testing.T, items []byte, count string) {
		b := part10(t, JPEGLosslessSV1, el(NumberOfFrames, "IS", []byte(count[:min(len(count), 12)/2*2])), undef(PixelData, "OB", items))
		file, err := Read(bytes.NewReader(b), int64(len(b)), small)
		if err != nil || file.Pixels == nil {
			return
		}
		frames, err := file.Frames()
		if err != nil {
			return
		}
		total := 0
		for _, frame := range frames {
			part, err := file.ReadFrame(frame)
			if err != nil {
				t.Fatal(err)
			}
			total += len(part)
		}
		if total > len(items) {
			t.Fatalf("%d bytes of %d", total, len(items))
		}
	})
}
