// Package load measures a node under a load of synthetic studies, and predicts by simulation what it cannot run.
//
//	plan.go      when studies arrive, and of which kind
//	run.go       sends them, and records when their results are stored
//	node.go      the measured node as a process of its own, with its resource use
//	report.go    latencies, throughput and saturation as JSON
//	draw.go      the same as SVG
//	simulate.go  a discrete-event simulation of the same plan
package load

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Patterns of arrival.
const (
	Poisson = "poisson" // independent of each other, Rate an hour on average
	Burst   = "burst"   // Size at once, as often as Rate demands
	Day     = "day"     // Poisson with a rate that follows the hours of a day; Rate is the mean
)

// Patterns lists the values of Plan.Pattern.
var Patterns = []string{Poisson, Burst, Day}

// Plan describes the arrivals.
type Plan struct {
	Pattern string  `json:"pattern"`
	Studies int     `json:"studies"`
	Rate    float64 `json:"rate_per_hour"`
	Size    int     `json:"burst_size"` // of Burst
	Speed   float64 `json:"speed"`      // time runs this much faster: 24 makes a day an hour
	Thin    float64 `json:"thin_share"` // share of studies of thin slices
	Senders int     `json:"senders"`
	Seed    uint64  `json:"seed"`
}

// Kind is the kind of a study.
type Kind string

const (
	Thick Kind = "thick" // 32 slices of 5 mm
	Thin  Kind = "thin"  // 250 slices of 0.625 mm
)

// Arrival is one study of a plan.
type Arrival struct {
	At     time.Duration // since the start: when its sender begins
	Kind   Kind
	Sender int
}

// dayCurve is the arrival rate by hour relative to its mean: few at night, most in the afternoon and evening, as in an
// emergency department.
var dayCurve = [24]float64{0.55, 0.45, 0.4, 0.35, 0.35, 0.4, 0.5, 0.7, 0.95, 1.15, 1.3, 1.4, 1.4, 1.4, 1.45, 1.5, 1.5, 1.5, 1.45, 1.35, 1.2, 1.05, 0.9, 0.75}

// Check returns what is wrong with a plan.
func (p Plan) Check() error {
	switch {
	case !slices.Contains(Patterns, p.Pattern):
		return fmt.Errorf("pattern %q: write one of %v", p.Pattern, Patterns)
	case p.Studies < 1, p.Senders < 1, p.Size < 1:
		return fmt.Errorf("%d studies, %d senders, bursts of %d: each must be at least 1", p.Studies, p.Senders, p.Size)
	case !(p.Rate > 0), !(p.Speed > 0):
		return fmt.Errorf("rate %g an hour, speed %g: both must be above 0", p.Rate, p.Speed)
	case !(p.Thin >= 0 && p.Thin <= 1):
		return fmt.Errorf("share of thin studies %g: must be from 0 to 1", p.Thin)
	}
	return nil
}

// Arrivals returns the studies in the order of their arrival. The same plan gives the same arrivals.
func (p Plan) Arrivals() []Arrival {
	rng := rand.New(rand.NewPCG(p.Seed, 1))
	list := make([]Arrival, 0, p.Studies)
	hours, thin := 0.0, 0.0
	for i := range p.Studies {
		switch p.Pattern {
		case Poisson:
			hours += rng.ExpFloat64() / p.Rate
		case Burst:
			hours = float64(i/p.Size*p.Size) / p.Rate
		case Day: // by thinning a process of the highest rate
			highest := slices.Max(dayCurve[:])
			for {
				hours += rng.ExpFloat64() / (p.Rate * highest)
				if rng.Float64()*highest < dayCurve[int(hours)%24] {
					break
				}
			}
		}
		kind := Thick
		if thin += p.Thin; thin >= 1 { // evenly spread
			thin--
			kind = Thin
		}
		list = append(list, Arrival{At: time.Duration(hours / p.Speed * float64(time.Hour)), Kind: kind, Sender: i % p.Senders})
	}
	return list
}
