package nnunet

import (
	"math"

	"ichor/models/bundle"
	"ichor/pipeline/volume"
)

// stack is the head in the orientation of the training images: a canvas of slices x rows x columns that holds each source slice,
// shifted by whole pixels so that a line along the slice normal keeps its row and column. Pixels beside a slice are air.
type stack struct {
	v       *volume.Volume
	view    volume.View
	shift   [][2]int // row and column of the canvas at which each slice begins
	crop    [3]span  // of slices, rows and columns of the canvas: the box of voxels other than 0 HU
	z       []float64
	gapMM   float64
	even    bool // distances between slices are equal, or are not used
	spec    *bundle.Network
	extreme [2]float32 // lowest and highest normalised value in the crop
}

// span is first and end of a range.
type span struct{ first, end int }

func (s span) n() int { return s.end - s.first }

// unevenGap: a distance that differs by more than this share of the median is taken as it is.
const unevenGap = 0.01

// newStack returns nil if all voxels are 0 HU.
func newStack(v *volume.Volume, spec *bundle.Network) *stack {
	s := &stack{v: v, view: v.Canonical(), shift: make([][2]int, v.Slices()), gapMM: v.MedianGap(), even: true, spec: spec}
	if spec.NNUNet.Orientation[0] == 'R' {
		s.view.Base += (s.view.Columns - 1) * s.view.Column
		s.view.Column = -s.view.Column
	}
	if spec.NNUNet.Orientation[1] == 'A' {
		s.view.Base += (s.view.Rows - 1) * s.view.Row
		s.view.Row = -s.view.Row
	}
	if s.gapMM == 0 {
		s.gapMM = max(v.SupportMM[0], 1)
	}
	normal := v.Normal()
	for k := range s.shift {
		s.z = append(s.z, v.Origins[k].Sub(v.Origins[0]).Dot(normal))
	}
	if spec.NNUNet.Configuration != "2d" { // one slice knows nothing of the next
		for _, gap := range v.Gaps() {
			s.even = s.even && math.Abs(gap-s.gapMM) <= unevenGap*s.gapMM
		}
		s.straighten()
	}
	if !s.cut() {
		return nil
	}
	return s
}

// straighten sets the shifts of a stack whose slices do not lie along their normal.
func (s *stack) straighten() {
	rowAxis, columnAxis := s.v.AlongColumn, s.v.AlongRow
	if s.view.Swapped {
		rowAxis, columnAxis = columnAxis, rowAxis
	}
	if s.view.Row < 0 {
		rowAxis = rowAxis.Scale(-1)
	}
	if s.view.Column < 0 {
		columnAxis = columnAxis.Scale(-1)
	}
	least := [2]int{}
	for k := range s.shift {
		d := s.v.Origins[k].Sub(s.v.Origins[0])
		s.shift[k] = [2]int{int(math.Round(d.Dot(rowAxis) / s.view.SpacingMM[0])), int(math.Round(d.Dot(columnAxis) / s.view.SpacingMM[1]))}
		least[0], least[1] = min(least[0], s.shift[k][0]), min(least[1], s.shift[k][1])
	}
	for k := range s.shift {
		s.shift[k][0] -= least[0]
		s.shift[k][1] -= least[1]
	}
}

// cut finds the crop and the extremes within it; false if there is nothing but 0 HU.
func (s *stack) cut() bool {
	rows, columns := s.view.Rows, s.view.Columns
	for _, d := range s.shift {
		rows, columns = max(rows, s.view.Rows+d[0]), max(columns, s.view.Columns+d[1])
	}
	none := [3]span{{s.v.Slices(), 0}, {rows, 0}, {columns, 0}}
	s.crop = none
	low, high := int16(math.MaxInt16), int16(math.MinInt16)
	add := func(k int, row, column span) {
		c := &s.crop
		c[0] = span{min(c[0].first, k), max(c[0].end, k+1)}
		c[1] = span{min(c[1].first, row.first), max(c[1].end, row.end)}
		c[2] = span{min(c[2].first, column.first), max(c[2].end, column.end)}
	}
	for k := range s.v.Slices() {
		hu := s.v.Slice(k)
		if rows > s.view.Rows || columns > s.view.Columns { // there is air beside the slice
			add(k, span{0, rows}, span{0, columns})
			low = volume.AirHU
		}
		for i := range s.view.Rows {
			first, end := s.view.Columns, 0
			for j := range s.view.Columns {
				if x := hu[s.view.Index(i, j)]; x != 0 {
					first, end = min(first, j), j+1
					low, high = min(low, x), max(high, x)
				}
			}
			if end > 0 {
				add(k, span{i + s.shift[k][0], i + s.shift[k][0] + 1}, span{first + s.shift[k][1], end + s.shift[k][1]})
			}
		}
	}
	if s.crop == none {
		return false
	}
	if low > 0 || high < 0 { // zeros inside the box belong to it
		for k := s.crop[0].first; k < s.crop[0].end; k++ {
			for _, x := range s.v.Slice(k) {
				low, high = min(low, x), max(high, x)
			}
		}
	}
	s.extreme = [2]float32{s.normal(low), s.normal(high)}
	return true
}

// normal is the value that the network sees.
func (s *stack) normal(hu int16) float32 {
	u := s.spec.NNUNet
	x := min(max(float32(hu), float32(s.spec.Input.WindowHU[0])), float32(s.spec.Input.WindowHU[1]))
	return (x - float32(u.Mean)) / float32(u.Std)
}

// fill writes slice k of the crop to dst, rows x columns, normalised; k counts from the first slice of the crop.
func (s *stack) fill(dst []float32, k int) {
	k += s.crop[0].first
	hu, air := s.v.Slice(k), s.normal(volume.AirHU)
	width := s.crop[2].n()
	for r := range s.crop[1].n() {
		line := dst[r*width : (r+1)*width]
		i := r + s.crop[1].first - s.shift[k][0]
		if i < 0 || i >= s.view.Rows {
			for c := range line {
				line[c] = air
			}
			continue
		}
		for c := range line {
			if j := c + s.crop[2].first - s.shift[k][1]; j >= 0 && j < s.view.Columns {
				line[c] = s.normal(hu[s.view.Index(i, j)])
			} else {
				line[c] = air
			}
		}
	}
}
