package volume

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"unicode"

	"ichor/pipeline/finding"
	"ichor/scp/dcm"
)

// Tolerances of the geometry.
const (
	parallelCos      = 0.9999 // between the orientations of two slices: 0.8 degrees
	unitTolerance    = 0.01   // of the length and the angle of the direction cosines
	samePlaceMM      = 0.01   // slices closer than this along the normal have the same position
	gapMissing       = 1.8    // times the median distance: a slice is missing
	gapSeveral       = 2.5    // times the median distance: more than one is missing
	gapMissingMM     = 7.0    // largest gap if several are missing: about the thickness of the networks' slabs
	usualThicknessMM = 5.0    // of a slice that does not tell its thickness, and has no neighbour

	gapRefuseMM = 20.0 // between any two slices

	// MaxTiltDeg is the largest angle between the axis of a stack and the normal of its slices; gantries tilt by up to 30 degrees.
	MaxTiltDeg = 45.0
)

// Arrangement is the geometry of a series: the grid, the order of slices, and warnings.
type Arrangement struct {
	Grid     Grid
	Order    []int    // Order[k] is the index of the header of slice k
	Doubles  [][2]int // k and the index of another image at the position of slice k; Build compares their pixels
	TiltDeg  float64  // angle between the normal and the axis of the positions: gantry tilt shears the stack by this
	Warnings []string // sentences
}

// Arrange sorts slices by ImagePositionPatient along the slice normal, feet to head; InstanceNumber, SliceThickness and
// GantryDetectorTilt are ignored (PS3.3 §C.7.6.2.1.1). The error is a *finding.Refusal.
func Arrange(headers []*dcm.DataSet) (*Arrangement, error) {
	if len(headers) == 0 {
		return nil, refuse(finding.TooFewSlices, "The series contains no slices.")
	}
	a := &Arrangement{Order: make([]int, len(headers))}
	origins := make([]Vec, len(headers))
	for i, h := range headers {
		a.Order[i] = i
		g, origin, err := plane(h, i)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			a.Grid = g
		} else if err := samePlane(&a.Grid, &g, headers[0], h, i); err != nil {
			return nil, err
		}
		origins[i] = origin
	}
	n := a.Grid.Normal()
	sort.SliceStable(a.Order, func(i, j int) bool { return origins[a.Order[i]].Dot(n) < origins[a.Order[j]].Dot(n) })
	sorted := a.Order
	a.Order = nil
	for _, i := range sorted {
		if k := len(a.Order) - 1; k >= 0 && origins[i].Sub(a.Grid.Origins[k]).Length() < samePlaceMM {
			a.Doubles = append(a.Doubles, [2]int{k, i})
			continue
		}
		a.Order, a.Grid.Origins = append(a.Order, i), append(a.Grid.Origins, origins[i])
	}
	if n := len(a.Doubles); n > 0 {
		a.Warnings = append(a.Warnings, fmt.Sprintf("%d of %d images are copies: the same pixels at the same position with other UIDs. One of each was used.", n, len(headers)))
	}
	gaps := a.Grid.Gaps()
	if err := a.checkGaps(gaps, headers); err != nil {
		return nil, err
	}
	if n := slices.IndexFunc(headers, hasComma); n >= 0 {
		a.Warnings = append(a.Warnings, Name(headers[n], n)+" has numbers with a decimal comma, which the standard does not allow; it was read as a decimal point.")
	}
	thickness, _ := headers[0].Float(dcm.SliceThickness)
	if len(gaps) == 0 && !(thickness > 0) {
		thickness = usualThicknessMM
		a.Warnings = append(a.Warnings, fmt.Sprintf("The only slice has no Slice Thickness %s; %.0f mm was assumed, on which all volumes depend.", dcm.SliceThickness, thickness))
	}
	a.Grid.SupportMM = Support(gaps, thickness)
	axis := a.Grid.Origins[a.Grid.Slices()-1].Sub(a.Grid.Origins[0])
	if l := axis.Length(); l > 0 {
		a.TiltDeg = math.Acos(math.Min(axis.Dot(n)/l, 1)) * 180 / math.Pi
	}
	if first, last := a.Order[0], a.Order[len(a.Order)-1]; a.TiltDeg > MaxTiltDeg {
		return nil, refuse(finding.MissingPosition, "%s has %q and image %d of the stack %q in Image Position (Patient) %s: the stack leans by %.1f degrees from the normal of "+
			"its slices; up to %.0f are read, for no gantry tilts further."+again, Name(headers[first], first), said(headers[first], dcm.ImagePositionPatient), len(a.Order),
			said(headers[last], dcm.ImagePositionPatient), dcm.ImagePositionPatient, a.TiltDeg, MaxTiltDeg)
	}
	return a, nil
}

// Name returns a name for image i of a series in a sentence: the number of a frame, or its Instance Number if it has one. It
// contains no patient data.
func Name(h *dcm.DataSet, i int) string {
	if n, ok := h.Int(dcm.ReferencedFrameNumber); ok { // see Frames
		return fmt.Sprintf("Frame %d of the multi-frame image", n)
	}
	if n, ok := h.Int(dcm.InstanceNumber); ok {
		return fmt.Sprintf("The image with Instance Number %d", n)
	}
	return fmt.Sprintf("Image %d of the series (without Instance Number)", i+1)
}

// said formats the value of an attribute for a reason; "" if it is missing or empty.
func said(h *dcm.DataSet, t dcm.Tag) string {
	text := strings.Join(h.Strings(t), `\`)
	if e, ok := h.Get(t); ok && text == "" {
		if v, ok := h.Floats(t); ok {
			text = strings.Trim(fmt.Sprint(v), "[]")
		} else if v, ok := e.Value.([]byte); ok && len(v) > 0 {
			text = fmt.Sprintf("%d bytes of VR %s", len(v), e.VR)
		}
	}
	if len(text) > 60 {
		text = strings.ToValidUTF8(text[:60], "") + "..."
	}
	return text
}

func hasComma(h *dcm.DataSet) bool {
	for _, t := range []dcm.Tag{dcm.ImagePositionPatient, dcm.ImageOrientationPatient, dcm.PixelSpacing, dcm.RescaleSlope, dcm.RescaleIntercept} {
		if strings.Contains(said(h, t), ",") {
			return true
		}
	}
	return false
}

const again = "\nSend the series again as it left the scanner."

// plane reads the geometry of image i: Image Plane module (PS3.3 §C.7.6.2).
func plane(h *dcm.DataSet, i int) (Grid, Vec, error) {
	numbers := func(t dcm.Tag, name string, n int) ([]float64, error) {
		v, ok := h.Floats(t)
		if ok && len(v) == n {
			return v, nil
		}
		if text := said(h, t); text != "" {
			return nil, refuse(finding.MissingPosition, "%s has %q in %s %s, where %d numbers are needed."+again, Name(h, i), text, name, t, n)
		}
		return nil, refuse(finding.MissingPosition, "%s has no %s %s."+again, Name(h, i), name, t)
	}
	pos, err := numbers(dcm.ImagePositionPatient, "Image Position (Patient)", 3)
	if err != nil {
		return Grid{}, Vec{}, err
	}
	dir, err := numbers(dcm.ImageOrientationPatient, "Image Orientation (Patient)", 6)
	if err != nil {
		return Grid{}, Vec{}, err
	}
	spacing, err := numbers(dcm.PixelSpacing, "Pixel Spacing", 2)
	if err != nil {
		return Grid{}, Vec{}, err
	}
	if !(spacing[0] > 0.01 && spacing[0] < 20 && spacing[1] > 0.01 && spacing[1] < 20) {
		return Grid{}, Vec{}, refuse(finding.MissingPosition, "%s has pixels of %g x %g mm (Pixel Spacing %s), which no CT has."+again,
			Name(h, i), spacing[0], spacing[1], dcm.PixelSpacing)
	}
	rows, _ := h.Int(dcm.Rows)
	columns, _ := h.Int(dcm.Columns)
	if rows < 1 || columns < 1 || rows > math.MaxUint16 || columns > math.MaxUint16 {
		return Grid{}, Vec{}, refuse(finding.Undecodable, "%s has %d rows and %d columns (Rows %s, Columns %s)."+again, Name(h, i), rows, columns,
			dcm.Rows, dcm.Columns)
	}
	for _, v := range pos {
		if math.Abs(v) > 1e5 {
			return Grid{}, Vec{}, refuse(finding.MissingPosition, "%s lies %g mm from the origin of the scanner (Image Position (Patient) %s)."+again,
				Name(h, i), v, dcm.ImagePositionPatient)
		}
	}
	g := Grid{Rows: rows, Columns: columns, SpacingMM: [2]float64{spacing[0], spacing[1]},
		AlongRow: Vec{dir[0], dir[1], dir[2]}, AlongColumn: Vec{dir[3], dir[4], dir[5]}}
	lr, lc := g.AlongRow.Length(), g.AlongColumn.Length()
	if math.Abs(lr-1) > unitTolerance || math.Abs(lc-1) > unitTolerance || math.Abs(g.AlongRow.Dot(g.AlongColumn)) > unitTolerance {
		return Grid{}, Vec{}, refuse(finding.MissingPosition, "%s has %q in Image Orientation (Patient) %s, which is no pair of perpendicular unit vectors."+again,
			Name(h, i), said(h, dcm.ImageOrientationPatient), dcm.ImageOrientationPatient)
	}
	g.AlongRow, g.AlongColumn = g.AlongRow.Scale(1/lr), g.AlongColumn.Scale(1/lc)
	return g, Vec{pos[0], pos[1], pos[2]}, nil
}

func samePlane(a, b *Grid, first, h *dcm.DataSet, i int) error {
	if a.AlongRow.Dot(b.AlongRow) < parallelCos || a.AlongColumn.Dot(b.AlongColumn) < parallelCos {
		return refuse(finding.MixedOrientation, "%s has %q in Image Orientation (Patient) %s, another one of the series %q; only parallel slices can be "+
			"measured.\nSend each stack as a series of its own.", Name(h, i), said(h, dcm.ImageOrientationPatient), dcm.ImageOrientationPatient,
			said(first, dcm.ImageOrientationPatient))
	}
	near := func(x, y float64) bool { return math.Abs(x-y) <= 1e-3*x }
	if a.Rows != b.Rows || a.Columns != b.Columns || !near(a.SpacingMM[0], b.SpacingMM[0]) || !near(a.SpacingMM[1], b.SpacingMM[1]) {
		return refuse(finding.MixedGeometry, "%s has a matrix of %d x %d pixels of %.3g mm, another one of the series %d x %d of %.3g mm (Rows, Columns, Pixel "+
			"Spacing).\nSend each kind as a series of its own.", Name(h, i), b.Rows, b.Columns, b.SpacingMM[0], a.Rows, a.Columns, a.SpacingMM[0])
	}
	return nil
}

// Gaps returns the distances along the normal between neighbouring slices.
func (g *Grid) Gaps() []float64 {
	n := g.Normal()
	gaps := make([]float64, 0, len(g.Origins))
	for k := 1; k < len(g.Origins); k++ {
		gaps = append(gaps, g.Origins[k].Sub(g.Origins[k-1]).Dot(n))
	}
	return gaps
}

// MedianGap returns the median distance between neighbouring slices; 0 for a single slice. For an even number of gaps it is the
// mean of the two middle ones.
func (g *Grid) MedianGap() float64 { return median(g.Gaps()) }

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// checkGaps refuses two slices at one position, and gaps in the stack: any beyond gapRefuseMM, and one that is wider than
// gapMissingMM where more than one slice is missing. The slices around a gap stand for the volume in it; up to about the thickness
// of a slab that the networks see, little can hide there. One missing slice of a thick stack is read with a warning, although
// its gap is wider: refusing a whole head for it would cost more than it saves. A protocol that changes the distance once (thin
// slices through the skull base, thick ones above) has adjacent large gaps; missing slices leave a single one.
func (a *Arrangement) checkGaps(gaps []float64, headers []*dcm.DataSet) error {
	m := median(gaps)
	uneven := false
	missing, widest := 0, 0
	for k, g := range gaps {
		if g < samePlaceMM {
			return duplicate(headers[a.Order[k]], a.Order[k], headers[a.Order[k+1]], a.Order[k+1], "but side by side")
		}
		alone := (k == 0 || gaps[k-1] < g/1.5) && (k == len(gaps)-1 || gaps[k+1] < g/1.5)
		switch {
		case g > gapRefuseMM, alone && g > gapSeveral*m && g > gapMissingMM:
			return refuse(finding.Incomplete, "The stack has a gap: %.1f mm lie between %s (Image Position (Patient) %s), %.1f mm between most others; gaps up to %.0f mm, or of one "+
				"slice, are read.\nSend the whole series again.", g, a.pair(k, headers), dcm.ImagePositionPatient, m, gapMissingMM)
		case alone && g > gapMissing*m:
			if missing++; g > gaps[widest] || missing == 1 {
				widest = k
			}
		case math.Abs(g-m) > 0.1*m:
			uneven = true
		}
	}
	if missing > 0 {
		a.Warnings = append(a.Warnings, fmt.Sprintf("The stack has gaps at %s: %.1f mm lie between %s, %.1f mm between most others. "+
			"The gap was read because %s; volumes assume that each slice extends to half of the gap, and bleeding in it is not seen.",
			places(missing), gaps[widest], a.pair(widest, headers), m, readable(gaps[widest])))
	}
	if uneven {
		a.Warnings = append(a.Warnings, fmt.Sprintf("The distance between slices varies from %.2f to %.2f mm; volumes use the actual distances.",
			slices.Min(gaps), slices.Max(gaps)))
	}
	return nil
}

func places(n int) string {
	if n == 1 {
		return "one place"
	}
	return fmt.Sprintf("%d places", n)
}

// readable says by which rule of checkGaps a gap is read.
func readable(mm float64) string {
	if mm <= gapMissingMM {
		return fmt.Sprintf("it is no wider than %.0f mm, about what the networks see as one slice", gapMissingMM)
	}
	return fmt.Sprintf("it is of one slice only, though wider than %.0f mm", gapMissingMM)
}

// pair names slice k and the next one as a viewer numbers them, or by their place in the stack.
func (a *Arrangement) pair(k int, headers []*dcm.DataSet) string {
	number := func(k int) int {
		h := headers[a.Order[k]]
		if n, ok := h.Int(dcm.ReferencedFrameNumber); ok { // see Frames
			return n
		}
		n, _ := h.Int(dcm.InstanceNumber)
		return n
	}
	if from, to := number(k), number(k+1); from > 0 && to > 0 {
		return fmt.Sprintf("images %d and %d", min(from, to), max(from, to))
	}
	return fmt.Sprintf("slices %d and %d of %d (counted from the feet)", k+1, k+2, len(a.Order))
}

// duplicate refuses two different images at one position.
func duplicate(a *dcm.DataSet, i int, b *dcm.DataSet, k int, how string) error {
	other := []rune(Name(b, k))
	other[0] = unicode.ToLower(other[0])
	return refuse(finding.DuplicatePosition, "%s and %s lie at the same position (Image Position (Patient) %s), %s, so more than one reading of the head "+
		"is in the series.\nSend them as separate series.", Name(a, i), string(other), dcm.ImagePositionPatient, how)
}

// Support returns the extent of each slice along the normal: half the distance to each neighbour; the outer half of an end slice
// equals its inner half. gaps are from Grid.Gaps. A single slice gets its thickness.
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

func refuse(code, format string, args ...any) error { return finding.Refuse(code, format, args...) }
