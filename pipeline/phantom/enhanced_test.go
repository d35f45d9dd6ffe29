package phantom

import (
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ichor/scp/dcm"
)

func TestEnhancedIsValid(t *testing.T) {
	tool, err := exec.LookPath("dciodvfy")
	if err != nil {
		t.Skip("dciodvfy is not there: install the Debian package dicom3tools")
	}
	for _, legacy := range []bool{false, true} {
		d, _ := Synthetic(Shape{}).Enhanced(EnhancedOptions{Legacy: legacy})
		path := filepath.Join(t.TempDir(), "ct.dcm")
		if err := create(path, func(w io.Writer) error { return dcm.WriteFile(w, dcm.FileMeta{}, d) }); err != nil {
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
