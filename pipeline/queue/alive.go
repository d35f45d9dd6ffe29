package queue

import (
	"fmt"
	"sync/atomic"
	"time"
)

// hand is what one worker last did.
type hand struct {
	moved atomic.Int64 // when it last took or ended a job, or asked for one; time since Queue.made
	busy  atomic.Bool  // it has a job
}

func (q *Queue) move(h *hand, busy bool) {
	h.busy.Store(busy)
	h.moved.Store(int64(time.Since(q.made)))
}

const (
	// askedAfter is far longer than a worker without a job may take to ask for one, see fetchWait.
	askedAfter = 5 * time.Minute
	// analysedAfter is far longer than an analysis takes: 2,000 slices on one slow core take about ten minutes.
	analysedAfter = time.Hour
)

// Stuck returns an error if, at a time, a worker has neither worked nor asked for work, or has been at one job for an hour.
func (q *Queue) Stuck(at time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, h := range q.hands {
		still := at.Sub(q.made) - time.Duration(h.moved.Load())
		switch busy := h.busy.Load(); {
		case busy && still > analysedAfter:
			return fmt.Errorf("one analysis has been running for %v", still.Round(time.Second))
		case !busy && still > askedAfter:
			return fmt.Errorf("a worker has not asked for a job for %v", still.Round(time.Second))
		}
	}
	return nil
}
