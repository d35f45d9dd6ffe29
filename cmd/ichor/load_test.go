package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ichor/cmd/ichor/load"
)

// TestLoad measures a node of its own with one study.
func TestLoad(t *testing.T) {
	out := t.TempDir()
	code, stdout, stderr := command(t, "load", "--studies", "1", "--rate", "3600", "--out", out, "--set", "assembly.quiet_period=300ms",
		"--set", "analysis.library="+library(t), "--set", "analysis.bundle="+shippedBundle(t), "--set", "dicom.reserve_mib=16", "--set", "dicom.prepared_mib=0")
	if code != exitOK || !strings.Contains(stdout, "thick") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	var r load.Report
	raw, err := os.ReadFile(filepath.Join(out, "load.json"))
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	if err != nil || len(r.Studies) != 1 || r.Studies[0].Results < 3 || r.Lost != 0 || r.Again != 0 || r.CPUSeconds == 0 || r.Studies[0].Latency() <= 0 {
		t.Errorf("%+v, error %v", r, err)
	}
	if svg, err := os.ReadFile(filepath.Join(out, "load.svg")); err != nil || !strings.Contains(string(svg), "<circle") {
		t.Errorf("load.svg: error %v", err)
	}
	if code, stdout, _ := command(t, "load", "--simulate", "2", "--studies", "1000", "--rate", "360"); code != exitOK || !strings.Contains(stdout, "2 workers: in use 1") {
		t.Errorf("simulation: exit code %d, %s", code, stdout)
	}
	if code, _, stderr := command(t, "load", "127.0.0.1:1", "--set", "log.level=debug"); code != exitUsage {
		t.Errorf("settings for a node that runs already: exit code %d, %s", code, stderr)
	}
}
