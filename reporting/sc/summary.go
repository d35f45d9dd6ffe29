package sc

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
	"strings"

	"ichor/pipeline/finding"
	"ichor/reporting/iod"
	"ichor/reporting/words"
)

// Layout of the summary page, pixels. Where there is more to say in words, the page is higher.
const (
	pageWidth   = 1280
	pageHeight  = 960
	headHeight  = 68
	footHeight  = 50
	margin      = 28
	panelRight  = 356 // the text panel ends here
	tileLeft    = 384
	tileWidth   = 282
	tileHeight  = 366
	tileGap     = 12
	captionSpan = 26
)

// The colours of the pages.
func backgroundColor() color.Color { return color.RGBA{13, 16, 21, 255} }
func headColor() color.Color       { return color.RGBA{24, 29, 37, 255} }
func lineColor() color.Color       { return color.RGBA{52, 60, 72, 255} }
func textColor() color.Color       { return color.RGBA{236, 240, 245, 255} }
func quietColor() color.Color      { return color.RGBA{146, 156, 170, 255} }
func warningColor() color.Color    { return color.RGBA{255, 190, 60, 255} }

// Summary draws the first page: what was found on the left, key slices on the right.
func Summary(ctx context.Context, c *iod.Report) (*image.RGBA, error) {
	lines, err := measureLines(c)
	if err != nil {
		return nil, err
	}
	column, err := sections(c)
	if err != nil {
		return nil, err
	}
	p := newCanvas(pageWidth, max(pageHeight+measureSpan*len(lines), panelHeight(c, column)), backgroundColor())
	head(p, c, "Intracranial hemorrhage: automated analysis")
	panel(p, c, column)
	for i, l := range lines {
		p.left(tileLeft, pageHeight-footHeight+4+measureSpan*i, measureStyle(), textColor(), l)
	}
	v := newView(c)
	for i, k := range keySlices(c) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		x := tileLeft + i%3*(tileWidth+tileGap)
		y := headHeight + 18 + i/3*(tileHeight+captionSpan+tileGap)
		r := image.Rect(x, y, x+tileWidth, y+tileHeight)
		v.draw(p.RGBA, r, k, 2)
		markers(p, v, r, style{18, true})
		caption(p, c, r, k)
	}
	foot(p)
	return p.RGBA, p.err
}

func head(p *canvas, c *iod.Report, title string) {
	p.fill(image.Rect(0, 0, p.Rect.Dx(), headHeight), headColor())
	p.left(margin, 44, style{26, true}, textColor(), title)
	model := p.cut(style{16, false}, p.Rect.Dx()-3*margin-p.width(style{26, true}, title), modelLine(c))
	p.right(p.Rect.Dx()-margin, 42, style{16, false}, quietColor(), model)
}

func modelLine(c *iod.Report) string {
	return "ichor " + c.Version + "  ·  model " + c.Finding.Bundle.Name + " " + c.Finding.Bundle.Version
}

// foot burns the disclaimer into the page.
func foot(p *canvas) {
	r := image.Rect(0, p.Rect.Dy()-footHeight, p.Rect.Dx(), p.Rect.Dy())
	p.fill(r, warningColor())
	p.center(p.Rect.Dx()/2, r.Min.Y+34, style{24, true}, color.Black, finding.Disclaimer)
}

// panel is the column of text: total, table, then the sections.
func panel(p *canvas, c *iod.Report, sections []section) {
	y := headHeight + 40
	if len(c.Segments()) == 0 {
		p.left(margin, y+22, style{30, true}, textColor(), "No hemorrhage found")
		y += 70
	} else {
		p.left(margin, y, style{17, false}, quietColor(), "Total volume")
		y += 56
		total := words.Milliliters(c.Finding.Volumes.Total)
		p.left(margin, y, style{58, true}, textColor(), total)
		p.left(margin+p.width(style{58, true}, total)+10, y, style{26, false}, textColor(), "mL")
		y += 38
	}
	y = table(p, c, y)
	for _, s := range sections {
		p.left(margin, y, style{15, true}, quietColor(), strings.ToUpper(s.title))
		y += sectionHead
		for _, l := range s.lines {
			p.left(margin, y, sectionStyle(), s.color, l)
			y += sectionLine
		}
		y += sectionGap
	}
}

// table lists the subtypes with volume and number of lesions, and returns the base line of what follows.
func table(p *canvas, c *iod.Report, y int) int {
	const volumeEdge = panelRight - 70
	row := style{19, false}
	p.right(volumeEdge, y, style{15, false}, quietColor(), "mL")
	p.right(panelRight, y, style{15, false}, quietColor(), "lesions")
	p.left(margin, y, style{15, false}, quietColor(), "Subtype")
	y += 10
	count := map[finding.Subtype]int{}
	for _, l := range c.Finding.Lesions {
		count[l.Subtype]++
	}
	line := func() { p.fill(image.Rect(margin, y, panelRight, y+1), lineColor()); y += 27 }
	line()
	for _, s := range c.Finding.Volumes.Shown() {
		col, name := textColor(), strings.TrimSuffix(s.Name(), " hemorrhage")
		if c.Finding.Volumes.Of(s) == 0 {
			col = quietColor()
		}
		p.fill(image.Rect(margin, y-15, margin+16, y+1), c.Look(s).Color)
		p.left(margin+26, y, row, col, name)
		p.right(volumeEdge, y, row, col, words.Milliliters(c.Finding.Volumes.Of(s)))
		p.right(panelRight, y, row, col, words.Lesioned(count[s], c.Finding.Volumes.Of(s)))
		y += 29
	}
	y -= 18
	line()
	bold := style{19, true}
	p.left(margin, y, bold, textColor(), "Total")
	p.right(volumeEdge, y, bold, textColor(), words.Milliliters(c.Finding.Volumes.Total))
	p.right(panelRight, y, bold, textColor(), words.Lesioned(len(c.Finding.Lesions), c.Finding.Volumes.Total))
	return y + 42
}

// markers sets left and right in the upper corners of a slice, where the head leaves the picture dark. A dark rim keeps
// them readable on bone.
func markers(p *canvas, v *view, r image.Rectangle, s style) {
	left, right, _ := v.markers()
	y := r.Min.Y + int(s.px) + 6
	p.rimmed(r.Min.X+10, y, s, left)
	p.rimmed(r.Max.X-10-p.width(s, right), y, s, right)
}

// caption says below a slice which one it is and what is on it; sized so that all five subtypes fit beside it.
func caption(p *canvas, c *iod.Report, r image.Rectangle, k int) {
	p.left(r.Min.X, r.Max.Y+19, style{14, false}, quietColor(), fmt.Sprintf("%d of %d, z %.0f mm", k+1, c.Volume.Slices(), rounded(height(c, k), 1)))
	x, s := r.Max.X, style{13, true}
	for _, t := range slices.Backward(finding.Kinds[:]) {
		if c.OnSlice(t, k) {
			p.right(x, r.Max.Y+19, s, c.Look(t).Color, t.String())
			x -= p.width(s, t.String()) + 6
		}
	}
}

func sliceName(c *iod.Report, k int) string {
	return fmt.Sprintf("%d of %d, z %.1f mm", k+1, c.Volume.Slices(), rounded(height(c, k), 10))
}

// height is that of the middle of slice k; the corner of a tilted one lies centimetres higher or lower.
func height(c *iod.Report, k int) float64 {
	return c.Volume.Point(k, float64(c.Volume.Rows-1)/2, float64(c.Volume.Columns-1)/2)[2]
}

// rounded to a part of a millimetre has no "-0".
func rounded(mm, parts float64) float64 { return math.Round(parts*mm)/parts + 0 }

func shortDigest(d string) string { return d[:min(len(d), 16)] }
