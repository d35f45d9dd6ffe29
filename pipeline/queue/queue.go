// Package queue carries analysis jobs from assembly to the workers over JetStream.
//
//	ICHOR_JOBS  ichor.jobs.<case>.<revision>  work queue: a job stays until it is acknowledged
//	ICHOR_DEAD  ichor.dead.<case>.<revision>  jobs that were given up, with the reason, until they are replayed
//
// Both streams are files. The embedded server syncs every write (sync_interval: always) before it answers and opens no
// port; with Options.URL the same streams live on a NATS cluster and workers may run anywhere.
//
// A job is delivered at least once. It is acknowledged when its handler returned nil, so handlers repeat without harm
// (state.Finish does); while a handler runs its deadline is extended, so no second worker gets the job. A queue that
// was lost is rebuilt by submitting again what state calls queued.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ichor/pipeline/state"
)

// ErrNotFound is returned for a dead letter that does not exist.
var ErrNotFound = errors.New("not found")

const (
	jobsStream   = "ICHOR_JOBS"
	deadStream   = "ICHOR_DEAD"
	jobsSubject  = "ichor.jobs."
	deadSubject  = "ichor.dead."
	consumerName = "analyze"

	maxJobBytes = 64 << 10    // a job is a few hundred bytes; nothing larger is ours
	dedupWindow = time.Hour   // of message IDs; beyond it the subject of a waiting job still refuses a second one
	maxDead     = 10_000      // dead letters kept; the oldest go first
	reconnect   = time.Second // between attempts to reach an external server
)

// Job asks for the analysis of one revision of a case. It travels through the queue and is never logged.
type Job struct {
	CaseID           state.CaseID `json:"case"`
	StudyInstanceUID string       `json:"study_instance_uid"`
	Revision         int          `json:"revision"`
	Complete         string       `json:"complete"`
}

// id names a job in subjects and message IDs.
func (j Job) id() string { return string(j.CaseID) + "." + strconv.Itoa(j.Revision) }

func (j Job) check() error {
	if j.CaseID == "" || strings.ContainsAny(string(j.CaseID), ".*> \t\r\n") || j.Revision < 1 {
		return fmt.Errorf("job of case %q revision %d: not a case and revision", j.CaseID, j.Revision)
	}
	return nil
}

// Options say where the queue lives and how patient it is.
type Options struct {
	URL         string // of an external NATS server; "" starts the embedded one
	Credentials string // file for the external server; may be ""
	Replicas    int    // of the streams on an external cluster; default 1
	Dir         string // of the embedded server's files
	MaxBytes    int64  // the embedded server may keep on disk; default 1 GiB

	AckWait   time.Duration                  // a worker that is silent for so long has lost its job; default 30 s
	MaxTries  int                            // errors of the handler until a job is given up; default 5
	MaxLost   int                            // deliveries, lost ones counted too, until a job is given up: what crashes the process does not do so forever; default 30
	Backoff   func(errors int) time.Duration // before the next try, after so many errors; default 2 s doubling up to 2 min
	DrainTime time.Duration                  // handlers may go on for so long once Work's context is done; default 10 s

	// Dead is told of a job that is given up, after its dead letter is durable and before the job leaves the queue.
	// If it returns an error the job is tried again. It may be called more than once for a job. May be nil.
	Dead func(ctx context.Context, job Job, reason error) error
	// Revive is asked by Replay for the job to submit in place of a dead one: usually the next revision of its case
	// (state.Requeue). nil submits the job as it was.
	Revive func(ctx context.Context, dead Job) (Job, error)

	Logger *slog.Logger
}

func (o *Options) setDefaults() {
	if o.Replicas <= 0 {
		o.Replicas = 1
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 1 << 30
	}
	if o.AckWait <= 0 {
		o.AckWait = 30 * time.Second
	}
	if o.MaxTries <= 0 {
		o.MaxTries = 5
	}
	if o.MaxLost <= 0 {
		o.MaxLost = 30
	}
	if o.Backoff == nil {
		o.Backoff = func(n int) time.Duration { return min(2*time.Second<<min(n-1, 10), 2*time.Minute) }
	}
	if o.DrainTime <= 0 {
		o.DrainTime = 10 * time.Second
	}
	if o.Dead == nil {
		o.Dead = func(context.Context, Job, error) error { return nil }
	}
	if o.Revive == nil {
		o.Revive = func(_ context.Context, dead Job) (Job, error) { return dead, nil }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Queue is a connection to the streams, and the embedded server where there is one.
type Queue struct {
	opts     Options
	srv      *server.Server // nil with an external server
	conn     *nats.Conn
	js       jetstream.JetStream
	jobs     jetstream.Stream
	dead     jetstream.Stream
	consumer jetstream.Consumer

	mu      sync.Mutex
	running map[string]bool // jobs whose handler runs in this process
	failed  map[string]int  // errors of handlers in this process, by job
}

// Start starts the embedded server, or connects to the one at Options.URL, and makes the streams. Jobs that were being
// worked on when the embedded server last ended are handed out again at once.
func Start(ctx context.Context, opts Options) (*Queue, error) {
	opts.setDefaults()
	q := &Queue{opts: opts, running: map[string]bool{}, failed: map[string]int{}}
	if err := q.start(ctx); err != nil {
		q.Close()
		return nil, err
	}
	return q, nil
}

func (q *Queue) start(ctx context.Context) (err error) {
	options := []nats.Option{
		nats.Name("ichor"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnect),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				q.opts.Logger.Warn("queue disconnected", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { q.opts.Logger.Info("queue connected again") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { q.opts.Logger.Warn("queue", "err", err) }),
	}
	where := q.opts.URL
	if where == "" {
		if q.srv, err = serve(q.opts); err != nil {
			return err
		}
		options = append(options, nats.InProcessServer(q.srv))
	} else if q.opts.Credentials != "" {
		options = append(options, nats.UserCredentials(q.opts.Credentials))
	}
	if q.conn, err = nats.Connect(where, options...); err != nil {
		return fmt.Errorf("NATS server %q: %w; check queue.url, and that the server is up and allows JetStream", redact(where), err)
	}
	if q.js, err = jetstream.New(q.conn); err != nil {
		return fmt.Errorf("JetStream: %w", err)
	}
	if err := q.makeStreams(ctx); err != nil {
		return err
	}
	if q.srv != nil {
		return q.reclaim(ctx)
	}
	return nil
}

// redact hides passwords and tokens in a list of server URLs.
func redact(servers string) string {
	list := strings.Split(servers, ",")
	for i, server := range list {
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil {
			list[i] = "(not a URL)"
			continue
		}
		if u.User != nil {
			u.User = url.User("xxx")
		}
		list[i] = u.String()
	}
	return strings.Join(list, ",")
}

func (q *Queue) makeStreams(ctx context.Context) (err error) {
	q.jobs, err = q.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        jobsStream,
		Description: "ichor: studies to analyse",
		Subjects:    []string{jobsSubject + ">"},
		Retention:   jetstream.WorkQueuePolicy,
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardNew, // a full queue refuses work; it never drops any
		Duplicates:  dedupWindow,
		MaxMsgSize:  maxJobBytes,
		Replicas:    q.opts.Replicas,
	})
	if err != nil {
		return fmt.Errorf("stream %s: %w", jobsStream, err)
	}
	q.dead, err = q.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:              deadStream,
		Description:       "ichor: jobs that were given up",
		Subjects:          []string{deadSubject + ">"},
		Retention:         jetstream.LimitsPolicy,
		Storage:           jetstream.FileStorage,
		MaxMsgsPerSubject: 1,
		MaxMsgs:           maxDead,
		MaxMsgSize:        maxJobBytes,
		Replicas:          q.opts.Replicas,
	})
	if err != nil {
		return fmt.Errorf("stream %s: %w", deadStream, err)
	}
	return q.makeConsumer(ctx, q.opts.AckWait)
}

func (q *Queue) makeConsumer(ctx context.Context, ackWait time.Duration) (err error) {
	q.consumer, err = q.jobs.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:     consumerName,
		Description: "ichor: workers",
		AckPolicy:   jetstream.AckExplicitPolicy,
		AckWait:     ackWait,
		MaxDeliver:  -1, // counted here: the server would leave a job it gave up in the stream, undelivered for ever
	})
	if err != nil {
		return fmt.Errorf("consumer %s: %w", consumerName, err)
	}
	return nil
}

// reclaim makes the embedded server hand out again, without waiting for their deadlines, the jobs that were being
// worked on when it ended: no worker but this process can have them. The server looks at its pending jobs when the
// deadline is changed, and keeps their number of deliveries.
func (q *Queue) reclaim(ctx context.Context) error {
	info, err := q.consumer.Info(ctx)
	if err != nil {
		return fmt.Errorf("consumer %s: %w", consumerName, err)
	}
	if info.NumAckPending == 0 {
		return nil
	}
	if err := q.makeConsumer(ctx, time.Millisecond); err != nil {
		return err
	}
	select {
	case <-time.After(reclaimTime):
	case <-ctx.Done():
		return ctx.Err()
	}
	return q.makeConsumer(ctx, q.opts.AckWait)
}

// reclaimTime covers the 100 ms after which the server looks at its pending jobs when AckWait was changed.
const reclaimTime = 250 * time.Millisecond

// Submit puts a job onto the queue; it is durable when Submit returns nil. A job that the queue holds already is left
// as it is, so submitting again is without harm.
func (q *Queue) Submit(ctx context.Context, job Job) error {
	return q.submit(ctx, job, job.id())
}

func (q *Queue) submit(ctx context.Context, job Job, messageID string) error {
	if err := job.check(); err != nil {
		return err
	}
	raw, err := json.Marshal(job)
	if err != nil {
		return err
	}
	_, err = q.js.Publish(ctx, jobsSubject+job.id(), raw,
		jetstream.WithMsgID(messageID),
		jetstream.WithExpectLastSequencePerSubject(0)) // no job of this name waits or is being worked on
	if err != nil && !isWrongSequence(err) {
		return fmt.Errorf("job of case %s: %w", job.CaseID, err)
	}
	return nil
}

// isWrongSequence tells that a message with the subject is in the stream already.
func isWrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Stats are the numbers an operator watches.
type Stats struct {
	Waiting int `json:"waiting"` // to be handed out, now or after a backoff
	Working int `json:"working"` // handed out and not acknowledged
	Dead    int `json:"dead"`
}

// Stats asks the server for its numbers.
func (q *Queue) Stats(ctx context.Context) (Stats, error) {
	consumer, err := q.consumer.Info(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("consumer %s: %w", consumerName, err)
	}
	dead, err := q.dead.Info(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("stream %s: %w", deadStream, err)
	}
	q.mu.Lock()
	working := len(q.running)
	q.mu.Unlock()
	if q.srv == nil { // workers elsewhere
		working = consumer.NumAckPending
	}
	return Stats{
		Waiting: max(int(consumer.NumPending)+consumer.NumAckPending-working, 0),
		Working: working,
		Dead:    int(dead.State.Msgs),
	}, nil
}

// Close ends the connection and the embedded server, after Work has returned.
func (q *Queue) Close() error {
	if q.conn != nil {
		q.conn.Close()
	}
	if q.srv != nil {
		q.srv.Shutdown()
		q.srv.WaitForShutdown()
	}
	return nil
}
