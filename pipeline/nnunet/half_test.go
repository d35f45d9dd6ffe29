package nnunet

import (
	"math"
	"testing"
)

func TestHalf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct { // as numpy.float16 has them
		in   float32
		bits half
		out  float32
	}{
		{0, 0, 0}, {1, 0x3c00, 1}, {-2, 0xc000, -2}, {10, 0x4900, 10}, {0.1, 0x2e66, 0.0999755859375}, {1 + 0x1p-11, 0x3c00, 1},
		{1 + 0x3p-11, 0x3c02, 1 + 0x1p-9}, {2048.9, 0x6800, 2048}, {2049.1, 0x6801, 2050}, {0x1p-24, 0x0001, 0x1p-24}, {0x1p-25, 0, 0}, {0x1.8p-24, 0x0002, 0x1p-23},
		{-0x1p-15, 0x8200, -0x1p-15}, {0x1p-14, 0x0400, 0x1p-14}, {0x1.fffp-15, 0x0400, 0x1p-14}, {65504, 0x7bff, 65504}, {65519, 0x7bff, 65504}, {1e9, 0x7bff, 65504},
		{-1e9, 0xfbff, -65504},
	} {
		if got := toHalf(c.in); got != c.bits || got.float() != c.out {
			t.Errorf("%g: %#04x, %g; want %#04x, %g", c.in, uint16(got), got.float(), uint16(c.bits), c.out)
		}
	}
	for b := range half(0x7c00) { // each finite half is itself, and the middle between two goes to the even one
		x := b.float()
		if toHalf(x) != b || toHalf(-x) != b|0x8000 {
			t.Fatalf("%#04x becomes %#04x", uint16(b), uint16(toHalf(x)))
		}
		if b == largest {
			break
		}
		if m := (x + (b + 1).float()) / 2; toHalf(m) != b+b&1 {
			t.Fatalf("%g becomes %#04x, not %#04x", m, uint16(toHalf(m)), uint16(b+b&1))
		}
		if x > 0 && toHalf(math.Nextafter32((x+(b+1).float())/2, 0)) != b {
			t.Fatalf("below the middle of %#04x", uint16(b))
		}
	}
}

// TestWeights: those of compute_gaussian((4, 4, 6), 1/8, 10) of nnU-Net 2.8.1, as bits.
func TestWeights(t *testing.T) {
	t.Parallel()
	w := gaussian([3]int{4, 4, 6})
	for _, c := range []struct {
		z, y, x int
		want    half
	}{{2, 2, 3, 0x4900}, {0, 0, 0, 0x0001}, {1, 2, 3, 0x3d6a}, {2, 0, 3, 0x1adf}, {2, 2, 0, 0x1adf}, {2, 2, 5, 0x3492}, {0, 2, 0, 0x0013}, {3, 3, 4, 0x2cd2}, {0, 1, 1, 0x00da}, {1, 1, 5, 0x1d5c}} {
		if got := toHalf(w[(c.z*4+c.y)*6+c.x]); got != c.want {
			t.Errorf("%d %d %d: %#04x, want %#04x", c.z, c.y, c.x, uint16(got), uint16(c.want))
		}
	}
}
