package volume

import "math"

// View reads a slice of a grid in canonical orientation: columns run from the patient's right to left, rows from front
// to back, by the nearest turn and mirroring of rows and columns. Nothing is interpolated: pixel (i, j) of the view is
// element Base + i*Row + j*Column of the slice.
type View struct {
	Rows, Columns     int
	SpacingMM         [2]float64 // between rows, between columns of the view
	Base, Row, Column int
	Swapped           bool // rows of the view are columns of the slice
}

// Canonical is the view of g's slices.
func (g *Grid) Canonical() View {
	r, c := g.AlongRow, g.AlongColumn // directions of increasing column and row index
	v := View{Rows: g.Rows, Columns: g.Columns, SpacingMM: g.SpacingMM, Row: g.Columns, Column: 1}
	left, back := r[0], c[1] // how far view columns run to the left (+x), view rows to the back (+y)
	if math.Abs(r[1])+math.Abs(c[0]) > math.Abs(r[0])+math.Abs(c[1]) {
		v = View{Rows: g.Columns, Columns: g.Rows, SpacingMM: [2]float64{g.SpacingMM[1], g.SpacingMM[0]}, Row: 1, Column: g.Columns, Swapped: true}
		left, back = c[0], r[1]
	}
	if left < 0 {
		v.Base += (v.Columns - 1) * v.Column
		v.Column = -v.Column
	}
	if back < 0 {
		v.Base += (v.Rows - 1) * v.Row
		v.Row = -v.Row
	}
	return v
}

// Index is the element of the slice that pixel (i, j) of the view shows.
func (v *View) Index(i, j int) int { return v.Base + i*v.Row + j*v.Column }
