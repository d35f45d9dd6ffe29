package scptest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain says in one line what a plain 'go test ./...' skips. go test hides the output of tests that pass, so the line
// goes to the standard error of the go command itself.
func TestMain(m *testing.M) {
	if missing := missing(); len(missing) > 0 {
		say(fmt.Sprintf("ichor: tests are skipped, %s missing; 'make test-go' installs them and runs all tests\n", strings.Join(missing, ", ")))
	}
	os.Exit(m.Run())
}

// missing lists what the tests of this repository skip without.
func missing() (out []string) {
	for _, p := range []struct{ program, debian string }{
		{"storescu", "dcmtk"}, {"/usr/sbin/Orthanc", "orthanc"}, {"dciodvfy", "dicom3tools"}, {"gdcmconv", "libgdcm-tools"},
		{"opj_decompress", "libopenjp2-tools"}, {"chromium", "chromium"},
	} {
		if _, err := exec.LookPath(p.program); err != nil {
			out = append(out, p.debian)
		}
	}
	for _, v := range []string{"ICHOR_PYTHON", "ICHOR_VIEWER"} {
		if os.Getenv(v) == "" {
			out = append(out, v)
		}
	}
	if libraries, _ := filepath.Glob("../../bin/lib/libonnxruntime.so.*"); os.Getenv("ICHOR_ONNXRUNTIME") == "" && len(libraries) == 0 {
		out = append(out, "ONNX Runtime (make build)")
	}
	return out
}

// say writes to the standard error of the process that runs this test, where that is the go command and it can be opened.
func say(line string) {
	parent := fmt.Sprintf("/proc/%d/", os.Getppid())
	if name, err := os.ReadFile(parent + "comm"); err != nil || strings.TrimSpace(string(name)) != "go" {
		return
	}
	if f, err := os.OpenFile(parent+"fd/2", os.O_WRONLY|os.O_APPEND, 0); err == nil {
		fmt.Fprint(f, line)
		f.Close()
	}
}

// The hint names each thing that is missing, and nothing where all is there.
func TestMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("ICHOR_PYTHON", "")
	got := strings.Join(missing(), " ")
	for _, want := range []string{"dcmtk", "dicom3tools", "ICHOR_PYTHON"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q does not name %s", got, want)
		}
	}
	t.Setenv("ICHOR_PYTHON", "python")
	if got := strings.Join(missing(), " "); strings.Contains(got, "ICHOR_PYTHON") {
		t.Errorf("%q names what is there", got)
	}
}
