package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"ichor/pipeline/state"
	"ichor/scp/dimse"
)

// pollTime is the longest time between two checks of an idle line.
const pollTime = 30 * time.Second

// line serves one destination.
type line struct {
	opts *Options
	dest Destination
	log  *slog.Logger
	wake chan struct{}

	asking sync.Mutex // held while commitment is requested

	mu        sync.Mutex // guards the fields below
	failures  int        // consecutive failed attempts; the line pauses while not 0
	since     time.Time  // of the first of them
	nextTry   time.Time
	lastError string
	attempts  int                        // in progress
	flights   map[state.DeliveryKey]bool // deliveries of the attempts in progress
	done      map[state.CaseID]progress  // stored, and not told yet

	checked time.Time // when giveUpOld last ran; used only by run
	held    bool      // objects are due that may not be sent; used only by run
}

func (l *line) status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Status{Name: l.dest.Name, Address: l.dest.Address, Down: l.failures > 0, Since: l.since, Failures: l.failures,
		LastError: l.lastError, NextTry: l.nextTry, Sending: len(l.flights)}
	if l.dest.URL != "" {
		s.Address = l.dest.URL
	}
	return s
}

// run repeats: wait until a delivery is due and the destination may be tried, then try.
func (l *line) run(ctx context.Context) {
	var attempts sync.WaitGroup
	defer func() {
		attempts.Wait()
		l.tell(true)
	}()
	for l.pause(ctx) {
		most := l.seats()
		if most == 0 {
			l.sleep(ctx, pollTime) // until an attempt ends
			continue
		}
		if err := l.giveUpOld(); err != nil {
			l.stateFailed(err)
			continue
		}
		batch, ask, err := l.next(most)
		if err != nil {
			l.stateFailed(err)
			continue
		}
		if len(batch) == 0 && !ask {
			l.tell(false)
			l.idle(ctx)
			continue
		}
		l.begin(batch)
		attempts.Go(func() {
			l.attempt(ctx, batch)
			l.end(batch)
			l.nudge()
		})
	}
}

// ageCheck is how often a line looks for deliveries that are too old. That reads all deliveries that wait for its destination.
const ageCheck = 10 * time.Minute

// giveUpOld turns deliveries that are too old into dead letters, whatever the state of the destination, tried or not.
func (l *line) giveUpOld() error {
	if !l.checked.IsZero() && time.Since(l.checked) < min(ageCheck, l.opts.MaxAge/8) {
		return nil
	}
	why := fmt.Sprintf("not delivered within %v", l.opts.MaxAge)
	old, err := l.opts.State.GiveUp(l.dest.Name, l.opts.MaxAge, "", why, l.opts.Now())
	if err != nil {
		return err
	}
	for _, d := range old {
		l.gaveUp(d, errors.New(why), 0)
	}
	if old, err = l.opts.State.GiveUpCommitment(l.dest.Name, l.opts.MaxAge, errUncommitted.Error(), l.opts.Now()); err != nil {
		return err
	}
	for _, d := range old {
		l.gaveUp(d, errUncommitted, 0)
	}
	l.checked = time.Now()
	return nil
}

// gaveUp logs and reports a delivery that has become a dead letter.
func (l *line) gaveUp(d state.Delivery, cause error, took time.Duration) {
	l.log.Error("delivery given up", "case", d.Case, "kind", d.Kind, "err", loggable(cause))
	l.opts.Events(Event{Delivery: d, Outcome: Dead, Err: cause, Took: took})
}

// seats returns how many objects another attempt may take, 0 if none may start now. After a failure only one attempt runs at a
// time, and with an open circuit it takes one object.
func (l *line) seats() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.attempts >= l.dest.Associations, l.failures > 0 && l.attempts > 0:
		return 0
	case l.failures >= openAfter:
		return 1
	}
	return l.opts.Batch
}

func (l *line) begin(batch []state.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempts++
	for _, d := range batch {
		l.flights[d.DeliveryKey] = true
	}
}

func (l *line) end(batch []state.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempts--
	for _, d := range batch {
		delete(l.flights, d.DeliveryKey)
	}
}

// nudge makes the line check again.
func (l *line) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// pause waits after a failure. It returns whether to continue.
func (l *line) pause(ctx context.Context) bool {
	l.mu.Lock()
	wait := time.Until(l.nextTry)
	paused := l.failures > 0
	l.mu.Unlock()
	if !paused || wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// busyPoll is how long a line with attempts in progress waits before it checks again, because the objects of these attempts
// are always due.
const busyPoll = time.Second

// idle waits until something may be due.
func (l *line) idle(ctx context.Context) {
	l.mu.Lock()
	busy := l.attempts > 0
	l.mu.Unlock()
	if busy || l.held {
		l.sleep(ctx, busyPoll)
		return
	}
	wait := pollTime
	for _, next := range []func(string) (time.Duration, bool, error){l.opts.State.NextDue, l.opts.State.NextUncommitted} {
		due, ok, err := next(l.dest.Name)
		if err != nil {
			l.stateFailed(err)
			return
		}
		if ok {
			wait = min(wait, due+time.Millisecond)
		}
		if !l.dest.Commitment {
			break
		}
	}
	l.sleep(ctx, wait)
}

// sleep waits until it is over, the line is woken, or ctx is done.
func (l *line) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-l.wake:
	case <-timer.C:
	}
}

// progress is what a destination has stored of a case since the last line in the log about it.
type progress struct {
	objects int
	since   time.Time
}

// mostUntold bounds the cases that are not told yet, for a line that is never idle.
const mostUntold = 64

func (l *line) add(id state.CaseID) {
	l.mu.Lock()
	p := l.done[id]
	if p.objects++; p.objects == 1 {
		p.since = time.Now()
	}
	l.done[id] = p
	many := len(l.done) > mostUntold
	l.mu.Unlock()
	if many {
		l.tell(true)
	}
}

// tell logs what was stored, one line for each case, when nothing is being sent.
func (l *line) tell(always bool) {
	l.mu.Lock()
	if l.attempts > 0 && !always || len(l.done) == 0 {
		l.mu.Unlock()
		return
	}
	done := l.done
	l.done = map[state.CaseID]progress{}
	l.mu.Unlock()
	for id, p := range done {
		l.log.Info("delivered", "case", id, "objects", p.objects, "took", time.Since(p.since).Round(time.Millisecond))
		l.opts.Delivered(l.dest.Name, id, p.objects)
	}
}

// down records a failed attempt to reach the destination.
func (l *line) down(err error) {
	level := slog.LevelDebug
	failures, wait := l.hold(err)
	if failures == 1 {
		level = slog.LevelWarn
	}
	l.log.Log(context.Background(), level, "destination is down", "err", loggable(err), "next_try_in", wait)
}

// stateFailed records that our state file could not be read or written. The line pauses, because an immediate retry would fail
// too.
func (l *line) stateFailed(err error) {
	_, wait := l.hold(err)
	l.log.Error("deliveries paused: the state file cannot be used", "err", err, "next_try_in", wait)
}

// hold pauses the line after an error, longer with each consecutive one.
func (l *line) hold(err error) (failures int, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failures++; l.failures == 1 {
		l.since = l.opts.Now()
	}
	l.lastError = err.Error()
	wait = l.opts.Backoff(l.failures)
	l.nextTry = time.Now().Add(wait)
	return l.failures, wait
}

// loggable returns err without text from the destination, which may identify the patient or the study. The delivery keeps that
// text.
func loggable(err error) error {
	if answer := new(dimse.StatusError); errors.As(err, &answer) && answer.Comment != "" {
		return &dimse.StatusError{Status: answer.Status}
	}
	return err
}

// up records that the destination works: it stored an object, or refused one in a response.
func (l *line) up() {
	l.mu.Lock()
	failures := l.failures
	l.failures, l.nextTry, l.lastError = 0, time.Time{}, ""
	l.mu.Unlock()
	if failures > 1 {
		l.log.Info("destination is up again")
	}
}

// stored records that the destination has an object. It retries until this succeeds, because the disk may be full for a
// moment, and an unrecorded object would be sent again.
func (l *line) stored(ctx context.Context, d state.Delivery, mark func(state.DeliveryKey, string, time.Time) error, note string, took time.Duration) {
	for failures := 1; ; failures++ {
		err := mark(d.DeliveryKey, note, l.opts.Now())
		if err == nil {
			break
		}
		l.log.Error("delivered, but this cannot be recorded", "case", d.Case, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(l.opts.Backoff(failures)):
		}
	}
	l.log.Debug("object delivered", "case", d.Case, "kind", d.Kind, "took", took)
	l.add(d.Case)
	l.opts.Events(Event{Delivery: d, Outcome: Stored, Took: took})
}

// blame is the reason why an attempt did not store an object.
type blame int

const (
	destination blame = iota // the destination was not reached or did not answer
	rejected                 // the destination rejects us
	refused                  // the destination refuses this object, or our file cannot be read
	hopeless                 // refused permanently
)

// refused records that the destination works but refuses an object.
func (l *line) refused(d state.Delivery, cause error, why blame, took time.Duration) {
	if l.failed([]state.Delivery{d}, cause, why, true, took) {
		l.up()
	}
}

// failed records attempts that did not store their objects. wait: each object waits itself, not only its destination. It
// returns whether they were recorded.
func (l *line) failed(batch []state.Delivery, cause error, why blame, wait bool, took time.Duration) bool {
	failures := make([]state.Failure, 0, len(batch))
	for _, d := range batch {
		f := state.Failure{Key: d.DeliveryKey, Refused: why == refused || why == hopeless, Rejected: why == rejected, Cause: causeOf(cause), Err: cause.Error()}
		n := d.Tries + 1
		switch why {
		case refused, hopeless:
			n = d.Refused + 1
		case rejected:
			n = d.Rejected + 1
		}
		if wait {
			f.Wait = l.opts.Backoff(n)
		}
		f.Dead = why == hopeless || why == refused && n >= l.opts.RefusedTries || why == rejected && n >= l.opts.RejectedTries
		failures = append(failures, f)
	}
	if err := l.opts.State.MarkFailed(failures, l.opts.Now()); err != nil {
		l.stateFailed(err)
		return false
	}
	for i, d := range batch {
		if failures[i].Dead {
			l.gaveUp(d, cause, took)
			continue
		}
		if wait {
			l.log.Warn("delivery failed, will be retried", "case", d.Case, "kind", d.Kind, "err", loggable(cause))
		}
		l.opts.Events(Event{Delivery: d, Outcome: Retry, Err: cause, Took: took})
	}
	return true
}
