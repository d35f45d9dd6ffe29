package state

import (
	"slices"
	"time"
)

// Meter declares metrics that are looked up; read calls set once for each combination of values of the labels.
type Meter interface {
	Gauge(name, help string, labels []string, read func(set func(v float64, values ...string)))
	Total(name, help string, labels []string, read func(set func(v float64, values ...string)))
}

// Measure declares the metrics of cases and deliveries. The destinations named are there even without deliveries; others
// that have some, as those that are no longer configured, are there as well. What cannot be read is left out.
func (s *Store) Measure(m Meter, destinations []string) {
	counted := func(read func(c Counts, set func(float64, ...string))) func(func(float64, ...string)) {
		return func(set func(float64, ...string)) {
			if c, err := s.Counts(); err == nil {
				read(c, set)
			}
		}
	}
	byPhase := func(of func(Counts) map[Phase]int) func(func(float64, ...string)) {
		return counted(func(c Counts, set func(float64, ...string)) {
			for _, p := range Phases {
				set(float64(of(c)[p]), string(p))
			}
		})
	}
	byDestination := func(read func(c Counts, name string, set func(float64, ...string))) func(func(float64, ...string)) {
		return counted(func(c Counts, set func(float64, ...string)) {
			for _, name := range destinations {
				read(c, name, set)
			}
			for name := range c.Deliveries {
				if !slices.Contains(destinations, name) {
					read(c, name, set)
				}
			}
		})
	}
	m.Gauge("ichor_cases", "Cases that are kept, by phase: receiving, queued, analyzed, refused, failed.", []string{"phase"},
		byPhase(func(c Counts) map[Phase]int { return c.Cases }))
	m.Total("ichor_case_phases_total", "How often cases came to each phase since the state file was made; phases as in ichor_cases.", []string{"phase"},
		byPhase(func(c Counts) map[Phase]int { return c.Ever }))
	m.Total("ichor_refused_studies_total", "Studies that were not analysed since the state file was made, by code of the refusal, such as too-few-slices.", []string{"code"},
		counted(func(c Counts, set func(float64, ...string)) { // codes: pipeline/finding/refusal.go
			for code, n := range c.Refusals {
				set(float64(n), code)
			}
		}))
	m.Gauge("ichor_oldest_job_age_seconds", "How long the oldest case in phase queued has waited or been analysed, 0 when there is none.", nil,
		func(set func(float64, ...string)) {
			if age, err := s.OldestJob(); err == nil {
				set(age.Seconds())
			}
		})
	m.Gauge("ichor_deliveries", "Result objects by destination and state: pending (the backlog), stored, committed, dead.", []string{"destination", "state"},
		byDestination(func(c Counts, name string, set func(float64, ...string)) {
			for _, d := range []DeliveryState{Pending, Stored, Committed, Dead} {
				set(float64(c.Deliveries[name][d]), name, string(d))
			}
		}))
	m.Gauge("ichor_oldest_pending_age_seconds", "Age of the oldest pending delivery by destination, 0 when there is none.", []string{"destination"},
		byDestination(func(_ Counts, name string, set func(float64, ...string)) {
			if age, err := s.Oldest(name); err == nil {
				set(age.Seconds(), name)
			}
		}))
	m.Gauge("ichor_last_stored_timestamp_seconds", "When a destination last stored an object, in Unix time; missing when it never did.", []string{"destination"},
		byDestination(func(c Counts, name string, set func(float64, ...string)) {
			if at, ok := c.LastStored[name]; ok {
				set(float64(at), name)
			}
		}))
	m.Total("ichor_objects_present_total", "Objects that a destination said to have already (0111H), since the state file was made.", []string{"destination"},
		byDestination(func(c Counts, name string, set func(float64, ...string)) { set(float64(c.Present[name]), name) }))
	m.Gauge("ichor_dead_letters", "Deliveries given up, by destination and cause: unreachable, busy, rejected, denied, not authorized, not supported, bad object, file lost, uncommitted, unconfigured.",
		[]string{"destination", "cause"}, func(set func(float64, ...string)) {
			dead, err := s.DeadLetters()
			if err != nil {
				return
			}
			n := map[[2]string]float64{}
			for _, d := range dead {
				n[[2]string{d.Destination, string(d.Cause)}]++
			}
			for k, v := range n {
				set(v, k[0], k[1])
			}
		})
}

// OldestJob returns how long the oldest queued case has waited or been analysed, 0 when there is none.
func (s *Store) OldestJob() (age time.Duration, err error) {
	queued, err := s.InPhase(Queued)
	for _, c := range queued {
		if c.QueuedAt > 0 {
			age = max(age, s.running()-c.QueuedAt)
		}
	}
	return age, err
}
