package dcm

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sample is a small image object with one element of every kind that our objects use.
func sample() *DataSet {
	d := &DataSet{}
	d.SetStrings(SOPClassUID, "UI", SecondaryCaptureImageStorage)
	d.SetStrings(SOPInstanceUID, "UI", "2.25.1")
	d.SetStrings(StudyInstanceUID, "UI", "2.25.2")
	d.SetStrings(SeriesInstanceUID, "UI", "2.25.3")
	d.SetStrings(Modality, "CS", "CT")
	d.SetStrings(ImageType, "CS", "DERIVED", "SECONDARY", "", "KEY")
	d.SetStrings(PatientName, "PN", "Müller^Jörg=王^小東")
	d.SetStrings(PatientID, "LO", "4711")
	d.SetStrings(StudyDate, "DA", "20261123")
	d.SetStrings(ImageComments, "LT", "one\\two\r\n  three")
	d.SetStrings(AccessionNumber, "SH")
	d.SetDecimals(PixelSpacing, 0.48828125, 1.0/3)
	d.SetInts(Rows, "US", 2)
	d.SetInts(Columns, "US", 3)
	d.SetInts(SamplesPerPixel, "US", 1)
	d.SetInts(BitsAllocated, "US", 8)
	d.SetInts(BitsStored, "US", 8)
	d.SetInts(HighBit, "US", 7)
	d.SetInts(PixelRepresentation, "US", 0)
	d.SetStrings(PhotometricInterpretation, "CS", "MONOCHROME2")
	code := &DataSet{}
	code.SetStrings(CodeValue, "SH", "50960005")
	code.SetStrings(CodingSchemeDesignator, "SH", "SCT")
	code.SetStrings(CodeMeaning, "LO", "Hemorrhage")
	seg := &DataSet{}
	seg.SetInts(SegmentNumber, "US", 1)
	seg.SetStrings(TrackingID, "UT", "bleed one")
	seg.SetStrings(TrackingUID, "UI", "2.25.4")
	seg.SetSequence(SegmentedPropertyTypeCodeSequence, code)
	seg.SetSequence(AnatomicRegionSequence)
	d.SetSequence(SegmentSequence, seg, &DataSet{})
	index := &DataSet{}
	index.SetTags(DimensionIndexPointer, ReferencedSegmentNumber)
	index.SetTags(FunctionalGroupPointer, SegmentIdentificationSequence)
	d.SetSequence(DimensionIndexSequence, index)
	d.SetFloats(0x00189073, "FD", 1.5)
	d.SetFloats(0x00089459, "FL", -2.25)
	d.SetInts(0x00186020, "SL", -7)
	d.SetBytes(PixelData, "OB", []byte{1, 2, 3, 4, 5, 255})
	return d
}

// equal compares what was written with what was read: padding and the character set aside, the same.
func equal(t *testing.T, got, want *DataSet) {
	t.Helper()
	w := &DataSet{elements: append([]Element(nil), want.elements...)}
	w.Delete(PixelData)
	w.SetStrings(SpecificCharacterSet, "CS", "ISO_IR 192")
	compare(t, "", got, w)
}

func compare(t *testing.T, path string, got, want *DataSet) {
	t.Helper()
	if len(got.elements) != len(want.elements) {
		t.Fatalf("%s: %d elements, want %d\n%v\n%v", path, len(got.elements), len(want.elements), got.elements, want.elements)
	}
	for i, g := range got.elements {
		w := want.elements[i]
		if g.Tag != w.Tag || g.VR != w.VR {
			t.Fatalf("%s%s %s, want %s %s", path, g.Tag, g.VR, w.Tag, w.VR)
		}
		if w.VR == "SQ" {
			gi, wi := g.Value.([]*DataSet), w.Value.([]*DataSet)
			if len(gi) != len(wi) {
				t.Fatalf("%s%s: %d items, want %d", path, g.Tag, len(gi), len(wi))
			}
			for k := range gi {
				compare(t, fmt.Sprintf("%s%s[%d]", path, g.Tag, k), gi[k], wi[k])
			}
			continue
		}
		gv, wv := reflect.ValueOf(g.Value), reflect.ValueOf(w.Value)
		if gv.Type() != wv.Type() || gv.Len() != wv.Len() || gv.Len() > 0 && !reflect.DeepEqual(g.Value, w.Value) {
			t.Fatalf("%s%s %s: %#v, want %#v", path, g.Tag, g.VR, g.Value, w.Value)
		}
	}
}

func encode(t testing.TB, d *DataSet, syntax string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteFile(&b, FileMeta{TransferSyntaxUID: syntax}, d); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decodeFile(b []byte) (*File, error) { return Read(bytes.NewReader(b), int64(len(b)), Limits{}) }

var writable = []string{ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian}

func TestRoundTrip(t *testing.T) {
	for _, syntax := range writable {
		f, err := decodeFile(encode(t, sample(), syntax))
		if err != nil {
			t.Fatal(syntax, err)
		}
		equal(t, f.Data, sample())
		px, err := f.PixelData()
		if err != nil || !bytes.Equal(px, []byte{1, 2, 3, 4, 5, 255}) {
			t.Fatal(syntax, px, err)
		}
		if f.Meta.SOPInstanceUID != "2.25.1" || f.Meta.TransferSyntaxUID != syntax || f.Meta.ImplementationClassUID != ImplementationClassUID {
			t.Fatalf("%+v", f.Meta)
		}
	}
}

// randomSet makes a data set of standard attributes, as the dictionary knows them, so that implicit VR works too.
func randomSet(r *rand.Rand, depth int) *DataSet {
	tags := []Tag{PatientName, PatientID, StudyDate, ImageComments, CodeMeaning, CodeValue, SegmentNumber, PixelSpacing,
		DimensionIndexPointer, DimensionIndexValues, NumericValue, FloatingPointValue, 0x00189073, 0x00089459, 0x00186020, TextValue,
		ContentSequence, ConceptNameCodeSequence, TrackingID, TrackingUID, ICCProfile, ExtendedOffsetTable, InstanceNumber,
		StudyID, ImageType, URNCodeValue, LongCodeValue, 0x00720082, PixelPaddingValue, PersonName, DateTime}
	letters := []rune("abcXYZ 019.^=-äößéЖ王小東山田한국ไทย\u00a0")
	d := &DataSet{}
	for range r.IntN(12) {
		t := tags[r.IntN(len(tags))]
		vr, n := t.VR(), r.IntN(4)
		if vr.single() {
			n = min(n, 1)
		}
		switch {
		case vr == "SQ":
			items := []*DataSet{}
			for range n {
				if depth < 4 {
					items = append(items, randomSet(r, depth+1))
				}
			}
			d.SetSequence(t, items...)
		case vr == "DS":
			var v []float64
			for range n {
				v = append(v, math.Round(r.NormFloat64()*1e6)/1e3)
			}
			d.SetDecimals(t, v...)
		case vr.text():
			var v []string
			for range n {
				var s []rune
				for range 1 + r.IntN(20) {
					s = append(s, letters[r.IntN(len(letters))])
				}
				v = append(v, "a"+strings.Trim(string(s), " ")+"z")
			}
			d.SetStrings(t, vr, v...)
		case vr == "AT":
			var v []Tag
			for range n {
				v = append(v, Tag(r.Uint32()))
			}
			d.SetTags(t, v...)
		case vr == "FD" || vr == "FL":
			var v []float64
			for range n {
				v = append(v, float64(float32(r.NormFloat64())))
			}
			d.SetFloats(t, vr, v...)
		case vr.number() > 0:
			var v []int64
			for range n {
				x := r.Int64() >> (64 - 8*integers[vr].size)
				if !integers[vr].signed && integers[vr].size < 8 {
					x &= 1<<(8*integers[vr].size) - 1
				}
				v = append(v, x)
			}
			d.SetInts(t, vr, v...)
		default:
			b := make([]byte, 8*n)
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			d.SetBytes(t, vr, b)
		}
	}
	return d
}

func TestRoundTripOfAnyDataSet(t *testing.T) {
	for seed := range uint64(600) {
		d := randomSet(rand.New(rand.NewPCG(seed, 1)), 0)
		d.SetStrings(SOPClassUID, "UI", CTImageStorage)
		d.SetStrings(SOPInstanceUID, "UI", "1.2")
		for _, syntax := range writable {
			f, err := decodeFile(encode(t, d, syntax))
			if err != nil {
				t.Fatal(seed, syntax, err)
			}
			equal(t, f.Data, d)
		}
	}
}

func TestGoldenFile(t *testing.T) {
	var b bytes.Buffer // with a fixed version name, so that a release does not change the golden file
	if err := WriteFile(&b, FileMeta{TransferSyntaxUID: ExplicitVRLittleEndian, ImplementationClassUID: ImplementationClassUID, ImplementationVersionName: "ICHOR_0_1"}, sample()); err != nil {
		t.Fatal(err)
	}
	got := b.Bytes()
	path := filepath.Join("testdata", "sample.dcm")
	if *update {
		os.MkdirAll("testdata", 0o755)
		os.WriteFile(path, got, 0o644)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bytes differ from %s (%d bytes); run with -update and look at the difference", len(got), path, len(want))
	}
}

func TestWhatTheWriterRefuses(t *testing.T) {
	deep := &DataSet{}
	for range maxDepth + 1 {
		outer := &DataSet{}
		outer.SetSequence(ContentSequence, deep)
		deep = outer
	}
	for _, c := range []struct {
		name string
		put  Element
		want error
	}{
		{"US above", Element{Rows, "US", []int64{65536}}, ErrEncoding},
		{"US below", Element{Rows, "US", []int64{-1}}, ErrEncoding},
		{"SS above", Element{PixelPaddingValue, "SS", []int64{32768}}, ErrEncoding},
		{"UL above", Element{0x00081163, "UL", []int64{1 << 32}}, ErrEncoding},
		{"FL above", Element{0x00089459, "FL", []float64{1e39}}, ErrEncoding},
		{"16-bit length", Element{ImageComments, "LT", []string{strings.Repeat("x", 70000)}}, ErrEncoding},
		{"two values in LT", Element{ImageComments, "LT", []string{"a", "b"}}, ErrEncoding},
		{"backslash", Element{PatientID, "LO", []string{`a\b`}}, ErrEncoding},
		{"not UTF-8", Element{PatientID, "LO", []string{"M\xfcller"}}, ErrEncoding},
		{"wrong type", Element{PatientID, "LO", []int64{1}}, ErrEncoding},
		{"string for SQ", Element{ContentSequence, "SQ", []string{"x"}}, ErrEncoding},
		{"unknown VR", Element{PatientID, "XX", []string{"x"}}, ErrEncoding},
		{"odd OD", Element{0x7FE00009, "OD", []byte{1, 2, 3}}, ErrEncoding},
		{"group 2", Element{TransferSyntaxUID, "UI", []string{"1.2"}}, ErrEncoding},
		{"too deep", deep.elements[0], ErrLimit},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &DataSet{}
			d.Put(c.put)
			err := WriteDataSet(io.Discard, d, ExplicitVRLittleEndian)
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
	if err := WriteDataSet(io.Discard, sample(), JPEG2000); !errors.Is(err, ErrTransferSyntax) {
		t.Fatal(err)
	}
	if err := WriteFile(io.Discard, FileMeta{}, &DataSet{}); !errors.Is(err, ErrEncoding) {
		t.Fatal(err)
	}
}

func TestLongDecimalsAreShortened(t *testing.T) {
	d := sample()
	d.SetStrings(PixelSpacing, "DS", "0.4882812500000000000", "1")
	f, err := decodeFile(encode(t, d, ExplicitVRLittleEndian))
	if err != nil || f.Data.String(PixelSpacing) != "0.48828125" {
		t.Fatal(f.Data.String(PixelSpacing), err)
	}
}

// pydicom, where there is one, must see what we wrote.
func TestPydicomReadsIt(t *testing.T) {
	python := os.Getenv("ICHOR_PYTHON")
	if python == "" {
		t.Skip("set ICHOR_PYTHON to a Python with pydicom")
	}
	for _, syntax := range writable {
		path := filepath.Join(t.TempDir(), "x.dcm")
		os.WriteFile(path, encode(t, sample(), syntax), 0o600)
		out, err := exec.Command(python, "-c", `
import json, sys, pydicom
d = pydicom.dcmread(sys.argv[1])
print(json.dumps([str(d.PatientName), list(d.ImageType), d.ImageComments, [float(x) for x in d.PixelSpacing],
  d.SegmentSequence[0].TrackingID, d.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning,
  len(d.SegmentSequence), hex(d.DimensionIndexSequence[0].DimensionIndexPointer), d[0x00189073].value, d[0x00089459].value,
  d[0x00186020].value, list(d.PixelData), d.file_meta.FileMetaInformationVersion.hex(),
  d.file_meta.FileMetaInformationGroupLength]))`, path).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		var got []any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		want := `[Müller^Jörg=王^小東 [DERIVED SECONDARY  KEY] one\two` + "\r\n  three" + ` [0.48828125 0.33333333333333] bleed one Hemorrhage 2 0x62000b 1.5 -2.25 -7 [1 2 3 4 5 255] 0001 `
		if s := fmt.Sprint(got); !strings.HasPrefix(s, want) {
			t.Fatalf("%s\n%s\n%s", syntax, s, want)
		}
	}
}

func TestDcmdumpReadsIt(t *testing.T) {
	tool, err := exec.LookPath("dcmdump")
	if err != nil {
		t.Skip("dcmdump not found: install the Debian package dcmtk")
	}
	path := filepath.Join("testdata", "sample.dcm")
	out, err := exec.Command(tool, "-q", "--print-all", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "(0062,000b)") || strings.Contains(string(out), "W: ") || strings.Contains(string(out), "E: ") {
		t.Fatalf("%v\n%s", err, out)
	}
}
