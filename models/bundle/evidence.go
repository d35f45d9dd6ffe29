package bundle

import (
	"fmt"
	"math"
	"slices"
)

// OperatingPoint says how much evidence a marked part needs to be reported.
type OperatingPoint string

const (
	Balanced  OperatingPoint = "balanced"
	Sensitive OperatingPoint = "sensitive" // finds more small and faint bleeds, with more false positives
	Specific  OperatingPoint = "specific"
)

// OperatingPoints lists all operating points, the most sensitive one first.
var OperatingPoints = [...]OperatingPoint{Sensitive, Balanced, Specific}

// Signs are the names of the features that evidence is computed from, in the order of bleed.Signs.
var Signs = [...]string{"mass", "mean", "peak", "contrast", "thickness", "depth", "table", "falx", "asymmetry", "other"}

// AlwaysML is the volume in mL from which a connected part of the mask is always reported: no rule of a bundle may drop it.
const AlwaysML = 5

// Evidence decides which connected parts of the mask are reported. The probability that a part is blood is
// 1 / (1 + exp(-(Intercept + sum of weight times sign))), fitted on held-out heads. A part is kept if this reaches the cut of
// the operating point, or if its volume reaches AlwaysML.
type Evidence struct {
	Intercept float64                  `json:"intercept"`
	Weights   map[string]float64       `json:"weights"` // one for each of Signs
	AlwaysML  float64                  `json:"always_ml"`
	Points    map[OperatingPoint]Point `json:"operating_points"` // all three
}

// Point is one operating point. Its measured performance is only displayed.
type Point struct {
	Cut         float64 `json:"cut"`
	Sensitivity float64 `json:"sensitivity"` // fraction of the heads with at least 1 mL of blood in which any was found
	FalseML     float64 `json:"false_ml"`    // mean false volume per head without blood
	Heads       int     `json:"heads"`       // used for the measurement
}

// Of returns the logit of a part with these signs.
func (e *Evidence) Of(signs [len(Signs)]float64) float64 {
	sum := e.Intercept
	for i, name := range Signs {
		sum += e.Weights[name] * signs[i]
	}
	return sum
}

// At returns the bundle with operating point p. A point other than Balanced changes Digest: the UIDs of results are derived from
// it, so different results never share a UID.
func (b *Bundle) At(p OperatingPoint) (*Bundle, error) {
	if !slices.Contains(OperatingPoints[:], p) {
		return nil, fmt.Errorf("operating point %q: must be one of %v; set analysis.operating_point", p, OperatingPoints)
	}
	if p == Balanced {
		return b, nil
	}
	if b.Network(Bleed).Post.Evidence == nil {
		return nil, fmt.Errorf("bundle %s has no operating points; set analysis.operating_point to %s, or fit them with `python -m ich decide`: %w",
			b.Dir, Balanced, ErrRefused)
	}
	out := *b
	out.Digest = digest([]byte(b.Digest + " " + string(p)))
	out.Networks = slices.Clone(b.Networks)
	out.Network(Bleed).point = p
	return &out, nil
}

// OperatingPoint returns the operating point of the network, empty if it has no evidence.
func (n *Network) OperatingPoint() OperatingPoint {
	switch {
	case n.Post.Evidence == nil:
		return ""
	case n.point == "":
		return Balanced
	}
	return n.point
}

// Cut returns the logit that a part must reach at the operating point.
func (n *Network) Cut() float64 {
	cut := n.Post.Evidence.Points[n.OperatingPoint()].Cut
	return math.Log(cut / (1 - cut))
}

func (e *Evidence) check(n *Network) error {
	if e == nil {
		if n.Post.ByAnatomy() && n.Post.OpeningMM != 0 {
			return refuse("post.opening_mm", "does not go with subtype_per anatomy; remove it")
		}
		return nil
	}
	if !n.TellsSubtypes() {
		return refuse("post.evidence", "requires a network with subtypes")
	}
	if n.Post.SureThreshold != 0 || n.Post.OpeningMM != 0 {
		return refuse("post.evidence", "replaces sure_threshold and opening_mm; remove them")
	}
	if !n.Post.ByAnatomy() {
		return refuse("post.evidence", "requires subtype_per anatomy, which is %q", n.Post.SubtypePer)
	}
	if !finite(e.Intercept) {
		return refuse("post.evidence.intercept", "is %g; it must be between -1000 and 1000", e.Intercept)
	}
	for _, name := range Signs {
		w, ok := e.Weights[name]
		if !ok || !finite(w) {
			return refuse("post.evidence.weights."+name, "is missing or not between -1000 and 1000")
		}
	}
	if len(e.Weights) != len(Signs) {
		return refuse("post.evidence.weights", "has %d entries; there must be one for each of %v", len(e.Weights), Signs)
	}
	if !(e.AlwaysML > 0 && e.AlwaysML <= AlwaysML) {
		return refuse("post.evidence.always_ml", "is %g; it must be above 0 and at most %d", e.AlwaysML, AlwaysML)
	}
	if len(e.Points) != len(OperatingPoints) {
		return refuse("post.evidence.operating_points", "has %d entries; there must be one for each of %v", len(e.Points), OperatingPoints)
	}
	last := 0.0
	for _, name := range OperatingPoints {
		p, ok := e.Points[name]
		field := "post.evidence.operating_points." + string(name)
		if !ok || !(p.Cut > 0 && p.Cut < 1) {
			return refuse(field+".cut", "is %g; it must be between 0 and 1", p.Cut)
		}
		if p.Cut < last {
			return refuse(field+".cut", "is %g, which is below that of a more sensitive point", p.Cut)
		}
		if !(p.Sensitivity >= 0 && p.Sensitivity <= 1) || !(p.FalseML >= 0 && p.FalseML < 1000) || p.Heads < 0 {
			return refuse(field, "has invalid values: sensitivity %g, false_ml %g, heads %d", p.Sensitivity, p.FalseML, p.Heads)
		}
		last = p.Cut
	}
	return nil
}

func finite(v float64) bool { return v >= -1000 && v <= 1000 }
