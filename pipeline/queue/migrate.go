package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Names of format 1.
const (
	deadStream1   = "ICHOR_DEAD" // jobs that were given up, with the reason
	consumer1     = "analyze"
	jobsSubjects1 = jobsSubject + "*.*" // no lane, no node
)

// migrate clears the data of format 1. Its jobs did not name a node: each node submits its queued jobs from state again. Nodes
// that share a server must be upgraded together.
func (q *Queue) migrate(ctx context.Context, l *link) error {
	if err := q.readDead(ctx, l); err != nil {
		return fmt.Errorf("stream %s of an earlier version: %w", deadStream1, err)
	}
	if err := l.jobs.DeleteConsumer(ctx, consumer1); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("consumer of an earlier version: %w", err)
	}
	if err := l.jobs.Purge(ctx, jetstream.WithPurgeSubject(jobsSubjects1)); err != nil {
		return fmt.Errorf("jobs of an earlier version: %w", err)
	}
	return nil
}

// readDead passes the jobs that an earlier version gave up to Options.GivenUp, and deletes their stream if no jobs of other
// nodes are left in it.
func (q *Queue) readDead(ctx context.Context, l *link) error {
	dead, err := l.js.Stream(ctx, deadStream1)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	left := 0
	for seq := dead.CachedInfo().State.FirstSeq; ; {
		msg, err := dead.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return err
		}
		var letter struct {
			Job    Job    `json:"job"`
			Reason string `json:"reason"`
		}
		known := true // an unreadable job has no case
		if err := json.Unmarshal(msg.Data, &letter); err == nil {
			if known, err = q.opts.GivenUp(ctx, letter.Job, letter.Reason); err != nil {
				return err
			}
		}
		if !known {
			left++
		} else if err := dead.DeleteMsg(ctx, msg.Sequence); err != nil {
			return err
		}
		seq = msg.Sequence + 1
	}
	if left > 0 && l.srv == nil {
		return nil
	}
	return l.js.DeleteStream(ctx, deadStream1)
}
