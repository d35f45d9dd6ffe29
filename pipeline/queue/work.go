package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	fetchWait  = 5 * time.Second // one request for a job; an idle worker asks again
	fetchPause = time.Second     // after an error of the server
	ackTime    = 10 * time.Second
)

// permanent marks an error that another try cannot mend.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent marks an error of a handler that another try cannot mend: the job goes to the dead letters at once.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// Work hands jobs to handle, up to workers at once, until ctx is done. try counts from 1 how often the job was handed
// out. A handler that returns nil is done with the job; one that returns an error gets it again after a backoff, until
// its tries are used up or the error is Permanent.
//
// When ctx is done no further job is taken; handlers may go on for Options.DrainTime, then their context is cancelled
// and their jobs go back, to be handed out at once at the next start. Work returns when every handler has returned.
func (q *Queue) Work(ctx context.Context, workers int, handle func(ctx context.Context, job Job, try int) error) error {
	abort, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(q.opts.DrainTime):
			cancel()
		case <-abort.Done():
		}
	})
	defer stop()
	var wg sync.WaitGroup
	for range max(workers, 1) {
		wg.Go(func() { q.worker(ctx, abort, handle) })
	}
	wg.Wait()
	return nil
}

func (q *Queue) worker(ctx, abort context.Context, handle func(context.Context, Job, int) error) {
	for ctx.Err() == nil {
		msg, err := q.fetch(ctx)
		if err != nil && ctx.Err() == nil {
			q.opts.Logger.Warn("queue", "err", err)
			select {
			case <-time.After(fetchPause):
			case <-ctx.Done():
			}
		}
		if msg == nil {
			continue
		}
		if ctx.Err() != nil { // arrived while we were told to stop
			q.giveBack(msg, 0)
			return
		}
		q.process(abort, msg, handle)
	}
}

// fetch waits for one job; nil without an error means there was none.
func (q *Queue) fetch(ctx context.Context) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	batch, err := q.consumer.Fetch(1, jetstream.FetchContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("fetching a job: %w", err)
	}
	msg := <-batch.Messages()
	if err := batch.Error(); err != nil && ctx.Err() == nil {
		return msg, fmt.Errorf("fetching a job: %w", err)
	}
	return msg, nil
}

// process runs the handler on one message and tells the server how it ended.
func (q *Queue) process(abort context.Context, msg jetstream.Msg, handle func(context.Context, Job, int) error) {
	var job Job
	err := json.Unmarshal(msg.Data(), &job)
	if err == nil {
		err = job.check()
	}
	if err != nil { // not written by any ichor; there is no case to fail
		q.opts.Logger.Error("job cannot be read and is dropped", "err", err)
		q.logAck(msg.TermWithReason("unreadable"))
		return
	}
	try := 1
	if meta, err := msg.Metadata(); err == nil {
		try = int(meta.NumDelivered)
	}
	if !q.enter(job) { // handed out again although its handler runs here: a heartbeat came late
		q.logAck(msg.InProgress())
		return
	}
	defer q.leave(job)
	log := q.opts.Logger.With("case", job.CaseID)
	if try > q.opts.MaxLost {
		q.bury(abort, msg, job, try, fmt.Errorf("handed out %d times, never finished", try-1))
		return
	}
	err = q.handle(abort, msg, job, try, handle)
	var perm permanent
	var l later
	switch {
	case errors.As(err, &l):
		log.Warn("analysis put off", "err", err, "after", l.wait)
		q.giveBack(msg, l.wait)
	case err == nil:
		q.forget(job)
		ackCtx, cancel := context.WithTimeout(context.WithoutCancel(abort), ackTime)
		defer cancel()
		// A job whose acknowledgement is lost comes again and finds its work done.
		q.logAck(msg.DoubleAck(ackCtx))
	case errors.As(err, &perm):
		q.bury(abort, msg, job, try, err)
	case abort.Err() != nil:
		log.Info("analysis interrupted, its job goes back to the queue", "err", err)
		q.giveBack(msg, 0)
	default:
		n := q.fail(job)
		if n >= q.opts.MaxTries {
			q.bury(abort, msg, job, try, fmt.Errorf("after %d tries: %w", n, err))
			return
		}
		wait := q.opts.Backoff(n)
		log.Warn("analysis failed, to be tried again", "err", err, "after", wait)
		q.giveBack(msg, wait)
	}
}

// handle runs the handler and extends the deadline of its job while it runs. A panic of the handler is an error of
// this job and leaves the others alone.
func (q *Queue) handle(abort context.Context, msg jetstream.Msg, job Job, try int,
	handle func(context.Context, Job, int) error) (err error) {
	done := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		tick := time.NewTicker(q.opts.AckWait / 3)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				q.logAck(msg.InProgress())
			}
		}
	})
	defer func() {
		if r := recover(); r != nil {
			q.opts.Logger.Error("analysis panicked", "case", job.CaseID, "err", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
		close(done)
		beating.Wait() // no heartbeat after the answer
	}()
	return handle(abort, job, try)
}

func (q *Queue) giveBack(msg jetstream.Msg, wait time.Duration) {
	if wait > 0 {
		q.logAck(msg.NakWithDelay(wait))
	} else {
		q.logAck(msg.Nak())
	}
	q.conn.FlushTimeout(ackTime) // the connection may be closed next
}

// logAck reports an answer that did not reach the server; the job comes again after AckWait.
func (q *Queue) logAck(err error) {
	if err != nil {
		q.opts.Logger.Warn("queue did not take an answer", "err", err)
	}
}

func (q *Queue) enter(job Job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running[job.id()] {
		return false
	}
	q.running[job.id()] = true
	return true
}

func (q *Queue) leave(job Job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.running, job.id())
}

func (q *Queue) fail(job Job) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failed[job.id()]++
	return q.failed[job.id()]
}

func (q *Queue) forget(job Job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.failed, job.id())
}

// later is an error that says when the job is to come again.
type later struct {
	error
	wait time.Duration
}

func (l later) Unwrap() error { return l.error }

// Later makes of an error of a handler one that is no failure of the job: it goes back, and comes again after a wait.
func Later(err error, wait time.Duration) error { return later{err, wait} }
