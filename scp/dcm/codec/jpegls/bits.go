package jpegls

import (
	"fmt"
	"math/bits"

	"ichor/scp/dcm/codec/t81"
)

// reader reads entropy-coded data up to the next marker. After a byte FF there is a stuffed zero bit (T.87 §C.2.1). After the
// data it returns zeros and counts them; callers check with short from time to time.
type reader struct {
	src   []byte
	pos   int
	acc   uint64 // the next bits, from the top
	n     int    // how many there are
	zeros int    // how many of them are padding after src
	ff    bool   // the byte before pos is FF
}

// fill reads until acc has at least 49 bits.
func (r *reader) fill() {
	for r.n <= 48 {
		c, width := byte(0), 8
		switch {
		case r.pos >= len(r.src):
			r.zeros += 8
		case r.ff: // below 0x80: the top bit is the stuffed one
			c, width, r.ff = r.src[r.pos]<<1, 7, false
			r.pos++
		case r.src[r.pos] != 0xFF:
			c = r.src[r.pos]
			r.pos++
		case r.pos+1 < len(r.src) && r.src[r.pos+1] < 0x80:
			c, r.ff = 0xFF, true
			r.pos++
		default: // a marker
			r.zeros += 8
		}
		r.acc |= uint64(c) << (56 - r.n)
		r.n += width
	}
}

// short reports whether bits after the end of src were used.
func (r *reader) short() bool { return r.n < r.zeros }

// bit reads one bit.
func (r *reader) bit() bool {
	if r.n < 1 {
		r.fill()
	}
	b := r.acc>>63 != 0
	r.acc <<= 1
	r.n--
	return b
}

// take reads n bits, at most 32.
func (r *reader) take(n int) int {
	if r.n < n {
		r.fill()
	}
	v := int(r.acc >> 1 >> (63 - n))
	r.acc <<= n
	r.n -= n
	return v
}

// zeroRun reads zeros and the following one bit. It reports false if there are more than limit zeros.
func (r *reader) zeroRun(limit int) (run int, ok bool) {
	for {
		if r.n < 32 {
			r.fill()
		}
		n := min(bits.LeadingZeros64(r.acc), r.n)
		if run += n; run > limit {
			r.drop(n)
			return run, false
		}
		if n < r.n {
			r.drop(n + 1)
			return run, true
		}
		r.drop(n)
	}
}

func (r *reader) drop(n int) {
	r.acc <<= n
	r.n -= n
}

// restart skips restart marker n, counted from 0 (T.81 §B.1.1.3).
func (r *reader) restart(n int) error {
	at := r.end()
	if at+2 > len(r.src) {
		return t81.ErrTruncated
	}
	if m := r.src[at+1]; m != t81.RST0+byte(n%8) {
		return fmt.Errorf("bytes FF%02X in place of restart marker %d", m, n%8)
	}
	*r = reader{src: r.src, pos: at + 2}
	return nil
}

// end returns the end of the entropy-coded data, which is the next marker if it was already read.
func (r *reader) end() int {
	at := r.pos
	for at+1 < len(r.src) && (r.src[at] != 0xFF || r.src[at+1] < 0x80 || r.src[at+1] == 0xFF) {
		at++
	}
	if at+1 >= len(r.src) {
		return len(r.src)
	}
	return at
}
