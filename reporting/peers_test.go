package reporting_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/reporting"
	"ichor/scp/dcm"
)

// peerCase is one report, written under the options of a site.
type peerCase struct {
	analysis.Analysis
	options reporting.Options
}

// peerCases are what foreign readers are shown: stored as scanners do, and as they seldom do.
func peerCases() map[string]peerCase {
	tilted := stored{volume.Vec{1, 0, 0}, volume.Vec{0, 0.9510565162951535, -0.3090169943749474}, []float64{6}}
	upsideDown := stored{volume.Vec{-1, 0, 0}, volume.Vec{0, -1, 0}, []float64{6}}
	turned := stored{volume.Vec{0, 1, 0}, volume.Vec{-1, 0, 0}, []float64{6}}
	plain, all := options(), golden()
	return map[string]peerCase{
		"even":               {head(64, 64, 20, stored{volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0}, []float64{6}}, bleeds()), all},
		"odd, uneven":        {small(bleeds()), all},
		"511":                {head(511, 511, 12, stored{volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0}, []float64{8}}, bleeds()[:2]), plain},
		"tilted":             {head(48, 51, 20, tilted, bleeds()), plain},
		"upside down":        {head(37, 41, 20, upsideDown, bleeds()), plain},
		"turned":             {head(37, 41, 20, turned, bleeds()), all},
		"two":                {head(32, 31, 20, supine(), bleeds()[2:4]), plain},
		"multi-frame source": {multiFrame(), plain},
		"none":               {small(nil), plain},
		"cavity alone":       {small(nil), all},
		"refused":            {refused(), all},
	}
}

// save writes the objects of r, and for a reader to compare with, what they ought to say.
func save(t *testing.T, dir string, r peerCase) {
	t.Helper()
	objects := write(t, r.Analysis, r.options)
	for _, o := range append(objects, rejection(t, objects)) {
		if pages := []string{"overlay/006.dcm", "overlay/009.dcm", "overlay/012.dcm"}; !distinct(o) && !slices.Contains(pages, o.Name) {
			continue
		}
		put(t, filepath.Join(dir, filepath.FromSlash(o.Name)), o.Bytes)
		if o.Name == "seg.dcm" { // as it is sent to a destination that takes it
			d := read(t, o)
			d.SetBytes(dcm.PixelData, "OB", pixelData(t, o))
			var b bytes.Buffer
			if err := dcm.WriteFile(&b, dcm.FileMeta{TransferSyntaxUID: dcm.DeflatedExplicitVRLittleEndian}, d); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(dir, "seg-deflated.dcm"), b.Bytes())
		}
	}
	truth := map[string]any{"status": r.Finding.Status, "reason": r.Finding.Seen, "disclaimer": finding.Disclaimer,
		"digest": r.Finding.Bundle.Digest, "cavity": r.options.CavitySegment, "labelmap": r.options.LabelMap}
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
		truth["subtypes"], truth["frame_of_reference"] = finding.Subtypes, v.FrameOfReferenceUID
		volumes := map[string]float64{"total": r.Finding.Volumes.Total, "intracranial cavity": r.Finding.CavityML}
		for _, s := range finding.Subtypes {
			volumes[s.String()] = r.Finding.Volumes.Of(s)
		}
		truth["volumes"] = volumes
		truth["lesions"], truth["range"] = r.Finding.Lesions, r.Finding.Range
		truth["centres"] = centres
		put(t, filepath.Join(dir, "labels.raw"), r.Labels.Voxels)
		put(t, filepath.Join(dir, "cavity.raw"), r.Cavity.Voxels)
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

// peerObject is a saved object.
func peerObject(t *testing.T, path string) reporting.Output {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return reporting.Output{Name: path, Bytes: b}
}

// extended are the words of dciodvfy on a Standard Extended SOP Class, as we mean the overlay: see sc/overlay.go.
func extended() []string {
	return []string{
		"Warning - Attribute is not present in standard DICOM IOD - (0x0020,0x0032) DS Image Position (Patient)",
		"Warning - Attribute is not present in standard DICOM IOD - (0x0020,0x0037) DS Image Orientation (Patient)",
		"Warning - Attribute is not present in standard DICOM IOD - (0x0020,0x0052) UI Frame of Reference UID",
		"Warning - Dicom dataset contains attributes not present in standard DICOM IOD - this is a Standard Extended SOP Class",
	}
}

// TestPeers shows the same objects to readers that others wrote.
func TestPeers(t *testing.T) {
	t.Parallel()
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
		allowed := []string{"Segmentation", "SCImage", "Comprehensive3DSR", "KeyObjectSelectionDocument"}
		// The tool of 2022 does not know label maps.
		const unknown = "Error - Shall not be present for Referenced SOP Class that is not segmentation - attribute <ReferencedSegmentNumber>"
		for _, pattern := range []string{"*/*.dcm", "*/sc/*.dcm", "*/overlay/*.dcm"} {
			paths, err := filepath.Glob(filepath.Join(root, pattern))
			if err != nil || len(paths) == 0 {
				t.Fatalf("no objects like %s: %v", pattern, err)
			}
			for _, path := range paths {
				name := filepath.Base(path)
				if name == "seg-labelmap.dcm" || name == "seg-cavity-labelmap.dcm" || name == "seg-deflated.dcm" { // neither of which it reads
					continue
				}
				out, _ := exec.Command(tool, path).CombinedOutput() // it exits with 1 for a warning as well
				for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
					line = strings.TrimSpace(line)
					known := slices.Contains(allowed, line) || pattern == "*/overlay/*.dcm" && slices.Contains(extended(), line) ||
						name == "sr-labelmap.dcm" && line == unknown
					if !known {
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
			"even":    {"Volume", "(mL,UCUM,", "Referenced Segment", "Research use only.", "Detected", "Right"},
			"none":    {"No intracranial hemorrhage was detected.", "Not detected", "bleeds below 1 mL", `"0.0"`},
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

	// gdcm reads the same bits, deflated as well.
	t.Run("gdcm", func(t *testing.T) {
		tool, err := exec.LookPath("gdcmraw")
		if err != nil {
			t.Skip("gdcmraw is not installed (Debian package libgdcm-tools)")
		}
		for _, name := range []string{"even", "odd, uneven", "511"} {
			var first []byte
			for _, file := range []string{"seg.dcm", "seg-deflated.dcm"} {
				raw := filepath.Join(t.TempDir(), "raw")
				if out, err := exec.Command(tool, "-i", filepath.Join(root, name, file), "-o", raw).CombinedOutput(); err != nil {
					t.Fatalf("%s %s: %v\n%s", name, file, err, out)
				}
				got, err := os.ReadFile(raw)
				if err != nil {
					t.Fatal(err)
				}
				if first == nil {
					o := peerObject(t, filepath.Join(root, name, file))
					if first = pixelData(t, o); len(first) == 0 {
						t.Fatal("no pixels")
					}
				}
				if !bytes.Equal(got, first) {
					t.Errorf("%s %s: %d bytes of pixels differ from the %d of ours", name, file, len(got), len(first))
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
