package bundle

import (
	"fmt"
	"math"
	"slices"
)

// OperatingPoint is how much evidence a part of what the network marks must have to be reported.
type OperatingPoint string

const (
	Balanced  OperatingPoint = "balanced"
	Sensitive OperatingPoint = "sensitive" // small and faint bleeds are found more often, and so is blood that is none
	Specific  OperatingPoint = "specific"
)

// OperatingPoints lists the values an OperatingPoint may have.
var OperatingPoints = [...]OperatingPoint{Sensitive, Balanced, Specific}

// Signs are the names of the numbers that evidence is made of, in the order of bleed.Signs.
var Signs = [...]string{"mass", "mean", "peak", "contrast", "thickness", "depth", "table", "falx", "asymmetry", "other"}

// MostML is a volume from which on no rule may drop a part.
const MostML = 5

// Evidence decides which connected parts of what the network marks are reported: the chance that a part is blood is
// 1 / (1 + exp(-(Intercept + sum of weight times sign))), fitted on held-out heads. A part is kept from the cut of the
// operating point on, and in any case from AlwaysML on.
type Evidence struct {
	Intercept float64                  `json:"intercept"`
	Weights   map[string]float64       `json:"weights"` // one for each of Signs
	AlwaysML  float64                  `json:"always_ml"`
	Points    map[OperatingPoint]Point `json:"operating_points"` // all three
}

// Point is one operating point. What it was measured to do is only shown.
type Point struct {
	Cut         float64 `json:"cut"`
	Sensitivity float64 `json:"sensitivity"` // share of the bleeding heads with 1 mL or more in which any was found
	FalseML     float64 `json:"false_ml"`    // a head without blood, on average
	Heads       int     `json:"heads"`       // that it was measured on
}

// Of is the logit of a part with these signs.
func (e *Evidence) Of(signs [len(Signs)]float64) float64 {
	sum := e.Intercept
	for i, name := range Signs {
		sum += e.Weights[name] * signs[i]
	}
	return sum
}

// At returns the bundle as it decides at point p. Another point than Balanced changes the digest, for UIDs of results are derived
// from it, and two different results must not share one.
func (b *Bundle) At(p OperatingPoint) (*Bundle, error) {
	if !slices.Contains(OperatingPoints[:], p) {
		return nil, fmt.Errorf("operating point %q is none of %v; set analysis.operating_point", p, OperatingPoints)
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

// OperatingPoint is the one that the network's evidence is judged at; empty where it has no evidence.
func (n *Network) OperatingPoint() OperatingPoint {
	switch {
	case n.Post.Evidence == nil:
		return ""
	case n.point == "":
		return Balanced
	}
	return n.point
}

// Cut is the logit that a part must reach at the operating point.
func (n *Network) Cut() float64 {
	cut := n.Post.Evidence.Points[n.OperatingPoint()].Cut
	return math.Log(cut / (1 - cut))
}

func (e *Evidence) check(n *Network) error {
	if e == nil {
		if n.Post.SubtypePer == "anatomy" {
			return refuse("post.subtype_per", "is anatomy, but there is no post.evidence")
		}
		return nil
	}
	if !n.TellsSubtypes() {
		return refuse("post.evidence", "is there, but the network tells no subtypes")
	}
	if n.Post.SureThreshold != 0 || n.Post.OpeningMM != 0 {
		return refuse("post.evidence", "is there beside sure_threshold or opening_mm; it takes their place")
	}
	if n.Post.SubtypePer != "anatomy" {
		return refuse("post.evidence", "is there, but subtype_per is %q, not anatomy", n.Post.SubtypePer)
	}
	if !finite(e.Intercept) {
		return refuse("post.evidence.intercept", "is %g", e.Intercept)
	}
	for _, name := range Signs {
		w, ok := e.Weights[name]
		if !ok || !finite(w) {
			return refuse("post.evidence.weights."+name, "is missing, or larger than 1000")
		}
	}
	if len(e.Weights) != len(Signs) {
		return refuse("post.evidence.weights", "has %d entries, not one for each of %v", len(e.Weights), Signs)
	}
	if !(e.AlwaysML > 0 && e.AlwaysML <= MostML) {
		return refuse("post.evidence.always_ml", "is %g, not above 0 and at most %d", e.AlwaysML, MostML)
	}
	if len(e.Points) != len(OperatingPoints) {
		return refuse("post.evidence.operating_points", "has %d entries, not one for each of %v", len(e.Points), OperatingPoints)
	}
	last := 0.0
	for _, name := range OperatingPoints {
		p, ok := e.Points[name]
		field := "post.evidence.operating_points." + string(name)
		if !ok || !(p.Cut > 0 && p.Cut < 1) {
			return refuse(field+".cut", "is %g, not between 0 and 1", p.Cut)
		}
		if p.Cut < last {
			return refuse(field+".cut", "is %g, below that of a more sensitive point", p.Cut)
		}
		if !(p.Sensitivity >= 0 && p.Sensitivity <= 1) || !(p.FalseML >= 0 && p.FalseML < 1000) || p.Heads < 0 {
			return refuse(field, "says sensitivity %g, false_ml %g on %d heads", p.Sensitivity, p.FalseML, p.Heads)
		}
		last = p.Cut
	}
	return nil
}

func finite(v float64) bool { return v >= -1000 && v <= 1000 }
