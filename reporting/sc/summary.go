package sc

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"math"

	"ichor/pipeline/finding"
	"ichor/reporting/iod"
)

// Layout of the summary page, pixels. Where there is more to say in words, the page is higher.
const (
	pageWidth   = 1600
	pageHeight  = 960
	headHeight  = 68
	footHeight  = 50
	margin      = 28
	panelRight  = 356 // the text panel ends here
	tileLeft    = 384
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

// Summary draws the first page: what was found on the left, key slices on the right. Each key slice stands there twice, as it
// is and with the hemorrhage marked, so that the density of what is marked can be seen.
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
	for _, t := range tiles(shown(c), len(c.Segments()) > 0) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		v.draw(p.RGBA, t.at, t.slice, t.outline)
		markers(p, v, t.at, style{18, true})
		caption(p, c, t)
	}
	foot(p)
	return p.RGBA, p.err
}

// tile is one picture of a slice; an outline of 0 shows it as it is.
type tile struct {
	at      image.Rectangle
	slice   int
	outline int
}

// tiles arranges the key slices: without hemorrhage in two rows; with it each slice above itself with the hemorrhage
// marked, a single one beside itself.
func tiles(keys []int, marked bool) []tile {
	columns := len(keys)
	if !marked {
		columns = (len(keys) + 1) / 2
	} else if columns == 1 {
		columns = 2
	}
	width := (pageWidth - margin - tileLeft - tileGap*(columns-1)) / columns
	place := func(column, row, height int) image.Rectangle {
		x, y := tileLeft+column*(width+tileGap), headHeight+18+row*(tileHeight+captionSpan+tileGap)
		return image.Rect(x, y, x+width, y+height)
	}
	var out []tile
	for i, k := range keys {
		switch {
		case !marked:
			out = append(out, tile{place(i%columns, i/columns, tileHeight), k, 0})
		case len(keys) == 1:
			const height = 2*tileHeight + captionSpan + tileGap
			out = append(out, tile{place(0, 0, height), k, 0}, tile{place(1, 0, height), k, 2})
		default:
			out = append(out, tile{place(i, 0, tileHeight), k, 0}, tile{place(i, 1, tileHeight), k, 2})
		}
	}
	return out
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

// markers sets left and right in the upper corners of a slice, where the head leaves the picture dark. A dark rim keeps
// them readable on bone.
func markers(p *canvas, v *view, r image.Rectangle, s style) {
	left, right, _ := v.markers()
	y := r.Min.Y + int(s.px) + 6
	p.rimmed(r.Min.X+10, y, s, left)
	p.rimmed(r.Max.X-10-p.width(s, right), y, s, right)
}

// caption says below a picture which slice it is, or what is marked on it. All five subtypes fit.
func caption(p *canvas, c *iod.Report, t tile) {
	if t.outline == 0 {
		p.left(t.at.Min.X, t.at.Max.Y+19, style{14, false}, quietColor(), sliceName(c, t.slice))
		return
	}
	x, s := t.at.Min.X, style{14, true}
	for _, k := range finding.Kinds {
		if c.OnSlice(k, t.slice) {
			p.left(x, t.at.Max.Y+19, s, c.Look(k).Color, k.String())
			x += p.width(s, k.String()) + 8
		}
	}
}

// sliceName names the image of a slice as a viewer numbers it, and its height in the patient. A slice without a number is
// counted from the feet.
func sliceName(c *iod.Report, k int) string {
	name := fmt.Sprintf("Slice %d of %d from the feet", k+1, c.Volume.Slices())
	if n := c.Volume.Sources[k].Number(); n > 0 {
		name = fmt.Sprintf("Image %d", n)
		if series := c.SeriesNumber(); series > 0 {
			name += fmt.Sprintf(" of series %d", series)
		}
	}
	return fmt.Sprintf("%s, z %.1f mm", name, rounded(height(c, k), 10))
}

// height is that of the middle of slice k; the corner of a tilted one lies centimetres higher or lower.
func height(c *iod.Report, k int) float64 {
	return c.Volume.Point(k, float64(c.Volume.Rows-1)/2, float64(c.Volume.Columns-1)/2)[2]
}

// rounded to a part of a millimetre has no "-0".
func rounded(mm, parts float64) float64 { return math.Round(parts*mm)/parts + 0 }

func shortDigest(d string) string { return d[:min(len(d), 16)] }
