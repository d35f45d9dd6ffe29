package seg

import "testing"

// missing by hand: 511 x 511 = 261121 = 16*16320 + 1 pixels, so that 16 frames make whole words; 37 x 42 = 1554 = 2 mod 16.
func TestMissing(t *testing.T) {
	for _, c := range []struct{ n, most, size, want int }{
		{24, 100, 512 * 512, 0},
		{1, 100, 1024 * 1024, 0},
		{24, 100, 511 * 511, 8},
		{16, 100, 511 * 511, 0},
		{2, 100, 511 * 511, 14},
		{1, 100, 37 * 42, 7},
		{3, 12, 511 * 511, 6}, // too few for 16: 9 frames are 293762 bytes, even, with 7 bits to spare
		{3, 8, 511 * 511, 0},  // too few for anything
		{3, 100, 500 * 511, 1},
	} {
		if got := missing(c.n, c.most, c.size); got != c.want {
			t.Errorf("%d frames, at most %d, of %d pixels: %d more, want %d", c.n, c.most, c.size, got, c.want)
		}
	}
}

// Empty frames lie next to the segment first, never on a slice that it has, each once.
func TestEmpties(t *testing.T) {
	segments := []segment{
		{number: 1, on: []bool{false, false, true, true, false, false, false}},
		{number: 2, on: []bool{true, false, false, false, false, false, false}},
	}
	var got [][2]int
	for _, f := range empties(segments) {
		got = append(got, [2]int{f.segment.number, f.slice})
	}
	want := [][2]int{{1, 1}, {1, 4}, {2, 1}, {1, 0}, {1, 5}, {2, 2}, {1, 6}, {2, 3}, {2, 4}, {2, 5}, {2, 6}}
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v, want %v", got, want)
			break
		}
	}
}
