package ul

import (
	"errors"
	"io"
	"os"
	"time"
)

// lost executes the event for an error of the connection and returns how the association ended.
func (a *Association) lost(err error) error {
	a.framed = false
	e := EvtTransportClosed
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		s, interrupted := a.State(), a.wire.isInterrupted()
		if s == Sta13 && interrupted {
			return a.Err() // Abort has ended it already; Close waits for the peer
		}
		e, err = EvtAbortRequest, ErrTimeout
		if s == Sta2 || s == Sta13 {
			e = EvtARTIM
		}
		if interrupted {
			err = ErrInterrupted
		}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = nil
	}
	_, end := a.step(e, argument{cause: err})
	if first := a.Err(); first != nil {
		return first
	}
	return end
}

// ErrInterrupted is the cause of an abort by Interrupt or Abort.
var ErrInterrupted = errors.New("interrupted")

// Interrupt makes the reading goroutine abort the association. It may be called from any goroutine.
func (a *Association) Interrupt() { a.wire.interrupt() }

// Abort sends A-ABORT and ends reads in progress. It may be called from any goroutine. Call Close afterwards.
func (a *Association) Abort(cause error) {
	a.step(EvtAbortRequest, argument{cause: cause}) // ErrState if it has already ended
	a.wire.interrupt()
}

// Release requests release and waits for the response (PS3.8 §7.2); collisions follow the state table. Data that still
// arrives is dropped. Call Close afterwards.
func (a *Association) Release() error {
	if err := a.skip(); err != nil {
		return err
	}
	if _, err := a.step(EvtReleaseRequest, argument{}); err != nil {
		return err
	}
	a.wire.arm(a.o.ARTIM, false)
	for {
		act, _, err := a.pdu()
		if err != nil {
			return err
		}
		switch act {
		case AR6:
			err = a.skip()
		case AR8, AR10:
			if s := a.State(); s == Sta9 || s == Sta12 {
				_, err = a.step(EvtReleaseResponse, argument{})
			}
			if act == AR10 {
				return err
			}
		case AR3:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// ConfirmRelease responds to the release request reported by ErrReleased. Call Close afterwards.
func (a *Association) ConfirmRelease() error {
	_, err := a.step(EvtReleaseResponse, argument{})
	return err
}

// Close ends the association: it aborts an open one. In Sta13 it gives the peer until ARTIM to close its side, so that a
// TCP reset does not discard the last PDU. Call it exactly once, at the end.
func (a *Association) Close() {
	if s := a.State(); s != Sta1 && s != Sta13 {
		a.step(EvtAbortRequest, argument{})
	}
	if a.State() == Sta13 {
		a.wire.resume()
		a.mu.Lock()
		left := time.Until(a.artim)
		a.mu.Unlock()
		a.wire.arm(left, false)
		for a.State() == Sta13 {
			if !a.framed {
				_, err := io.Copy(io.Discard, a.in)
				if err == nil {
					err = io.EOF
				}
				a.lost(err)
				break
			}
			if a.skip() != nil {
				break
			}
			if _, _, err := a.pdu(); err != nil {
				break
			}
		}
	}
	_ = a.wire.conn.Close() // may already be closed
}
