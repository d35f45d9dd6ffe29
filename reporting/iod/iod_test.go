package iod

import (
	"image/color"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/reporting/words"
	"ichor/scp/dcm"
)

func TestText(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"plain", 64, "plain"}, {"", 4, ""}, {"  a\tb\n", 64, "a b"}, {`a\b`, 64, "a?b"},
		{"Größe", 4, "Größ"}, {"ab  cd", 3, "ab"}, {"a\x1b$Bb", 64, "a $Bb"}, {"\xff\xfe", 64, "??"},
	} {
		if got := words.Text(c.in, c.n); got != c.want || !utf8.ValidString(got) {
			t.Errorf("Text(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
}

// Dates and times of an older form are written in the present one; what is neither is left empty.
func TestDatesOfResults(t *testing.T) {
	t.Parallel()
	for in, want := range map[[3]string][4]string{
		{"19590131", "20261129", "140233.5"}:     {"19590131", "20261129", "140233.5", "2026-11-29 14:02"},
		{"1959.01.31", "2026.11.29", "14:02:33"}: {"19590131", "20261129", "140233", "2026-11-29 14:02"},
		{"1959-01-31", "2026/11/29", "14:02"}:    {"19590131", "20261129", "1402", "2026-11-29 14:02"},
		{"00/00/0000", "29.11.2026", "25:00:00"}: {"", "", "", ""},
	} {
		h := &dcm.DataSet{}
		h.SetStrings(dcm.PatientBirthDate, "DA", in[0])
		h.SetStrings(dcm.StudyDate, "DA", in[1])
		h.SetStrings(dcm.StudyTime, "TM", in[2])
		c, d := &Report{Analysis: analysis.Analysis{Header: h}}, &dcm.DataSet{}
		c.Patient(d)
		c.Study(d)
		if got := [4]string{d.String(dcm.PatientBirthDate), d.String(dcm.StudyDate), d.String(dcm.StudyTime), c.StudyTime()}; got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// The palette comes back from CIELab as viewers compute it, and no two subtypes look alike.
func TestPalette(t *testing.T) {
	for i, s := range finding.Subtypes {
		c := DefaultLook(s.String()).Color
		if back := fromCIELab(CIELab(c)); distance(back, c) > 2 {
			t.Errorf("%s: %v comes back as %v", s, c, back)
		}
		for _, o := range finding.Subtypes[:i] {
			if distance(c, DefaultLook(o.String()).Color) < 60 {
				t.Errorf("%s and %s are %.0f apart", s, o, distance(c, DefaultLook(o.String()).Color))
			}
		}
	}
	if got := CIELab(color.RGBA{0, 255, 0, 255}); distance(fromCIELab(got), color.RGBA{0, 255, 0, 255}) > 2 {
		t.Errorf("green is %v", got)
	}
}

func distance(a, b color.RGBA) float64 {
	return math.Sqrt(sq(a.R, b.R) + sq(a.G, b.G) + sq(a.B, b.B))
}

func sq(a, b uint8) float64 { return (float64(a) - float64(b)) * (float64(a) - float64(b)) }

// fromCIELab is the way back, written from the definition of CIE 1976 L*a*b* and sRGB.
func fromCIELab(v [3]int64) color.RGBA {
	l, a, b := float64(v[0])/65535*100, float64(v[1])/65535*255-128, float64(v[2])/65535*255-128
	fy := (l + 16) / 116
	cube := func(f float64) float64 {
		if f > 6.0/29 {
			return f * f * f
		}
		return 3 * 36.0 / 841 * (f - 4.0/29)
	}
	x, y, z := 0.95047*cube(fy+a/500), cube(fy), 1.08883*cube(fy-b/200)
	gamma := func(f float64) uint8 {
		if f > 0.0031308 {
			f = 1.055*math.Pow(f, 1/2.4) - 0.055
		} else {
			f *= 12.92
		}
		return uint8(math.Round(255 * min(max(f, 0), 1)))
	}
	return color.RGBA{gamma(3.2406*x - 1.5372*y - 0.4986*z), gamma(-0.9689*x + 1.8758*y + 0.0415*z),
		gamma(0.0557*x - 0.2040*y + 1.0570*z), 255}
}

func TestSeriesDescription(t *testing.T) {
	h := &dcm.DataSet{}
	h.SetStrings(dcm.StudyInstanceUID, "UI", "1.2.3")
	for name, want := range map[string]string{
		"ichor-synthetic":        "AI ICH SEG ichor-synthetic 0.1.0 RUO",
		strings.Repeat("x", 200): "AI ICH SEG " + strings.Repeat("x", 32) + " 0.1.0 RUO",
		"":                       "AI ICH SEG unnamed 0.1.0 RUO",
	} {
		c, err := New(Report{Analysis: analysis.Analysis{Header: h, Finding: finding.Finding{Status: finding.Refused, Bundle: finding.Bundle{Name: name, Version: "0.1.0"}}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.SeriesDescription("SEG"); got != want || len(got) > 64 {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A source that went through lossy compression makes its derived images lossy.
func TestLossy(t *testing.T) {
	h := &dcm.DataSet{}
	h.SetStrings(dcm.LossyImageCompression, "CS", "01")
	h.SetStrings(dcm.LossyImageCompressionRatio, "DS", "10", "4")
	h.SetStrings(dcm.LossyImageCompressionMethod, "CS", "ISO_10918_1", "ISO_15444_1")
	for want, header := range map[string]*dcm.DataSet{"00": nil, "01": h} {
		d := &dcm.DataSet{}
		(&Report{Analysis: analysis.Analysis{Header: header}}).Lossy(d)
		if d.String(dcm.LossyImageCompression) != want || len(d.Strings(dcm.LossyImageCompressionMethod)) != len(header.Strings(dcm.LossyImageCompressionMethod)) {
			t.Errorf("%v, want %s", d.Elements(), want)
		}
	}
}
