package node

import (
	"context"
	"fmt"
	"time"
)

// pulse returns an error if a part of the node hangs: reception, queue and state must each have moved since they were last
// asked to, or have nothing to do. It takes the locks of these parts, so it may not return at all; see beats.
func (n *Node) pulse() error {
	at := time.Now() // not now(): these times are compared by the monotonic clock
	if stuck := n.server.Stuck(at); stuck > 0 {
		return fmt.Errorf("reception: %d associations do not move", stuck)
	}
	if err := n.queue.Stuck(at); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	if err := n.progress.stuck(at); err != nil {
		return err
	}
	if err := n.store.Alive(); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// beats calls check at each tick and beat after each success, until ctx is done. While a check has not returned there is no
// beat and no second check. lost is called once for each time that the beats stop, with the reason.
func beats(ctx context.Context, tick <-chan time.Time, check func() error, beat func(), lost func(error)) {
	answers := make(chan error, 1)
	waiting, told := false, false
	miss := func(err error) {
		if !told {
			lost(err)
		}
		told = true
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			if waiting {
				miss(errHangs)
				continue
			}
			waiting = true
			go func() { answers <- check() }()
		case err := <-answers:
			waiting = false
			if err != nil {
				miss(err)
				continue
			}
			told = false
			beat()
		}
	}
}
