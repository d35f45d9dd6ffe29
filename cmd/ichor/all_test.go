package main

import (
	"bytes"
	le "encoding/binary"
	"encoding/csv"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/nifti"
	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
	"ichor/scp/dcm"
)

// niftiOf writes a study as NIfTI-1 of 16-bit integers, in the order of its own rows and columns.
func niftiOf(s *synthetic.Study) []byte {
	f := make([]byte, 352)
	put16 := func(at, v int) { le.LittleEndian.PutUint16(f[at:], uint16(v)) }
	put := func(at int, v float64) { le.LittleEndian.PutUint32(f[at:], math.Float32bits(float32(v))) }
	le.LittleEndian.PutUint32(f, 348)
	g := s.Grid()
	step := g.Origins[1].Sub(g.Origins[0])
	for i, n := range []int{3, s.Columns, s.Rows, g.Slices()} {
		put16(40+2*i, n)
	}
	put16(70, 4)
	put16(72, 16)
	for i, mm := range []float64{1, g.SpacingMM[1], g.SpacingMM[0], step.Length()} {
		put(76+4*i, mm)
	}
	put(108, 352)
	put16(254, 1)
	for r, sign := range []float64{-1, -1, 1} {
		for c, v := range []float64{g.AlongRow[r] * g.SpacingMM[1], g.AlongColumn[r] * g.SpacingMM[0], step[r], g.Origins[0][r]} {
			put(280+16*r+4*c, sign*v)
		}
	}
	copy(f[344:], "n+1\x00")
	for _, hu := range s.HU {
		f = le.LittleEndian.AppendUint16(f, uint16(hu))
	}
	return f
}

// TestAnalyzeAll analyses a folder of many studies: DICOM and NIfTI, readable and not. A second run analyses only what changed
// or failed.
func TestAnalyzeAll(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "set")
	out := filepath.Join(root, "results") // below the folder that is read
	head, err := phantom.Load("epidural")
	if err != nil {
		t.Fatal(err)
	}
	const uid = "1.2.826.0.1.3680043.8.498.1"
	write := func(name string, b []byte) {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	short := synthetic.Head(synthetic.Shape{}).Only(10, 11, 12, 13)
	if err := errors.Join(short.Write(filepath.Join(root, "dicom", "a"), synthetic.WriteOptions{StudyInstanceUID: uid}),
		short.Write(filepath.Join(root, "dicom", "b"), synthetic.WriteOptions{Edit: func(_ int, d *dcm.DataSet) { d.SetStrings(dcm.StudyInstanceUID, "UI", "ID_0a1b") }})); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(root, "dicom", "a", "CT0001.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	write("dicom/a/cut.dcm", whole[:400])
	write("dicom/cut.dcm", whole[:400])
	write("nifti/head.nii", niftiOf(head))
	write("nifti/head_mask.nii.gz", []byte("no NIfTI"))
	write("nifti/._head.nii", []byte("Mac OS X"))
	write("labels.csv", []byte("a,b\n"))

	type line map[string]string
	run := func(code int, args ...string) (lines map[string]line, sum total) {
		t.Helper()
		got, stdout, stderr := command(t, append([]string{"analyze", "--all", root, "--out", out, "--json", "--bundle", shippedBundle(t), "--library", library(t)}, args...)...)
		if got != code {
			t.Fatalf("exit code %d, want %d: %s%s", got, code, stdout, stderr)
		}
		if err := json.Unmarshal([]byte(stdout), &sum); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(out, "findings.csv"))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		lines = map[string]line{}
		for _, row := range rows[1:] {
			l := line{}
			for i, name := range rows[0] {
				l[name] = row[i]
			}
			lines[l["input"]] = l
		}
		return lines, sum
	}

	lines, sum := run(0)
	if sum.Studies != 5 || sum.Analyzed != 1 || sum.Refused != 4 || sum.Failed != 0 || sum.Skipped != 0 || len(lines) != 5 {
		t.Fatalf("%+v %v", sum, lines)
	}
	for input, want := range map[string]line{
		"dicom/a":                {"status": "refused", "code": finding.TooFewSlices, "study_instance_uid": uid, "results": uid},
		"dicom/b":                {"status": "refused", "code": finding.TooFewSlices, "study_instance_uid": "ID_0a1b", "results": "ID_0a1b"},
		"dicom/cut.dcm":          {"status": "refused", "code": finding.Undecodable},
		"nifti/head.nii":         {"status": "analyzed", "code": "", "study_instance_uid": "", "results": "nifti/head.nii", "slices": "32"},
		"nifti/head_mask.nii.gz": {"status": "refused", "code": finding.Undecodable, "results": "nifti/head_mask.nii.gz"},
	} {
		for name, value := range want {
			if lines[input][name] != value {
				t.Errorf("%s: %s is %q, want %q (%v)", input, name, lines[input][name], value, lines[input])
			}
		}
	}
	if said := lines["dicom/a"]["warnings"]; !strings.Contains(said, "1 of 5 objects of the study cannot be read") {
		t.Errorf("of the damaged file beside a study: %q", said)
	}
	if l := lines["nifti/head.nii"]; l["total_ml"] == "" || l["EDH_ml"] == "" || l["low_ml"] == "" || l["lesions"] == "0" || l["seconds"] == "" {
		t.Errorf("of the head: %v", l)
	}
	for name, want := range map[string]bool{"mask.nii.gz": true, "overlay.png": true, "finding.json": true, "input.json": true, "seg.dcm": false, "sr.dcm": false} {
		if isFile(filepath.Join(out, "nifti", "head.nii", name)) != want {
			t.Errorf("%s there: %v, want %v", name, !want, want)
		}
	}
	raw, err := os.ReadFile(filepath.Join(out, "nifti", "head.nii", "mask.nii.gz"))
	if err != nil {
		t.Fatal(err)
	}
	mask, err := nifti.Read(bytes.NewReader(raw), 1e9)
	if err != nil {
		t.Fatal(err)
	}
	truth, _ := head.Truth()
	both, either := 0, 0
	for i, l := range truth.Voxels {
		if l != 0 && mask.HU[i] != 0 {
			both++
		}
		if l != 0 || mask.HU[i] != 0 {
			either++
		}
	}
	if float64(both) < 0.5*float64(either) {
		t.Errorf("the mask and the truth share %d of %d voxels", both, either)
	}
	if !isFile(filepath.Join(out, uid, "sr.dcm")) || !isFile(filepath.Join(out, "ID_0a1b", "finding.json")) {
		t.Error("results of DICOM studies are missing")
	}

	again, sum := run(0)
	if sum.Skipped != 5 || sum.Failed != 0 || len(again) != 5 {
		t.Fatalf("a second time: %+v", sum)
	}
	for input := range lines {
		for name, value := range lines[input] {
			if again[input][name] != value {
				t.Errorf("a second time, %s of %s is %q, was %q", name, input, again[input][name], value)
			}
		}
	}

	// A study whose files changed is analysed again, and so are all with other settings.
	if err := errors.Join(os.Chtimes(filepath.Join(root, "dicom", "b", "CT0001.dcm"), time.Time{}, time.Unix(1e9, 0)), os.Remove(filepath.Join(root, "dicom", "cut.dcm")),
		os.Remove(filepath.Join(root, "nifti", "head.nii"))); err != nil {
		t.Fatal(err)
	}
	if _, sum = run(0); sum.Studies != 3 || sum.Skipped != 2 || sum.Failed != 0 {
		t.Errorf("after a change: %+v", sum)
	}
	if _, sum = run(0, "--min-slices", "3"); sum.Skipped != 0 {
		t.Errorf("with other settings: %+v", sum)
	}
}

// TestDamagedFiles: a damaged file belongs to the study that its header names, else to that of its folder, if there is one and no
// other; the rest of the damaged files of a folder are one study.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	short := synthetic.Head(synthetic.Shape{}).Only(10, 11)
	for name, uid := range map[string]string{"one": "1.2.3", "two": "1.2.4", "two/b": "1.2.5", "lost": "1.2.6"} {
		if err := short.Write(filepath.Join(root, name), synthetic.WriteOptions{StudyInstanceUID: uid}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(root, "two", "b", "CT0001.dcm"), filepath.Join(root, "two", "other.dcm")); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(root, "one", "CT0001.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	named := bytes.Index(whole, []byte("\x28\x00\x10\x00US")) + 3 // within an element behind Study Instance UID
	for name, n := range map[string]int{"one/cut.dcm": 400, "two/cut.dcm": 400, "two/cut2.dcm": 400, "two/b/cut.dcm": 400, "cut.dcm": 400, "elsewhere/named.dcm": named,
		"elsewhere/cut.dcm": 400} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, whole[:n], 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	lost, err := filepath.Glob(filepath.Join(root, "lost", "*.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lost {
		if err := os.Truncate(path, 400); err != nil {
			t.Fatal(err)
		}
	}
	items, _, err := studiesBelow(t.Context(), root, filepath.Join(root, "results"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]int{} // by study and input
	for _, it := range items {
		uid := it.study.UID
		if !strings.HasPrefix(uid, "1.2.") {
			uid = ""
		}
		files[uid+" "+it.input] = len(it.paths)
		if len(it.study.Objects) != len(it.paths) || it.results == "" || !dcm.PlausibleUID(it.study.UID) {
			t.Errorf("%s: %d objects of %d files, results %q, study %q", it.input, len(it.study.Objects), len(it.paths), it.results, it.study.UID)
		}
	}
	if want := map[string]int{"1.2.3 .": 4, "1.2.4 two": 2, "1.2.5 two": 3, " two": 2, " cut.dcm": 1, " elsewhere/cut.dcm": 1, " lost": 2}; !maps.Equal(files, want) {
		t.Errorf("%v, want %v", files, want)
	}
}

func TestFolderName(t *testing.T) {
	t.Parallel()
	for uid, same := range map[string]bool{"1.2.3": true, "ID_0a-B": true, "../x": false, "a/b": false, ".x": false, "a\x00b": false, "head.nii": false, "findings.csv": false, strings.Repeat("1", 200): false} {
		if got := folderName(uid); (got == uid) != same || filepath.Base(got) != got {
			t.Errorf("%q became %q", uid, got)
		}
	}
	for _, c := range []struct {
		paths []string
		want  string
	}{{[]string{"r/a/1", "r/a/2"}, "a"}, {[]string{"r/a/1"}, "a/1"}, {[]string{"r/a/1", "r/ab/1"}, "."}, {[]string{"r/a/b/1", "r/a/1"}, "a"}} {
		if got := commonPath("r", c.paths); got != c.want {
			t.Errorf("%v have %q in common, want %q", c.paths, got, c.want)
		}
	}
	if i := slices.Index(columns(), "ICH_ml"); i >= 0 {
		t.Error("a total twice")
	}
}
