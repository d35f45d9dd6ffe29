package jpegll

import "fmt"

// spec is the definition of a Huffman table in the stream (T.81 §B.2.4.2): the number of codes of each length, and their
// categories in order of the codes.
type spec struct {
	counts  [16]byte
	symbols []byte
}

// maxCategory is the largest difference category (T.81 Table H.2).
const maxCategory = 16

// huffman reads a DHT segment. It does not build the tables: a stream may define thousands in few bytes, and building one is
// expensive.
func (d *decoder) huffman(b []byte) error {
	for len(b) > 0 {
		if len(b) < 17 {
			return fmt.Errorf("Huffman table of %d bytes", len(b))
		}
		class, at := b[0]>>4, b[0]&15
		if class != 0 || at > 3 { // lossless JPEG has only DC tables
			return fmt.Errorf("Huffman table of class %d at place %d", class, at)
		}
		s := &spec{counts: [16]byte(b[1:17])}
		n := 0
		for _, c := range s.counts {
			n += int(c)
		}
		if b = b[17:]; n > len(b) {
			return fmt.Errorf("Huffman table of %d codes in %d bytes", n, len(b))
		}
		s.symbols = b[:n]
		b = b[n:]
		d.tables[at] = s
	}
	return nil
}

// fastBits is the maximum length of codes that are found by one look-up.
const fastBits = 9

// table decodes the first code of 16 bits.
type table struct {
	fast    [1 << fastBits]uint16 // by the first bits: length in the upper byte, category in the lower; 0 for a longer code
	ends    [17]int               // by length: smaller values start with a code of at most this length
	starts  [17]int               // by length: the first code, padded with zeros
	firsts  [17]int               // by length: the index of its first category
	symbols []byte
}

// build assigns the codes (T.81 Annex C).
func (s *spec) build() (*table, error) {
	t := &table{symbols: s.symbols}
	next, index := 0, 0 // the first free code, as 16 bits
	for i, n := range s.counts {
		length := i + 1
		span := 1 << (16 - length)
		t.starts[length], t.firsts[length] = next, index
		for range n {
			if next+span > 1<<16 {
				return nil, fmt.Errorf("Huffman table with too many codes of %d bits", length)
			}
			category := s.symbols[index]
			if category > maxCategory {
				return nil, fmt.Errorf("Huffman table with category %d", category)
			}
			if length <= fastBits {
				for j := range span >> (16 - fastBits) {
					t.fast[next>>(16-fastBits)+j] = uint16(length)<<8 | uint16(category)
				}
			}
			next += span
			index++
		}
		t.ends[length] = next
	}
	return t, nil
}

// slow finds a code longer than fastBits; it returns length 0 if there is none.
func (t *table) slow(front int) (length, category int) {
	for length := fastBits + 1; length <= 16; length++ {
		if front < t.ends[length] {
			return length, int(t.symbols[t.firsts[length]+(front-t.starts[length])>>(16-length)])
		}
	}
	return 0, 0
}

// bits reads entropy-coded data up to the next marker (T.81 §F.2.2.5). After it, it returns zeros and counts them; callers
// check with short from time to time.
type bits struct {
	src   []byte
	pos   int
	acc   uint64 // the next bits, from the top
	n     int    // how many there are
	zeros int    // how many of them are padding after src
}

// fill reads until acc has at least 48 bits.
func (b *bits) fill() {
	for b.n <= 48 {
		c := byte(0)
		switch {
		case b.pos >= len(b.src):
			b.zeros += 8
		case b.src[b.pos] != 0xFF:
			c = b.src[b.pos]
			b.pos++
		case b.pos+1 < len(b.src) && b.src[b.pos+1] == 0: // a stuffed zero
			c = 0xFF
			b.pos += 2
		default: // a marker
			b.zeros += 8
		}
		b.acc |= uint64(c) << (56 - b.n)
		b.n += 8
	}
}

// short reports whether bits after the end of src were used.
func (b *bits) short() bool { return b.n < b.zeros }
