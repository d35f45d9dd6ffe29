package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
)

// nnunetBundle writes a bundle as `python -m ich bundle --nnunet --subtypes-from ichor-synthetic` does: a small network of nnU-Net
// from the tests of pipeline/nnunet finds the blood, and ours names it.
func nnunetBundle(t testing.TB, dir, name string) {
	t.Helper()
	const tiny = "../../pipeline/nnunet/testdata/bundles/tiny-3d"
	shipped := shippedBundle(t)
	if err := os.CopyFS(dir, os.DirFS(tiny)); err != nil {
		t.Fatal(err)
	}
	manifests := [2]map[string]any{}
	for i, from := range []string{tiny, shipped} {
		b, err := os.ReadFile(filepath.Join(from, "manifest.json"))
		if err := errors.Join(err, json.Unmarshal(b, &manifests[i])); err != nil {
			t.Fatal(err)
		}
	}
	var networks []any
	for _, n := range manifests[1]["networks"].([]any) {
		n := maps.Clone(n.(map[string]any))
		delete(n, "int8")
		if n["role"] == "bleed" {
			n["role"], n["post"] = "subtype", map[string]any{}
		}
		r := n["reference"].(map[string]any)
		for _, file := range []any{n["file"], r["input"], r["output"]} {
			b, err := os.ReadFile(filepath.Join(shipped, file.(string)))
			if err := errors.Join(err, os.WriteFile(filepath.Join(dir, file.(string)), b, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		networks = append(networks, n)
	}
	for _, n := range manifests[0]["networks"].([]any) {
		if n := n.(map[string]any); n["role"] == "bleed" {
			n["post"].(map[string]any)["subtype_per"] = "component"
			networks = append(networks, n)
		}
	}
	manifests[0]["name"], manifests[0]["networks"] = name, networks
	b, err := json.Marshal(manifests[0])
	if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "manifest.json"), b, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// trainer is a machine as docs/train.md takes it for granted: ichor installed with two bundles, and a home with scans.
type trainer struct {
	t                *testing.T
	home, work, path string
}

func newTrainer(t *testing.T) *trainer {
	t.Helper()
	dir := t.TempDir()
	w := &trainer{t, filepath.Join(dir, "home"), filepath.Join(dir, "work"), filepath.Join(dir, "prefix", "bin", "ichor")}
	bundles := filepath.Join(dir, "prefix", "share", "ichor", "bundles")
	head, err := phantom.Load("epidural")
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write(niftiOf(head))
	err = errors.Join(err, z.Close(), os.MkdirAll(filepath.Dir(w.path), 0o755), os.Link(binary, w.path), os.MkdirAll(bundles, 0o755),
		os.Symlink(shippedBundle(t), filepath.Join(bundles, "ichor-synthetic")), os.MkdirAll(filepath.Join(w.home, "bundles"), 0o755),
		os.Symlink(shippedBundle(t), filepath.Join(w.home, "bundles", "ours")), head.Write(filepath.Join(w.work, "study"), synthetic.WriteOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	nnunetBundle(t, filepath.Join(bundles, "site-nnunet"), "site-nnunet")
	for _, name := range []string{"site-nnunet", "cerebral-bleed"} {
		if err := os.Symlink(filepath.Join(bundles, "site-nnunet"), filepath.Join(w.home, "bundles", name)); err != nil {
			t.Fatal(err)
		}
	}
	truth, _ := head.Truth()
	size := [3]int{head.Columns, head.Rows, len(head.HU) / head.Columns / head.Rows}
	for name, b := range map[string][]byte{"scans/head1.nii.gz": packed.Bytes(), "data/Seg-CQ500/data/volumes/CQ500-CT-1/CT.nii": niftiOf(head),
		"data/Seg-CQ500/data/volumes/CQ500-CT-1/ICH_mask.nii": scoreMask(size, truth.Voxels)} {
		path := filepath.Join(w.home, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// run runs a program to its end and returns what it printed.
func (w *trainer) run(dir, program string, args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+w.home, "XDG_STATE_HOME="+filepath.Join(w.home, "state"), "ICHOR_ANALYSIS_LIBRARY="+library(w.t), "ICHOR_ANALYSIS_PRECISION=auto")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (w *trainer) bundleOf(results string) string {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(results, "finding.json"))
	var f finding.Finding
	if err := errors.Join(err, json.Unmarshal(b, &f)); err != nil {
		w.t.Fatal(err)
	}
	if f.Status != finding.Analyzed {
		w.t.Fatalf("%s: %s", f.Status, f.Reason)
	}
	return f.Bundle.Name
}

// TestTrainDoc runs every `ichor` command of docs/train.md in order, and what it says about names of installed bundles. The
// commands of the training package: models/training/tests/test_train_doc.py.
func TestTrainDoc(t *testing.T) {
	t.Parallel()
	w := newTrainer(t)
	text, err := os.ReadFile("../../docs/train.md")
	if err != nil {
		t.Fatal(err)
	}
	ran, code := 0, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if args, ok := strings.CutPrefix(line, "ichor "); ok && code {
			said := w.run(w.work, w.path, strings.Fields(strings.ReplaceAll(args, "~/", w.home+"/"))...)
			if ran++; strings.Contains(line, " score ") && !strings.Contains(said, "seg-cq500: 1 scans scored") {
				t.Errorf("%s: %s", line, said)
			}
		}
	}
	if ran < 7 {
		t.Fatalf("%d commands", ran)
	}
	if got := w.bundleOf(filepath.Join(w.work, "results")); got != "site-nnunet" {
		t.Errorf("analysed by %s", got)
	}
	if pictures, err := filepath.Glob(filepath.Join(w.work, "pictures", "*.png")); err != nil || len(pictures) != 1 {
		t.Errorf("pictures %v %v", pictures, err)
	}
	for _, name := range []string{"ichor-synthetic", "site-nnunet"} {
		if said := w.run(w.work, w.path, "models", "list", "--installed"); !strings.Contains(said, name) {
			t.Errorf("%s is not listed:\n%s", name, said)
		}
		config, state, results := filepath.Join(w.work, name+".yaml"), filepath.Join(w.work, name), filepath.Join(w.work, name+"-results")
		if err := os.WriteFile(config, []byte("state: "+state+"\nanalysis:\n  bundle: "+name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		w.run(w.work, w.path, "analyze", "study", "--config", config, "--out", results)
		if got := w.bundleOf(results); got != name {
			t.Errorf("analysis.bundle %s: analysed by %s", name, got)
		}
		w.run(w.work, w.path, "models", "use", name, "--state", state)
		if said := w.run(w.work, w.path, "models", "use", "--history", "--state", state); !strings.Contains(said, name) {
			t.Errorf("models use %s: history is %q", name, said)
		}
	}
}

// TestPseudoLabelsOfResults: what `ichor analyze --all` found with a bundle of nnU-Net becomes a data set, the same for a head in
// NIfTI and in DICOM.
func TestPseudoLabelsOfResults(t *testing.T) {
	t.Parallel()
	interpreter := python(t)
	w := newTrainer(t)
	head, err := phantom.Load("epidural")
	if err := errors.Join(err, head.Write(filepath.Join(w.home, "scans", "head2"), synthetic.WriteOptions{})); err != nil {
		t.Fatal(err)
	}
	training, results, pseudo := absolute(t, "../../models/training"), filepath.Join(w.home, "results"), filepath.Join(w.home, "pseudo")
	w.run(w.work, w.path, "analyze", "--all", filepath.Join(w.home, "scans"), "--bundle", "site-nnunet", "--out", results)
	if said := w.run(training, interpreter, "-m", "ich", "pseudo", "label", "--results", results, "--scans", filepath.Join(w.home, "scans"), "--out", pseudo); !strings.Contains(said, "head1: ") || !strings.Contains(said, "head2: ") {
		t.Errorf("label: %s", said)
	}
	if err := os.WriteFile(filepath.Join(pseudo, "answers.json"), []byte(`{"head1": true, "head2": true}`), 0o644); err != nil {
		t.Fatal(err)
	}
	w.run(training, interpreter, "-m", "ich", "pseudo", "write", pseudo, "--nnunet", filepath.Join(w.home, "Dataset951_Pseudo"))
	set := filepath.Join(w.home, "Dataset951_Pseudo")
	for _, pair := range [][2]string{{"imagesTr/head1_0000.nii.gz", "imagesTr/head2_0000.nii.gz"}, {"labelsTr/head1.nii.gz", "labelsTr/head2.nii.gz"}} {
		if one, two := unpacked(t, filepath.Join(set, pair[0])), unpacked(t, filepath.Join(set, pair[1])); !bytes.Equal(one, two) || len(one) < 1<<20 {
			t.Errorf("%s and %s differ (%d and %d bytes)", pair[0], pair[1], len(one), len(two))
		}
	}
	if !isFile(filepath.Join(set, "dataset.json")) {
		t.Error("dataset.json is missing")
	}
}

// unpacked is the content of a gzip file.
func unpacked(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
