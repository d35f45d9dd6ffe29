package main

import (
	"bytes"
	"compress/gzip"
	le "encoding/binary"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// scoreMask is a NIfTI file of bytes with voxels of 1 x 2 x 5 mm (0.01 mL).
func scoreMask(size [3]int, voxels []uint8) []byte {
	f := make([]byte, 352)
	le.LittleEndian.PutUint32(f, 348)
	for i, n := range []int{3, size[0], size[1], size[2]} {
		le.LittleEndian.PutUint16(f[40+2*i:], uint16(n))
	}
	le.LittleEndian.PutUint16(f[70:], 2)
	le.LittleEndian.PutUint16(f[72:], 8)
	for i, mm := range []float32{1, 1, 2, 5} {
		le.LittleEndian.PutUint32(f[76+4*i:], math.Float32bits(mm))
	}
	le.LittleEndian.PutUint32(f[108:], math.Float32bits(352))
	copy(f[344:], "n+1\x00")
	return append(f, voxels...)
}

// scoreTree writes a data set with masks and the results of three of its scans. Scan 1 has 40 voxels of blood in two parts, of which 30
// and 10 others were found; scan 2 has none, and none was found; scan 3 was refused; scan 4 has no result.
func scoreTree(t *testing.T, scan, mask func(n string) string, blood uint8) (results, truth string) {
	t.Helper()
	results, truth = filepath.Join(t.TempDir(), "results"), filepath.Join(t.TempDir(), "set")
	size := [3]int{10, 10, 2}
	put := func(path string, data []byte) {
		t.Helper()
		if strings.HasSuffix(path, ".gz") {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write(data)
			z.Close()
			data = b.Bytes()
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fill := func(v uint8, spans ...[2]int) []byte {
		out := make([]uint8, 200)
		for _, s := range spans {
			for i := s[0]; i < s[1]; i++ {
				out[i] = v
			}
		}
		return scoreMask(size, out)
	}
	for n, m := range map[string][]byte{"1": fill(blood, [2]int{0, 30}, [2]int{170, 180}), "2": fill(0), "3": fill(blood, [2]int{0, 50}), "4": fill(blood, [2]int{0, 9})} {
		put(filepath.Join(truth, scan(n)), fill(0)) // what was analysed
		put(filepath.Join(truth, mask(n)), m)
	}
	for n, m := range map[string][]byte{"1": fill(1, [2]int{0, 30}, [2]int{40, 50}), "2": fill(0), "3": nil} {
		dir := filepath.Join(results, scan(n))
		put(filepath.Join(dir, inputFile), []byte(`{"input":"`+scan(n)+`"}`))
		if m != nil {
			put(filepath.Join(dir, maskFile), m)
		}
	}
	return results, truth
}

// TestScore: hand-computed values on a tree in the layout of each set.
func TestScore(t *testing.T) {
	t.Parallel()
	for _, set := range []struct {
		name       string
		scan, mask func(string) string
	}{
		{"seg-cq500", func(n string) string { return "data/volumes/CQ500-CT-" + n + "/CT.nii" }, func(n string) string { return "data/volumes/CQ500-CT-" + n + "/ICH_mask.nii.gz" }},
		{"hssayeni", func(n string) string { return "ct_scans/06" + n + ".nii" }, func(n string) string { return "masks/06" + n + ".nii" }},
		{"bhsd", func(n string) string { return "label_192/images/ID_" + n + "_ID_9.nii.gz" }, func(n string) string { return "label_192/ground truths/ID_" + n + "_ID_9.nii.gz" }},
		{"instance", func(n string) string { return "train_2/data/00" + n + ".nii.gz" }, func(n string) string { return "train_2/label/00" + n + ".nii.gz" }},
		{"plain", func(n string) string { return "images/head" + n + "_0000.nii.gz" }, func(n string) string { return "masks/head" + n + ".nii.gz" }},
	} {
		t.Run(set.name, func(t *testing.T) {
			t.Parallel()
			results, truth := scoreTree(t, set.scan, set.mask, 2) // in BHSD 2 is IPH, which is 1 in ours
			if set.name == "plain" {
				truth = filepath.Join(truth, "masks")
			}
			code, stdout, stderr := command(t, "score", results, "--truth", truth, "--json")
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			var s scored
			if err := json.Unmarshal([]byte(stdout), &s); err != nil {
				t.Fatal(err)
			}
			if s.Set != set.name || s.Scans != 2 || len(s.Refused) != 1 || len(s.Missing) != 1 || s.Others != 0 {
				t.Fatalf("set %s, %d scans, refused %v, missing %v, others %d", s.Set, s.Scans, s.Refused, s.Missing, s.Others)
			}
			near := func(what string, got, want float64) {
				t.Helper()
				if math.Abs(got-want) > 1e-9 {
					t.Errorf("%s is %g, want %g", what, got, want)
				}
			}
			// TP 30, FP 10, FN 10, epsilon 1; in the scan without blood all three are 1
			near("Dice", s.Summary.Bleeding.Dice.Mean, 61.0/81)
			near("precision", s.Summary.Bleeding.Precision.Mean, 31.0/41)
			near("recall", s.Summary.Bleeding.Recall.Mean, 31.0/41)
			near("Dice of all", s.Summary.All.Dice.Mean, (61.0/81+1)/2)
			near("its SD", s.Summary.All.Dice.SD, (1-61.0/81)/2)
			near("bias", s.Summary.Volumes.BiasML, 0)
			if n := s.Summary.Lesions; n[1].N != 2 || n[1].Found != 1 || s.Summary.Clean != 1 || s.Summary.Normal != 1 {
				t.Errorf("lesions %v, %d of %d normal scans clean", n, s.Summary.Clean, s.Summary.Normal)
			}
			if _, ok := s.Summary.Subtypes["IPH"]; ok != (set.name == "bhsd") {
				t.Errorf("subtypes %v", s.Summary.Subtypes)
			}
			if papers := set.name == "seg-cq500" || set.name == "hssayeni"; (len(s.Paper) > 0) != papers {
				t.Errorf("figures of the paper: %v", s.Paper)
			}
		})
	}
}

// TestScoreRefuses: one line each for what does not fit.
func TestScoreRefuses(t *testing.T) {
	t.Parallel()
	name := func(n string) string { return "masks/" + n + ".nii" }
	results, truth := scoreTree(t, func(n string) string { return "ct_scans/" + n + ".nii" }, name, 1)
	if err := os.WriteFile(filepath.Join(truth, name("1")), scoreMask([3]int{10, 20, 1}, make([]byte, 200)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"another grid", []string{results, "--truth", truth}, 1, "are not of one scan"},
		{"no masks", []string{results, "--truth", t.TempDir()}, 1, "no mask"},
		{"no results", []string{t.TempDir(), "--truth", truth}, 1, "no results"},
		{"no truth", []string{results}, 2, "--truth"},
		{"unknown set", []string{results, "--truth", truth, "--set", "isles"}, 2, "--set must be"},
		{"labels", []string{results, "--truth", truth, "--labels", "1=blood"}, 2, "--labels"},
	} {
		code, _, stderr := command(t, append([]string{"score"}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d: %s", c.name, code, stderr)
		}
	}
}

// TestScoreAsScikitLearn: ratios and standard deviations are those of scikit-learn and numpy, up to epsilon.
func TestScoreAsScikitLearn(t *testing.T) {
	t.Parallel()
	python := os.Getenv("ICHOR_PYTHON")
	if python == "" || exec.CommandContext(t.Context(), python, "-c", "import sklearn, nibabel").Run() != nil {
		t.Skip("ICHOR_PYTHON with scikit-learn is needed")
	}
	results, truth := t.TempDir(), t.TempDir()
	said, err := exec.CommandContext(t.Context(), python, "testdata/score_sklearn.py", results, truth).Output()
	if err != nil {
		t.Fatal(err)
	}
	var want struct{ Dice, Precision, Recall, DiceSD, Bias, Low, High, R float64 }
	if err := json.Unmarshal(said, &want); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command(t, "score", results, "--truth", truth, "--json")
	if code != 0 {
		t.Fatal(stderr)
	}
	var s scored
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		t.Fatal(err)
	}
	g, v := s.Summary.Bleeding, s.Summary.Volumes
	for _, c := range []struct {
		what           string
		got, want, off float64
	}{
		{"Dice", g.Dice.Mean, want.Dice, 1e-4}, {"its SD", g.Dice.SD, want.DiceSD, 1e-4}, {"precision", g.Precision.Mean, want.Precision, 1e-4}, {"recall", g.Recall.Mean, want.Recall, 1e-4},
		{"bias", v.BiasML, want.Bias, 1e-6}, {"lower limit", v.LimitsML[0], want.Low, 1e-6}, {"upper limit", v.LimitsML[1], want.High, 1e-6}, {"r", v.Correlation, want.R, 1e-9},
	} {
		if math.Abs(c.got-c.want) > c.off {
			t.Errorf("%s is %g, want %g", c.what, c.got, c.want)
		}
	}
}
