package ul

import (
	"errors"
	"os"
	"time"
)

// Quiet waits for the peer, between messages, and reports whether it stayed silent for d. Next follows either way. An
// error is the end of the association.
func (a *Association) Quiet(d time.Duration) (bool, error) {
	if a.midway || a.pduLeft > 0 || a.pdvLeft > 0 { // more has come already
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
