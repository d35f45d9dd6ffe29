package hounsfield

import (
	"slices"
	"testing"

	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/volume"
)

// numbered has images numbered from 1, the lowest slice.
func numbered(s *synthetic.Study) *volume.Volume {
	v := &volume.Volume{Grid: s.Grid(), HU: append([]int16(nil), s.HU...)}
	for k := range v.Slices() {
		v.Sources = append(v.Sources, volume.Source{InstanceNumber: k + 1})
	}
	return v
}

// rescaled reads some slices of v with a wrong slope and intercept; the stored values are HU + 1024.
func rescaled(slope, intercept float64, which func(k int) bool) func(v *volume.Volume) {
	return func(v *volume.Volume) {
		for k := range v.Slices() {
			if !which(k) {
				continue
			}
			s := v.Slice(k)
			for i, hu := range s {
				s[i] = int16(min(max(float64(int(hu)+1024)*slope+intercept, volume.AirHU), 1<<15-1))
			}
		}
	}
}

// TestSlices: a few wrong slices halve a result, and leave no trace in the histogram of the volume.
func TestSlices(t *testing.T) {
	t.Parallel()
	mixed, err := phantom.Load("mixed")
	if err != nil {
		t.Fatal(err)
	}
	only := func(which ...int) func(int) bool {
		return func(k int) bool { return slices.Contains(which, k+1) }
	}
	from := func(first int) func(int) bool { return func(k int) bool { return k+1 >= first } }
	for _, c := range []struct {
		name    string
		change  func(*volume.Volume)
		warning string // part of it, "" for none
		refusal string // part of it, "" for none
	}{
		{"as stored", func(*volume.Volume) {}, "", ""},
		{"other rescale, same values", rescaled(1, -1024, from(10)), "", ""},
		{"a slice 8 higher", rescaled(1, -1016, only(16)), "", ""},
		{"upper half 10 lower", rescaled(1, -1034, from(17)), "", ""},
		{"intercept 0 in one slice", rescaled(1, 0, only(16)), "", "Image 16 does not fit"},
		{"intercept 0 in one slice near the vertex", rescaled(1, 0, only(27)), "", "Image 27 does not fit"},
		{"intercept 0 in the skull base", rescaled(1, 0, only(7)), "", "Image 7 does not fit"},
		{"intercept 0 in two slices", rescaled(1, 0, only(15, 16)), "", "2 of 32 slices (image 15, image 16) do not fit"},
		{"every 4th slice", rescaled(1, 0, func(k int) bool { return k%4 == 3 }), "", "image 8, image 12"},
		{"every 2nd slice 40 lower", rescaled(1, -1064, func(k int) bool { return k%2 == 1 }), "", "do not fit"},
		{"a slice with slope 2", rescaled(2, -1024, only(16)), "", "Image 16 does not fit"},
		{"a slice with slope 0.5", rescaled(0.5, -1024, only(16)), "", "Image 16 does not fit"},
		{"a slice with slope 0.8 about water", rescaled(0.8, -819, only(16)), "", "Image 16 does not fit"},
		{"a slice 40 lower", rescaled(1, -1064, only(16)), "", "Image 16 does not fit"},
		{"upper half 40 lower", rescaled(1, -1064, from(17)), "", "do not fit"},
		{"upper half 40 higher", rescaled(1, -984, from(17)), "", "do not fit"},
		{"upper half with slope 2", rescaled(2, -1024, from(17)), "", "do not fit"},
		{"a black slice", rescaled(0, -1024, only(16)), "", "Image 16 is empty within the head: all pixels are about -1024 HU"},
		{"a slice of 0", rescaled(0, 0, only(16)), "", "Image 16 is empty"},
		{"a slice of 35", rescaled(0, 35, only(16)), "", "Image 16 is empty"},
		{"two black slices", rescaled(0, -1024, only(12, 20)), "", "image 12, image 20"},
		{"black from the middle on", rescaled(0, -1024, from(17)), "", "Image 17 is empty within the head"},
		{"the uppermost slice is black", rescaled(0, -1024, only(32)), "", ""},
		{"the lowest slice 1024 higher", rescaled(1, 0, only(1)), "(Rescale Slope, Rescale Intercept). This is at the end", ""},
		{"the lowest slices are black", rescaled(0, -1024, only(1, 2, 3)), "Image 3 at the end of the series is empty, although image 4", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := numbered(mixed)
			c.change(v)
			checked(t, v, c.refusal, c.warning)
		})
	}
}
