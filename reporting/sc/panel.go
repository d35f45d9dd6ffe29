package sc

import (
	"image"
	"math"
	"strings"

	"ichor/pipeline/finding"
	"ichor/reporting/iod"
	"ichor/reporting/words"
)

// panel is the column of text: the total with its uncertainty, the change, the table, then the sections. It returns the base
// line of what would follow.
func panel(p *canvas, c *iod.Report, sections []section) int {
	y := headHeight + 40
	if len(c.Segments()) == 0 {
		for _, l := range []string{"No hemorrhage", "detected"} {
			p.left(margin, y+12, style{30, true}, textColor(), l)
			y += 36
		}
		p.left(margin, y+12, style{17, false}, warningColor(), "This does not exclude one.")
		y += 52
	} else {
		p.left(margin, y, style{17, false}, quietColor(), "Total volume")
		y += 56
		total := words.Milliliters(c.Finding.Volumes.Total)
		p.left(margin, y, style{58, true}, textColor(), total)
		p.left(margin+p.width(style{58, true}, total)+10, y, style{26, false}, textColor(), "mL")
		y += 30
		y = scale(p, c, y)
		y = change(p, c, y)
		y += 14
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
	return y
}

// panelHeight is that of a page that holds the whole column, which it draws outside of any picture.
func panelHeight(c *iod.Report, column []section) int {
	return panel(newCanvas(1, 1, backgroundColor()), c, column) + footHeight
}

// scale shows the total and how far it may be off on a line from 0 mL, and with it the total of the prior study.
func scale(p *canvas, c *iod.Report, y int) int {
	r := c.Finding.Range
	if r == nil {
		return y
	}
	most := math.Max(r.High.Total, c.Finding.Volumes.Total)
	if c.Finding.Prior != nil {
		most = math.Max(most, c.Finding.Prior.Volumes.Total)
	}
	end := nice(most)
	if !(end > 0) {
		return y
	}
	x := func(ml float64) int { return margin + int(math.Round((panelRight-margin)*math.Min(ml/end, 1))) }
	p.fill(image.Rect(margin, y, panelRight, y+10), lineColor())
	p.fill(image.Rect(x(r.Low.Total), y, max(x(r.High.Total), x(r.Low.Total)+2), y+10), quietColor())
	at := x(c.Finding.Volumes.Total)
	p.fill(image.Rect(at-2, y-4, at+2, y+14), textColor())
	small := style{14, false}
	if c.Finding.Prior != nil {
		at := x(c.Finding.Prior.Volumes.Total)
		p.fill(image.Rect(at-1, y-4, at+1, y+14), warningColor())
	}
	p.left(margin, y+30, small, quietColor(), "0")
	p.right(panelRight, y+30, small, quietColor(), words.Rounded(end)+" mL")
	p.center((margin+panelRight)/2, y+30, small, textColor(), "between "+words.Milliliters(r.Low.Total)+" and "+words.Milliliters(r.High.Total)+" mL")
	return y + 50
}

// nice is the least of 1, 2 and 5 times a power of ten that is not below v.
func nice(v float64) float64 {
	if !(v > 0) {
		return 0
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 5, 10} {
		if n*power >= v {
			return n * power
		}
	}
	return 10 * power
}

// change says what changed since the prior study, in the colour of its mark on the scale.
func change(p *canvas, c *iod.Report, y int) int {
	if c.Finding.Prior == nil {
		return y
	}
	p.left(margin, y+8, style{17, true}, warningColor(), words.Changed(*c.Finding.Prior))
	return y + 30
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
	y += 30
	if ml := c.Finding.CavityML; ml > 0 {
		small := style{15, false}
		p.left(margin, y, small, quietColor(), "Intracranial cavity")
		p.right(volumeEdge, y, small, quietColor(), words.Rounded(ml))
		y += 30
	}
	return y + 12
}
