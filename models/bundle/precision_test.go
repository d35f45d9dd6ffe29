package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// withInt8 gives every network an int8 part, after edit has had it.
func withInt8(t *testing.T, edit func(dir string, m object)) string {
	return write(t, func(dir string, m object) {
		for _, v := range m["networks"].([]any) {
			n := v.(object)
			name := n["role"].(string)
			put := func(file string, data []byte) string {
				if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
					t.Fatal(err)
				}
				return digest(data)
			}
			out := make([]byte, 4*256*len(n["output"].(object)["channels"].([]any)))
			out[3] = 0x3f // 0.5
			n["int8"] = object{"file": name + ".int8.onnx", "sha256": put(name+".int8.onnx", []byte("int8 "+name)),
				"reference": object{"output": name + ".int8.out", "output_sha256": put(name+".int8.out", out), "tolerance": 0.05},
				"deviation": object{"heads": 3, "max_abs": 0.02, "flipped": 0.0001, "dice": 0.999, "speed_ratio": 2.5, "cpu": "test"}}
		}
		if edit != nil {
			edit(dir, m)
		}
	})
}

func TestIn(t *testing.T) {
	t.Parallel()
	b, err := Open(withInt8(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	same, err := b.In(Float32)
	if err != nil || same.Digest != b.Digest || same.Network(Bleed).Precision() != Float32 {
		t.Errorf("float32: %+v, %v", same, err)
	}
	q, err := b.In(Int8)
	if err != nil {
		t.Fatal(err)
	}
	n := q.Network(Bleed)
	data, err := n.Load()
	if err != nil || string(data) != "int8 bleed" || n.Precision() != Int8 || n.Reference.Tolerance != 0.05 {
		t.Errorf("%q, %+v, %v", data, n, err)
	}
	if in, out, err := n.Samples(); err != nil || len(in) != 3*256 || len(out) != 6*256 || out[0] != 0.5 {
		t.Errorf("samples of %d and %d values, %v", len(in), len(out), err)
	}
	if q.Digest == b.Digest || len(q.Digest) != len(b.Digest) || q.Version != "1+int8" {
		t.Errorf("results of int8 carry %s %s, those of float32 %s %s", q.Version, q.Digest, b.Version, b.Digest)
	}
	if b.Version != "1" || b.Network(Bleed).File != "bleed.onnx" || b.Network(Bleed).Precision() != Float32 {
		t.Errorf("the bundle itself changed: %+v", b.Network(Bleed))
	}
	if err := os.WriteFile(filepath.Join(b.Dir, "bleed.int8.onnx"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Load(); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "int8.file") {
		t.Errorf("a file that changed after Open: %v", err)
	}
}

func TestInRefuses(t *testing.T) {
	t.Parallel()
	old, err := Open(write(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.In(Int8); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "set analysis.precision to float32") {
		t.Errorf("a bundle without int8: %v", err)
	}
	some, err := Open(withInt8(t, func(_ string, m object) { delete(m["networks"].([]any)[1].(object), "int8") }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := some.In(Int8); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "networks[1].int8") {
		t.Errorf("a network without int8: %v", err)
	}
	if _, err := some.In("fp16"); err == nil || !strings.Contains(err.Error(), "fp16") {
		t.Errorf("fp16: %v", err)
	}
}

func TestOpenRefusesInt8(t *testing.T) {
	t.Parallel()
	zeros := strings.Repeat("0", 64)
	for _, c := range []struct {
		path string
		v    any
		want string // field named, where it is not path
	}{
		{"networks.0.int8.file", "../x.onnx", ""}, {"networks.0.int8.file", "none.onnx", ""}, {"networks.0.int8.file", nil, ""},
		{"networks.0.int8.sha256", zeros, "networks[0].int8.file"}, {"networks.0.int8.sha256", "", ""},
		{"networks.0.int8.reference.output", "/etc/passwd", ""}, {"networks.0.int8.reference.output", "bleed.int8.out", ""},
		{"networks.0.int8.reference.output_sha256", zeros, "networks[0].int8.reference.output"},
		{"networks.0.int8.reference.output_sha256", "x", ""}, {"networks.0.int8.reference.tolerance", 0, ""},
		{"networks.0.int8.reference.tolerance", 0.5, ""}, {"networks.0.int8.reference", nil, "networks[0].int8.reference.output"},
		{"networks.0.int8.deviation.heads", 0, ""}, {"networks.0.int8.deviation", nil, "networks[0].int8.deviation.heads"},
		{"networks.0.int8.deviation.max_abs", 2, ""}, {"networks.0.int8.deviation.flipped", -1, ""}, {"networks.0.int8.deviation.dice", 1.1, ""},
		{"networks.0.int8.deviation.speed_ratio", 0, ""}, {"networks.0.int8.opset", 18, "opset"}, {"networks.0.int8", "yes", "networks.int8"},
	} {
		_, err := Open(withInt8(t, set(c.path, c.v)))
		want := c.want
		if want == "" {
			want = field(c.path)
		}
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s=%v: error does not name %s: %v", c.path, c.v, want, err)
		}
	}
}

// TestInt8Agrees: int8 is chosen unasked if every network has it and its masks agree.
func TestInt8Agrees(t *testing.T) {
	for dice, want := range map[float64]bool{1: true, 0.995: true, 0.9949: false} {
		b, err := Open(withInt8(t, nil))
		if err != nil {
			t.Fatal(err)
		}
		b.Networks[2].Int8.Deviation.Dice = dice
		if err := b.Int8Agrees(); (err == nil) != want {
			t.Errorf("Dice %g: %v", dice, err)
		}
		b.Networks[1].Int8 = nil
		if b.Int8Agrees() == nil {
			t.Error("a network without int8 is no reason")
		}
	}
}
