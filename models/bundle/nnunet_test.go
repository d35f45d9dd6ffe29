package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// nnUNet turns the bleed network of the sound bundle into one of nnU-Net with patches of 2 x 4 x 4 voxels and two folds.
func nnUNet(dir string, m object) {
	n := m["networks"].([]any)[2].(object)
	put := func(name string, values int) string {
		data := make([]byte, 4*values)
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			panic(err)
		}
		return digest(data)
	}
	n["input"] = object{"name": "patch", "shape": []int{-1, 1, 2, 4, 4}, "layout": "NCDHW", "window_hu": []float64{-20, 90}, "pixel_mm": 0, "neighbours": 0, "slab_mm": 0}
	n["output"] = object{"name": "logits", "shape": []int{-1, 3, 2, 4, 4}, "channels": []string{"background", "IPH", "-"}}
	n["post"] = object{"subtype_per": "voxel"}
	n["reference"] = object{"input": "in", "input_sha256": put("in", 32), "input_shape": []int{1, 1, 2, 4, 4}, "output": "out", "output_sha256": put("out", 96),
		"output_shape": []int{1, 3, 2, 4, 4}, "tolerance": 0.05}
	n["nnunet"] = object{"configuration": "3d_fullres", "spacing_mm": []float64{5, 1, 1}, "mean": 30, "std": 10, "orientation": "LPS", "mirror_axes": []int{0, 2},
		"further_folds": []any{object{"file": "in", "sha256": digest(make([]byte, 128)), "reference": object{"output": "out", "output_sha256": digest(make([]byte, 384)), "tolerance": 0.05}}}}
}

func TestNNUNet(t *testing.T) {
	t.Parallel()
	b, err := Open(write(t, nnUNet))
	if err != nil {
		t.Fatal(err)
	}
	n := b.Network(Bleed)
	if folds := n.Folds(); len(folds) != 2 || folds[1].File != "in" || folds[1].NNUNet.Further != nil || n.Patch() != [3]int{2, 4, 4} || !n.TellsSubtypes() {
		t.Errorf("%d folds, patch %v", len(folds), n.Patch())
	}
	for i := range b.Networks[:2] { // those of the cavity may have int8 files
		b.Networks[i].Int8 = &Quantised{Deviation: Deviation{Dice: 1}}
	}
	if _, err := b.In(Int8); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "of nnU-Net, which runs in float32 only; set analysis.precision to auto or float32") {
		t.Errorf("int8: %v", err)
	}
	if err := b.Int8Agrees(); err == nil || !strings.Contains(err.Error(), "of nnU-Net") {
		t.Errorf("auto: %v", err)
	}
}

func TestNNUNetRefused(t *testing.T) {
	t.Parallel()
	set := func(path string, value any) func(object) {
		return func(n object) {
			parts := strings.Split(path, ".")
			for _, p := range parts[:len(parts)-1] {
				n = n[p].(object)
			}
			n[parts[len(parts)-1]] = value
		}
	}
	fold := func(key string, value any) func(object) {
		return func(n object) { n["nnunet"].(object)["further_folds"].([]any)[0].(object)[key] = value }
	}
	for _, c := range []struct {
		name, field string
		edit        func(object)
	}{
		{"cascade", "nnunet.configuration", set("nnunet.configuration", "3d_cascade_fullres")},
		{"layout", "input.layout", set("input.layout", "NCHW")},
		{"patch of two channels", "input.shape", set("input.shape", []int{-1, 2, 2, 4, 4})},
		{"huge patch", "input.shape", set("input.shape", []int{-1, 1, 1024, 1024, 1024})},
		{"other output size", "output.shape", set("output.shape", []int{-1, 3, 2, 4, 8})},
		{"no background", "output.channels", set("output.channels", []string{"IPH", "IVH", "-"})},
		{"no blood", "output.channels", set("output.channels", []string{"background", "-", "-"})},
		{"any beside a subtype", "output.channels", set("output.channels", []string{"background", "any", "IPH"})},
		{"unknown class", "output.channels", set("output.channels", []string{"background", "IPH", "tumour"})},
		{"spacing", "nnunet.spacing_mm", set("nnunet.spacing_mm", []float64{5, 0, 1})},
		{"spacing of coronal planes", "nnunet.spacing_mm", set("nnunet.spacing_mm", []float64{1, 3.5, 1})},
		{"deviation", "nnunet.std", set("nnunet.std", 0)},
		{"orientation", "nnunet.orientation", set("nnunet.orientation", "RAI")},
		{"mirror axis", "nnunet.mirror_axes", set("nnunet.mirror_axes", []int{3})},
		{"mirror axis twice", "nnunet.mirror_axes", set("nnunet.mirror_axes", []int{1, 1})},
		{"pixel size", "input", set("input.pixel_mm", 1)},
		{"fold outside", "nnunet.further_folds[0].file", fold("file", "../x")},
		{"other fold", "file", fold("sha256", strings.Repeat("0", 64))},
		{"under another role", "nnunet", nil},
	} {
		_, err := Open(write(t, func(dir string, m object) {
			nnUNet(dir, m)
			n := m["networks"].([]any)[2].(object)
			if c.edit == nil {
				m["networks"].([]any)[0].(object)["nnunet"] = n["nnunet"]
				return
			}
			c.edit(n)
		}))
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.field) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestSubtypeNetwork: our network may name what nnU-Net finds, and nothing else.
func TestSubtypeNetwork(t *testing.T) {
	t.Parallel()
	with := func(channels []string, changes func(object)) func(string, object) {
		return func(dir string, m object) {
			ours := object{}
			for k, v := range m["networks"].([]any)[2].(object) {
				ours[k] = v
			}
			nnUNet(dir, m)
			m["networks"].([]any)[2].(object)["output"].(object)["channels"] = channels
			ours["role"], ours["post"] = "subtype", object{}
			m["networks"] = append(m["networks"].([]any), ours)
			changes(m)
		}
	}
	b, err := Open(write(t, with([]string{"background", "any", "-"}, func(object) {})))
	if err != nil {
		t.Fatal(err)
	}
	if !b.Network(Bleed).TellsSubtypes() || b.Network(Subtype) == nil {
		t.Error("the subtype network is not seen")
	}
	for name, edit := range map[string]func(string, object){
		"beside one that tells subtypes": with([]string{"background", "IPH", "-"}, func(object) {}),
		"twice":                          with([]string{"background", "any", "-"}, func(m object) { n := m["networks"].([]any); m["networks"] = append(n, n[3]) }),
	} {
		if _, err := Open(write(t, edit)); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
