package main

import (
	little "encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/pipeline"
	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// looked is what the shipped networks say of the files of one head.
func looked(t *testing.T, e *node.Engine, files []string) *analysis.Analysis {
	t.Helper()
	var in pipeline.Study
	for _, path := range slices.Backward(files) {
		in.Objects = append(in.Objects, dicomFile{path: path})
	}
	r, err := e.Analyzer.Analyze(t.Context(), in)
	if err != nil || r.Finding.Status != finding.Analyzed || len(r.Finding.Lesions) == 0 {
		t.Fatalf("%v %+v", err, r)
	}
	return r
}

// sameLesions reports by how much the volumes of two analyses differ at most (of all blood, of each of the lesions of 5 mL and more that
// want has, of each subtype, of the cavity), and how far a lesion lies from where it was. Of a subtype 1 mL is as good as none: where two
// meet, the network may name a sliver of it after either, and another cut of the head is another sliver.
func sameLesions(got, want *analysis.Analysis) (share, mm float64) {
	differs := func(got, want float64) { share = math.Max(share, math.Abs(got-want)/want) }
	differs(got.Finding.Volumes.Total, want.Finding.Volumes.Total)
	differs(got.Finding.CavityML, want.Finding.CavityML)
	for _, s := range finding.Subtypes {
		a, b := got.Finding.Volumes.Of(s), want.Finding.Volumes.Of(s)
		if math.Abs(a-b) > 1 {
			differs(a, b)
		}
	}
	for _, l := range want.Finding.Lesions {
		if l.VolumeML < 5 {
			continue
		}
		far, ml := math.Inf(1), 0.0
		for _, m := range got.Finding.Lesions {
			if d := volume.Vec(m.CentroidMM).Sub(l.CentroidMM).Length(); m.Subtype == l.Subtype && d < far {
				far, ml = d, m.VolumeML
			}
		}
		differs(ml, l.VolumeML)
		mm = math.Max(mm, far)
	}
	return share, mm
}

func filesOf(t *testing.T, data ...*dcm.DataSet) (paths []string) {
	t.Helper()
	dir := t.TempDir()
	for i, d := range data {
		path := filepath.Join(dir, strconv.Itoa(i))
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(dcm.WriteFile(f, dcm.FileMeta{}, d), f.Close()); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func sent(t *testing.T, s *synthetic.Study, edit func(k int, d *dcm.DataSet)) []string {
	data, _ := s.DataSets(synthetic.WriteOptions{Edit: edit})
	return filesOf(t, data...)
}

func framed(t *testing.T, s *synthetic.Study, legacy bool) []string {
	d, _ := s.Enhanced(synthetic.EnhancedOptions{Legacy: legacy})
	return filesOf(t, d)
}

// compare checks each head of cases against want and logs how far the worst of them was off.
func compare(t *testing.T, look func(*testing.T, []string) *analysis.Analysis, want *analysis.Analysis, share, mm float64, cases map[string]func(t *testing.T) []string) {
	var worst, farthest float64
	for name, files := range cases {
		t.Run(name, func(t *testing.T) {
			got := look(t, files(t))
			off, far := sameLesions(got, want)
			worst, farthest = math.Max(worst, off), math.Max(farthest, far)
			t.Logf("%.2f %% and %.2f mm off", 100*off, far)
			if off > share || far > mm {
				t.Errorf("%+v, cavity %.0f mL, %+v\nnot %+v, %.0f mL, %+v", *got.Finding.Volumes, got.Finding.CavityML, got.Finding.Lesions,
					*want.Finding.Volumes, want.Finding.CavityML, want.Finding.Lesions)
			}
		})
	}
	t.Logf("at most %.3f %% and %.3f mm off", 100*worst, farthest)
}

// The shipped networks say the same of a head however its voxels are numbered and written.
func TestNetworksSeeRelabelled(t *testing.T) {
	t.Parallel()
	e := shippedEngine(t)
	s, err := phantom.Load("mixed")
	if err != nil {
		t.Fatal(err)
	}
	s = s.Matrix(256, 256, [2]float64{0.94, 0.94})
	first := sent(t, s, nil)
	turned := func(turn synthetic.Turn) func(*testing.T) []string {
		return func(t *testing.T) []string { return sent(t, s.Turned(turn), nil) }
	}
	edited := func(edit func(k int, d *dcm.DataSet)) func(*testing.T) []string {
		return func(t *testing.T) []string { return sent(t, s, edit) }
	}
	coded := func(command ...string) func(*testing.T) []string {
		return func(t *testing.T) (paths []string) {
			peer(t, command[0], "dcmtk")
			dir := t.TempDir()
			for i, in := range first {
				paths = append(paths, filepath.Join(dir, strconv.Itoa(i)))
				if said, err := exec.CommandContext(t.Context(), command[0], append(command[1:], in, paths[i])...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %v %s", command, err, said)
				}
			}
			return paths
		}
	}
	look := func(t *testing.T, files []string) *analysis.Analysis { return looked(t, e, files) }
	compare(t, look, look(t, first), 0.005, 0.1, map[string]func(*testing.T) []string{
		"rows mirrored":      turned(synthetic.Turn{Rows: true}),
		"half a turn":        turned(synthetic.Turn{Rows: true, Columns: true}),
		"transposed":         turned(synthetic.Turn{Swap: true}),
		"a quarter":          turned(synthetic.Turn{Swap: true, Rows: true}),
		"a quarter back":     turned(synthetic.Turn{Swap: true, Columns: true}),
		"feet first":         turned(synthetic.Turn{Columns: true}),
		"numbered otherwise": edited(func(k int, d *dcm.DataSet) { d.SetStrings(dcm.InstanceNumber, "IS", strconv.Itoa(500-k*7%13)) }),
		"signed":             edited(func(_ int, d *dcm.DataSet) { asSigned(d) }),
		"padded":             edited(func(_ int, d *dcm.DataSet) { padded(d) }),
		"enhanced":           func(t *testing.T) []string { return framed(t, s, false) },
		"legacy converted, feet first": func(t *testing.T) []string {
			return framed(t, s.FeetFirst(), true)
		},
		"JPEG lossless": coded("dcmcjpeg", "+e1"),
		"JPEG-LS":       coded("dcmcjpls"),
		"RLE":           coded("dcmcrle"),
		"deflated":      coded("dcmconv", "+td"),
		"implicit VR":   coded("dcmconv", "+ti"),
		"big endian":    coded("dcmconv", "+tb"),
	})
}

// clots puts the lesions of each ball together under its name. A ball lies in a head without anatomy: the networks may give
// parts of it another name, and each cut of the head moves the seam between the parts.
func clots(a *analysis.Analysis, balls []synthetic.Ball) *analysis.Analysis {
	out := *a
	out.Finding.Volumes = &finding.Volumes{Total: a.Finding.Volumes.Total}
	out.Finding.Lesions = make([]finding.Lesion, len(balls))
	for _, l := range a.Finding.Lesions {
		at := volume.Vec(l.CentroidMM)
		near := 0
		for i, b := range balls {
			if at.Sub(b.CentreMM).Length() < at.Sub(balls[near].CentreMM).Length() {
				near = i
			}
		}
		clot := &out.Finding.Lesions[near]
		clot.Subtype = balls[near].Subtype
		for k, x := range l.CentroidMM {
			clot.CentroidMM[k] = (clot.CentroidMM[k]*clot.VolumeML + x*l.VolumeML) / (clot.VolumeML + l.VolumeML)
		}
		clot.VolumeML += l.VolumeML
	}
	return &out
}

// The shipped networks find each bleed of a head with its volume and in its place, however the scanner cuts the head. It is rendered
// anew on each grid.
func TestNetworksSeeResampled(t *testing.T) {
	t.Parallel()
	e := shippedEngine(t)
	shape := func() synthetic.Shape {
		return synthetic.Shape{Balls: []synthetic.Ball{{Subtype: finding.IPH, CentreMM: volume.Vec{-25, -15, 12}, RadiusMM: 20},
			{Subtype: finding.IPH, CentreMM: volume.Vec{28, 25, -10}, RadiusMM: 15}}}
	}
	stack := func(edit func(*synthetic.Shape)) func(*testing.T) []string {
		return func(t *testing.T) []string {
			sh := shape()
			edit(&sh)
			return sent(t, synthetic.Head(sh), nil)
		}
	}
	matrix := func(rows, columns int, rowMM, columnMM float64) func(*testing.T) []string {
		return stack(func(sh *synthetic.Shape) {
			sh.Rows, sh.Columns, sh.RowSpacingMM, sh.PixelSpacingMM = rows, columns, rowMM, columnMM
		})
	}
	// The table moves along the patient: a tilted stack is sheared.
	cut := func(degrees float64, at ...float64) func(*testing.T) []string {
		return stack(func(sh *synthetic.Shape) {
			sin, cos := math.Sincos(degrees * math.Pi / 180)
			sh.Orientation = [6]float64{1, 0, 0, 0, cos, sin}
			for _, z := range at {
				sh.PositionsMM = append(sh.PositionsMM, volume.Vec{-108, -108 * cos, z/cos - 108*sin})
			}
		})
	}
	// Large matrices are made of 256 x 256 pixels, each several times.
	finer := func(n int) func(*testing.T) []string {
		return func(t *testing.T) []string {
			sh := shape()
			sh.Rows, sh.Columns, sh.PixelSpacingMM = 256, 256, 0.85
			return sent(t, finer(synthetic.Head(sh), n), nil)
		}
	}
	cases := map[string]func(*testing.T) []string{
		"slices of 2.5 mm":          cut(0, steps(-78, 78, 2.5)...),
		"slices of 3 mm":            cut(0, steps(-78, 78, 3)...),
		"slices of 1.25 mm":         cut(0, steps(-78, 78, 1.25)...),
		"slices of 0.625 mm":        cut(0, steps(-78, 78, 0.625)...),
		"4.0, 1.08 and 7.0 mm":      cut(0, steps(-78, 78, 4, 1.08, 7)...),
		"1.25 mm below, 5 mm above": cut(0, append(steps(-78, -3, 1.25), steps(0.75, 78, 5)...)...),
		"2.5 mm below, 5 mm above":  cut(0, append(steps(-78, -3, 2.5), steps(2, 78, 5)...)...),
		"511 x 511":                 matrix(511, 511, 0.425, 0.425),
		"768 x 768":                 finer(3),
		"1024 x 1024":               finer(4),
		"flat pixels":               matrix(360, 180, 0.6, 1.2),
		"tall pixels":               matrix(180, 360, 1.2, 0.6),
		"a field of view of 180 mm": matrix(256, 256, 0.7, 0.7),
		"a field of view of 500 mm": matrix(512, 512, 0.98, 0.98),
		"rolled by 20 degrees": stack(func(sh *synthetic.Shape) {
			sin, cos := math.Sincos(20 * math.Pi / 180)
			sh.Orientation = [6]float64{cos, sin, 0, -sin, cos, 0}
		}),
	}
	for _, degrees := range []float64{-30, -18.5, -10, 10, 18.5, 30} {
		cases[fmt.Sprintf("tilted by %g degrees", degrees)] = cut(degrees, steps(-125, 125, 5)...)
	}
	look := func(t *testing.T, files []string) *analysis.Analysis {
		return clots(looked(t, e, files), shape().Balls)
	}
	compare(t, look, look(t, sent(t, synthetic.Head(shape()), nil)), 0.1, 1.5, cases)
}

// Each study of the sample set ends as it says through the whole analysis: refused for the right reason, or analysed from the right
// series, with the blood that is in it.
func TestNetworksSeeSamples(t *testing.T) {
	t.Parallel()
	e := shippedEngine(t)
	all, err := phantom.Samples()
	if err != nil {
		t.Fatal(err)
	}
	for _, sample := range all {
		t.Run(sample.Name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if _, err := sample.Write(dir, synthetic.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(filepath.Join(dir, "truth.json"))
			if err != nil {
				t.Fatal(err)
			}
			var truth phantom.Truth
			if err := json.Unmarshal(raw, &truth); err != nil {
				t.Fatal(err)
			}
			study, err := studyFromFiles(t.Context(), dir, "")
			if err != nil {
				t.Fatal(err)
			}
			r, err := e.Analyzer.Analyze(t.Context(), study)
			if err != nil {
				t.Fatal(err)
			}
			f := r.Finding
			if f.Status != sample.Expected.Status || f.Code != sample.Expected.Code {
				t.Fatalf("%s %s: %s; want %s", f.Status, f.Code, f.Reason, sample.Expected)
			}
			if f.Status == finding.Refused {
				return
			}
			if f.Series.SeriesInstanceUID != truth.SeriesInstanceUID {
				t.Errorf("another series was read: %+v", f.Candidates)
			}
			want := truth.TruthML.Total
			t.Logf("%.1f mL of %.1f, cavity %.0f of %.0f; %q", f.Volumes.Total, want, f.CavityML, truth.CavityML, f.Warnings)
			if math.Abs(f.Volumes.Total-want) > 0.12*want || math.Abs(f.CavityML-truth.CavityML) > 0.06*truth.CavityML {
				t.Errorf("%.1f mL of %.1f, cavity %.0f of %.0f", f.Volumes.Total, want, f.CavityML, truth.CavityML)
			}
		})
	}
}

func shippedEngine(t *testing.T) *node.Engine {
	t.Helper()
	e, err := node.OpenEngine(t.Context(), config.Analysis{Bundle: shippedBundle(t), Library: library(t), Provider: "cpu", Precision: "int8", OperatingPoint: "balanced", Workers: 1, MinAge: 18})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// finer has n x n pixels in the place of each.
func finer(s *synthetic.Study, n int) *synthetic.Study {
	out, g := *s, s.Grid()
	out.Rows, out.Columns, out.PixelSpacingMM = n*s.Rows, n*s.Columns, [2]float64{s.PixelSpacingMM[0] / float64(n), s.PixelSpacingMM[1] / float64(n)}
	corner := (float64(n) - 1) / 2 / float64(n) // of a pixel
	out.PositionsMM, out.HU, out.Labels = nil, nil, nil
	for k := range g.Slices() {
		out.PositionsMM = append(out.PositionsMM, g.Point(k, -corner, -corner))
		for r := range out.Rows {
			row := (k*s.Rows + r/n) * s.Columns
			for c := range s.Columns {
				out.HU = append(out.HU, slices.Repeat(s.HU[row+c:row+c+1], n)...)
				out.Labels = append(out.Labels, slices.Repeat(s.Labels[row+c:row+c+1], n)...)
			}
		}
	}
	return &out
}

// steps go from at to end by the given mm in turn.
func steps(at, end float64, mm ...float64) (out []float64) {
	for k := 0; at <= end; k++ {
		out = append(out, at)
		at += mm[k%len(mm)]
	}
	return out
}

// rewrite changes the stored pixels of a header.
func rewrite(d *dcm.DataSet, change func(i int, v uint16) uint16) {
	e, _ := d.Get(dcm.PixelData)
	raw := slices.Clone(e.Value.([]byte))
	for i := 0; i < len(raw); i += 2 {
		little.LittleEndian.PutUint16(raw[i:], change(i/2, little.LittleEndian.Uint16(raw[i:])))
	}
	d.SetBytes(dcm.PixelData, "OW", raw)
}

// asSigned writes the same densities as signed values of 16 bits.
func asSigned(d *dcm.DataSet) {
	rewrite(d, func(_ int, v uint16) uint16 { return v - 1024 })
	d.SetInts(dcm.PixelRepresentation, "US", 1)
	d.SetInts(dcm.BitsStored, "US", 16)
	d.SetInts(dcm.HighBit, "US", 15)
	d.SetDecimals(dcm.RescaleIntercept, 0)
}

// padded has the corners outside the circle of reconstruction at -2000 HU, and says so.
func padded(d *dcm.DataSet) {
	asSigned(d)
	rows, _ := d.Int(dcm.Rows)
	columns, _ := d.Int(dcm.Columns)
	rewrite(d, func(i int, v uint16) uint16 {
		if y, x := float64(i/columns)-float64(rows)/2, float64(i%columns)-float64(columns)/2; math.Hypot(y, x) > float64(rows)/2 {
			return 0xF830 // -2000
		}
		return v
	})
	d.SetInts(dcm.PixelPaddingValue, "SS", -2000)
}
