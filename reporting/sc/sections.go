package sc

import (
	"cmp"
	"fmt"
	"image/color"
	"strings"
	"unicode"

	"ichor/reporting/iod"
	"ichor/reporting/words"
	"ichor/scp/dcm"
)

// Layout of the sections, pixels.
const (
	sectionHead = 24
	sectionLine = 22
	sectionGap  = 14
	mostWarned  = 8 // warnings on the page; the report has all
)

func sectionStyle() style { return style{17, false} }

// section is a part of the column of text, its lines broken to fit.
type section struct {
	title string
	color color.Color
	lines []string
}

// sections are what the column says below the table: warnings, study, limits, series, model. Nothing is left
// out where there is much: the page grows.
func sections(c *iod.Report) ([]section, error) {
	ruler := newCanvas(1, 1, color.Black)
	var out []section
	add := func(title string, col color.Color, text ...string) {
		s := section{title: title, color: col}
		for _, t := range text {
			s.lines = append(s.lines, ruler.wrap(sectionStyle(), panelRight-margin, 6, ruler.known(sectionStyle(), t))...)
		}
		if len(s.lines) > 0 {
			out = append(out, s)
		}
	}
	warnings := c.Finding.Warnings
	if more := len(warnings) - mostWarned; more > 0 {
		warnings = append(warnings[:mostWarned:mostWarned], fmt.Sprintf("And %d more, see the report.", more))
	}
	add("Warnings", warningColor(), warnings...)
	add("Study", textColor(), study(c)...)
	add("Limits of detection", textColor(), words.Limits(c.Finding))
	if s := c.Finding.Series; s != nil {
		line := fmt.Sprintf("%d slices, pixels %.2f × %.2f mm, slices %.2f mm apart", s.Slices, s.SpacingMM[0], s.SpacingMM[1], s.SpacingMM[2])
		if s.TiltDeg > 0.5 {
			line += fmt.Sprintf(", tilted %.0f°", s.TiltDeg)
		}
		add("Series read", textColor(), seriesName(c.Header), line, fmt.Sprintf("Shown in window %d, level %d HU", windowWidth, windowLevel))
	}
	point := ""
	if p := c.Finding.Parameters["operating_point"]; p != "" {
		point = "operating point " + p
	}
	add("Model", textColor(), c.Finding.Bundle.Name+" "+c.Finding.Bundle.Version, point, "sha256 "+shortDigest(c.Finding.Bundle.Digest), c.Finding.Bundle.Caution)
	return out, ruler.err
}

// seriesName is how a viewer lists the series that was read: a study often has several of the same head.
func seriesName(h *dcm.DataSet) string {
	name := words.Text(h.String(dcm.SeriesDescription), 64)
	if n, ok := h.Int(dcm.SeriesNumber); ok {
		name = strings.TrimSuffix(fmt.Sprintf("Number %d, %s", n, name), ", ")
	}
	return name
}

// study tells which study of whom this is, as far as a picture may: the times, the accession number and the initials of the
// patient. Who it is stands in the header of the object.
func study(c *iod.Report) []string {
	out := []string{"Study of " + cmp.Or(c.StudyTime(), "an unknown time"), "Analyzed " + c.ContentTime().Format("2006-01-02 15:04")}
	if a := words.Text(c.Header.String(dcm.AccessionNumber), 16); a != "" {
		out = append(out, "Accession "+a)
	}
	if i := initials(c.Header.String(dcm.PatientName)); i != "" {
		out = append(out, "Patient initials "+i)
	}
	return out
}

// initials are the first letters of given and family name, of the alphabetic group of a person name (PS3.5 §6.2.1).
func initials(name string) string {
	alphabetic, _, _ := strings.Cut(name, "=")
	family, rest, _ := strings.Cut(alphabetic, "^")
	given, _, _ := strings.Cut(rest, "^")
	out := ""
	for _, part := range []string{given, family} {
		for _, r := range strings.TrimSpace(words.Clean(part)) {
			out += string(unicode.ToUpper(r)) + "."
			break
		}
	}
	return out
}
