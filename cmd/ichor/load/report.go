package load

import (
	"encoding/json"
	"math"
	"slices"
	"time"
)

// Study is what became of one study.
type Study struct {
	Arrival
	Begun   time.Duration `json:"begun"`  // since the start: its first object was sent
	Sent    time.Duration `json:"sent"`   // its last object was acknowledged
	Stored  time.Duration `json:"stored"` // its last result was stored; 0: none came
	Objects int           `json:"objects"`
	Results int           `json:"results"`
	Again   int           `json:"again"` // reports beyond the first: the study was complete too early
}

// Latency is the time from the last object to the last result.
func (s Study) Latency() time.Duration { return s.Stored - s.Sent }

// Sample is the use of resources at one moment.
type Sample struct {
	At       time.Duration `json:"at"`
	CPU      float64       `json:"cpu"` // cores in use since the sample before
	RSSBytes int64         `json:"rss_bytes"`
	Waiting  int           `json:"waiting"` // studies sent whose results are not all stored
}

// Report is the result of a run.
type Report struct {
	Plan     Plan            `json:"plan"`
	Settings []string        `json:"settings"` // that differ from the defaults
	Latency  map[Kind]Spread `json:"latency_seconds"`
	Lost     int             `json:"lost"`  // studies without results
	Again    int             `json:"again"` // second sets of results

	Offered   float64 `json:"offered_per_hour"`
	Completed float64 `json:"completed_per_hour"`
	Saturated bool    `json:"saturated"` // results come more slowly than studies
	Waiting   int     `json:"most_waiting"`

	CPUSeconds float64 `json:"cpu_seconds_per_study"` // 0: not measured
	Cores      float64 `json:"cores_in_use"`
	MostRSS    int64   `json:"most_rss_bytes"`
	RestRSS    int64   `json:"rest_rss_bytes"` // at the end, at rest

	Studies []Study  `json:"studies"`
	Samples []Sample `json:"samples"`
}

// Spread is a distribution of latencies in seconds.
type Spread struct {
	N                  int     `json:"n"`
	P50, P90, P99, Max float64 `json:",omitempty"`
}

// MarshalJSON writes lower-case keys.
func (s Spread) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]float64{"n": float64(s.N), "p50": s.P50, "p90": s.P90, "p99": s.P99, "max": s.Max})
}

// SpreadOf sorts latencies into a Spread; percentiles are by nearest rank.
func SpreadOf(latencies []time.Duration) Spread {
	if len(latencies) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(latencies))
	at := func(q float64) float64 {
		return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)].Seconds()
	}
	return Spread{len(sorted), at(0.5), at(0.9), at(0.99), sorted[len(sorted)-1].Seconds()}
}

// saturation is the share of the offered rate that a system must complete not to be saturated.
const saturation = 0.9

// sum derives the figures from studies and samples.
func (r *Report) sum() {
	by := map[Kind][]time.Duration{}
	var sent, stored []time.Duration
	for _, s := range r.Studies {
		sent = append(sent, s.Sent)
		r.Again += s.Again
		if s.Stored == 0 {
			r.Lost++
			continue
		}
		by[s.Kind] = append(by[s.Kind], s.Latency())
		stored = append(stored, s.Stored)
	}
	r.Latency = map[Kind]Spread{}
	for k, l := range by {
		r.Latency[k] = SpreadOf(l)
	}
	rate := func(at []time.Duration) float64 {
		if len(at) < 2 {
			return 0
		}
		return float64(len(at)-1) / max(slices.Max(at)-slices.Min(at), time.Millisecond).Hours()
	}
	r.Offered, r.Completed = rate(sent), rate(stored)
	r.Saturated = r.Lost > 0 || r.Completed < saturation*r.Offered
	cpu, last := 0.0, time.Duration(0)
	for _, s := range r.Samples {
		cpu += s.CPU * (s.At - last).Seconds()
		last = s.At
		r.Waiting, r.MostRSS, r.RestRSS = max(r.Waiting, s.Waiting), max(r.MostRSS, s.RSSBytes), s.RSSBytes
	}
	if last > 0 && len(r.Studies) > 0 {
		r.CPUSeconds, r.Cores = cpu/float64(len(r.Studies)), cpu/last.Seconds()
	}
}
