package scp

import (
	"sync"
	"time"
)

// mostTold bounds the associations of one kind that are logged one by one in a minute: a peer that opens one for each object, or
// one that floods this node, must not fill the log.
const mostTold = 120

// told limits the log lines that peers cause. The zero value is ready.
type told struct {
	mu    sync.Mutex
	since time.Time // when the minute began
	lines int       // in it
	more  int       // not logged
}

// tell reports whether to log one more line. first: it is the first of this minute that is not logged. missed is how many were not
// logged in an earlier minute; each is reported once.
func (t *told) tell(now time.Time) (yes, first bool, missed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.since) >= time.Minute {
		missed = t.more
		t.since, t.lines, t.more = now, 0, 0
	}
	if t.lines < mostTold {
		t.lines++
		return true, false, missed
	}
	t.more++
	return false, t.more == 1, missed
}

// mayTell reports whether an association is logged. what names its kind.
func (s *Server) mayTell(t *told, what string) bool {
	yes, first, missed := t.tell(time.Now())
	if missed > 0 {
		s.o.Logger.Info("associations were not logged one by one", "which", what, "count", missed)
	}
	if first {
		s.o.Logger.Info("too many associations to log each; the rest of this minute is counted", "which", what, "most", mostTold)
	}
	return yes
}
