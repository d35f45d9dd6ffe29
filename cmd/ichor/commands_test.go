package main

import (
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ichor/cmd/ichor/doctor"
	"ichor/pipeline/finding"
	"ichor/pipeline/state"
)

// ok runs the built program and wants success.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := command(t, args...)
	if code != 0 {
		t.Fatalf("ichor %s: code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

func TestDemo(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	text := ok(t, "demo", "--out", out, "--bundle", shippedBundle(t), "--library", library(t))
	for _, want := range []string{"found mL", "true mL", "SEG ", "SC ", "SR ", "summary.png", finding.Disclaimer} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	f, err := os.Open(filepath.Join(out, "summary.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if img, err := png.Decode(f); err != nil || img.Bounds().Dx() < 800 {
		t.Errorf("summary.png: %v", err)
	}
	// A study that is refused gives a report and one page, whose picture takes the place of that of the former study.
	text = ok(t, "demo", "--study", "child", "--out", out, "--bundle", shippedBundle(t), "--library", library(t))
	if !strings.Contains(text, "refused (child): ") || !strings.Contains(text, "SR ") || !strings.Contains(text, "PNG ") || strings.Contains(text, "secondary capture") {
		t.Errorf("demo with a child:\n%s", text)
	}
	page, err := os.Open(filepath.Join(out, "summary.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	if img, err := png.DecodeConfig(page); err != nil || img.Width != 1280 || img.Height != 720 {
		t.Errorf("the picture is not the page of a refused study: %+v, %v", img, err)
	}
}

// TestFiles goes the way without a network: sample, analyze, and what analyze leaves.
func TestFiles(t *testing.T) {
	t.Parallel()
	list := ok(t, "sample", "--list")
	if name, _, _ := strings.Cut(list, " "); name == "" || strings.Count(list, "\n") < 2 {
		t.Errorf("sample --list: %s", list)
	}
	study, out := filepath.Join(t.TempDir(), "study"), filepath.Join(t.TempDir(), "out")
	ok(t, "sample", "--out", study, "--study", "mixed")
	var f finding.Finding
	if err := json.Unmarshal([]byte(ok(t, "analyze", study, "--out", out, "--json", "--bundle", shippedBundle(t), "--library", library(t))), &f); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, s := range finding.Subtypes {
		sum += f.Volumes.Of(s)
	}
	if diff := f.Volumes.Total - sum; diff > 0.01 || diff < -0.01 {
		t.Errorf("subtypes add up to %.3f mL, total %.3f mL", sum, f.Volumes.Total)
	}
	if f.Status != finding.Analyzed || f.Series.Slices != 32 || len(f.Lesions) == 0 || f.Bundle.Digest == "" || f.CavityML < 1000 {
		t.Errorf("%+v", f)
	}
	for _, name := range []string{"seg.dcm", "sc/1.dcm", "sr.dcm"} {
		validate(t, filepath.Join(out, name))
	}
	for _, name := range []string{"finding.json", "overlay.png"} {
		if !isFile(filepath.Join(out, name)) {
			t.Errorf("no %s", name)
		}
	}
}

// TestResultsOfFormerRun analyses a study into the folder of another one: nothing of the other may stay.
func TestResultsOfFormerRun(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	if err := os.MkdirAll(filepath.Join(out, "sc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"seg.dcm", "sc/2.dcm", "overlay.png", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(out, name), []byte("of another study"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dir, _ := sampleStudy(t, "normal")
	one := filepath.Join(dir, "CT0001.dcm") // a single slice is refused: one page and an SR
	ok(t, "analyze", one, "--out", out, "--bundle", shippedBundle(t), "--library", library(t))
	for name, want := range map[string]bool{"seg.dcm": false, "sc/1.dcm": true, "sc/2.dcm": false, "overlay.png": false, "notes.txt": true, "sr.dcm": true, "finding.json": true} {
		if isFile(filepath.Join(out, name)) != want {
			t.Errorf("%s there: %v, want %v", name, !want, want)
		}
	}
}

// TestAgainstNode uses the commands of an operator on a running node.
func TestAgainstNode(t *testing.T) {
	t.Parallel()
	n := startNode(t, testConfig(t))
	dir, _ := sampleStudy(t, "normal")
	address, web := n.Addr(), n.HTTPAddr()
	ok(t, "echo", address)
	ok(t, "send", address, dir)
	files, _, err := findDICOM(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	id := state.IDOf(files[0].StudyInstanceUID)
	if _, err := delivered(within(t), n.State(), id, func() {}); err != nil {
		t.Fatal(err)
	}
	if text := ok(t, "status", "--http", web); !strings.Contains(text, string(id)) || !strings.Contains(text, "analyzed") {
		t.Errorf("status:\n%s", text)
	}
	var detail struct{ Phase state.Phase }
	if err := json.Unmarshal([]byte(ok(t, "status", string(id), "--json", "--http", web)), &detail); err != nil || detail.Phase != state.Analyzed {
		t.Errorf("status of the case: %+v, %v", detail, err)
	}
}

func TestModelsAndCheck(t *testing.T) {
	t.Parallel()
	if text := ok(t, "models", "list", "--bundle", shippedBundle(t)); !strings.Contains(text, "bleed") || !strings.Contains(text, finding.Disclaimer) {
		t.Errorf("models list:\n%s", text)
	}
	ok(t, "models", "verify", "--bundle", shippedBundle(t), "--library", library(t))
	var lines []doctor.Line
	_, stdout, _ := command(t, "check", "--json", "--offline", "--state", t.TempDir(), "--bundle", shippedBundle(t), "--library", library(t)) // a port may be taken here
	if err := json.Unmarshal([]byte(stdout), &lines); err != nil || len(lines) < 4 {
		t.Errorf("check: %v\n%s", err, stdout)
	}
	if text := ok(t, "check", "--example"); !strings.Contains(text, "quiet_period") {
		t.Errorf("check --example:\n%s", text)
	}
}
