package dcm

import (
	"bytes"
	"strings"
	"testing"

	"unicode/utf8"
)

// seeds are small files of our writer and a few by hand.
func seeds(f *testing.F) (files [][]byte) {
	for _, syntax := range writable {
		files = append(files, encode(f, sample(), syntax))
	}
	return append(files,
		part10(f, ExplicitVRLittleEndian, undef(ContentSequence, "SQ", undef(Item, "", el(PatientName, "PN", []byte("A^B ")), itemEnd), seqEnd)),
		part10(f, ExplicitVRLittleEndian, undef(0x00091001, "UN", undef(Item, "", im(PatientName, []byte("A^B ")), itemEnd), seqEnd)),
		part10(f, ExplicitVRLittleEndian, el(SpecificCharacterSet, "CS", []byte(`\ISO 2022 IR 87`)), el(PatientName, "PN", []byte("A=\x1b$B;3ED\x1b(B "))),
		part10(f, JPEGLosslessSV1, undef(PixelData, "OB", im(Item, nil), im(Item, []byte{1, 2}), seqEnd)))
}

var readable = append([]string{ExplicitVRBigEndian, JPEGLosslessSV1}, writable...)

var small = Limits{HeaderBytes: 1 << 20, Elements: 10_000, Values: 10_000, InflatedBytes: 1 << 20, PixelBytes: 1 << 20}

// Whatever can be read can be written, and reads again. The data set is behind file meta information of ours, or the
// whole file is the fuzzer's.
func FuzzRead(f *testing.F) {
	for _, s := range seeds(f) {
		file, err := decodeFile(s)
		if err != nil {
			f.Fatal(err)
		}
		for i, syntax := range readable {
			if syntax == file.Meta.TransferSyntaxUID {
				f.Add(s[file.dataStart:], uint8(i))
			}
		}
		f.Add(s, uint8(255))
	}
	f.Fuzz(func(t *testing.T, b []byte, syntax uint8) {
		if syntax < 255 {
			b = part10(t, readable[int(syntax)%len(readable)], b)
		}
		file, err := Read(bytes.NewReader(b), int64(len(b)), small)
		if err != nil {
			Identify(bytes.NewReader(b), int64(len(b)), small)
			return
		}
		if px, err := file.PixelData(); err == nil && int64(len(px)) > small.PixelBytes {
			t.Fatalf("%d bytes of pixel data", len(px))
		}
		var out bytes.Buffer
		if err := WriteFile(&out, FileMeta{SOPClassUID: CTImageStorage, SOPInstanceUID: "1.2"}, file.Data); err != nil {
			return // a value longer than its VR allows, or groups that do not belong
		}
		again, err := decodeFile(out.Bytes())
		if err != nil {
			t.Fatalf("what we wrote: %v", err)
		}
		if n, m := len(again.Data.elements), len(file.Data.elements); n != m && n != m+1 {
			t.Fatalf("%d elements, %d before", n, m)
		}
	})
}

// What is accepted over the network ends inside no element, and what is read of it then is the same.
func FuzzCheck(f *testing.F) {
	for i, s := range seeds(f) {
		f.Add(s[min(len(s), 300):], uint8(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, syntax uint8) {
		uid := writable[int(syntax)%len(writable)]
		id, err := Check(bytes.NewReader(b), int64(len(b)), uid)
		if err != nil || strings.ContainsFunc(id.SOPInstanceUID, func(r rune) bool { return r < ' ' || r > '~' }) {
			return // a UID that is none is text, which only Read decodes by its character set
		}
		file, err := Read(bytes.NewReader(part10(t, uid, b)), int64(len(part10(t, uid, b))), Limits{})
		if err == nil && file.Data.String(SOPInstanceUID) != id.SOPInstanceUID && len(id.SOPInstanceUID) < maxIdentifier {
			t.Fatalf("%q, read as %q", id.SOPInstanceUID, file.Data.String(SOPInstanceUID))
		}
	})
}

// Every span lies inside the data, in order, and begins and ends are paired.
func FuzzScan(f *testing.F) {
	for i, s := range seeds(f) {
		f.Add(s[min(len(s), 300):], uint8(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, mode uint8) {
		s := &scanner{w: &window{buf: b, size: int64(len(b)), max: 1 << 20}, lim: small.withDefaults()}
		err := s.scan(syntax{implicit: mode&1 != 0, bigEndian: mode&2 != 0})
		depth, at := 0, 0
		for _, sp := range s.spans {
			switch sp.kind {
			case sequenceSpan, itemSpan:
				depth++
			case endSpan:
				depth--
			case valueSpan:
				if sp.start < at || sp.length < 0 || sp.start+sp.length > len(b) {
					t.Fatalf("%+v of %d bytes", sp, len(b))
				}
				at = sp.start + sp.length
			}
			if depth < 0 || depth > 2*maxDepth {
				t.Fatalf("depth %d", depth)
			}
		}
		if err == nil && !s.passed && depth != 0 {
			t.Fatalf("ends at depth %d", depth)
		}
		if err == nil {
			if _, _, err := build(s.w.buf, s.spans, small); err == nil {
				return
			}
		}
	})
}

// FuzzText: text in whatever set it is declared comes out as UTF-8, and what is decoded with a guess encodes to the same bytes.
func FuzzText(f *testing.F) {
	for _, set := range []string{"", "ISO_IR 100", "ISO_IR 192", `\ISO 2022 IR 87`, `ISO 2022 IR 6\ISO 2022 IR 149`, "GB18030", "ISO_IR 13", "nothing"} {
		f.Add(set, []byte("M\xfcller^J\xf6rg"), true)
		f.Add(set, []byte("A=\x1b$B;3ED\x1b(B "), false)
		f.Add(set, []byte("\xc8\xe2\xe0\xed\xee\xe2^\xcd\xf5"), false)
		f.Add(set, []byte("\x8eR\x93c^\xbe\x98"), true)
	}
	f.Fuzz(func(t *testing.T, set string, raw []byte, name bool) {
		vr := VR("LO")
		if name {
			vr = "PN"
		}
		r := newRepertoire(strings.Split(set, `\`))
		r.guess, r.tag = &guess{}, PatientName
		got := r.decode(raw, vr)
		if !utf8.ValidString(got) {
			t.Fatalf("%q is not UTF-8", got)
		}
		splitText(got, vr)
		if set == "" && !bytes.Contains(raw, []byte{0x1B}) && r.guess.used[PatientName] != nil {
			if again, err := r.guess.used[PatientName].enc.NewEncoder().Bytes([]byte(got)); err != nil || !bytes.Equal(again, raw) {
				t.Fatalf("%q of %q encodes to %q", got, raw, again)
			}
		}
	})
}
