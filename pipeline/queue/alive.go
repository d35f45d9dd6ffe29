package queue

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// hand is what one worker last did.
type hand struct {
	made  time.Time    // of the queue
	moved atomic.Int64 // when it last took or ended a job, or asked for one; time since Queue.made
	busy  atomic.Bool  // it has a job
	waits atomic.Bool  // see Await
}

type handKey struct{}

// Await runs f for the handler of a job, with its context. Stuck does not look at how long f takes: what f does or waits for is
// watched elsewhere.
func Await(ctx context.Context, f func()) {
	if h, ok := ctx.Value(handKey{}).(*hand); ok {
		h.waits.Store(true)
		defer func() {
			h.moved.Store(int64(time.Since(h.made)))
			h.waits.Store(false)
		}()
	}
	f()
}

func (q *Queue) move(h *hand, busy bool) {
	h.busy.Store(busy)
	h.moved.Store(int64(time.Since(q.made)))
}

const (
	// askedAfter is far longer than a worker without a job may take to ask for one, see fetchWait.
	askedAfter = 5 * time.Minute
	// storedAfter is far longer than recording a result takes.
	storedAfter = time.Hour
)

// Stuck returns an error if, at a time, a worker has neither worked nor asked for work, or has been at one job for an hour without
// being in Await.
func (q *Queue) Stuck(at time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, h := range q.hands {
		still := at.Sub(q.made) - time.Duration(h.moved.Load())
		switch busy := h.busy.Load(); {
		case h.waits.Load():
		case busy && still > storedAfter:
			return fmt.Errorf("a worker has been at one job for %v", still.Round(time.Second))
		case !busy && still > askedAfter:
			return fmt.Errorf("a worker has not asked for a job for %v", still.Round(time.Second))
		}
	}
	return nil
}
