package synthetic

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestEnhancedIsValid(t *testing.T) {
	tool, err := exec.LookPath("dciodvfy")
	if err != nil {
		t.Skip("dciodvfy is not there: install the Debian package dicom3tools")
	}
	for _, legacy := range []bool{false, true} {
		d, _ := Head(Shape{}).Enhanced(EnhancedOptions{Legacy: legacy})
		path := filepath.Join(t.TempDir(), "ct.dcm")
		if err := WriteFile(path, d); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(tool, "-new", path).CombinedOutput()
		if err != nil {
			t.Errorf("%v", err)
		}
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "Error") || strings.HasPrefix(line, "Warning") {
				t.Errorf("legacy %v: %s", legacy, strings.TrimSpace(line))
			}
		}
	}
}
