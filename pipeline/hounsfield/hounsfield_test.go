package hounsfield

import (
	"errors"
	"math"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/volume"
)

// head is a synthetic head in Hounsfield units, with fat under the skin, and bone and enamel as uneven as they are.
func head() *volume.Volume { return headOf(64) }

func headOf(size int) *volume.Volume {
	s := synthetic.Head(synthetic.Shape{Rows: size, Columns: size, PixelSpacingMM: 3.4 * 64 / float64(size), Balls: []synthetic.Ball{{Subtype: finding.IPH, RadiusMM: 15}}})
	v := &volume.Volume{Grid: s.Grid(), HU: s.HU}
	for i, hu := range v.HU {
		switch {
		case hu > 800: // bone
			v.HU[i] = int16(350 + (i*7919)%1300)
		case hu > -900 && i%9 == 0:
			v.HU[i] = int16(-100 + i%13)
		}
	}
	return v
}

// changed is head after f.
func changed(f func(i int, hu int) int) *volume.Volume {
	v := head()
	for i, hu := range v.HU {
		v.HU[i] = int16(min(max(f(i, int(hu)), volume.AirHU), math.MaxInt16)) // as volume.Stored reads
	}
	return v
}

// scaled is what a wrong slope and intercept make of a head whose pixels are HU + 1024.
func scaled(slope, intercept float64) *volume.Volume {
	return changed(func(_, hu int) int { return int(math.Round(float64(max(hu+1024, 0))*slope + intercept)) })
}

// filled has another value in place of what lies outside of a circle.
func filled(value int) *volume.Volume {
	v := head()
	return changed(func(i, hu int) int {
		if y, x := i/v.Columns%v.Rows-v.Rows/2, i%v.Columns-v.Columns/2; x*x+y*y > 29*29 {
			return value
		}
		return hu
	})
}

func cropped() *volume.Volume {
	v := head()
	out := &volume.Volume{Grid: v.Grid}
	out.Rows, out.Columns = 32, 24
	for k := 8; k < 24; k++ {
		for r := range out.Rows {
			out.HU = append(out.HU, v.Slice(k)[(r+16)*v.Columns+20:][:out.Columns]...)
		}
	}
	out.Origins = out.Origins[8:24]
	return out
}

func TestCheck(t *testing.T) {
	t.Parallel()
	display := func(low, high float64) *volume.Volume {
		return changed(func(_, hu int) int { return int(255 * min(max((float64(hu)-low)/(high-low), 0), 1)) })
	}
	for _, c := range []struct {
		name    string
		v       *volume.Volume
		warning string // part of the one warning, "" for none
		refusal string // part of the reason, "" for none
	}{
		{"as it left the scanner", head(), "", ""},
		{"padding of -2000", filled(-2000), "", ""},
		{"padding of -3024", filled(-3024), "", ""},
		{"air outside of a circle is 0", filled(0), "", ""},
		{"padding of 3071", filled(3071), "3071 HU fill a part of the images", ""},
		{"all air is 0", changed(func(_, hu int) int {
			if hu < -900 {
				return 0
			}
			return hu
		}), "", ""},
		{"no air in the image", cropped(), "", ""},
		{"contrast in the vessels", changed(func(i, hu int) int {
			if hu > 0 && hu < 100 && i%20 == 0 {
				return 250
			}
			return hu
		}), "", ""},
		{"metal at the end of 12 bits", changed(func(i, hu int) int {
			if i%100 == 0 {
				return 3071
			}
			return hu
		}), "", ""},
		{"below 100 and above known as such only", changed(func(_, hu int) int {
			switch {
			case hu < -19:
				return -1000
			case hu > 99:
				return 1000
			}
			return hu
		}), "", ""},
		{"slope 2.059, as some scanners have", changed(func(_, hu int) int { return int(2.059*math.Round((float64(hu)+1024)/2.059) - 1024) }), "", ""},
		{"bone ends at 1000", changed(func(_, hu int) int { return min(hu, 1000) }), "", ""},
		{"24 too low", changed(func(_, hu int) int { return hu - 24 }), "soft tissue is 11 HU", ""},
		{"24 too high", changed(func(_, hu int) int { return hu + 24 }), "soft tissue is 59 HU", ""},

		{"offset not said", changed(func(_, hu int) int { return hu + 1024 }), "1024 above Hounsfield units", ""},
		{"offset not said, padding of -2000", changed(func(i, hu int) int {
			if i%64 < 2 {
				return -2000
			}
			return hu + 1024
		}), "1024 above Hounsfield units", ""},
		{"12 bits wrapped", changed(func(_, hu int) int { return hu & 0xFFF }), "negative 12-bit pixels", ""},

		{"offset of 1000 not said", changed(func(_, hu int) int { return max(hu+980, 0) }), "", "too few have the density of brain"},
		{"offset said twice", changed(func(_, hu int) int { return hu - 1024 }), "", "too few have the density of brain"},
		{"half the slope", scaled(0.5, -1024), "", "too few have the density of brain"},
		{"half the slope about water", changed(func(_, hu int) int { return hu / 2 }), "", "air has -504"},
		{"twice the slope", scaled(2, -1024), "", "too few have the density of brain"},
		{"twice the slope about water", changed(func(_, hu int) int { return 2 * hu }), "", "denser than 2200"},
		{"ten times the slope", scaled(10, -1024), "", "too few have the density of brain"},
		{"100 too high", changed(func(_, hu int) int { return hu + 100 }), "", "too few have the density of brain"},
		{"brain window of 8 bits", display(0, 80), "", "too few have the density of brain"},
		{"wide window of 8 bits", display(-1000, 1000), "", "too few have the density of brain"},
		{"clipped at 255", changed(func(_, hu int) int { return min(max(hu, 0), 255) }), "", "the largest is 255"},
		{"8 bits with the intercept of 12", changed(func(_, hu int) int { return hu&0xFF - 1024 }), "", "nothing is denser than air"},
		{"clipped at 0", changed(func(_, hu int) int { return max(hu, 0) }), "", "the smallest is 0, in"},
		{"clipped at -200", changed(func(_, hu int) int { return max(hu, -200) }), "", "the smallest is -200, in"},
		{"inverted", changed(func(_, hu int) int { return 1000 - hu }), "", "too few have the density of brain"},
		{"air only", changed(func(int, int) int { return -1000 }), "", "nothing is denser than air"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before := append([]int16(nil), c.v.HU...)
			checked(t, c.v, c.refusal, c.warning)
			padded := strings.Contains(c.name, "padding of 3071")
			corrected := strings.Contains(c.name, "offset not said") || strings.Contains(c.name, "wrapped")
			original := head()
			for i := range before {
				switch {
				case corrected && before[i] != volume.AirHU && c.v.HU[i] != original.HU[i]:
					t.Fatalf("voxel %d is %d HU, was %d before its values were changed", i, c.v.HU[i], original.HU[i])
				case padded && before[i] == 3071:
					if c.v.HU[i] != volume.AirHU {
						t.Fatalf("voxel %d of the padding is %d HU", i, c.v.HU[i])
					}
				case !corrected && c.v.HU[i] != before[i]:
					t.Fatalf("voxel %d became %d HU from %d", i, c.v.HU[i], before[i])
				}
			}
		})
	}
}

// TestUnsigned: air of negative 16-bit numbers that were read as positive ones.
func TestUnsigned(t *testing.T) {
	t.Parallel()
	if _, err := Check(changed(func(_, hu int) int { return hu & 0xFFFF })); !errors.Is(err, ErrUnsigned) {
		t.Errorf("got %v", err)
	}
	if _, err := Check(filled(3071)); err != nil {
		t.Errorf("padding: %v", err)
	}
}

// checked holds what Check says of a volume: a part of its refusal, or of its only warning; empty: there is none.
func checked(t *testing.T, v *volume.Volume, refused, warned string) {
	t.Helper()
	warnings, err := Check(v)
	refusal := new(finding.Refusal)
	switch {
	case refused == "" && err != nil:
		t.Fatalf("refused: %v", err)
	case refused != "" && (!errors.As(err, &refusal) || refusal.Code != finding.NotHounsfield || !strings.Contains(refusal.Reason, refused)):
		t.Fatalf("got %v, warnings %q; want a refusal that says %q", err, warnings, refused)
	case warned == "" && len(warnings) > 0, warned != "" && (len(warnings) != 1 || !strings.Contains(warnings[0], warned)):
		t.Fatalf("warnings %q, want %q", warnings, warned)
	}
}
