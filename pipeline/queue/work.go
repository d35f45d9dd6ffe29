package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	fetchWait  = time.Second // timeout of one request for a routine job; then an idle worker looks for urgent ones again
	fetchPause = time.Second // wait after an error from the server
	ackTime    = 10 * time.Second
)

// later is an error that says when to deliver the job again.
type later struct {
	error
	wait time.Duration
}

func (l later) Unwrap() error { return l.error }

// Later wraps an error of a handler so that it does not count as a failure: the job goes back to the queue and is delivered
// again after wait.
func Later(err error, wait time.Duration) error { return later{err, wait} }

// Work passes this node's jobs to handle, up to workers at once, until ctx is done. A job is done when handle returns nil. If
// handle returns an error, Options.Failed decides whether the job is retried, after a backoff. An error wrapped by Later, or
// one from our own disk (no space, read-only, unreadable), is not a failure: the job waits and is tried again.
//
// When ctx is done, Work takes no further jobs. Handlers may continue for Options.DrainTime; then their context is cancelled
// and their jobs go back to the queue, to be delivered immediately at the next start. Work returns when every handler has
// returned. Before ctx is done it returns only with an error of the embedded queue that needs a restart of the process.
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
	for range workers {
		h := &hand{made: q.made}
		q.move(h, false)
		q.mu.Lock()
		q.hands = append(q.hands, h)
		q.mu.Unlock()
		wg.Go(func() { q.worker(ctx, abort, h, handle) })
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

func (q *Queue) worker(ctx, abort context.Context, h *hand, handle func(context.Context, Job) error) {
	told := false
	for ctx.Err() == nil {
		q.move(h, false)
		msg, err := q.take(ctx)
		if err != nil && ctx.Err() == nil {
			if !told {
				q.opts.Logger.Warn("cannot fetch jobs from the queue", "err", err)
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
		if ctx.Err() != nil { // arrived while stopping
			q.giveBack(msg, 0)
			return
		}
		q.move(h, true)
		q.process(context.WithValue(abort, handKey{}, h), msg, handle)
	}
}

// fetch waits for one job, urgent ones first; it returns nil without an error if there was none.
func (q *Queue) fetch(ctx context.Context) (jetstream.Msg, error) {
	l := q.link.Load()
	if l == nil {
		return nil, q.closed()
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	for i, lane := range l.lanes {
		var batch jetstream.MessageBatch
		var err error
		if last := i == len(l.lanes)-1; last {
			batch, err = lane.Fetch(1, jetstream.FetchContext(ctx))
		} else {
			batch, err = lane.FetchNoWait(1)
		}
		if err != nil {
			return nil, fmt.Errorf("fetching a job: %w", err)
		}
		msg := <-batch.Messages()
		if err := batch.Error(); err != nil && ctx.Err() == nil {
			return msg, fmt.Errorf("fetching a job: %w", err)
		}
		if msg != nil {
			return msg, nil
		}
	}
	return nil, nil
}

// process runs the handler for one message and reports the result to the server.
func (q *Queue) process(abort context.Context, msg jetstream.Msg, handle func(context.Context, Job) error) {
	var job Job
	err := json.Unmarshal(msg.Data(), &job)
	if parts := strings.Split(msg.Subject(), "."); len(parts) > 3 && parts[3] != q.opts.Node { // ichor.jobs.<lane>.<node>...
		job.node = parts[3]
	}
	if err == nil {
		err = job.check()
	}
	if errors.Is(err, ErrVersion) { // must not be dropped
		q.opts.Logger.Error("job left in the queue for a newer ichor", "err", err)
		q.giveBack(msg, time.Minute)
		return
	}
	if err != nil { // not written by ichor, so there is no case to fail
		q.opts.Logger.Error("unreadable job dropped", "err", err)
		q.logAck(msg.TermWithReason("unreadable"))
		return
	}
	if !q.enter(job) { // delivered again while its handler runs here, because a heartbeat was late
		q.logAck(msg.InProgress())
		return
	}
	defer q.leave(job)
	log := q.opts.Logger.With("case", job.CaseID)
	err = q.handle(abort, msg, job, handle)
	var l later
	switch {
	case errors.As(err, &l):
		log.Warn("analysis postponed", "err", err, "next_try_in", l.wait)
		q.giveBack(msg, l.wait)
	case err == nil:
		q.done(abort, msg)
	case abort.Err() != nil:
		log.Info("analysis interrupted, its job goes back to the queue", "err", err)
		q.putOff(abort, job, nil)
		q.giveBack(msg, 0)
	case DiskTrouble(err):
		wait := q.opts.Backoff(deliveries(msg))
		log.Error("analysis postponed, its results cannot be stored: free disk space or repair the disk", "err", err, "next_try_in", wait)
		q.putOff(abort, job, err)
		q.giveBack(msg, wait)
	default:
		tries, again, failed := q.opts.Failed(abort, job, err)
		if failed != nil {
			log.Error("failed analysis not recorded, will be retried", "err", errors.Join(err, failed))
			q.giveBack(msg, q.opts.Backoff(deliveries(msg)))
			return
		}
		if !again {
			log.Error("analysis given up", "err", err, "tries", tries)
			q.done(abort, msg)
			return
		}
		wait := q.opts.Backoff(max(tries, 1))
		log.Warn("analysis failed, will be retried", "err", err, "next_try_in", wait)
		q.giveBack(msg, wait)
	}
}

// deliveries returns how often the server has delivered a job.
func deliveries(msg jetstream.Msg) int {
	meta, err := msg.Metadata()
	if err != nil {
		return 1
	}
	return int(meta.NumDelivered)
}

// done removes a job from the queue. If the acknowledgement is lost, the job is delivered again and found done.
func (q *Queue) done(ctx context.Context, msg jetstream.Msg) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTime)
	defer cancel()
	q.logAck(msg.DoubleAck(ctx))
}

func (q *Queue) putOff(ctx context.Context, job Job, reason error) {
	if err := q.opts.PutOff(context.WithoutCancel(ctx), job, reason); err != nil {
		q.opts.Logger.Warn("postponed analysis could not be recorded and counts as started", "case", job.CaseID, "err", err)
	}
}

// handle runs the handler and extends the deadline of its job while it runs. A panic in the handler becomes an error of this
// job and does not affect others.
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
		beating.Wait() // no heartbeat after the acknowledgement
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
		l.conn.FlushTimeout(ackTime) // because the connection may be closed next
	}
}

// logAck logs an acknowledgement that did not reach the server; the job is delivered again after AckWait.
func (q *Queue) logAck(err error) {
	if err != nil {
		q.opts.Logger.Warn("job not acknowledged to the queue, it will be delivered again", "err", err)
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
