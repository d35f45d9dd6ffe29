// Package jpegls decodes JPEG-LS (ITU-T T.87, ISO 14495-1), lossless and near-lossless: 2 to 16 bits, any number of
// components in the three interleave modes, preset coding parameters, restart intervals. Mapping tables and the colour
// transforms of one vendor are refused; DICOM has none of them (PS3.5 §8.2.3).
package jpegls

import (
	"encoding/binary"
	"errors"
	"fmt"

	"ichor/scp/dcm/codec/t81"
)

// Markers of T.87 Table C.1, and one of T.81 Table B.1.
const (
	app8  = 0xE8
	sof55 = 0xF7
	lse   = 0xF8
)

// Info describes a stream.
type Info struct {
	Precision int // bits a sample
	Near      int // maximum difference of a sample from the original; 0: lossless
}

// presets are the coding parameters of an LSE segment (T.87 §C.2.4.1.1); 0 means the default.
type presets struct{ maxval, t1, t2, t3, reset int }

type decoder struct {
	src t81.Stream // the unread rest

	width, height, components int // of the image; the frame header must agree
	info                      Info
	frame                     t81.Frame
	scans                     t81.Scans
	presets                   presets
	restart                   int // number of lines between restarts of the coder, 0 for none

	out []uint16 // the samples of a pixel are adjacent
}

// Decode returns the samples of a frame of the given size; the samples of a pixel are adjacent. If the stream has another size,
// it returns an error before it allocates memory.
func Decode(src []byte, width, height, components int) ([]uint16, Info, error) {
	if width < 1 || height < 1 || components < 1 {
		return nil, Info{}, fmt.Errorf("image of %d x %d pixels with %d samples", width, height, components)
	}
	in, err := t81.Open(src)
	if err != nil {
		return nil, Info{}, err
	}
	d := &decoder{src: in, width: width, height: height, components: components}
	for !d.scans.Complete() { // some writers omit EOI
		if err := d.next(); err != nil {
			return nil, Info{}, err
		}
	}
	return d.out, d.info, nil
}

// next reads a marker segment and, after a scan header, the scan.
func (d *decoder) next() error {
	marker, b, err := d.src.Next()
	switch {
	case err != nil:
		return err
	case marker == t81.EOI:
		return t81.ErrTruncated
	case marker == sof55 && d.frame.Components != nil:
		return errors.New("second frame header")
	case marker == sof55:
		d.frame, err = t81.ReadFrame(b, d.width, d.height, d.components)
		d.scans, d.info.Precision = d.frame.Scans(), d.frame.Precision
		return err
	case marker == lse:
		return d.preset(b)
	case marker == t81.SOS:
		return d.scan(b)
	case marker == t81.DRI:
		if len(b) < 2 || len(b) > 4 { // T.87 §C.2.5
			return fmt.Errorf("restart interval of %d bytes", len(b))
		}
		d.restart = 0
		for _, c := range b {
			d.restart = d.restart<<8 | int(c)
		}
	case marker == app8 && len(b) == 5 && string(b[:4]) == "mrfx" && b[4] != 0:
		return errors.New("JPEG-LS with a vendor's colour transform is not supported")
	case marker <= 0xCF:
		return fmt.Errorf("marker FF%02X does not belong to JPEG-LS", marker)
	}
	return nil
}

// preset reads an LSE segment (T.87 §C.2.4.1).
func (d *decoder) preset(b []byte) error {
	if len(b) != 11 || b[0] != 1 {
		return errors.New("JPEG-LS with a mapping table or an extended size is not supported")
	}
	word := func(i int) int { return int(binary.BigEndian.Uint16(b[1+2*i:])) }
	d.presets = presets{word(0), word(1), word(2), word(3), word(4)}
	return nil
}

// scan reads a scan header (T.87 §C.2.3) and decodes the scan.
func (d *decoder) scan(b []byte) error {
	header, err := d.scans.Read(b)
	if err != nil {
		return err
	}
	n := len(header.Components)
	for _, table := range header.Tables {
		if table != 0 {
			return errors.New("JPEG-LS with a mapping table is not supported")
		}
	}
	near, interleave, transform := int(header.Start), header.End, header.Transform
	if interleave > bySample || (interleave == byPlane) != (n == 1) || transform != 0 {
		return fmt.Errorf("scan of %d components with interleave mode %d and point transform %d", n, interleave, transform)
	}
	p, err := d.presets.resolve(d.info.Precision, near)
	if err != nil {
		return err
	}
	d.info.Near = max(d.info.Near, near)
	if d.out == nil {
		d.out = make([]uint16, d.width*d.height*d.components)
	}
	s := newScan(d.src, p, d.width, n)
	if err := s.decode(d.out, header.Components, d.height, d.components, interleave, d.restart); err != nil {
		return err
	}
	d.src = d.src[s.in.end():]
	return nil
}

// Interleave modes (T.87 §C.2.3).
const (
	byPlane  = 0
	byLine   = 1
	bySample = 2
)

// params are the coding parameters of a scan (T.87 §A.1, §C.2.4.1.1).
type params struct {
	near, maxval, t1, t2, t3, reset int
	step                            int // 2 near + 1
	rng, qbpp, limit                int
}

func (p presets) resolve(precision, near int) (params, error) {
	out := params{near: near, step: 2*near + 1, maxval: p.maxval, t1: p.t1, t2: p.t2, t3: p.t3, reset: p.reset}
	if out.maxval == 0 {
		out.maxval = 1<<precision - 1
	}
	if out.maxval >= 1<<precision || near > min(255, out.maxval/2) {
		return params{}, fmt.Errorf("samples up to %d, near %d, in %d bits", out.maxval, near, precision)
	}
	clamp := func(v, low int) int {
		if v > out.maxval || v < low {
			return low
		}
		return v
	}
	t1, t2, t3 := 0, 0, 0 // T.87 §C.2.4.1.1.1
	if out.maxval >= 128 {
		factor := (min(out.maxval, 4095) + 128) / 256
		t1 = clamp(factor*(3-2)+2+3*near, near+1)
		t2 = clamp(factor*(7-3)+3+5*near, t1)
		t3 = clamp(factor*(21-4)+4+7*near, t2)
	} else {
		factor := 256 / (out.maxval + 1)
		t1 = clamp(max(2, 3/factor+3*near), near+1)
		t2 = clamp(max(3, 7/factor+5*near), t1)
		t3 = clamp(max(4, 21/factor+7*near), t2)
	}
	for v, def := range map[*int]int{&out.t1: t1, &out.t2: t2, &out.t3: t3, &out.reset: 64} {
		if *v == 0 {
			*v = def
		}
	}
	if out.t1 <= near || out.t2 < out.t1 || out.t3 < out.t2 || out.t3 > out.maxval || out.reset < 3 {
		return params{}, fmt.Errorf("thresholds %d, %d, %d and reset %d with samples up to %d", out.t1, out.t2, out.t3, out.reset, out.maxval)
	}
	out.rng = (out.maxval+2*near)/out.step + 1
	out.qbpp = log2(out.rng)
	bpp := max(2, log2(out.maxval+1))
	out.limit = 2 * (bpp + max(8, bpp))
	return out, nil
}

// log2 returns the binary logarithm, rounded up.
func log2(n int) (l int) {
	for 1<<l < n {
		l++
	}
	return l
}
