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

// later is an error that says when the job is to come again.
type later struct {
	error
	wait time.Duration
}

func (l later) Unwrap() error { return l.error }

// Later makes of an error of a handler one that is no failure of the job: it goes back, and comes again after a wait.
func Later(err error, wait time.Duration) error { return later{err, wait} }

// Work hands this node's jobs to handle, up to workers at once, until ctx is done. A handler that returns nil is done with
// the job. After an error of it Options.Failed says whether the job comes again, after a backoff; an error made by Later, or
// one of our own disk (no space, read-only, not readable), is no failure, and the job waits.
//
// When ctx is done no further job is taken; handlers may go on for Options.DrainTime, then their context is cancelled
// and their jobs go back, to be handed out at once at the next start. Work returns when every handler has returned; before
// ctx is done it returns only with an error of the embedded queue that a restart of the process resolves.
func (q *Queue) Work(ctx context.Context, workers int, handle func(ctx context.Context, job Job) error) error {
	ctx, stopAll := context.WithCancel(ctx)
	defer stopAll()
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
	var err error
	wg.Go(func() {
		if err = q.keep(ctx); err != nil {
			stopAll()
		}
	})
	wg.Wait()
	return err
}

func (q *Queue) worker(ctx, abort context.Context, handle func(context.Context, Job) error) {
	told := false
	for ctx.Err() == nil {
		msg, err := q.fetch(ctx)
		if err != nil && ctx.Err() == nil {
			if !told {
				q.opts.Logger.Warn("no jobs from the queue", "err", err)
			}
			q.lookAgain()
			select {
			case <-time.After(fetchPause):
			case <-ctx.Done():
			}
		}
		told = err != nil
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
	l := q.link.Load()
	if l == nil {
		return nil, q.closed()
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	batch, err := l.consumer.Fetch(1, jetstream.FetchContext(ctx))
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
func (q *Queue) process(abort context.Context, msg jetstream.Msg, handle func(context.Context, Job) error) {
	var job Job
	err := json.Unmarshal(msg.Data(), &job)
	if err == nil {
		err = job.check()
	}
	if errors.Is(err, ErrVersion) { // not ours to drop
		q.opts.Logger.Error("job is left for a newer ichor", "err", err)
		q.giveBack(msg, time.Minute)
		return
	}
	if err != nil { // not written by any ichor; there is no case to fail
		q.opts.Logger.Error("job cannot be read and is dropped", "err", err)
		q.logAck(msg.TermWithReason("unreadable"))
		return
	}
	if !q.enter(job) { // handed out again although its handler runs here: a heartbeat came late
		q.logAck(msg.InProgress())
		return
	}
	defer q.leave(job)
	log := q.opts.Logger.With("case", job.CaseID)
	err = q.handle(abort, msg, job, handle)
	var l later
	switch {
	case errors.As(err, &l):
		log.Warn("analysis put off", "err", err, "after", l.wait)
		q.giveBack(msg, l.wait)
	case err == nil:
		q.done(abort, msg)
	case abort.Err() != nil:
		log.Info("analysis interrupted, its job goes back to the queue", "err", err)
		q.putOff(abort, job, nil)
		q.giveBack(msg, 0)
	case diskTrouble(err):
		wait := q.opts.Backoff(deliveries(msg))
		log.Error("analysis put off: its results cannot be stored; free disk space or repair the disk", "err", err, "after", wait)
		q.putOff(abort, job, err)
		q.giveBack(msg, wait)
	default:
		tries, again, failed := q.opts.Failed(abort, job, err)
		if failed != nil {
			log.Error("failed analysis not recorded, it is tried again", "err", errors.Join(err, failed))
			q.giveBack(msg, q.opts.Backoff(deliveries(msg)))
			return
		}
		if !again {
			log.Error("analysis given up", "err", err, "tries", tries)
			q.done(abort, msg)
			return
		}
		wait := q.opts.Backoff(max(tries, 1))
		log.Warn("analysis failed, to be tried again", "err", err, "after", wait)
		q.giveBack(msg, wait)
	}
}

// deliveries counts how often the server handed out a job.
func deliveries(msg jetstream.Msg) int {
	meta, err := msg.Metadata()
	if err != nil {
		return 1
	}
	return int(meta.NumDelivered)
}

// done takes a job off the queue. One whose acknowledgement is lost comes again and finds its work done.
func (q *Queue) done(ctx context.Context, msg jetstream.Msg) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTime)
	defer cancel()
	q.logAck(msg.DoubleAck(ctx))
}

func (q *Queue) putOff(ctx context.Context, job Job, reason error) {
	if err := q.opts.PutOff(context.WithoutCancel(ctx), job, reason); err != nil {
		q.opts.Logger.Warn("analysis that was put off counts as begun", "case", job.CaseID, "err", err)
	}
}

// handle runs the handler and extends the deadline of its job while it runs. A panic of the handler is an error of
// this job and leaves the others alone.
func (q *Queue) handle(abort context.Context, msg jetstream.Msg, job Job, handle func(context.Context, Job) error) (err error) {
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
	return handle(abort, job)
}

func (q *Queue) giveBack(msg jetstream.Msg, wait time.Duration) {
	if wait > 0 {
		q.logAck(msg.NakWithDelay(wait))
	} else {
		q.logAck(msg.Nak())
	}
	if l := q.link.Load(); l != nil {
		l.conn.FlushTimeout(ackTime) // the connection may be closed next
	}
}

// logAck reports an answer that did not reach the server; the job comes again after AckWait.
func (q *Queue) logAck(err error) {
	if err != nil {
		q.opts.Logger.Warn("queue did not take an answer; the job comes again", "err", err)
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
