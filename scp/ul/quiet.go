package ul

import (
	"errors"
	"os"
	"time"
)

// Quiet waits between messages and reports whether the peer was silent for d. Call Next afterwards in either case. An error
// means that the association has ended.
func (a *Association) Quiet(d time.Duration) (bool, error) {
	if a.midway || a.pduLeft > 0 || a.pdvLeft > 0 { // more data has already arrived
		return false, nil
	}
	a.wire.arm(d, false)
	_, err := a.in.Peek(1)
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, os.ErrDeadlineExceeded) && !a.wire.isInterrupted():
		return true, nil
	}
	return false, a.lost(err)
}
