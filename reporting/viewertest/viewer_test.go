// Package viewertest shows our objects in a real viewer: cornerstone3D, which OHIF and many others are built on, in
// headless Chromium, reading from Orthanc by DICOMweb. What the viewer draws is compared with what was meant, pixel by
// pixel. The viewer is built by 'make viewer'; ICHOR_VIEWER names the folder with it.
package viewertest

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/volume"
	"ichor/reporting"
	"ichor/reporting/iod"
	"ichor/reporting/words"
	"ichor/scp/dcm"
	"ichor/scp/scptest"
)

// bleeds lie on the patient's right, all five of them, away from one another: mirrored, turned or in another's colour,
// none can be mistaken for right.
func bleeds() []synthetic.Ball {
	return []synthetic.Ball{
		{Subtype: finding.IPH, CentreMM: volume.Vec{-32, 12, 2}, RadiusMM: 14},
		{Subtype: finding.IVH, CentreMM: volume.Vec{-14, -12, 25}, RadiusMM: 9},
		{Subtype: finding.SAH, CentreMM: volume.Vec{-38, -38, -10}, RadiusMM: 8},
		{Subtype: finding.SDH, CentreMM: volume.Vec{-46, 18, -28}, RadiusMM: 9},
		{Subtype: finding.EDH, CentreMM: volume.Vec{-30, -46, 18}, RadiusMM: 10},
	}
}

// TestViewer stores an asymmetric head and our objects of it, opens them, and looks at the slice of each segment.
func TestViewer(t *testing.T) {
	viewer := os.Getenv("ICHOR_VIEWER")
	if viewer == "" {
		t.Skip("ICHOR_VIEWER does not name the built viewer; 'make test-go' builds it")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium not found: install the Debian package chromium")
	}
	const plugin = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
	if _, err := os.Stat(plugin); err != nil {
		t.Skip("the DICOMweb plug-in of Orthanc not found: install the Debian package orthanc-dicomweb")
	}
	archive := scptest.StartOrthanc(t, map[string]any{"Plugins": []string{plugin},
		"DicomWeb": map[string]any{"StudiesMetadata": "Full", "SeriesMetadata": "Full"}}).HTTP
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir(viewer)))
	mux.Handle("/dicom-web/", httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: archive})) // Orthanc answers no other origin
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	b := openBrowser(t, chromium, 1024, 512)

	for _, c := range []struct {
		name  string
		form  reporting.Form
		shape synthetic.Shape
	}{
		{"plain", reporting.Binary, synthetic.Shape{Rows: 256, Columns: 256, PixelSpacingMM: 0.9}},
		{"frames that are not whole bytes", reporting.Binary, synthetic.Shape{Rows: 511, Columns: 511, PixelSpacingMM: 0.45}},
		{"feet first", reporting.Binary, synthetic.Shape{Rows: 256, Columns: 256, PixelSpacingMM: 0.9, Orientation: [6]float64{-1, 0, 0, 0, 1, 0}}},
		{"tilted", reporting.Binary, synthetic.Shape{Rows: 256, Columns: 256, PixelSpacingMM: 0.9, Orientation: [6]float64{1, 0, 0, 0, math.Cos(0.3), math.Sin(0.3)}}},
		{"cavity", withCavity, synthetic.Shape{Rows: 256, Columns: 256, PixelSpacingMM: 0.9}},
		{"label map", reporting.LabelMap, synthetic.Shape{Rows: 255, Columns: 255, PixelSpacingMM: 0.9}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			c.shape.Balls = bleeds()
			r, study := report(t, synthetic.Head(c.shape), archive, c.form)
			b.open(site.URL)
			var loaded struct {
				Slices   int
				Report   string
				Segments []struct {
					Label  string
					RGB    [3]int
					Voxels int
				}
			}
			b.run(&loaded, "load", study)
			want := len(finding.Subtypes)
			if c.form == withCavity {
				want++
			}
			if loaded.Slices != r.Volume.Slices() || len(loaded.Segments) != want {
				t.Fatalf("%d slices and %d segments were loaded, want %d and %d", loaded.Slices, len(loaded.Segments), r.Volume.Slices(), want)
			}
			segment := func(label string) (n int) { // each series comes when it likes
				for i, s := range loaded.Segments {
					if s.Label == label {
						return i
					}
				}
				t.Fatalf("no segment %q among %+v", label, loaded.Segments)
				return 0
			}
			if c.form == withCavity {
				if got, want := loaded.Segments[segment("Intracranial cavity")].Voxels, count(r.Cavity, 1); got != want {
					t.Errorf("the cavity has %d voxels, not %d", got, want)
				}
			}
			for _, s := range finding.Subtypes {
				got, want := loaded.Segments[segment(s.Name())], iod.DefaultLook(s.String()).Color
				if got.Voxels != count(r.Labels, s) {
					t.Errorf("segment %q has %d voxels; %s has %d", got.Label, got.Voxels, s, count(r.Labels, s))
				}
				for c, v := range []uint8{want.R, want.G, want.B} {
					if math.Abs(float64(got.RGB[c])-float64(v)) > 2 {
						t.Errorf("%s has the colour %v, want %v", s, got.RGB, want)
						break
					}
				}
				r.look(t, b, s)
			}
			checkText(t, loaded.Report, r.Finding.Volumes)
		})
	}
	b.t = t
}

// withCavity is the binary form, and the cavity in a segmentation of its own, which lies under the other.
const withCavity reporting.Form = "cavity"

// checkText looks for the volumes and the disclaimer in what the viewer shows of the SR.
func checkText(t *testing.T, text string, v *finding.Volumes) {
	t.Helper()
	groups := strings.Split(text, "Measurement Group\n")[1:]
	for _, s := range append([]finding.Subtype{finding.None}, finding.Subtypes[:]...) {
		who := "ichor " + s.String() + "\n"
		if s == finding.None {
			who = "ichor all hemorrhage\n"
		}
		want := fmt.Sprintf("Volume: %s mL\n", strings.TrimSuffix(words.Rounded(v.Of(s)), ".0")) // the viewer drops it
		if !slices.ContainsFunc(groups, func(g string) bool {
			return strings.Contains(g, "Tracking Identifier: "+who) && strings.Contains(g, want)
		}) {
			t.Errorf("the report does not say %q of %s:\n%s", want, who, text)
		}
	}
	if !strings.Contains(text, finding.Disclaimer) {
		t.Errorf("the report does not say %q", finding.Disclaimer)
	}
}

func count(m *volume.Mask, s finding.Subtype) int { return bytes.Count(m.Voxels, []byte{byte(s)}) }

type shown struct{ analysis.Analysis }

// report stores the CT of s and the objects of a perfect analysis that a destination of a form gets.
func report(t *testing.T, s *synthetic.Study, archive string, form reporting.Form) (shown, string) {
	t.Helper()
	files, truth := s.DataSets(synthetic.WriteOptions{})
	var slices []volume.Slice
	for _, d := range files {
		pixels, _ := d.Get(dcm.PixelData)
		slices = append(slices, volume.Slice{Header: d, Pixels: func(context.Context) ([]byte, error) { return pixels.Value.([]byte), nil }})
		var b bytes.Buffer
		if err := dcm.WriteFile(&b, dcm.FileMeta{}, d); err != nil {
			t.Fatal(err)
		}
		put(t, archive, b.Bytes())
	}
	v, _, err := volume.Build(t.Context(), slices)
	if err != nil {
		t.Fatal(err)
	}
	r := shown{analysis.Analysis{Volume: v, Header: files[0], Finding: finding.Finding{Status: finding.Analyzed, Disclaimer: finding.Disclaimer,
		Study: finding.Study{StudyInstanceUID: truth.StudyInstanceUID}, Volumes: &s.TruthML, CavityML: s.CavityML,
		Bundle: finding.Bundle{Name: "truth", Version: "1", Digest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
		Series: &finding.Series{SeriesInstanceUID: v.SeriesInstanceUID, Slices: v.Slices(), SpacingMM: [3]float64{v.SpacingMM[0], v.SpacingMM[1], v.MedianGap()}}}}}
	r.Labels, r.Cavity = s.Truth()
	report, err := reporting.New(r.Analysis, reporting.Options{Version: "test", LabelMap: form == reporting.LabelMap, CavitySegment: form == withCavity})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := report.Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.For(form) {
			put(t, archive, o.Bytes)
		}
	}
	return r, truth.StudyInstanceUID
}

// look shows the slice with most of a subtype and compares what is drawn with the labels: well inside a bleed its colour,
// well outside of all no colour at all.
func (r shown) look(t *testing.T, b *browser, s finding.Subtype) {
	t.Helper()
	k, most := 0, 0
	for i := range r.Labels.Slices() {
		if n := bytes.Count(r.Labels.Slice(i), []byte{byte(s)}); n > most {
			k, most = i, n
		}
	}
	// Where three voxels are drawn says where all are.
	g := &r.Volume.Grid
	last := [2]float64{float64(g.Rows - 1), float64(g.Columns - 1)}
	var at [3][2]float64
	b.run(&at, "show", r.Volume.Sources[k].SOPInstanceUID, []volume.Vec{g.Point(k, 0, 0), g.Point(k, 0, last[1]), g.Point(k, last[0], 0)})
	img, raw := b.screenshot()
	file := filepath.Join(t.ArtifactDir(), s.String()+".png")
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Error(err)
	}
	t.Logf("%s: slice %d in %s", s, k+1, file)

	labels := r.Labels.Slice(k)
	drawn, right, wrong, stray := 0, 0, 0, 0
	for row := 3; row < g.Rows-3; row++ {
		for column := 3; column < g.Columns-3; column++ {
			label, same := labels[row*g.Columns+column], true
			for i := -3; i <= 3; i++ {
				for j := -3; j <= 3; j++ {
					same = same && labels[(row+i)*g.Columns+column+j] == label
				}
			}
			if !same {
				continue // outlines and interpolation are drawn near an edge
			}
			down, across := float64(row)/last[0], float64(column)/last[1]
			x := at[0][0] + across*(at[1][0]-at[0][0]) + down*(at[2][0]-at[0][0])
			y := at[0][1] + across*(at[1][1]-at[0][1]) + down*(at[2][1]-at[0][1])
			hue, coloured := hueOf(img, int(math.Round(x)), int(math.Round(y)))
			switch {
			case label == 0 && coloured:
				stray++
			case label == 0:
			case !coloured || apart(hue, iod.DefaultLook(finding.Subtype(label).String()).Color) > 12:
				wrong++
			case finding.Subtype(label) == s:
				drawn++
				if g.Point(k, float64(row), float64(column))[0] < 0 {
					right++
				}
			}
		}
	}
	if drawn < most/5 || right != drawn || wrong > 0 || stray > 0 {
		t.Errorf("%s on slice %d: %d voxels in its colour of %d, %d of them on the patient's right; %d bled voxels without their colour, %d others coloured; look at %s",
			s, k+1, drawn, most, right, wrong, stray, file)
	}
	if g.AlongRow[0] > 0 { // as radiologists look at it: the patient's right is on the left of the image
		if centre := at[0][0] + (at[1][0]-at[0][0])/2; colouredBeyond(img, int(centre), 512) {
			t.Errorf("%s on slice %d: something is coloured in the half of the image that shows the patient's left; look at %s", s, k+1, file)
		}
	}
}

func colouredBeyond(img image.Image, from, to int) bool {
	for y := range 512 {
		for x := from; x < to; x++ {
			if _, coloured := hueOf(img, x, y); coloured {
				return true
			}
		}
	}
	return false
}

// hueOf is the hue of a pixel in degrees, which a blend with grey leaves as it is, and whether it has one.
func hueOf(img image.Image, x, y int) (degrees float64, coloured bool) {
	c := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
	r, g, b := float64(c.R), float64(c.G), float64(c.B)
	return math.Atan2(math.Sqrt(3)*(g-b), 2*r-g-b) * 180 / math.Pi, max(r, g, b)-min(r, g, b) > 25
}

// apart is the angle between a hue and that of a colour.
func apart(degrees float64, c color.RGBA) float64 {
	one := image.NewUniform(c)
	want, _ := hueOf(one, 0, 0)
	return math.Abs(math.Remainder(degrees-want, 360))
}

func put(t *testing.T, archive string, object []byte) {
	t.Helper()
	answer, err := http.Post("http://"+archive+"/instances", "application/dicom", bytes.NewReader(object))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("Orthanc answers %s", answer.Status)
	}
}
