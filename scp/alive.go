package scp

import "time"

// clock is the time since the server was made, by the monotonic clock: the wall clock may jump.
func (s *Server) clock() int64 { return int64(time.Since(s.made)) }

// stuck reports whether, at a time, a message has been in progress for limit without a byte read or stored.
func (s *session) stuck(at time.Time, limit time.Duration) bool {
	return s.silent.Load() == 0 && at.Sub(s.made)-time.Duration(s.moved.Load()) > limit
}

// Stuck returns the number of associations whose message has not moved, at a time, for longer than any peer may take: peers
// have time limits of their own, so this node hangs, in its disk or in a lock. Stuck takes the locks that accepting a
// connection takes, so it does not return if these are never released.
func (s *Server) Stuck(at time.Time) (n int) {
	limit := max(stuckAfter, 2*(s.o.Read+s.o.Write))
	s.each(func(x *session) {
		if x.stuck(at, limit) {
			n++
		}
	})
	s.seats.associations()
	return n
}

// stuckAfter is far longer than a disk with errors takes for one sync.
const stuckAfter = 5 * time.Minute
