package deliver

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"ichor/pipeline/state"
	"ichor/scp/dimse"
)

// pollTime is how long an idle line waits before it looks again, woken or not.
const pollTime = 30 * time.Second

// line serves one destination.
type line struct {
	opts *Options
	dest Destination
	log  *slog.Logger
	wake chan struct{}

	mu        sync.Mutex // guards what follows; only the goroutine of the line writes it
	failures  int        // attempts in a row that did not get through; the line pauses while there are any
	nextTry   time.Time
	lastError string
	sending   int
}

func (l *line) status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Status{Name: l.dest.Name, Address: l.dest.Address, Down: l.failures > 0, Failures: l.failures,
		LastError: l.lastError, NextTry: l.nextTry, Sending: l.sending}
}

// run is the life of a line: wait until something is due and the destination may be tried, try, note the outcome.
func (l *line) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !l.pause(ctx) {
			return
		}
		batch, err := l.opts.State.Due(l.dest.Name, time.Now(), l.opts.Batch)
		if err != nil {
			l.down(err)
			continue
		}
		if len(batch) == 0 {
			l.idle(ctx)
			continue
		}
		l.setSending(len(batch))
		l.attempt(ctx, batch)
		l.setSending(0)
	}
}

// pause waits out the time after a failure. It reports whether to go on.
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

// idle waits until something may be due.
func (l *line) idle(ctx context.Context) {
	wait := pollTime
	next, ok, err := l.opts.State.NextDue(l.dest.Name)
	switch {
	case err != nil:
		l.down(err)
		return
	case ok:
		wait = min(wait, max(time.Until(next), 0)+time.Millisecond)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-l.wake:
	case <-timer.C:
	}
}

// down notes an attempt that did not get through.
func (l *line) down(err error) {
	l.mu.Lock()
	l.failures++
	l.lastError = err.Error()
	wait := l.opts.Backoff(l.failures)
	l.nextTry = time.Now().Add(wait)
	failures := l.failures
	l.mu.Unlock()
	level := slog.LevelDebug
	if failures == 1 {
		level = slog.LevelWarn
	}
	l.log.Log(context.Background(), level, "destination is down", "err", loggable(err), "after", wait)
}

// loggable is err without the words of the destination, which may name the patient or the study. They are kept with the
// delivery.
func loggable(err error) error {
	if answer := new(dimse.StatusError); errors.As(err, &answer) && answer.Comment != "" {
		return &dimse.StatusError{Status: answer.Status}
	}
	return err
}

// up notes that the destination took an object, or refused one in words, and that this is recorded.
func (l *line) up() {
	l.mu.Lock()
	failures := l.failures
	l.failures, l.nextTry, l.lastError = 0, time.Time{}, ""
	l.mu.Unlock()
	if failures > 1 {
		l.log.Info("destination is up again")
	}
}

func (l *line) setSending(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sending = n
}

// stored records that the destination has an object. The disk may be full or the file locked for a moment: it goes on
// until it is recorded, for what is not recorded would be sent again.
func (l *line) stored(ctx context.Context, d state.Delivery, note string, took time.Duration) {
	for failures := 1; ; failures++ {
		err := l.opts.State.MarkStored(d.DeliveryKey, note, time.Now())
		if err == nil {
			break
		}
		l.log.Error("delivered, but that cannot be recorded", "case", d.Case, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(l.opts.Backoff(failures)):
		}
	}
	l.log.Info("delivered", "case", d.Case, "kind", d.Kind, "took", took)
	l.opts.Events(Event{Delivery: d, Outcome: Stored, Took: took})
}

// refused records that the destination, which is up, will not take an object.
func (l *line) refused(d state.Delivery, cause error, took time.Duration) {
	if l.failed([]state.Delivery{d}, cause, true, true, took) {
		l.up()
	}
}

// failed records attempts that did not store their objects. refused says that they count towards giving up; wait that
// each of the objects waits for itself, and not only for its destination. It reports whether they are recorded.
func (l *line) failed(batch []state.Delivery, cause error, refused, wait bool, took time.Duration) bool {
	now := time.Now()
	failures := make([]state.Failure, 0, len(batch))
	for _, d := range batch {
		f := state.Failure{Key: d.DeliveryKey, Next: d.Next, Refused: refused, Err: cause.Error()}
		n := d.Tries + 1
		if refused {
			n = d.Refused + 1
		}
		if wait {
			f.Next = now.Add(l.opts.Backoff(n))
		}
		f.Dead = refused && n >= l.opts.RefusedTries || now.Sub(d.Since) >= l.opts.MaxAge
		failures = append(failures, f)
	}
	if err := l.opts.State.MarkFailed(failures, now); err != nil {
		l.down(err) // or the line would try the same objects again at once
		return false
	}
	for i, d := range batch {
		outcome := Retry
		if failures[i].Dead {
			outcome = Dead
			l.log.Error("delivery given up", "case", d.Case, "kind", d.Kind, "err", loggable(cause))
		} else if wait {
			l.log.Warn("delivery failed, to be tried again", "case", d.Case, "kind", d.Kind, "err", loggable(cause))
		}
		l.opts.Events(Event{Delivery: d, Outcome: outcome, Err: cause, Took: took})
	}
	return true
}
