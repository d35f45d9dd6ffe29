package jpegll

import (
	"errors"
	"fmt"

	"ichor/scp/dcm/codec/t81"
)

// scan reads a scan header (T.81 §B.2.3) and decodes the scan.
func (d *decoder) scan(b []byte) error {
	header, err := d.scans.Read(b)
	if err != nil {
		return err
	}
	n := len(header.Components)
	planes := make([]plane, n)
	for i, component := range header.Components {
		place := header.Tables[i] >> 4
		if place > 3 || d.tables[place] == nil {
			return fmt.Errorf("scan with Huffman table %d, which is not defined", place)
		}
		t, err := d.tables[place].build()
		if err != nil {
			return err
		}
		planes[i] = plane{table: t, component: component}
	}
	predictor, shift := int(header.Start), int(header.Transform&15)
	if predictor < 1 || predictor > 7 || shift >= d.frame.Precision {
		return fmt.Errorf("predictor %d with point transform %d", predictor, shift)
	}
	// Each sample needs at least one bit.
	if d.width*d.height*n > 8*len(d.src) {
		return fmt.Errorf("scan of %d bytes cannot hold %d samples: %w", len(d.src), d.width*d.height*n, t81.ErrTruncated)
	}
	if d.out == nil {
		d.out = make([]uint16, d.width*d.height*d.components)
	}
	used, err := d.lines(planes, predictor, shift)
	d.src = d.src[used:]
	return err
}

// plane is one component of a scan, with its last two lines. Lines have one additional sample at the start.
type plane struct {
	table       *table
	component   int
	above, line []uint16
}

// lines decodes all lines of a scan and returns its length in bytes.
func (d *decoder) lines(planes []plane, predictor, shift int) (used int, err error) {
	if d.restart%d.width != 0 { // T.81 §H.1.1
		return 0, fmt.Errorf("restart interval of %d pixels is not a multiple of the %d of a line", d.restart, d.width)
	}
	interval := d.restart / d.width // lines
	for i := range planes {
		planes[i].above, planes[i].line = make([]uint16, d.width+1), make([]uint16, d.width+1)
	}
	in := &bits{src: d.src}
	first := uint16(1) << (d.frame.Precision - shift - 1) // T.81 §H.1.2.1
	for y := range d.height {
		top := y == 0
		if interval > 0 && y > 0 && y%interval == 0 {
			if err := in.restart(y/interval - 1); err != nil {
				return 0, fmt.Errorf("line %d: %w", y+1, err)
			}
			top = true
		}
		if len(planes) == 1 {
			err = planes[0].decode(in, predictor, top, first)
		} else {
			err = interleaved(planes, in, predictor, top, first)
		}
		if in.short() {
			err = t81.ErrTruncated
		}
		if err != nil {
			return 0, fmt.Errorf("line %d: %w", y+1, err)
		}
		for i := range planes {
			p := &planes[i]
			out := d.out[y*d.width*d.components+p.component:]
			for x, v := range p.line[1:] {
				out[x*d.components] = v << shift
			}
			p.above, p.line = p.line, p.above
		}
	}
	return in.end(), nil
}

// decode decodes a line of the only component of a scan.
func (p *plane) decode(in *bits, predictor int, top bool, first uint16) error {
	above, line := p.above, p.line[:len(p.above)]
	x := 1
	left := above[1] // the first sample of a line is predicted from the one above (T.81 §H.1.2.1)
	if top {
		left, predictor = first, 1
	}
	v, err := p.difference(in)
	if err != nil {
		return err
	}
	left += v
	line[1] = left
	for x = 2; x < len(line); x++ {
		diff, err := p.difference(in)
		if err != nil {
			return err
		}
		left = predict(predictor, left, above[x], above[x-1]) + diff // modulo 2^16
		line[x] = left
	}
	return nil
}

// interleaved decodes a line of several components, whose samples alternate.
func interleaved(planes []plane, in *bits, predictor int, top bool, first uint16) error {
	for x := 1; x < len(planes[0].line); x++ {
		for i := range planes {
			p := &planes[i]
			diff, err := p.difference(in)
			if err != nil {
				return err
			}
			switch {
			case x == 1 && top:
				p.line[x] = first + diff
			case x == 1:
				p.line[x] = p.above[x] + diff
			case top:
				p.line[x] = p.line[x-1] + diff
			default:
				p.line[x] = predict(predictor, p.line[x-1], p.above[x], p.above[x-1]) + diff
			}
		}
	}
	return nil
}

// predict is T.81 Table H.1.
func predict(predictor int, a, b, c uint16) uint16 {
	ra, rb, rc := int32(a), int32(b), int32(c)
	switch predictor {
	case 1:
		return a
	case 2:
		return b
	case 3:
		return c
	case 4:
		return uint16(ra + rb - rc)
	case 5:
		return uint16(ra + (rb-rc)>>1)
	case 6:
		return uint16(rb + (ra-rc)>>1)
	}
	return uint16((ra + rb) >> 1)
}

var errCode = errors.New("no such Huffman code")

// difference decodes one difference, modulo 2^16 (T.81 §H.1.2.2).
func (p *plane) difference(in *bits) (uint16, error) {
	if in.n < 32 { // a code and its bits
		in.fill()
	}
	entry := p.table.fast[in.acc>>(64-fastBits)]
	length, category := int(entry>>8), int(entry&0xFF)
	if length == 0 {
		if length, category = p.table.slow(int(in.acc >> 48)); length == 0 {
			return 0, errCode
		}
	}
	if category == maxCategory { // 32768, without further bits
		in.acc <<= length
		in.n -= length
		return 1 << 15, nil
	}
	v := int32(in.acc << length >> 1 >> (63 - category))
	in.acc <<= length + category
	in.n -= length + category
	if category > 0 && v < 1<<(category-1) {
		v -= 1<<category - 1
	}
	return uint16(v), nil
}

// restart skips restart marker n, counted from 0, which must be here (T.81 §F.2.2.4).
func (b *bits) restart(n int) error {
	at := b.end()
	if at+2 > len(b.src) {
		return t81.ErrTruncated
	}
	if m := b.src[at+1]; b.src[at] != 0xFF || m != t81.RST0+byte(n%8) {
		return fmt.Errorf("bytes %02X%02X in place of restart marker %d", b.src[at], m, n%8)
	}
	*b = bits{src: b.src, pos: at + 2}
	return nil
}

// end returns the end of the entropy-coded data, which is the next marker if it was already read.
func (b *bits) end() int {
	at := b.pos
	for at+1 < len(b.src) && (b.src[at] != 0xFF || b.src[at+1] == 0 || b.src[at+1] == 0xFF) {
		at++
	}
	if at+1 >= len(b.src) {
		return len(b.src)
	}
	return at
}
