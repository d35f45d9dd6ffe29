package bundle

import (
	"cmp"
	"fmt"
	"slices"
)

// Precision is the arithmetic of the networks of a bundle.
type Precision string

const (
	Float32 Precision = "float32"
	Int8    Precision = "int8"
)

// Precisions lists all precisions.
var Precisions = [...]Precision{Float32, Int8}

// Quantised is the same network with 8-bit weights and activations (ONNX QDQ): unsigned activations, signed weights with a
// scale for each channel. Input, output, threshold, post-processing and the reference input are those of the float32
// network; the reference output differs.
type Quantised struct {
	File      string             `json:"file"`
	SHA256    string             `json:"sha256"`
	Reference QuantisedReference `json:"reference"`
	Deviation Deviation          `json:"deviation"`
}

// QuantisedReference is the expected output for the reference input of the network. It has the shape of the float32 output.
type QuantisedReference struct {
	Output       string  `json:"output"`
	OutputSHA256 string  `json:"output_sha256"`
	Tolerance    float64 `json:"tolerance"`
}

// leastDice is how much the int8 masks of each network must agree with those of float32 for int8 to be chosen without being
// asked for.
const leastDice = 0.995

// Deviation is the difference between int8 and float32, measured on held-out heads when the file was made.
type Deviation struct {
	Heads      int     `json:"heads"`
	MaxAbs     float64 `json:"max_abs"`     // largest difference of a probability
	Flipped    float64 `json:"flipped"`     // fraction of pixels that change sides of the threshold
	Dice       float64 `json:"dice"`        // between the two masks, over all heads
	SpeedRatio float64 `json:"speed_ratio"` // processor time of float32 divided by that of int8, one thread
	CPU        string  `json:"cpu"`         // on which the ratio was measured
}

// In returns the bundle in precision p. For int8, File, SHA256 and Reference of each network are those of the int8 file.
// Version and Digest then differ too: results name both, and the UIDs of results are derived from Digest, so different
// results never share a UID.
func (b *Bundle) In(p Precision) (*Bundle, error) {
	switch p {
	case Float32:
		return b, nil
	case Int8:
	default:
		return nil, fmt.Errorf("precision %q: must be one of %v; set analysis.precision", p, Precisions)
	}
	if err := b.float32Only(); err != nil {
		return nil, fmt.Errorf("bundle %s: %w; set analysis.precision to auto or float32: %w", b.Dir, err, ErrRefused)
	}
	out := *b
	out.Version += "+int8"
	out.Digest = digest([]byte(b.Digest + " int8"))
	out.Networks = slices.Clone(b.Networks)
	for i := range out.Networks {
		n := &out.Networks[i]
		if n.Int8 == nil {
			return nil, fmt.Errorf("bundle %s: networks[%d].int8 is missing: %s has no int8 file; set analysis.precision to float32, "+
				"or make one with `python -m ich quantize`: %w", b.Dir, i, n.Role, ErrRefused)
		}
		*n = n.int8()
	}
	return &out, nil
}

// float32Only returns why a bundle has no int8 files. In int8 a 3D network of nnU-Net took longer than in float32, since ONNX Runtime
// normalises instances in float32 (docs/performance.md).
func (b *Bundle) float32Only() error {
	for i := range b.Networks {
		if n := &b.Networks[i]; n.NNUNet != nil {
			return fmt.Errorf("network %s is of nnU-Net, which runs in float32 only", n.Role)
		}
	}
	return nil
}

// Int8Agrees returns why int8 should not take the place of float32 unasked, nil if it may: every network has an int8 file,
// whose masks have a Dice of at least 0.995 against float32.
func (b *Bundle) Int8Agrees() error {
	if err := b.float32Only(); err != nil {
		return err
	}
	for i := range b.Networks {
		switch n := &b.Networks[i]; {
		case n.Int8 == nil:
			return fmt.Errorf("network %s has no int8 file", n.Role)
		case n.Int8.Deviation.Dice < leastDice:
			return fmt.Errorf("int8 masks of network %s have a Dice of %g against float32, below %g", n.Role, n.Int8.Deviation.Dice, leastDice)
		}
	}
	return nil
}

// Precision returns the precision of the files that Load and Samples read.
func (n *Network) Precision() Precision { return cmp.Or(n.precision, Float32) }

// field returns the manifest field of a file in use.
func (n *Network) field(name string) string {
	if n.precision == Int8 {
		return "int8." + name
	}
	return name
}

// int8 returns the network with its int8 files.
func (n *Network) int8() Network {
	out, q := *n, n.Int8
	out.precision, out.Int8 = Int8, nil
	out.File, out.SHA256 = q.File, q.SHA256
	out.Reference.Output, out.Reference.OutputSHA256, out.Reference.Tolerance = q.Reference.Output, q.Reference.OutputSHA256, q.Reference.Tolerance
	return out
}

func (q *Quantised) check() error {
	if q == nil {
		return nil
	}
	for _, f := range []struct{ field, path string }{{"int8.file", q.File}, {"int8.reference.output", q.Reference.Output}} {
		if err := checkPath(f.field, f.path); err != nil {
			return err
		}
	}
	for _, f := range []struct{ field, value string }{
		{"int8.sha256", q.SHA256}, {"int8.reference.output_sha256", q.Reference.OutputSHA256},
	} {
		if err := checkDigest(f.field, f.value); err != nil {
			return err
		}
	}
	if err := checkTolerance("int8.reference.tolerance", q.Reference.Tolerance); err != nil {
		return err
	}
	return q.Deviation.check()
}

func (d *Deviation) check() error {
	if d.Heads < 1 {
		return refuse("int8.deviation.heads", "is %d; it must be at least 1", d.Heads)
	}
	for _, f := range []struct {
		field string
		value float64
	}{{"max_abs", d.MaxAbs}, {"flipped", d.Flipped}, {"dice", d.Dice}} {
		if !(f.value >= 0 && f.value <= 1) {
			return refuse("int8.deviation."+f.field, "is %g; it must be between 0 and 1", f.value)
		}
	}
	if !(d.SpeedRatio > 0 && d.SpeedRatio < 1000) {
		return refuse("int8.deviation.speed_ratio", "is %g; it must be above 0", d.SpeedRatio)
	}
	return nil
}
