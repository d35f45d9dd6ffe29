package jpegll

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"ichor/scp/dcm/codec/t81"
)

// writer makes lossless JPEG streams by T.81 Annex H, with codes of one length: an encoder that is simple enough to
// be right, for the cases that no foreign encoder makes.
type writer struct {
	bytes.Buffer
	acc uint64
	n   int
}

func (w *writer) bits(v uint32, n int) {
	w.acc, w.n = w.acc<<n|uint64(v)&(1<<n-1), w.n+n
	for w.n >= 8 {
		b := byte(w.acc >> (w.n - 8))
		w.WriteByte(b)
		if b == 0xFF {
			w.WriteByte(0)
		}
		w.n -= 8
	}
}

func (w *writer) align() {
	if w.n > 0 {
		w.bits(1<<8-1, 8-w.n)
	}
}

func (w *writer) segment(marker byte, b ...byte) {
	w.Write([]byte{0xFF, marker, byte((len(b) + 2) >> 8), byte(len(b) + 2)})
	w.Write(b)
}

type shape struct {
	width, height, components   int
	precision, predictor, shift int
	restart                     int // lines
	separate                    bool
	long                        bool // codes of 12 bits, not 8
}

func (s shape) codeBits() int {
	if s.long {
		return 12
	}
	return 8
}

func encode(s shape, samples []uint16) []byte {
	w := &writer{}
	w.Write([]byte{0xFF, t81.SOI})
	frame := []byte{byte(s.precision), byte(s.height >> 8), byte(s.height), byte(s.width >> 8), byte(s.width), byte(s.components)}
	for c := range s.components {
		frame = append(frame, byte(c+1), 0x11, 0)
	}
	w.segment(t81.SOF3, frame...)
	table := make([]byte, 17, 34)
	table[s.codeBits()] = 17 // categories 0 to 16
	for c := range 17 {
		table = append(table, byte(c))
	}
	w.segment(t81.DHT, table...)
	if s.restart > 0 {
		w.segment(t81.DRI, byte(s.restart*s.width>>8), byte(s.restart*s.width))
	}
	var scans [][]int
	for c := range s.components {
		if s.separate || c == 0 {
			scans = append(scans, nil)
		}
		scans[len(scans)-1] = append(scans[len(scans)-1], c)
	}
	for _, scan := range scans {
		header := []byte{byte(len(scan))}
		for _, c := range scan {
			header = append(header, byte(c+1), 0)
		}
		w.segment(t81.SOS, append(header, byte(s.predictor), 0, byte(s.shift))...)
		w.scan(s, samples, scan)
	}
	w.Write([]byte{0xFF, t81.EOI})
	return w.Bytes()
}

func (w *writer) scan(s shape, samples []uint16, scan []int) {
	for y := range s.height {
		top := y == 0
		if s.restart > 0 && y > 0 && y%s.restart == 0 {
			w.align()
			w.Write([]byte{0xFF, t81.RST0 + byte(y/s.restart-1)%8})
			top = true
		}
		for x := range s.width {
			for _, c := range scan {
				at := func(x, y int) int { return int(samples[(y*s.width+x)*s.components+c] >> s.shift) }
				p := 0
				switch {
				case x == 0 && top:
					p = 1 << (s.precision - s.shift - 1)
				case top:
					p = at(x-1, y)
				case x == 0:
					p = at(x, y-1)
				default:
					a, b, c := at(x-1, y), at(x, y-1), at(x-1, y-1)
					p = [8]int{0, a, b, c, a + b - c, a + (b-c)>>1, b + (a-c)>>1, (a + b) >> 1}[s.predictor]
				}
				diff := int(int16(at(x, y) - p))
				if diff == -32768 {
					w.bits(16, s.codeBits())
					continue
				}
				category := 0
				for 1<<category <= max(diff, -diff) {
					category++
				}
				w.bits(uint32(category), s.codeBits())
				if diff < 0 {
					diff += 1<<category - 1
				}
				w.bits(uint32(diff), category)
			}
		}
	}
	w.align()
}

// samplesOf covers the range, with jumps of every size.
func samplesOf(s shape) []uint16 {
	out := make([]uint16, s.width*s.height*s.components)
	v := uint32(1)
	for i := range out {
		v = v*1664525 + 1013904223
		out[i] = uint16(v>>16) >> (16 - s.precision) >> s.shift << s.shift
		if i%5 == 0 {
			out[i] = out[max(i-1, 0)]
		}
	}
	return out
}

func TestDecode(t *testing.T) {
	for predictor := 1; predictor <= 7; predictor++ {
		for _, s := range []shape{
			{width: 13, height: 9, components: 1, precision: 16},
			{width: 1, height: 5, components: 1, precision: 16},
			{width: 13, height: 9, components: 1, precision: 16, long: true},
			{width: 7, height: 1, components: 1, precision: 2},
			{width: 13, height: 9, components: 1, precision: 12, shift: 3},
			{width: 5, height: 21, components: 1, precision: 16, restart: 2},
			{width: 5, height: 6, components: 3, precision: 8},
			{width: 5, height: 6, components: 3, precision: 8, separate: true, restart: 1},
			{width: 5, height: 7, components: 3, precision: 15, shift: 2, restart: 3},
		} {
			s.predictor = predictor
			want := samplesOf(s)
			stream := encode(s, want)
			got, precision, err := Decode(stream, s.width, s.height, s.components)
			if err != nil || precision != s.precision || !slices.Equal(got, want) {
				t.Errorf("%+v: %d bits, %v", s, precision, err)
			}
			if _, _, err := Decode(stream[:len(stream)-2], s.width, s.height, s.components); err != nil {
				t.Errorf("%+v without EOI: %v", s, err)
			}
			for n := 0; n < len(stream)-3; n += 1 + n/16 {
				if _, _, err := Decode(stream[:n], s.width, s.height, s.components); err == nil {
					t.Fatalf("%+v: no error for %d of %d bytes", s, n, len(stream))
				}
			}
		}
	}
}

func TestRefuses(t *testing.T) {
	s := shape{width: 6, height: 4, components: 1, precision: 12, predictor: 1, restart: 2}
	good := encode(s, samplesOf(s))
	change := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	find := func(marker byte) int { return bytes.Index(good, []byte{0xFF, marker}) }
	for _, c := range []struct {
		name   string
		stream []byte
		want   string
	}{
		{"empty", nil, "SOI"},
		{"text", []byte("<html>"), "SOI"},
		{"baseline", change(find(t81.SOF3)+1, 0xC0), "does not belong to lossless"},
		{"arithmetic", change(find(t81.SOF3)+1, 0xCB), "does not belong to lossless"},
		{"17 bits", change(find(t81.SOF3)+4, 17), "17 bits"},
		{"other width", change(find(t81.SOF3)+8, 7), "the image has"},
		{"other height", change(find(t81.SOF3)+6, 7), "the image has"},
		{"components", change(find(t81.SOF3)+9, 2), "frame header"},
		{"too many codes", change(find(t81.DHT)+5, 3), "codes"},
		{"AC table", change(find(t81.DHT)+4, 0x10), "class 1"},
		{"category 17", change(find(t81.DHT)+21+16, 17), "category 17"},
		{"predictor 0", change(find(t81.SOS)+7, 0), "predictor 0"},
		{"predictor 8", change(find(t81.SOS)+7, 8), "predictor 8"},
		{"point transform", change(find(t81.SOS)+9, 12), "point transform 12"},
		{"table not defined", change(find(t81.SOS)+6, 0x30), "table 3"},
		{"component not there", change(find(t81.SOS)+5, 9), "component 9"},
		{"restart inside a line", change(find(t81.DRI)+5, 7), "restart interval"},
		{"restart missing", change(find(t81.RST0)+1, t81.RST0+1), "restart marker 0"},
		{"no such code", change(find(t81.SOS)+10, 0xF0), "no such Huffman code"},
		{"marker in the data", change(find(t81.RST0), 0x12), "restart marker"},
	} {
		_, _, err := Decode(c.stream, s.width, s.height, s.components)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, _, err := Decode(good, 0, 0, 1); err == nil {
		t.Error("no error for an image without pixels")
	}
}

// FuzzDecode: no panic, no hang, and never more samples than the image has.
func FuzzDecode(f *testing.F) {
	s := shape{width: 6, height: 8, components: 3, precision: 12, predictor: 7, restart: 2, separate: true}
	f.Add(encode(s, samplesOf(s)), byte(6), byte(8), byte(3))
	f.Fuzz(func(t *testing.T, src []byte, width, height, components byte) {
		width, height, components = width%48, height%48, components%5 // small, so that many are tried
		got, precision, err := Decode(src, int(width), int(height), int(components))
		if err == nil && (len(got) != int(width)*int(height)*int(components) || precision < 2 || precision > 16) {
			t.Fatalf("%d samples of %d bits", len(got), precision)
		}
	})
}

// FuzzEncoded: what is encoded is decoded, whatever the samples are.
func FuzzEncoded(f *testing.F) {
	f.Add([]byte{1, 2, 3, 255, 254, 0, 0, 9, 7, 6, 128, 0, 255, 255}, byte(3), byte(0x71), byte(0x2F))
	f.Fuzz(func(t *testing.T, raw []byte, width, kind, size byte) {
		s := shape{components: 1 + int(kind&3)%3, predictor: 1 + int(kind>>4)%7, separate: kind&4 != 0, long: size&1 != 0, precision: 2 + int(size&15)%15}
		s.shift = int(size>>4) % s.precision
		s.width = 1 + int(width)%40
		s.height = min(len(raw)/2/s.width/s.components, 200)
		if s.height == 0 {
			return
		}
		if kind&8 != 0 {
			s.restart = 1 + int(size)%3
		}
		want := make([]uint16, s.width*s.height*s.components)
		for i := range want {
			want[i] = (uint16(raw[2*i])<<8 | uint16(raw[2*i+1])) >> (16 - s.precision) >> s.shift << s.shift
		}
		got, _, err := Decode(encode(s, want), s.width, s.height, s.components)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%+v: %v", s, err)
		}
	})
}
