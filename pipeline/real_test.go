//go:build scans

// Tests on scans that are not part of this repository: ICHOR_DATA=FOLDER go test -tags scans ./pipeline

package pipeline

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// scanned reads the files of a scan that is not part of this repository: ICHOR_DATA is the folder with ct-phantom-tilt-18.5 of
// neurolabusc/dcm_qa_ct (In/Philips/S21610/S2010) and ct-head-plain of cerr/pyCERR (sample_ct/head_and_neck/pt_1).
func scanned(t *testing.T, name string) (v *volume.Volume, tiltDeg float64) {
	t.Helper()
	root := os.Getenv("ICHOR_DATA")
	if root == "" {
		t.Fatal("set ICHOR_DATA to the folder of the scans")
	}
	paths, err := filepath.Glob(filepath.Join(root, name, "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files in %s: %v", filepath.Join(root, name), err)
	}
	var in []volume.Slice
	for _, path := range paths {
		object := onDisk(path)
		f, err := open(object, func(*dcm.File) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, volume.Slice{Header: f.Data, Pixels: func(ctx context.Context) ([]byte, error) { return pixels(ctx, received{Input: object}, nil) }})
	}
	v, a, err := volume.Build(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return v, a.TiltDeg
}

// The head above -200 HU of a real stack measures pixel area times distance along the normal per slice. The numbers are those of an
// independent program (numpy) on the same files.
func TestVolumeOfScans(t *testing.T) {
	for name, want := range map[string]struct{ tilt, gap, ml float64 }{
		"ct-phantom-tilt-18.5": {18.5, 2.370809, 258.633},
		"ct-head-plain":        {0, 3, 3828.162},
	} {
		t.Run(name, func(t *testing.T) {
			v, tilt := scanned(t, name)
			near(t, "tilt", tilt, want.tilt, 0.001)
			near(t, "gap", v.MedianGap(), want.gap, 1e-5)
			head := volume.NewMask(&v.Grid)
			for i, hu := range v.HU {
				if hu > -200 {
					head.Voxels[i] = 1
				}
			}
			near(t, "head", head.VolumeML(&v.Grid), want.ml, 1e-4)
		})
	}
}

// A ball in the skull of the tilted phantom is round, and has the volume of a ball of the radius that it has within its slices: with
// the distance along the table in place of that along the normal it would be 5 % larger and an egg.
func TestBallOfTiltedPhantom(t *testing.T) {
	v, _ := scanned(t, "ct-phantom-tilt-18.5")
	const row, column, side = 212, 207, 32 // around the ball
	n := v.Normal()
	var area, height []float64 // mm2 of each slice, mm along the normal
	ml := 0.0
	for k := 2; k <= 11; k++ { // below it lies its stalk
		count := 0
		for r := row - side; r <= row+side; r++ {
			for c := column - side; c <= column+side; c++ {
				if v.Slice(k)[r*v.Columns+c] > -450 { // half way from air to the ball
					count++
				}
			}
		}
		area = append(area, float64(count)*v.SpacingMM[0]*v.SpacingMM[1])
		height = append(height, v.Origins[k].Sub(v.Origins[0]).Dot(n))
		ml += float64(count) * v.VoxelML(k)
	}
	// The cuts of a ball have the areas pi (r2 - (z - z0)2): a parabola of curvature -pi with pi r2 at its top.
	curve, top := parabola(height[1:9], area[1:9])
	t.Logf("radius %.2f mm within the slices, %.3f mL; curvature %.4f pi", math.Sqrt(top/math.Pi), ml, curve/math.Pi)
	near(t, "ball", ml, 4.0/3*math.Pi*math.Pow(top/math.Pi, 1.5)/1000, 0.02)
	near(t, "roundness", -curve, math.Pi, 0.03)
}

// parabola fits one to y over x, by least squares: its curvature and its greatest value.
func parabola(x, y []float64) (curve, top float64) {
	mean := 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	var m [3][4]float64
	for i := range x {
		p := [3]float64{1, x[i] - mean, (x[i] - mean) * (x[i] - mean)}
		for r := range 3 {
			for c := range 3 {
				m[r][c] += p[r] * p[c]
			}
			m[r][3] += p[r] * y[i]
		}
	}
	for r := range 3 {
		for other := range 3 {
			if f := m[other][r] / m[r][r]; other != r {
				for c := range 4 {
					m[other][c] -= f * m[r][c]
				}
			}
		}
	}
	a, b, c := m[0][3]/m[0][0], m[1][3]/m[1][1], m[2][3]/m[2][2]
	return c, a - b*b/(4*c)
}
