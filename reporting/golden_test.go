package reporting_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ichor/pipeline/analysis"
	"ichor/reporting"
	"ichor/reporting/iod"
	"ichor/scp/dcm"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// TestGolden compares the objects with text dumps that a reviewer can read. Clock and source UIDs are fixed.
func TestGolden(t *testing.T) {
	for name, r := range map[string]analysis.Analysis{"hemorrhage": small(bleeds()), "none": small(nil), "refused": refused()} {
		objects := write(t, r, golden())
		if name == "hemorrhage" {
			objects = append(objects, rejection(t, objects))
		}
		for _, o := range objects {
			if !distinct(o) {
				continue
			}
			file := filepath.Join("testdata", name+"-"+strings.NewReplacer("/", "", ".dcm", "").Replace(o.Name)+".txt")
			var got strings.Builder
			dump(&got, read(t, o), 0)
			if o.Kind == reporting.SEG { // the pixels of an SC depend on how floats are rounded, those of a SEG do not
				fmt.Fprintf(&got, "pixel data sha256 %x\n", sha256.Sum256(pixelData(t, o)))
			}
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				continue
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if line := firstDifference(got.String(), string(want)); line != "" {
				t.Errorf("%s differs from %s (go test -update rewrites it):\n%s", o.Name, file, line)
			}
		}
	}
}

// golden are the options under which there is all that can be.
func golden() reporting.Options {
	o := options()
	o.CavitySegment, o.LabelMap = true, true
	return o
}

// distinct leaves out the pages that differ from another one by the slice alone.
func distinct(o reporting.Output) bool {
	return o.Kind != reporting.SC || o.Name == "sc/1.dcm" || o.Name == "sc/2.dcm" || o.Name == "overlay/004.dcm"
}

// rejection is the note that a result was rejected.
func rejection(t *testing.T, objects []reporting.Output) reporting.Output {
	t.Helper()
	var rejected []iod.SeriesReferences
	for _, o := range objects {
		rejected = append(rejected, iod.SeriesReferences{SeriesInstanceUID: o.SeriesInstanceUID,
			Instances: []iod.Reference{{SOPClassUID: o.SOPClassUID, SOPInstanceUID: o.SOPInstanceUID}}})
	}
	o, err := reporting.Rejection(header(), small(nil).Finding.Bundle, rejected, 2, options())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func dump(w *strings.Builder, d *dcm.DataSet, depth int) {
	indent := strings.Repeat("  ", depth)
	for _, e := range d.Elements() {
		if e.VR == "SQ" {
			fmt.Fprintf(w, "%s%s SQ\n", indent, e.Tag)
			for i, it := range d.Sequence(e.Tag) {
				fmt.Fprintf(w, "%s  item %d\n", indent, i+1)
				dump(w, it, depth+2)
			}
			continue
		}
		if v, ok := e.Value.([]string); ok {
			fmt.Fprintf(w, "%s%s %s %q\n", indent, e.Tag, e.VR, strings.Join(v, "\\"))
			continue
		}
		if b, ok := e.Value.([]byte); ok {
			fmt.Fprintf(w, "%s%s %s %d bytes\n", indent, e.Tag, e.VR, len(b))
			continue
		}
		fmt.Fprintf(w, "%s%s %s %v\n", indent, e.Tag, e.VR, e.Value)
	}
}

// pixelData is the value of the last element, cut out of the bytes by its header.
func pixelData(t *testing.T, o reporting.Output) []byte {
	t.Helper()
	i := bytes.LastIndex(o.Bytes, []byte{0xE0, 0x7F, 0x10, 0x00, 'O'})
	if i < 0 {
		t.Fatalf("%s has no pixel data", o.Name)
	}
	return o.Bytes[i+12:]
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		var a, b string
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b || i >= len(g) || i >= len(w) {
			return fmt.Sprintf("line %d\n got  %s\n want %s", i+1, a, b)
		}
	}
	return ""
}
