package reporting_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ichor/models/bundle"
	"ichor/pipeline"
	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/selection"
	"ichor/pipeline/volume"
	"ichor/pipeline/window"
	"ichor/reporting"
	"ichor/scp/dcm"
)

// TestSamples writes the objects of every sample study, as they are analysed or refused by networks that go by density
// alone and so find crumbs of every subtype everywhere. Each object passes dciodvfy and belongs to its study, says who made
// it and with what, and refers to images that are there. highdicom reads the lesions of the finding from the reports.
func TestSamples(t *testing.T) {
	t.Parallel()
	all, err := phantom.Samples()
	if err != nil {
		t.Fatal(err)
	}
	tool, err := exec.LookPath("dciodvfy")
	if err != nil {
		t.Log("dciodvfy is not installed (Debian package dicom3tools): its verdict is not asked for")
	}
	a, root := byDensity(), t.TempDir()
	t.Run("studies", func(t *testing.T) { samples(t, all, a, tool, root) })
	reread(t, root)
}

// reread lets highdicom read the reports below root and compares them with the findings beside them.
func reread(t *testing.T, root string) {
	t.Helper()
	python := os.Getenv("ICHOR_PYTHON")
	if python == "" {
		t.Skip("ICHOR_PYTHON does not name a Python with pydicom and highdicom")
	}
	folders, err := filepath.Glob(filepath.Join(root, "*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("%d folders, %v", len(folders), err)
	}
	if out, err := exec.CommandContext(t.Context(), python, append([]string{"testdata/reread.py", "--findings"}, folders...)...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out) // the last folder it names is the bad one
	}
}

// keep writes the report and the finding to a folder for reread.
func keep(t *testing.T, folder string, objects []reporting.Output, f *finding.Finding) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(folder, "finding.json"), b)
	for _, o := range objects {
		if o.Name == "sr.dcm" {
			put(t, filepath.Join(folder, o.Name), o.Bytes)
		}
	}
}

// TestSides: highdicom reads the side and place of blood in each ventricle, and of a lesion at the midline.
func TestSides(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, sites := range map[string]struct {
		side  finding.Side
		sites []string
	}{
		"left": {finding.Left, []string{finding.LateralVentricle}}, "third": {finding.Midline, []string{finding.ThirdVentricle}},
		"fourth": {finding.Midline, []string{finding.FourthVentricle}}, "cast": {finding.BothSides, []string{finding.LateralVentricle, finding.ThirdVentricle}},
		"unknown": {finding.Right, nil},
	} {
		r := small([]ball{{volume.Vec{20, 0, 0}, 5, finding.IVH, 70}})
		r.Finding.Lesions[0].Side, r.Finding.Lesions[0].Sites = sites.side, sites.sites
		keep(t, filepath.Join(root, name), write(t, r, options()), &r.Finding)
	}
	midline := small([]ball{{volume.Vec{0, 0, 0}, 5, finding.IPH, 70}})
	midline.Finding.Lesions[0].Side, midline.Finding.Lesions[0].Sites = finding.Midline, []string{finding.Frontal}
	keep(t, filepath.Join(root, "midline"), write(t, midline, options()), &midline.Finding)
	reread(t, root)
}

func samples(t *testing.T, all []phantom.Sample, a *pipeline.Analyzer, tool, root string) {
	for _, sample := range all {
		t.Run(sample.Name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if _, err := sample.Write(dir, synthetic.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			paths, err := filepath.Glob(filepath.Join(dir, "*.dcm"))
			if err != nil {
				t.Fatal(err)
			}
			study, there := pipeline.Study{}, map[string]bool{}
			for _, p := range paths {
				study.Objects = append(study.Objects, onDisk(p))
				if raw, err := os.ReadFile(p); err == nil {
					if f, err := dcm.Read(bytes.NewReader(raw), int64(len(raw)), dcm.Limits{}); err == nil {
						there[f.Data.String(dcm.SOPInstanceUID)], study.UID = true, f.Data.String(dcm.StudyInstanceUID)
					}
				}
			}
			r, err := a.Analyze(t.Context(), study)
			if err != nil {
				t.Fatal(err)
			}
			want := sample.Expected
			if slices.Contains([]string{"head-and-neck", "metal", "motion"}, sample.Name) {
				want.Status, want.Code = r.Finding.Status, r.Finding.Code // up to what networks see: cmd/ichor asks the shipped ones
			}
			if r.Finding.Status != want.Status {
				t.Fatalf("%s: %s, want %s", r.Finding.Status, r.Finding.Reason, want.Status)
			}
			o := options()
			o.CavitySegment = true
			objects := write(t, *r, o)
			keep(t, filepath.Join(root, sample.Name), objects, &r.Finding)
			for _, obj := range objects {
				there[obj.SOPInstanceUID] = true
			}
			kinds, last := map[string]int{}, map[string]int{}
			for _, obj := range objects {
				d := read(t, obj)
				series := d.String(dcm.SeriesNumber)
				kinds[series]++
				if n, _ := d.Int(dcm.InstanceNumber); n != last[series]+1 {
					t.Errorf("%s has number %d after %d", obj.Name, n, last[series])
				}
				last[series]++
				belongs(t, obj.Name, d, r)
				for _, uid := range named(d) {
					if !there[uid] {
						t.Errorf("%s refers to %s, which is not there", obj.Name, uid)
					}
				}
				if overlays := strings.HasPrefix(obj.Name, "overlay/"); tool != "" && (!overlays || last[series]%16 == 1) {
					path := filepath.Join(dir, "object")
					put(t, path, obj.Bytes)
					out, _ := exec.Command(tool, path).CombinedOutput()
					for line := range strings.Lines(string(out)) {
						if line = strings.TrimSpace(line); strings.Contains(line, " - ") && !(overlays && slices.Contains(extended(), line)) {
							t.Errorf("%s: %s", obj.Name, line)
						}
					}
				}
			}
			if refused := r.Finding.Status == finding.Refused; refused && (len(objects) != 2 || !bytes.Contains(objects[1].Bytes, []byte("Refusal code: "+want.Code))) {
				t.Errorf("%d objects of a refused study, or the report lacks %s", len(objects), want.Code)
			} else if !refused && (kinds["9001"] != 1 || kinds["9007"] != 1 || kinds["9003"] != 1 || kinds["9005"] != 1 || kinds["9004"] < 20 || kinds["9004"] > 96) {
				t.Errorf("objects by series: %v", kinds)
			}
		})
	}
}

// belongs holds what every object has in common with its study and with the others.
func belongs(t *testing.T, name string, d *dcm.DataSet, r *analysis.Analysis) {
	t.Helper()
	for _, tag := range []dcm.Tag{dcm.StudyInstanceUID, dcm.PatientID, dcm.PatientName, dcm.PatientBirthDate, dcm.AccessionNumber, dcm.StudyDate, dcm.StudyTime, dcm.StudyID} {
		if d.String(tag) != r.Header.String(tag) {
			t.Errorf("%s: %s is %q, in the study %q", name, tag, d.String(tag), r.Header.String(tag))
		}
	}
	made := d.Sequence(dcm.ContributingEquipmentSequence)
	if len(made) != 1 || made[0].String(dcm.ManufacturerModelName) != "by-density" || made[0].String(dcm.SoftwareVersions) != "7" ||
		made[0].String(dcm.DeviceSerialNumber) != r.Finding.Bundle.Digest || !strings.Contains(made[0].String(dcm.ContributionDescription), "bleed_threshold=0.5") {
		t.Errorf("%s does not say which networks made it, and how", name)
	}
	if d.String(dcm.Manufacturer) != "ichor" || !strings.HasSuffix(d.String(dcm.SeriesDescription), "RUO") {
		t.Errorf("%s: made by %q, listed as %q", name, d.String(dcm.Manufacturer), d.String(dcm.SeriesDescription))
	}
}

// named are the instances that a data set refers to, at any depth.
func named(d *dcm.DataSet) (out []string) {
	for _, e := range d.Elements() {
		if e.Tag == dcm.ReferencedSOPInstanceUID {
			out = append(out, d.String(e.Tag))
		}
		for _, item := range d.Sequence(e.Tag) {
			out = append(out, named(item)...)
		}
	}
	return out
}

type onDisk string

func (path onDisk) Open() (pipeline.ObjectReader, error) {
	raw, err := os.ReadFile(string(path))
	return inMemory{bytes.NewReader(raw)}, err
}

type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

// density is a network that knows a pixel by its windowed value alone.
type density struct {
	outputs int
	of      func(v float32, p []float32)
}

const densitySide = 128

func (n density) Run(_ context.Context, in []float32, batch int) ([]float32, error) {
	const size = densitySide * densitySide
	out, answer := make([]float32, batch*n.outputs*size), make([]float32, n.outputs)
	channels := len(in) / (batch * size)
	for b := range batch {
		for p := range size {
			clear(answer)
			n.of(in[(b*channels+channels/2)*size+p], answer)
			for c, y := range answer {
				out[(b*n.outputs+c)*size+p] = y
			}
		}
	}
	return out, nil
}

// byDensity is an analysis that takes for brain what is as dense as it, and for blood what is denser, of one subtype or another.
func byDensity() *pipeline.Analyzer {
	net := func(r bundle.Role, channels int, window [2]float64, post bundle.Post, out ...string) bundle.Network {
		return bundle.Network{Role: r, Threshold: 0.5, Post: post, Output: bundle.Output{Channels: out}, Input: bundle.Input{
			Shape: []int64{-1, int64(channels), densitySide, densitySide}, Neighbours: channels / 2, WindowHU: window, PixelMM: 1.7}}
	}
	post := bundle.Post{LargestComponent: true, FillHoles: true, HURange: &[2]float64{-50, 250}}
	return pipeline.New(pipeline.Options{
		Bundle: &bundle.Bundle{Digest: strings.Repeat("d", 64), Manifest: bundle.Manifest{Name: "by-density", Version: "7", Networks: []bundle.Network{
			net(bundle.CavityTissue, 1, [2]float64{0, 600}, post), net(bundle.CavityBone, 1, [2]float64{150, 650}, post),
			net(bundle.Bleed, 3, [2]float64{-50, 150}, bundle.Post{MinComponentML: 0.05, SubtypePer: "voxel"}, "any", "IPH", "IVH", "SAH", "SDH", "EDH"),
		}}},
		Runs: window.Runs{Batch: 3}, Selection: selection.Options{MinAge: 18},
		CavityTissue: density{1, func(v float32, p []float32) {
			if v > 10.0/600 && v < 0.3 {
				p[0] = 1
			}
		}},
		CavityBone: density{1, func(float32, []float32) {}},
		Bleed: density{6, func(v float32, p []float32) {
			if v > 0.5 && v < 0.7 { // 50 to 90 HU
				p[0], p[1+min(int((v-0.5)*25), 4)] = 1, 1
			}
		}},
	})
}
