package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/scp/dcm"
)

func TestSelect(t *testing.T) {
	dir := t.TempDir()
	s := synthetic.Head(synthetic.Shape{})
	uid := dcm.RandomUID()
	write := func(name, kernel string) {
		if err := s.Write(filepath.Join(dir, name), synthetic.WriteOptions{StudyInstanceUID: uid, Edit: func(_ int, d *dcm.DataSet) {
			d.SetStrings(dcm.ConvolutionKernel, "SH", kernel)
			d.SetStrings(dcm.SeriesDescription, "LO", "Head "+name)
		}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Write(filepath.Join(dir, "another"), synthetic.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	write("sharp", "BONE")
	write("smooth", "STANDARD")
	whole, err := os.ReadFile(filepath.Join(dir, "sharp", "CT0001.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cut.dcm"), whole[:400], 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, said := command(t, "select", dir)
	if code != 1 || !strings.Contains(said, "2 studies") || !strings.Contains(said, uid+" (files: 64)") {
		t.Errorf("of two studies: %d %s", code, said)
	}
	if code, _, said = command(t, "select", dir, "--study", "1.2"); code != 1 || !strings.Contains(said, uid) {
		t.Errorf("of a study that is not there: %d %s", code, said)
	}
	text := ok(t, "select", dir, "--study", uid)
	if !strings.Contains(text, "1 of 65 objects of the study cannot be read") {
		t.Errorf("nothing of the file that is cut off:\n%s", text)
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, "another")), os.Remove(filepath.Join(dir, "cut.dcm"))); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"* chosen", "bone-kernel-only", `"Head smooth"`, `Soft-tissue kernel (Convolution Kernel "STANDARD").`, "5.00", finding.Disclaimer} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "ICHOR^SAMPLE") || strings.Contains(text, "ICHOR-SAMPLE") {
		t.Errorf("names the patient:\n%s", text)
	}
	var got selected
	if err := json.Unmarshal([]byte(ok(t, "select", dir, "--json")), &got); err != nil {
		t.Fatal(err)
	}
	if got.Series == nil || got.Series.Slices != 32 || len(got.Candidates) != 2 || got.Candidates[0].Chosen || !got.Candidates[1].Chosen || got.Code != "" {
		t.Errorf("%+v", got)
	}
	if err := os.RemoveAll(filepath.Join(dir, "smooth")); err != nil {
		t.Fatal(err)
	}
	if text = ok(t, "select", dir); !strings.Contains(text, "refused (bone-kernel-only): ") {
		t.Errorf("of a bone kernel alone:\n%s", text)
	}
	t.Setenv("ICHOR_ANALYSIS_BONE_KERNEL", "true")
	if text = ok(t, "select", dir); !strings.Contains(text, "* chosen") || !strings.Contains(text, "warning: ") {
		t.Errorf("of a bone kernel that is allowed:\n%s", text)
	}
}
