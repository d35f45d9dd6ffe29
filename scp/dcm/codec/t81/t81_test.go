package t81

import (
	"bytes"
	"testing"
)

func TestNext(t *testing.T) {
	for _, c := range []struct {
		name       string
		in         []byte
		marker     byte // 0: an error
		parameters []byte
		left       int
	}{
		{"segment", []byte{0xFF, DRI, 0, 4, 1, 2, 9}, DRI, []byte{1, 2}, 1},
		{"fill bytes", []byte{0xFF, 0xFF, 0xFF, DRI, 0, 2}, DRI, nil, 0},
		{"end", []byte{0xFF, EOI, 7}, EOI, nil, 1},
		{"no marker", []byte{0x12, DRI, 0, 2}, 0, nil, 4},
		{"stuffed zero", []byte{0xFF, 0, 0, 2}, 0, nil, 4},
		{"restart", []byte{0xFF, RST7, 0, 2}, 0, nil, 4},
		{"second start", []byte{0xFF, SOI, 0, 2}, 0, nil, 4},
		{"length below its own", []byte{0xFF, DRI, 0, 1}, 0, nil, 4},
		{"beyond the end", []byte{0xFF, DRI, 0, 3}, 0, nil, 4},
		{"fill to the end", []byte{0xFF, 0xFF}, 0, nil, 2},
		{"cut", []byte{0xFF, DRI, 0}, 0, nil, 3},
		{"empty", nil, 0, nil, 0},
	} {
		s := Stream(c.in)
		marker, parameters, err := s.Next()
		if (err == nil) != (c.marker != 0) || marker != c.marker || !bytes.Equal(parameters, c.parameters) || len(s) != c.left {
			t.Errorf("%s: marker %02X with % X, %d bytes left, %v", c.name, marker, parameters, len(s), err)
		}
	}
}

func TestHeaders(t *testing.T) {
	// T.81 Figure B.3: precision, lines, samples a line, then number, sampling and table of each component.
	two := []byte{12, 0, 3, 0, 5, 2, 7, 0x11, 0, 9, 0x11, 0}
	f, err := ReadFrame(two, 5, 3, 2)
	if err != nil || f.Precision != 12 || !bytes.Equal(f.Components, []byte{7, 9}) {
		t.Fatalf("%+v, %v", f, err)
	}
	for name, change := range map[string]func([]byte){
		"precision": func(b []byte) { b[0] = 17 }, "height": func(b []byte) { b[2]++ }, "width": func(b []byte) { b[4]++ },
		"number": func(b []byte) { b[9] = 7 }, "sampling": func(b []byte) { b[10] = 0x21 }, "count": func(b []byte) { b[5] = 3 },
	} {
		b := bytes.Clone(two)
		change(b)
		if _, err := ReadFrame(b, 5, 3, 2); err == nil {
			t.Errorf("no error for another %s", name)
		}
	}
	s := f.Scans()
	if one, err := s.Read([]byte{1, 9, 0x10, 6, 0, 2}); err != nil || one.Components[0] != 1 || one.Tables[0] != 0x10 || one.Start != 6 || one.Transform != 2 || s.Complete() {
		t.Fatalf("%+v, %v", one, err)
	}
	for name, b := range map[string][]byte{"decoded": {1, 9, 0, 6, 0, 0}, "not there": {1, 8, 0, 6, 0, 0}, "none": {0, 6, 0, 0}, "cut": {1, 7, 0, 6, 0}} {
		if one, err := s.Read(b); err == nil {
			t.Errorf("%s: %+v", name, one)
		}
	}
	if _, err := s.Read([]byte{1, 7, 0, 6, 0, 0}); err != nil || !s.Complete() {
		t.Errorf("the other component: %v, complete %v", err, s.Complete())
	}
	var none Scans
	if _, err := none.Read([]byte{1, 7, 0, 6, 0, 0}); err == nil || none.Complete() {
		t.Error("scan before the frame header")
	}
}
