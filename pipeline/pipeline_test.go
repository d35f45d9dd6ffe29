package pipeline

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"ichor/models/bundle"
	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/volume"
	"ichor/pipeline/window"
	"ichor/scp/dcm"
)

// memory is an object in memory; fail makes Open fail.
type memory struct {
	data []byte
	fail error
}

type memoryReader struct{ *bytes.Reader }

func (memoryReader) Close() error { return nil }

func (m memory) Open() (ObjectReader, error) {
	if m.fail != nil {
		return nil, m.fail
	}
	return memoryReader{bytes.NewReader(m.data)}, nil
}

const side = 128

// byValue is a network that knows tissue by its windowed value alone: it answers what of says for each pixel of the
// middle channel, given the value and whether the pixel lies on the patient's left.
type byValue struct {
	outputs int
	of      func(v float32, left bool, p []float32) // into p, one value an output
}

func (n byValue) Run(ctx context.Context, in []float32, batch int) ([]float32, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := make([]float32, batch*n.outputs*side*side)
	channels := len(in) / (batch * side * side)
	answer := make([]float32, n.outputs)
	for b := range batch {
		for p := range side * side {
			x := in[(b*channels+channels/2)*side*side+p]
			n.of(x, p%side >= side/2, answer)
			for c, y := range answer {
				out[(b*n.outputs+c)*side*side+p] = y
			}
		}
	}
	return out, nil
}

func step01(yes bool) float32 {
	if yes {
		return 1
	}
	return 0
}

// analyzer has networks that read the analytic head: brain and blood by HU, the subtype by side.
func analyzer() *Analyzer {
	net := func(r bundle.Role, channels int, lo, hi float64, post bundle.Post, out ...string) bundle.Network {
		return bundle.Network{Role: r, Threshold: 0.5, Post: post, Output: bundle.Output{Channels: out}, Input: bundle.Input{Shape: []int64{-1, int64(channels), side, side},
			Neighbours: channels / 2, WindowHU: [2]float64{lo, hi}, PixelMM: 1.7}}
	}
	post := bundle.Post{LargestComponent: true, FillHoles: true, HURange: &[2]float64{-50, 250}}
	b := &bundle.Bundle{Digest: "d", Manifest: bundle.Manifest{Name: "fake", Version: "1", Networks: []bundle.Network{
		net(bundle.CavityTissue, 1, 0, 600, post), net(bundle.CavityBone, 1, 150, 650, post),
		net(bundle.Bleed, 3, -50, 150, bundle.Post{MinComponentML: 0.3, SubtypePer: "component"}, "any", "IPH", "IVH", "SAH", "SDH", "EDH"),
	}}}
	return New(Options{Bundle: b, Runs: window.Runs{Batch: 3, Lanes: 2},
		CavityTissue: byValue{1, func(v float32, _ bool, p []float32) { p[0] = step01(v > 10.0/600 && v < 0.3) }},
		CavityBone:   byValue{1, func(float32, bool, []float32) {}},
		Bleed: byValue{6, func(v float32, left bool, p []float32) {
			p[0] = step01(v > 0.5 && v < 0.65) // 50 to 80 HU
			p[finding.IPH], p[finding.SDH] = step01(!left), step01(left)
		}},
	})
}

// TestAnalyzeWithoutSubtypes runs a bleed network of one output, as the paper's.
func TestAnalyzeWithoutSubtypes(t *testing.T) {
	t.Parallel()
	a := analyzer()
	n := a.o.Bundle.Network(bundle.Bleed)
	n.Output.Channels, n.Post.SubtypePer = n.Output.Channels[:1], ""
	a.o.Bleed = byValue{1, func(v float32, _ bool, p []float32) { p[0] = step01(v > 0.5 && v < 0.65) }}
	s := synthetic.Head(shape())
	r, err := a.Analyze(context.Background(), study(t, s, nil))
	if err != nil {
		t.Fatal(err)
	}
	f := r.Finding
	near(t, "total", f.Volumes.Total, s.TruthML.Total, 0.06)
	if f.Volumes.ICH != f.Volumes.Total || f.Volumes.IPH != 0 || len(f.Lesions) != 2 || f.Lesions[0].Subtype != finding.ICH ||
		!f.Volumes.Untold || !f.Range.Low.Untold || !f.Range.High.Untold {
		t.Errorf("%+v %+v %+v", f.Volumes, f.Range, f.Lesions)
	}
	if len(f.Warnings) != 1 || !strings.Contains(f.Warnings[0], "subtype") {
		t.Errorf("warnings %q", f.Warnings)
	}
}

// shape has an IPH on the patient's right and an SDH on the left.
func shape() synthetic.Shape {
	return synthetic.Shape{Balls: []synthetic.Ball{
		{Subtype: finding.IPH, CentreMM: volume.Vec{-30, 10, 5}, RadiusMM: 20},
		{Subtype: finding.SDH, CentreMM: volume.Vec{25, -30, -10}, RadiusMM: 15},
	}}
}

func study(t *testing.T, s *synthetic.Study, edit func(k int, d *dcm.DataSet)) Study {
	t.Helper()
	files, truth := s.DataSets(synthetic.WriteOptions{Edit: edit})
	out := Study{UID: truth.StudyInstanceUID, Complete: "quiet"}
	for _, d := range files {
		out.Objects = append(out.Objects, memory{data: encode(t, d)})
	}
	return out
}

func encode(t *testing.T, d *dcm.DataSet) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := dcm.WriteFile(&b, dcm.FileMeta{}, d); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func near(t *testing.T, what string, got, want, share float64) {
	t.Helper()
	if math.Abs(got-want) > share*want {
		t.Errorf("%s is %.2f, want %.2f", what, got, want)
	}
}

func TestAnalyze(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(shape())
	in := study(t, s, nil)
	rand.Shuffle(len(in.Objects), func(i, j int) { in.Objects[i], in.Objects[j] = in.Objects[j], in.Objects[i] })
	r, err := analyzer().Analyze(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	f := r.Finding
	if f.Status != finding.Analyzed || f.Complete != "quiet" || f.Study.StudyInstanceUID != in.UID || f.Bundle.Digest != "d" || f.Disclaimer == "" {
		t.Fatalf("%+v", f)
	}
	if f.Series.Slices != 32 || f.Series.SpacingMM != [3]float64{1.7, 1.7, 5} || f.Series.TiltDeg > 1e-9 || len(f.Warnings) != 0 {
		t.Errorf("%+v %q", f.Series, f.Warnings)
	}
	near(t, "cavity", f.CavityML, s.CavityML, 0.03)
	near(t, "total", f.Volumes.Total, s.TruthML.Total, 0.06)
	near(t, "IPH", f.Volumes.IPH, s.TruthML.IPH, 0.06)
	near(t, "SDH", f.Volumes.SDH, s.TruthML.SDH, 0.06)
	if len(f.Lesions) != 2 || f.Lesions[0].Subtype != finding.IPH {
		t.Fatalf("%+v", f.Lesions)
	}
	for i, want := range []volume.Vec{{-30, 10, 5}, {25, -30, -10}} {
		if d := volume.Vec(f.Lesions[i].CentroidMM).Sub(want).Length(); d > 1 {
			t.Errorf("lesion %d lies at %v, want %v", i, f.Lesions[i].CentroidMM, want)
		}
	}
	near(t, "diameter", f.Lesions[0].MaxDiameterMM, 40, 0.08)
	for _, stage := range []string{"read", "selection", "volume", "cavity", "quality", "bleed", "measure"} {
		if _, ok := f.TimingMS[stage]; !ok {
			t.Errorf("no time for %s", stage)
		}
	}
	if len(r.Volume.Sources) != 32 || r.Header == nil || r.Labels.Slices() != 32 || r.Cavity.Slices() != 32 {
		t.Error("result is not whole")
	}
}

// However rows and columns run, whichever way the patient lies, tilted or not: the same head gives the same volumes,
// and right stays right.
func TestAnalyzeTurned(t *testing.T) {
	t.Parallel()
	// The fake bleed network tells sides apart by the middle of its image, which is where the bone is centred.
	for name, o := range map[string][6]float64{
		"columns mirrored": {-1, 0, 0, 0, 1, 0}, "rows mirrored": {1, 0, 0, 0, -1, 0}, "both": {-1, 0, 0, 0, -1, 0},
		"transposed": {0, 1, 0, 1, 0, 0}, "turned": {0, -1, 0, 1, 0, 0}, "turned back": {0, 1, 0, -1, 0, 0},
		"tilted by 15 degrees": {1, 0, 0, 0, 0.9659258, 0.2588190}, "rolled by 10 degrees": {0.9848078, 0.1736482, 0, -0.1736482, 0.9848078, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sh := shape()
			sh.Orientation = o
			s := synthetic.Head(sh)
			r, err := analyzer().Analyze(context.Background(), study(t, s, nil))
			if err != nil || r.Finding.Status != finding.Analyzed {
				t.Fatalf("%v %+v", err, r)
			}
			near(t, "cavity", r.Finding.CavityML, s.CavityML, 0.03)
			near(t, "IPH", r.Finding.Volumes.IPH, s.TruthML.IPH, 0.06)
			near(t, "SDH", r.Finding.Volumes.SDH, s.TruthML.SDH, 0.06)
			for _, l := range r.Finding.Lesions {
				if (l.CentroidMM[0] < 0) != (l.Subtype == finding.IPH) {
					t.Errorf("%s lies at %v", l.Subtype, l.CentroidMM)
				}
			}
		})
	}
}

// The gantry of a tilted scan moves the table along its axis: the stack is sheared, and volumes stay what they are.
func TestAnalyzeTiltedUnevenGantry(t *testing.T) {
	t.Parallel()
	sin, cos := math.Sincos(18.5 * math.Pi / 180)
	sh := shape()
	sh.Orientation = [6]float64{1, 0, 0, 0, cos, sin}
	z := -90.0
	for z < 85 {
		sh.PositionsMM = append(sh.PositionsMM, volume.Vec{-108, -108 * cos, z / cos})
		z += map[bool]float64{true: 2.5, false: 5}[z < -20]
	}
	s := synthetic.Head(sh)
	r, err := analyzer().Analyze(context.Background(), study(t, s, func(_ int, d *dcm.DataSet) {
		d.SetDecimals(dcm.SliceThickness, 5)
		d.SetDecimals(dcm.GantryDetectorTilt, -18.5)
	}))
	if err != nil || r.Finding.Status != finding.Analyzed {
		t.Fatalf("%v %+v", err, r.Finding)
	}
	near(t, "tilt", r.Finding.Series.TiltDeg, 18.5, 0.001)
	near(t, "IPH", r.Finding.Volumes.IPH, 4.0/3*math.Pi*8, 0.06)
	near(t, "cavity", r.Finding.CavityML, 4.0/3*math.Pi*65*77*64.7/1000, 0.05)
}

func TestAnalyzeRefuses(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(shape())
	quiet := func(d *dcm.DataSet) { // nothing says head
		for _, tag := range []dcm.Tag{dcm.BodyPartExamined, dcm.StudyDescription, dcm.SeriesDescription, dcm.ProtocolName} {
			d.Delete(tag)
		}
	}
	for _, c := range []struct {
		name  string
		edit  func(k int, d *dcm.DataSet)
		after func(*Study)
		code  string
	}{
		{"no objects", nil, func(s *Study) { s.Objects = nil }, finding.NoHeadCT},
		{"one slice", nil, func(s *Study) { s.Objects = s.Objects[:1] }, finding.TooFewSlices},
		{"no skull", func(_ int, d *dcm.DataSet) {
			quiet(d)
			d.SetDecimals(dcm.RescaleSlope, 0.5)
		}, nil, finding.NotHounsfield},
		{"all bone", func(_ int, d *dcm.DataSet) { d.SetDecimals(dcm.RescaleIntercept, 2000) }, nil, finding.NotHounsfield},
		{"pixels cut off", func(k int, d *dcm.DataSet) {
			if k == 20 {
				d.SetBytes(dcm.PixelData, "OW", make([]byte, 1000))
			}
		}, nil, finding.Undecodable},
		{"no pixels", func(k int, d *dcm.DataSet) { d.Delete(dcm.PixelData) }, nil, finding.Undecodable},
		{"damaged files", nil, func(s *Study) {
			for i := range s.Objects {
				s.Objects[i] = memory{data: s.Objects[i].(memory).data[:300]}
			}
		}, finding.Undecodable},
		{"no files", nil, func(s *Study) { s.Objects = []Input{memory{data: []byte("hello")}, memory{}} }, finding.Undecodable},
		{"missing position", func(k int, d *dcm.DataSet) { d.Delete(dcm.ImagePositionPatient) }, nil, finding.MissingPosition},
		{"mixed orientation", func(k int, d *dcm.DataSet) {
			if k > 15 {
				d.SetDecimals(dcm.ImageOrientationPatient, 0, 1, 0, 0, 0, -1)
			}
		}, nil, finding.MixedOrientation},
		{"slices missing", nil, func(s *Study) { s.Objects = slices.Delete(s.Objects, 10, 16) }, finding.Incomplete},
		{"colour", func(_ int, d *dcm.DataSet) { d.SetInts(dcm.BitsStored, "US", 99) }, nil, finding.Undecodable},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			in := study(t, s, c.edit)
			if c.after != nil {
				c.after(&in)
			}
			r, err := analyzer().Analyze(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			f := r.Finding
			if f.Status != finding.Refused || f.Code != c.code || !strings.HasSuffix(f.Reason, ".") {
				t.Errorf("%s %s %q, want code %s", f.Status, f.Code, f.Reason, c.code)
			}
			if r.Volume != nil || r.Labels != nil || f.Volumes != nil || f.Series != nil || f.CavityML != 0 {
				t.Error("a refused study has results")
			}
		})
	}
}

// What can be no cavity is refused: none at all, and more than any head holds, as where networks take a pelvis for a skull.
func TestAnalyzeRefusesCavity(t *testing.T) {
	t.Parallel()
	for name, inside := range map[string]float32{"none": 0, "everywhere": 1} {
		t.Run(name, func(t *testing.T) {
			a := analyzer()
			for _, role := range []bundle.Role{bundle.CavityTissue, bundle.CavityBone} {
				a.o.Bundle.Network(role).Post.HURange = nil
			}
			a.o.CavityTissue = byValue{1, func(_ float32, _ bool, p []float32) { p[0] = inside }}
			r, err := a.Analyze(t.Context(), study(t, synthetic.Head(shape()), nil))
			if err != nil || r.Finding.Code != finding.EmptyCavity || r.Finding.CavityML != 0 || r.Volume != nil {
				t.Errorf("%v %+v", err, r)
			}
		})
	}
}

func TestAnalyzeSparseTags(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(shape())
	r, err := analyzer().Analyze(context.Background(), study(t, s, func(_ int, d *dcm.DataSet) {
		d.SetStrings(dcm.InstanceNumber, "IS", "1")
		for _, tag := range []dcm.Tag{dcm.BodyPartExamined, dcm.StudyDescription, dcm.SeriesDescription, dcm.ProtocolName, dcm.ConvolutionKernel,
			dcm.KVP, dcm.AcquisitionNumber, dcm.ImageType, dcm.SliceLocation, dcm.RescaleType, dcm.SliceThickness} {
			d.Delete(tag)
		}
	}))
	if err != nil || r.Finding.Status != finding.Analyzed {
		t.Fatalf("%v %+v", err, r.Finding)
	}
	near(t, "total", r.Finding.Volumes.Total, s.TruthML.Total, 0.06)
}

// A damaged object or an unreadable best series costs a warning, not the study.
func TestAnalyzeGoesOn(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(shape())
	in := study(t, s, nil)
	in.Objects = append(in.Objects, memory{data: []byte("no DICOM")})
	bad, _ := s.DataSets(synthetic.WriteOptions{StudyInstanceUID: in.UID, Edit: func(k int, d *dcm.DataSet) {
		d.SetStrings(dcm.SeriesDescription, "LO", "Head brain")
		d.SetStrings(dcm.AcquisitionDateTime, "DT", "29991231235959") // the later of two as good is tried first
		if k == 3 {
			d.SetBytes(dcm.PixelData, "OW", make([]byte, 10))
		}
	}})
	var objects []Input
	for _, d := range bad {
		objects = append(objects, memory{data: encode(t, d)})
	}
	in.Objects = append(objects, in.Objects...)
	r, err := analyzer().Analyze(context.Background(), in)
	if err != nil || r.Finding.Status != finding.Analyzed {
		t.Fatalf("%v %+v", err, r)
	}
	near(t, "total", r.Finding.Volumes.Total, s.TruthML.Total, 0.06)
	if len(r.Finding.Warnings) != 2 || len(r.Finding.Candidates) != 2 || !r.Finding.Candidates[1].Chosen || r.Finding.Candidates[0].Chosen {
		t.Errorf("%q %+v", r.Finding.Warnings, r.Finding.Candidates)
	}
}

func TestAnalyzeErrors(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(shape())
	in := study(t, s, nil)
	in.Objects[5] = memory{fail: io.ErrUnexpectedEOF}
	if _, err := analyzer().Analyze(context.Background(), in); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an object that cannot be opened: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := analyzer().Analyze(ctx, study(t, s, nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	broken := errors.New("broken")
	a := analyzer()
	a.o.Bleed = failing{broken}
	if _, err := a.Analyze(context.Background(), study(t, s, nil)); !errors.Is(err, broken) || !strings.Contains(err.Error(), "bleed") {
		t.Errorf("a network that fails: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Run(context.Context, []float32, int) ([]float32, error) { return nil, f.err }

func TestAnalyzeConcurrently(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(shape())
	in, a := study(t, s, nil), analyzer()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			r, err := a.Analyze(context.Background(), in)
			if err != nil {
				t.Error(err)
				return
			}
			near(t, "total", r.Finding.Volumes.Total, s.TruthML.Total, 0.06)
		})
	}
	wg.Wait()
}

// TestAnalyzeEarly: a study that may lack slices is not analysed before it is complete; one without gaps is.
func TestAnalyzeEarly(t *testing.T) {
	whole := study(t, synthetic.Head(shape()), nil)
	whole.Early = true
	if _, err := analyzer().Analyze(t.Context(), whole); err != nil {
		t.Errorf("a whole study: %v", err)
	}
	partial := whole
	partial.Objects = slices.Delete(slices.Clone(whole.Objects), 5, 6)
	if _, err := analyzer().Analyze(t.Context(), partial); !errors.Is(err, ErrPartial) {
		t.Errorf("a study without its sixth slice: %v, want ErrPartial", err)
	}
}

func TestContiguous(t *testing.T) {
	for name, c := range map[string]struct {
		gaps []float64
		want bool
	}{
		"even":                     {[]float64{5, 5, 5, 5}, true},
		"uneven gantry":            {[]float64{5, 5.1, 4.9, 5}, true},
		"thin below thick":         {[]float64{2.5, 2.5, 2.5, 5, 5}, true},
		"one missing":              {[]float64{5, 5, 10, 5}, false},
		"one missing near the end": {[]float64{5, 5, 5, 10}, false},
	} {
		v := &volume.Volume{Grid: volume.Grid{AlongRow: volume.Vec{1}, AlongColumn: volume.Vec{0, 1}, Origins: []volume.Vec{{}}}}
		for _, g := range c.gaps {
			v.Origins = append(v.Origins, v.Origins[len(v.Origins)-1].Add(volume.Vec{0, 0, g}))
		}
		if got := contiguous(v); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}
