package sc

import (
	"strings"

	"ichor/pipeline/finding"
	"ichor/reporting/iod"
	"ichor/reporting/words"
)

// Refusal draws the one page of a study that was not analyzed: for a viewer that shows no structured report, nothing would
// look like a result that is still to come.
func Refusal(c *iod.Report) (Page, error) {
	const width, height, indent, most = 1280, 720, 80, 8
	p := newCanvas(width, height, backgroundColor())
	head(p, c, "Intracranial hemorrhage: automated analysis")
	y := headHeight + 110
	p.left(indent, y, style{48, true}, textColor(), "Not analyzed")
	y += 56
	p.left(indent, y, style{20, false}, quietColor(), "because")
	y += 40
	body := style{24, false}
	for _, l := range p.wrap(body, width-2*indent, most, p.known(body, words.NotAnalyzed(c.Finding))) {
		p.left(indent, y, body, textColor(), l)
		y += 34
	}
	p.left(indent, y+20, style{20, true}, warningColor(), "Nothing is known from ichor about hemorrhage in this study.")
	small := style{17, false}
	p.left(indent, height-footHeight-34, small, quietColor(), p.cut(small, width-2*indent, p.known(small, strings.Join(study(c), "   ·   "))))
	foot(p)
	return Page{series: pages, Image: p.RGBA, Note: "Not analyzed. " + finding.Disclaimer}, p.err
}
