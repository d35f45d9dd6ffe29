package quality

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/volume"
)

// head is the analytic head, changed voxel by voxel; slices 8 to 23 (from 0) are judged for streaks.
func head(change func(k, r, c int, p volume.Vec, hu float64) float64) (*volume.Volume, *volume.Mask) {
	s := synthetic.Head(synthetic.Shape{})
	_, cavity := s.Truth()
	v := &volume.Volume{Grid: s.Grid(), HU: s.HU}
	if change != nil {
		for i, hu := range v.HU {
			k, r, c := i/(v.Rows*v.Columns), i/v.Columns%v.Rows, i%v.Columns
			v.HU[i] = int16(math.Max(math.Min(change(k, r, c, v.Point(k, float64(r), float64(c)), float64(hu)), 3071), -1024))
		}
	}
	return v, cavity
}

// streaks are bright and dark rays from a clip of 5 mm, on slices from..to.
func streaks(from, to int, clip bool) func(k, r, c int, p volume.Vec, hu float64) float64 {
	return func(k, _, _ int, p volume.Vec, hu float64) float64 {
		x, y := p[0]-20, p[1]-20
		switch d := math.Hypot(x, y); {
		case k < from || k > to:
			return hu
		case clip && d < 5:
			return 3071
		case d < 60:
			return hu + 400*math.Cos(8*math.Atan2(y, x))*math.Exp(-d/40)
		}
		return hu
	}
}

// moved displaces slices from..to by mm along the row.
func moved(mm float64, which func(k int) bool) (*volume.Volume, *volume.Mask) {
	v, cavity := head(nil)
	shift := int(math.Round(mm / v.SpacingMM[1]))
	for k := range v.Slices() {
		if !which(k) {
			continue
		}
		for r := range v.Rows {
			hu, in := v.Slice(k)[r*v.Columns:][:v.Columns], cavity.Slice(k)[r*v.Columns:][:v.Columns]
			copy(hu[shift:], hu[:v.Columns-shift])
			copy(in[shift:], in[:v.Columns-shift])
		}
	}
	return v, cavity
}

func TestCheck(t *testing.T) {
	type made func() (*volume.Volume, *volume.Mask)
	of := func(change func(k, r, c int, p volume.Vec, hu float64) float64) made {
		return func() (*volume.Volume, *volume.Mask) { return head(change) }
	}
	noise := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name string
		make made
		warn []string // what each warning holds
		code string
	}{
		{"as it is", of(nil), nil, ""},
		{"noise of thin slices", of(func(_, _, _ int, _ volume.Vec, hu float64) float64 { return hu + 15*noise.NormFloat64() }), nil, ""},
		{"a clip without streaks", of(func(k, _, _ int, p volume.Vec, hu float64) float64 {
			if p.Sub(volume.Vec{20, 20, 0}).Length() < 5 {
				return 3071
			}
			return hu
		}), nil, ""},
		{"air inside the skull", of(func(_, _, _ int, p volume.Vec, hu float64) float64 {
			if p.Sub(volume.Vec{0, -50, 20}).Length() < 20 {
				return -1000
			}
			return hu
		}), nil, ""},
		{"a large bleed", of(func(_, _, _ int, p volume.Vec, hu float64) float64 {
			if p.Sub(volume.Vec{20, 0, 0}).Length() < 35 {
				return 75
			}
			return hu
		}), nil, ""},
		{"streaks of a clip", of(streaks(13, 15, true)), []string{"Metal streaks on slices 14 to 16 (counted from the feet):"}, ""},
		{"streaks of a clip on one slice", of(streaks(13, 13, true)), []string{"Metal streaks on slice 14 (counted from the feet):"}, ""},
		{"streaks all over", of(streaks(4, 27, true)), nil, finding.Metal},
		{"streaks without metal", of(streaks(13, 14, false)), []string{"Streaks that look like motion on slices 14 to 15 (counted from the feet):"}, ""},
		{"streaks without metal all over", of(streaks(4, 27, false)), nil, finding.Motion},
		{"moved once", func() (*volume.Volume, *volume.Mask) { return moved(8.5, func(k int) bool { return k > 15 }) },
			[]string{"moved by 4 mm or more between slices 16 and 17 (counted from the feet):"}, ""},
		{"moved a little", func() (*volume.Volume, *volume.Mask) { return moved(1.7, func(k int) bool { return k > 15 }) }, nil, ""},
		{"moved all the time", func() (*volume.Volume, *volume.Mask) { return moved(6.8, func(k int) bool { return k%2 == 1 }) }, nil, finding.Motion},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, cavity := c.make()
			warnings, err := Check(v, cavity)
			code := ""
			if r, ok := err.(*finding.Refusal); ok {
				code = r.Code
			}
			if code != c.code || (err != nil) != (c.code != "") || len(warnings) != len(c.warn) {
				t.Fatalf("%q, %v; want %q, code %q", warnings, err, c.warn, c.code)
			}
			for i, want := range c.warn {
				if !strings.Contains(warnings[i], want) {
					t.Errorf("%q, want %q", warnings[i], want)
				}
			}
		})
	}
}

// Sheared and uneven stacks, and the heads that come with ichor, are as good as any.
func TestCheckPasses(t *testing.T) {
	sin, cos := math.Sincos(18.5 * math.Pi / 180)
	sheared := synthetic.Shape{Orientation: [6]float64{1, 0, 0, 0, cos, sin}}
	for z := -90.0; z < 85; z += map[bool]float64{true: 2.5, false: 5}[z < -20] {
		sheared.PositionsMM = append(sheared.PositionsMM, volume.Vec{-108, -108 * cos, z / cos})
	}
	all := []*synthetic.Study{synthetic.Head(sheared)}
	for _, name := range []string{"mixed", "normal", "epidural"} {
		s, err := phantom.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	for _, s := range all {
		_, cavity := s.Truth()
		if warnings, err := Check(&volume.Volume{Grid: s.Grid(), HU: s.HU}, cavity); err != nil || len(warnings) != 0 {
			t.Errorf("%s: %q %v", s.Name, warnings, err)
		}
	}
}

func TestNames(t *testing.T) {
	bare := &volume.Volume{}
	fromHead := &volume.Volume{Sources: make([]volume.Source, 9)} // numbered from the head
	for k := range fromHead.Sources {
		fromHead.Sources[k].InstanceNumber = 20 - k
	}
	for _, c := range []struct {
		v     *volume.Volume
		k     []int
		names string
		pairs string
	}{
		{bare, []int{3}, "slice 4 (counted from the feet)", "slices 4 and 5 (counted from the feet)"},
		{bare, []int{0, 1, 2, 4, 7, 8}, "slices 1 to 3, 5 and 8 to 9 (counted from the feet)", ""},
		{fromHead, []int{3}, "image 17", "images 16 and 17"},
		{fromHead, []int{3, 4, 7}, "images 13 and 16 to 17", "images 16 and 17, 15 and 16, 12 and 13"},
	} {
		if got := names(c.v, c.k); got != c.names {
			t.Errorf("%v: %q, want %q", c.k, got, c.names)
		}
		if got := pairsOf(c.v, c.k); c.pairs != "" && got != c.pairs {
			t.Errorf("%v: %q, want %q", c.k, got, c.pairs)
		}
	}
}

func TestNothingInside(t *testing.T) {
	v, cavity := head(nil)
	clear(cavity.Voxels)
	if warnings, err := Check(v, cavity); err != nil || len(warnings) != 0 {
		t.Errorf("%q %v", warnings, err)
	}
}
