package sc

import (
	"image/color"

	"ichor/reporting/iod"
	"ichor/reporting/words"
)

const (
	measureSpan  = 21 // pixels from line to line
	mostLesions  = 4  // that the summary page describes; the report has more
	measureWidth = pageWidth - margin - tileLeft
)

func measureStyle() style { return style{15, false} }

// measureLines are the measures in words, broken to stand below the key slices: the range of the total, the largest lesions,
// the change since the prior finding.
func measureLines(c *iod.Report) ([]string, error) {
	var said []string
	if len(c.Segments()) > 0 {
		if r := c.Finding.Range; r != nil {
			said = append(said, words.Bounds(*r))
		}
		said = append(said, words.Lesions(c.Finding.Lesions, c.SeriesNumber(), mostLesions)...)
	} else if r := c.Finding.Range; r != nil && words.Doubt(*r) != "" {
		said = append(said, words.Doubt(*r))
	}
	if p := c.Finding.Prior; p != nil {
		said = append(said, words.Change(*p))
	}
	ruler := newCanvas(1, 1, color.Black)
	var out []string
	for _, s := range said {
		out = append(out, ruler.wrap(measureStyle(), measureWidth, 3, s)...)
	}
	return out, ruler.err
}
