package nnunet_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ichor/models/bundle"
	"ichor/models/onnx"
	"ichor/pipeline/nnunet"
	"ichor/pipeline/volume"
)

// TestParity compares with nnU-Net's own predictor, on the heads and networks that models/training/tests/parity_nnunet.py wrote:
// those in testdata, and those of ICHOR_NNUNET_CASES if it is set. Masks must have a Dice of 0.9999, certainties lie within 0.001
// in 99.99 % of the voxels: float32 sums in place of nnU-Net's half precision do not reach that.
func TestParity(t *testing.T) {
	folders := []string{"testdata"}
	if more := os.Getenv("ICHOR_NNUNET_CASES"); more != "" {
		folders = append(folders, more)
	}
	run := open(t)
	compared := 0
	readers := map[string]*nnunet.Reader{}
	for _, folder := range folders {
		found, err := filepath.Glob(filepath.Join(folder, "expected", "*", "*.f32"))
		if err != nil {
			t.Fatal(err)
		}
		for _, expected := range found {
			head := strings.TrimSuffix(filepath.Base(expected), ".f32")
			dir := filepath.Join(folder, "bundles", filepath.Base(filepath.Dir(expected)))
			if strings.HasSuffix(head, ".float32") { // for people to look at
				continue
			}
			t.Run(filepath.Base(dir)+"/"+head, func(t *testing.T) {
				if readers[dir] == nil {
					readers[dir] = load(t, run, openBundle(t, dir))
				}
				v := readVolume(t, filepath.Join(folder, "heads", head))
				want := readExpected(t, expected)
				start := time.Now()
				got := certainties(t, readers[dir], v, nil)
				took := time.Since(start)
				dice, within, worst := compare(got, want)
				t.Logf("Dice %.5f, within 0.001: %.4f %%, largest difference %.4f, %.1f s", dice, 100*within, worst, took.Seconds())
				if dice < 0.9999 || within < 0.9999 {
					t.Errorf("Dice %.5f, within 0.001 in %.5f of the voxels", dice, within)
				}
			})
			compared++
		}
	}
	if compared < 8 {
		t.Fatalf("%d heads compared", compared)
	}
}

// TestWithin: reading only what lies in a mask changes nothing there.
func TestWithin(t *testing.T) {
	run := open(t)
	for _, name := range []string{"tiny-3d", "tiny-2d"} {
		reader := load(t, run, openBundle(t, filepath.Join("testdata", "bundles", name)))
		v := readVolume(t, filepath.Join("testdata", "heads", "tilted"))
		all := certainties(t, reader, v, nil)
		mask := volume.NewMask(&v.Grid)
		for k := 4; k < 9; k++ {
			for r := 12; r < 18; r++ {
				for c := 10; c < 20; c++ {
					mask.Slice(k)[r*v.Columns+c] = 1
				}
			}
		}
		patches := map[bool]int{}
		for i, within := range []*volume.Mask{nil, mask} {
			reader.Progress = func(_, total int) { patches[i == 1] = total }
			some := certainties(t, reader, v, within)
			for j, inside := range mask.Voxels {
				if inside != 0 && math.Abs(float64(some[j]-all[j])) > 1e-5 {
					t.Fatalf("%s: voxel %d is %g, with all %g", name, j, some[j], all[j])
				}
			}
		}
		if patches[true] >= patches[false] {
			t.Errorf("%s: %d patches within a small mask, %d without", name, patches[true], patches[false])
		}
	}
}

// TestCancel: a cancelled context ends the work before the next patch.
func TestCancel(t *testing.T) {
	reader := load(t, open(t), openBundle(t, filepath.Join("testdata", "bundles", "tiny-3d")))
	v := readVolume(t, filepath.Join("testdata", "heads", "thick"))
	ctx, cancel := context.WithCancel(t.Context())
	ran := 0
	reader.Progress = func(done, total int) {
		if ran = done; done == 2 {
			cancel()
		}
	}
	err := reader.Read(ctx, v, nil, func(int, []float32, []uint8) {})
	if err == nil || ctx.Err() == nil || ran > 3 {
		t.Fatalf("%d patches after the second was cancelled: %v", ran, err)
	}
}

func compare(got, want []float32) (dice, within, worst float64) {
	var both, sum, near int
	for i, w := range want {
		a, b := got[i] >= 0.5, w >= 0.5
		if a && b {
			both++
		}
		if a {
			sum++
		}
		if b {
			sum++
		}
		d := math.Abs(float64(got[i] - w))
		if d <= 0.001 {
			near++
		}
		worst = max(worst, d)
	}
	dice = 1
	if sum > 0 {
		dice = 2 * float64(both) / float64(sum)
	}
	return dice, float64(near) / float64(len(want)), worst
}

func certainties(t *testing.T, r *nnunet.Reader, v *volume.Volume, within *volume.Mask) []float32 {
	t.Helper()
	out := make([]float32, len(v.HU))
	n := v.Rows * v.Columns
	err := r.Read(t.Context(), v, within, func(k int, blood []float32, kind []uint8) { copy(out[k*n:], blood) })
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func open(t *testing.T) *onnx.Runtime {
	t.Helper()
	library := os.Getenv("ICHOR_ONNXRUNTIME")
	if library == "" {
		t.Skip("ICHOR_ONNXRUNTIME is not set")
	}
	run, err := onnx.Open(onnx.Options{Library: library})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := run.Close(); err != nil {
			t.Error(err)
		}
	})
	return run
}

func load(t *testing.T, run *onnx.Runtime, b *bundle.Bundle) *nnunet.Reader {
	t.Helper()
	r := &nnunet.Reader{Spec: b.Network(bundle.Bleed)}
	for _, fold := range r.Spec.Folds() {
		net, err := run.Load(fold)
		if err != nil {
			t.Fatal(err)
		}
		if err := net.Verify(t.Context(), fold); err != nil {
			t.Fatal(err)
		}
		r.Folds = append(r.Folds, net)
	}
	return r
}

// openBundle opens a bundle whose cavity networks are those that are shipped.
func openBundle(t *testing.T, dir string) *bundle.Bundle {
	t.Helper()
	shipped := filepath.Join("..", "..", "models", "bundles", "ichor-synthetic")
	manifest, ours := readJSON[map[string]any](t, filepath.Join(dir, "manifest.json")), readJSON[map[string]any](t, filepath.Join(shipped, "manifest.json"))
	out := t.TempDir()
	link(t, dir, out)
	link(t, shipped, out)
	var networks []any
	for _, n := range ours["networks"].([]any) {
		if n.(map[string]any)["role"] != "bleed" {
			networks = append(networks, n)
		}
	}
	for _, n := range manifest["networks"].([]any) {
		if n.(map[string]any)["role"] == "bleed" {
			networks = append(networks, n)
		}
	}
	manifest["networks"] = networks
	raw, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(out, "manifest.json"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// link links the networks and references of a bundle into another folder; what is there already stays.
func link(t *testing.T, from, to string) {
	t.Helper()
	for _, pattern := range []string{"*.onnx", "reference/*.f32"} {
		files, err := filepath.Glob(filepath.Join(from, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			abs, err := filepath.Abs(f)
			if err != nil {
				t.Fatal(err)
			}
			name, _ := filepath.Rel(from, f)
			target := filepath.Join(to, name)
			if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
				t.Fatal(err)
			}
			os.Remove(target)
			if err := os.Symlink(abs, target); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func readVolume(t *testing.T, dir string) *volume.Volume {
	t.Helper()
	g := readJSON[struct {
		Rows        int          `json:"rows"`
		Columns     int          `json:"columns"`
		SpacingMM   [2]float64   `json:"spacing_mm"`
		AlongRow    volume.Vec   `json:"along_row"`
		AlongColumn volume.Vec   `json:"along_column"`
		Origins     []volume.Vec `json:"origins"`
	}](t, filepath.Join(dir, "volume.json"))
	v := &volume.Volume{Grid: volume.Grid{Rows: g.Rows, Columns: g.Columns, SpacingMM: g.SpacingMM, AlongRow: g.AlongRow, AlongColumn: g.AlongColumn, Origins: g.Origins}}
	v.SupportMM = volume.Support(v.Gaps(), 1)
	raw := read(t, filepath.Join(dir, "hu.i16"))
	v.HU = make([]int16, len(raw)/2)
	for i := range v.HU {
		v.HU[i] = int16(binary.LittleEndian.Uint16(raw[2*i:]))
	}
	if len(v.HU) != g.Rows*g.Columns*len(g.Origins) {
		t.Fatalf("%s: %d voxels", dir, len(v.HU))
	}
	return v
}

func readExpected(t *testing.T, path string) []float32 {
	t.Helper()
	raw := read(t, path)
	out := make([]float32, len(raw)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func readJSON[T any](t *testing.T, path string) T {
	t.Helper()
	var out T
	d := json.NewDecoder(strings.NewReader(string(read(t, path))))
	d.UseNumber() // digests and numbers stay as they are written
	if err := d.Decode(&out); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return out
}
