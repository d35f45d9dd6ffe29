package node

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"ichor/reporting/events"
)

// singles gathers the events of associations that brought one object each, as some senders open them, so that a study has one
// entry and not hundreds. The zero value is ready.
type singles struct {
	mu   sync.Mutex
	list []single // the oldest first
}

// single is an event that stands for several associations.
type single struct {
	events.Event
	times int
	last  time.Time
}

// singleWait is how long after its last association an event is written although its study is not complete.
const singleWait = time.Minute

// add gathers e with the events of the same peer, case and outcome. It returns those that have waited long enough.
func (s *singles) add(e events.Event, at time.Time) (due []events.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	due = s.take(func(x *single) bool { return at.Sub(x.last) > singleWait })
	i := slices.IndexFunc(s.list, func(x single) bool {
		return x.Peer == e.Peer && x.Address == e.Address && x.Case == e.Case && x.Outcome == e.Outcome
	})
	if i < 0 {
		s.list = append(s.list, single{Event: e, times: 1, last: at})
		return due
	}
	x := &s.list[i]
	x.Objects, x.times, x.last = x.Objects+e.Objects, x.times+1, at
	return due
}

// of returns the events of a case, or all of them for an empty id, which are then not gathered any more.
func (s *singles) of(id string) []events.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take(func(x *single) bool { return id == "" || x.Case == id })
}

func (s *singles) take(due func(*single) bool) (out []events.Event) {
	s.list = slices.DeleteFunc(s.list, func(x single) bool {
		if !due(&x) {
			return false
		}
		if x.times > 1 {
			x.Detail = fmt.Sprintf("first of %d associations", x.times)
		}
		out = append(out, x.Event)
		return true
	})
	return out
}
