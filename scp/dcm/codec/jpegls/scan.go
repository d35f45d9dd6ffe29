package jpegls

import (
	"errors"
	"fmt"

	"ichor/scp/dcm/codec/t81"
)

// context adapts the coding of samples in one kind of neighbourhood (T.87 §A.2.1): a is the sum of error magnitudes, b
// of errors, c the correction of the prediction, n the number of samples. Of a run context, b counts negative errors.
type context struct{ a, b, c, n int }

// runBits is J of T.87 §A.2.1: the bits of a run length, by run index.
var runBits = [32]int{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// maxError is the maximum of a decoded error. Encoders make no larger ones; in a damaged stream errors could grow.
const maxError = 1<<16 - 1

var errError = errors.New("JPEG-LS stream with an impossible error value")

// scan decodes the components of one scan.
type scan struct {
	params
	in       reader
	contexts [365]context
	runs     [2]context
	quant    []int8 // of a gradient + maxval (T.87 §A.3.3)
	planes   []plane
}

// plane is a component with its last two lines: a sample left of the line, the line, one right of it.
type plane struct {
	above, line []int
	runIndex    int
}

func newScan(src []byte, p params, width, components int) *scan {
	s := &scan{params: p, in: reader{src: src}, quant: make([]int8, 2*p.maxval+1), planes: make([]plane, components)}
	s.begin(width)
	for i := range s.quant {
		d, sign := i-p.maxval, int8(1)
		if d < 0 {
			d, sign = -d, -1
		}
		switch {
		case d <= p.near:
		case d < p.t1:
			s.quant[i] = sign
		case d < p.t2:
			s.quant[i] = 2 * sign
		case d < p.t3:
			s.quant[i] = 3 * sign
		default:
			s.quant[i] = 4 * sign
		}
	}
	return s
}

// begin resets contexts and lines, as before the first line and after a restart marker (T.87 §A.8, §C.2.5).
func (s *scan) begin(width int) {
	a := max(2, (s.rng+32)/64)
	for i := range s.contexts {
		s.contexts[i] = context{a: a, n: 1}
	}
	s.runs = [2]context{{a: a, n: 1}, {a: a, n: 1}}
	for i := range s.planes {
		s.planes[i] = plane{above: make([]int, width+2), line: make([]int, width+2)}
	}
}

// decode writes the samples of the components in which to out, where the samples of a pixel are adjacent. restart is the number
// of lines between restart markers, 0 for none.
func (s *scan) decode(out []uint16, which []int, height, components int, interleave byte, restart int) error {
	width := len(s.planes[0].line) - 2
	for y := range height {
		if restart > 0 && y > 0 && y%restart == 0 {
			if err := s.in.restart(y/restart - 1); err != nil {
				return fmt.Errorf("line %d: %w", y+1, err)
			}
			s.begin(width)
		}
		for i := range s.planes {
			p := &s.planes[i]
			p.line[0], p.above[width+1] = p.above[1], p.above[width] // T.87 §A.2.1, Figure A.2
		}
		var err error
		if interleave == bySample {
			err = s.samples(width)
		} else {
			for i := range s.planes {
				if err == nil {
					err = s.line(&s.planes[i], width)
				}
			}
		}
		if s.in.short() {
			err = t81.ErrTruncated
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", y+1, err)
		}
		for i := range s.planes {
			p := &s.planes[i]
			dst := out[y*width*components+which[i]:]
			for x, v := range p.line[1 : width+1] {
				dst[x*components] = uint16(v)
			}
			p.above, p.line = p.line, p.above
		}
	}
	return nil
}

// line decodes a line of one component.
func (s *scan) line(p *plane, width int) error {
	above, line := p.above, p.line[:len(p.above)]
	for x := 1; x <= width; {
		a, b, c, d := line[x-1], above[x], above[x-1], above[x+1]
		q := s.neighbourhood(a, b, c, d)
		if q != 0 {
			v, err := s.regular(q, predict(a, b, c))
			if err != nil {
				return err
			}
			line[x] = v
			x++
			continue
		}
		n, broken := s.runLength(width+1-x, &p.runIndex)
		for range n {
			line[x] = a
			x++
		}
		if !broken {
			continue
		}
		if x > width {
			return errors.New("run beyond the end of its line")
		}
		kind := 0
		if diff := a - above[x]; diff <= s.near && -diff <= s.near {
			kind = 1
		}
		v, err := s.interruption(a, above[x], kind, p.runIndex)
		if err != nil {
			return err
		}
		line[x] = v
		x++
		p.runIndex = max(p.runIndex-1, 0)
	}
	return nil
}

// samples decodes a line of all components, whose samples alternate. They share runs (T.87 §B.3).
func (s *scan) samples(width int) error {
	runIndex := &s.planes[0].runIndex
	for x := 1; x <= width; {
		run := true
		for i := range s.planes {
			p := &s.planes[i]
			run = run && s.neighbourhood(p.line[x-1], p.above[x], p.above[x-1], p.above[x+1]) == 0
		}
		if !run {
			for i := range s.planes {
				p := &s.planes[i]
				a, b, c, d := p.line[x-1], p.above[x], p.above[x-1], p.above[x+1]
				v, err := s.regular(s.neighbourhood(a, b, c, d), predict(a, b, c))
				if err != nil {
					return err
				}
				p.line[x] = v
			}
			x++
			continue
		}
		n, broken := s.runLength(width+1-x, runIndex)
		for range n {
			for i := range s.planes {
				s.planes[i].line[x] = s.planes[i].line[x-1]
			}
			x++
		}
		if !broken {
			continue
		}
		if x > width {
			return errors.New("run beyond the end of its line")
		}
		for i := range s.planes {
			p := &s.planes[i]
			v, err := s.interruption(p.line[x-1], p.above[x], 0, *runIndex)
			if err != nil {
				return err
			}
			p.line[x] = v
		}
		x++
		*runIndex = max(*runIndex-1, 0)
	}
	return nil
}

// neighbourhood numbers the gradients around a sample; 0 is flat (T.87 §A.3.1 to §A.3.4).
func (s *scan) neighbourhood(a, b, c, d int) int {
	m := s.maxval
	return 81*int(s.quant[d-b+m]) + 9*int(s.quant[b-c+m]) + int(s.quant[c-a+m])
}

// predict finds edges (T.87 §A.4.1).
func predict(a, b, c int) int {
	switch {
	case c >= max(a, b):
		return min(a, b)
	case c <= min(a, b):
		return max(a, b)
	}
	return a + b - c
}

// regular decodes a sample in neighbourhood q, predicted as p (T.87 §A.4 to §A.6).
func (s *scan) regular(q, p int) (int, error) {
	sign := 1
	if q < 0 {
		q, sign = -q, -1
	}
	c := &s.contexts[q]
	p = min(max(p+sign*c.c, 0), s.maxval)
	k := 0
	for c.n<<k < c.a {
		k++
	}
	m, err := s.golomb(k, s.limit)
	if err != nil {
		return 0, err
	}
	e := m >> 1
	if m&1 != 0 {
		e = -e - 1
	}
	if s.near == 0 && k == 0 && 2*c.b <= -c.n {
		e = -e - 1 // T.87 §A.5.2
	}
	if e > maxError || -e > maxError {
		return 0, errError
	}
	c.b += e * s.step
	c.a += max(e, -e)
	if c.n == s.reset {
		c.a >>= 1
		c.b >>= 1
		c.n >>= 1
	}
	c.n++
	if c.b <= -c.n { // T.87 §A.6.2
		c.b = max(c.b+c.n, 1-c.n)
		c.c = max(c.c-1, -128)
	} else if c.b > 0 {
		c.b = min(c.b-c.n, 0)
		c.c = min(c.c+1, 127)
	}
	return s.reconstruct(p + sign*e*s.step), nil
}

// reconstruct brings a sample back into the range of values (T.87 §A.4.4, §A.4.5).
func (s *scan) reconstruct(v int) int {
	if v < -s.near {
		v += s.rng * s.step
	} else if v > s.maxval+s.near {
		v -= s.rng * s.step
	}
	return min(max(v, 0), s.maxval)
}

// golomb decodes a mapped error with parameter k in at most limit bits (T.87 §A.5.3).
func (s *scan) golomb(k, limit int) (int, error) {
	most := limit - s.qbpp - 1
	zeros, ok := s.in.zeroRun(most)
	switch {
	case !ok || k > 32:
		return 0, errError
	case zeros < most:
		return zeros<<k | s.in.take(k), nil
	}
	return s.in.take(s.qbpp) + 1, nil
}

// runLength decodes how many samples repeat the one before, at most left; broken says that another sample ends the run
// and not the line (T.87 §A.7.1.2).
func (s *scan) runLength(left int, runIndex *int) (n int, broken bool) {
	for s.in.bit() {
		n += 1 << runBits[*runIndex]
		if n > left {
			return left, false
		}
		*runIndex = min(*runIndex+1, 31)
		if n == left {
			return left, false
		}
	}
	n += s.in.take(runBits[*runIndex])
	return min(n, left), true
}

// interruption decodes the sample that ends a run of a, below b (T.87 §A.7.2). Of kind 1, the two are the same.
func (s *scan) interruption(a, b, kind, runIndex int) (int, error) {
	c := &s.runs[kind]
	sum := c.a
	if kind == 1 {
		sum += c.n >> 1
	}
	k := 0
	for c.n<<k < sum {
		k++
	}
	m, err := s.golomb(k, s.limit-runBits[runIndex]-1)
	if err != nil {
		return 0, err
	}
	turned := 0
	if k == 0 && (kind == 1 || m != 0) && 2*c.b < c.n {
		turned = 1
	}
	e := m + kind + turned
	if e&1 != 0 {
		e = turned - (e+1)>>1
		c.b++
	} else {
		e >>= 1
	}
	if e > maxError || -e > maxError {
		return 0, errError
	}
	c.a += (m + 1 - kind) >> 1
	if c.n == s.reset {
		c.a >>= 1
		c.b >>= 1
		c.n >>= 1
	}
	c.n++
	if kind == 1 {
		return s.reconstruct(a + e*s.step), nil
	}
	if a > b {
		e = -e
	}
	return s.reconstruct(b + e*s.step), nil
}
