package rle

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

func frame(segments ...[]byte) []byte {
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(segments)))
	at := uint32(headerBytes)
	for _, s := range segments {
		head = binary.LittleEndian.AppendUint32(head, at)
		at += uint32(len(s))
	}
	head = append(head, make([]byte, headerBytes-len(head))...)
	return append(head, slices.Concat(segments...)...)
}

func TestDecode(t *testing.T) {
	literal, repeat := []byte{2, 1, 2, 3, 0}, []byte{0xFE, 9, 0x80, 0}
	for _, c := range []struct {
		name           string
		src            []byte
		samples, width int
		want           []byte // nil: an error
	}{
		{"literal run", frame(literal), 1, 1, []byte{1, 2, 3}},
		{"replicate run", frame(repeat), 1, 1, []byte{9, 9, 9}},
		{"high byte first", frame(repeat, literal), 1, 2, []byte{1, 9, 2, 9, 3, 9}},
		{"three samples", frame(literal, repeat, literal), 3, 1, []byte{1, 9, 1, 2, 9, 2, 3, 9, 3}},
		{"run beyond the end", frame([]byte{0x81, 7}), 1, 1, []byte{7, 7, 7}},
		{"nothing to do", frame([]byte{0x80, 0x80, 2, 1, 2, 3}), 1, 1, []byte{1, 2, 3}},
		{"no header", literal, 1, 1, nil},
		{"a segment too few", frame(literal), 1, 2, nil},
		{"a segment too many", frame(literal, literal), 1, 1, nil},
		{"cut off", frame(literal[:3]), 1, 1, nil},
		{"empty segment", frame(nil), 1, 1, nil},
		{"16 segments", frame(slices.Repeat([][]byte{repeat}, 15)...), 4, 4, nil},
	} {
		got, err := Decode(c.src, 3, c.samples, c.width)
		if (err != nil) != (c.want == nil) || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %v %v", c.name, got, err)
		}
	}
	for _, at := range []uint32{0, 63, 1 << 31, 0xFFFFFFFF} {
		src := frame(literal)
		binary.LittleEndian.PutUint32(src[4:], at)
		if _, err := Decode(src, 3, 1, 1); err == nil {
			t.Errorf("no error for a segment at %d", at)
		}
	}
	if _, err := Decode(frame(repeat), 1<<30, 1, 1); err == nil {
		t.Error("no error for a frame that cannot be so large")
	}
}

// FuzzDecode: no panic, and as many bytes as asked for.
func FuzzDecode(f *testing.F) {
	f.Add(frame([]byte{2, 1, 2, 3}, []byte{0xFE, 9}), byte(3), byte(1), byte(1), byte(2))
	f.Fuzz(func(t *testing.T, src []byte, columns, rows, samples, width byte) {
		columns, rows, samples, width = columns%48, rows%48, samples%5, width%5 // small, so that many are tried
		n := int(columns) * int(rows)
		if out, err := Decode(src, n, int(samples), int(width)); err == nil && len(out) != n*int(samples)*int(width) {
			t.Fatalf("%d bytes", len(out))
		}
	})
}
