package deliver

import (
	"slices"

	"ichor/pipeline/state"
)

// next returns up to most due objects that no attempt is sending, and whether to request commitment.
func (l *line) next(most int) (batch []state.Delivery, ask bool, err error) {
	l.mu.Lock()
	at := len(l.flights)
	busy := l.attempts > 0
	l.mu.Unlock()
	for n := most + at; ; n *= 4 { // more than one turn only if objects may not be sent
		due, err := l.opts.State.Due(l.dest.Name, n)
		if err != nil {
			return nil, false, err
		}
		batch, l.held = batch[:0], false
		for _, d := range due {
			switch {
			case !l.may(d):
				l.held = true
			case !l.inFlight(d) && len(batch) < most:
				batch = append(batch, d)
			}
		}
		if len(batch) == most || len(due) < n {
			break
		}
	}
	if l.dest.Commitment && !busy { // attempts request it before they end
		list, held, err := l.uncommitted()
		l.held = l.held || held
		return batch, len(list) > 0, err
	}
	return batch, false, nil
}

// may reports whether an object may be sent now.
func (l *line) may(d state.Delivery) bool { return l.opts.May == nil || l.opts.May(d) }

func (l *line) inFlight(d state.Delivery) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flights[d.DeliveryKey]
}

// uncommitted returns the objects for which to request commitment now. held: there are others for which this node may not.
func (l *line) uncommitted() (list []state.Delivery, held bool, err error) {
	list, err = l.opts.State.Uncommitted(l.dest.Name, maxAsked)
	n := len(list)
	list = slices.DeleteFunc(list, func(d state.Delivery) bool { return !l.may(d) })
	return list, len(list) < n, err
}
