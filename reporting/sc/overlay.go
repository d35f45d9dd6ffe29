package sc

import (
	"context"
	"image"
	"iter"
	"slices"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/reporting/iod"
	"ichor/scp/dcm"
)

// Layout of an overlay page, pixels: about as large as the slice it was made from, so that a series of them is no heavier
// on an archive than the CT. maxOverlay bounds the pages of a thin series.
const (
	overlaySide = 384
	overlayBand = 26
	maxOverlay  = 96
)

// plane is where an overlay page lies in the patient.
type plane struct {
	origin      volume.Vec // of the centre of the first pixel
	right, down volume.Vec
	pixelMM     float64
}

// fill states position, scale and frame of reference, so that a viewer can scroll the page along with the CT and measure
// on it. The Secondary Capture IOD does not list them; they are a Standard Extension (PS3.2 §3.11.3, PS3.4 §B.4.1).
func (p *plane) fill(d *dcm.DataSet, c *iod.Report) {
	d.SetStrings(dcm.FrameOfReferenceUID, "UI", c.FrameOfReferenceUID())
	d.SetDecimals(dcm.ImagePositionPatient, p.origin[:]...)
	d.SetDecimals(dcm.ImageOrientationPatient, p.right[0], p.right[1], p.right[2], p.down[0], p.down[1], p.down[2])
	d.SetDecimals(dcm.PixelSpacing, p.pixelMM, p.pixelMM)
}

// Overlay draws slice after slice with its hemorrhage, feet to head, each when it is asked for.
func Overlay(ctx context.Context, c *iod.Report) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		v := newView(c)
		list := overlaySlices(c)
		for _, k := range list {
			if err := ctx.Err(); err != nil {
				yield(Page{}, err)
				return
			}
			if p, err := overlayPage(c, v, k); !yield(p, err) {
				return
			}
		}
	}
}

// overlaySlices returns every slice, or, for long stacks, the slice with the largest hemorrhage of each group of neighbours;
// the middle one of a group without hemorrhage.
func overlaySlices(c *iod.Report) []int {
	n := c.Volume.Slices()
	step := (n + maxOverlay - 1) / maxOverlay
	var out []int
	for first := 0; first < n; first += step {
		last := min(first+step, n) - 1
		best, most := (first+last)/2, 0
		for k := first; k <= last; k++ {
			if a := area(c, k); a > most {
				best, most = k, a
			}
		}
		out = append(out, best)
	}
	return out
}

func overlayPage(c *iod.Report, v *view, k int) (Page, error) {
	p := newCanvas(overlaySide, overlaySide+2*overlayBand, backgroundColor())
	r := image.Rect(0, overlayBand, overlaySide, overlayBand+overlaySide)
	v.draw(p.RGBA, r, k, 1)
	markers(p, v, r, style{18, true})

	p.fill(image.Rect(0, 0, overlaySide, overlayBand), headColor())
	name := style{13, true}
	p.left(8, 18, style{13, false}, textColor(), sliceName(c, k))
	x := overlaySide - 8
	for _, s := range slices.Backward(c.Segments()) { // from the right, to be read as on the summary
		if c.OnSlice(s, k) {
			p.right(x, 18, name, c.Look(s).Color, s.String())
			x -= p.width(name, s.String()) + 7
		}
	}
	band := image.Rect(0, r.Max.Y, overlaySide, r.Max.Y+overlayBand)
	p.fill(band, warningColor())
	p.center(overlaySide/2, band.Min.Y+18, style{14, true}, image.Black.C, finding.Disclaimer)

	scale, x0, y0 := v.place(r.Dx(), r.Dy())
	row, column := v.index(x0+0.5*scale, y0+(0.5-overlayBand)*scale)
	return Page{series: overlay, Image: p.RGBA, Slices: []int{k}, Orientation: []string{direction(v.right), direction(v.down)},
		Note:  sliceName(c, k) + ". " + finding.Disclaimer,
		plane: &plane{c.Volume.Point(k, row, column), v.right, v.down, scale}}, p.err
}
