package pipeline

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"ichor/models/bundle"
	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// seen is what an analysis says of one head, in the patient: it must not depend on how the head was sent.
type seen struct {
	volumes  finding.Volumes
	cavityML float64
	centroid map[finding.Subtype]volume.Vec
}

func look(t *testing.T, in Study) seen {
	t.Helper()
	a := analyzer()
	// Where the network grid is not that of the image, it sees seams between brain and bone that have the density of blood.
	a.o.Bundle.Network(bundle.Bleed).Post.OpeningMM = 4
	r, err := a.Analyze(t.Context(), in)
	if err != nil || r.Finding.Status != finding.Analyzed {
		t.Fatalf("%v %+v", err, r)
	}
	out := seen{volumes: *r.Finding.Volumes, cavityML: r.Finding.CavityML, centroid: map[finding.Subtype]volume.Vec{}}
	g := &r.Volume.Grid
	for _, s := range []finding.Subtype{finding.IPH, finding.SDH} {
		var sum volume.Vec
		total := 0.0
		for i, l := range r.Labels.Voxels {
			if l == uint8(s) {
				k := i / (g.Rows * g.Columns)
				sum = sum.Add(g.Point(k, float64(i/g.Columns%g.Rows), float64(i%g.Columns)).Scale(g.VoxelML(k)))
				total += g.VoxelML(k)
			}
		}
		out.centroid[s] = sum.Scale(1 / total)
	}
	// For a given mask, volumes are exact: pixel area times distance along the normal, slice by slice.
	if ml := r.Labels.VolumeML(g); math.Abs(ml-out.volumes.Total) > 1e-6*ml {
		t.Errorf("%v mL are told of a mask of %v", out.volumes.Total, ml)
	}
	return out
}

// same compares two analyses: volumes within share, bleeds within mm.
func same(t *testing.T, got, want seen, share, mm float64) {
	t.Helper()
	near(t, "total", got.volumes.Total, want.volumes.Total, share)
	near(t, "IPH", got.volumes.IPH, want.volumes.IPH, share)
	near(t, "SDH", got.volumes.SDH, want.volumes.SDH, share)
	near(t, "cavity", got.cavityML, want.cavityML, share)
	for s, p := range want.centroid {
		if d := got.centroid[s].Sub(p).Length(); !(d <= mm) {
			t.Errorf("%s lies %.2f mm from where it was", s, d)
		}
	}
}

// signed rewrites the pixels of a header as signed ones with another intercept.
func signed(d *dcm.DataSet) {
	e, _ := d.Get(dcm.PixelData)
	raw := slices.Clone(e.Value.([]byte))
	for i := 0; i < len(raw); i += 2 {
		binary.LittleEndian.PutUint16(raw[i:], binary.LittleEndian.Uint16(raw[i:])-1024)
	}
	d.SetBytes(dcm.PixelData, "OW", raw)
	d.SetInts(dcm.PixelRepresentation, "US", 1)
	d.SetInts(dcm.BitsStored, "US", 16)
	d.SetInts(dcm.HighBit, "US", 15)
	d.SetDecimals(dcm.RescaleIntercept, 0)
}

// What only numbers voxels otherwise, or writes their values otherwise, changes nothing.
func TestSameHeadRelabelled(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(shape())
	want := look(t, study(t, s, nil))
	for name, in := range map[string]Study{
		"rows mirrored":       study(t, s.Turned(synthetic.Turn{Rows: true}), nil),
		"half a turn":         study(t, s.Turned(synthetic.Turn{Rows: true, Columns: true}), nil),
		"transposed":          study(t, s.Turned(synthetic.Turn{Swap: true}), nil),
		"a quarter":           study(t, s.Turned(synthetic.Turn{Swap: true, Rows: true}), nil),
		"a quarter back":      study(t, s.Turned(synthetic.Turn{Swap: true, Columns: true}), nil),
		"feet first":          study(t, s.FeetFirst(), nil),
		"numbered otherwise":  study(t, s, func(k int, d *dcm.DataSet) { d.SetStrings(dcm.InstanceNumber, "IS", dcm.Decimal(float64(500-k))) }),
		"thickness that lies": study(t, s, func(_ int, d *dcm.DataSet) { d.SetDecimals(dcm.SliceThickness, 1) }),
		"signed":              study(t, s, func(_ int, d *dcm.DataSet) { signed(d) }),
		"some signed": study(t, s, func(k int, d *dcm.DataSet) {
			if k%3 == 0 {
				signed(d)
			}
		}),
		"rescaled per slice": study(t, s, func(k int, d *dcm.DataSet) {
			e, _ := d.Get(dcm.PixelData)
			raw := slices.Clone(e.Value.([]byte))
			for i := 0; i < len(raw); i += 2 {
				binary.LittleEndian.PutUint16(raw[i:], binary.LittleEndian.Uint16(raw[i:])*2+uint16(k))
			}
			d.SetBytes(dcm.PixelData, "OW", raw)
			d.SetInts(dcm.BitsStored, "US", 16)
			d.SetInts(dcm.HighBit, "US", 15)
			d.SetDecimals(dcm.RescaleSlope, 0.5)
			d.SetDecimals(dcm.RescaleIntercept, -1024-0.5*float64(k))
		}),
		"padded with the value of water": study(t, s, func(_ int, d *dcm.DataSet) {
			d.SetInts(dcm.PixelPaddingValue, "US", 1056) // 32 HU: brain
			e, _ := d.Get(dcm.PixelData)
			raw := slices.Clone(e.Value.([]byte))
			for i := range 128 {
				binary.LittleEndian.PutUint16(raw[2*i:], 1056)
			}
			d.SetBytes(dcm.PixelData, "OW", raw)
		}),
		"enhanced":         frames(t, s, false, nil),
		"legacy converted": frames(t, s, true, nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rand.Shuffle(len(in.Objects), func(i, j int) { in.Objects[i], in.Objects[j] = in.Objects[j], in.Objects[i] })
			same(t, look(t, in), want, 0.005, 0.05)
		})
	}
}

// What samples the head otherwise changes what its voxels allow, and leaves every bleed in its place. Each head is rendered anew on
// its own grid.
func TestSameHeadResampled(t *testing.T) {
	t.Parallel()
	want := look(t, study(t, synthetic.Head(shape()), nil))
	stack := func(edit func(*synthetic.Shape)) Study {
		sh := shape()
		edit(&sh)
		return study(t, synthetic.Head(sh), nil)
	}
	// The table moves along the patient: a tilted stack is sheared.
	along := func(sh *synthetic.Shape, degrees float64, at ...float64) {
		sin, cos := math.Sincos(degrees * math.Pi / 180)
		sh.Orientation = [6]float64{1, 0, 0, 0, cos, sin}
		for _, z := range at {
			sh.PositionsMM = append(sh.PositionsMM, volume.Vec{-108, -108 * cos, z/cos - 108*sin})
		}
	}
	every := func(mm ...float64) (at []float64) {
		for z, k := -125.0, 0; z < 125; k++ {
			at = append(at, z)
			z += mm[k%len(mm)]
		}
		return at
	}
	cases := map[string]Study{
		"thin slices":           stack(func(sh *synthetic.Shape) { along(sh, 0, every(1.5)...) }),
		"4.0, 1.08 and 7.0 mm":  stack(func(sh *synthetic.Shape) { along(sh, 0, every(4, 1.08, 7)...) }),
		"overlapping":           stack(func(sh *synthetic.Shape) { along(sh, 0, every(2.5)...) }),
		"flat pixels":           stack(func(sh *synthetic.Shape) { sh.Rows, sh.Columns, sh.PixelSpacingMM, sh.RowSpacingMM = 90, 220, 1, 2.4 }),
		"tall pixels":           stack(func(sh *synthetic.Shape) { sh.Rows, sh.Columns, sh.PixelSpacingMM, sh.RowSpacingMM = 220, 90, 2.4, 1 }),
		"an odd matrix":         stack(func(sh *synthetic.Shape) { sh.Rows, sh.Columns, sh.PixelSpacingMM = 255, 255, 0.85 }),
		"a large field of view": stack(func(sh *synthetic.Shape) { sh.Rows, sh.Columns, sh.PixelSpacingMM = 256, 256, 1.9 }),
		"rolled by 20 degrees": stack(func(sh *synthetic.Shape) {
			sin, cos := math.Sincos(20 * math.Pi / 180)
			sh.Orientation = [6]float64{cos, sin, 0, -sin, cos, 0}
		}),
	}
	for _, degrees := range []float64{-30, 30} {
		cases["tilted by "+dcm.Decimal(degrees)] = stack(func(sh *synthetic.Shape) { along(sh, degrees, every(4)...) })
	}
	for name, in := range cases {
		t.Run(name, func(t *testing.T) { t.Parallel(); same(t, look(t, in), want, 0.1, 1.5) })
	}
}

// The head above -200 HU measures pixel area times distance along the normal for each of its slices, however the stack
// lies; and the sphere that it is has the volume of a sphere.
func TestVolumeOfTilted(t *testing.T) {
	t.Parallel()
	sh := synthetic.Shape{Balls: []synthetic.Ball{{Subtype: finding.IPH, CentreMM: volume.Vec{-20, 10, 5}, RadiusMM: 25}}, Rows: 180, Columns: 180, PixelSpacingMM: 1.2}
	s := synthetic.Head(sh).Tilted(18.5)
	v, r, err := read(t, study(t, s, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "tilt", r.Finding.Series.TiltDeg, 18.5, 0.001)
	head := volume.NewMask(&v.Grid)
	want := 0.0
	for k := range v.Slices() {
		n := 0
		for i, hu := range v.Slice(k) {
			if hu > -200 {
				head.Slice(k)[i] = 1
				n++
			}
		}
		want += float64(n) * 1.2 * 1.2 * 5 / 1000 // 5 mm along the normal, though the table moved by 5.27
	}
	near(t, "head", head.VolumeML(&v.Grid), want, 1e-6)
	near(t, "ellipsoid", want, 4.0/3*math.Pi*76*88*75.7/1000, 0.03)
	blood, _ := s.Truth()
	near(t, "ball", blood.VolumeML(&v.Grid), 4.0/3*math.Pi*math.Pow(2.5, 3), 0.03)
}
