package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// DeadLetter is a job that was given up.
type DeadLetter struct {
	ID     string    `json:"id"` // for Replay: case and revision
	Job    Job       `json:"job"`
	Reason string    `json:"reason"`
	Tries  int       `json:"tries"`
	At     time.Time `json:"at"`
}

// bury moves a job to the dead letters. If the process ends in between, the job comes again and is buried again.
func (q *Queue) bury(ctx context.Context, msg jetstream.Msg, job Job, try int, reason error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTime)
	defer cancel()
	if err := q.writeDead(ctx, job, try, reason); err != nil {
		q.opts.Logger.Error("dead letter not written, the job is tried again", "case", job.CaseID, "err", err)
		q.giveBack(msg, q.opts.Backoff(try))
		return
	}
	q.forget(job)
	q.logAck(msg.DoubleAck(ctx))
	q.opts.Logger.Error("analysis given up", "case", job.CaseID, "err", reason)
}

func (q *Queue) writeDead(ctx context.Context, job Job, try int, reason error) error {
	letter := DeadLetter{ID: job.id(), Job: job, Reason: clip(reason.Error()), Tries: try, At: time.Now().UTC()}
	raw, err := json.Marshal(letter)
	if err != nil {
		return err
	}
	if _, err := q.js.Publish(ctx, deadSubject+job.id(), raw); err != nil {
		return err
	}
	return q.opts.Dead(ctx, job, reason)
}

// clip keeps a reason well below the size of a message.
func clip(s string) string {
	const most = 8 << 10
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// DeadLetters returns the jobs that were given up, the oldest first.
func (q *Queue) DeadLetters(ctx context.Context) ([]DeadLetter, error) {
	info, err := q.dead.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", deadStream, err)
	}
	letters := make([]DeadLetter, 0, info.State.Msgs)
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq && info.State.Msgs > 0; {
		msg, err := q.dead.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(deadSubject+">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("dead letter %d: %w", seq, err)
		}
		var l DeadLetter
		if err := json.Unmarshal(msg.Data, &l); err != nil {
			return nil, fmt.Errorf("dead letter %d: %w", seq, err)
		}
		letters = append(letters, l)
		seq = msg.Sequence + 1
	}
	return letters, nil
}

// Replay puts a dead letter back onto the queue with all its tries, as the job that Options.Revive makes of it. It
// returns ErrNotFound when there is no such letter, and leaves the letter where it is on any error.
func (q *Queue) Replay(ctx context.Context, id string) error {
	l, seq, err := q.deadLetter(ctx, id)
	if err != nil {
		return err
	}
	job, err := q.opts.Revive(ctx, l.Job)
	if err != nil {
		return fmt.Errorf("dead letter %q: %w", id, err)
	}
	// Its own message ID: that of the first submission may still be remembered.
	if err := q.submit(ctx, job, fmt.Sprintf("%s replay %d", id, seq)); err != nil {
		return err
	}
	return q.remove(ctx, id, seq)
}

// Discard removes a dead letter. It returns ErrNotFound when there is no such letter.
func (q *Queue) Discard(ctx context.Context, id string) error {
	_, seq, err := q.deadLetter(ctx, id)
	if err != nil {
		return err
	}
	return q.remove(ctx, id, seq)
}

func (q *Queue) deadLetter(ctx context.Context, id string) (l DeadLetter, seq uint64, err error) {
	if id == "" || strings.ContainsAny(id, "*> \t\r\n") || strings.Trim(id, ".") != id {
		return l, 0, fmt.Errorf("dead letter %q: %w", id, ErrNotFound)
	}
	msg, err := q.dead.GetLastMsgForSubject(ctx, deadSubject+id)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return l, 0, fmt.Errorf("dead letter %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return l, 0, fmt.Errorf("dead letter %q: %w", id, err)
	}
	if err := json.Unmarshal(msg.Data, &l); err != nil {
		return l, 0, fmt.Errorf("dead letter %q: %w", id, err)
	}
	return l, msg.Sequence, nil
}

func (q *Queue) remove(ctx context.Context, id string, seq uint64) error {
	if err := q.dead.DeleteMsg(ctx, seq); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("dead letter %q: %w", id, err)
	}
	return nil
}
