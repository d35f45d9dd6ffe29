package nifti

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// nibabelSaw is what nibabel reads of a file.
type nibabelSaw struct {
	Name   string
	Affine [3][4]float64
	Voxels []int16
	Size   [3]int
	Codes  [2]int
}

func nibabel(t *testing.T, args ...string) (out []nibabelSaw) {
	t.Helper()
	python := cmp.Or(os.Getenv("ICHOR_PYTHON"), "python3")
	if exec.CommandContext(t.Context(), python, "-c", "import nibabel").Run() != nil {
		t.Skip("ICHOR_PYTHON with nibabel is needed")
	}
	said, err := exec.CommandContext(t.Context(), python, append([]string{"testdata/nibabel_files.py"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(said)) {
		var one nibabelSaw
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		out = append(out, one)
	}
	return out
}

// TestNibabel reads what nibabel writes as nibabel reads it, and nibabel reads our masks on the same affine.
func TestNibabel(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	near := func(a, b [3][4]float64) bool {
		for r := range 3 {
			for c := range 4 {
				if math.Abs(a[r][c]-b[r][c]) > 1e-4 {
					return false
				}
			}
		}
		return true
	}
	files := nibabel(t, "write", dir)
	if len(files) != 16 {
		t.Fatalf("%d files", len(files))
	}
	var masks []string
	for _, want := range files {
		data, err := os.ReadFile(filepath.Join(dir, want.Name))
		if err != nil {
			t.Fatal(err)
		}
		m, err := Read(bytes.NewReader(data), most)
		if err != nil {
			t.Fatalf("%s: %v", want.Name, err)
		}
		if m.Size != want.Size || !near(m.Affine, want.Affine) {
			t.Errorf("%s: %v, nibabel %v", want.Name, m.Affine, want.Affine)
		}
		labels := make([]uint8, len(m.HU))
		for i, hu := range m.HU {
			if hu != want.Voxels[i] {
				t.Fatalf("%s: voxel %d is %d, nibabel reads %d", want.Name, i, hu, want.Voxels[i])
			}
			labels[i] = uint8(i % 6)
		}
		path := filepath.Join(dir, want.Name+".mask.nii.gz")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.WriteMask(f, labels); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		masks = append(masks, path)
	}
	for i, got := range nibabel(t, append([]string{"read"}, masks...)...) {
		if got.Size != files[i].Size || !near(got.Affine, files[i].Affine) || got.Codes != files[i].Codes {
			t.Errorf("%s: %v %v, the image %v %v", got.Name, got.Affine, got.Codes, files[i].Affine, files[i].Codes)
		}
		for v, label := range got.Voxels {
			if int(label) != v%6 {
				t.Fatalf("%s: voxel %d is %d", got.Name, v, label)
			}
		}
	}
}
