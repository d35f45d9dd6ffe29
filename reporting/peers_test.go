package reporting_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/reporting"
)

// peerCases are what foreign readers are shown: stored as scanners do, and as they seldom do.
func peerCases() map[string]reporting.Report {
	tilted := stored{volume.Vec{1, 0, 0}, volume.Vec{0, 0.9510565162951535, -0.3090169943749474}, []float64{6}}
	upsideDown := stored{volume.Vec{-1, 0, 0}, volume.Vec{0, -1, 0}, []float64{6}}
	turned := stored{volume.Vec{0, 1, 0}, volume.Vec{-1, 0, 0}, []float64{6}}
	return map[string]reporting.Report{
		"even":               head(64, 64, 20, stored{volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0}, []float64{6}}, bleeds()),
		"odd, uneven":        small(bleeds()),
		"tilted":             head(48, 51, 20, tilted, bleeds()),
		"upside down":        head(37, 41, 20, upsideDown, bleeds()),
		"turned":             head(37, 41, 20, turned, bleeds()),
		"two":                head(32, 31, 20, supine(), bleeds()[2:4]),
		"multi-frame source": multiFrame(),
		"none":               small(nil),
		"refused":            refused(),
	}
}

// save writes the objects of r, and for a reader to compare with, what they ought to say.
func save(t *testing.T, dir string, r reporting.Report) {
	t.Helper()
	for _, o := range write(t, r, options()) {
		if o.Kind == reporting.SC && o.Name > "sc/2.dcm" {
			continue // the others differ from the second by the slice alone
		}
		put(t, filepath.Join(dir, filepath.FromSlash(o.Name)), o.Bytes)
	}
	truth := map[string]any{"status": r.Finding.Status, "reason": r.Finding.Reason, "disclaimer": finding.Disclaimer}
	if v := r.Volume; v != nil {
		var sources []string
		for _, s := range v.Sources {
			sources = append(sources, s.SOPInstanceUID)
		}
		centres := map[string]volume.Vec{}
		for _, b := range bleeds() {
			centres[b.what.String()] = b.at
		}
		truth["rows"], truth["columns"], truth["sources"], truth["series"] = v.Rows, v.Columns, sources, v.SeriesInstanceUID
		truth["subtypes"], truth["volumes"], truth["frame_of_reference"] = finding.Subtypes, r.Finding.Volumes, v.FrameOfReferenceUID
		truth["centres"] = centres
		put(t, filepath.Join(dir, "labels.raw"), r.Labels.Voxels)
	}
	b, err := json.Marshal(truth)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "truth.json"), b)
}

func put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// TestPeers shows the same objects to readers that others wrote.
func TestPeers(t *testing.T) {
	root := t.TempDir()
	for name, r := range peerCases() {
		save(t, filepath.Join(root, name), r)
	}

	// David Clunie's dciodvfy checks modules, types and values: nothing but the name of the IOD may come out.
	t.Run("dciodvfy", func(t *testing.T) {
		tool, err := exec.LookPath("dciodvfy")
		if err != nil {
			t.Skip("dciodvfy is not installed (Debian package dicom3tools)")
		}
		allowed := []string{"Segmentation", "SCImage", "Comprehensive3DSR"}
		for _, pattern := range []string{"*/*.dcm", "*/sc/*.dcm"} {
			paths, err := filepath.Glob(filepath.Join(root, pattern))
			if err != nil || len(paths) == 0 {
				t.Fatalf("no objects like %s: %v", pattern, err)
			}
			for _, path := range paths {
				out, _ := exec.Command(tool, path).CombinedOutput() // it exits with 1 for a warning as well
				for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
					if !slices.Contains(allowed, strings.TrimSpace(line)) {
						t.Errorf("%s: %s", strings.TrimPrefix(path, root), line)
					}
				}
			}
		}
	})

	t.Run("dsrdump", func(t *testing.T) {
		tool, err := exec.LookPath("dsrdump")
		if err != nil {
			t.Skip("dsrdump is not installed (Debian package dcmtk)")
		}
		for name, want := range map[string][]string{
			"even":    {"Volume", "(mL,UCUM,", "Referenced Segment", "Research use only.", "Present"},
			"none":    {"No hemorrhage found.", "Absent", `"0.000"`},
			"refused": {"No axial CT series of the head", "no_axial_series", "No algorithms succeeded"},
		} {
			out, err := exec.Command(tool, "+Pl", filepath.Join(root, name, "sr.dcm")).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
			for _, w := range want {
				if !strings.Contains(string(out), w) {
					t.Errorf("%s: %q is not in the dump:\n%s", name, w, out)
				}
			}
		}
	})

	// pydicom and highdicom read everything back and compare it voxel by voxel with what we meant.
	t.Run("highdicom", func(t *testing.T) {
		python := os.Getenv("ICHOR_PYTHON")
		if python == "" {
			t.Skip("ICHOR_PYTHON does not name a Python with pydicom and highdicom")
		}
		args := []string{"testdata/reread.py"}
		for name := range peerCases() {
			if name != "multi-frame source" { // its frames have no source instance each
				args = append(args, filepath.Join(root, name))
			}
		}
		if out, err := exec.Command(python, args...).CombinedOutput(); err != nil { // the last folder it names is the bad one
			t.Errorf("%v\n%s", err, out)
		}
	})
}
