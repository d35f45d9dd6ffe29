package synthetic

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

func TestHead(t *testing.T) {
	s := Head(Shape{Balls: []Ball{{finding.SAH, volume.Vec{-20, 0, 0}, 15}}})
	if want := 4.0 / 3 * math.Pi * 65 * 77 * 64.7 / 1000; math.Abs(s.CavityML-want) > 0.01*want {
		t.Errorf("cavity %v mL, want %v", s.CavityML, want)
	}
	if want := 4.0 / 3 * math.Pi * 3.375; math.Abs(s.TruthML.SAH-want) > 0.03*want || s.TruthML.Total != s.TruthML.SAH {
		t.Errorf("truth %+v, want %v", s.TruthML, want)
	}
	again := Head(Shape{Balls: []Ball{{finding.SAH, volume.Vec{-20, 0, 0}, 15}}})
	for i := range s.HU {
		if s.HU[i] != again.HU[i] {
			t.Fatal("the same shape gives other voxels")
		}
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "study")
	s := Head(Shape{})
	if err := s.Write(dir, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var truth Truth
	if err := json.Unmarshal(raw, &truth); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.dcm"))
	if err != nil || len(files) != 32 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	seen := map[string]bool{}
	for k, path := range files {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		info, _ := f.Stat()
		d, err := dcm.Read(f, info.Size(), dcm.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		pixels, err := d.PixelData()
		if err != nil {
			t.Fatal(err)
		}
		stored, err := volume.StoredOf(d.Data, 0)
		if err != nil {
			t.Fatal(err)
		}
		hu := make([]int16, s.Rows*s.Columns)
		if err := stored.Decode(pixels, hu, "The image"); err != nil {
			t.Fatal(err)
		}
		for i := range hu {
			if hu[i] != s.HU[k*len(hu)+i] {
				t.Fatalf("slice %d pixel %d: %d HU, want %d", k, i, hu[i], s.HU[k*len(hu)+i])
			}
		}
		if d.Data.String(dcm.StudyInstanceUID) != truth.StudyInstanceUID || d.Data.String(dcm.SeriesInstanceUID) != truth.SeriesInstanceUID {
			t.Error("truth.json names another study")
		}
		seen[d.Data.String(dcm.SOPInstanceUID)] = true
		f.Close()
	}
	if len(seen) != 32 {
		t.Errorf("%d different instances", len(seen))
	}
	if err := s.Write(filepath.Join(files[0], "below a file"), WriteOptions{}); err == nil {
		t.Error("wrote below a file")
	}
}

// dciodvfy checks a data set against its IOD (PS3.3).
func TestFilesAreValid(t *testing.T) {
	tool, err := exec.LookPath("dciodvfy")
	if err != nil {
		t.Skip("dciodvfy is not there: install the Debian package dicom3tools")
	}
	dir := t.TempDir()
	if err := Head(Shape{}).Write(dir, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "-new", filepath.Join(dir, "CT0007.dcm")).CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Error") || strings.HasPrefix(line, "Warning") {
			t.Error(strings.TrimSpace(line))
		}
	}
}
