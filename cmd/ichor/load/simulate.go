package load

import (
	"slices"
	"time"
)

// Service is what a simulated system needs for one study, and how many workers it has.
type Service struct {
	Workers int
	Quiet   time.Duration // the study counts as complete this long after its last object
	Ripe    time.Duration // the analysis may begin this long after it; Quiet or more: no early analysis
	Analyse map[Kind]time.Duration
	Finish  map[Kind]time.Duration // writing and delivering the results, beside the analyses of other studies
}

// Simulate returns how long each study takes from its last object to its last result. Studies are analysed in the order in which
// they may begin, each by the worker that is free first.
func Simulate(arrivals []Arrival, s Service) []time.Duration {
	free := make([]time.Duration, s.Workers)
	latencies := make([]time.Duration, len(arrivals))
	order := make([]int, len(arrivals))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(arrivals[a].At - arrivals[b].At) })
	for _, i := range order {
		a := arrivals[i]
		w := 0
		for k := range free {
			if free[k] < free[w] {
				w = k
			}
		}
		ended := max(a.At+min(s.Ripe, s.Quiet), free[w]) + s.Analyse[a.Kind]
		free[w] = ended
		latencies[i] = max(ended, a.At+s.Quiet) + s.Finish[a.Kind] - a.At
	}
	return latencies
}
