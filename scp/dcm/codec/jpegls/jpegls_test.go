package jpegls

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"ichor/scp/dcm/codec/t81"
)

// The example of T.87 Annex H.3: 4 x 4 samples of 8 bits, lossless.
const (
	exampleHex = "ffd8fff7000b080004000401011100ffda0008010100000000" +
		"c000006c80208e01c00000574000006ee6000001bc18000005d800009160ffd9"
)

var exampleSamples = []uint16{0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145}

func example(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(exampleHex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestExampleOfTheStandard(t *testing.T) {
	got, info, err := Decode(example(t), 4, 4, 1)
	if err != nil || info != (Info{Precision: 8}) || !slices.Equal(got, exampleSamples) {
		t.Fatalf("%v %+v %v", got, info, err)
	}
}

// TestRestartIntervals decodes the example three times over, with restart markers between: the coder begins anew behind each.
func TestRestartIntervals(t *testing.T) {
	t.Parallel()
	one := example(t)
	scan := bytes.Index(one, []byte{0xFF, 0xDA}) // SOS, 10 bytes
	head, coded := bytes.Clone(one[:scan]), one[scan+10:len(one)-2]
	head[bytes.Index(head, []byte{0xFF, sof55})+6] = 12 // lines
	want := slices.Repeat(exampleSamples, 3)
	for name, interval := range map[string]string{"2 bytes": "ffdd00040004", "3 bytes": "ffdd0005000004", "4 bytes": "ffdd000600000004"} {
		dri, err := hex.DecodeString(interval)
		if err != nil {
			t.Fatal(err)
		}
		stream := slices.Concat(head, dri, one[scan:scan+10], coded, []byte{0xFF, 0xD0}, coded, []byte{0xFF, 0xD1}, coded, []byte{0xFF, 0xD9})
		if got, _, err := Decode(stream, 4, 12, 1); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v %v", name, got, err)
		}
		stream[bytes.Index(stream, []byte{0xFF, 0xD1})+1] = 0xD5
		if _, _, err := Decode(stream, 4, 12, 1); err == nil || !strings.Contains(err.Error(), "restart marker 1") {
			t.Errorf("%s, wrong marker: %v", name, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	good := example(t)
	find := func(marker byte) int { return bytes.Index(good, []byte{0xFF, marker}) }
	change := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	before := func(marker byte, segment string) []byte {
		b, err := hex.DecodeString(segment)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Insert(bytes.Clone(good), find(marker), b...)
	}
	for _, c := range []struct {
		name   string
		stream []byte
		want   string
	}{
		{"empty", nil, "SOI"},
		{"JPEG", change(find(sof55)+1, 0xC3), "does not belong to JPEG-LS"},
		{"17 bits", change(find(sof55)+4, 17), "17 bits"},
		{"other width", change(find(sof55)+8, 5), "the image has"},
		{"two frames", before(t81.SOS, "fff7000b080004000401011100"), "second frame"},
		{"mapping table", before(t81.SOS, "fff8000502010000"), "mapping table"},
		{"restart interval", before(t81.SOS, "ffdd00040001"), "restart"},
		{"colour transform", before(t81.SOS, "ffe800076d72667801"), "colour transform"},
		{"maxval beyond the precision", before(t81.SOS, "fff8000d0101000003000700150040"), "up to 256"},
		{"thresholds fall", before(t81.SOS, "fff8000d0100ff0009000700150040"), "thresholds"},
		{"near", change(find(t81.SOS)+7, 128), "near 128"},
		{"interleave", change(find(t81.SOS)+8, 1), "interleave mode 1"},
		{"point transform", change(find(t81.SOS)+9, 1), "point transform 1"},
		{"component not there", change(find(t81.SOS)+5, 2), "component 2"},
		{"marker in the data", append(bytes.Clone(good[:find(t81.SOS)+16]), 0xFF, t81.EOI), "too early"},
		{"half", good[:len(good)/2+10], "too early"},
	} {
		_, _, err := Decode(c.stream, 4, 4, 1)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, _, err := Decode(good, 0, 0, 1); err == nil {
		t.Error("no error for an image without pixels")
	}
}

// FuzzDecode: no panic, no hang, never more samples than the image has, and none above what its bits hold.
func FuzzDecode(f *testing.F) {
	f.Add(example(f), byte(4), byte(4), byte(1))
	f.Fuzz(func(t *testing.T, src []byte, width, height, components byte) {
		width, height, components = width%48, height%48, components%5 // small, so that many are tried
		got, info, err := Decode(src, int(width), int(height), int(components))
		if err != nil {
			return
		}
		if len(got) != int(width)*int(height)*int(components) || int(slices.Max(got)) >= 1<<info.Precision {
			t.Fatalf("%d samples up to %d of %d bits", len(got), slices.Max(got), info.Precision)
		}
	})
}
