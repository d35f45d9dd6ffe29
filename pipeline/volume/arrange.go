package volume

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"ichor/pipeline/finding"
	"ichor/scp/dcm"
)

// Tolerances of the geometry.
const (
	parallelCos   = 0.9999 // between the orientations of two slices: 0.8 degrees
	unitTolerance = 0.01   // of the length and the angle of the direction cosines
	samePlaceMM   = 0.01   // two slices nearer than this along the normal lie at one position
	gapWarn       = 1.8    // times the median distance
	gapRefuse     = 3.0
	gapRefuseMM   = 20.0
)

// Arrangement is how the slices of a series lie in space: the grid, the order, and what is odd about it.
type Arrangement struct {
	Grid     Grid
	Order    []int    // Order[k] is the index of slice k in what was arranged
	Doubles  [][2]int // k and the index of another image that claims to be slice k; Build compares their pixels
	TiltDeg  float64  // angle between the normal and the axis of the positions: gantry tilt shears the stack by this
	Warnings []string // sentences
}

// Arrange sorts slices by ImagePositionPatient along the slice normal, feet to head; InstanceNumber, SliceThickness and
// GantryDetectorTilt are not looked at (PS3.3 §C.7.6.2.1.1). The error is a *finding.Refusal.
func Arrange(headers []*dcm.DataSet) (*Arrangement, error) {
	if len(headers) == 0 {
		return nil, refuse(finding.TooFewSlices, "The series holds no slices.")
	}
	a := &Arrangement{Order: make([]int, len(headers))}
	origins := make([]Vec, len(headers))
	for i, h := range headers {
		a.Order[i] = i
		g, origin, err := plane(h)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			a.Grid = g
		} else if err := samePlane(&a.Grid, &g); err != nil {
			return nil, err
		}
		origins[i] = origin
	}
	n := a.Grid.Normal()
	sort.SliceStable(a.Order, func(i, j int) bool { return origins[a.Order[i]].Dot(n) < origins[a.Order[j]].Dot(n) })
	sorted := a.Order
	a.Order = nil
	for _, i := range sorted {
		if k := len(a.Order) - 1; k >= 0 && origins[i].Sub(a.Grid.Origins[k]).Length() < samePlaceMM && sameNumber(headers[i], headers[a.Order[k]]) {
			a.Doubles = append(a.Doubles, [2]int{k, i})
			continue
		}
		a.Order, a.Grid.Origins = append(a.Order, i), append(a.Grid.Origins, origins[i])
	}
	if n := len(a.Doubles); n > 0 {
		a.Warnings = append(a.Warnings, fmt.Sprintf("%d of %d images came more than once under other identifiers; one of each was read.", n, len(headers)))
	}
	gaps := a.Grid.Gaps()
	if err := a.checkGaps(gaps); err != nil {
		return nil, err
	}
	thickness, _ := headers[0].Float(dcm.SliceThickness)
	a.Grid.SupportMM = Support(gaps, thickness)
	axis := a.Grid.Origins[a.Grid.Slices()-1].Sub(a.Grid.Origins[0])
	if l := axis.Length(); l > 0 {
		a.TiltDeg = math.Acos(math.Min(axis.Dot(n)/l, 1)) * 180 / math.Pi
	}
	return a, nil
}

// plane reads the geometry of one slice: Image Plane module (PS3.3 §C.7.6.2).
func plane(h *dcm.DataSet) (Grid, Vec, error) {
	number := func(t dcm.Tag, n int) ([]float64, bool) {
		v, ok := h.Floats(t)
		return v, ok && len(v) == n
	}
	pos, ok := number(dcm.ImagePositionPatient, 3)
	if !ok {
		return Grid{}, Vec{}, refuse(finding.MissingPosition,
			"A slice does not say where it lies (Image Position (Patient)); send the series again as it left the scanner.")
	}
	dir, ok := number(dcm.ImageOrientationPatient, 6)
	if !ok {
		return Grid{}, Vec{}, refuse(finding.MissingPosition,
			"A slice does not say how it is turned (Image Orientation (Patient)); send the series again as it left the scanner.")
	}
	spacing, ok := number(dcm.PixelSpacing, 2)
	if !ok || !(spacing[0] > 0.01 && spacing[0] < 20 && spacing[1] > 0.01 && spacing[1] < 20) {
		return Grid{}, Vec{}, refuse(finding.MissingPosition,
			"A slice does not say how large its pixels are (Pixel Spacing); no size is assumed.")
	}
	rows, _ := h.Int(dcm.Rows)
	columns, _ := h.Int(dcm.Columns)
	if rows < 1 || columns < 1 || rows > math.MaxUint16 || columns > math.MaxUint16 {
		return Grid{}, Vec{}, refuse(finding.Undecodable, "A slice has %d rows and %d columns; send the series again.", rows, columns)
	}
	for _, v := range pos {
		if math.Abs(v) > 1e5 {
			return Grid{}, Vec{}, refuse(finding.MissingPosition, "A slice lies %g mm from the origin of the scanner; send the series again as it left the scanner.", v)
		}
	}
	g := Grid{Rows: rows, Columns: columns, SpacingMM: [2]float64{spacing[0], spacing[1]},
		AlongRow: Vec{dir[0], dir[1], dir[2]}, AlongColumn: Vec{dir[3], dir[4], dir[5]}}
	lr, lc := g.AlongRow.Length(), g.AlongColumn.Length()
	if math.Abs(lr-1) > unitTolerance || math.Abs(lc-1) > unitTolerance || math.Abs(g.AlongRow.Dot(g.AlongColumn)) > unitTolerance {
		return Grid{}, Vec{}, refuse(finding.MissingPosition,
			"The orientation of a slice is no pair of perpendicular directions (Image Orientation (Patient)); "+
				"send the series again as it left the scanner.")
	}
	g.AlongRow, g.AlongColumn = g.AlongRow.Scale(1/lr), g.AlongColumn.Scale(1/lc)
	return g, Vec{pos[0], pos[1], pos[2]}, nil
}

func samePlane(a, b *Grid) error {
	if a.AlongRow.Dot(b.AlongRow) < parallelCos || a.AlongColumn.Dot(b.AlongColumn) < parallelCos {
		return refuse(finding.MixedOrientation, "The slices of the series are turned differently, and only parallel ones can be measured; send "+
			"each stack as a series of its own.")
	}
	near := func(x, y float64) bool { return math.Abs(x-y) <= 1e-3*x }
	if a.Rows != b.Rows || a.Columns != b.Columns || !near(a.SpacingMM[0], b.SpacingMM[0]) || !near(a.SpacingMM[1], b.SpacingMM[1]) {
		return refuse(finding.MixedGeometry, "The slices of the series differ in matrix or pixel size (%d x %d at %.3g mm, %d x %d at %.3g mm); "+
			"send each kind as a series of its own.",
			a.Rows, a.Columns, a.SpacingMM[0], b.Rows, b.Columns, b.SpacingMM[0])
	}
	return nil
}

// Gaps are the distances along the normal between neighbouring slices.
func (g *Grid) Gaps() []float64 {
	n := g.Normal()
	gaps := make([]float64, 0, len(g.Origins))
	for k := 1; k < len(g.Origins); k++ {
		gaps = append(gaps, g.Origins[k].Sub(g.Origins[k-1]).Dot(n))
	}
	return gaps
}

// MedianGap is the median distance between neighbouring slices; 0 for a single slice. The mean of the two middle ones
// where their number is even.
func (g *Grid) MedianGap() float64 { return median(g.Gaps()) }

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// checkGaps refuses two slices at one place and holes in the stack. A protocol that changes its distance once (thin
// slices through the skull base, thick ones above) has large gaps side by side; a missing slice leaves a single one.
func (a *Arrangement) checkGaps(gaps []float64) error {
	m := median(gaps)
	uneven := false
	for k, g := range gaps {
		if g < samePlaceMM {
			return duplicate()
		}
		alone := (k == 0 || gaps[k-1] < g/1.5) && (k == len(gaps)-1 || gaps[k+1] < g/1.5)
		switch {
		case g > gapRefuseMM, alone && g > gapRefuse*m:
			return refuse(finding.Incomplete, "Slices are missing: %.1f mm lie between slices %d and %d, %.1f mm between most others; "+
				"send the whole series again.", g, k+1, k+2, m)
		case alone && g > gapWarn*m:
			a.Warnings = append(a.Warnings, fmt.Sprintf("A slice seems to be missing: %.1f mm lie between slices %d and %d, %.1f mm between "+
				"most others.", g, k+1, k+2, m))
		case math.Abs(g-m) > 0.1*m:
			uneven = true
		}
	}
	if uneven {
		a.Warnings = append(a.Warnings, fmt.Sprintf("The distance between slices varies from %.2f to %.2f mm; volumes use each slice's own.",
			slices.Min(gaps), slices.Max(gaps)))
	}
	return nil
}

// sameNumber reports whether two images at one place were numbered as one: copies of one slice, not two readings of it.
func sameNumber(a, b *dcm.DataSet) bool {
	n := a.String(dcm.InstanceNumber)
	return n != "" && n == b.String(dcm.InstanceNumber)
}

func duplicate() error {
	return refuse(finding.DuplicatePosition, "Two slices of the series lie at the same position, so more than one reading of the head "+
		"is in it; send them as separate series.")
}

// Support gives each slice half the distance to either neighbour; an end slice reaches as far out as in. gaps are those of
// Grid.Gaps. A single slice stands for its thickness.
func Support(gaps []float64, thicknessMM float64) []float64 {
	if len(gaps) == 0 {
		return []float64{math.Max(thicknessMM, 0)}
	}
	s := make([]float64, len(gaps)+1)
	s[0], s[len(gaps)] = gaps[0], gaps[len(gaps)-1]
	for k := 1; k < len(gaps); k++ {
		s[k] = (gaps[k-1] + gaps[k]) / 2
	}
	return s
}

func refuse(code, format string, args ...any) error {
	return &finding.Refusal{Code: code, Reason: fmt.Sprintf(format, args...)}
}
