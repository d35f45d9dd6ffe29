package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/state"
	"ichor/scp/scptest"
)

// TestStorescuToOrthanc is the whole way between foreign peers: dcmtk storescu sends, Orthanc is the destination and
// holds one SEG, one SC series and one SR afterwards. Every object it holds is checked by dciodvfy and read back.
func TestStorescuToOrthanc(t *testing.T) {
	t.Parallel()
	n, dir, sample, received := storescuToOrthanc(t, shippedBundle(t))
	readBack(t, n, dir, sample, received)
}

// TestStorescuToOrthancNNUNet: the same way with a bundle of nnU-Net, which SR and summary name, with its digest.
func TestStorescuToOrthancNNUNet(t *testing.T) {
	t.Parallel()
	bundle := filepath.Join(t.TempDir(), "site-nnunet")
	nnunetBundle(t, bundle, "site-nnunet")
	n, dir, sample, received := storescuToOrthanc(t, bundle)
	readBack(t, n, dir, sample, received)
	used, named := n.Engine().Bundle, 0
	for _, path := range received {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(used.Name+" version "+used.Version)) && bytes.Contains(b, []byte(used.Digest)) {
			named++
		}
	}
	if used.Name != "site-nnunet" || named != len(received) {
		t.Errorf("%d of %d objects name %s and its digest", named, len(received), used.Name)
	}
}

// storescuToOrthanc sends a sample to a node with a bundle, and returns the objects that arrived at Orthanc.
func storescuToOrthanc(t *testing.T, bundle string) (n *node.Node, dir string, sample *synthetic.Study, received []string) {
	storescu := peer(t, "storescu", "dcmtk")
	orthanc := scptest.StartOrthanc(t, map[string]any{
		"DicomCheckCalledAet": true, "DicomAlwaysAllowStore": false, "DicomCheckModalityHost": true,
		"DicomModalities": map[string]any{"ichor": []any{"ICHOR", "127.0.0.1", 11112}},
	})
	c := testConfig(t)
	c.Analysis.Bundle = bundle
	if bundle != shippedBundle(t) {
		c.Analysis.Precision = "auto"
	}
	c.Destinations = []config.Destination{{Name: "orthanc", Address: orthanc.DICOM, AETitle: "ORTHANC"}}
	n = startNode(t, c)
	dir, sample = sampleStudy(t, "mixed")
	host, port, err := net.SplitHostPort(n.Addr())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), storescu, "-aec", "ICHOR", "+sd", "+sp", "*.dcm", host, port, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("storescu: %v\n%s", err, out)
	}
	files, _, err := findDICOM(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := delivered(within(t), n.State(), state.IDOf(files[0].StudyInstanceUID), func() {}); err != nil {
		t.Fatal(err)
	}
	if got := seriesOf(t, orthanc); !slices.Equal(got, []string{"KO", "OT", "OT", "SEG", "SR"}) { // secondary captures and the overlay are OT
		t.Errorf("Orthanc holds series of %v", got)
	}
	received = download(t, orthanc)
	for _, path := range received {
		validate(t, path)
	}
	return n, dir, sample, received
}

// allowedFindings of dciodvfy, each with its reason.
var allowedFindings = []string{
	"Missing attribute Type 2C Conditional Element=<Laterality>", // a false alarm: the head has no laterality (PS3.3 C.7.3.1)
	// The overlay series says where it lies: a Standard Extended SOP Class, as docs/conformance.md states.
	"not present in standard DICOM IOD - (0x0020,0x0032)",
	"not present in standard DICOM IOD - (0x0020,0x0037)",
	"not present in standard DICOM IOD - (0x0020,0x0052)",
	"this is a Standard Extended SOP Class",
}

// validate runs dciodvfy (dicom3tools) over a Part 10 file.
func validate(t *testing.T, path string) {
	t.Helper()
	out, _ := exec.CommandContext(t.Context(), peer(t, "dciodvfy", "dicom3tools"), path).CombinedOutput() // its exit code says nothing
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "Error") && !strings.HasPrefix(line, "Warning") {
			continue
		}
		if !slices.ContainsFunc(allowedFindings, func(a string) bool { return strings.Contains(line, a) }) {
			t.Errorf("dciodvfy %s: %s", filepath.Base(path), strings.TrimSpace(line))
		}
	}
}

// seriesOf returns the modalities of the series that Orthanc holds, sorted.
func seriesOf(t *testing.T, o *scptest.Orthanc) []string {
	t.Helper()
	var all []struct{ MainDicomTags struct{ Modality string } }
	o.JSON("/series?expand", nil, &all)
	var modalities []string
	for _, s := range all {
		modalities = append(modalities, s.MainDicomTags.Modality)
	}
	slices.Sort(modalities)
	return modalities
}

// download fetches every object as Orthanc keeps it.
func download(t *testing.T, o *scptest.Orthanc) []string {
	t.Helper()
	var ids []string
	o.JSON("/instances", nil, &ids)
	if len(ids) < 3 {
		t.Fatalf("Orthanc holds %d objects", len(ids))
	}
	var paths []string
	for i, id := range ids {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.dcm", i))
		if err := os.WriteFile(path, o.Get("/instances/"+id+"/file"), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// readBack lets pydicom and highdicom read the objects that a PACS received of the mixed sample, whose left and right
// differ: masks equal to ours voxel by voxel on the slices they name, on blood and not on its mirror image, and the same
// volumes in the SR as in the SEG.
func readBack(t *testing.T, n *node.Node, dir string, sample *synthetic.Study, objects []string) {
	t.Helper()
	interpreter := python(t)
	study, err := studyFromFiles(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	result, err := n.Engine().Analyzer.Analyze(t.Context(), study)
	if err != nil {
		t.Fatal(err)
	}
	truth, _ := sample.Truth()
	ours, known := filepath.Join(t.TempDir(), "ours.u8"), filepath.Join(t.TempDir(), "truth.u8")
	if err := errors.Join(os.WriteFile(ours, result.Labels.Voxels, 0o644), os.WriteFile(known, truth.Voxels, 0o644)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), interpreter, append([]string{"testdata/readback.py", dir, ours, known}, objects...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
