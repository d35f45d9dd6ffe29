package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/scp/dcm"
)

// TestFindDICOM walks over folders as discs and shares have them: an index beside the images, links to files and folders.
func TestFindDICOM(t *testing.T) {
	dir, _ := sampleStudy(t, "epidural")
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	images := 0
	for _, n := range names {
		if strings.HasSuffix(n.Name(), ".dcm") {
			images++
		}
	}
	var index bytes.Buffer
	meta := dcm.FileMeta{SOPClassUID: dcm.MediaStorageDirectoryStorage, SOPInstanceUID: "1.2.3", TransferSyntaxUID: dcm.ExplicitVRLittleEndian}
	if err := dcm.WriteMeta(&index, meta); err != nil {
		t.Fatal(err)
	}
	index.WriteString("\x04\x00\x20\x12SQ\x00\x00\x00\x00\x00\x00") // Directory Record Sequence
	if err := os.WriteFile(filepath.Join(dir, "DICOMDIR"), index.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	links := t.TempDir()
	link := func(target, name string) string {
		path := filepath.Join(links, name)
		if err := os.Symlink(target, path); err != nil {
			t.Skip(err)
		}
		return path
	}
	folder := link(dir, "folder")
	link(filepath.Join(dir, names[0].Name()), "again.dcm")
	link(links, "circle")
	link(filepath.Join(links, "nowhere"), "broken")
	for name, root := range map[string]string{"folder": dir, "link to a folder": folder, "folder of links": links} {
		all, err := find(t.Context(), root, findOptions{})
		if err != nil || len(all.files) != images || len(all.damaged) != 0 {
			t.Errorf("%s: %d files, %d damaged, %v; want %d", name, len(all.files), len(all.damaged), err, images)
		}
		if study, err := studyFromFiles(t.Context(), root, ""); err != nil || len(study.Objects) != images {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := find(t.Context(), filepath.Join(links, "broken"), findOptions{}); err == nil {
		t.Error("no error for a link to nothing")
	}
	link(filepath.Join(links, "loop"), "loop") // cannot be opened, as a file without permission
	if _, err := find(t.Context(), links, findOptions{}); err == nil {
		t.Error("no error for a file that cannot be opened")
	}
	if all, err := find(t.Context(), links, findOptions{tolerant: true}); err != nil || len(all.files) != images || len(all.damaged) != 1 {
		t.Errorf("%d files, %d damaged, %v", len(all.files), len(all.damaged), err)
	}
	if all, err := find(t.Context(), links, findOptions{tolerant: true, without: dir}); err != nil || len(all.files) != 1 {
		t.Errorf("without a folder: %d files, %v", len(all.files), err)
	}
}

// TestAnalyzeNothingReadable: a study of which no file can be read is a result, which names the files and the reason.
func TestAnalyzeNothingReadable(t *testing.T) {
	dir, _ := sampleStudy(t, "epidural")
	names, err := filepath.Glob(filepath.Join(dir, "*.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Truncate(name, 400); err != nil {
			t.Fatal(err)
		}
	}
	out := t.TempDir()
	code, stdout, stderr := command(t, "analyze", dir, "--out", out, "--bundle", shippedBundle(t), "--library", library(t))
	if code != 0 || !strings.Contains(stdout, "refused") {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	b, err := os.ReadFile(filepath.Join(out, "finding.json"))
	if err != nil {
		t.Fatal(err)
	}
	var f finding.Finding
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	if f.Status != finding.Refused || f.Code != finding.Undecodable || !strings.Contains(f.Reason, "file "+filepath.Base(names[0])) || !strings.Contains(f.Reason, "truncated") {
		t.Errorf("%+v", f)
	}
}

// TestLostImages: an error page and an empty file in place of an image are images that cannot be read, and not files of another
// kind beside the study.
func TestLostImages(t *testing.T) {
	dir, _ := sampleStudy(t, "epidural")
	names, err := filepath.Glob(filepath.Join(dir, "*.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{names[0]: "<html>504</html>", names[len(names)-1]: "", filepath.Join(dir, "notes.txt"): "notes", filepath.Join(dir, "README"): ""} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, stderr := command(t, "select", dir, "--json")
	var got struct{ Warnings []string }
	if err := json.Unmarshal([]byte(stdout), &got); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v: %s", code, err, stderr)
	}
	for _, name := range []string{names[0], names[len(names)-1]} {
		if w := strings.Join(got.Warnings, "\n"); !strings.Contains(w, "file "+filepath.Base(name)) || !strings.Contains(w, "2 of ") {
			t.Errorf("%s is not named: %q", filepath.Base(name), got.Warnings)
		}
	}
	if err := os.WriteFile(names[6], nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(names[7], nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ = command(t, "select", dir); code != 0 || !strings.Contains(stdout, filepath.Base(names[7])) {
		t.Errorf("slices are missing in the middle, and the file is not named: %s", stdout)
	}
}
