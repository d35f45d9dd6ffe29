package sc

import (
	"fmt"
	"image/color"
	"strings"

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

// sections are what the column says below the table: warnings, cavity, series, window, model. Nothing is left out where
// there is much: the page grows.
func sections(c *iod.Report) ([]section, error) {
	ruler := newCanvas(1, 1, color.Black)
	var out []section
	add := func(title string, col color.Color, text ...string) {
		s := section{title: title, color: col}
		for _, t := range text {
			s.lines = append(s.lines, ruler.wrap(sectionStyle(), panelRight-margin, 4, ruler.known(sectionStyle(), t))...)
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
	if c.Finding.CavityML > 0 {
		add("Intracranial cavity", textColor(), fmt.Sprintf("%.0f mL", c.Finding.CavityML))
	}
	if s := c.Finding.Series; s != nil {
		line := fmt.Sprintf("%d slices, pixels %.2f × %.2f mm, slices %.2f mm apart", s.Slices, s.SpacingMM[0], s.SpacingMM[1], s.SpacingMM[2])
		if s.TiltDeg > 0.5 {
			line += fmt.Sprintf(", tilted %.0f°", s.TiltDeg)
		}
		add("Series read", textColor(), seriesName(c.Header), line)
	}
	add("Shown", textColor(), fmt.Sprintf("Window %d, level %d HU; slices counted from the feet", windowWidth, windowLevel))
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

// panelHeight is that of a page that holds the whole column.
func panelHeight(c *iod.Report, column []section) int {
	y := headHeight + 40 + 70 + 88 + 29*len(c.Finding.Volumes.Shown()) // as panel and table draw
	if len(c.Segments()) > 0 {
		y += 24
	}
	for _, s := range column {
		y += sectionHead + sectionLine*len(s.lines) + sectionGap
	}
	return y + footHeight
}
