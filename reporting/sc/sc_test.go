package sc

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"slices"
	"testing"

	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/reporting/iod"
	"ichor/scp/dcm"
)

// box makes a case of a water cube with labelled points in patient coordinates (LPS, mm), stored as the axes say.
func box(t *testing.T, alongRow, alongColumn volume.Vec, rows, columns, slices int, points map[finding.Subtype]volume.Vec) *iod.Report {
	t.Helper()
	g := volume.Grid{Rows: rows, Columns: columns, AlongRow: alongRow, AlongColumn: alongColumn, SpacingMM: [2]float64{200 / float64(rows), 200 / float64(columns)}}
	for k := range slices {
		g.Origins = append(g.Origins, volume.Vec{0, 0, float64(k) * 5}.
			Sub(alongRow.Scale(g.SpacingMM[1]*float64(columns-1)/2)).Sub(alongColumn.Scale(g.SpacingMM[0]*float64(rows-1)/2)))
		g.SupportMM = append(g.SupportMM, 5)
	}
	v := &volume.Volume{Grid: g, HU: make([]int16, rows*columns*slices), SeriesInstanceUID: "1.2.3"}
	labels, cavity := volume.NewMask(&g), volume.NewMask(&g)
	for k := range slices {
		v.Sources = append(v.Sources, volume.Source{SOPClassUID: dcm.CTImageStorage, SOPInstanceUID: dcm.DeriveUID(string(rune(k)))})
		for r := range rows {
			for c := range columns {
				i := (k*rows+r)*columns + c
				p := g.Point(k, float64(r), float64(c))
				v.HU[i] = 30
				if p[0]*p[0]+p[1]*p[1] < 80*80 {
					cavity.Voxels[i] = 1
				}
				for s, at := range points {
					if p[2] == at[2] && p.Sub(at).Length() < 12 {
						labels.Voxels[i] = uint8(s)
					}
				}
			}
		}
	}
	h := &dcm.DataSet{}
	h.SetStrings(dcm.StudyInstanceUID, "UI", "1.2")
	return boxReport(t, analysis.Analysis{Volume: v, Labels: labels, Cavity: cavity, Header: h,
		Finding: finding.Finding{Status: finding.Analyzed, Volumes: &finding.Volumes{}}})
}

func boxReport(t *testing.T, r analysis.Analysis) *iod.Report {
	t.Helper()
	c, err := iod.New(iod.Report{Analysis: r})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// However a slice is stored, the patient's left is drawn right and the front up.
func TestOrientation(t *testing.T) {
	t.Parallel()
	points := map[finding.Subtype]volume.Vec{
		finding.IPH: {50, 0, 0},    // left
		finding.SDH: {0, 55, 0},    // back
		finding.EDH: {-30, -40, 0}, // right, front
	}
	where := map[finding.Subtype]image.Point{finding.IPH: {1, 0}, finding.SDH: {0, 1}, finding.EDH: {-1, -1}}
	for name, axes := range map[string][2]volume.Vec{
		"supine":      {{1, 0, 0}, {0, 1, 0}},
		"prone":       {{-1, 0, 0}, {0, -1, 0}},
		"mirrored":    {{-1, 0, 0}, {0, 1, 0}},
		"upside down": {{1, 0, 0}, {0, -1, 0}},
		"turned":      {{0, 1, 0}, {-1, 0, 0}},
		"turned back": {{0, -1, 0}, {1, 0, 0}},
		"transposed":  {{0, 1, 0}, {1, 0, 0}},
		"tilted":      {{1, 0, 0}, {0, 0.966, -0.259}},
	} {
		t.Run(name, func(t *testing.T) {
			c := box(t, axes[0], axes[1], 61, 64, 1, nil)
			for i := range c.Labels.Voxels { // labels by position, so that the tilted plane is hit as well
				p := c.Volume.Point(0, float64(i/64), float64(i%64))
				for s, at := range points {
					if dx, dy := p[0]-at[0], p[1]-at[1]; dx*dx+dy*dy < 100 {
						c.Labels.Voxels[i] = uint8(s)
					}
				}
			}
			v := newView(c)
			if l, r, u := v.markers(); l != "R" || r != "L" || u != "A" {
				t.Errorf("markers left %s, right %s, up %s", l, r, u)
			}
			const side = 240
			img := image.NewRGBA(image.Rect(0, 0, side, side))
			v.draw(img, img.Rect, 0, 2)
			for s, w := range where {
				at, ok := centre(img, c.Look(s).Color)
				if !ok || sign(at.X-side/2) != w.X || sign(at.Y-side/2) != w.Y {
					t.Errorf("%s drawn at %v, want direction %v", s, at, w)
				}
			}
		})
	}
}

// centre is the middle of the outline of one colour.
func centre(img *image.RGBA, c color.RGBA) (image.Point, bool) {
	var sum image.Point
	n := 0
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			if img.RGBAAt(x, y) == c {
				sum = sum.Add(image.Pt(x, y))
				n++
			}
		}
	}
	if n == 0 {
		return sum, false
	}
	return sum.Div(n), true
}

func sign(n int) int {
	switch {
	case n > 12:
		return 1
	case n < -12:
		return -1
	}
	return 0
}

func TestKeySlices(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		slices int
		area   map[int]int // label voxels by slice
		want   []int
	}{
		"one":               {10, map[int]int{7: 3}, []int{7}},
		"few":               {10, map[int]int{1: 1, 4: 2, 7: 3}, []int{1, 4, 7}},
		"four":              {10, map[int]int{0: 1, 1: 1, 2: 1, 3: 1}, []int{0, 1, 2, 3}},
		"largest of a part": {20, map[int]int{2: 1, 3: 9, 4: 1, 5: 8, 6: 7, 7: 1, 8: 1, 9: 6, 10: 5, 11: 1, 12: 1, 13: 4}, []int{3, 5, 9, 13}},
		"none":              {16, nil, []int{1, 3, 5, 7, 9, 11, 13, 15}},
		"none, two slices":  {2, nil, []int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			k := box(t, volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0}, 8, 8, c.slices, nil)
			for slice, n := range c.area {
				for i := range n {
					k.Labels.Slice(slice)[i] = uint8(finding.IVH)
				}
			}
			k = boxReport(t, k.Analysis) // which looks for segments anew
			if got := shown(k); !slices.Equal(got, c.want) {
				t.Errorf("key slices %v, want %v", got, c.want)
			}
		})
	}
}

// The height of a tilted slice is that of its middle, which is where readers look for it.
func TestHeight(t *testing.T) {
	t.Parallel()
	c := box(t, volume.Vec{1, 0, 0}, volume.Vec{0, 0.966, -0.259}, 61, 64, 3, nil)
	if got := sliceName(c, 1); got != "Slice 2 of 3 from the feet, z 5.0 mm" {
		t.Errorf("slice %s; its corner is at %.1f mm", got, c.Volume.Origins[1][2])
	}
}

func TestRounded(t *testing.T) {
	t.Parallel()
	if got := fmt.Sprintf("%.0f %.1f %.1f", rounded(-0.4, 1), rounded(-0.04, 10), rounded(-0.06, 10)); got != "0 0.0 -0.1" {
		t.Errorf("rounded to %s", got)
	}
}

// Any size is drawn without a panic: one pixel, one row, no cavity voxel, sagittal planes.
func TestPagesAnySize(t *testing.T) {
	t.Parallel()
	for _, size := range [][3]int{{1, 1, 1}, {1, 9, 2}, {9, 1, 3}, {3, 700, 1}} {
		for _, axes := range [][2]volume.Vec{{{1, 0, 0}, {0, 1, 0}}, {{0, 1, 0}, {0, 0, -1}}} {
			c := box(t, axes[0], axes[1], size[0], size[1], size[2], map[finding.Subtype]volume.Vec{finding.SAH: {0, 0, 0}})
			pages, err := Pages(context.Background(), c)
			if err != nil || len(pages) == 0 {
				t.Errorf("%v: %d pages, error %v", size, len(pages), err)
			}
		}
	}
}

// The disclaimer is in the pixels of every page: a band of the warning colour with black letters on it.
func TestDisclaimerBurnedIn(t *testing.T) {
	t.Parallel()
	c := box(t, volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0}, 32, 32, 4, map[finding.Subtype]volume.Vec{finding.SAH: {0, 0, 5}})
	pages, err := Pages(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range pages {
		band, letters := 0, 0
		for y := p.Image.Rect.Max.Y - footHeight; y < p.Image.Rect.Max.Y; y++ {
			for x := range p.Image.Rect.Dx() {
				switch p.Image.RGBAAt(x, y) {
				case warningColor():
					band++
				case color.RGBA{0, 0, 0, 255}:
					letters++
				}
			}
		}
		if band < 20000 || letters < 1000 {
			t.Errorf("page %d: %d pixels of the band, %d of the letters", i+1, band, letters)
		}
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	p := newCanvas(10, 10, color.Black)
	s := style{16, false}
	if got := p.wrap(s, 60, 9, "one two three"); !slices.Equal(got, []string{"one two", "three"}) {
		t.Errorf("wrapped to %q", got)
	}
	for _, l := range p.wrap(s, 60, 2, "a very long line of words and oneveryverylongwordwithoutspaces") {
		if p.width(s, l) > 60 {
			t.Errorf("line %q is %d pixels wide", l, p.width(s, l))
		}
	}
	if p.err != nil {
		t.Error(p.err)
	}
}
