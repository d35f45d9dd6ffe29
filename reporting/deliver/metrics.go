package deliver

// Meter declares metrics; add counts, read calls set once for each value of the labels.
type Meter interface {
	Counter(name, help string, labels ...string) (add func(n float64, values ...string))
	Gauge(name, help string, labels []string, read func(set func(v float64, values ...string)))
}

// Count returns a function for Options.Events that counts in metrics of m.
func Count(m Meter) func(Event) {
	attempts := m.Counter("ichor_delivery_attempts_total", "Attempts to send a result object, by destination and outcome: stored, retry, dead.", "destination", "outcome")
	commitments := m.Counter("ichor_commitments_total", "Objects for which a destination answered a Storage Commitment request, by destination and outcome: committed, not committed. Without an answer in time they become dead letters, cause uncommitted.", "destination", "outcome")
	return func(e Event) {
		switch e.Outcome {
		case Committed, NotCommitted:
			commitments(1, e.Delivery.Destination, string(e.Outcome))
		default:
			attempts(1, e.Delivery.Destination, string(e.Outcome))
		}
	}
}

// Measure declares the metrics of the destinations at this moment.
func (d *Deliverer) Measure(m Meter) {
	m.Gauge("ichor_destination_up", "0 while a destination does not take results.", []string{"destination"}, func(set func(float64, ...string)) {
		for _, s := range d.Status() {
			up := 1.0
			if s.Down {
				up = 0
			}
			set(up, s.Name)
		}
	})
}
