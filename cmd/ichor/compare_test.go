package main

import (
	"encoding/json"
	"errors"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ichor/pipeline/phantom"
)

// TestModelsCompare: a bundle agrees with itself, a study that is refused has a reason, and the picture shows both pages.
func TestModelsCompare(t *testing.T) {
	t.Parallel()
	head, err := phantom.Load("epidural")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	study, damaged := filepath.Join(dir, "head.nii"), filepath.Join(dir, "damaged.nii")
	if err := errors.Join(os.WriteFile(study, niftiOf(head), 0o644), os.WriteFile(damaged, niftiOf(head)[:2000], 0o644)); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command(t, "models", "compare", shippedBundle(t), shippedBundle(t), study, damaged, "--library", library(t), "--out", dir, "--json")
	if code != 0 {
		t.Fatal(stderr)
	}
	var c comparison
	if err := json.Unmarshal([]byte(stdout), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Studies) != 2 || c.Studies[0].Dice == nil || *c.Studies[0].Dice != 1 || c.Studies[0].A.Total == 0 || c.A.Digest == "" || c.A != c.B || c.Agreement.N != 1 {
		t.Fatalf("%s", stdout)
	}
	if s := c.Studies[1]; s.Dice != nil || s.Reason == "" {
		t.Errorf("damaged study: %+v", s)
	}
	f, err := os.Open(c.Studies[0].Picture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := png.DecodeConfig(f)
	if err != nil || size.Width < 3*size.Height/2 {
		t.Errorf("picture %d x %d: %v", size.Width, size.Height, err)
	}
}

// TestBundleByName: a name that is not installed is an error that says what to do.
func TestBundleByName(t *testing.T) {
	t.Parallel()
	code, _, stderr := command(t, "models", "list", "no-such-bundle")
	if code != 1 || !strings.Contains(stderr, "ichor models list --installed") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
