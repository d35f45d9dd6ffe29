package seg

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"ichor/pipeline/volume"
)

// unpack returns the n bits of b from bit first on, one byte each.
func unpack(b []byte, first, n int) []uint8 {
	out := make([]uint8, n)
	for j := range out {
		bit := first + j
		out[j] = b[bit/8] >> (bit % 8) & 1
	}
	return out
}

// Packing runs across frames: PS3.5 §8.1.1 has no padding between them.
func TestPackLayout(t *testing.T) {
	b := make([]byte, 2)
	pack(b, 0, []uint8{2, 0, 2}, 2) // three pixels a frame
	pack(b, 3, []uint8{0, 2, 0}, 2)
	pack(b, 6, []uint8{2, 1, 2}, 2)
	if want := []byte{0b0101_0101, 0b0000_0001}; !bytes.Equal(b, want) {
		t.Errorf("packed %08b, want %08b", b, want)
	}
}

// What was packed comes back, whatever the size of a frame.
func TestPackProperty(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		n, frames := 1+r.IntN(70), 1+r.IntN(6)
		labels := make([][]uint8, frames)
		b := make([]byte, (n*frames+7)/8)
		for f := range labels {
			labels[f] = make([]uint8, n)
			for j := range labels[f] {
				labels[f][j] = uint8(r.IntN(6))
			}
			pack(b, f*n, labels[f], 3)
		}
		for f := range labels {
			for j, bit := range unpack(b, f*n, n) {
				if (bit == 1) != (labels[f][j] == 3) {
					t.Fatalf("%d frames of %d pixels: frame %d pixel %d is %d, label %d", frames, n, f, j, bit, labels[f][j])
				}
			}
		}
	}
}

func TestRegularSpacing(t *testing.T) {
	grid := func(along volume.Vec, z ...float64) *volume.Grid {
		g := &volume.Grid{AlongRow: volume.Vec{1, 0, 0}, AlongColumn: volume.Vec{0, 1, 0}}
		for _, h := range z {
			g.Origins = append(g.Origins, along.Scale(h))
		}
		return g
	}
	up := volume.Vec{0, 0, 1}
	for name, c := range map[string]struct {
		g    *volume.Grid
		want float64 // 0: not regular
	}{
		"one slice":               {grid(up, 3), 0},
		"even":                    {grid(up, 0, 5, 10, 15), 5},
		"even within rounding":    {grid(up, 0, 0.6249, 1.25, 1.8751), 0.625},
		"one gap":                 {grid(up, 0, 5, 12, 17), 0},
		"thin below, thick above": {grid(up, 0, 2.5, 5, 10, 15), 0},
		"sheared by the gantry, measured along the normal": {grid(volume.Vec{0, 0.3, 1}, 0, 5, 10), 5},
	} {
		got, ok := regularSpacing(c.g)
		if ok != (c.want != 0) || ok && got != c.want {
			t.Errorf("%s: spacing %g %v, want %g", name, got, ok, c.want)
		}
	}
}
