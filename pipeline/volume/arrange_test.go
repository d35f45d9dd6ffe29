package volume

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/scp/dcm"
)

// header makes the geometry of one slice of 4 x 5 pixels.
func header(origin Vec, orientation ...float64) *dcm.DataSet {
	if len(orientation) == 0 {
		orientation = []float64{1, 0, 0, 0, 1, 0}
	}
	d := &dcm.DataSet{}
	d.SetDecimals(dcm.ImagePositionPatient, origin[:]...)
	d.SetDecimals(dcm.ImageOrientationPatient, orientation...)
	d.SetDecimals(dcm.PixelSpacing, 0.5, 0.4)
	d.SetInts(dcm.Rows, "US", 4)
	d.SetInts(dcm.Columns, "US", 5)
	d.SetInts(dcm.BitsAllocated, "US", 16)
	d.SetInts(dcm.BitsStored, "US", 12)
	d.SetInts(dcm.HighBit, "US", 11)
	d.SetInts(dcm.PixelRepresentation, "US", 0)
	d.SetDecimals(dcm.RescaleSlope, 1)
	d.SetDecimals(dcm.RescaleIntercept, -1024)
	return d
}

func at(zs ...float64) []*dcm.DataSet {
	var out []*dcm.DataSet
	for _, z := range zs {
		out = append(out, header(Vec{-10, -10, z}))
	}
	return out
}

// thin lies every step mm from lo to hi, and once more from gap on.
func thin(lo, hi, step, gap float64) (zs []float64) {
	for z := lo; z <= hi; z += step {
		zs = append(zs, z)
	}
	for z := gap; z <= gap+hi; z += step {
		zs = append(zs, z)
	}
	return zs
}

// beside moves slices of one place apart within their plane.
func beside(zs ...float64) []*dcm.DataSet {
	h := at(zs...)
	for i := 1; i < len(zs); i++ {
		if zs[i] == zs[i-1] {
			h[i].SetDecimals(dcm.ImagePositionPatient, 3, 3, zs[i])
		}
	}
	return h
}

// TestReasons: a refusal names the image, the attribute and what it holds, and does not call it missing where it is there.
func TestReasons(t *testing.T) {
	t.Parallel()
	build := func(edit func(*dcm.DataSet)) error {
		h := at(0, 5, 10)
		h[1].SetStrings(dcm.InstanceNumber, "IS", "17")
		edit(h[1])
		var s []Slice
		for _, d := range h {
			s = append(s, Slice{Header: d, Pixels: func(context.Context) ([]byte, error) { return make([]byte, 2*4*5), nil }})
		}
		_, _, err := Build(t.Context(), s)
		return err
	}
	for _, c := range []struct {
		name string
		edit func(*dcm.DataSet)
		want []string
	}{
		{"no position", func(d *dcm.DataSet) { d.Delete(dcm.ImagePositionPatient) }, []string{"Instance Number 17", "has no Image Position (Patient) (0020,0032)"}},
		{"position of two numbers", func(d *dcm.DataSet) { d.SetStrings(dcm.ImagePositionPatient, "DS", "1", "2") }, []string{"Instance Number 17", `has "1\\2" in Image Position (Patient) (0020,0032)`, "3 numbers"}},
		{"position in words", func(d *dcm.DataSet) { d.SetStrings(dcm.ImagePositionPatient, "DS", "left") }, []string{`"left"`}},
		{"one spacing", func(d *dcm.DataSet) { d.SetStrings(dcm.PixelSpacing, "DS", "0.5") }, []string{`has "0.5" in Pixel Spacing (0028,0030)`, "2 numbers"}},
		{"no size", func(d *dcm.DataSet) { d.SetDecimals(dcm.PixelSpacing, 0, 0) }, []string{"pixels of 0 x 0 mm"}},
		{"oblique", func(d *dcm.DataSet) { d.SetDecimals(dcm.ImageOrientationPatient, 1, 0, 0, 1, 0, 0) }, []string{`"1\\0\\0\\1\\0\\0"`, "perpendicular"}},
		{"turned", func(d *dcm.DataSet) { d.SetDecimals(dcm.ImageOrientationPatient, 0, 1, 0, 1, 0, 0) }, []string{"Instance Number 17", `"0\\1\\0\\1\\0\\0"`}},
		{"colours", func(d *dcm.DataSet) { d.SetStrings(dcm.PhotometricInterpretation, "CS", "PALETTE COLOR") }, []string{"Instance Number 17", "PALETTE COLOR"}},
		{"three samples", func(d *dcm.DataSet) { d.SetInts(dcm.SamplesPerPixel, "US", 3) }, []string{"3 samples per pixel"}},
		{"bits", func(d *dcm.DataSet) { d.SetInts(dcm.HighBit, "US", 5) }, []string{"Instance Number 17", "12 in Bits Stored", "5 in High Bit"}},
		{"no intercept", func(d *dcm.DataSet) { d.Delete(dcm.RescaleIntercept) }, []string{"Instance Number 17", `"1" in Rescale Slope`, `nothing in Rescale Intercept`}},
	} {
		err := build(c.edit)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", c.name, err, want)
			}
		}
	}
	if err := build(func(d *dcm.DataSet) { d.SetStrings(dcm.PhotometricInterpretation, "CS", "MONOCHROME1") }); err != nil {
		t.Errorf("MONOCHROME1: %v", err)
	}
	a, err := Arrange([]*dcm.DataSet{at(0)[0], func() *dcm.DataSet {
		d := at(5)[0]
		d.SetStrings(dcm.PixelSpacing, "DS", "0,5", "0,4")
		return d
	}()})
	if err != nil || len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "decimal comma") {
		t.Errorf("decimal commas: %+v %v", a, err)
	}
}

// TestCopies: images at one position under other identifiers are copies where their pixels are the same, and two readings
// where they are not.
func TestCopies(t *testing.T) {
	t.Parallel()
	for _, numbered := range []bool{false, true} {
		for _, same := range []bool{true, false} {
			h := append(at(0, 5, 10, 15), at(5, 10)...)
			var s []Slice
			for i, d := range h {
				if numbered {
					d.SetStrings(dcm.InstanceNumber, "IS", fmt.Sprint(100+i))
				}
				raw := make([]byte, 2*4*5)
				if i == 5 && !same {
					raw[7] = 1
				}
				s = append(s, Slice{Header: d, Pixels: func(context.Context) ([]byte, error) { return raw, nil }})
			}
			v, a, err := Build(t.Context(), s)
			var r *finding.Refusal
			switch {
			case same && (err != nil || v.Slices() != 4 || len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "2 of 6 images are copies")):
				t.Errorf("copies: %+v %v", a, err)
			case !same && (!errors.As(err, &r) || r.Code != finding.DuplicatePosition || !strings.Contains(r.Reason, "with other pixels")):
				t.Errorf("two readings: %v", err)
			}
		}
	}
}

func TestArrangeRefuses(t *testing.T) {
	without := func(tag dcm.Tag) []*dcm.DataSet {
		h := at(0, 5, 10)
		h[1].Delete(tag)
		return h
	}
	with := func(edit func(*dcm.DataSet)) []*dcm.DataSet {
		h := at(0, 5, 10)
		edit(h[2])
		return h
	}
	for _, c := range []struct {
		name    string
		headers []*dcm.DataSet
		code    string
	}{
		{"nothing", nil, finding.TooFewSlices},
		{"no position", without(dcm.ImagePositionPatient), finding.MissingPosition},
		{"no orientation", without(dcm.ImageOrientationPatient), finding.MissingPosition},
		{"no pixel spacing", without(dcm.PixelSpacing), finding.MissingPosition},
		{"no rows", without(dcm.Rows), finding.Undecodable},
		{"two coordinates", with(func(d *dcm.DataSet) { d.SetDecimals(dcm.ImagePositionPatient, 1, 2) }), finding.MissingPosition},
		{"position far away", with(func(d *dcm.DataSet) { d.SetDecimals(dcm.ImagePositionPatient, 1, 2, 1e9) }), finding.MissingPosition},
		{"zero direction", with(func(d *dcm.DataSet) { d.SetDecimals(dcm.ImageOrientationPatient, 0, 0, 0, 0, 1, 0) }), finding.MissingPosition},
		{"oblique directions", with(func(d *dcm.DataSet) { d.SetDecimals(dcm.ImageOrientationPatient, 1, 0, 0, 0.6, 0.8, 0) }), finding.MissingPosition},
		{"no number", with(func(d *dcm.DataSet) { d.SetStrings(dcm.PixelSpacing, "DS", "NaN", "1") }), finding.MissingPosition},
		{"zero spacing", with(func(d *dcm.DataSet) { d.SetDecimals(dcm.PixelSpacing, 0, 0) }), finding.MissingPosition},
		{"turned slice", with(func(d *dcm.DataSet) { d.SetDecimals(dcm.ImageOrientationPatient, 0, 1, 0, 0, 0, -1) }), finding.MixedOrientation},
		{"mirrored slice", with(func(d *dcm.DataSet) { d.SetDecimals(dcm.ImageOrientationPatient, -1, 0, 0, 0, 1, 0) }), finding.MixedOrientation},
		{"other matrix", with(func(d *dcm.DataSet) { d.SetInts(dcm.Rows, "US", 5) }), finding.MixedGeometry},
		{"other zoom", with(func(d *dcm.DataSet) { d.SetDecimals(dcm.PixelSpacing, 0.6, 0.4) }), finding.MixedGeometry},
		{"side by side", beside(0, 5, 5, 10), finding.DuplicatePosition},
		{"two slices of 5 mm missing", at(0, 5, 10, 25, 30), finding.Incomplete},
		{"a gap of 8 mm in thin slices", at(thin(0, 20, 0.625, 28)...), finding.Incomplete},
		{"three slices missing", at(0, 5, 10, 15, 35, 40, 45), finding.Incomplete},
		{"far apart", at(0, 21, 42, 63), finding.Incomplete},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Arrange(c.headers)
			var r *finding.Refusal
			if !errors.As(err, &r) || r.Code != c.code {
				t.Fatalf("got %v, want code %s", err, c.code)
			}
		})
	}
}

func TestArrangeGaps(t *testing.T) {
	for _, c := range []struct {
		name     string
		z        []float64
		warnings int
		support  []float64
	}{
		{"even", []float64{0, 5, 10, 15}, 0, []float64{5, 5, 5, 5}},
		{"one slice of 5 mm missing", []float64{0, 5, 10, 20, 25}, 1, []float64{5, 5, 7.5, 7.5, 5}},
		{"one slice missing", []float64{0, 3, 6, 12, 15}, 1, []float64{3, 3, 4.5, 4.5, 3}},
		{"three thin slices missing", []float64{0, 0.625, 1.25, 3.75, 4.375}, 1, []float64{0.625, 0.625, 1.5625, 1.5625, 0.625}},
		{"slices missing at two places", []float64{0, 1, 2, 4, 5, 6, 7, 10, 11}, 1, []float64{1, 1, 1.5, 1.5, 1, 1, 2, 2, 1}},
		{"thin below, thick above", []float64{0, 2.5, 5, 7.5, 10, 17.5, 25, 32.5}, 1, []float64{2.5, 2.5, 2.5, 2.5, 5, 7.5, 7.5, 7.5}},
		{"below the origin", []float64{-7, -3, 1}, 0, []float64{4, 4, 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := Arrange(at(c.z...))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(a.Grid.SupportMM, c.support) || len(a.Warnings) != c.warnings {
				t.Errorf("support %v, want %v; warnings %q, want %d", a.Grid.SupportMM, c.support, a.Warnings, c.warnings)
			}
		})
	}
}

// TestGapsAreExplained: warning and refusal name the images around the gap as the series numbers them, and the rule.
func TestGapsAreExplained(t *testing.T) {
	numbered := func(z ...float64) []*dcm.DataSet {
		h := at(z...)
		for i := range h {
			h[i].SetStrings(dcm.InstanceNumber, "IS", fmt.Sprint(40-i)) // from the head
		}
		return h
	}
	for _, c := range []struct {
		name    string
		headers []*dcm.DataSet
		says    []string
	}{
		{"of one thick slice", numbered(0, 5, 10, 20, 25), []string{"at one place: 10.0 mm lie between images 37 and 38,", "of one slice only, though wider than 7 mm"}},
		{"narrow", numbered(0, 0.625, 1.25, 3.75, 4.375), []string{"between images 37 and 38,", "no wider than 7 mm"}},
		{"without numbers", at(0, 5, 10, 20, 25), []string{"slices 3 and 4 of 5 (counted from the feet)"}},
		{"refused", numbered(0, 5, 10, 25, 30), []string{"15.0 mm lie between images 37 and 38 (Image Position (Patient) (0020,0032)), 5.0 mm between most others; gaps up to 7 mm, or of one slice, are read"}},
	} {
		a, err := Arrange(c.headers)
		said := fmt.Sprint(err)
		if err == nil {
			said = strings.Join(a.Warnings, "\n")
		}
		for _, want := range c.says {
			if !strings.Contains(said, want) {
				t.Errorf("%s: %q, want %q", c.name, said, want)
			}
		}
	}
}

// TestLoneSlice: a slice without neighbours stands for its thickness, or for an assumed one, which is said.
func TestLoneSlice(t *testing.T) {
	h := at(0)
	if a, err := Arrange(h); err != nil || a.Grid.SupportMM[0] != 5 || len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "5 mm was assumed") {
		t.Errorf("%+v %v", a, err)
	}
	h[0].SetDecimals(dcm.SliceThickness, 2)
	if a, err := Arrange(h); err != nil || a.Grid.SupportMM[0] != 2 || len(a.Warnings) != 0 {
		t.Errorf("%+v %v", a, err)
	}
}

// The volume of a mask does not depend on the order in which slices come, on gantry tilt (which shears the stack), on
// the direction in which the patient lies, or on InstanceNumber.
func TestVolumeOfMask(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var zs []float64
		z := rng.Float64()*100 - 50
		for range 3 + rng.IntN(20) {
			zs = append(zs, z)
			z += 2 + rng.Float64()*2
		}
		tilt := (rng.Float64() - 0.5) // radians
		sin, cos := math.Sincos(tilt)
		orientation := []float64{1, 0, 0, 0, cos, sin}
		normal := Vec{0, -sin, cos}
		var hs []*dcm.DataSet
		for i, z := range zs {
			// A tilted gantry: the table moves along z, so origins are not above one another along the normal.
			h := header(Vec{-10, -10, z / cos}, orientation...)
			h.SetStrings(dcm.InstanceNumber, "IS", "1")
			h.SetStrings(dcm.SOPInstanceUID, "UI", string(rune('0'+i%10)))
			hs = append(hs, h)
		}
		rng.Shuffle(len(hs), func(i, j int) { hs[i], hs[j] = hs[j], hs[i] })
		a, err := Arrange(hs)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Grid.Normal(); got.Sub(normal).Length() > 1e-9 {
			t.Fatalf("normal %v, want %v", got, normal)
		}
		if math.Abs(a.TiltDeg-math.Abs(tilt)*180/math.Pi) > 1e-6 {
			t.Fatalf("tilt %v, want %v", a.TiltDeg, tilt*180/math.Pi)
		}
		m := NewMask(&a.Grid)
		want := 0.0
		for k := range zs {
			lo, hi := k-1, k+1
			support := 0.0
			switch {
			case lo < 0:
				support = zs[1] - zs[0]
			case hi == len(zs):
				support = zs[k] - zs[lo]
			default:
				support = (zs[hi] - zs[lo]) / 2
			}
			for i := range m.Slice(k) {
				if rng.IntN(2) == 0 {
					m.Slice(k)[i] = 1
					want += 0.5 * 0.4 * support / 1000
				}
			}
		}
		if got := m.VolumeML(&a.Grid); math.Abs(got-want) > 1e-6*want {
			t.Fatalf("volume %v mL, want %v", got, want)
		}
	}
}

func TestBuildSortsPixels(t *testing.T) {
	var in []Slice
	for _, z := range []float64{10, 0, 5} {
		raw := make([]byte, 40)
		for i := range 20 {
			raw[2*i] = byte(z)
		}
		h := header(Vec{0, 0, z})
		h.SetStrings(dcm.SOPInstanceUID, "UI", dcm.Decimal(z))
		in = append(in, Slice{h, func(context.Context) ([]byte, error) { return raw, nil }})
	}
	v, _, err := Build(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range []int16{-1024, -1019, -1014} {
		if v.Slice(k)[7] != want || v.Sources[k].SOPInstanceUID != dcm.Decimal(float64(5*k)) {
			t.Errorf("slice %d is %d of %s, want %d", k, v.Slice(k)[7], v.Sources[k].SOPInstanceUID, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := Build(ctx, in); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestStored(t *testing.T) {
	set := func(kv ...any) *dcm.DataSet {
		d := header(Vec{})
		for i := 0; i < len(kv); i += 2 {
			tag := kv[i].(dcm.Tag)
			switch v := kv[i+1].(type) {
			case int:
				d.SetInts(tag, "US", int64(v))
			case float64:
				d.SetDecimals(tag, v)
			case string:
				d.SetStrings(tag, "CS", strings.Split(v, `\`)...)
			case nil:
				d.Delete(tag)
			}
		}
		return d
	}
	for _, c := range []struct {
		name string
		d    *dcm.DataSet
		cell uint16
		want int16
		code string
	}{
		{"unsigned", set(), 1064, 40, ""},
		{"overlay bits above High Bit", set(), 0xF000 | 1064, 40, ""},
		{"signed", set(dcm.PixelRepresentation, 1, dcm.RescaleIntercept, 0.0), 0x0FFF, -1, ""},
		{"signed 16", set(dcm.PixelRepresentation, 1, dcm.RescaleIntercept, 0.0, dcm.BitsStored, 16, dcm.HighBit, 15), 0xFC18, -1000, ""},
		{"high bit 15", set(dcm.HighBit, 15), 1064 << 4, 40, ""},
		{"slope", set(dcm.RescaleSlope, 0.5), 2129, 40, ""}, // 40.5 to even
		{"padding below air", set(dcm.PixelRepresentation, 1, dcm.RescaleIntercept, 0.0, dcm.BitsStored, 16, dcm.HighBit, 15), 0xF830, AirHU, ""},
		{"padding value", set(dcm.PixelPaddingValue, 2000), 2000, AirHU, ""}, // a single pixel is its own border
		{"padding range", set(dcm.PixelPaddingValue, 2000, dcm.PixelPaddingRangeLimit, 2100), 2050, AirHU, ""},
		{"beside the padding range", set(dcm.PixelPaddingValue, 2000, dcm.PixelPaddingRangeLimit, 2100), 2101, 1077, ""},
		{"signed padding read as unsigned", set(dcm.PixelRepresentation, 1, dcm.BitsStored, 16, dcm.HighBit, 15, dcm.PixelPaddingValue, 63536), 0xF830, AirHU, ""},
		{"large", set(dcm.RescaleSlope, 100.0), 4000, math.MaxInt16, ""},
		{"no rescale slope", set(dcm.RescaleSlope, nil), 0, 0, finding.MissingCalibration},
		{"zero slope", set(dcm.RescaleSlope, 0.0), 0, 0, finding.MissingCalibration},
		{"density", set(dcm.RescaleType, "MGML"), 0, 0, finding.NotHounsfield},
		{"iodine map", set(dcm.ImageType, `DERIVED\PRIMARY\AXIAL\MAT_SPECIFIC`), 0, 0, finding.NotHounsfield},
		{"rendering", set(dcm.VolumeBasedCalculationTechnique, "MAX_IP"), 0, 0, finding.NotHounsfield},
		{"modified HU", set(dcm.RescaleType, "HU_MOD"), 1064, 40, ""},
		{"colour", set(dcm.SamplesPerPixel, 3), 0, 0, finding.Undecodable},
		{"inverted", set(dcm.PhotometricInterpretation, "MONOCHROME1"), 1064, 40, ""},
		{"12 bits", set(dcm.BitsAllocated, 12), 0, 0, finding.Undecodable},
		{"more stored than allocated", set(dcm.BitsStored, 17, dcm.HighBit, 16), 0, 0, finding.Undecodable},
		{"negative high bit", set(dcm.HighBit, 3), 0, 0, finding.Undecodable},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := StoredOf(c.d, 0)
			var r *finding.Refusal
			if errors.As(err, &r) != (c.code != "") || r != nil && r.Code != c.code {
				t.Fatalf("got %v, want %q", err, c.code)
			}
			if err != nil {
				return
			}
			var hu [1]int16
			if err := s.Decode([]byte{byte(c.cell), byte(c.cell >> 8)}, hu[:], "The image"); err != nil || hu[0] != c.want {
				t.Errorf("%v HU, want %v (%v)", hu[0], c.want, err)
			}
			if err := s.Decode([]byte{1}, hu[:], "The image"); err == nil {
				t.Error("one byte for a pixel of two was taken")
			}
		})
	}
}

func TestCanonical(t *testing.T) {
	// All eight ways in which axial rows and columns can run.
	for _, o := range [][6]float64{
		{1, 0, 0, 0, 1, 0}, {-1, 0, 0, 0, 1, 0}, {1, 0, 0, 0, -1, 0}, {-1, 0, 0, 0, -1, 0},
		{0, 1, 0, 1, 0, 0}, {0, -1, 0, 1, 0, 0}, {0, 1, 0, -1, 0, 0}, {0, -1, 0, -1, 0, 0},
	} {
		g := Grid{Rows: 3, Columns: 4, AlongRow: Vec{o[0], o[1], o[2]}, AlongColumn: Vec{o[3], o[4], o[5]}, SpacingMM: [2]float64{2, 3},
			Origins: []Vec{{}}}
		v := g.Canonical()
		point := func(i, j int) Vec {
			at := v.Index(i, j)
			return g.Point(0, float64(at/g.Columns), float64(at%g.Columns))
		}
		seen := map[int]bool{}
		for i := range v.Rows {
			for j := range v.Columns {
				seen[v.Index(i, j)] = true
			}
		}
		if len(seen) != 12 {
			t.Errorf("%v: %d of 12 pixels", o, len(seen))
		}
		if d := point(0, 1).Sub(point(0, 0)); d != (Vec{v.SpacingMM[1], 0, 0}) {
			t.Errorf("%v: columns run along %v", o, d)
		}
		if d := point(1, 0).Sub(point(0, 0)); d != (Vec{0, v.SpacingMM[0], 0}) {
			t.Errorf("%v: rows run along %v", o, d)
		}
	}
}
