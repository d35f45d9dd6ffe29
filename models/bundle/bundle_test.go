package bundle

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type object = map[string]any

// write makes a sound bundle in a temporary folder, after edit has had the manifest.
func write(t *testing.T, edit func(dir string, m object)) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, data []byte) string {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
		return digest(data)
	}
	m := object{"schema": 1, "name": "test", "version": "1", "licence": "Apache-2.0", "intended_use": "research", "description": "made here",
		"training": object{"data": "none", "seed": 1, "commit": "0", "settings": object{"a": 1}, "metrics": object{}, "limits": []string{"all"}}}
	var nets []any
	for _, role := range Roles {
		in, out := 1, []string{"cavity"}
		post := object{"largest_component": true, "fill_holes": true, "hu_range": []float64{-20, 120}}
		if role == Bleed {
			in, out = 3, []string{"any", "IPH", "IVH", "SAH", "SDH", "EDH"}
			post = object{"min_component_ml": 0.3, "opening_mm": 1, "rim_mm": 6, "subtype_per": "voxel"}
		}
		name := string(role)
		nets = append(nets, object{"role": name, "file": name + ".onnx", "sha256": put(name+".onnx", []byte(name)), "opset": 17, "base_width": 8,
			"parameters": 100, "threshold": 0.5, "post": post,
			"input": object{"name": "x", "shape": []int{-1, in, 16, 16}, "layout": "NCHW", "window_hu": []float64{-50, 150}, "pixel_mm": 1,
				"neighbours": (in - 1) / 2, "slab_mm": 5},
			"output": object{"name": "y", "shape": []int{-1, len(out), 16, 16}, "channels": out},
			"reference": object{"input": name + ".in", "input_sha256": put(name+".in", make([]byte, 4*in*256)), "input_shape": []int{1, in, 16, 16},
				"output": name + ".out", "output_sha256": put(name+".out", make([]byte, 4*len(out)*256)), "output_shape": []int{1, len(out), 16, 16},
				"tolerance": 1e-4},
		})
	}
	m["networks"] = nets
	raw, err := json.Marshal(m) // through JSON, so that edit sees what a reader sees
	if err != nil {
		t.Fatal(err)
	}
	m = object{}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(dir, m)
	}
	raw, err = json.MarshalIndent(m, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	put("manifest.json", raw)
	return dir
}

func TestOpen(t *testing.T) {
	t.Parallel()
	b, err := Open(write(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if b.Network(Bleed).Input.Channels() != 3 || b.Network(CavityBone).Input.Size() != 16 || len(b.Digest) != 64 {
		t.Errorf("%+v", b)
	}
	if in, out, err := b.Network(Bleed).Samples(); err != nil || len(in) != 3*256 || len(out) != 6*256 {
		t.Errorf("samples of %d and %d values, %v", len(in), len(out), err)
	}
	if err := os.WriteFile(filepath.Join(b.Dir, "bleed.onnx"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Network(Bleed).Load(); !errors.Is(err, ErrRefused) {
		t.Errorf("a file that changed after Open: %v", err)
	}
}

// set changes one value of the manifest, such as networks.0.file; nil takes the key out.
func set(path string, v any) func(string, object) {
	return func(_ string, m object) {
		var at any = m
		keys := strings.Split(path, ".")
		for _, k := range keys[:len(keys)-1] {
			if list, ok := at.([]any); ok {
				at = list[int(k[0]-'0')]
				continue
			}
			at = at.(object)[k]
		}
		if v == nil {
			delete(at.(object), keys[len(keys)-1])
			return
		}
		at.(object)[keys[len(keys)-1]] = v
	}
}

// field is the name that an error gives to a path: networks.0.input -> networks[0].input
func field(path string) string {
	for i := range 3 {
		path = strings.Replace(path, fmt.Sprintf("networks.%d.", i), fmt.Sprintf("networks[%d].", i), 1)
	}
	return path
}

// Each edit breaks one thing; the error must name it.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	zeros := strings.Repeat("0", 64)
	for _, c := range []struct {
		path string
		v    any
		want string // field named, where it is not path
	}{
		{"schema", 2, ""}, {"schema", nil, ""}, {"name", "", ""}, {"version", " ", ""}, {"licence", nil, ""}, {"intended_use", nil, ""},
		{"description", nil, ""}, {"training.data", nil, ""}, {"training.commit", "", ""}, {"training.seed", "one", "training.seed"},
		{"colour", "red", ""}, {"networks", []any{}, ""},
		{"networks.0.role", "skull", ""}, {"networks.1.role", "cavity-tissue", ""}, {"networks.0.weight", 1, "weight"},
		{"networks.0.file", "../cavity-tissue.onnx", ""}, {"networks.0.file", "/etc/passwd", ""}, {"networks.0.file", "", ""},
		{"networks.0.file", "none.onnx", ""}, {"networks.0.file", "a\\b", ""},
		{"networks.0.sha256", zeros, "networks[0].file"}, {"networks.0.sha256", "ABC", ""},
		{"networks.0.opset", 0, ""}, {"networks.0.base_width", 0, ""}, {"networks.0.parameters", -1, ""},
		{"networks.0.input.name", "", ""}, {"networks.0.input.layout", "NHWC", ""},
		{"networks.0.input.shape", []int{-1, 1, 16}, ""}, {"networks.0.input.shape", []int{1, 1, 16, 16}, ""},
		{"networks.0.input.shape", []int{-1, 1, 24, 24}, ""}, {"networks.0.input.shape", []int{-1, 1, 16, 32}, ""},
		{"networks.0.input.shape", []int{-1, 1, 1 << 20, 1 << 20}, ""}, {"networks.0.input.shape", []int{-1, 2, 16, 16}, ""},
		{"networks.0.input.shape", nil, ""},
		{"networks.2.input.neighbours", 2, "networks[2].input.shape"}, {"networks.2.input.neighbours", -1, ""}, {"networks.2.input.neighbours", nil, ""},
		{"networks.0.input.window_hu", []float64{150, -50}, ""}, {"networks.0.input.window_hu", []float64{150}, ""},
		{"networks.0.input.window_hu", []float64{1, 2, 3}, ""}, {"networks.0.input.window_hu", nil, ""},
		{"networks.0.input.pixel_mm", -1, ""}, {"networks.0.input.pixel_mm", 100, ""}, {"networks.0.input.pixel_mm", nil, ""},
		{"networks.0.input.slab_mm", -5, ""}, {"networks.0.input.slab_mm", nil, ""},
		{"networks.0.output.name", "", ""}, {"networks.0.output.channels", []string{"any"}, ""},
		{"networks.2.output.channels", []string{"any", "IPH", "IVH", "SAH", "EDH", "SDH"}, ""},
		{"networks.2.output.channels", []string{"IPH"}, ""}, {"networks.2.output.channels", []string{}, ""},
		{"networks.2.output.channels", []string{"any"}, "networks[2].output.shape"},
		{"networks.2.output.shape", []int{-1, 5, 16, 16}, ""}, {"networks.2.output.shape", []int{-1, 6, 32, 32}, ""},
		{"networks.0.threshold", 0, ""}, {"networks.0.threshold", 1, ""}, {"networks.0.threshold", nil, ""}, {"networks.0.threshold", "half", "networks.threshold"},
		{"networks.0.post", nil, ""}, {"networks.0.post.min_component_ml", 1, "networks[0].post"}, {"networks.2.post.fill_holes", true, "networks[2].post"},
		{"networks.0.post.hu_range", []float64{120, -20}, ""}, {"networks.1.post.hu_range", []float64{-10, 120}, "networks[1].post"},
		{"networks.1.post.fill_holes", false, "networks[1].post"}, {"networks.1.post.hu_range", []float64{1}, ""},
		{"networks.2.post.min_component_ml", -1, ""}, {"networks.2.post.min_component_ml", 5.1, ""}, {"networks.2.post.sure_threshold", 0.3, ""}, {"networks.2.post.sure_threshold", 1, ""}, {"networks.2.post.edge", 1, ""}, {"networks.2.post.edge", -0.1, ""},
		{"networks.0.post.sure_threshold", 0.8, "networks[0].post"}, {"networks.2.post.opening_mm", 1000, ""}, {"networks.2.post.rim_mm", -1, ""},
		{"networks.2.post.subtype_per", "slice", ""}, {"networks.2.post.subtype_per", nil, ""},
		{"networks.0.reference.input", "../in", ""}, {"networks.0.reference.output", "gone", ""},
		{"networks.0.reference.input_sha256", zeros, "networks[0].reference.input"}, {"networks.0.reference.output_sha256", "", ""},
		{"networks.0.reference.input_shape", []int{2, 1, 16, 16}, "networks[0].reference.output_shape"},
		{"networks.0.reference.input_shape", []int{1, 1, 32, 32}, ""}, {"networks.0.reference.input_shape", []int{100, 1, 16, 16}, ""},
		{"networks.0.reference.output_shape", []int{1, 2, 16, 16}, ""},
		{"networks.0.reference.tolerance", 0, ""}, {"networks.0.reference.tolerance", 1, ""}, {"networks.0.reference.tolerance", nil, ""},
	} {
		t.Run(fmt.Sprintf("%s=%v", c.path, c.v), func(t *testing.T) {
			_, err := Open(write(t, set(c.path, c.v)))
			want := c.want
			if want == "" {
				want = field(c.path)
			}
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
				t.Errorf("error does not name %s: %v", want, err)
			}
		})
	}
}

func TestOpenRefusesFiles(t *testing.T) {
	t.Parallel()
	manifest := func(s string) func(string) {
		return func(dir string) { os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(s), 0o644) }
	}
	for name, damage := range map[string]func(dir string){
		"no manifest": func(dir string) { os.Remove(filepath.Join(dir, "manifest.json")) },
		"no JSON":     manifest("{"),
		"null":        manifest("null"),
		"list":        manifest("[]"),
		"two objects": func(dir string) {
			f, _ := os.OpenFile(filepath.Join(dir, "manifest.json"), os.O_APPEND|os.O_WRONLY, 0)
			f.WriteString("{}")
			f.Close()
		},
		"large": manifest(strings.Repeat(" ", maxManifest+1)),
		"network folder": func(dir string) {
			os.Remove(filepath.Join(dir, "bleed.onnx"))
			os.Mkdir(filepath.Join(dir, "bleed.onnx"), 0o755)
		},
		"network cut":  func(dir string) { os.Truncate(filepath.Join(dir, "bleed.onnx"), 2) },
		"sample grown": func(dir string) { os.Truncate(filepath.Join(dir, "bleed.in"), 1<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, nil)
			damage(dir)
			if _, err := Open(dir); err == nil {
				t.Error("opened")
			}
		})
	}
	// Files whose digests are right and whose content is not.
	number := func(v float64, n int) []byte {
		b := make([]byte, 4*n*256)
		binary.LittleEndian.PutUint32(b, math.Float32bits(float32(v)))
		return b
	}
	for _, c := range []struct {
		name, file string
		data       []byte
	}{
		{"short", "input", make([]byte, 8)}, {"not a number", "input", number(math.NaN(), 3)}, {"infinite", "input", number(math.Inf(1), 3)},
		{"short", "output", make([]byte, 8)}, {"not a number", "output", number(math.NaN(), 6)}, {"above 1", "output", number(1.5, 6)},
		{"below 0", "output", number(-0.1, 6)},
	} {
		dir := write(t, func(dir string, m object) {
			name := map[string]string{"input": "bleed.in", "output": "bleed.out"}[c.file]
			if err := os.WriteFile(filepath.Join(dir, name), c.data, 0o644); err != nil {
				t.Fatal(err)
			}
			m["networks"].([]any)[2].(object)["reference"].(object)[c.file+"_sha256"] = digest(c.data)
		})
		if _, err := Open(dir); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "networks[2].reference."+c.file) {
			t.Errorf("%s %s: %v", c.name, c.file, err)
		}
	}
}

// A bleed network may find hemorrhage of any kind, as the paper's do.
func TestOpenWithoutSubtypes(t *testing.T) {
	t.Parallel()
	one := func(dir string, m object) {
		n := m["networks"].([]any)[2].(object)
		n["output"].(object)["channels"], n["output"].(object)["shape"] = []string{"any"}, []int{-1, 1, 16, 16}
		ref := n["reference"].(object)
		data := make([]byte, 4*256)
		if err := os.WriteFile(filepath.Join(dir, "bleed.out"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		ref["output_shape"], ref["output_sha256"] = []int{1, 1, 16, 16}, digest(data)
	}
	if _, err := Open(write(t, one)); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "networks[2].post.subtype_per") {
		t.Errorf("a rule for subtypes where there are none: %v", err)
	}
	b, err := Open(write(t, func(dir string, m object) {
		one(dir, m)
		delete(m["networks"].([]any)[2].(object)["post"].(object), "subtype_per")
	}))
	if err != nil {
		t.Fatal(err)
	}
	if b.Network(Bleed).TellsSubtypes() {
		t.Error("one channel tells subtypes")
	}
}

func TestCard(t *testing.T) {
	t.Parallel()
	b, err := Open(write(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Card(); err == nil || !strings.Contains(err.Error(), "ich card") {
		t.Errorf("no card: %v", err)
	}
	if err := os.WriteFile(filepath.Join(b.Dir, CardFile), []byte("# Card\n\tä\x1b[31m\r\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if text, err := b.Card(); err != nil || text != "# Card\n\tä[31m\n" {
		t.Errorf("%q, %v", text, err)
	}
	if again, err := Open(b.Dir); err != nil || again.Digest != b.Digest {
		t.Errorf("the card changes the bundle: %v", err)
	}
}

// Whatever decodes and passes every check says the same when it is written and read again.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"schema":1,"networks":[{"role":"bleed","input":{"shape":[-1,3,16,16],"window_hu":[1,2]}}]}`))
	f.Add([]byte(`{"networks":[null,{"post":{"hu_range":null}},3]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m Manifest
		if decode(raw, &m) != nil || m.check() != nil {
			return
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var back Manifest
		if err := errors.Join(decode(text, &back), back.check()); err != nil {
			t.Fatalf("accepted, then refused: %v\n%s", err, text)
		}
		if again, err := json.Marshal(back); err != nil || !bytes.Equal(again, text) {
			t.Fatalf("%s\nbecame\n%s, %v", text, again, err)
		}
		if q, err := (&Bundle{Manifest: m}).In(Int8); err == nil && len(q.Networks) != len(Roles) {
			t.Fatalf("%d networks", len(q.Networks))
		}
	})
}
