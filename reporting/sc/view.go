package sc

import (
	"image"
	"math"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/reporting/iod"
)

// Display window for blood in brain, HU.
const (
	windowLevel = 40
	windowWidth = 80
)

// view turns slices for a radiologist: the patient's left is on the right of the screen and the nose is up, however the
// source was stored. Screen coordinates are mm to the right and down from the corner of the turned slice.
type view struct {
	c            *iod.Report
	transposed   bool // screen x runs along the columns of the source, not along its rows
	flipX, flipY bool
	widthMM      float64
	heightMM     float64
	right, down  volume.Vec // patient directions of the screen axes
	crop         rectMM
}

type rectMM struct{ x, y, w, h float64 }

func newView(c *iod.Report) *view {
	g := &c.Volume.Grid
	v := &view{c: c, right: g.AlongRow, down: g.AlongColumn,
		widthMM: float64(g.Columns) * g.SpacingMM[1], heightMM: float64(g.Rows) * g.SpacingMM[0]}
	if math.Abs(v.right[0]) < math.Abs(v.down[0]) {
		v.transposed = true
		v.right, v.down = v.down, v.right
		v.widthMM, v.heightMM = v.heightMM, v.widthMM
	}
	if v.right[0] < 0 {
		v.flipX, v.right = true, v.right.Scale(-1)
	}
	if v.down[1] < 0 {
		v.flipY, v.down = true, v.down.Scale(-1)
	}
	v.crop = v.head()
	return v
}

// index is the fractional row and column of the source under a screen point.
func (v *view) index(x, y float64) (row, column float64) {
	if v.flipX {
		x = v.widthMM - x
	}
	if v.flipY {
		y = v.heightMM - y
	}
	if v.transposed {
		x, y = y, x
	}
	return y/v.c.Volume.SpacingMM[0] - 0.5, x/v.c.Volume.SpacingMM[1] - 0.5
}

// screen is the point in mm on which the centre of a source pixel falls.
func (v *view) screen(row, column int) (x, y float64) {
	x, y = (float64(column)+0.5)*v.c.Volume.SpacingMM[1], (float64(row)+0.5)*v.c.Volume.SpacingMM[0]
	if v.transposed {
		x, y = y, x
	}
	if v.flipX {
		x = v.widthMM - x
	}
	if v.flipY {
		y = v.heightMM - y
	}
	return x, y
}

// head is what is worth showing: the cavity with skull and scalp around it, or the whole slice without a cavity.
func (v *view) head() rectMM {
	const marginMM = 20
	whole := rectMM{0, 0, v.widthMM, v.heightMM}
	m := v.c.Cavity
	if m == nil {
		return whole
	}
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for i, in := range m.Voxels {
		if in == 0 {
			continue
		}
		x, y := v.screen(i/m.Columns%m.Rows, i%m.Columns)
		x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
	}
	if x1-x0 < 20 || y1-y0 < 20 {
		return whole
	}
	return rectMM{x0 - marginMM, y0 - marginMM, x1 - x0 + 2*marginMM, y1 - y0 + 2*marginMM}
}

// markers are the patient directions at the left, right and upper edge of the screen (PS3.3 §C.7.6.1.1.1).
func (v *view) markers() (left, right, up string) {
	return direction(v.right.Scale(-1)), direction(v.right), direction(v.down.Scale(-1))
}

func direction(d volume.Vec) string {
	axis := 0
	for i := range d {
		if math.Abs(d[i]) > math.Abs(d[axis]) {
			axis = i
		}
	}
	if d[axis] > 0 {
		return [...]string{"L", "P", "H"}[axis]
	}
	return [...]string{"R", "A", "F"}[axis]
}

// place says how what is worth showing fits w by h pixels: mm a pixel, and the screen point of the corner.
func (v *view) place(w, h int) (scale, x0, y0 float64) {
	scale = max(v.crop.w/float64(w), v.crop.h/float64(h))
	return scale, v.crop.x + v.crop.w/2 - scale*float64(w)/2, v.crop.y + v.crop.h/2 - scale*float64(h)/2
}

// fillTint is how much of its colour a marked voxel has: little, so that the density below it is seen.
const fillTint = 0.2

// draw renders slice k into r of dst: grey by the display window, subtypes tinted and with an outline of so many pixels; an
// outline of 0 leaves them out.
func (v *view) draw(dst *image.RGBA, r image.Rectangle, k, outline int) {
	g := &v.c.Volume.Grid
	w, h := r.Dx(), r.Dy()
	scale, x0, y0 := v.place(w, h)
	hu, labels := v.c.Volume.Slice(k), v.c.Labels.Slice(k)

	label := make([]uint8, w*h)
	for y := range h {
		for x := range w {
			row, column := v.index(x0+(float64(x)+0.5)*scale, y0+(float64(y)+0.5)*scale)
			n := uint8(0)
			if value, ok := bilinear(hu, g.Rows, g.Columns, row, column); ok {
				f := (value - windowLevel + windowWidth/2) / windowWidth
				n = uint8(255*min(max(f, 0), 1) + 0.5)
				label[y*w+x] = labels[int(math.Round(min(max(row, 0), float64(g.Rows-1))))*g.Columns+
					int(math.Round(min(max(column, 0), float64(g.Columns-1))))]
			}
			at := dst.PixOffset(r.Min.X+x, r.Min.Y+y)
			dst.Pix[at], dst.Pix[at+1], dst.Pix[at+2], dst.Pix[at+3] = n, n, n, 255
		}
	}
	if outline == 0 {
		return
	}
	for y := range h {
		for x := range w {
			l := label[y*w+x]
			if l == 0 {
				continue
			}
			tint := fillTint
			if edge(label, w, h, x, y, outline) {
				tint = 1
			}
			at := dst.PixOffset(r.Min.X+x, r.Min.Y+y)
			c := v.c.Look(finding.Subtype(l)).Color
			for i, p := range [3]uint8{c.R, c.G, c.B} {
				dst.Pix[at+i] = uint8(math.Round(tint*float64(p) + (1-tint)*float64(dst.Pix[at+i])))
			}
		}
	}
}

// edge reports whether another label lies within n pixels left, right, above or below.
func edge(label []uint8, w, h, x, y, n int) bool {
	l := label[y*w+x]
	for i := 1; i <= n; i++ {
		if x < i || x+i >= w || y < i || y+i >= h || label[y*w+x-i] != l || label[y*w+x+i] != l ||
			label[(y-i)*w+x] != l || label[(y+i)*w+x] != l {
			return true
		}
	}
	return false
}

// bilinear interpolates a slice; it reports false more than half a pixel outside.
func bilinear(hu []int16, rows, columns int, row, column float64) (float64, bool) {
	if row < -0.5 || column < -0.5 || row > float64(rows)-0.5 || column > float64(columns)-0.5 {
		return 0, false
	}
	row, column = min(max(row, 0), float64(rows-1)), min(max(column, 0), float64(columns-1))
	r, c := min(int(row), max(rows-2, 0)), min(int(column), max(columns-2, 0))
	fr, fc := row-float64(r), column-float64(c)
	at := func(r, c int) float64 { return float64(hu[min(r, rows-1)*columns+min(c, columns-1)]) }
	return (1-fr)*((1-fc)*at(r, c)+fc*at(r, c+1)) + fr*((1-fc)*at(r+1, c)+fc*at(r+1, c+1)), true
}
